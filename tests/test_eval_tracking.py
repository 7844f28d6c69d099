"""Tracking metrics of tubes."""

from dataclasses import replace

import numpy as np
import pytest

import eval.tracking
from eval.errors import EvaluationError
from eval.tracking import METRICS, tracking_metrics
from linking.records import Tube, VideoAnnotation

BOX = (0, 0, 10, 10)


def tube(frames: range = range(10), box=BOX, score: float = float("nan"), label: str = "run") -> Tube:
    return Tube(label, np.array(frames), np.tile(np.float32(box), (len(frames), 1)), None, score)


def video(*tubes: Tube, name: str = "a") -> VideoAnnotation:
    return VideoAnnotation(name, [replace(t, id=i) for i, t in enumerate(tubes)])


def test_a_perfect_tube() -> None:
    result = tracking_metrics([video(tube())], [video(tube(score=1))])
    assert list(result.index) == list(METRICS.values())
    assert result[["IDF1", "MOTA", "MOTP"]].tolist() == [1, 1, 1]
    assert result[["switches", "fragmentations", "false boxes", "missed boxes"]].tolist() == [0, 0, 0, 0]


def test_misses_and_false_boxes_lower_mota() -> None:
    # 2 of 10 true boxes missed, 3 boxes where nobody is
    found = [video(tube(range(8), score=1), tube(range(3), (50, 50, 60, 60), 1))]
    result = tracking_metrics([video(tube())], found)
    assert result["MOTA"] == pytest.approx(1 - (2 + 3) / 10)
    assert result[["missed boxes", "false boxes", "true boxes"]].tolist() == [2, 3, 10]


def test_a_tube_in_two_pieces_is_a_switch_and_half_an_identity() -> None:
    found = [video(tube(range(5), score=1), tube(range(5, 10), score=1))]
    result = tracking_metrics([video(tube())], found)
    assert result["switches"] == 1
    assert result["MOTA"] == pytest.approx(1 - 1 / 10)
    assert result["IDF1"] == pytest.approx(2 * 5 / (10 + 10))  # one piece of five keeps the identity


def test_a_hole_is_a_fragmentation() -> None:
    holed = Tube("run", np.array([0, 1, 2, 7, 8, 9]), np.tile(np.float32(BOX), (6, 1)), None, 1.0)
    assert tracking_metrics([video(tube())], [video(holed)])["fragmentations"] == 1


def test_labels_count_or_do_not() -> None:
    truth, found = [video(tube())], [video(tube(score=1, label="jump"))]
    assert tracking_metrics(truth, found)["IDF1"] == 0
    assert tracking_metrics(truth, found, with_labels=False)["IDF1"] == 1


def test_without_labels_the_same_boxes_under_several_labels_count_once() -> None:
    found = [video(tube(score=0.3), tube(score=0.9, label="jump"), tube(score=0.5, label="swim"))]
    assert tracking_metrics([video(tube())], found, with_labels=False)["false boxes"] == 0
    assert tracking_metrics([video(tube())], found)["false boxes"] == 20


def test_low_scores_are_left_out() -> None:
    found = [video(tube(score=0.9), tube(range(10), (50, 50, 60, 60), 0.1))]
    assert tracking_metrics([video(tube())], found, min_score=0.5)["false boxes"] == 0


def test_boxes_must_overlap_enough_and_motp_is_their_mean_iou() -> None:
    found = [video(tube(box=(0, 0, 10, 6), score=1))]
    assert tracking_metrics([video(tube())], found)["MOTP"] == pytest.approx(6 / 10)
    assert tracking_metrics([video(tube())], found, min_iou=0.7)["missed boxes"] == 10


def test_a_video_without_a_match_spoils_nothing() -> None:
    truth = [video(tube()), video(tube(), name="b"), video(tube(), name="c")]
    found = [video(tube(score=1)), video(tube(box=(50, 50, 60, 60), score=1), name="b")]
    result = tracking_metrics(truth, found)
    assert result["MOTP"] == 1
    assert result["MOTA"] == pytest.approx(1 - (20 + 10) / 30)


def test_unknown_videos_are_refused() -> None:
    with pytest.raises(EvaluationError, match="unknown to the ground truth"):
        tracking_metrics([video(tube())], [video(tube(score=1), name="z")])


def by_motmetrics_alone(truth: list[VideoAnnotation], found: list[VideoAnnotation], with_labels: bool) -> list[float]:
    """An accumulator a video and an update a frame, as motmetrics is meant to be used; IDF1, ..., in order."""
    import motmetrics

    accumulators = []
    for true, detected in zip(truth, found):
        accumulator = motmetrics.MOTAccumulator(auto_id=False)
        for frame in range(30):
            here = [t for t in true.tubes if frame in t.frames]
            there = [t for t in detected.tubes if frame in t.frames]
            distance = np.full((len(here), len(there)), np.nan)
            for i, a in enumerate(here):
                for j, b in enumerate(there):
                    x, y = a.boxes[a.frames == frame][0], b.boxes[b.frames == frame][0]
                    wide, high = (min(x[k + 2], y[k + 2]) - max(x[k], y[k]) for k in (0, 1))
                    both = max(wide, 0) * max(high, 0)
                    iou = both / ((x[2] - x[0]) * (x[3] - x[1]) + (y[2] - y[0]) * (y[3] - y[1]) - both)
                    if iou >= 0.5 and (a.label == b.label or not with_labels):
                        distance[i, j] = 1 - iou
            accumulator.update([t.id for t in here], [t.id for t in there], distance, frameid=frame)
        accumulators.append(accumulator)
    summary = motmetrics.metrics.create().compute_many(
        accumulators, names=[v.video for v in truth], metrics=[*METRICS], generate_overall=True
    )
    return summary.loc["OVERALL"].tolist()


@pytest.mark.parametrize("together", [1, 12, 300], ids=["a video", "some videos", "all videos"])
@pytest.mark.parametrize("with_labels", [True, False])
def test_counting_many_videos_together_changes_no_number(with_labels, together, monkeypatch) -> None:
    rng = np.random.default_rng(4)

    def some(number: int, near: list[Tube]) -> list[Tube]:
        tubes = []
        for i in range(number):
            frames = np.flatnonzero(rng.random(int(rng.integers(8, 30))) < 0.9)  # with holes
            steps = np.cumsum(rng.normal(0, 1.5, (len(frames), 2)), axis=0)
            start = near[i % len(near)].boxes[0] + rng.normal(0, 3, 4) if near else rng.uniform(0, 40, 2).repeat(2)
            box = start if near else np.array([start[0], start[2], start[0] + 30, start[2] + 40])
            label = str(rng.choice(["run", "jump"]))
            tubes.append(Tube(label, frames, box + np.tile(steps, 2), None, float(rng.random()), i))
        return tubes

    truth = [VideoAnnotation(name, some(3, [])) for name in "abcdef"]
    found = [VideoAnnotation(v.video, some(5, list(v.tubes))) for v in truth]
    monkeypatch.setattr(eval.tracking, "_TUBES_TOGETHER", together)
    result = tracking_metrics(truth, found, with_labels=with_labels)
    expected = dict(zip(METRICS.values(), by_motmetrics_alone(truth, found, with_labels)))
    expected["MOTP"] = 1 - expected["MOTP"]  # motmetrics gives a distance
    assert result.to_dict() == pytest.approx(expected)
    assert result["switches"] > 0
    assert result["fragmentations"] > 0
