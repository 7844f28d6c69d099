"""Where the points are lost: every false positive and every miss gets one reason.

A detection that claims no ground truth of its class is, in this order,

- **duplicate**: it reaches a true tube of its class, which a better detection has taken;
- **label**: it reaches a true tube of another class;
- **localisation**, **time**: it overlaps a true tube of its class, but not enough, in space or in time;
- **both**: more than one thing is wrong at once: place and time, or the label and one of them;
- **background**: it overlaps nothing by more than a tenth.

Space and time each suffice at the square root of the threshold, as in the error analysis of MultiSports. A true tube
that nobody claims is **missed**. The *points* of a reason are the AP won if exactly these errors were mended, after
TIDE (Bolya et al., ECCV 2020): a mendable tube becomes the hit it nearly was, unless its true tube is found anyway;
others vanish; for ``missed``, true tubes that no mendable error covers are taken out of the count. The points do
not add up to what is missing, because one mended error changes what the next is worth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from eval.matching import passes
from eval.protocols import VideoProtocol, video_protocol
from eval.tubes import TubeSet, candidate_pairs, overlap_parts
from eval.video_map import class_average_precisions, judge_tubes, ranked
from linking.records import VideoAnnotation

REASONS = ("localisation", "time", "label", "both", "duplicate", "background", "missed")
_LOCALISATION, _TIME, _LABEL, _BOTH, _DUPLICATE, _BACKGROUND = range(6)
BACKGROUND = 0.1
"""Overlap up to which a detection counts as being on nothing."""


@dataclass(frozen=True, eq=False)
class Breakdown:
    """Errors at one overlap threshold."""

    iou: float
    ap: pd.Series
    """AP by class, and ``mean``."""
    counts: pd.DataFrame
    """A row per class and ``total``: found (hits), then the number of errors of each reason."""
    points: pd.DataFrame
    """A row per class and ``mean``: AP won by mending each reason."""


def break_down(
    ground_truth: Sequence[VideoAnnotation],
    detections: Sequence[VideoAnnotation],
    *,
    iou: float = 0.5,
    protocol: str | VideoProtocol = "saha",
    class_names: Sequence[str] | None = None,
    ignore_unknown_videos: bool = False,
) -> Breakdown:
    """Sort all errors by reason, per class. Arguments and errors as in video_map."""
    rules = video_protocol(protocol)
    result, verdicts = judge_tubes(
        ground_truth,
        detections,
        thresholds=[iou],
        class_names=class_names,
        protocol=rules,
        ignore_unknown_videos=ignore_unknown_videos,
    )
    truth, found, claimed = verdicts.ground_truth, verdicts.detections, verdicts.claimed[0]
    reason, target = reasons(truth, found, claimed, iou, rules)
    ap = result.ap_by_threshold[:, 0]
    points = {
        name: _mended(code, truth, found, claimed, reason, target, result.num_ground_truth, rules) - ap
        for code, name in enumerate(REASONS)
    }
    taken = np.zeros(len(truth), bool)
    taken[claimed[claimed >= 0]] = True
    classes = len(result.class_names)
    counts = {"found": np.bincount(found.label[claimed >= 0], minlength=classes)}
    for code, name in enumerate(REASONS[:-1]):
        counts[name] = np.bincount(found.label[reason == code], minlength=classes)
    counts["missed"] = np.bincount(truth.label[~taken], minlength=classes)
    index = pd.Index(result.class_names, name="class")
    count_table, point_table = pd.DataFrame(counts, index=index), pd.DataFrame(points, index=index)
    count_table.loc["total"] = count_table.sum()
    point_table.loc["mean"] = point_table.mean()
    ap_column = pd.Series(ap, index=index, name="AP")
    ap_column.loc["mean"] = ap_column.mean()
    return Breakdown(iou, ap_column, count_table, point_table)


def reasons(
    truth: TubeSet, found: TubeSet, claimed: np.ndarray, iou: float, protocol: VideoProtocol
) -> tuple[np.ndarray, np.ndarray]:
    """Of each detection: the reason (position in REASONS, -1 for a hit) and the true tube it is about (-1: none)."""
    detection, of = candidate_pairs(truth, found, same_class=False)
    temporal, mean_box = overlap_parts(truth, found, detection, of, protocol)
    overlap = temporal * mean_box
    same = truth.label[of] == found.label[detection]
    own, own_best = _best(detection, overlap, same, len(found))
    other, other_best = _best(detection, overlap, ~same, len(found))
    reaches_own, reaches_other = (passes(best, iou, protocol.hit) for best in (own_best, other_best))
    enough = np.sqrt(iou)
    in_time, in_place = (np.append(part, 0.0)[own] >= enough for part in (temporal, mean_box))
    near_own = np.select([in_time, in_place], [_LOCALISATION, _TIME], _BOTH)
    reason = np.select(
        [claimed >= 0, reaches_own, reaches_other, own_best > BACKGROUND, other_best > BACKGROUND],
        [-1, _DUPLICATE, _LABEL, near_own, _BOTH],
        _BACKGROUND,
    )
    about = np.where(reason == _LABEL, other, own)
    return reason, np.append(of, -1)[about]


def _best(detection: np.ndarray, overlap: np.ndarray, among: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each of ``n`` detections: the position of its best pair among some (-1: none), and that overlap (0)."""
    pairs = np.flatnonzero(among & (overlap > 0))
    order = pairs[np.lexsort((pairs, -overlap[pairs], detection[pairs]))]
    first = order[np.flatnonzero(np.diff(detection[order], prepend=-1))]
    position, best = np.full(n, -1), np.zeros(n)
    position[detection[first]], best[detection[first]] = first, overlap[first]
    return position, best


def _mended(
    code: int,
    truth: TubeSet,
    found: TubeSet,
    claimed: np.ndarray,
    reason: np.ndarray,
    target: np.ndarray,
    counts: np.ndarray,
    protocol: VideoProtocol,
) -> np.ndarray:
    """(classes,) AP if the errors of one reason were mended."""
    taken = np.zeros(len(truth), bool)
    taken[claimed[claimed >= 0]] = True
    if REASONS[code] == "missed":
        taken[target[np.isin(reason, (_LOCALISATION, _TIME, _LABEL))]] = True
        left = counts - np.bincount(truth.label[~taken], minlength=len(counts))
        ap = _average_precisions(found, claimed >= 0, left, protocol)
        return np.where((counts > 0) & (left == 0), 1.0, ap)
    wrong = np.flatnonzero(reason == code)
    hit, label, keep = claimed >= 0, found.label.copy(), np.ones(len(found), bool)
    keep[wrong] = False
    if code in (_LOCALISATION, _TIME, _LABEL):
        # the best-scored of those about a true tube that nobody has found becomes its hit
        order = wrong[np.lexsort((wrong, -found.score[wrong]))]
        free = order[~taken[target[order]]]
        mended = free[np.unique(target[free], return_index=True)[1]]
        keep[mended] = hit[mended] = True
        label[mended] = truth.label[target[mended]]
    index = np.flatnonzero(keep)
    return _average_precisions(replace(found, label=label).select(index), hit[index], counts, protocol)


def _average_precisions(found: TubeSet, hit: np.ndarray, counts: np.ndarray, protocol: VideoProtocol) -> np.ndarray:
    order = ranked(found, protocol)
    return class_average_precisions(hit[None, order], found.label[order], counts, protocol)[0][:, 0]
