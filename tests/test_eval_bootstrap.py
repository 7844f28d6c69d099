"""Confidence intervals over videos."""

from dataclasses import replace

import numpy as np
import pytest

from eval.bootstrap import confidence_intervals
from eval.errors import EvaluationError
from eval.video_map import video_map
from linking.records import Tube, VideoAnnotation


def made_up(videos: int = 8, seed: int = 0) -> tuple[list[VideoAnnotation], list[VideoAnnotation]]:
    rng = np.random.default_rng(seed)

    def some(i: int, scored: bool) -> Tube:
        x = int(rng.integers(0, 12))
        boxes = np.tile(np.float32([x, 0, x + 10, 10]), (4, 1))
        return Tube(str(rng.choice(["run", "jump"])), np.arange(4), boxes, None, rng.random() if scored else np.nan, i)

    return tuple(
        [VideoAnnotation(f"v{v}", [some(i, scored) for i in range(n)]) for v in range(videos)]
        for scored, n in ((False, 2), (True, 5))
    )


def drawn(annotations: list[VideoAnnotation], times: np.ndarray) -> list[VideoAnnotation]:
    """Each video as often as it was drawn, under names that keep the copies together."""
    return [replace(a, video=f"{a.video} {i}") for a, n in zip(annotations, times) for i in range(n)]


@pytest.mark.parametrize("protocol", ["saha", "multisports"])
def test_intervals_are_those_of_evaluating_each_drawn_set(protocol: str) -> None:
    truth, found = made_up()
    table = confidence_intervals(truth, found, thresholds=[0.5], protocol=protocol, samples=40, confidence=0.8, seed=3)
    draws = np.random.default_rng(3).multinomial(8, np.full(8, 1 / 8), size=40)
    means = []
    for times in draws:
        result = video_map(drawn(truth, times), drawn(found, times), thresholds=[0.5], protocol=protocol)
        means.append(result.mean["0.5"])
    low, high = np.quantile(means, [0.1, 0.9])
    assert table.loc["mean", ("0.5", "low")] == pytest.approx(low)
    assert table.loc["mean", ("0.5", "high")] == pytest.approx(high)
    assert (
        table.loc["mean", ("0.5", "value")] == video_map(truth, found, thresholds=[0.5], protocol=protocol).mean["0.5"]
    )


def test_equal_videos_leave_no_doubt() -> None:
    one = Tube("run", np.arange(4), np.tile(np.float32([0, 0, 10, 10]), (4, 1)))
    truth = [VideoAnnotation(f"v{i}", [one, replace(one, id=1, boxes=one.boxes + 50)]) for i in range(5)]
    found = [VideoAnnotation(f"v{i}", [replace(one, score=0.5)]) for i in range(5)]
    for protocol in ("saha", "road"):
        table = confidence_intervals(truth, found, thresholds=["0.5", "0.5:0.95"], protocol=protocol, samples=20)
        np.testing.assert_allclose(table.to_numpy(), 1 / 2)
    assert table.columns.tolist() == [(iou, part) for iou in ("0.5", "0.5:0.95") for part in ("low", "value", "high")]


def test_the_seed_decides() -> None:
    truth, found = made_up()
    first, again, other = (confidence_intervals(truth, found, samples=50, seed=seed) for seed in (0, 0, 1))
    assert first.equals(again)
    assert not first.equals(other)


def test_no_detections_are_surely_0() -> None:
    truth, _ = made_up()
    assert (confidence_intervals(truth, [], samples=10).to_numpy() == 0).all()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("protocol", "expected"), [("saha", 1 / 2), ("multisports", 1)])
def test_a_class_without_ground_truth_counts_as_the_protocol_says(protocol: str, expected: float) -> None:
    one = Tube("run", np.arange(4), np.tile(np.float32([0, 0, 10, 10]), (4, 1)), None, 0.5)
    videos = [VideoAnnotation(f"v{i}", [one]) for i in range(4)]
    table = confidence_intervals(
        videos, videos, thresholds=[0.5], protocol=protocol, class_names=["run", "swim"], samples=10
    )
    assert (table.loc["mean"] == expected).all()


@pytest.mark.parametrize("options", [{"samples": 1}, {"confidence": 1.0}])
def test_senseless_settings_are_refused(options: dict) -> None:
    with pytest.raises(EvaluationError, match="2 samples or more"):
        confidence_intervals(*made_up(), **options)
