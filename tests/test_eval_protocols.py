"""Every choice of every protocol, one test a choice, in numbers a reader can follow.

Boxes are 1000 pixels wide and high wherever pixels are not the matter, so that the pixel or two by which some
protocols enlarge or move boxes changes nothing.
"""

from dataclasses import fields

import numpy as np
import pytest

from eval.frame_map import frame_map
from eval.protocols import FRAME_PROTOCOLS, VIDEO_PROTOCOLS, FrameProtocol, VideoProtocol
from eval.video_map import video_map
from linking.records import Tube, VideoAnnotation

BIG, AWAY = (0, 0, 1000, 1000), (3000, 3000, 4000, 4000)
INCLUSIVE = {"act", "road", "yowo"}
MATLAB = {"saha", "matlab-legacy", "saha-legacy"}
every_video_protocol = pytest.mark.parametrize("name", VIDEO_PROTOCOLS)
every_frame_protocol = pytest.mark.parametrize("name", FRAME_PROTOCOLS)


def tube(first: int, n: int, box=BIG, score: float = float("nan"), label: str = "run", id: int = 0) -> Tube:
    return Tube(label, np.arange(first, first + n), np.tile(np.float32(box), (n, 1)), np.full(n, score), score, id)


def video(*tubes: Tube, name: str = "a") -> VideoAnnotation:
    return VideoAnnotation(name, [Tube(t.label, t.frames, t.boxes, t.scores, t.score, i) for i, t in enumerate(tubes)])


def ap(truth: list[VideoAnnotation], found: list[VideoAnnotation], name: str, iou: float = 0.5) -> float:
    return video_map(truth, found, thresholds=[iou], protocol=name).table().loc["run", f"{iou:g}"]


def frame_ap(truth: list[VideoAnnotation], found: list[VideoAnnotation], name: str, iou: float = 0.5) -> float:
    return frame_map(truth, found, thresholds=[iou], protocol=name).table().loc["run", f"{iou:g}"]


def test_the_choices_are_those_tested_here() -> None:
    """A new field needs a new test."""
    assert {field.name for field in fields(VideoProtocol)} == {
        "name", "inclusive_pixels", "shift_detections", "temporal", "lone_frame_counts", "hit", "match", "precision",
        "recall_padding", "tube_nms", "empty_class", "single_precision",
    }  # fmt: skip
    assert {field.name for field in fields(FrameProtocol)} == {
        "name", "inclusive_pixels", "hit", "match", "precision", "box_nms", "frames", "empty_class",
    }  # fmt: skip


# ---- video-mAP


@every_video_protocol
def test_pixels_of_tubes(name: str) -> None:
    """inclusive_pixels and shift_detections: 10 x 10 pixels against the same moved by 5 to the right."""
    overlap = {
        **dict.fromkeys(("saha", "multisports"), 50 / 150),
        **dict.fromkeys(INCLUSIVE, 66 / (2 * 121 - 66)),  # 11 x 11 pixels, 6 x 11 in common
        "matlab-legacy": 36 / (100 + 121 - 36),  # x, y, w, h + 1: 16..27 x 11..22, common 4 x 9
        "saha-legacy": 36 / (100 + 144 - 36),  # x, y + 1 and w, h + 2: 16..28 x 11..23
    }[name]
    truth, found = [video(tube(0, 4, (10, 10, 20, 20)))], [video(tube(0, 4, (15, 10, 25, 20), 1.0))]
    assert ap(truth, found, name, overlap - 1e-4) > 0.999
    assert ap(truth, found, name, overlap + 1e-4) == 0


@every_video_protocol
def test_temporal_overlap(name: str) -> None:
    """temporal: frames 0-3 and 1-4 are 3 of 5, or (3 - 1) / (5 - 1)."""
    overlap = 2 / 4 if name == "multisports" else 3 / 5
    truth, found = [video(tube(0, 4))], [video(tube(1, 4, score=1.0))]
    assert ap(truth, found, name, overlap - 0.01) > 0.999
    assert ap(truth, found, name, overlap + 0.01) == 0


@every_video_protocol
def test_a_lone_common_frame(name: str) -> None:
    """lone_frame_counts: frames 0-1 and 1-2, one of three."""
    assert ap([video(tube(0, 2))], [video(tube(1, 2, score=1.0))], name, 0.3) == (1 if name in ("act", "road") else 0)


@every_video_protocol
def test_a_tube_that_overlaps_by_exactly_the_threshold(name: str) -> None:
    """hit: half of the frames, of 5 - 1 of 9 - 1 where time is exclusive; boxes are moved so that they coincide."""
    moved = {"matlab-legacy": (-1, -1, 998, 998), "saha-legacy": (-1, -1, 997, 997)}.get(name, BIG)
    n, first, m = (7, 2, 7) if name == "multisports" else (4, 1, 5)
    truth = [video(tube(0, n))]
    common, union = n - first, first + m
    assert (common - (name == "multisports")) / (union - (name == "multisports")) == 1 / 2
    reached = ap(truth, [video(tube(first, m, moved, 1.0))], name, 0.5)
    assert reached == (0 if name in MATLAB else pytest.approx(1, abs=1e-5))


@every_video_protocol
def test_which_true_tube_a_detection_claims(name: str) -> None:
    """match: two detections on the first of two true tubes; the second one overlaps the other by 0.8."""
    truth = [video(tube(0, 10), tube(0, 8))]
    found = [video(tube(0, 10, score=0.9), tube(0, 10, score=0.8))]
    expected = {"multisports": 1 / 2, "act": 1 / 2}.get(name, 1)  # act drops the second as a copy of the first
    assert ap(truth, found, name, 0.5) == pytest.approx(expected, abs=1e-5)


@every_video_protocol
def test_area_under_the_curve(name: str) -> None:
    """precision: hit, false, hit of 2."""
    truth = [video(tube(0, 4)), video(tube(0, 4), name="b")]
    found = [video(tube(0, 4, score=0.9), tube(0, 4, AWAY, 0.8)), video(tube(0, 4, score=0.7), name="b")]
    raw = ((1 + 1) / 2 + (1 / 2 + 2 / 3) / 2) / 2
    envelope = (1 + 2 / 3) / 2
    assert ap(truth, found, name) == pytest.approx(raw if name in ("act", "road") else envelope, abs=1e-5)


@every_video_protocol
def test_padded_recall(name: str) -> None:
    """recall_padding: one hit of one."""
    found = [video(tube(0, 4, score=0.9))]
    assert ap([video(tube(0, 4))], found, name) == pytest.approx(1 / (1 + 1e-5) if name == "yowo" else 1, abs=1e-12)


@every_video_protocol
def test_suppression_of_tubes(name: str) -> None:
    """tube_nms: tubes of a video and class that share 4 of 10 frames, and 2 of 12."""
    near, far = ([video(tube(0, 7, score=0.9), tube(first, 7, score=0.8))] for first in (3, 5))
    truth = [video(tube(0, 4))]
    assert video_map(truth, near, protocol=name).num_detections.tolist() == [1 if name == "act" else 2]
    assert video_map(truth, far, protocol=name).num_detections.tolist() == [2]


@every_video_protocol
def test_a_class_without_true_tubes(name: str) -> None:
    """empty_class: run is perfect, swim has a detection and no true tube."""
    found = [video(tube(0, 4, score=1.0), tube(0, 4, score=1.0, label="swim"))]
    result = video_map([video(tube(0, 4))], found, thresholds=[0.5], class_names=["run", "swim"], protocol=name)
    assert result.mean["0.5"] == pytest.approx(1 if name == "multisports" else 1 / 2, abs=1e-5)


@every_video_protocol
def test_scores_that_differ_in_the_twelfth_digit(name: str) -> None:
    """single_precision: tied, the false tube of video a goes first; else the hit in video b does."""
    truth = [video(tube(0, 4)), video(tube(0, 4), name="b")]
    found = [video(tube(0, 4, AWAY, 0.5)), video(tube(0, 4, score=0.5 + 1e-12), name="b")]
    envelope, raw = (1 / 2 / 2, (0 + 1 / 2) / 2 / 2) if name in MATLAB else (1 / 2, (1 + 1) / 2 / 2)
    assert ap(truth, found, name) == pytest.approx(raw if name in ("act", "road") else envelope, abs=1e-5)


# ---- frame-mAP


@every_frame_protocol
def test_pixels_of_boxes(name: str) -> None:
    """inclusive_pixels: 10 x 10 pixels against the same moved by 5 to the right."""
    overlap = 66 / (2 * 121 - 66) if name in ("act", "yowo") else 50 / 150
    truth, found = [video(tube(0, 1, (10, 10, 20, 20)))], [video(tube(0, 1, (15, 10, 25, 20), 1.0))]
    assert frame_ap(truth, found, name, overlap - 1e-4) == 1
    assert frame_ap(truth, found, name, overlap + 1e-4) == 0


@every_frame_protocol
def test_a_box_that_overlaps_by_exactly_the_threshold(name: str) -> None:
    """hit: half of the box, counted as the protocol counts pixels."""
    one, half = ((0, 0, 9, 9), (0, 0, 9, 4)) if name in ("act", "yowo") else ((0, 0, 10, 10), (0, 0, 10, 5))
    assert frame_ap([video(tube(0, 1, one))], [video(tube(0, 1, half, 1.0))], name) == 1


@every_frame_protocol
def test_which_true_box_a_detection_claims(name: str) -> None:
    """match: two detections on the first of two true boxes; the second one overlaps the other by 0.8."""
    truth = [video(tube(0, 1), tube(0, 1, (0, 0, 1000, 800)))]
    found = [video(tube(0, 1, score=0.9), tube(0, 1, score=0.8))]
    # act drops the second detection as a copy of the first
    assert frame_ap(truth, found, name) == (1 if name in ("voc", "road") else 1 / 2)


@every_frame_protocol
def test_area_under_the_curve_of_boxes(name: str) -> None:
    """precision: hit, false, hit of 2."""
    truth = [video(tube(0, 2))]
    scores = iter((0.9, 0.7))
    found = [video(*(tube(frame, 1, score=next(scores)) for frame in range(2)), tube(0, 1, AWAY, 0.8))]
    raw, envelope = ((1 + 1) / 2 + (1 / 2 + 2 / 3) / 2) / 2, (1 + 2 / 3) / 2
    assert frame_ap(truth, found, name) == pytest.approx(raw if name in ("act", "road") else envelope)


@every_frame_protocol
def test_suppression_of_boxes(name: str) -> None:
    """box_nms: boxes of a frame and class that overlap by 0.4, and by 0.25."""
    near = [video(tube(0, 1, score=0.9), tube(0, 1, (0, 0, 1000, 400), 0.8))]
    far = [video(tube(0, 1, score=0.9), tube(0, 1, (0, 0, 1000, 250), 0.8))]
    truth = [video(tube(0, 1))]
    assert frame_map(truth, near, protocol=name).num_detections.tolist() == [1 if name == "act" else 2]
    assert frame_map(truth, far, protocol=name).num_detections.tolist() == [2]


@every_frame_protocol
def test_frames_that_nobody_annotated(name: str) -> None:
    """frames: ranked before the hit are a false box where another class is annotated, and two where nothing is."""
    truth = [video(tube(0, 1), tube(1, 1, label="jump"))]
    scores = (0.1, 0.2, 0.3, 0.4)
    found = [video(*(tube(frame, 1, score=score) for frame, score in zip((0, 1, 2, 9), scores)))]
    raw, all_frames, annotated = (0 + 1 / 4) / 2, 1 / 4, 1 / 2
    expected = {"yowo": annotated, "act": raw, "road": raw}.get(name, all_frames)
    assert frame_ap(truth, found, name) == pytest.approx(expected)


@every_frame_protocol
def test_a_class_without_true_boxes(name: str) -> None:
    """empty_class: run is perfect, swim has a detection and no true box."""
    found = [video(tube(0, 1, score=1.0), tube(0, 1, score=1.0, label="swim"))]
    result = frame_map([video(tube(0, 1))], found, class_names=["run", "swim"], protocol=name)
    assert result.mean["0.5"] == (1 / 2 if name in ("voc", "act", "road") else 1)
