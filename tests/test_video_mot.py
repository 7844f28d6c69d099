"""MOTChallenge text: counting from 1, flags and scores, folders, class numbers, and back."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from linking.records import Detections, Tube, VideoAnnotation
from linking.tables import table_from_annotations, table_from_detections
from video.mot import MotError, holds_tracks, looks_like_mot, read_mot, read_mot_detections
from video.mot_writing import write_mot, write_mot_detections

SHARED = Path(__file__).parents[2] / "shared" / "realdata" / "mot15"

GROUND_TRUTH = """\
3,2,11,21,30,40,1,1,1
1,1,1,1,10,20,1,1,0.5
2,1,2,1,10,20,1,1,0.5
2,7,5,5,5,5,0,8,1
"""
DETECTIONS = "1,-1,281.931,187.466,79.93,209.537,0.997784,-1,-1,-1\n2,-1,1,1,2,2,-0.5,-1,-1,-1\n"


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def facts(annotations: list[VideoAnnotation]) -> list[tuple]:
    def tubes(one: VideoAnnotation) -> list[tuple]:
        return [(t.id, t.label, t.frames.tobytes(), t.boxes.tobytes(), t.scores.tobytes()) for t in one.tubes]

    return [(one.video, one.num_frames, one.width, one.height, tubes(one)) for one in annotations]


def test_frames_and_pixels_count_from_1_and_a_flag_of_0_is_ignored(tmp_path: Path) -> None:
    path = write(tmp_path / "street" / "gt" / "gt.txt", GROUND_TRUTH)
    with pytest.warns(UserWarning, match="1 boxes to be ignored were left out, first line 4"):
        (video,) = read_mot(path)
    assert video.video == "street"
    first, second = video.tubes
    assert (first.id, first.label, first.frames.tolist()) == (1, "person", [0, 1])
    assert first.boxes[0].tolist() == [0, 0, 10, 20]  # left 1 is the first column; 10 pixels wide
    assert (second.id, second.frames.tolist()) == (2, [2])
    assert second.boxes[0].tolist() == [11 - 1, 21 - 1, 11 - 1 + 30, 21 - 1 + 40]
    assert np.isnan(first.score)
    assert np.isnan(first.scores).all()


def test_as_published_leaves_the_numbers_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "1,1,11,21,30,40,1\n")
    assert read_mot(path, as_published=True)[0].tubes[0].boxes[0].tolist() == [11, 21, 11 + 30, 21 + 40]
    assert read_mot_detections(path, as_published=True).loc[0, ["x1", "y2"]].tolist() == [11, 21 + 40]


def test_the_result_of_a_tracker_has_scores(tmp_path: Path) -> None:
    path = write(
        tmp_path / "street.txt", "1,4,1,1,9,9,0.5,-1,-1,-1\n2,4,1,1,9,9,0.25,-1,-1,-1\n3,4,1,1,9,9,-1,-1,-1,-1\n"
    )
    (video,) = read_mot(path, label="walk")
    (tube,) = video.tubes
    assert (video.video, tube.label) == ("street", "walk")
    assert tube.scores[:2].tolist() == [0.5, 0.25]
    assert np.isnan(tube.scores[2])  # -1 is none
    assert tube.score == (0.5 + 0.25) / 2
    assert np.isnan(read_mot(path, ground_truth=True)[0].tubes[0].score)


def test_a_file_may_end_its_rows_after_the_box(tmp_path: Path) -> None:
    (video,) = read_mot(write(tmp_path / "a.txt", "1,1,1,1,2,2\n"))
    assert video.tubes[0].score == 1


def test_detections_are_boxes_without_tubes(tmp_path: Path) -> None:
    path = write(tmp_path / "street" / "det" / "det.txt", DETECTIONS)
    table = read_mot_detections(path)
    assert table["video"].tolist() == ["street", "street"]
    assert table["frame"].tolist() == [0, 1]
    assert table["label"].tolist() == ["person", "person"]
    assert table["tube"].isna().all()
    assert table["score"].tolist() == [np.float32(0.997784), -0.5]
    assert table["x1"][0] == np.float32(281.931 - 1)
    assert table["x2"][0] == np.float32(281.931 - 1 + 79.93)
    assert not holds_tracks(path)
    with pytest.raises(MotError, match="line 1: id -1: boxes without tracks are detections"):
        read_mot(path)


def test_a_folder_holds_a_video_for_each_sequence(tmp_path: Path) -> None:
    write(tmp_path / "train" / "b" / "gt" / "gt.txt", "1,1,1,1,2,2,1\n")
    write(tmp_path / "train" / "b" / "det" / "det.txt", DETECTIONS)
    write(tmp_path / "train" / "a" / "gt.txt", "")
    write(tmp_path / "train" / "b" / "seqinfo.ini", "[Sequence]\nname=b\nseqLength=71\nimWidth=640\nimHeight=480\n")
    a, b = read_mot(tmp_path)
    assert (a.video, a.tubes) == ("train/a", ())  # nothing in it, but a video
    assert (b.video, len(b.tubes), b.num_frames, b.width, b.height) == ("train/b", 1, 71, 640, 480)
    assert read_mot(tmp_path / "train" / "b")[0].video == "b"
    assert read_mot(tmp_path / "train" / "b" / "gt")[0].video == "b"
    table = read_mot_detections(tmp_path)
    assert table["video"].unique().tolist() == ["train/b"]
    assert table.attrs["videos"] == {"train/b": {"num_frames": 71, "width": 640, "height": 480}}
    assert holds_tracks(tmp_path)
    with pytest.raises(MotError, match="one video name for 2 files"):
        read_mot(tmp_path, video="c")
    with pytest.raises(MotError, match=r"no SEQUENCE/gt/gt\.txt"):
        read_mot(write(tmp_path / "empty" / "labels.txt", "walk\n").parent)


def test_a_list_of_labels_beside_the_file_names_the_classes(tmp_path: Path) -> None:
    write(tmp_path / "gt" / "labels.txt", "walk\nrun\n")
    path = write(tmp_path / "gt" / "gt.txt", "1,1,1,1,2,2,1,2,1\n1,2,1,1,2,2,1,1,1\n")
    assert [tube.label for tube in read_mot(path, video="v")[0].tubes] == ["run", "walk"]
    assert read_mot_detections(path)["label"].tolist() == ["run", "walk"]
    with pytest.raises(MotError, match=r"line 2: class must be 1 to 2, a line of labels\.txt, got 3"):
        read_mot(write(path, "1,1,1,1,2,2,1,2,1\n1,2,1,1,2,2,1,3,1\n"))
    with pytest.raises(MotError, match="line 2: the class of id 1 changes"):
        read_mot(write(path, "1,1,1,1,2,2,1,2,1\n2,1,1,1,2,2,1,1,1\n"))


def test_boxes_without_area_are_left_out_with_a_warning(tmp_path: Path) -> None:
    path = write(tmp_path / "a{}.txt", "1,1,1,1,0,5,1\n2,1,1,1,5,5,1\n")
    with pytest.warns(UserWarning, match="1 boxes without area were left out, first line 1"):
        (video,) = read_mot(path)
    assert video.tubes[0].frames.tolist() == [1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("\r\n \n", "the file is empty"),
        ("0,1,1,1,5,5,1\n", "line 1: frame must be a whole number from 1, got 0"),
        ("1.5,1,1,1,5,5,1\n", "line 1: frame must be a whole number from 1, got 1.5"),
        ("9e9,1,1,1,5,5,1\n", "line 1: frame must be a whole number from 1, got 9000000000"),
        ("1,-2,1,1,5,5,1\n", "line 1: id must be a whole number from -1, got -2"),
        ("\n1,1,1,1,-5,5,1\n", "line 2: the box is -5 x 5 pixels: below 0"),
        ("1,1,1,1,5,5,1\n1,1,1,1,6,6,1\n", "line 2: a second box of id 1 in frame 1"),
        ("1,1,nan,1,5,5,1\n", "line 1, left: expected a number, got 'nan'"),
        ("1,1,1,1,1e400,5,1\n", "line 1: width must be a finite number"),
        ("1,1,1,1,1e308,5,1\n", "line 1: the numbers of the box are too large"),
        ("1,1,1,1,5,5,1e300\n", "line 1: conf is too large"),
        ("1,1,1,1,5\n", "line 1: height must be a finite number"),
        ("1,1,1,1,5,5,1\n2,1,1,1,5,5\n", "line 2: conf must be a finite number"),
        ("1,1,1,1,5,5,1,1,1,1,1\n", "line 1: 11 cells, at most 10"),
        ("a,b\n", "line 1, frame: expected a number, got 'a'"),
        ("1 1 1 1 5 5 1\n", "line 1, frame: expected a number, got '1 1 1 1 5 5 1'"),
        (b"1,1,1,1,5,5,1\0\n", "a binary file"),
        ("1,1\n".encode("utf-16"), "UTF-16 text"),
        (b"\xe9,1\n", "not UTF-8 text"),
        (b"," * 10_000, "longer than 4096 bytes"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_line(tmp_path: Path, text: str | bytes, message: str) -> None:
    path = write(tmp_path / "a.txt", text)
    with pytest.raises(MotError) as caught:
        read_mot(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seqLength=71", r"expected a section \[Sequence\]"),
        ("[Sequence]\nseqLength=-1", "seqLength must be a whole number above 0, got '-1'"),
        ("[Sequence]\nimWidth=1e9", "imWidth must be a whole number above 0"),
        ("[Sequence]\nseqLength=2", "line 1: frame 3, but seqinfo.ini says there are 2"),
        (b"[Sequence]\nname=\xe9", "not UTF-8"),
    ],
)
def test_a_seqinfo_that_is_wrong(tmp_path: Path, text: str | bytes, message: str) -> None:
    path = write(tmp_path / "v" / "gt" / "gt.txt", "3,1,1,1,2,2,1\n")
    write(tmp_path / "v" / "seqinfo.ini", text)
    with pytest.raises(MotError, match=message):
        read_mot(path)


def test_byte_order_mark_blanks_and_windows_lines_do_not_matter(tmp_path: Path) -> None:
    text = "1,1,1,1,2,5,1,-1,-1,-1\n2,1,1,1,2,5,1,-1,-1,-1\n"
    plain = read_mot(write(tmp_path / "a.txt", text))
    odd = b"\xef\xbb\xbf" + text.replace(",", " , ").replace("\n", " \r\n\r\n").encode()
    assert facts(read_mot(write(tmp_path / "a.txt", odd))) == facts(plain)


def test_recognised_by_its_first_line() -> None:
    assert looks_like_mot(GROUND_TRUTH.encode())
    assert looks_like_mot(DETECTIONS.encode())
    assert looks_like_mot(b"\xef\xbb\xbf1, 3, 794.27, 247.59, 71.245, 174.88, -1, -1, -1, -1\r\n")
    assert not looks_like_mot(b"film,0902,0.25,0.50,0.75,1.00,12,0\n")
    assert not looks_like_mot(b"video,tube,label,frame,x1,y1,x2,y2,score,tube_score\n")
    assert not looks_like_mot(b"1,2,3\n")
    assert not looks_like_mot(b"")


def some_tubes(scored: bool) -> list[VideoAnnotation]:
    rng = np.random.default_rng(3)
    tubes = []
    for number, label in ((1, "walk"), (2, "run"), (9, "walk")):
        corners = rng.uniform(-20, 700, (7, 2, 2)).astype(np.float32)
        boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
        scores = rng.random(7, dtype=np.float32) if scored else None
        mean = float(scores.mean(dtype=np.float64)) if scored else float("nan")
        tubes.append(Tube(label, np.array([0, 1, 2, 5, 6, 7, 30]), boxes, scores, mean, number))
    return [VideoAnnotation("wave/clip", tubes, 40, 640, 480), VideoAnnotation("wave/none", [], 3, 4, 5)]


@pytest.mark.parametrize("as_published", [False, True])
def test_ground_truth_comes_back_to_the_bit(tmp_path: Path, as_published: bool) -> None:
    videos = some_tubes(scored=False)
    files = write_mot(videos, tmp_path, as_published=as_published)
    assert files == [tmp_path / "wave" / "clip" / "gt" / "gt.txt", tmp_path / "wave" / "none" / "gt" / "gt.txt"]
    assert facts(read_mot(tmp_path, as_published=as_published)) == facts(videos)


def test_results_come_back_with_their_scores(tmp_path: Path) -> None:
    videos = some_tubes(scored=True)
    files = write_mot(videos, tmp_path)
    assert files == [tmp_path / "wave" / "clip.txt", tmp_path / "wave" / "none.txt"]
    clip, none = read_mot(tmp_path)
    assert (clip.video, none.video, none.tubes) == ("wave/clip", "wave/none", ())
    for before, after in zip(videos[0].tubes, clip.tubes, strict=True):
        assert (after.id, after.label, after.score) == (before.id, before.label, before.score)
        assert after.boxes.tobytes() == before.boxes.tobytes()
        assert after.scores.tobytes() == before.scores.tobytes()


def test_what_is_written_is_short_and_counts_from_1(tmp_path: Path) -> None:
    boxes = np.float32([[280.931, 186.466, 360.861, 396.003], [0, 0, 10, 20.5]])
    video = VideoAnnotation("v", [Tube("walk", np.array([0, 4]), boxes, id=0)], num_frames=5)
    (file,) = write_mot([video], tmp_path)
    assert file.read_text() == "1,1,281.931,187.466,79.93,209.537,1,1,1\n5,1,1,1,10,20.5,1,1,1\n"
    assert (tmp_path / "v" / "seqinfo.ini").read_text() == "[Sequence]\nname=v\nseqLength=5\n"
    assert (tmp_path / "v" / "gt" / "labels.txt").read_text() == "walk\n"


def test_a_tube_that_alone_has_a_score_gives_it_to_its_boxes_and_a_gap_keeps_none(tmp_path: Path) -> None:
    boxes = np.tile(np.float32([0, 0, 1, 1]), (2, 1))
    only_tube = Tube("walk", np.arange(2), boxes, None, 0.25, 1)
    with_gap = Tube("walk", np.arange(2), boxes, np.float32([0.5, np.nan]), 0.5, 2)
    write_mot([VideoAnnotation("v", [only_tube, with_gap])], tmp_path)
    first, second = read_mot(tmp_path)[0].tubes
    assert (first.score, first.scores.tolist()) == (0.25, [0.25, 0.25])
    assert second.score == second.scores[0] == 0.5
    assert np.isnan(second.scores[1])


def test_detections_come_back(tmp_path: Path) -> None:
    found = [
        Detections(0, np.float32([[1.5, 2, 3, 1 / 3 + 3]]), np.float32([1 / 3])),
        Detections(5, np.zeros((0, 4)), []),
    ]
    table = table_from_detections("a/v", found)
    table.attrs["videos"] = {"a/v": {}, "a/w": {}}
    files = write_mot_detections(table, tmp_path)
    assert files == [tmp_path / "a" / video / "det" / "det.txt" for video in ("v", "w")]
    again = read_mot_detections(tmp_path, label="")
    pd.testing.assert_frame_equal(again, table, check_flags=False)
    assert sorted(again.attrs["videos"]) == ["a/v", "a/w"]
    labelled = table_from_annotations(some_tubes(scored=True))
    write_mot_detections(labelled, tmp_path / "labelled")
    again = read_mot_detections(tmp_path / "labelled" / "wave" / "clip" / "det" / "det.txt", video="wave/clip")
    keys = ["frame", "x1", "y1", "x2", "y2", "label", "score"]
    assert sorted(map(tuple, again[keys].to_numpy())) == sorted(map(tuple, labelled[keys].to_numpy()))


def test_what_the_format_cannot_hold_is_refused_and_nothing_written(tmp_path: Path) -> None:
    tube = Tube("walk\nrun", np.arange(1), np.float32([[0, 0, 1, 1]]), id=1)
    with pytest.raises(MotError, match=r"cannot be a line of labels\.txt"):
        write_mot([VideoAnnotation("v", [tube])], tmp_path)
    with pytest.raises(MotError, match="cannot be the name of a file"):
        write_mot([VideoAnnotation("../v")], tmp_path)
    with pytest.raises(MotError, match="a video occurs twice"):
        write_mot([VideoAnnotation("v"), VideoAnnotation("v")], tmp_path)
    table = table_from_detections("v", [Detections(0, np.float32([[0, 0, 1, 1]] * 2), np.float32([1, 1]))])
    table["label"] = ["walk", ""]
    with pytest.raises(MotError, match="some boxes have a label and some have none"):
        write_mot_detections(table, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_real_files_have_the_counts_that_are_known_of_them(tmp_path: Path) -> None:
    if not SHARED.is_dir():
        pytest.skip("MOT15 is not on this machine")
    (campus,) = read_mot(SHARED / "TUD-Campus" / "gt.txt")
    assert (campus.video, len(campus.tubes), sum(map(len, campus.tubes))) == ("TUD-Campus", 8, 359)
    (file,) = write_mot([campus], tmp_path)
    places = [line.split(",")[:6] for line in file.read_text().splitlines()]
    original = [line.split(",")[:6] for line in (SHARED / "TUD-Campus" / "gt.txt").read_text().splitlines()]
    assert sorted(places) == sorted(original)
    counts = read_mot_detections(SHARED).groupby("video").size().to_dict()
    assert counts == {"ADL-Rundle-6": 4325, "ETH-Sunnyday": 2176, "PETS09-S2L1": 4359, "TUD-Campus": 321}
