"""How good is a classifier? Top-1 and top-5, by class, confusions, and how sure the numbers are.

Conventions: ``scores`` are of labelled videos; a video whose label is none of the classes counts as wrong. Among equal
scores the class that comes first in ``class_names`` is ranked first. Accuracies are shares in 0..1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from eval.class_scores import ClassScores
from eval.errors import EvaluationError


@dataclass(frozen=True)
class Accuracy:
    """Result of :func:`accuracy`."""

    videos: int
    top1: float
    """Share of videos whose class has the highest score."""
    top5: float
    """Share of videos whose class is among the five highest scores."""
    mean_class: float
    """Mean over the classes that occur of each one's top-1: what UCF101 and HMDB51 are often judged by."""


def ranks(scores: ClassScores) -> np.ndarray:
    """(videos,) int64 place of the true class, 0 for the best; the number of classes where it is none of them."""
    targets = scores.targets
    known = targets >= 0
    place = np.full(len(scores), len(scores.class_names), np.int64)
    rows = np.flatnonzero(known)
    own = scores.scores[rows, targets[rows]][:, None]
    earlier = np.arange(len(scores.class_names)) < targets[rows, None]
    place[rows] = ((scores.scores[rows] > own) | ((scores.scores[rows] == own) & earlier)).sum(axis=1)
    return place


def accuracy(scores: ClassScores) -> Accuracy:
    """Top-1, top-5 and mean class accuracy; EvaluationError where no video has a label."""
    scores = scores.labelled()
    place = ranks(scores)
    return Accuracy(
        videos=len(scores),
        top1=float((place < 1).mean()),
        top5=float((place < 5).mean()),
        mean_class=float(per_class(scores)["top1"].mean()),
    )


def per_class(scores: ClassScores) -> pd.DataFrame:
    """A row for each class that occurs, in the order of the classes, unknown labels last.

    Columns: ``videos``, ``top1``, ``top5``, and ``taken_for``, the wrong class most often given, with ``times``.
    """
    scores = scores.labelled()
    place, best = ranks(scores), scores.scores.argmax(axis=1)
    order = {name: column for column, name in enumerate(scores.class_names)}
    labels = np.array(scores.labels, object)
    rows = []
    for label in sorted(set(scores.labels), key=lambda name: (order.get(name, len(order)), name)):
        mine = labels == label
        wrong = best[mine & (place > 0)]
        counts = np.bincount(wrong, minlength=len(scores.class_names))
        times = int(counts.max(initial=0))
        rows.append(
            {
                "class": label,
                "videos": int(mine.sum()),
                "top1": float((place[mine] < 1).mean()),
                "top5": float((place[mine] < 5).mean()),
                "taken_for": scores.class_names[int(counts.argmax())] if times else "",
                "times": times,
            }
        )
    return pd.DataFrame(rows).set_index("class")


def confusion(scores: ClassScores) -> np.ndarray:
    """(classes, classes) int64 counts: row, the true class; column, the one with the highest score."""
    scores = scores.labelled()
    targets, best = scores.targets, scores.scores.argmax(axis=1)
    counts = np.zeros((len(scores.class_names),) * 2, np.int64)
    np.add.at(counts, (targets[targets >= 0], best[targets >= 0]), 1)
    return counts


def intervals(
    scores: ClassScores, *, samples: int = 2000, confidence: float = 0.95, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Percentile intervals of top1, top5 and mean_class, the videos drawn again with replacement.

    A class that a sample does not draw is left out of that sample's mean.
    """
    if samples < 2 or not 0 < confidence < 1:
        raise EvaluationError(f"needs 2 samples or more and a confidence in (0, 1), got {samples} and {confidence}")
    scores = scores.labelled()
    place = ranks(scores)
    count = len(scores)
    _, label = np.unique(np.array(scores.labels, str), return_inverse=True)
    rng = np.random.default_rng(seed)
    found = np.empty((samples, 3))
    for k in range(samples):
        weights = rng.multinomial(count, np.full(count, 1 / count))
        drawn, right = np.bincount(label, weights), np.bincount(label, weights * (place < 1))
        found[k] = (
            weights @ (place < 1) / count,
            weights @ (place < 5) / count,
            (right[drawn > 0] / drawn[drawn > 0]).mean(),
        )
    tail = (1 - confidence) / 2
    low, high = np.quantile(found, [tail, 1 - tail], axis=0)
    return {name: (float(low[k]), float(high[k])) for k, name in enumerate(("top1", "top5", "mean_class"))}


def difference(
    one: ClassScores, other: ClassScores, *, samples: int = 2000, confidence: float = 0.95, seed: int = 0
) -> tuple[float, float, float]:
    """Top-1 of ``other`` less that of ``one`` on the same videos, and its interval (difference, low, high).

    The videos are drawn again in pairs, so what both find hard cancels out. EvaluationError unless both have scores of
    the same labelled videos.
    """
    one = one.labelled()
    if set(one.videos) != set(other.labelled().videos):
        raise EvaluationError("the two files do not hold the same labelled videos, so they cannot be compared")
    gain = (ranks(other.of_videos(one.videos)) < 1).astype(float) - (ranks(one) < 1)
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(len(gain), np.full(len(gain), 1 / len(gain)), size=samples)
    tail = (1 - confidence) / 2
    low, high = np.quantile(weights @ gain / len(gain), [tail, 1 - tail])
    return float(gain.mean()), float(low), float(high)
