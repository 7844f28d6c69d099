"""Detections of ACT, MOC and MultiSports: frames from 1, labels and videos by number, pixels inclusive or not."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from linking.records import Tube, VideoAnnotation
from video.act_pickles import ActError, is_act, read_act, write_act
from video.frame_detections import is_frame_detections, parse_frame_detections
from video.multisports import is_multisports_tubes, parse_multisports_tubes, write_multisports_tubes
from video.pickles import load_pickle

ROWS = np.float32([[1, 10, 20, 29, 59, 0.5], [2, 11, 20, 30, 59, 0.75]])
CLASSES = ("jump", "wave")


def write(path: Path, data: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(data, 2))
    return path


def test_tubes_of_a_folder_are_named_by_file_and_grow_by_a_pixel(tmp_path: Path) -> None:
    write(tmp_path / "wave" / "clip_1_tubes.pkl", {0: [], 1: [(ROWS, np.float32(0.625))]})
    write(tmp_path / "jump" / "clip_2_tubes.pkl", {0: [[ROWS[:1], 0.5]], 1: []})  # MOC stores lists
    jump, wave = read_act(tmp_path, class_names=CLASSES)
    assert (jump.video, wave.video) == ("jump/clip_2", "wave/clip_1")
    (tube,) = wave.tubes
    assert (tube.label, tube.score) == ("wave", 0.625)
    assert tube.frames.tolist() == [1 - 1, 2 - 1]
    assert tube.boxes.tolist() == [[10, 20, 29 + 1, 59 + 1], [11, 20, 30 + 1, 59 + 1]]
    assert tube.scores.tolist() == [0.5, 0.75]
    assert jump.tubes[0].label == "jump"
    published = read_act(tmp_path, class_names=CLASSES, as_published=True)
    assert published[1].tubes[0].boxes[0].tolist() == [10, 20, 29, 59]


def test_a_file_alone_is_named_by_its_folder_where_that_is_a_class(tmp_path: Path) -> None:
    path = write(tmp_path / "wave" / "clip_1_tubes.pkl", {1: [(ROWS, 0.5)]})
    assert read_act(path, class_names=CLASSES)[0].video == "wave/clip_1"
    (alone,) = read_act(path)
    assert (alone.video, alone.tubes[0].label) == ("clip_1", "1")
    assert read_act(path, video="mine")[0].video == "mine"


def test_frames_that_no_tubelet_covers_have_no_box(tmp_path: Path) -> None:
    rows = np.insert(ROWS, 1, [7, *[np.nan] * 5], axis=0)
    path = write(tmp_path / "a_tubes.pkl", {0: [(rows, 0.5), (rows[1:2], 0.5)]})
    (tube,) = read_act(path)[0].tubes
    assert tube.frames.tolist() == [0, 1]


BAD_ROWS = {
    "frame 0": ROWS - [1, 0, 0, 0, 0, 0],
    "half a frame": ROWS + np.eye(6)[0] / 2,
    "one corner NaN": np.where(np.arange(6) == 2, np.nan, ROWS),
    "the same frame twice": ROWS[[0, 0]],
    "corners swapped": ROWS[:, [0, 3, 4, 1, 2, 5]],
    "four columns": ROWS[:, :4],
    "flat": ROWS[0],
    "text": np.array([["1"] * 6]),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_a_tube_that_is_wrong_is_named(tmp_path: Path, case: str) -> None:
    path = write(tmp_path / "a_tubes.pkl", {1: [(ROWS, 0.5), (BAD_ROWS[case], 0.5)]})
    with pytest.raises(ActError) as caught:
        read_act(path)
    assert str(caught.value).startswith(f"{path}: tube 1 of label 1: ")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({2: [(ROWS, 0.5)]}, "one of the 2 classes"),
        ({-1: []}, "label -1"),
        ({0: [(ROWS, np.nan)]}, "score is no number"),
        ({0: [(ROWS, "high")]}, "score is no number"),
        ({0: [(ROWS, 0.5), (ROWS,)]}, "boxes, score"),
        ({"a": []}, "no ACT tubes"),
        ([1], "no ACT tubes"),
    ],
)
def test_other_data_is_refused(tmp_path: Path, data: object, text: str) -> None:
    with pytest.raises(ActError, match=text):
        read_act(write(tmp_path / "a_tubes.pkl", data), class_names=CLASSES)


def test_a_folder_without_tubes_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ActError, match=r"no \*_tubes\.pkl"):
        read_act(tmp_path)


def detected(score: float = 0.5) -> VideoAnnotation:
    boxes = np.float32([[0.1, 0.2, 10.3, 20.7], [1, 2, 3, 4]])
    return VideoAnnotation("wave/a", [Tube("wave", np.array([0, 3]), boxes, np.float32([0.25, np.nan]), score, 0)])


@pytest.mark.parametrize("format", ["act", "multisports"])
def test_written_tubes_are_read_back_bit_for_bit(tmp_path: Path, format: str) -> None:
    videos = [VideoAnnotation("jump/b"), detected()]
    if format == "act":
        write_act(videos, tmp_path / "out", CLASSES)
        empty, again = read_act(tmp_path / "out", class_names=CLASSES)
        assert (empty.video, empty.tubes) == ("jump/b", ())
    else:
        write_multisports_tubes(videos, tmp_path / "out.pkl", CLASSES)
        data = load_pickle(tmp_path / "out.pkl")
        (again,) = parse_multisports_tubes(data, tmp_path / "out.pkl", class_names=CLASSES)
    (tube,) = again.tubes
    assert (again.video, tube.label, tube.score) == ("wave/a", "wave", 0.5)
    assert tube.frames.tolist() == [0, 3]
    assert np.array_equal(tube.boxes, detected().tubes[0].boxes)
    assert tube.scores.tolist() == [0.25, 0.5], "a box without a score takes that of its tube"


def test_what_cannot_be_written_leaves_no_file(tmp_path: Path) -> None:
    for videos, text in (
        ([detected(np.nan)], "no score"),
        ([VideoAnnotation("../a")], "no name"),
        ([detected()], "not among the class names"),
    ):
        with pytest.raises(ActError, match=text):
            write_act(videos, tmp_path / "out", ("jump",) if "among" in text else CLASSES)
        assert not (tmp_path / "out").exists()


def test_multisports_tubes_hold_their_video_and_no_pixel_is_added() -> None:
    data = {0: [("football/v_1", 0.5, ROWS)], 1: [("football/v_1", 0.25, ROWS[:1]), ("football/v_0", 0.75, ROWS)]}
    assert is_multisports_tubes(data)
    assert not is_act(data)
    first, second = parse_multisports_tubes(data, Path("a.pkl"))
    assert (first.video, second.video) == ("football/v_0", "football/v_1")
    assert [(tube.id, tube.label, tube.score) for tube in second.tubes] == [(0, "0", 0.5), (1, "1", 0.25)]
    assert second.tubes[0].boxes[0].tolist() == [10, 20, 29, 59]
    with pytest.raises(ActError, match="video, score, boxes"):
        parse_multisports_tubes({0: [("a", 0.5, ROWS), ("../a", 0.5, ROWS)]}, Path("a.pkl"))


#                          video frame label score  box
FRAME_ROWS = np.float64([[1, 5, 0, 0.5, 10, 20, 29, 59], [0, 1, 1, 0.25, 1, 2, 3, 4]])


@pytest.mark.parametrize("as_list", [False, True])
def test_boxes_of_frames_name_videos_and_classes_by_number(as_list: bool) -> None:
    data = list(FRAME_ROWS) if as_list else FRAME_ROWS
    assert is_frame_detections(data)
    names = {"video_names": ["run/a", "run/b"], "class_names": CLASSES}
    table = parse_frame_detections(data, Path("a.pkl"), inclusive=True, **names)
    assert table["video"].tolist() == ["run/b", "run/a"]
    assert table["frame"].tolist() == [5 - 1, 1 - 1]
    assert table["label"].tolist() == ["jump", "wave"]
    assert table[["x1", "y1", "x2", "y2"]].to_numpy().tolist() == [[10, 20, 30, 60], [1, 2, 4, 5]]
    assert table["score"].tolist() == [0.5, 0.25]
    assert table["tube"].isna().all()
    continuous = parse_frame_detections(data, Path("a.pkl"), inclusive=False, **names)
    assert continuous["x2"].tolist() == [29, 3]


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [
        (0, 2, "row 1: video must be a whole number from 0 to 1, got 2"),
        (1, 0, "frame must be"),
        (1, 1.5, "frame must be"),
        (2, 2, "label must be"),
        (3, np.nan, "score"),
        (3, 1e300, "too large"),
        (4, np.inf, "finite"),
        (6, -1, "without area"),
    ],
)
def test_a_wrong_number_is_named_by_row_and_column(column: int, value: float, text: str) -> None:
    rows = FRAME_ROWS.copy()
    rows[1, column] = value
    with pytest.raises(ActError, match=text):
        parse_frame_detections(rows, Path("a.pkl"), video_names=["a", "b"], class_names=CLASSES, inclusive=True)


def test_videos_by_number_need_the_list_they_count_in() -> None:
    with pytest.raises(ActError, match="give the list of test videos"):
        parse_frame_detections(FRAME_ROWS, Path("a.pkl"), video_names=None, inclusive=True)
