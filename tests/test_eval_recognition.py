"""Top-1, top-5, classes, confusions and intervals: five videos a reader can rank by eye."""

from dataclasses import replace

import numpy as np
import pytest

from eval.class_scores import ClassScores
from eval.errors import EvaluationError
from eval.recognition import accuracy, confusion, difference, intervals, per_class, ranks

CLASSES = tuple("abcdefg")


def scored(*rows: tuple[str, str]) -> ClassScores:
    """A video a row: its label, and the classes from best to worst; the others follow in their order."""
    scores = np.zeros((len(rows), len(CLASSES)))
    for row, (_, best) in enumerate(rows):
        for place, name in enumerate(best):
            scores[row, CLASSES.index(name)] = 10 - place
    return ClassScores(CLASSES, tuple(f"v{k}" for k in range(len(rows))), tuple(label for label, _ in rows), scores)


FIVE = scored(("a", "a"), ("a", "bca"), ("a", "bcdefga"), ("b", "b"), ("z", "a"))


def test_the_rank_is_the_place_of_the_true_class() -> None:
    assert ranks(FIVE).tolist() == [0, 2, 6, 0, 7]


def test_among_equal_scores_the_first_class_is_first() -> None:
    assert ranks(scored(("a", ""), ("c", ""), ("g", ""))).tolist() == [0, 2, 6]


def test_accuracy_counts_unknown_labels_as_wrong() -> None:
    found = accuracy(FIVE)
    assert found.videos == 5
    assert found.top1 == pytest.approx(2 / 5)
    assert found.top5 == pytest.approx(3 / 5)
    assert found.mean_class == pytest.approx((1 / 3 + 1 + 0) / 3)


def test_videos_without_a_label_are_left_out() -> None:
    assert accuracy(replace(FIVE, labels=("a", "", "", "b", ""))).top1 == 1
    with pytest.raises(EvaluationError, match="no video has a label"):
        accuracy(replace(FIVE, labels=("",) * 5))


def test_by_class() -> None:
    table = per_class(FIVE)
    assert table.index.tolist() == ["a", "b", "z"]
    assert table.loc["a"].to_dict() == {
        "videos": 3,
        "top1": pytest.approx(1 / 3),
        "top5": pytest.approx(2 / 3),
        "taken_for": "b",
        "times": 2,
    }
    assert table.loc["b", "taken_for"] == ""
    assert table.loc["z", ["taken_for", "times"]].tolist() == ["a", 1]


def test_confusion_has_the_truth_in_its_rows() -> None:
    counts = confusion(FIVE)
    assert counts[0, :2].tolist() == [1, 2]
    assert counts[1, 1] == 1
    assert counts.sum() == 4  # the class z has no row


def test_intervals_are_those_of_a_share() -> None:
    hundred = scored(*[("a", "a")] * 80, *[("a", "b")] * 20)
    low, high = intervals(hundred)["top1"]
    # normal approximation: 0.8 +- 1.96 * 0.04
    assert low == pytest.approx(0.8 - 1.96 * 0.04, abs=0.015)
    assert high == pytest.approx(0.8 + 1.96 * 0.04, abs=0.015)
    assert intervals(hundred)["mean_class"] == pytest.approx((low, high))
    assert intervals(scored(("a", "a")))["top5"] == (1, 1)
    with pytest.raises(EvaluationError, match="confidence"):
        intervals(hundred, confidence=1.5)


def test_two_models_are_compared_on_the_same_videos() -> None:
    one = scored(*[("a", "a")] * 50, *[("a", "b")] * 50)
    other = scored(*[("a", "a")] * 60, *[("a", "b")] * 40)
    found, low, high = difference(one, other)
    assert found == pytest.approx(0.1)
    # ten videos of a hundred differ: sqrt(0.1 * 0.9 / 100) = 0.03, far less than two samples of 100 would
    assert low == pytest.approx(0.1 - 1.96 * 0.03, abs=0.015)
    assert high == pytest.approx(0.1 + 1.96 * 0.03, abs=0.015)
    backwards = other.of_videos(other.videos[::-1])
    assert difference(one, backwards)[0] == pytest.approx(0.1)
    with pytest.raises(EvaluationError, match="not hold the same labelled videos"):
        difference(one, other.of_videos(other.videos[:50]))
