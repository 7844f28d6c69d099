"""The J-HMDB reader: frames from 1, inclusive pixels, three splits."""

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from video.jhmdb import (
    JhmdbError,
    read_jhmdb,
    read_jhmdb_pickle,
    read_split_files,
    source_of_clip,
)

SHARED = Path(__file__).parents[2] / "shared" / "jhmdb"


def annotation(**changes: object) -> dict:
    """A J-HMDB annotation of two videos as the real file holds it."""
    rows = np.float32([[1, 10, 20, 29, 59], [2, 11, 20, 30, 59], [3, 12, 20, 31, 59]])
    data: dict = {
        "labels": ["jump", "wave"],
        "gttubes": {"wave/a_wave_f_nm_np1_fr_med_0": {1: [rows]}, "jump/b": {0: [rows[:1]]}},
        "nframes": {"wave/a_wave_f_nm_np1_fr_med_0": 3, "jump/b": 1},
        "train_videos": [["jump/b"]],
        "test_videos": [["wave/a_wave_f_nm_np1_fr_med_0"]],
        "resolution": {"wave/a_wave_f_nm_np1_fr_med_0": (240, 320), "jump/b": (240, 320)},
    }
    return data | changes


def write(path: Path, data: object) -> Path:
    path.write_bytes(pickle.dumps(data, protocol=2))
    return path


def test_inclusive_boxes_grow_by_a_pixel_and_frames_count_from_0(tmp_path: Path) -> None:
    videos = read_jhmdb(write(tmp_path / "gt.pkl", annotation()))
    assert [video.video for video in videos] == ["jump/b", "wave/a_wave_f_nm_np1_fr_med_0"]
    wave = videos[1]
    assert (wave.num_frames, wave.width, wave.height) == (3, 320, 240)
    (tube,) = wave.tubes
    assert tube.label == "wave"
    assert tube.frames.tolist() == [1 - 1, 2 - 1, 3 - 1]
    assert tube.boxes[0].tolist() == [10, 20, 29 + 1, 59 + 1]
    assert np.isnan(tube.score)


def test_as_published_leaves_the_coordinates(tmp_path: Path) -> None:
    wave = read_jhmdb(write(tmp_path / "gt.pkl", annotation()), as_published=True)[1]
    assert wave.tubes[0].boxes[0].tolist() == [10, 20, 29, 59]
    assert wave.tubes[0].frames.tolist() == [0, 1, 2]


def test_a_box_of_one_pixel_is_one_wide(tmp_path: Path) -> None:
    data = annotation(gttubes={"jump/b": {0: [np.float32([[1, 5, 6, 5, 6]])]}})
    (video,) = read_jhmdb(write(tmp_path / "gt.pkl", data))
    assert video.tubes[0].boxes.tolist() == [[5, 6, 6, 7]]


def test_several_tubes_of_several_labels_get_ids(tmp_path: Path) -> None:
    row = np.float32([[1, 5, 6, 9, 9]])
    data = annotation(gttubes={"jump/b": {0: [row, row], 1: [row]}})
    (video,) = read_jhmdb(write(tmp_path / "gt.pkl", data))
    assert [(tube.id, tube.label) for tube in video.tubes] == [(0, "jump"), (1, "jump"), (2, "wave")]


def test_splits_count_from_1(tmp_path: Path) -> None:
    whole = read_jhmdb_pickle(write(tmp_path / "gt.pkl", annotation()))
    assert whole.class_names == ("jump", "wave")
    assert whole.split(1).train == ("jump/b",)
    assert whole.split(1).test == ("wave/a_wave_f_nm_np1_fr_med_0",)
    with pytest.raises(ValueError, match="1 to 1, got 2"):
        whole.split(2)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"labels": "jump"}, "labels"),
        ({"labels": ["ju\x00p", "wave"]}, "labels"),
        ({"gttubes": []}, "must be dictionaries"),
        ({"gttubes": {"../../outside": {}}}, "expected a video name"),
        ({"gttubes": {"jump/two\nlines": {}}}, "expected a video name"),
        ({"gttubes": {"jump/unknown": {}}}, "nframes"),
        ({"gttubes": {"jump/b": {2: []}}}, "label 2"),
        ({"gttubes": {"jump/b": {0: [np.float32([[2, 1, 1, 5, 5]])]}}}, "outside 1..1"),
        ({"gttubes": {"jump/b": {0: [np.float32([[0, 1, 1, 5, 5]])]}}}, "outside 1..1"),
        ({"gttubes": {"jump/b": {0: [np.float32([[np.nan, 1, 1, 5, 5]])]}}}, "outside 1..1"),
        ({"gttubes": {"jump/b": {0: [np.float32([[1, 9, 1, 5, 5]])]}}}, "x2 > x1"),
        ({"gttubes": {"jump/b": {0: [np.float32([[1, np.inf, 1, 5, 5]])]}}}, "finite"),
        ({"gttubes": {"jump/b": {0: [np.zeros((0, 5), np.float32)]}}}, "at least one frame"),
        ({"gttubes": {"jump/b": {0: [np.zeros((2, 4), np.float32)]}}}, "frame, x1, y1, x2, y2"),
        ({"resolution": {"jump/b": (240, -1)}}, "resolution"),
        ({"test_videos": []}, "equal length"),
    ],
)
def test_what_is_wrong_is_named_in_one_line_with_the_file(tmp_path: Path, changes: dict, text: str) -> None:
    path = write(tmp_path / "gt.pkl", annotation(**changes))
    with pytest.raises(JhmdbError, match=text) as caught:
        read_jhmdb(path)
    assert str(path) in str(caught.value)
    assert str(caught.value).isprintable()


def test_another_pickle_is_no_jhmdb(tmp_path: Path) -> None:
    with pytest.raises(JhmdbError, match="no J-HMDB annotation"):
        read_jhmdb(write(tmp_path / "gt.pkl", [1, 2]))


def test_official_split_files_of_a_folder_and_of_a_zip_file(tmp_path: Path) -> None:
    folder = tmp_path / "splits"
    folder.mkdir()
    (folder / "brush_hair_test_split1.txt").write_text("a b_0.avi 1 \nc_1.avi 2\nd.avi 0\n")
    (folder / "wave_test_split2.txt").write_text("e.avi 2\n")
    (folder / "README.txt").write_text("no split\n")
    with zipfile.ZipFile(tmp_path / "splits.zip", "w") as archive:
        for file in folder.iterdir():
            archive.write(file, f"splits/{file.name}")
    for source in (folder, tmp_path / "splits.zip"):
        splits = read_split_files(source)
        assert sorted(splits) == [1, 2]
        assert splits[1].train == ("brush_hair/a b_0",)
        assert splits[1].test == ("brush_hair/c_1",)
        assert splits[2].test == ("wave/e",)


def test_a_bad_line_in_a_split_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "wave_test_split1.txt").write_text("a.avi 1\nwhat\n")
    with pytest.raises(JhmdbError, match="line 2"):
        read_split_files(tmp_path)
    with pytest.raises(JhmdbError, match="no split files"):
        read_split_files(tmp_path.parent)
    with pytest.raises(JhmdbError, match="neither a folder nor"):
        read_split_files(tmp_path / "missing.zip")


@pytest.mark.parametrize(
    ("video", "source"),
    [
        ("kick_ball/Goal_1_@_2_kick_ball_f_cm_np1_fr_goo_2", "Goal_1_@_2"),
        ("catch/to_catch_or_not_catch_u_nm_np1_fr_med_10", "to_catch_or_not"),
        ("puppets/wave/film_wave_f_nm_np1_fr_med_0", "film"),
        ("wave/film_jump_f_nm_np1_fr_med_0", None),
        ("wave/film", None),
        ("film_wave_f_nm_np1_fr_med_0", None),
    ],
)
def test_the_source_is_what_stands_before_the_class(video: str, source: str | None) -> None:
    assert source_of_clip(video) == source


def test_the_real_file_agrees_with_the_official_splits() -> None:
    if not (SHARED / "splits.zip").is_file():
        pytest.skip("J-HMDB is not on this machine")
    whole = read_jhmdb_pickle(SHARED / "JHMDB-GT.pkl")
    assert (len(whole.class_names), len(whole.videos)) == (21, 928)
    assert all(len(video.tubes) == 1 and len(video.tubes[0]) == video.num_frames for video in whole.videos)
    for number, split in read_split_files(SHARED / "splits.zip").items():
        assert set(whole.split(number).train) == set(split.train)
        assert set(whole.split(number).test) == set(split.test)
