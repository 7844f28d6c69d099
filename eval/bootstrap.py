"""How sure is the number? Confidence intervals by drawing the videos again.

Videos, not tubes, are drawn with replacement, because tubes of one video go right or wrong together. Matching stays
within a video, so what each detection claims does not change; only how often it counts does. A video drawn k times
counts k-fold, its detections at one rank.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from eval.errors import EvaluationError
from eval.protocols import VideoProtocol
from eval.thresholds import DEFAULT_IOUS, parse_ious
from eval.video_map import judge_tubes
from linking.records import VideoAnnotation


def confidence_intervals(
    ground_truth: Sequence[VideoAnnotation],
    detections: Sequence[VideoAnnotation],
    *,
    thresholds: Iterable[float | str] = DEFAULT_IOUS,
    protocol: str | VideoProtocol = "saha",
    class_names: Sequence[str] | None = None,
    ignore_unknown_videos: bool = False,
    samples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """A row per class and ``mean``, columns (IoU, ``low`` / ``value`` / ``high``): percentile intervals of AP.

    ``value`` is the AP itself. A class that a sample does not draw is left out of that sample's mean. Other
    arguments as in video_map.
    """
    if samples < 2 or not 0 < confidence < 1:
        raise EvaluationError(f"needs 2 samples or more and a confidence in (0, 1), got {samples} and {confidence}")
    thresholds = tuple(thresholds)
    ious = parse_ious(thresholds)
    result, verdicts = judge_tubes(
        ground_truth,
        detections,
        thresholds=thresholds,
        class_names=class_names,
        protocol=protocol,
        ignore_unknown_videos=ignore_unknown_videos,
    )
    videos = result.num_videos
    draws = np.random.default_rng(seed).multinomial(videos, np.full(videos, 1 / videos), size=samples)
    truth, found, order = verdicts.ground_truth, verdicts.detections, verdicts.order
    rules = result.protocol
    assert isinstance(rules, VideoProtocol)
    # a class without any ground truth keeps the value that the protocol gives it
    sampled = np.tile(np.where(result.num_ground_truth[:, None] > 0, np.nan, result.ap_by_threshold), (samples, 1, 1))
    for c in range(len(result.class_names)):
        mine = order[found.label[order] == c]
        positives = draws[:, truth.video[truth.label == c]].sum(axis=1)
        weights = draws[:, found.video[mine]]
        for t in range(len(ious.values)):
            areas = _weighted_areas(weights, verdicts.claimed[t, mine] >= 0, rules.precision == "trapezoid")
            np.divide(areas, positives + rules.recall_padding, out=sampled[:, c, t], where=positives > 0)
    by_column = ious.reduce(sampled)
    tail = (1 - confidence) / 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of means over classes that are left out altogether
        means = np.nanmean(by_column, axis=1, keepdims=True)
        low, high = np.nanquantile(np.concatenate([by_column, means], axis=1), [tail, 1 - tail], axis=0)
    value = np.vstack([result.ap, np.array(list(result.mean.values()))])
    columns = pd.MultiIndex.from_product([ious.columns, ["low", "value", "high"]], names=["iou", None])
    cells = np.stack([low, value, high], axis=2).reshape(len(value), -1)
    return pd.DataFrame(cells, index=pd.Index([*result.class_names, "mean"], name="class"), columns=columns)


def _weighted_areas(weights: np.ndarray, hit: np.ndarray, raw: bool) -> np.ndarray:
    """(samples,) area under precision over the number of hits, of ranked detections that count ``weights``-fold."""
    if not hit.any():
        return np.zeros(len(weights))
    hits = np.cumsum(weights * hit, axis=1)
    seen = np.cumsum(weights, axis=1)
    precision = np.divide(hits, seen, out=np.zeros(seen.shape), where=seen > 0)
    gained = weights * hit
    if raw:
        # precision before anything was seen is 1
        before = np.concatenate([np.ones((len(seen), 1)), np.where(seen > 0, precision, 1.0)[:, :-1]], axis=1)
        return (gained * (before + precision) / 2).sum(axis=1)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    return (gained * envelope).sum(axis=1)
