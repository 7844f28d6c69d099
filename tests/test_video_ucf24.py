"""The UCF101-24 reader: both layouts, narrow integers, half-open frames."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from video.ucf24 import Ucf24Error, is_ucf24, read_test_list, read_ucf24, read_ucf24_pickle

SHARED = Path(__file__).parents[2] / "shared" / "realdata" / "ucf24"


def entry(**changes: object) -> dict:
    """One video as the real file holds it: uint8 where the numbers fit."""
    boxes = np.uint8([[200, 10, 100, 50], [201, 10, 100, 50]])
    tube = {"label": 1, "sf": 3, "ef": 5, "boxes": boxes}
    return {"annotations": [tube | changes], "label": 1, "numf": np.uint8(240)}


OTHER = {"annotations": [], "label": 0, "numf": np.uint16(300)}


def plain_layout(**changes: object) -> dict:
    return {"Walk/v_Walk_g01_c01": entry(**changes), "Dive/v_Dive_g01_c01": OTHER}


def write(path: Path, data: object) -> Path:
    path.write_bytes(pickle.dumps(data, protocol=3))
    return path


def test_uint8_boxes_beyond_255_do_not_overflow(tmp_path: Path) -> None:
    videos = read_ucf24(write(tmp_path / "pyannot.pkl", plain_layout()))
    assert [video.video for video in videos] == ["Dive/v_Dive_g01_c01", "Walk/v_Walk_g01_c01"]
    (tube,) = videos[1].tubes
    assert tube.boxes[0].tolist() == [200, 10, 200 + 100, 10 + 50]
    assert tube.boxes[1].tolist() == [201, 10, 201 + 100, 60]


def test_frames_run_from_sf_to_before_ef(tmp_path: Path) -> None:
    video = read_ucf24(write(tmp_path / "pyannot.pkl", plain_layout()))[1]
    assert video.tubes[0].frames.tolist() == [3, 4]
    assert (video.num_frames, video.width, video.height) == (240, 320, 240)
    assert video.tubes[0].label == "Walk"


def test_both_layouts_say_the_same(tmp_path: Path) -> None:
    plain = read_ucf24_pickle(write(tmp_path / "a.pkl", plain_layout()))
    names = {"db": plain_layout(), "trainvideos": ["Walk/v_Walk_g01_c01"], "classes": ["Dive", "Walk"]}
    named = read_ucf24_pickle(write(tmp_path / "b.pkl", names))
    assert plain.class_names == named.class_names == ("Dive", "Walk")
    assert plain.train is None
    assert named.train == ("Walk/v_Walk_g01_c01",)
    for a, b in zip(plain.videos, named.videos, strict=True):
        assert a.video == b.video
        assert all(np.array_equal(s.boxes, t.boxes) for s, t in zip(a.tubes, b.tubes, strict=True))


def test_a_video_without_tubes_and_one_with_two_of_a_class(tmp_path: Path) -> None:
    data = plain_layout()
    data["Walk/v_Walk_g01_c01"]["annotations"] *= 2
    dive, walk = read_ucf24(write(tmp_path / "a.pkl", data))
    assert dive.tubes == ()
    assert [tube.id for tube in walk.tubes] == [0, 1]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"label": 2}, "label"),
        ({"sf": -1}, "range within 0..240"),
        ({"ef": 241}, "range within 0..240"),
        ({"ef": 3}, "range within"),
        ({"ef": 6}, "expected 3 boxes"),
        ({"boxes": np.zeros((2, 4), np.uint8)}, "no area"),
        ({"boxes": np.full((2, 4), np.nan)}, "finite"),
        ({"boxes": [[1, 2, 3, 4]]}, "expected 2 boxes"),
    ],
)
def test_what_is_wrong_is_named_with_file_video_and_tube(tmp_path: Path, changes: dict, text: str) -> None:
    path = write(tmp_path / "pyannot.pkl", plain_layout(**changes))
    with pytest.raises(Ucf24Error, match=text) as caught:
        read_ucf24(path)
    assert f"{path}: 'Walk/v_Walk_g01_c01': tube 0" in str(caught.value)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ([1], "no UCF101-24"),
        ({}, "no UCF101-24"),
        ({"A/v": {"annotations": [], "label": 0, "numf": 0}}, "numf"),
        ({"A/v": {"annotations": [], "label": 0, "numf": 9}, "B/v": OTHER}, "also that of"),
        ({"A/v": {"annotations": [], "label": 1, "numf": 9}}, "labels must be"),
        ({"/abs/v": {"annotations": [], "label": 0, "numf": 9}}, "expected a video name"),
        ({"db": [], "classes": ["a"]}, "dictionary"),
        ({"db": {}, "classes": "a"}, "classes"),
        ({"db": {}, "classes": ["a\x00"]}, "classes"),
    ],
)
def test_other_data_is_refused(tmp_path: Path, data: object, text: str) -> None:
    with pytest.raises(Ucf24Error, match=text):
        read_ucf24(write(tmp_path / "a.pkl", data))


def test_recognised_by_content() -> None:
    assert is_ucf24(plain_layout())
    assert is_ucf24({"db": {}, "classes": []})
    assert not is_ucf24({"labels": [], "gttubes": {}, "nframes": {}})


def test_the_test_list_may_have_suffixes_and_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "testlist01.txt"
    path.write_text("A/v_A_g01_c01.avi\n\nA/v_A_g01_c02 1\n")
    assert read_test_list(path) == ("A/v_A_g01_c01", "A/v_A_g01_c02")
    path.write_text("\n")
    with pytest.raises(Ucf24Error, match="empty"):
        read_test_list(path)


def test_the_real_file_has_the_counts_that_are_known_of_it() -> None:
    if not (SHARED / "pyannot.pkl").is_file():
        pytest.skip("UCF101-24 is not on this machine")
    videos = read_ucf24(SHARED / "pyannot.pkl")
    tubes = [tube for video in videos for tube in video.tubes]
    assert (len(videos), len(tubes), sum(map(len, tubes))) == (3194, 4458, 573862)
    assert max(float(tube.boxes[:, 2].max()) for tube in tubes) == 320
    assert max(float(tube.boxes[:, 3].max()) for tube in tubes) == 240
    names = {video.video for video in videos}
    assert len(names & set(read_test_list(SHARED / "testlist01.txt"))) == 910
