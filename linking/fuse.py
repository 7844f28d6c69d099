"""Late fusion of two streams, RGB and flow: two scored videos become one, from which linking goes on as ever.

- ``product``: the streams scored the same boxes; which class it is says the product of their scores, how surely it is
  any says the mean (``product_of_streams``).
- ``mean``: the streams scored the same boxes, and the class scores are averaged (ACT, MOC, Singh's "mean").
- ``boost``: the boxes of the first stream stay. For every class a box's score grows by the score of the second
  stream's box that overlaps it most, times their IoU, where that is at least ``iou`` (Saha et al., BMVC 2016, as in
  their ``gen_action_paths.m``: s + s_flow * IoU, IoU >= 0.3). A class sees only those boxes of the second stream that
  it keeps after suppression. Scores may pass 1. Saha suppresses the first stream before boosting and counts one pixel
  more on each side; here the linker suppresses afterwards, by the boosted scores, and corners are continuous.
- ``union``: the boxes of both streams, each with its own scores; suppression while linking sorts out the copies (Singh
  et al., ICCV 2017, "cat", who suppress each stream by itself before).

Singh's boost (``fusedActionPaths.m``) also adds the flow boxes that matched nothing and divides by the sum of the
scores. As released it boosts at most the first box of a frame and class, because ``isempty(ismember(covered, k))`` is
true only while nothing is covered yet, and where nothing was matched it adds no flow box. Neither is reproduced.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from linking.candidates import Candidates, usable
from linking.geometry import box_iou
from linking.records import Detections
from linking.scores import ScoredVideo


class FusionError(ValueError):
    """Two streams that cannot be fused; the text names the video and the cause."""


@dataclass(frozen=True)
class FusionConfig:
    """How the scores of two streams become one. "Saha" is the released code of the BMVC 2016 paper."""

    method: Literal["product", "mean", "boost", "union"] = "product"
    """product is for scores of which one class takes what the others lose, mean for any."""
    weight: float | None = None
    """Weight of the second stream. product and mean: its share, none for a half; boost and union: a factor on its
    scores, none for 1. Saha: 1."""
    iou: float = 0.3
    """boost: least IoU of two boxes. Saha: 0.3; Singh: 0.25."""
    nms_iou: float = 0.3
    """boost: a box of the second stream goes when it overlaps a better one of its class by more. Saha: 0.3."""
    top_boxes: int = 5
    """boost: boxes of the second stream that a class keeps per frame. Saha: 5; Singh: 10."""

    def __post_init__(self) -> None:
        if self.weight is not None and not 0 <= self.weight < float("inf"):
            raise ValueError(f"weight must be a number, 0 or more, got {self.weight}")
        if self.method in ("product", "mean") and self.weight is not None and self.weight > 1:
            raise ValueError(f"weight is the second stream's share and must lie in 0..1, got {self.weight}")
        for name in ("iou", "nms_iou"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is an IoU and must lie in 0..1, got {getattr(self, name)}")
        if self.top_boxes < 1:
            raise ValueError(f"top_boxes must be 1 or more, got {self.top_boxes}")


def mean_of_streams(scores: Sequence[np.ndarray], weights: np.ndarray) -> np.ndarray:
    """(n, classes) mean of what each stream says, ``weights`` (streams,) adding up to 1."""
    return sum((weight * one for weight, one in zip(weights, scores)), np.zeros_like(scores[0]))


def product_of_streams(scores: Sequence[np.ndarray], weights: np.ndarray) -> np.ndarray:
    """(n, classes) scores by the product rule, for classes of which a box has one.

    Of streams that are independent once the class is known, the product of their probabilities is that of the class,
    up to a factor (Kittler et al. 1998, "On Combining Classifiers", section 2.1, equal priors). So each class gets the
    product of the streams' scores, as its share of what a box has for all classes, which is the streams' mean: whether
    a box acts at all is not what they disagree about. docs/decisions/027-product-of-streams.md.

    Args:
        scores: of each stream, (n, classes), 0 or more.
        weights: (streams,), adding up to 1. The heaviest stream counts as it is, the others to the power of their share
            of its weight: equal ones make the plain product, and 0 leaves a stream out.
    """
    mean = mean_of_streams(scores, weights)
    product = np.ones(mean.shape, np.float64)
    for weight, one in zip(weights, scores):
        product *= one.astype(np.float64) ** float(weight / max(weights))
    total = product.sum(axis=1, keepdims=True)
    share = np.divide(product, total, out=np.zeros_like(product), where=total > 0)
    # streams that agree on no class at all are averaged
    return np.where(total > 0, share * mean.sum(axis=1, keepdims=True), mean).astype(np.float32)


def fuse_streams(first: ScoredVideo, second: ScoredVideo, config: FusionConfig) -> ScoredVideo:
    """One scored video from two of the same video; picture size, frame rate and cuts are those of ``first``.

    Objectness is averaged (product, mean), or stays what it was (boost, union). Class columns of ``second`` are matched
    by name, in any order.

    Raises:
        FusionError: another video, other classes, another number of frames or picture size, or for ``product`` and
            ``mean`` a frame with other boxes.
    """
    _check_pair(first, second)
    columns = [second.class_names.index(name) for name in first.class_names]
    default = 0.5 if config.method in ("product", "mean") else 1.0
    weight = default if config.weight is None else config.weight
    fuse = {"product": _same_boxes, "mean": _same_boxes, "boost": _boost, "union": _union}[config.method]
    detections = []
    for one, other in zip(first.detections, second.detections):
        assert other.class_scores is not None, "a scored video has class scores"
        other = replace(other, class_scores=other.class_scores[:, columns])
        try:
            detections.append(fuse(one, other, weight, config))
        except FusionError as error:
            raise FusionError(f"{first.video}: {error}") from None
    return replace(first, detections=tuple(detections))


_Fuse = Callable[[Detections, Detections, float, FusionConfig], Detections]


def _check_pair(first: ScoredVideo, second: ScoredVideo) -> None:
    if first.video != second.video:
        raise FusionError(f"the streams are of two videos, {first.video!r} and {second.video!r}")
    if set(first.class_names) != set(second.class_names):
        odd = sorted(set(first.class_names) ^ set(second.class_names))[0]
        raise FusionError(f"{first.video}: the streams have other classes; only one of them has {odd!r}")
    if first.num_frames != second.num_frames:
        raise FusionError(
            f"{first.video}: the streams have {first.num_frames} and {second.num_frames} frames; score both in full"
        )
    if (first.width, first.height) != (second.width, second.height):
        raise FusionError(
            f"{first.video}: the streams have boxes for {first.width} x {first.height} and "
            f"{second.width} x {second.height} pixels"
        )


def _same_boxes(one: Detections, other: Detections, weight: float, config: FusionConfig) -> Detections:
    if not np.array_equal(one.boxes, other.boxes):
        raise FusionError(
            f"the streams have other boxes in frame {one.frame}; product and mean need the same, use boost or union"
        )
    weights = np.array([1 - weight, weight], np.float32)
    fused = product_of_streams if config.method == "product" else mean_of_streams
    return replace(
        one,
        scores=(1 - weight) * one.scores + weight * other.scores,
        class_scores=fused([_scores(one), _scores(other)], weights),
    )


def _boost(one: Detections, other: Detections, weight: float, config: FusionConfig) -> Detections:
    if len(one) == 0 or len(other) == 0:
        return one
    mask = usable(
        Candidates(other.boxes, _scores(other), np.array([0, len(other)]), other.frame),
        score_threshold=0.0,
        nms_iou=config.nms_iou,
        top_boxes=config.top_boxes,
    )
    overlap = box_iou(one.boxes, other.boxes)  # (n, m)
    seen = np.where(mask.T[:, None, :], overlap[None], -1.0)  # (classes, n, m)
    nearest = seen.argmax(axis=2)  # of equals the first box
    most = np.take_along_axis(seen, nearest[:, :, None], axis=2)[:, :, 0]
    gain = np.take_along_axis(_scores(other).T, nearest, axis=1) * most
    gain[most < config.iou] = 0
    return replace(one, class_scores=_scores(one) + weight * gain.T)


def _union(one: Detections, other: Detections, weight: float, config: FusionConfig) -> Detections:
    return Detections(
        one.frame,
        np.concatenate([one.boxes, other.boxes]),
        np.concatenate([one.scores, other.scores]),
        np.concatenate([_scores(one), weight * _scores(other)]),
    )


def _scores(found: Detections) -> np.ndarray:
    assert found.class_scores is not None, "a scored video has class scores"
    return found.class_scores
