"""Ground truth written for the programs of others is read back as it was; MultiSports has J-HMDB's layout."""

from pathlib import Path

import numpy as np
import pytest

from linking.records import Tube, VideoAnnotation
from video.ground_truth_pickles import write_jhmdb, write_ucf24
from video.jhmdb import JhmdbError, Split, read_jhmdb_pickle
from video.multisports import is_multisports, parse_multisports
from video.pickles import load_pickle
from video.ucf24 import Ucf24Error, read_ucf24_pickle

CLASSES = ("dive", "walk")
BOXES = np.float32([[0.1, 0.2, 10.3, 20.7], [1, 2, 3, 4], [1, 2, 3, 4]])


def videos() -> list[VideoAnnotation]:
    """A video of two tubes, the second with a hole, and one without tubes."""
    tubes = [
        Tube("walk", np.arange(3), BOXES),
        Tube("dive", np.array([0, 5, 6]), BOXES, id=1),
    ]
    return [VideoAnnotation("football/a", tubes, 9, 320, 240), VideoAnnotation("football/b", (), 4)]


def assert_same(expected: list[VideoAnnotation], got: tuple[VideoAnnotation, ...]) -> None:
    for a, b in zip(expected, got, strict=True):
        assert (a.video, a.num_frames, a.width, a.height) == (b.video, b.num_frames, b.width, b.height)
        for s, t in zip(a.tubes, b.tubes, strict=True):
            assert s.label == t.label
            assert np.array_equal(s.frames, t.frames)
            assert np.array_equal(s.boxes, t.boxes), "bit for bit, also where a pixel was taken off and added again"


def test_j_hmdb_with_its_splits(tmp_path: Path) -> None:
    splits = (Split(("football/a",), ("football/b",)), Split((), ("football/a", "football/b")))
    write_jhmdb(videos(), tmp_path / "gt.pkl", CLASSES, splits)
    read = read_jhmdb_pickle(tmp_path / "gt.pkl")
    assert_same(videos(), read.videos)
    assert (read.class_names, read.splits) == (CLASSES, splits)
    stored = load_pickle(tmp_path / "gt.pkl")["gttubes"]["football/a"][1][0]
    assert stored[1].tolist() == [2, 1, 2, 3 - 1, 4 - 1], "frames from 1, the last pixel included"


def test_without_splits_every_video_is_for_testing(tmp_path: Path) -> None:
    write_jhmdb(videos(), tmp_path / "gt.pkl", CLASSES)
    assert read_jhmdb_pickle(tmp_path / "gt.pkl").splits == (Split((), ("football/a", "football/b")),)


def test_multisports_boxes_are_stored_as_they_are(tmp_path: Path) -> None:
    write_jhmdb(videos(), tmp_path / "gt.pkl", CLASSES, inclusive=False)
    data = load_pickle(tmp_path / "gt.pkl")
    assert is_multisports(data)
    assert_same(videos(), parse_multisports(data, tmp_path / "gt.pkl").videos)
    assert data["gttubes"]["football/a"][1][0][1].tolist() == [2, 1, 2, 3, 4]
    del data["train_videos"]  # as in the published sample
    assert parse_multisports(data, tmp_path / "gt.pkl").splits[0].test == ("football/a", "football/b")


def test_the_folders_of_the_videos_tell_multisports_from_j_hmdb(tmp_path: Path) -> None:
    data = {"labels": [], "nframes": {}, "gttubes": {"football/a": {}}}
    assert is_multisports(data)
    assert not is_multisports({**data, "gttubes": {"football/a": {}, "wave/b": {}}})
    assert not is_multisports({**data, "gttubes": {}})
    assert not is_multisports([])


def test_ucf24_cuts_tubes_at_holes(tmp_path: Path) -> None:
    write_ucf24(videos(), tmp_path / "gt.pkl", CLASSES, ["football/b"])
    read = read_ucf24_pickle(tmp_path / "gt.pkl")
    assert (read.class_names, read.train) == (CLASSES, ("football/b",))
    tubes = read.videos[0].tubes
    assert [(tube.label, tube.frames.tolist()) for tube in tubes] == [
        ("walk", [0, 1, 2]),
        ("dive", [0]),
        ("dive", [5, 6]),
    ]
    assert np.array_equal(tubes[0].boxes, BOXES)
    assert read.videos[0].num_frames == 9


def test_unknown_lengths_are_those_of_the_tubes(tmp_path: Path) -> None:
    unknown = [VideoAnnotation("a/a", [Tube("walk", np.array([4]), BOXES[:1])])]
    write_ucf24(unknown, tmp_path / "ucf.pkl", CLASSES)
    write_jhmdb(unknown, tmp_path / "jhmdb.pkl", CLASSES)
    assert read_ucf24_pickle(tmp_path / "ucf.pkl").videos[0].num_frames == 4 + 1
    assert read_jhmdb_pickle(tmp_path / "jhmdb.pkl").videos[0].num_frames == 4 + 1


def test_a_label_without_a_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JhmdbError, match="'walk' is not among"):
        write_jhmdb(videos(), tmp_path / "gt.pkl", ["dive"])
    with pytest.raises(Ucf24Error, match="'walk' is not among"):
        write_ucf24(videos(), tmp_path / "gt.pkl", ["dive"])
    assert not list(tmp_path.iterdir())
