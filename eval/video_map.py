"""Video-mAP: how many action tubes are found, in space, time and class together.

Conventions: ground truth and detections are lists of VideoAnnotation, one a video, matched by name; every detected
tube has a score. Overlaps are computed once, and all thresholds are read off them. Equal scores are ordered by
video name, then tube id, so the order of input never matters. Protocols: eval.protocols.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from eval.average_precision import average_precision
from eval.inputs import check_scores, class_list, detected_in_annotations, pixel_warnings, tube_warnings, video_index
from eval.matching import claim
from eval.protocols import VideoProtocol, video_protocol
from eval.results import MapResult
from eval.thresholds import DEFAULT_IOUS, parse_ious
from eval.tubes import TubeSet, keep_after_nms, tube_overlaps, tube_set
from linking.records import VideoAnnotation


@dataclass(frozen=True, eq=False)
class TubeVerdicts:
    """Every detection that was judged, in ranked order: by class, then falling score."""

    ground_truth: TubeSet
    detections: TubeSet
    """After the protocol's suppression, sorted by video name and tube id."""
    order: np.ndarray
    """(n,) int64 indices into ``detections``: by class, then by falling score."""
    claimed: np.ndarray
    """(thresholds, n) int64, in the order of ``detections``: index into ``ground_truth``, -1 where false."""
    video_names: tuple[str, ...]


def video_map(
    ground_truth: Sequence[VideoAnnotation],
    detections: Sequence[VideoAnnotation],
    *,
    thresholds: Iterable[float | str] = DEFAULT_IOUS,
    class_names: Sequence[str] | None = None,
    protocol: str | VideoProtocol = "saha",
    ignore_unknown_videos: bool = False,
) -> MapResult:
    """Average precision of detected tubes per class and IoU, and its mean.

    ``thresholds``: numbers or ranges, see parse_ious. ``class_names``: the classes that count, by default those of
    the ground truth; the protocol says what a class without ground truth means. Ground-truth videos without
    detections count as missed. Raises EvaluationError for detections in unknown videos (unless ignored on
    purpose), tubes without a score, and ground truth without tubes.
    """
    result, _ = judge_tubes(
        ground_truth,
        detections,
        thresholds=thresholds,
        class_names=class_names,
        protocol=protocol,
        ignore_unknown_videos=ignore_unknown_videos,
    )
    return result


def judge_tubes(
    ground_truth: Sequence[VideoAnnotation],
    detections: Sequence[VideoAnnotation],
    *,
    thresholds: Iterable[float | str] = DEFAULT_IOUS,
    class_names: Sequence[str] | None = None,
    protocol: str | VideoProtocol = "saha",
    ignore_unknown_videos: bool = False,
) -> tuple[MapResult, TubeVerdicts]:
    """As video_map, with the verdict on every single tube."""
    rules = video_protocol(protocol)
    ious = parse_ious(thresholds)
    seen = detected_in_annotations(detections)
    index, warnings = video_index(ground_truth, seen, ignore_unknown_videos)
    classes, label_warnings = class_list(ground_truth, seen, class_names)
    check_scores(detections)

    truth = tube_set(ground_truth, index, classes)
    found = tube_set(detections, index, classes)
    warnings += label_warnings + tube_warnings(ground_truth, index, found) + pixel_warnings(ground_truth, rules)
    found = found.select(np.flatnonzero(found.label >= 0))
    found = found.select(keep_after_nms(found, rules))
    order = ranked(found, rules)
    rank = np.empty(len(found), np.int64)
    rank[order] = np.arange(len(found))
    pairs = tube_overlaps(truth, found, rules, at_least=ious.values[0])
    claimed = claim(pairs, rank, len(truth), ious.values, rules.hit, rules.match)
    counts = np.bincount(truth.label, minlength=len(classes))
    detected = np.bincount(found.label, minlength=len(classes))
    ap, recall = class_average_precisions(claimed[:, order] >= 0, found.label[order], counts, rules)
    result = MapResult(rules, ious, classes, ap, recall, counts, detected, len(index), tuple(warnings))
    return result, TubeVerdicts(truth, found, order, claimed, tuple(index))


def ranked(tubes: TubeSet, protocol: VideoProtocol) -> np.ndarray:
    """Indices by class, then falling score; equal scores by video, then tube id, which is the order of the set."""
    if not protocol.single_precision:
        return np.lexsort((np.arange(len(tubes)), -tubes.score, tubes.label))
    # the published file rounds scores when it ranks across videos, but not when it ranks within a video
    rounded = tubes.score.astype(np.float32)
    return np.lexsort((np.arange(len(tubes)), -tubes.score, tubes.video, -rounded, tubes.label))


def class_average_precisions(
    hits: np.ndarray, label: np.ndarray, num_ground_truth: np.ndarray, protocol: VideoProtocol
) -> tuple[np.ndarray, np.ndarray]:
    """(classes, thresholds) AP and recall, both float64.

    ``hits``: (thresholds, n) bool, of detections in the order of ``ranked``; ``label``: (n,) their classes;
    ``num_ground_truth``: (classes,). Without ground truth AP is 0, or NaN where the protocol leaves the class out,
    and recall is NaN.
    """
    ap = np.zeros((len(num_ground_truth), len(hits)))
    recall = np.full(ap.shape, np.nan)
    ends = np.searchsorted(label, np.arange(len(num_ground_truth)), side="right")
    for c, (start, end, positives) in enumerate(zip(np.append(0, ends), ends, num_ground_truth.tolist())):
        for t, row in enumerate(hits):
            if positives:
                ranks = np.flatnonzero(row[start:end]) + 1
                ap[c, t] = average_precision(ranks, positives, protocol.precision, protocol.recall_padding)
                recall[c, t] = len(ranks) / positives
            elif protocol.empty_class == "skip":
                ap[c, t] = np.nan
    return ap, recall
