"""AVA's csv: key frames, persons with several actions, seconds and frames, fractions and pixels, and back."""

import warnings
from pathlib import Path

import numpy as np
import pytest

from eval.frame_map import frame_map
from linking.records import Detections, Tube, VideoAnnotation
from linking.tables import table_from_detections
from video.ava import (
    AvaError,
    holds_scores,
    looks_like_ava,
    read_action_list,
    read_ava,
    read_ava_detections,
    read_excluded_timestamps,
)
from video.ava_writing import write_ava, write_ava_detections

SHARED = Path(__file__).parents[2] / "shared" / "realdata"

GROUND_TRUTH = """\
film,0902,0.25,0.50,0.75,1.00,12,0
film,0902,0.25,0.50,0.75,1.00,17,0
film,0903,0.30,0.50,0.80,1.00,12,0
film,0905,0.30,0.50,0.80,1.00,12,0
film,0902,0.00,0.00,0.20,0.40,12,1
another,1000
"""
NAMES = {12: "stand", 17: "talk to"}


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def rows(annotations: list[VideoAnnotation]) -> list[tuple]:
    return [
        (one.video, tube.label, tube.frames.tolist(), tube.boxes.tolist()) for one in annotations for tube in one.tubes
    ]


def test_each_action_of_a_person_is_a_tube_and_a_missing_second_ends_it(tmp_path: Path) -> None:
    another, film = read_ava(write(tmp_path / "gt.csv", GROUND_TRUTH), class_names=NAMES)
    assert (another.video, another.tubes) == ("another", ())
    assert [(tube.label, tube.frames.tolist()) for tube in film.tubes] == [
        ("stand", [902, 903]),  # person 0
        ("stand", [905]),  # 904 is missing
        ("talk to", [902]),
        ("stand", [902]),  # person 1
    ]
    assert [tube.id for tube in film.tubes] == [0, 1, 2, 3]
    assert film.tubes[0].boxes[0].tolist() == [0.25, 0.5, 0.75, 1]
    assert (film.width, film.height, film.num_frames) == (None, None, None)


def test_without_a_list_the_label_is_the_number(tmp_path: Path) -> None:
    film = read_ava(write(tmp_path / "gt.csv", GROUND_TRUTH))[1]
    assert film.labels == ["12", "17"]


def test_seconds_become_frames_and_fractions_pixels(tmp_path: Path) -> None:
    path = write(tmp_path / "gt.csv", GROUND_TRUTH)
    film = read_ava(path, fps=25, start=900, size=(320, 240))[1]
    assert film.tubes[0].frames.tolist() == [(902 - 900) * 25, (903 - 900) * 25]
    assert film.tubes[0].boxes[0].tolist() == [0.25 * 320, 0.5 * 240, 0.75 * 320, 240]
    assert (film.width, film.height) == (320, 240)
    by_video = read_ava(path, size={"film": (100, 200), "another": (1, 1)})[1]
    assert by_video.tubes[0].boxes[0].tolist() == [25, 100, 75, 200]


def test_a_frame_is_the_one_nearest_to_its_second(tmp_path: Path) -> None:
    film = read_ava(write(tmp_path / "gt.csv", "v,3,0,0,1,1,1,0\n"), fps=29.97)[0]
    assert pytest.approx(89.91) == 3 * 29.97
    assert film.tubes[0].frames.tolist() == [90]


def test_excluded_seconds_and_unlisted_actions_are_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "gt.csv", GROUND_TRUTH)
    excluded = read_excluded_timestamps(write(tmp_path / "excluded.csv", "film,0902\nother,0903\n"))
    assert excluded == {("film", 902), ("other", 903)}
    film = read_ava(path, class_names=NAMES, excluded=excluded)[1]
    assert [tube.frames.tolist() for tube in film.tubes] == [[903], [905]]
    with pytest.warns(UserWarning, match="1 rows of actions that are not in the list .* line 2: action 17"):
        film = read_ava(path, class_names={12: "stand"})[1]
    assert film.labels == ["stand"]


def test_a_second_box_of_a_person_and_action_is_a_tube_of_its_own(tmp_path: Path) -> None:
    """The official evaluation counts it too."""
    twice = "v,1,0,0,0.5,1,3,7\nv,1,0.5,0,1,1,3,7\nv,2,0,0,0.5,1,3,7\n"
    (video,) = read_ava(write(tmp_path / "gt.csv", twice))
    assert [tube.frames.tolist() for tube in video.tubes] == [[1, 2], [1]]
    assert video.tubes[1].boxes[0, 0] == 0.5


def test_rows_without_a_person_are_tubes_of_one_box(tmp_path: Path) -> None:
    (video,) = read_ava(write(tmp_path / "gt.csv", "v,1,0,0,0.5,1,3\nv,2,0,0,0.5,1,3\n"))
    assert [tube.frames.tolist() for tube in video.tubes] == [[1], [2]]


def test_detections_are_boxes_with_scores_and_labels(tmp_path: Path) -> None:
    path = write(tmp_path / "det.csv", "b,2,0,0,0.5,1,12,0.75\na,1,0,0,0.5,0.5,17,1e-3\n")
    table = read_ava_detections(path, class_names=NAMES, size=(100, 10))
    assert table["video"].tolist() == ["b", "a"]
    assert table["label"].tolist() == ["stand", "talk to"]
    assert table["frame"].tolist() == [2, 1]
    assert table["x2"].tolist() == [50, 50]
    assert table["y2"].tolist() == [10, 5]
    assert table["score"].tolist() == [np.float32(0.75), np.float32(1e-3)]
    assert table["tube"].isna().all()
    assert table.attrs["videos"] == {"a": {"width": 100, "height": 10}, "b": {"width": 100, "height": 10}}
    assert read_ava_detections(write(path, "b,2,0,0,0.5,1,12\n"))["score"].tolist() == [1]


def test_the_last_column_tells_detections_from_ground_truth(tmp_path: Path) -> None:
    assert not holds_scores(write(tmp_path / "gt.csv", GROUND_TRUTH))
    assert holds_scores(write(tmp_path / "det.csv", "b,2,0,0,0.5,1,12,1\nb,2,0,0,0.5,1,12,0.5\n"))


def test_boxes_without_area_are_left_out_with_a_warning(tmp_path: Path) -> None:
    path = write(tmp_path / "gt.csv", "v,1,0,0,0,1,3,0\nv,2,0,0,1,1,3,0\nv,3,0,0.5,1,0.5,3,0\n")
    with pytest.warns(UserWarning, match="2 boxes without area were left out, first line 1"):
        (video,) = read_ava(path)
    assert [tube.frames.tolist() for tube in video.tubes] == [[2]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        (" \r\n\n", "the file is empty"),
        ("v,1,0,0,1,1,3,0\nv,x,0,0,1,1,3,0\n", "line 2, timestamp: expected a number, got 'x'"),
        ("v,1.5,0,0,1,1,3,0\n", "line 1: timestamp must be a whole second, got 1.5"),
        ("v,-1,0,0,1,1,3,0\n", "line 1: timestamp"),
        ("v,99999999999,0,0,1,1,3,0\n", "line 1: timestamp"),
        ("v,1,0,0,1,1\n", "line 1: expected video, timestamp, x1"),
        ("v,1,0,nan,1,1,3,0\n", "line 1, y1: expected a number, got 'nan'"),
        ("v,1,0,0,1e400,1,3,0\n", "line 1: a box is in fractions of the picture, 0 to 1, got 0, 0, inf, 1"),
        ("v,1,10,20,50,60,3,0\n", "line 1: a box is in fractions of the picture, 0 to 1, got 10, 20, 50, 60"),
        ("\n\nv,1,0.5,0,0.2,1,3,0\n", "line 3: the corners of the box are swapped"),
        ("v,1,0,0,1,1,3.5,0\n", "line 1: action must be a whole number, got 3.5"),
        ("v,1,0,0,1,1,3,0.5\n", "line 1: the person must be a whole number, got '0.5'"),
        ("v,1,0,0,1,1,3,0,9\n", "line 1: 9 cells, at most 8"),
        ("../v,1,0,0,1,1,3,0\n", "line 1: '../v' cannot be the name of a video"),
        (b"v\0,1,0,0,1,1,3,0\n", "a binary file"),
        ("v,1,0,0,1,1,3,0\n".encode("utf-16"), "UTF-16 text; save it as UTF-8"),
        (b"v\xe9,1,0,0,1,1,3,0\n", "not UTF-8 text"),
        (b"," * 10_000, "about line 1: longer than 4096 bytes"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_line(tmp_path: Path, text: str | bytes, message: str) -> None:
    path = write(tmp_path / "gt.csv", text)
    with pytest.raises(AvaError) as caught:
        read_ava(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_byte_order_mark_blanks_and_windows_lines_do_not_matter(tmp_path: Path) -> None:
    plain = read_ava(write(tmp_path / "a.csv", GROUND_TRUTH))
    odd = b"\xef\xbb\xbf" + GROUND_TRUTH.replace(",", " , ").replace("\n", " \r\n\r\n").encode()
    assert rows(read_ava(write(tmp_path / "b.csv", odd))) == rows(plain)


def test_arguments_that_cannot_be_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "gt.csv", GROUND_TRUTH)
    with pytest.raises(AvaError, match="fps must be 1 to 1000"):
        read_ava(path, fps=0)
    with pytest.raises(AvaError, match="line 1: second 902 is no frame of a video that starts at 903"):
        read_ava(path, fps=25, start=903)
    with pytest.raises(AvaError, match="no size is given for video 'film'"):
        read_ava(path, size={"another": (3, 4)})
    with pytest.raises(AvaError, match="width and height in pixels, got 0 x 4"):
        read_ava(path, size=(0, 4))
    with pytest.raises(AvaError, match="cannot be read"):
        read_ava(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        'item {\n  name: "bend"\n  id: 1\n}\nitem {\n  name: "sit (down)"\n  id: 11\n}\n',
        'label {\n  name: "bend"\n  label_id: 1\n  label_type: PERSON_MOVEMENT\n}\n'
        'label { name: "sit (down)" label_id: 11 }',
        "11: sit (down)\r\n1: bend\r\n",
    ],
    ids=["item", "label", "lines"],
)
def test_action_lists_of_every_kind(tmp_path: Path, text: str) -> None:
    assert read_action_list(write(tmp_path / "list.pbtxt", text)) == {1: "bend", 11: "sit (down)"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no actions"),
        ('item {\n  name: "a"\n}', "line 1: an item needs a name and an id"),
        ('item { name: "a" id: 1 }\nitem { name: "b" id: 1 }', "line 2: action 1 is listed twice"),
        ('item { name: "" id: 1 }', "line 1: the name of action 1 is empty"),
        ("1: walk\nrun\n", "line 2: expected '1: name', got 'run'"),
    ],
)
def test_action_lists_that_are_none(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(AvaError, match=message):
        read_action_list(write(tmp_path / "list.txt", text))


def test_recognised_by_its_first_row_with_a_box() -> None:
    assert looks_like_ava(GROUND_TRUTH.encode())
    assert looks_like_ava(b"\xef\xbb\xbfv,0900\r\nv,0902,0.1,.2,1,1.0,12,0.655\r\n")
    assert not looks_like_ava(b"v,0900\nv,0901\n")  # excluded timestamps
    assert not looks_like_ava(b"1,-1,1691.97,381.048,152.23,352.617,0.99,-1,-1,-1\n")  # MOTChallenge
    assert not looks_like_ava(b"video,tube,label,frame,x1,y1,x2,y2,score,tube_score\n")
    assert not looks_like_ava(b"")


def test_what_was_written_is_read_again_to_the_bit(tmp_path: Path) -> None:
    film = read_ava(write(tmp_path / "gt.csv", GROUND_TRUTH))
    write_ava(film, tmp_path / "out.csv")
    # "stand" at 905 shares no box with a person and becomes the last one's; the video without boxes has no row
    assert sorted(rows(read_ava(tmp_path / "out.csv"))) == sorted(rows(film))
    assert (tmp_path / "out.csv").read_text().splitlines()[0] == "film,0902,0.25,0.5,0.75,1,12,0"

    clock = {"fps": 29.97, "start": 900.0}
    pixels = read_ava(tmp_path / "gt.csv", size=(341, 257), class_names=NAMES, **clock)
    write_ava(pixels, tmp_path / "out.csv", class_names=NAMES, **clock)
    again = read_ava(tmp_path / "out.csv", size=(341, 257), class_names=NAMES, **clock)
    assert sorted(rows(again)) == sorted(rows(pixels))
    assert (tmp_path / "out.csv").read_text().splitlines()[0] == "film,0902,0.25,0.5,0.75,1,12,0"


def test_boxes_of_any_bits_come_back(tmp_path: Path) -> None:
    corners = np.random.default_rng(0).uniform(0, 200, (50, 2, 2)).astype(np.float32)
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    video = VideoAnnotation("v", [Tube("7", np.arange(50), boxes)], width=211, height=203)
    write_ava([video], tmp_path / "out.csv")
    (again,) = read_ava(tmp_path / "out.csv", size=(211, 203))
    assert again.tubes[0].boxes.tobytes() == boxes.tobytes()


def tube(label: str, frames: list[int], left: float, number: int) -> Tube:
    return Tube(label, np.array(frames), np.tile(np.float32([left, 0, left + 0.5, 1]), (len(frames), 1)), id=number)


def persons(path: Path) -> list[list[str]]:
    """Action and person of each row."""
    return [line.split(",")[6:] for line in path.read_text().splitlines()]


def test_tubes_that_share_a_box_are_one_person(tmp_path: Path) -> None:
    tubes = [tube("1", [5, 6], 0.1, 0), tube("2", [6, 7], 0.1, 1), tube("1", [5, 6], 0.4, 2)]
    write_ava([VideoAnnotation("v", tubes)], tmp_path / "out.csv")
    assert persons(tmp_path / "out.csv") == [["1", "0"], ["1", "1"], ["1", "0"], ["1", "1"], ["2", "0"], ["2", "0"]]


def test_tubes_that_a_reader_would_join_stay_apart(tmp_path: Path) -> None:
    """Both stand where tube 1 is, one after the other; written as one person they would be read as one tube."""
    tubes = [tube("1", [5, 6], 0.1, 0), tube("2", [5, 6, 7, 8], 0.1, 1), tube("1", [7, 8], 0.1, 2)]
    write_ava([VideoAnnotation("v", tubes)], tmp_path / "out.csv")
    (video,) = read_ava(tmp_path / "out.csv")
    assert sorted((one.label, one.frames.tolist()) for one in video.tubes) == [
        ("1", [5, 6]),
        ("1", [7, 8]),
        ("2", [5, 6, 7, 8]),
    ]


def test_of_dense_tubes_the_frames_on_whole_seconds_are_written(tmp_path: Path) -> None:
    tubes = [tube("1", list(range(20, 60)), 0.1, 0), tube("1", [26, 27], 0.4, 1)]
    with pytest.warns(UserWarning, match="1 tubes have no frame on a whole second"):
        write_ava([VideoAnnotation("v", tubes)], tmp_path / "out.csv", fps=25, start=900)
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert [line.split(",")[1] for line in lines] == ["0901", "0902"]  # frames 25 and 50


def test_detections_come_back(tmp_path: Path) -> None:
    found = Detections(902, np.float32([[0.1, 0.2, 0.3, 0.4], [0, 0, 1, 1 / 3]]), np.float32([0.7, 1 / 3]))
    table = table_from_detections("v", [found])
    table["label"] = "talk to"
    write_ava_detections(table, tmp_path / "out.csv", class_names=NAMES)
    assert (tmp_path / "out.csv").read_text().splitlines()[0] == "v,0902,0.1,0.2,0.3,0.4,17,0.7"
    again = read_ava_detections(tmp_path / "out.csv", class_names=NAMES)
    for column in ("video", "label", "frame", "x1", "y1", "x2", "y2", "score"):
        assert again[column].tolist() == table[column].tolist()


@pytest.mark.parametrize(
    ("video", "message"),
    [
        (VideoAnnotation("v", [tube("1", [0], 5, 0)]), "is no fraction of the picture"),
        (VideoAnnotation("a,b", [tube("1", [0], 0.1, 0)]), "cannot be the name of a video"),
        (VideoAnnotation("v", [tube("walk", [0], 0.1, 0)]), "needs a list of actions for the label 'walk'"),
        (VideoAnnotation("v"), "nothing to write"),
    ],
)
def test_what_the_format_cannot_hold_is_refused_and_nothing_written(
    tmp_path: Path, video: VideoAnnotation, message: str
) -> None:
    with pytest.raises(AvaError, match=message):
        write_ava([video], tmp_path / "out.csv")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(AvaError, match="a video occurs twice"):
        write_ava([video, video], tmp_path / "out.csv")


def test_a_label_that_is_not_in_the_list_and_a_missing_score_are_refused(tmp_path: Path) -> None:
    table = table_from_detections("v", [Detections(1, np.float32([[0, 0, 1, 1]]), np.float32([0.5]))])
    with pytest.raises(AvaError, match="the list of actions does not have the label ''"):
        write_ava_detections(table, tmp_path / "out.csv", class_names=NAMES)
    table["score"] = np.float32("nan")
    with pytest.raises(AvaError, match="row 1 has no score"):
        write_ava_detections(table, tmp_path / "out.csv", class_names=NAMES)


def test_the_published_sample_has_its_published_frame_map() -> None:
    """mmaction2 tests/evaluation/metrics/test_acc_metric.py: 0.09385522."""
    folder = SHARED / "reference_scores" / "ava"
    if not folder.is_dir():
        pytest.skip("AVA's sample is not on this machine")
    names = read_action_list(folder / "action_list.txt")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        truth = read_ava(folder / "gt.csv", class_names=names)
        found = read_ava_detections(folder / "pred.csv", class_names=names)
    result = frame_map(truth, found, protocol="ava")
    assert result.mean["0.5"] == pytest.approx(0.09385522, abs=1e-8)
    assert holds_scores(folder / "pred.csv")
    assert not holds_scores(folder / "gt.csv")
    assert len(read_action_list(next((SHARED / "labels").glob("ava_action_list*")))) == 60
