"""Average precision of one class from the ranks of its hits.

Conventions: detections of a class are ranked 1, 2, 3, ... by falling score; a *hit* is a detection that claimed a
ground truth. Recall changes only at hits, so their ranks alone decide every kind of average precision: at the
i-th hit, at rank r, precision is i / r and recall i / (number of ground truths).
"""

from __future__ import annotations

import numpy as np

from eval.protocols import Precision


def average_precision(
    hit_ranks: np.ndarray, num_ground_truth: int, rule: Precision = "envelope", recall_padding: float = 0.0
) -> float:
    """Average precision in [0, 1]; 0 without hits.

    ``hit_ranks``: (h,) ascending ranks from 1, of the detections that are hits, h <= ``num_ground_truth``.
    ``rule``: ``envelope``, VOC 2010 and later: the mean, over all ground truths, of the best precision at that
    recall or beyond. ``trapezoid``: straight lines between the raw points, starting at recall 0, precision 1, and
    ending at the last recall reached. ``11-point``, VOC 2007: the mean of the envelope at recall 0, 0.1, ... 1.
    ``recall_padding``: added to the number of ground truths.
    """
    ranks = np.asarray(hit_ranks, np.float64)
    if len(ranks) == 0:
        return 0.0
    hits = np.arange(1, len(ranks) + 1)
    precision = hits / ranks
    positives = num_ground_truth + recall_padding
    if rule == "trapezoid":
        # the point just before a hit has one hit and one detection less; before the first detection it is 1
        before = np.divide(hits - 1, ranks - 1, out=np.ones_like(ranks), where=ranks > 1)
        return float((precision + before).sum() / 2 / positives)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    if rule == "envelope":
        return float(envelope.sum() / positives)
    # recall i / n reaches t / 10 at i = ceil(t n / 10), in whole numbers: 0.3 in floating point would miss its point
    needed = np.maximum(-(-np.arange(11) * num_ground_truth // 10), 1)
    return float(envelope[needed[needed <= len(hits)] - 1].sum() / 11)
