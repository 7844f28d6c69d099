"""Overlap of boxes and of tubes, suppression, interpolation.

Conventions: boxes are ``(n, 4)`` arrays ``x1, y1, x2, y2`` in continuous corner coordinates, so an area is
``(x2 - x1) * (y2 - y1)`` without the ``+ 1`` of inclusive pixels. Results are float64 whatever comes in:
integer boxes (published annotations hold uint8) are widened before any arithmetic.
"""

from __future__ import annotations

import numpy as np

from linking.records import Tube


def box_areas(boxes: np.ndarray) -> np.ndarray:
    """(n,) areas in square pixels; 0 for a box whose corners are reversed."""
    boxes = _widened(boxes)
    return np.clip(boxes[:, 2] - boxes[:, 0], 0, None) * np.clip(boxes[:, 3] - boxes[:, 1], 0, None)


def box_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n, m) intersection over union of every box of ``a`` (n, 4) with every box of ``b`` (m, 4)."""
    a, b = _widened(a), _widened(b)
    corner = np.maximum(a[:, None, :2], b[None, :, :2])
    sides = np.clip(np.minimum(a[:, None, 2:], b[None, :, 2:]) - corner, 0, None)
    shared = sides[..., 0] * sides[..., 1]
    return _ratio(shared, box_areas(a)[:, None] + box_areas(b)[None, :] - shared)


def paired_box_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n,) intersection over union of ``a[i]`` with ``b[i]``; both (n, 4)."""
    a, b = _widened(a), _widened(b)
    if a.shape != b.shape:
        raise ValueError(f"boxes are compared in pairs, got {len(a)} and {len(b)} of them")
    sides = np.clip(np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]), 0, None)
    shared = sides[:, 0] * sides[:, 1]
    return _ratio(shared, box_areas(a) + box_areas(b) - shared)


def nms(boxes: np.ndarray, scores: np.ndarray, threshold: float) -> np.ndarray:
    """Greedy non-maximum suppression: indices of the kept boxes by falling score.

    A box goes when its IoU with a kept box of higher score is *above* ``threshold``. Of equal scores the
    lower index comes first.
    """
    boxes, scores = _widened(boxes), np.asarray(scores)
    if scores.shape != (len(boxes),):
        raise ValueError(f"expected {len(boxes)} scores, one a box, got shape {scores.shape}")
    waiting = np.argsort(-scores, kind="stable")
    kept = []
    while len(waiting):
        best, waiting = waiting[0], waiting[1:]
        kept.append(best)
        waiting = waiting[box_iou(boxes[best : best + 1], boxes[waiting])[0] <= threshold]
    return np.array(kept, np.int64)


def interpolate_boxes(frames: np.ndarray, boxes: np.ndarray, at: np.ndarray) -> np.ndarray:
    """(len(at), 4) float32 boxes at the frames ``at``, each corner on the line between its known neighbours.

    ``frames`` (n,) ascending and ``boxes`` (n, 4) are what is known. A known frame gives its own box bit
    for bit; before the first and after the last one the nearest box is repeated.
    """
    frames, at = np.asarray(frames), np.asarray(at)
    boxes = np.asarray(boxes, np.float32)
    if len(frames) == 0 or boxes.shape != (len(frames), 4):
        raise ValueError(f"expected one box a frame and at least one, got {len(frames)} frames, {boxes.shape}")
    found = np.stack([np.interp(at, frames, side.astype(np.float64)) for side in boxes.T], axis=1).astype(np.float32)
    nearest = np.minimum(np.searchsorted(frames, at), len(frames) - 1)
    known = frames[nearest] == at
    found[known] = boxes[nearest[known]]
    return found


def smooth_boxes(boxes: np.ndarray, window: int) -> np.ndarray:
    """``boxes`` (n, 4) of consecutive frames, each the mean of up to ``window`` (odd) around it, as float32.

    Towards both ends the window shrinks and stays symmetric, so a box that moves evenly stays where it is.
    """
    n = len(boxes)
    index = np.arange(n)
    half = np.minimum(min(window // 2, n), np.minimum(index, n - 1 - index))
    sums = np.concatenate([np.zeros((1, 4)), np.cumsum(boxes, axis=0, dtype=np.float64)])
    mean = (sums[index + half + 1] - sums[index - half]) / (2 * half + 1)[:, None]
    return mean.astype(np.float32)


def tube_iou(a: Tube, b: Tube) -> float:
    """Spatio-temporal overlap in [0, 1]: temporal IoU times the mean box IoU over the shared frames.

    The measure that every published evaluator of action tubes uses. Frames are counted by the boxes of the
    tubes, so a frame inside a hole of either tube is not shared.
    """
    shared, in_a, in_b = np.intersect1d(a.frames, b.frames, assume_unique=True, return_indices=True)
    if len(shared) == 0:
        return 0.0
    temporal = len(shared) / (len(a) + len(b) - len(shared))
    return float(temporal * paired_box_iou(a.boxes[in_a], b.boxes[in_b]).mean())


def _widened(boxes: np.ndarray) -> np.ndarray:
    boxes = np.asarray(boxes, np.float64)
    return boxes.reshape(-1, 4) if boxes.size == 0 else boxes


def _ratio(shared: np.ndarray, union: np.ndarray) -> np.ndarray:
    # two boxes without area have no union; 0 instead of a warning and NaN
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
