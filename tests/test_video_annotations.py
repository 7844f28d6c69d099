"""One way in for all formats: what a file holds decides, not its name."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from linking.records import Tube, VideoAnnotation
from linking.tables import TableError, table_from_annotations, table_of_loose_boxes, write_tubes
from video.annotations import KINDS, AnnotationError, FormatOptions, joined, read_annotations
from video.ground_truth_pickles import write_jhmdb, write_ucf24
from video.jhmdb import Split

SHARED = Path(__file__).parents[2] / "shared"
ROWS = np.float64([[1, 10, 20, 29, 59, 0.5], [2, 11, 20, 30, 59, 0.75]])


def tube(label: str = "wave", score: float = float("nan"), id: int = 0) -> Tube:
    boxes = np.float32([[10, 20, 30, 60], [11, 20, 31, 60]])
    return Tube(label, np.arange(2), boxes, np.full(2, score), score, id)


def video(name: str = "wave/a", score: float = float("nan")) -> VideoAnnotation:
    return VideoAnnotation(name, [tube(score=score)], 2, 320, 240)


def dump(path: Path, data: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(data, 2))
    return path


def make(kind: str, folder: Path) -> tuple[Path, FormatOptions]:
    """A small file or folder of a kind, under a name that does not tell it where the format allows that."""
    options = FormatOptions(class_names=("jump", "wave"), video_names=("wave/a",))
    path = folder / "file.bin.pkl"
    if kind == "table":
        path = folder / "file.csv"
        write_tubes(table_from_annotations([video()]), path)
    elif kind == "jhmdb":
        write_jhmdb([video()], path, ["jump", "wave"])
    elif kind == "jhmdb-masks":
        mask = np.zeros((240, 320, 2), np.uint8)
        mask[20:60, 10:30, 0] = mask[20:60, 11:31, 1] = 1
        path = folder / "wave" / "a" / "other.mat"
        path.parent.mkdir(parents=True)
        savemat(path, {"part_mask": mask}, do_compression=True)
    elif kind == "ucf24":
        write_ucf24([video()], path, ["jump", "wave"], [])
    elif kind == "ucf24-mat":
        tubes = np.zeros((1, 1), [(name, "O") for name in ("ef", "sf", "class", "boxes")])
        tubes[0, 0] = (2.0, 1.0, 1.0, np.float64([[10, 20, 20, 40], [11, 20, 20, 40]]))
        annot = np.zeros((1, 1), [(name, "O") for name in ("num_imgs", "name", "tubes")])
        annot[0, 0] = (2.0, "wave/a", tubes)
        path = folder / "file.bin"
        savemat(path, {"annot": annot}, appendmat=False)
    elif kind == "multisports":
        dump(path, {1: [("wave/a", 0.5, ROWS + np.array([0, 0, 0, 1, 1, 0]))]})
    elif kind == "act":
        path = folder / "wave" / "a_tubes.pkl"
        dump(path, {0: [], 1: [(ROWS, 0.5)]})
    elif kind == "ava":
        path = folder / "file.bin"
        path.write_text("wave/a,1,.1,.2,.3,.6,2,1\nwave/a,2,.1,.2,.3,.6,2,1\n")
    elif kind == "ava-proposals":
        dump(path, {"wave/a,1": np.float64([[0.1, 0.2, 0.3, 0.6, 0.5]])})
    elif kind == "mot":
        path = folder / "wave" / "a" / "gt" / "gt.txt"
        path.parent.mkdir(parents=True)
        path.write_text("1,1,11,21,20,40,1,-1,-1,-1\n2,1,12,21,20,40,1,-1,-1,-1\n")
    elif kind == "cvat":
        path = folder / "file.bin"
        box = '<box frame="{}" outside="0" occluded="0" keyframe="1" xtl="{}" ytl="20" xbr="{}" ybr="60" z_order="0"/>'
        boxes = box.format(0, 10, 30) + box.format(1, 11, 31)
        path.write_text(
            "<annotations><version>1.1</version><meta><task><size>2</size><source>a.mp4</source></task></meta>"
            f'<track id="0" label="wave">{boxes}</track></annotations>'
        )
    return path, options


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_recognised_and_says_the_same_tube(tmp_path: Path, kind: str) -> None:
    path, options = make(kind, tmp_path)
    read = read_annotations(path, options=options)
    assert read.kind == kind
    if kind == "ava-proposals":
        assert read.has_loose_boxes
        assert read.table["frame"].tolist() == [1]
        return
    (got,) = read.videos
    (found,) = got.tubes
    assert got.video.removeprefix("wave/") == "a"
    if kind == "ava":
        assert (found.label, found.frames.tolist()) == ("wave", [1, 2]), "seconds, and class 2 of 2"
        return
    assert found.frames.tolist() == [0, 1]
    assert found.boxes.tolist() == [[10, 20, 30, 60], [11, 20, 31, 60]]
    assert found.label == ("person" if kind == "mot" else "wave")
    assert read.table["x2"].tolist() == [30, 31]
    assert not read.has_loose_boxes


@pytest.mark.parametrize("kind", ["jhmdb", "jhmdb-masks", "act"])
def test_as_published_reaches_the_readers_of_inclusive_pixels(tmp_path: Path, kind: str) -> None:
    path, _ = make(kind, tmp_path)
    read = read_annotations(path, options=FormatOptions(as_published=True))
    assert read.videos[0].tubes[0].boxes[0].tolist() == [10, 20, 29, 59]


def test_parts_of_a_dataset_come_along(tmp_path: Path) -> None:
    both = [video("wave/a"), video("wave/b")]
    write_jhmdb(both, tmp_path / "jhmdb.pkl", ["jump", "wave"], [Split(("wave/a",), ("wave/b",))])
    write_ucf24(both, tmp_path / "ucf24.pkl", ["jump", "wave"], ["wave/a"])
    for name in ("jhmdb", "ucf24"):
        read = read_annotations(tmp_path / f"{name}.pkl")
        assert read.splits == (Split(("wave/a",), ("wave/b",)),)
        assert read.class_names == ("jump", "wave")


def test_the_layout_of_j_hmdb_with_the_videos_of_multisports_is_multisports(tmp_path: Path) -> None:
    write_jhmdb([video("football/v_1")], tmp_path / "gt.pkl", ["wave"], inclusive=False)
    read = read_annotations(tmp_path / "gt.pkl")
    assert read.kind == "multisports"
    assert read.videos[0].tubes[0].boxes[0].tolist() == [10, 20, 30, 60]
    assert read_annotations(tmp_path / "gt.pkl", kind="jhmdb").videos[0].tubes[0].boxes[0, 2] == 30 + 1


def test_boxes_of_frames_need_to_be_told_their_pixels(tmp_path: Path) -> None:
    path = dump(tmp_path / "frame_detections.pkl", np.float32([[0, 1, 1, 0.5, 10, 20, 29, 59]]))
    options = FormatOptions(video_names=("wave/a",))
    with pytest.raises(AnnotationError, match=r"kind act .* or multisports"):
        read_annotations(path, options=options)
    for kind, right in (("act", 30), ("multisports", 29)):
        read = read_annotations(path, kind=kind, options=options)
        assert read.has_loose_boxes
        assert read.table["x2"].tolist() == [right]
        with pytest.raises(TableError, match=r"frame_detections\.pkl: row 1, .* detections of single frames"):
            read.videos  # noqa: B018


def test_detections_of_ava_and_mot_are_boxes_without_tubes(tmp_path: Path) -> None:
    (tmp_path / "pred.csv").write_text("a,1,.1,.2,.3,.6,2,0.5\n")
    (tmp_path / "det.txt").write_text("1,-1,11,21,20,40,0.5,-1,-1,-1\n")
    for name, label in (("pred.csv", "jump"), ("det.txt", "runner")):
        read = read_annotations(tmp_path / name, options=FormatOptions(class_names={2: "jump"}, label="runner"))
        assert read.has_loose_boxes
        assert read.table["label"].tolist() == [label]


def test_a_folder_of_tables_is_one_table(tmp_path: Path) -> None:
    for name in "ab":
        write_tubes(table_from_annotations([video(name)]), tmp_path / f"{name}.csv")
    (tmp_path / "README.md").write_text("video,frame,x1\n")
    (tmp_path / "run.json").write_text("{}")
    assert [one.video for one in read_annotations(tmp_path).videos] == ["a", "b"]
    write_tubes(table_from_annotations([video("a")]), tmp_path / "c.json")
    with pytest.raises(AnnotationError, match=r"c\.json: video 'a' is in .*a\.csv too"):
        read_annotations(tmp_path)


def test_folders_of_masks_tubes_and_sequences(tmp_path: Path) -> None:
    for kind in ("act", "mot"):
        make(kind, tmp_path / kind)
        read = read_annotations(tmp_path / kind)
        assert (read.kind, [one.video for one in read.videos]) == (kind, ["wave/a"])
    path, _ = make("jhmdb-masks", tmp_path / "masks")
    path.rename(path.with_name("puppet_mask.mat"))
    assert read_annotations(tmp_path / "masks").kind == "jhmdb-masks"


def test_joined_files_keep_lengths_and_common_classes(tmp_path: Path) -> None:
    write_jhmdb([video("wave/a")], tmp_path / "a.pkl", ["wave"])
    write_jhmdb([VideoAnnotation("wave/b", (), 7)], tmp_path / "b.pkl", ["wave"])
    parts = [(read_annotations(path), path) for path in sorted(tmp_path.iterdir())]
    whole = joined(parts)
    assert whole.class_names == ("wave",)
    assert [(one.video, one.num_frames) for one in whole.videos] == [("wave/a", 2), ("wave/b", 7)]


@pytest.mark.parametrize(
    ("name", "data", "text"),
    [
        ("missing", None, "No such file"),
        ("notes.txt", b"dear diary", "not recognised"),
        ("empty.pkl", b"", "ends too early"),
        ("other.pkl", pickle.dumps({"a": 1}), "of no annotation known"),
        ("list.pkl", pickle.dumps([1]), "of no annotation known"),
        ("empty.csv", b"", "empty"),
        ("other.csv", b"a,b\n1,2\n", "missing column"),
    ],
)
def test_what_is_no_annotation_says_so_in_a_line(tmp_path: Path, name: str, data: bytes | None, text: str) -> None:
    path = tmp_path / name
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(ValueError, match=text) as caught:
        read_annotations(path)
    assert str(path) in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


def test_empty_and_mixed_folders_and_unknown_kinds(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="no annotation"):
        read_annotations(tmp_path)
    make("table", tmp_path)
    (tmp_path / "b.txt").write_text("1,1,11,21,20,40,1,-1,-1,-1\n")
    with pytest.raises(AnnotationError, match=r"several kinds \(mot, table\)"):
        read_annotations(tmp_path)
    assert read_annotations(tmp_path, kind="table").kind == "table"
    with pytest.raises(AnnotationError, match="known are table"):
        read_annotations(tmp_path, kind="coco")


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(AnnotationError, match="neither a file nor a folder"):
        read_annotations(tmp_path / "pipe.csv", kind="table")


def test_a_table_may_hold_tubes_and_loose_boxes(tmp_path: Path) -> None:
    loose = table_of_loose_boxes(["a"], [""], np.array([0]), np.float32([[1, 2, 3, 4]]), np.float32([0.5]))
    write_tubes(loose, tmp_path / "a.csv")
    assert read_annotations(tmp_path / "a.csv").has_loose_boxes


@pytest.mark.parametrize(
    ("name", "kind", "videos", "tubes"),
    [
        ("jhmdb/JHMDB-GT.pkl", "jhmdb", 928, 928),
        ("realdata/ucf24/pyannot.pkl", "ucf24", 3194, 4458),
        ("realdata/mot15/TUD-Campus/gt.txt", "mot", 1, 8),
        ("realdata/reference_scores/ava/gt.csv", "ava", 3, None),
    ],
)
def test_real_files_are_recognised(name: str, kind: str, videos: int, tubes: int | None) -> None:
    if not (SHARED / name).is_file():
        pytest.skip(f"the real annotation {name} is not on this machine")
    read = read_annotations(SHARED / name)
    assert (read.kind, len(read.videos)) == (kind, videos)
    assert tubes is None or sum(len(one.tubes) for one in read.videos) == tubes
