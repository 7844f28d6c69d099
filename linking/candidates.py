"""All boxes of a video in one array, and which of them a class may use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from linking.records import Detections

PAIRS_AT_ONCE = 2**17
"""Box pairs compared in one go: a few arrays of this size fit into the cache."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """The boxes of a video, frame after frame; box ``i`` lies in frame ``first_frame + time[i]``."""

    boxes: np.ndarray
    """(n, 4) float32."""
    scores: np.ndarray
    """(n, classes) float32."""
    start: np.ndarray
    """(frames + 1,) int64: boxes ``start[t]`` to ``start[t + 1]`` lie in frame ``t``."""
    first_frame: int

    @property
    def num_frames(self) -> int:
        return len(self.start) - 1

    @property
    def time(self) -> np.ndarray:
        """(n,) int64, frame of each box counted from ``first_frame``."""
        return np.repeat(np.arange(self.num_frames), np.diff(self.start))

    def only(self, kept: np.ndarray) -> Candidates:
        """The boxes where ``kept`` (n,) is true; frames stay, some of them empty."""
        start = np.r_[0, np.cumsum(kept)][self.start]
        return Candidates(self.boxes[kept], self.scores[kept], start, self.first_frame)


def candidates_of(detections: Sequence[Detections], scores: Sequence[np.ndarray]) -> Candidates:
    """Join ``detections`` (ascending frames, holes are empty frames) with ``scores``, (n, classes) each."""
    frames = np.array([found.frame for found in detections], np.int64)
    if (np.diff(frames) <= 0).any():
        raise ValueError("detections must come in ascending frames, one record a frame")
    first = int(frames[0]) if len(frames) else 0
    counts = np.zeros(int(frames[-1]) - first + 1 if len(frames) else 0, np.int64)
    counts[frames - first] = [len(found) for found in detections]
    classes = scores[0].shape[1] if len(scores) else 0
    return Candidates(
        boxes=np.concatenate([np.zeros((0, 4), np.float32), *(found.boxes for found in detections)]),
        scores=np.concatenate([np.zeros((0, classes), np.float32), *scores]),
        start=np.r_[0, np.cumsum(counts)],
        first_frame=first,
    )


def usable(candidates: Candidates, *, score_threshold: float, nms_iou: float, top_boxes: int) -> np.ndarray:
    """(n, classes) bool: what is left per frame and class of boxes after threshold, NMS and the cut to the best.

    NMS is greedy as in ``geometry.nms`` (a box goes at IoU *above* ``nms_iou``, of equal scores the first
    box stays), done for all classes and many frames at once, because the overlaps are the same for all.
    """
    kept = np.zeros(candidates.scores.shape, bool)
    if candidates.scores.size == 0:
        return kept
    corners = corners_of(candidates.boxes)
    scores = np.full((len(candidates.scores) + 1, candidates.scores.shape[1]), -np.inf, np.float32)  # index -1: no box
    np.copyto(scores[:-1], candidates.scores, where=candidates.scores >= score_threshold)
    for t0, t1 in frame_blocks(candidates.start, 1, candidates.scores.shape[1]):
        slots = padded(candidates.start, np.arange(t0, t1))  # (frames, widest)
        boxes = corners[:, slots]
        with np.errstate(invalid="ignore"):
            covers = overlaps(boxes, boxes) > nms_iou  # (frames, widest, widest)
        left = np.ascontiguousarray(scores[slots].transpose(0, 2, 1))  # (frames, classes, widest)
        frame = np.arange(t1 - t0)[:, None]
        number = np.arange(left.shape[1])[None, :]
        for _ in range(min(top_boxes, left.shape[2])):
            best = left.argmax(axis=2)  # (frames, classes)
            found = left[frame, number, best] > -np.inf
            if not found.any():
                break
            rows, columns = np.nonzero(found)
            kept[slots[rows, best[rows, columns]], columns] = True
            left[frame, number, best] = -np.inf
            np.copyto(left, -np.inf, where=covers[frame, best])
    return kept


def with_last_pixel(boxes: np.ndarray) -> np.ndarray:
    """``boxes`` with corners of whole pixels, both inside, as the areas of published code count them."""
    return boxes + np.array([0, 0, 1, 1], np.float32)


def overlaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(frames, n, m) float32 IoU of boxes (4, frames, n) with boxes (4, frames, m); NaN where either is padding."""
    ax1, ay1, ax2, ay2 = a[:, :, :, None]
    bx1, by1, bx2, by2 = b[:, :, None, :]
    shared = np.minimum(ax2, bx2)
    shared -= np.maximum(ax1, bx1)
    height = np.minimum(ay2, by2)
    height -= np.maximum(ay1, by1)
    # np.maximum keeps NaN, the mark of padding
    np.maximum(shared, 0, out=shared)
    shared *= np.maximum(height, 0, out=height)
    union = np.add((ax2 - ax1) * (ay2 - ay1), (bx2 - bx1) * (by2 - by1), out=height)
    union -= shared
    shared /= union
    return shared


def padded(start: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """(frames, widest) int64 indices of the boxes of each of ``frames``, -1 where a frame has fewer."""
    first, counts = start[frames, None], (start[frames + 1] - start[frames])[:, None]
    slot = np.arange(max(1, int(counts.max(initial=0))))[None, :]
    return np.where(slot < counts, first + slot, -1)


def corners_of(boxes: np.ndarray) -> np.ndarray:
    """(4, n + 1) corners of ``boxes`` side by side, which compares faster; the last column, index -1, is NaN."""
    corners = np.full((4, len(boxes) + 1), np.nan, boxes.dtype)
    corners[:, :-1] = boxes.T
    return corners


def stable_order(keys: np.ndarray) -> np.ndarray:
    """``argsort(keys, kind="stable")`` of numbers from 0 to 2**31, at a third of the time: NumPy sorts plain integers
    faster than it finds their order, so each carries its place in the lower half of a word."""
    packed = (keys.astype(np.int64) << 32) | np.arange(len(keys))
    packed.sort()
    return packed & (2**32 - 1)


def frame_blocks(start: np.ndarray, reach: int, classes: int = 1) -> Iterator[tuple[int, int]]:
    """Runs of frames so small that their arrays (frames, widest, max(widest, classes)) stay within bounds."""
    counts = np.diff(start)
    t0 = 0
    while t0 < len(counts):
        t1, widest = t0, 1
        # doubling keeps the number of looks at the counts low
        size = 64
        while t1 < len(counts):
            end = min(t1 + size, len(counts))
            wider = max(widest, int(counts[max(t0 - reach, 0) : end].max(initial=1)))
            if (end - t0) * wider * max(wider, classes) > PAIRS_AT_ONCE:
                if size == 1:
                    break
                size = max(1, size // 4)
                continue
            t1, widest = end, wider
        yield t0, max(t1, t0 + 1)
        t0 = max(t1, t0 + 1)
