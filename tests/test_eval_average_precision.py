"""Average precision from the ranks of hits."""

import numpy as np
import pytest

from eval.average_precision import average_precision


@pytest.mark.parametrize(
    ("ranks", "truths", "expected"),
    [
        pytest.param([1], 1, 1, id="the only detection hits the only ground truth"),
        pytest.param([1], 2, 1 / 2, id="half the ground truth is missed"),
        pytest.param([2], 1, 1 / 2, id="a false positive before the hit"),
        pytest.param([1, 3], 2, (1 + 2 / 3) / 2, id="a false positive between two hits"),
        pytest.param([2, 3], 2, (2 / 3 + 2 / 3) / 2, id="the envelope lifts 1/2 to the 2/3 that follows"),
        pytest.param([], 3, 0, id="no hit"),
    ],
)
def test_envelope(ranks: list[int], truths: int, expected: float) -> None:
    assert average_precision(np.array(ranks), truths, "envelope") == pytest.approx(expected)


@pytest.mark.parametrize(
    ("ranks", "truths", "expected"),
    [
        pytest.param([1], 1, (1 + 1) / 2, id="from recall 0 and precision 1 to recall 1 and precision 1"),
        pytest.param([2], 1, (0 + 1 / 2) / 2, id="from precision 0 after the false positive up to 1/2"),
        pytest.param([1, 3], 2, ((1 + 1) / 2 + (1 / 2 + 2 / 3) / 2) / 2, id="no envelope: the dip to 1/2 costs"),
        pytest.param([1], 2, (1 + 1) / 2 / 2, id="it ends at the last recall"),
        pytest.param([], 3, 0, id="no hit"),
    ],
)
def test_trapezoid(ranks: list[int], truths: int, expected: float) -> None:
    assert average_precision(np.array(ranks), truths, "trapezoid") == pytest.approx(expected)


@pytest.mark.parametrize(
    ("ranks", "truths", "expected"),
    [
        pytest.param([1], 1, 1, id="all eleven points at 1"),
        pytest.param([1], 2, 6 / 11, id="recalls 0 to 0.5 at precision 1, the other five at 0"),
        pytest.param([2], 1, 1 / 2, id="all eleven points at 1/2"),
        pytest.param([1, 2, 3], 10, 4 / 11, id="a recall of exactly 0.3 reaches its point"),
        pytest.param([], 3, 0, id="no hit"),
    ],
)
def test_eleven_points(ranks: list[int], truths: int, expected: float) -> None:
    assert average_precision(np.array(ranks), truths, "11-point") == pytest.approx(expected)


def test_padded_recall_falls_short_of_a_perfect_score() -> None:
    assert average_precision(np.array([1, 2]), 2, "envelope", 1e-5) == pytest.approx(2 / (2 + 1e-5), abs=1e-12)


@pytest.mark.parametrize("rule", ["envelope", "trapezoid"])
def test_ranks_say_as_much_as_the_whole_curve(rule: str) -> None:
    """The curve drawn point by point, as the definitions have it, encloses the same area."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        hit = rng.random(rng.integers(1, 30)) < 0.4
        truths = int(hit.sum() + rng.integers(1, 4))
        precision = np.cumsum(hit) / np.arange(1, len(hit) + 1)
        recall = np.cumsum(hit) / truths
        if rule == "trapezoid":
            area = np.trapezoid(np.append(1, precision), np.append(0, recall))
        else:
            best_beyond = np.array([precision[i:].max() for i in range(len(hit))])
            area = (np.diff(recall, prepend=0) * best_beyond).sum()
        assert average_precision(np.flatnonzero(hit) + 1, truths, rule) == pytest.approx(area)
