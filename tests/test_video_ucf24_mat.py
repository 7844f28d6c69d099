"""finalAnnots.mat says, tube by tube, what the pickle made from it says."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from video.mat_files import MatError
from video.ucf24 import Ucf24Error, read_ucf24_pickle
from video.ucf24_mat import read_ucf24_mat

SHARED = Path(__file__).parents[2] / "shared" / "realdata" / "ucf24"
BOXES = np.float64([[200, 10, 100, 50], [201, 10, 100, 50]])


def structures(rows: list[dict]) -> np.ndarray:
    """MATLAB's structure array of one row."""
    made = np.zeros((1, len(rows)), [(name, "O") for name in rows[0]])
    for k, row in enumerate(rows):
        made[0, k] = tuple(row.values())
    return made


def tube(first: float = 4, last: float = 5, label: float = 2, boxes: np.ndarray = BOXES) -> dict:
    return {"ef": float(last), "sf": float(first), "class": float(label), "boxes": boxes}


def video(name: str, *tubes: dict, num_imgs: float = 240) -> dict:
    return {"num_imgs": float(num_imgs), "name": name, "tubes": structures(list(tubes)) if tubes else np.zeros((0, 0))}


def write(path: Path, videos: list[dict], variable: str = "annot") -> Path:
    savemat(path, {variable: structures(videos)}, do_compression=True)
    return path


WALK, DIVE = "Walk/v_Walk_g01_c01", "Dive/v_Dive_g01_c01"


def test_frames_count_from_1_with_the_last_included_and_boxes_do_not_overflow(tmp_path: Path) -> None:
    read = read_ucf24_mat(write(tmp_path / "a.mat", [video(WALK, tube(), tube()), video(DIVE, tube(label=1))]))
    assert read.class_names == ("Dive", "Walk")
    dive, walk = read.videos
    assert (dive.video, walk.video) == (DIVE, WALK)
    assert [t.id for t in walk.tubes] == [0, 1]
    assert walk.tubes[0].label == "Walk"
    assert walk.tubes[0].frames.tolist() == [4 - 1, 5 - 1]
    assert walk.tubes[0].boxes[0].tolist() == [200, 10, 200 + 100, 10 + 50]
    assert (walk.num_frames, walk.width, walk.height) == (240, 320, 240)


def test_the_pickle_of_the_same_tubes_is_equal(tmp_path: Path) -> None:
    of_mat = read_ucf24_mat(write(tmp_path / "a.mat", [video(WALK, tube()), video(DIVE, tube(label=1))], "videos"))
    data = {
        name: {
            "annotations": [{"label": label, "sf": 3, "ef": 5, "boxes": np.uint8(BOXES)}],
            "label": label,
            "numf": np.uint8(240),
        }
        for name, label in ((WALK, 1), (DIVE, 0))
    }
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(data, 3))
    of_pickle = read_ucf24_pickle(tmp_path / "a.pkl")
    assert of_mat.class_names == of_pickle.class_names
    for a, b in zip(of_mat.videos, of_pickle.videos, strict=True):
        assert (a.video, a.num_frames) == (b.video, b.num_frames)
        for s, t in zip(a.tubes, b.tubes, strict=True):
            assert s.label == t.label
            assert np.array_equal(s.frames, t.frames)
            assert np.array_equal(s.boxes, t.boxes)


def test_a_video_without_tubes_takes_its_class_from_another_of_its_folder(tmp_path: Path) -> None:
    empty = "Walk/v_Walk_g02_c01"
    read = read_ucf24_mat(write(tmp_path / "a.mat", [video(empty), video(WALK, tube(label=1))]))
    assert {v.video: len(v.tubes) for v in read.videos} == {WALK: 1, empty: 0}
    with pytest.raises(Ucf24Error, match="no video of its class has a tube"):
        read_ucf24_mat(write(tmp_path / "b.mat", [video(empty), video(DIVE, tube(label=1))]))


@pytest.mark.parametrize(
    ("videos", "text"),
    [
        ([video(WALK, tube(first=0, label=1))], "range within"),
        ([video(WALK, tube(first=1.5, label=1))], "whole number"),
        ([video(WALK, tube(last=6, label=1))], "expected 3 boxes"),
        ([video(WALK, tube(label=1), num_imgs=4)], "range within 0..4"),
        ([video(WALK, tube(label=np.nan))], "whole number"),
        ([video(WALK, tube(label=1)), video(WALK, tube(label=1))], "that of another video"),
        ([video("../outside/v", tube(label=1))], "expected a video name"),
        ([{"name": WALK}], "structure of name, num_imgs and tubes"),
        ([video(WALK, {"sf": 1.0})], "structure of sf, ef, class and boxes"),
    ],
)
def test_what_is_wrong_is_named_with_the_file(tmp_path: Path, videos: list[dict], text: str) -> None:
    path = write(tmp_path / "a.mat", videos)
    with pytest.raises(Ucf24Error, match=text) as caught:
        read_ucf24_mat(path)
    assert str(path) in str(caught.value)
    assert str(caught.value).isprintable()


def test_other_files_are_refused(tmp_path: Path) -> None:
    savemat(tmp_path / "a.mat", {"part_mask": np.zeros((2, 2))})
    with pytest.raises(Ucf24Error, match="no UCF101-24 annotation"):
        read_ucf24_mat(tmp_path / "a.mat")
    (tmp_path / "b.mat").write_bytes(b"nothing")
    with pytest.raises(MatError, match="not a MATLAB file"):
        read_ucf24_mat(tmp_path / "b.mat")


def test_the_real_files_agree_where_both_are_there() -> None:
    if not (SHARED / "finalAnnots.mat").is_file():
        pytest.skip("UCF101-24's finalAnnots.mat is not on this machine")
    of_mat, of_pickle = read_ucf24_mat(SHARED / "finalAnnots.mat"), read_ucf24_pickle(SHARED / "pyannot.pkl")
    for a, b in zip(of_mat.videos, of_pickle.videos, strict=True):
        assert (a.video, a.num_frames) == (b.video, b.num_frames)
        assert all(np.array_equal(s.boxes, t.boxes) for s, t in zip(a.tubes, b.tubes, strict=True))
