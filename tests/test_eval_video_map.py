"""Video-mAP in numbers a reader can follow; the choices of protocols are in test_eval_protocols.py."""

from dataclasses import replace

import numpy as np
import pytest

from eval.errors import EvaluationError
from eval.protocols import VIDEO_PROTOCOLS, VideoProtocol, describe, video_protocol
from eval.video_map import judge_tubes, video_map
from linking.records import Tube, VideoAnnotation

SAHA = VIDEO_PROTOCOLS["saha"]
BOX = (10, 10, 20, 20)


def tube(first: int, n: int, box=BOX, score: float = float("nan"), label: str = "run", id: int = 0) -> Tube:
    return Tube(label, np.arange(first, first + n), np.tile(np.float32(box), (n, 1)), None, score, id)


def video(*tubes: Tube, name: str = "a") -> VideoAnnotation:
    return VideoAnnotation(name, [replace(t, id=i) for i, t in enumerate(tubes)])


def ap(truth: Tube, found: Tube, threshold: float, protocol: VideoProtocol) -> float:
    return video_map([video(truth)], [video(found)], thresholds=[threshold], protocol=protocol).mean[f"{threshold:g}"]


def is_hit(truth: Tube, found: Tube, overlap: float, protocol: VideoProtocol) -> bool:
    """Whether the overlap of the two is ``overlap``: a hit just below it and none just above."""
    below, above = ap(truth, found, overlap - 1e-4, protocol), ap(truth, found, overlap + 1e-4, protocol)
    return below > 0.999 and above == 0


# ---- overlap


def test_overlap_is_temporal_iou_times_mean_box_iou() -> None:
    half = (15, 10, 25, 20)  # shares 5 of 10 columns: 50 / 150
    assert is_hit(tube(0, 4), tube(2, 4, half, 1.0), 2 / 6 * 50 / 150, SAHA)


def test_boxes_are_compared_frame_by_frame() -> None:
    moving = Tube("run", np.arange(2), np.float32([BOX, (15, 10, 25, 20)]), None, 1.0)
    assert is_hit(tube(0, 2), moving, (1 + 50 / 150) / 2, SAHA)


def test_tubes_of_one_same_frame_do_not_divide_by_zero() -> None:
    assert ap(tube(0, 1), tube(0, 1, BOX, 1.0), 0.5, VIDEO_PROTOCOLS["multisports"]) == 0


def test_a_frame_missing_in_both_tubes_costs_nothing_and_one_missing_in_one_counts_as_0() -> None:
    frames = np.array([0, 1, 4, 5])
    holed = Tube("run", frames, np.tile(np.float32(BOX), (4, 1)), None, 1.0)
    assert is_hit(replace(holed, score=float("nan")), holed, 1.0 - 1e-4, SAHA)
    assert is_hit(tube(0, 6), holed, 4 / 6, SAHA)


# ---- matching and ranking


def test_a_tube_is_claimed_once_and_the_duplicate_is_false() -> None:
    truth = [video(tube(0, 4)), video(tube(0, 4), name="b")]
    # ranked: hit, duplicate, hit: precision 1 and 2/3 at recall 1/2 and 1
    found = [video(tube(0, 4, score=0.9), tube(0, 4, score=0.8)), video(tube(0, 4, score=0.7), name="b")]
    assert video_map(truth, found, thresholds=[0.5]).mean["0.5"] == pytest.approx((1 + 2 / 3) / 2)


def test_scores_rank_across_videos() -> None:
    truth = [video(tube(0, 4)), video(tube(0, 4), name="b")]
    wrong = (100, 100, 110, 110)
    found = [video(tube(0, 4, wrong, 0.9)), video(tube(0, 4, BOX, 0.1), name="b")]
    assert video_map(truth, found, thresholds=[0.5]).mean["0.5"] == pytest.approx(1 / 2 / 2)


def test_equal_scores_are_ordered_by_video_then_tube_id() -> None:
    truth = [video(tube(0, 4)), video(tube(0, 4), name="b")]
    wrong = (100, 100, 110, 110)
    in_a = video(tube(0, 4, wrong, 0.5), tube(0, 4, BOX, 0.5))
    in_b = video(tube(0, 4, BOX, 0.5), name="b")
    # ranked: wrong, hit, hit
    for found in ([in_a, in_b], [in_b, in_a]):
        assert video_map(truth, found, thresholds=[0.5]).mean["0.5"] == pytest.approx(2 / 3)


def test_single_precision_scores_tie_across_videos_but_not_within_one() -> None:
    close = 0.5 + 1e-12
    truth = [video(tube(0, 4)), video(tube(0, 4), name="b")]
    wrong = (100, 100, 110, 110)
    found = [video(tube(0, 4, wrong, 0.5)), video(tube(0, 4, BOX, close), name="b")]
    # tied across videos: a's wrong tube goes first
    assert video_map(truth, found, thresholds=[0.5], protocol=SAHA).mean["0.5"] == pytest.approx(1 / 2 / 2)
    double = replace(SAHA, single_precision=False)
    assert video_map(truth, found, thresholds=[0.5], protocol=double).mean["0.5"] == pytest.approx(1 / 2)
    within = [video(tube(0, 4, wrong, 0.5), tube(0, 4, BOX, close))]
    assert video_map(truth[:1], within, thresholds=[0.5], protocol=SAHA).mean["0.5"] == 1


def test_tubes_of_another_class_do_not_compete() -> None:
    truth = [video(tube(0, 4, label="run"), tube(0, 4, label="jump"))]
    found = [video(tube(0, 4, score=0.9, label="jump"), tube(0, 4, score=0.8, label="run"))]
    result = video_map(truth, found, thresholds=[0.5])
    assert result.class_names == ("jump", "run")
    np.testing.assert_allclose(result.ap[:, 0], [1, 1])


# ---- suppression


def test_act_drops_a_tube_that_overlaps_a_better_one_by_more_than_0_3() -> None:
    truth = [video(tube(0, 4)), video(tube(0, 4), name="b")]
    found = [
        video(tube(0, 4, score=0.9), tube(0, 4, score=0.8)),  # the second is dropped
        video(tube(0, 4, score=0.7), name="b"),
    ]
    result = video_map(truth, found, thresholds=[0.5], protocol="act")
    assert result.mean["0.5"] == 1
    assert result.num_detections.tolist() == [2]
    # road is the same without: rank 1 hit, rank 2 false, rank 3 hit: the trapezoids (1 + 1) / 2 and (1/2 + 2/3) / 2
    road = video_map(truth, found, thresholds=[0.5], protocol="road")
    assert road.mean["0.5"] == pytest.approx((1 + (1 / 2 + 2 / 3) / 2) / 2)


def test_a_dropped_tube_drops_no_other() -> None:
    # A 0-9, B 4-13, C 8-17: A-B and B-C share 6 of 14 frames (> 0.3), A-C 2 of 18
    chain = [tube(0, 10, score=0.9), tube(4, 10, score=0.8), tube(8, 10, score=0.7)]
    _, verdicts = judge_tubes([video(*chain)], [video(*chain)], thresholds=[0.5], protocol="act")
    assert [t.score for t in verdicts.detections.tubes] == [0.9, 0.7]


def test_suppression_stays_within_a_video_and_a_class() -> None:
    found = [
        video(tube(0, 4, score=0.9), tube(0, 4, score=0.8, label="jump")),
        video(tube(0, 4, score=0.7), name="b"),
    ]
    result = video_map(found, found, thresholds=[0.5], protocol="act")
    assert result.num_detections.sum() == 3


# ---- classes and counts


def test_videos_without_detections_are_missed_and_said() -> None:
    truth = [video(tube(0, 4)), video(tube(0, 4), name="b")]
    result = video_map(truth, [video(tube(0, 4, score=1.0))], thresholds=[0.5])
    assert result.mean["0.5"] == pytest.approx(1 / 2)
    assert "1 of 2 ground-truth videos have no detections" in result.warnings[0]


def test_no_detections_at_all_score_0() -> None:
    result = video_map([video(tube(0, 4))], [], thresholds=["0.5", "0.5:0.95"])
    assert result.mean == {"0.5": 0, "0.5:0.95": 0}


def test_the_table_has_a_row_per_class_and_the_mean() -> None:
    truth = [video(tube(0, 4, label="run"), tube(0, 4, label="jump"))]
    found = [video(tube(0, 4, score=1.0, label="run"))]
    table = video_map(truth, found, thresholds=["0.5", "0.5:0.95"]).table()
    assert table.index.tolist() == ["jump", "run", "mean"]
    assert table.columns.tolist() == ["0.5", "0.5:0.95", "ground_truth", "detections"]
    assert table["0.5"].tolist() == [0, 1, 1 / 2]
    assert table["ground_truth"].tolist() == [1, 1, 2]
    assert table["detections"].tolist() == [0, 1, 1]


def test_json_holds_overall_and_per_class_values_by_overlap() -> None:
    truth = [video(tube(0, 4, label="run"))]
    result = video_map(
        truth, truth_with_scores(truth), thresholds=["0.5"], class_names=["run", "swim"], protocol="multisports"
    )
    assert result.as_json() == {"0.5": {"overall": 1.0, "per_class": {"run": 1.0, "swim": None}}}


def truth_with_scores(truth: list[VideoAnnotation]) -> list[VideoAnnotation]:
    return [replace(a, tubes=[replace(t, score=1.0) for t in a.tubes]) for a in truth]


# ---- refusals


def test_unknown_videos_are_refused_with_the_nearest_name_unless_ignored() -> None:
    truth, found = [video(tube(0, 4), name="Basketball/v_01")], [video(tube(0, 4, score=1.0), name="v_01")]
    with pytest.raises(EvaluationError, match="'v_01' and 'Basketball/v_01' agree without folder") as refusal:
        video_map(truth, found)
    assert len(str(refusal.value)) < 300
    result = video_map(truth, found, ignore_unknown_videos=True)
    assert result.mean["0.5"] == 0
    assert "left out" in result.warnings[0]


@pytest.mark.parametrize(
    ("truth", "found", "message"),
    [
        pytest.param([video()], [], "holds no tube", id="nothing to compare with"),
        pytest.param([video(tube(0, 4))] * 2, [], "more than once", id="a video twice in the ground truth"),
        pytest.param([video(tube(0, 4))], [video(), video()], "more than once", id="a video twice in the detections"),
        pytest.param([video(tube(0, 4))], [video(tube(0, 4))], "no score", id="a detection without a score"),
    ],
)
def test_what_cannot_be_judged_is_refused(truth, found, message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        video_map(truth, found)


def test_detections_of_unknown_classes_are_left_out_and_said() -> None:
    found = [video(tube(0, 4, score=1.0), tube(0, 4, score=1.0, label="Run"))]
    result = video_map([video(tube(0, 4))], found, thresholds=[0.5])
    assert result.mean["0.5"] == 1
    assert result.warnings[0] == (
        "1 detections of 1 classes that are not judged were left out: "
        "'Run' and 'run' agree without regard to capitals, spaces, - and _ (1 of 1 names do)"
    )


def test_ground_truth_outside_the_class_list_is_refused() -> None:
    with pytest.raises(EvaluationError, match="'run', which is not in the class list"):
        video_map([video(tube(0, 4))], [], class_names=["jump"])


def test_detections_after_the_end_of_the_video_are_said() -> None:
    truth = [VideoAnnotation("a", [tube(0, 4)], num_frames=4)]
    result = video_map(truth, [video(tube(0, 5, score=1.0))], thresholds=[0.5])
    assert "has frame 4, the last is 3" in result.warnings[0]


def test_an_unknown_protocol_lists_the_known_ones() -> None:
    with pytest.raises(EvaluationError, match="known: saha, matlab-legacy, saha-legacy, act, road, yowo, multisports"):
        video_protocol("voc")


@pytest.mark.parametrize("name", VIDEO_PROTOCOLS)
def test_every_choice_of_a_protocol_is_said_in_words(name: str) -> None:
    lines = describe(VIDEO_PROTOCOLS[name])
    assert len(lines) == 11
    assert all(line.endswith(".") for line in lines)
    assert describe(VIDEO_PROTOCOLS[name]) != describe(replace(VIDEO_PROTOCOLS[name], precision="11-point"))
