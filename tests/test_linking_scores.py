import json
import zipfile

import numpy as np
import pytest

from linking.records import Detections
from linking.scores import ScoredVideo, ScoresError, read_scores, write_scores


def scored_video(**changes):
    rng = np.random.default_rng(0)
    detections = []
    for frame, n in enumerate((2, 0, 1)):
        corner = rng.random((n, 2), np.float32) * 100
        boxes = np.concatenate([corner, corner + 7.3], axis=1)
        detections.append(Detections(frame, boxes, rng.random(n), rng.random((n, 2))))
    given = {
        "video": "sport/läuft, 1",
        "class_names": ("run", "NA"),
        "detections": tuple(detections),
        "width": 320,
        "height": 240,
        "fps": 29.97,
        "cuts": (2,),
    }
    return ScoredVideo(**{**given, **changes})


def test_round_trip_gives_back_every_bit(tmp_path):
    scored = scored_video()
    write_scores(tmp_path / "a.npz", scored)
    again = read_scores(tmp_path / "a.npz")
    assert (again.video, again.class_names) == (scored.video, scored.class_names)
    assert (again.width, again.height, again.fps, again.cuts) == (320, 240, 29.97, (2,))
    assert again.num_frames == 3
    for ours, theirs in zip(scored.detections, again.detections):
        assert ours.frame == theirs.frame
        assert ours.boxes.tobytes() == theirs.boxes.tobytes()
        assert ours.scores.tobytes() == theirs.scores.tobytes()
        assert ours.class_scores.tobytes() == theirs.class_scores.tobytes()


def test_a_video_without_any_box_round_trips(tmp_path):
    empty = Detections(0, np.zeros((0, 4)), np.zeros(0), np.zeros((0, 2)))
    write_scores(tmp_path / "a.npz", scored_video(detections=(empty,), cuts=()))
    assert read_scores(tmp_path / "a.npz").detections[0].class_scores.shape == (0, 2)
    write_scores(tmp_path / "b.npz", scored_video(detections=(), cuts=()))
    assert read_scores(tmp_path / "b.npz").num_frames == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_names": ("run", "run")}, "unique"),
        ({"class_names": ("run",)}, "2 class scores a box for 1 class names"),
        ({"detections": (Detections(1, np.zeros((0, 4)), np.zeros(0), np.zeros((0, 2))),)}, "belong to frame 1"),
        ({"detections": (Detections(0, np.zeros((0, 4)), np.zeros(0)),)}, "no class scores"),
        ({"width": 0}, "above 0"),
        ({"fps": float("nan")}, "above 0"),
        ({"cuts": (2, 1)}, "ascending"),
    ],
)
def test_a_record_that_contradicts_itself_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        scored_video(**changes)


def one_line(error):
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300
    return str(error.value)


def test_files_that_are_no_score_files_are_refused_in_one_line(tmp_path):
    bad = tmp_path / "bad.npz"
    for content in (b"", b"text", b"PK\x03\x04 not a zip", b"\x93NUMPY\x01\x00", b"\x80\x04N."):
        bad.write_bytes(content)
        with pytest.raises(ScoresError, match=r"bad\.npz: not a whole \.npz score file") as error:
            read_scores(bad)
        one_line(error)
    with pytest.raises(ScoresError, match="No such file"):
        read_scores(tmp_path / "missing.npz")
    with pytest.raises(ScoresError, match="directory"):
        read_scores(tmp_path)


def test_a_file_cut_off_at_any_place_is_refused(tmp_path):
    write_scores(tmp_path / "a.npz", scored_video())
    whole = (tmp_path / "a.npz").read_bytes()
    for length in range(0, len(whole) - 1, 97):
        (tmp_path / "b.npz").write_bytes(whole[:length])
        with pytest.raises(ScoresError) as error:
            read_scores(tmp_path / "b.npz")
        one_line(error)


def rewrite(path, **arrays):
    with np.load(path) as stored:
        changed = {**stored, **arrays}
    np.savez(path, **{name: array for name, array in changed.items() if array is not None})


ABOUT = {
    "format": "lgd scored video",
    "version": 1,
    "video": "v",
    "class_names": ["run", "NA"],
    "width": 320,
    "height": 240,
    "fps": 25.0,
    "cuts": [],
}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"scores": None}, "no array 'scores'"),
        ({"about": np.array("[1]")}, "header"),
        ({"about": np.array("{")}, "not a usable score file"),
        ({"about": np.array([2**31], np.uint32).view("U1")[0:1].reshape(())}, "not a usable score file"),
        ({"about": np.array(json.dumps({**ABOUT, "version": 2}))}, "version 2 of the format, this program reads 1"),
        ({"about": np.array(json.dumps({**ABOUT, "class_names": ["run"]}))}, "2 class scores a box for 1 class names"),
        ({"about": np.array(json.dumps({**ABOUT, "width": "x"}))}, "not a usable score file"),
        ({"counts": np.array([2, 0, 2])}, "must have 4 rows"),
        ({"counts": np.array([2.0, 0, 1])}, "whole numbers"),
        ({"counts": np.array([4, -1, 0])}, "whole numbers"),
        ({"boxes": np.zeros((3, 4))}, "float32"),
        ({"boxes": np.zeros((3, 4), np.float32)}, "no area"),
        ({"scores": np.full(3, np.nan, np.float32)}, "finite"),
        ({"boxes": np.float32(1)}, "3 rows"),
    ],
)
def test_arrays_that_contradict_each_other_are_refused(tmp_path, arrays, message):
    path = tmp_path / "a.npz"
    write_scores(path, scored_video())
    rewrite(path, **arrays)
    with pytest.raises(ScoresError, match=message) as error:
        read_scores(path)
    assert "a.npz" in one_line(error)


def test_pickled_objects_are_not_loaded(tmp_path):
    path = tmp_path / "a.npz"
    write_scores(path, scored_video())
    rewrite(path, scores=np.array([{}, {}, {}], object))
    with pytest.raises(ScoresError):
        read_scores(path)


def test_members_of_the_archive_that_are_no_arrays_or_damaged_ones_are_refused(tmp_path):
    write_scores(tmp_path / "a.npz", scored_video())
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    boxes = members["boxes.npy"]
    for damaged in (b"no array", boxes.replace(b"{'descr'", b"{'descr(("), boxes.replace(b"}", b"\0"), boxes[:-1]):
        with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
            for name, data in {**members, "boxes.npy": damaged}.items():
                archive.writestr(name, data)
        with pytest.raises(ScoresError, match=r"b\.npz: not a whole \.npz score file") as error:
            read_scores(tmp_path / "b.npz")
        one_line(error)


def test_other_arrays_are_refused_and_other_suffixes_not_written(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(3))
    with pytest.raises(ScoresError, match="single array"):
        read_scores(tmp_path / "a.npy")
    with pytest.raises(ScoresError, match=r"written as \.npz, not as \.csv"):
        write_scores(tmp_path / "a.csv", scored_video())
    assert not (tmp_path / "a.csv").exists()
