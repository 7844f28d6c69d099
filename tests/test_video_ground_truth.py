"""Which videos are judged: by the format's own splits, by a list, or all."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from linking.records import Tube, VideoAnnotation
from video.annotations import AnnotationError, Annotations
from video.ground_truth import choose_parts, read_class_names, read_test_names
from video.jhmdb import Split

A, B = (VideoAnnotation(name, [Tube("run", np.arange(2), np.float32([[1, 2, 3, 4]] * 2))]) for name in "ab")
SPLITS = (Split(("a",), ("b",)), Split(("b",), ("a", "missing")))


def names(annotations: Annotations, **arguments: object) -> list[list[str]]:
    return [[video.video for video in part] for part in choose_parts(annotations, "gt", **arguments).parts]


def test_splits_of_the_format() -> None:
    jhmdb = Annotations("jhmdb", (A, B), ("run",), SPLITS)
    assert names(jhmdb) == [["b"]]
    assert names(jhmdb, split=2) == [["a"]]
    assert names(jhmdb, split=None) == [["b"], ["a"]]
    assert names(jhmdb, part="train") == [["a"]]
    assert names(jhmdb, part="all") == [["a", "b"]]
    assert names(jhmdb, test_names=["a"]) == [["a"]]
    truth = choose_parts(jhmdb, "gt", split=2)
    assert truth.test_names == (("a", "missing"),), "in the order of the file, which detections may count in"
    assert (truth.known, truth.class_names) == ({"a", "b"}, ("run",))
    assert truth.description == "J-HMDB: 1 videos, 1 tubes"
    assert choose_parts(jhmdb, "gt", split=None).description == "J-HMDB: 2 videos, 2 tubes (mean of 2 splits)"


def test_a_format_of_one_split_passes_over_the_number() -> None:
    assert names(Annotations("ucf24", (A, B), None, SPLITS[:1]), split=3) == [["b"]]


def test_without_splits_everything_counts_but_of_ucf24() -> None:
    for kind in ("table", "cvat", "jhmdb-masks"):
        assert names(Annotations(kind, (A, B))) == [["a", "b"]]
        assert names(Annotations(kind, (A, B)), test_names=["b"]) == [["b"]]
    with pytest.raises(AnnotationError, match="give --test-list, or --part all"):
        choose_parts(Annotations("ucf24-mat", (A, B)), "gt")
    assert names(Annotations("ucf24-mat", (A, B)), part="all") == [["a", "b"]]


def test_what_leaves_nothing_to_judge_is_an_error() -> None:
    jhmdb = Annotations("jhmdb", (A, B), ("run",), SPLITS)
    with pytest.raises(AnnotationError, match="split must be 1 to 2, got 3"):
        choose_parts(jhmdb, "gt", split=3)
    with pytest.raises(AnnotationError, match="no video of the test part"):
        choose_parts(jhmdb, "gt", test_names=["c"])
    with pytest.raises(AnnotationError, match="unknown part 'val'"):
        choose_parts(jhmdb, "gt", part="val")
    with pytest.raises(AnnotationError, match="no ground truth"):
        choose_parts(Annotations("ava-proposals", (A,)), "gt")


def test_test_videos_from_a_list_or_from_j_hmdb_split_files(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("wave/a.avi\nwave/b\n")
    assert read_test_names(tmp_path / "list.txt") == ("wave/a", "wave/b")
    with zipfile.ZipFile(tmp_path / "splits.zip", "w") as archive:
        archive.writestr("splits/wave_test_split2.txt", "a.avi 1\nb.avi 2\n")
    assert read_test_names(tmp_path / "splits.zip", 2) == ("wave/b",)
    with pytest.raises(AnnotationError, match="no split 1 in it; there are 2"):
        read_test_names(tmp_path / "splits.zip", 1)


def test_classes_by_line_or_by_number(tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    path.write_text("run\n\n3 point shot\n")
    assert read_class_names(path) == ("run", "3 point shot")
    path.write_text("1: bend\n3: crouch\n")
    assert read_class_names(path) == {1: "bend", 3: "crouch"}
    path.write_text('item { name: "bend" id: 1 }')
    assert read_class_names(path) == {1: "bend"}
    for text in ("", "run\nrun\n", "run\x07\n"):
        path.write_text(text)
        with pytest.raises(AnnotationError, match="a name a line, each once"):
            read_class_names(path)
    with pytest.raises(AnnotationError, match="not a readable list"):
        read_class_names(tmp_path / "missing.txt")
