"""What is written in a format is read back from it; what it cannot hold is said before."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from linking.records import Tube, VideoAnnotation
from linking.tables import TableError, table_of_loose_boxes
from video.annotation_writing import WRITABLE, kind_to_write, losses, write_annotations
from video.annotations import AnnotationError, Annotations, FormatOptions, read_annotations
from video.jhmdb import Split

NAN = float("nan")
CLASSES = ("jump", "wave")
OPTIONS = FormatOptions(class_names=CLASSES)


def tube(label: str = "wave", score: float = NAN, id: int = 0, frames: tuple[int, ...] = (0, 1)) -> Tube:
    boxes = np.tile(np.float32([10, 20, 30, 60]), (len(frames), 1)) + np.float32(id)
    return Tube(label, np.array(frames), boxes, np.full(len(frames), score), score, id)


def truth(name: str = "wave/a") -> Annotations:
    """Two tubes without scores in a video of known size."""
    return Annotations("jhmdb", (VideoAnnotation(name, [tube(), tube("jump", id=1)], 9, 320, 240),), CLASSES)


def found() -> Annotations:
    return Annotations("table", (VideoAnnotation("wave/a", [tube(score=0.5), tube("jump", 0.25, 1)]),))


def target(kind: str, folder: Path) -> Path:
    suffix = {"table": ".json", "jhmdb": ".pkl", "ucf24": ".pkl", "multisports": ".pkl", "ava": ".csv", "cvat": ".xml"}
    return folder / f"out{suffix.get(kind, '')}"


def facts(annotations: Annotations) -> list:
    return [
        (video.video, one.label, one.frames.tolist(), one.boxes.tolist())
        for video in annotations.videos
        for one in sorted(video.tubes, key=lambda one: one.label)
    ]


@pytest.mark.parametrize("kind", sorted(set(WRITABLE) - {"act"}))
def test_ground_truth_comes_back_from_every_format(tmp_path: Path, kind: str) -> None:
    path = target(kind, tmp_path)
    lost = write_annotations(truth(), path, kind=kind, options=OPTIONS)
    assert lost == (["lengths and sizes of the videos"] if kind == "ava" else [])
    options = replace(OPTIONS, size=(320, 240))
    read = read_annotations(path, kind=None if kind != "multisports" else kind, options=options)
    assert (read.kind, read.has_loose_boxes) == (kind, False)
    assert facts(read) == facts(truth())


@pytest.mark.parametrize("kind", ["table", "act", "multisports", "mot"])
def test_detections_come_back_with_their_scores(tmp_path: Path, kind: str) -> None:
    path = target(kind, tmp_path)
    write_annotations(found(), path, kind=kind, options=OPTIONS)
    read = read_annotations(path, options=OPTIONS)
    assert facts(read) == facts(found())
    assert {one.label: one.score for one in read.videos[0].tubes} == {"wave": 0.5, "jump": 0.25}


def test_detections_of_ava_lose_their_tubes(tmp_path: Path) -> None:
    sized = Annotations("table", (replace(found().videos[0], width=320, height=240),))
    lost = write_annotations(sized, tmp_path / "a.csv", kind="ava")
    assert lost == ["tubes: AVA's detections are boxes of single frames", "lengths and sizes of the videos"]
    assert (tmp_path / "a.classes.txt").read_text() == "1: jump\n2: wave\n"
    read = read_annotations(tmp_path / "a.csv", options=FormatOptions(class_names={1: "jump", 2: "wave"}))
    assert read.has_loose_boxes
    assert sorted(read.table["label"]) == ["jump", "jump", "wave", "wave"]


def test_class_numbers_are_written_beside_what_counts_in_them(tmp_path: Path) -> None:
    write_annotations(found(), tmp_path / "a.pkl", kind="multisports")
    assert (tmp_path / "a.classes.txt").read_text() == "jump\nwave\n"
    write_annotations(found(), tmp_path / "tubes", kind="act", options=FormatOptions(class_names=("wave", "jump")))
    assert (tmp_path / "tubes" / "classes.txt").read_text() == "wave\njump\n"


def loose() -> Annotations:
    boxes = np.float32([[1, 2, 3, 4]])
    return Annotations("ava", table_of_loose_boxes(["a"], ["run"], np.array([0]), boxes, np.float32([0.5])))


@pytest.mark.parametrize("kind", WRITABLE)
def test_boxes_without_tubes_go_where_there_are_such(tmp_path: Path, kind: str) -> None:
    path = target(kind, tmp_path)
    if kind in ("table", "mot"):
        write_annotations(loose(), path, kind=kind)
        assert read_annotations(path).has_loose_boxes
    elif kind == "ava":
        fractions = table_of_loose_boxes(["a"], ["7"], np.array([0]), np.float32([[0, 0, 0.5, 0.5]]), np.float32([0.5]))
        write_annotations(Annotations("ava", fractions), path, kind=kind)
        assert read_annotations(path).table["label"].tolist() == ["7"]
        assert not (tmp_path / "out.classes.txt").exists(), "labels that are numbers need no list"
    else:
        with pytest.raises(TableError, match="link them into tubes first"):
            write_annotations(loose(), path, kind=kind)
        assert not list(tmp_path.iterdir())


def test_losses_are_named_one_by_one() -> None:
    small = VideoAnnotation("wave/b", (), 5, 100, 100)
    holed = VideoAnnotation("wave/a", [tube(score=0.5, frames=(0, 1, 5))], 9, 320, 240)
    splits = (Split((), ("wave/a",)), Split(("wave/a",), ()))
    whole = Annotations("jhmdb", (holed, small), CLASSES, splits)
    assert losses(whole, "ucf24", Path("a.pkl")) == [
        "scores: this format holds ground truth",
        "sizes of the videos: readers take all to be 320x240",
        "that 1 tubes have holes: each run of frames becomes a tube",
        "1 of 2 splits: the format has one",
    ]
    assert losses(whole, "table", Path("a.csv")) == [
        "lengths and sizes of the videos",
        "1 videos without a box",
        "which videos are for training and which for testing",
    ]
    for name in ("a.json", "a.parquet"):
        assert losses(whole, "table", Path(name)) == ["which videos are for training and which for testing"]
    assert losses(truth(), "jhmdb", Path("a.pkl")) == []


def test_a_box_without_a_score_is_told_to_get_one() -> None:
    part = Annotations("table", (VideoAnnotation("a", [replace(tube(score=0.5), scores=np.float32([0.5, NAN]))]),))
    assert losses(part, "act", Path("a")) == [
        "which boxes have no score of their own: they get the score of their tube",
    ]


def test_splits_stay_with_the_formats_that_have_them(tmp_path: Path) -> None:
    splits = (Split(("wave/a",), ("wave/b",)),)
    both = Annotations("jhmdb", (*truth().videos, VideoAnnotation("wave/b", (), 2)), CLASSES, splits)
    for kind in ("jhmdb", "ucf24"):
        write_annotations(both, tmp_path / "a.pkl", kind=kind)
        assert read_annotations(tmp_path / "a.pkl").splits == splits


def test_as_published_writes_j_hmdb_as_the_numbers_stand(tmp_path: Path) -> None:
    options = FormatOptions(as_published=True)
    write_annotations(truth(), tmp_path / "a.pkl", kind="jhmdb", options=options)
    assert facts(read_annotations(tmp_path / "a.pkl", options=options)) == facts(truth())
    assert read_annotations(tmp_path / "a.pkl").videos[0].tubes[0].boxes[0].tolist() == [10, 20, 31, 61]


def test_the_name_tells_the_format_where_it_can(tmp_path: Path) -> None:
    assert [kind_to_write(name, None) for name in ("a.csv", "a.JSON", "a.xml")] == ["table", "table", "cvat"]
    assert kind_to_write("a.csv", "ava") == "ava"
    for path, kind, text in (
        ("a.pkl", None, "say one of table, jhmdb"),
        ("a", None, "say one of"),
        ("a.pkl", "jhmdb-masks", "can only be read"),
        ("a.pkl", "coco", "is unknown"),
        ("a.txt", "table", "unknown suffix"),
        (tmp_path, "ava", "a folder; ava is written to one file"),
    ):
        with pytest.raises(ValueError, match=text):
            kind_to_write(path, kind)
    (tmp_path / "file").touch()
    with pytest.raises(AnnotationError, match="written to a folder"):
        kind_to_write(tmp_path / "file", "mot")
