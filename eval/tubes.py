"""Tubes of many videos as flat arrays, and their spatio-temporal overlaps.

Conventions: spatio-temporal IoU = temporal IoU × mean box IoU over the common frames, which for tubes without
holes is the sum of box IoUs over the common frames divided by the number of frames in which either tube is. A tube
with holes is compared by the same sum: a frame that only one of the two has counts 0, a frame that both miss
does not count. (The published evaluators crash on holes.)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from eval.matching import Pairs
from eval.protocols import VideoProtocol
from linking.records import Tube, VideoAnnotation

_CHUNK = 2**19
"""Common frames compared at a time: bounds the temporary arrays at some 50 MB."""


@dataclass(frozen=True, eq=False)
class TubeSet:
    """Tubes sorted by video name and tube id, the order that breaks ties."""

    tubes: tuple[Tube, ...]
    video: np.ndarray
    """(n,) int64 index of each tube's video."""
    label: np.ndarray
    """(n,) int64 index of each tube's class, -1 for a class that is not in the list."""
    score: np.ndarray
    """(n,) float64."""
    first: np.ndarray
    """(n,) int64 first frame."""
    last: np.ndarray
    """(n,) int64 last frame, inclusive."""
    count: np.ndarray
    """(n,) int64 number of boxes."""

    def __len__(self) -> int:
        return len(self.tubes)

    def select(self, index: np.ndarray) -> TubeSet:
        """The tubes at ``index`` (ascending), in the same order."""
        arrays = (self.video, self.label, self.score, self.first, self.last, self.count)
        return TubeSet(tuple(self.tubes[i] for i in index.tolist()), *(array[index] for array in arrays))


def tube_set(
    annotations: Iterable[VideoAnnotation], video_index: Mapping[str, int], class_names: Sequence[str]
) -> TubeSet:
    """Flatten annotations. Videos that ``video_index`` does not know are left out."""
    known = [a for a in annotations if a.video in video_index]
    known.sort(key=lambda annotation: annotation.video)
    by_video = [(video_index[a.video], sorted(a.tubes, key=lambda tube: tube.id)) for a in known]
    tubes = tuple(chain.from_iterable(group for _, group in by_video))
    index = {name: i for i, name in enumerate(class_names)}
    return TubeSet(
        tubes,
        video=np.repeat([v for v, _ in by_video], [len(group) for _, group in by_video]).astype(np.int64),
        label=np.array([index.get(tube.label, -1) for tube in tubes], np.int64),
        score=np.array([tube.score for tube in tubes], np.float64),
        first=np.array([tube.frames[0] for tube in tubes], np.int64),
        last=np.array([tube.frames[-1] for tube in tubes], np.int64),
        count=np.array([len(tube.frames) for tube in tubes], np.int64),
    )


def candidate_pairs(
    ground_truth: TubeSet, detections: TubeSet, *, same_class: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Indices (detection, ground truth) of every pair in one video, and of one class unless told otherwise.

    Only tubes whose class is in the list take part.
    """
    stride = max(int(ground_truth.label.max(initial=0)), int(detections.label.max(initial=0))) + 1
    keys = [
        np.where(tubes.label >= 0, tubes.video * stride + tubes.label * same_class, -1 - side)
        for side, tubes in enumerate((ground_truth, detections))
    ]
    by_key = np.argsort(keys[0], kind="stable")
    start = np.searchsorted(keys[0][by_key], keys[1], side="left")
    number = np.searchsorted(keys[0][by_key], keys[1], side="right") - start
    detection = np.repeat(np.arange(len(detections)), number)
    within = np.arange(len(detection)) - np.repeat(np.cumsum(number) - number, number)
    return detection, by_key[np.repeat(start, number) + within]


def tube_overlaps(
    ground_truth: TubeSet,
    detections: TubeSet,
    protocol: VideoProtocol,
    *,
    same_class: bool = True,
    at_least: float = 0.0,
) -> Pairs:
    """Spatio-temporal IoU of every candidate pair that has one above 0.

    Pairs whose temporal IoU alone is below ``at_least`` may be left out, since their product is below it too.
    """
    detection, truth = candidate_pairs(ground_truth, detections, same_class=same_class)
    temporal, mean_box = overlap_parts(ground_truth, detections, detection, truth, protocol, at_least)
    overlap = temporal * mean_box
    found = overlap > 0
    return Pairs(detection[found], truth[found], overlap[found])


def overlap_parts(
    ground_truth: TubeSet,
    detections: TubeSet,
    detection: np.ndarray,
    truth: np.ndarray,
    protocol: VideoProtocol,
    at_least: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """(temporal IoU, mean box IoU over the common frames), float64, of the given pairs, 0 where none is common."""
    first = np.maximum(ground_truth.first[truth], detections.first[detection])
    common = np.minimum(ground_truth.last[truth], detections.last[detection]) + 1 - first
    holed = (ground_truth.last - ground_truth.first + 1 > ground_truth.count)[truth] | (
        detections.last - detections.first + 1 > detections.count
    )[detection]
    rows: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for pair in np.flatnonzero(holed & (common > 0)).tolist():
        a, b = ground_truth.tubes[truth[pair]], detections.tubes[detection[pair]]
        _, at_a, at_b = np.intersect1d(a.frames, b.frames, assume_unique=True, return_indices=True)
        rows[pair] = at_a, at_b
        common[pair] = len(at_a)
    common = np.maximum(common, 0)
    union = ground_truth.count[truth] + detections.count[detection] - common
    less = 1 if protocol.temporal == "exclusive" else 0
    # two tubes of the same single frame have an exclusive union of 0 frames, which the published code divides by
    temporal = np.maximum(common - less, 0) / np.maximum(union - less, 1)
    if not protocol.lone_frame_counts:
        temporal[common == 1] = 0
    wanted = (temporal > 0) & (temporal >= at_least)
    mean_box = np.zeros(len(common))
    plain = np.flatnonzero(wanted & ~holed)
    for part in _chunks(plain, common):
        mean_box[part] = _mean_box_iou(
            _runs(ground_truth, truth[part], first[part], common[part]),
            _runs(detections, detection[part], first[part], common[part]),
            common[part],
            protocol,
        )
    for pair in np.flatnonzero(wanted & holed).tolist():
        a, b = ground_truth.tubes[truth[pair]], detections.tubes[detection[pair]]
        at_a, at_b = rows[pair]
        mean_box[pair] = _mean_box_iou(a.boxes[at_a], b.boxes[at_b], common[[pair]], protocol)[0]
    return np.where(wanted, temporal, 0), mean_box


def keep_after_nms(detections: TubeSet, protocol: VideoProtocol) -> np.ndarray:
    """Ascending indices of the tubes that no better kept tube of their video and class overlaps by more than
    ``protocol.tube_nms``; of equal scores the first is the better."""
    if protocol.tube_nms is None or len(detections) == 0:
        return np.arange(len(detections))
    waiting = np.lexsort((-detections.score, detections.label, detections.video))
    kept = []
    # The best tube left of every video and class is kept and suppresses others, all videos at once: mostly a round or
    # two decide, and far fewer pairs are compared than there are.
    while len(waiting):
        video, label = detections.video[waiting], detections.label[waiting]
        leads = np.r_[True, (video[1:] != video[:-1]) | (label[1:] != label[:-1])]
        best, worse = waiting[leads], waiting[~leads]
        kept.append(best)
        better = best[np.cumsum(leads) - 1][~leads]
        temporal, mean_box = overlap_parts(
            detections, detections, worse, better, _unshifted(protocol), protocol.tube_nms
        )
        waiting = worse[temporal * mean_box <= protocol.tube_nms]
    return np.sort(np.concatenate(kept))


def _unshifted(protocol: VideoProtocol) -> VideoProtocol:
    """The protocol for comparing detections with one another: both sides are moved alike, so neither is."""
    return replace(protocol, shift_detections=(0.0, 0.0))


def _chunks(pairs: np.ndarray, common: np.ndarray) -> Iterable[np.ndarray]:
    """Split ``pairs`` into runs of about _CHUNK common frames."""
    if len(pairs) == 0:
        return []
    piece = np.cumsum(common[pairs]) // _CHUNK
    return np.split(pairs, np.flatnonzero(np.diff(piece)) + 1)


def _runs(tubes: TubeSet, index: np.ndarray, first: np.ndarray, number: np.ndarray) -> np.ndarray:
    """(sum of ``number``, 4) boxes of tubes ``index`` from frame ``first`` on, for tubes without holes."""
    used, position = np.unique(index, return_inverse=True)
    boxes = np.concatenate([tubes.tubes[i].boxes for i in used.tolist()])
    offset = np.cumsum(tubes.count[used]) - tubes.count[used]
    start = offset[position] + first - tubes.first[index]
    within = np.arange(int(number.sum())) - np.repeat(np.cumsum(number) - number, number)
    return boxes[np.repeat(start, number) + within]


def _mean_box_iou(truth: np.ndarray, found: np.ndarray, number: np.ndarray, protocol: VideoProtocol) -> np.ndarray:
    """(pairs,) mean IoU over each pair's run of ``number`` rows of ``truth`` and ``found``, (rows, 4) each."""
    iou = protocol_box_iou(truth, found, protocol.inclusive_pixels, protocol.shift_detections)
    return np.add.reduceat(iou, np.cumsum(number) - number) / number


def protocol_box_iou(
    truth: np.ndarray, found: np.ndarray, inclusive: bool, shift: tuple[float, float] = (0.0, 0.0)
) -> np.ndarray:
    """(n,) float64 IoU of row i of ``truth`` with row i of ``found``, (n, 4) each, as a protocol counts pixels."""
    ax1, ay1, ax2, ay2 = truth.T.astype(np.float64)
    bx1, by1, bx2, by2 = found.T.astype(np.float64)
    if shift != (0.0, 0.0):
        bx1, by1, bx2, by2 = bx1 + shift[0], by1 + shift[0], bx2 + shift[1], by2 + shift[1]
    pixel = 1.0 if inclusive else 0.0
    width = np.maximum(np.minimum(ax2, bx2) - np.maximum(ax1, bx1) + pixel, 0)
    height = np.maximum(np.minimum(ay2, by2) - np.maximum(ay1, by1) + pixel, 0)
    common = width * height
    area_a = (ax2 - ax1 + pixel) * (ay2 - ay1 + pixel)
    area_b = (bx2 - bx1 + pixel) * (by2 - by1 + pixel)
    return common / (area_a + area_b - common)
