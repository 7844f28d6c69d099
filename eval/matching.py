"""Which detection claims which ground truth, for many groups (videos, frames) and many thresholds at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eval.protocols import Hit, Match


@dataclass(frozen=True, eq=False)
class Pairs:
    """Overlaps of detections with ground truths they could claim (same video or frame, usually same class)."""

    detection: np.ndarray
    """(p,) int64 index of the detection."""
    ground_truth: np.ndarray
    """(p,) int64 index of the ground truth."""
    overlap: np.ndarray
    """(p,) float64 in [0, 1]."""

    def __len__(self) -> int:
        return len(self.detection)


def passes(overlap: np.ndarray, threshold: float, hit: Hit) -> np.ndarray:
    """(p,) bool: whether each overlap reaches the threshold."""
    return overlap > threshold if hit == ">" else overlap >= threshold


def claim(
    pairs: Pairs,
    rank: np.ndarray,
    num_ground_truth: int,
    thresholds: tuple[float, ...],
    hit: Hit,
    match: Match,
) -> np.ndarray:
    """(thresholds, detections) int64: the ground truth that each detection claims, or -1 for a false positive.

    ``rank``: (detections,) distinct numbers; the lower goes first. ``match``: see VideoProtocol. Of ground truths
    that overlap equally, the one with the lower index is claimed.
    """
    choices = np.lexsort((pairs.ground_truth, -pairs.overlap, rank[pairs.detection]))
    detection, truth = pairs.detection[choices], pairs.ground_truth[choices]
    overlap = pairs.overlap[choices]
    claimed = np.full((len(thresholds), len(rank)), -1, np.int64)
    for row, threshold in zip(claimed, thresholds):
        passing = passes(overlap, threshold, hit)
        _claim_once(row, detection[passing], truth[passing], rank, num_ground_truth, match)
    return claimed


def _claim_once(
    claimed: np.ndarray,
    detection: np.ndarray,
    truth: np.ndarray,
    rank: np.ndarray,
    num_truths: int,
    match: Match,
) -> None:
    """Fill ``claimed`` for pairs that all pass; a detection's pairs lie together, its best first.

    In rank order each detection takes the best ground truth still free. Since every ground truth prefers the lower
    rank, that is the one stable matching, which proposals in rounds reach too, for all groups at once: everybody
    asks for the best that has not refused yet, every ground truth keeps the lowest rank and refuses the others.
    """
    if len(detection) == 0:
        return
    starts = np.flatnonzero(np.diff(detection, prepend=-1))
    ends = np.append(starts[1:], len(detection))
    asking, position = detection[starts], starts.copy()
    ranks = rank[asking]
    holder = np.full(num_truths, np.iinfo(np.int64).max)
    active = np.arange(len(starts))
    while True:
        wanted = truth[position[active]]
        np.minimum.at(holder, wanted, ranks[active])
        refused = ranks[active] > holder[wanted]
        if match == "best" or not refused.any():
            break
        position[active[refused]] += 1
        active = active[position[active] < ends[active]]
    winners = active[~refused] if match == "best" else active
    claimed[asking[winners]] = truth[position[winners]]
