"""Names on both sides, and how unknown ones could be meant."""

import numpy as np
import pandas as pd
import pytest

from eval.frame_map import frame_map
from eval.inputs import detected_in_table, matching_names, nearest_hint, respelled
from eval.protocols import FRAME_PROTOCOLS, VIDEO_PROTOCOLS
from eval.video_map import video_map
from linking.records import Tube, VideoAnnotation
from linking.tables import table_from_annotations, table_of_loose_boxes


@pytest.mark.parametrize(
    ("unknown", "known", "said"),
    [
        (["a.avi", "b.avi"], ["a", "b"], "'a.avi' and 'a' agree without suffix (2 of 2 names do)"),
        (["v_1"], ["Run/v_1"], "'v_1' and 'Run/v_1' agree without folder (1 of 1 names do)"),
        (["x/v_1.mp4"], ["Run/v_1"], "agree without folder and suffix"),
        (["Golf_Swing"], ["GolfSwing"], "agree without regard to capitals, spaces, - and _"),
        (["c"], ["a", "b"], ""),
        (["a.avi", "q.avi", "r.avi"], ["a", "b"], ""),  # less than half
        (["a.avi", "b.avi", "q.avi", "r.avi", "s.avi"], ["a", "b", "c"], "(2 of 5 names do)"),  # most of the known
        (["v_1"], ["Run/v_1", "Jump/v_1"], ""),  # either could be meant
        ([], ["a"], ""),
    ],
)
def test_another_spelling_of_unknown_names_is_found(unknown: list[str], known: list[str], said: str) -> None:
    assert said in matching_names(unknown, known)
    assert bool(matching_names(unknown, known)) == bool(said)


def test_only_names_that_can_mean_one_video_alone_are_respelled() -> None:
    assert respelled(["x/a.avi", "x/b.avi"], ["a", "b", "c"])[1] == {"x/a.avi": "a", "x/b.avi": "b"}
    assert respelled(["x/a.avi", "y/a.avi"], ["a"])[1] == {}
    assert respelled(["a"], ["x/a", "y/a"])[1] == {}


def test_the_nearest_name_is_a_hint() -> None:
    assert nearest_hint("runing", ["jump", "running"]) == ", nearest 'running'"
    assert nearest_hint("anything", []) == ""


def test_a_table_counts_boxes_by_label_and_unlabelled_ones_not_at_all() -> None:
    table = pd.DataFrame({"video": ["b", "a", "b"], "label": ["run", "", "run"]})
    detected = detected_in_table(table)
    assert sorted(detected.videos) == ["a", "b"]
    assert dict(detected.labels) == {"run": 2}


# ---- what looks mistaken


def tube(frames, box=(10, 10, 20, 20), score: float = float("nan"), id: int = 0) -> Tube:
    frames = np.array(frames)
    return Tube("run", frames, np.tile(np.float32(box), (len(frames), 1)), np.full(len(frames), score), score, id)


def truth(*frames_or_tubes, num_frames: int | None = 10) -> list[VideoAnnotation]:
    return [VideoAnnotation("a", list(frames_or_tubes) or [tube(range(10))], num_frames, 320, 240)]


def warned(ground_truth: list[VideoAnnotation], *found: Tube) -> list[str]:
    """Warnings of video-mAP, which are those of frame-mAP too."""
    detections = [VideoAnnotation("a", list(found))]
    video = video_map(ground_truth, detections, thresholds=[0.5]).warnings
    assert frame_map(ground_truth, detections).warnings == video
    return list(video)


def test_what_is_in_order_is_not_warned_of() -> None:
    assert warned(truth(), tube(range(10), score=0.5), tube(range(5), score=0.4, id=1)) == []


def test_frames_beyond_the_last_are_said_on_either_side() -> None:
    assert warned(truth(), tube(range(1, 11), score=0.5)) == [
        "1 detected tubes end after the last frame of their video: 'a' tube 0 has frame 10, the last is 9"
        " counted from 0"
    ]
    assert warned(truth(tube(range(8)), num_frames=7), tube(range(7), score=0.5)) == [
        "1 true tubes end after the last frame of their video: 'a' tube 0 has frame 7, the last is 6 counted from 0"
    ]
    assert warned(truth(num_frames=None), tube(range(99), score=0.5)) == []


def test_frames_beyond_the_last_are_said_of_loose_boxes_too() -> None:
    boxes = np.tile(np.float32([10, 10, 20, 20]), (3, 1))
    table = table_of_loose_boxes(["a"] * 3, ["run"] * 3, np.array([3, 10, 11]), boxes, np.float32([0.5, 0.6, 0.7]))
    assert frame_map(truth(), table).warnings == (
        "2 detected boxes lie after the last frame of their video: 'a' frame 10, the last is 9 counted from 0",
    )


def test_holes_are_said_unless_the_ground_truth_has_them() -> None:
    every_second = tube(range(0, 10, 2), score=0.5)
    assert warned(truth(), every_second) == [
        "1 of 1 detected tubes have holes, and a missing frame is a miss: 'a' tube 0 lacks 4 of 9 frames"
    ]
    assert warned(truth(tube(range(0, 10, 2))), every_second) == []


def test_true_boxes_beyond_the_picture_are_said() -> None:
    # one pixel more is the difference of inclusive and continuous corners
    assert warned(truth(tube(range(10), (0, 0, 321, 241))), tube(range(10), score=0.5)) == []
    assert warned(truth(tube(range(10), (-1, 5, 878, 241))), tube(range(10), score=0.5)) == [
        "1 true tubes leave the picture: 'a' tube 0 spans -1 5 878 241, the picture is 320 x 240"
    ]


def test_scores_that_rank_nothing_are_said() -> None:
    same = [tube(range(10), score=0.5), tube(range(5), score=0.5, id=1)]
    assert warned(truth(), *same) == ["all 2 detected tubes have the score 0.5, so their order, by name, is arbitrary"]
    table = table_from_annotations([VideoAnnotation("a", same)])
    assert "all 15 detected boxes have the score 0.5" in frame_map(truth(), table).warnings[0]


def test_pixels_added_to_shares_of_the_picture_are_said() -> None:
    ground_truth = truth(tube(range(10), (0.1, 0.2, 0.3, 0.4)))
    found = [VideoAnnotation("a", [tube(range(10), (0.5, 0.5, 0.6, 0.6), 0.5)])]  # elsewhere, and yet a hit
    for name in VIDEO_PROTOCOLS:
        warnings = video_map(ground_truth, found, thresholds=[0.2], protocol=name).warnings
        assert any("adds pixels" in text for text in warnings) == (name not in ("saha", "multisports"))
    for name in FRAME_PROTOCOLS:
        warnings = frame_map(ground_truth, found, protocol=name).warnings
        assert any("adds pixels" in text for text in warnings) == (name in ("act", "yowo"))
    assert video_map(ground_truth, found, thresholds=[0.2], protocol="act").mean["0.2"] == 1
