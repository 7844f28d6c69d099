"""Boxes in the frames between two key frames, so that proposals need not run on every frame."""

from __future__ import annotations

import numpy as np

from linking.geometry import box_iou
from linking.records import Detections

MIN_OVERLAP = 0.3
"""IoU from which two boxes of neighbouring key frames are taken for the same actor."""


def boxes_between(first: Detections, second: Detections, min_overlap: float = MIN_OVERLAP) -> list[Detections]:
    """Detections of every frame strictly between two key frames.

    Boxes are paired one to one, best overlap first; position and score of a pair go from one to the other in a
    straight line. A box without a partner stays where it is for the nearer half of the way, so that an actor who
    enters or leaves, or whom one key frame missed, is still proposed.
    """
    frames = range(first.frame + 1, second.frame)
    if not frames:
        return []
    left, right = _pairs(first.boxes, second.boxes, min_overlap)
    lonely_left = np.setdiff1d(np.arange(len(first)), left)
    lonely_right = np.setdiff1d(np.arange(len(second)), right)
    found = []
    for frame in frames:
        share = (frame - first.frame) / (second.frame - first.frame)
        boxes = (1 - share) * first.boxes[left] + share * second.boxes[right]
        scores = (1 - share) * first.scores[left] + share * second.scores[right]
        near, lonely = (first, lonely_left) if share <= 0.5 else (second, lonely_right)
        boxes = np.concatenate([boxes, near.boxes[lonely]])
        scores = np.concatenate([scores, near.scores[lonely]])
        order = np.argsort(-scores, kind="stable")
        found.append(Detections(frame, boxes[order], scores[order]))
    return found


def _pairs(a: np.ndarray, b: np.ndarray, min_overlap: float) -> tuple[np.ndarray, np.ndarray]:
    """Indices of boxes of ``a`` and of their partners in ``b``."""
    overlap = box_iou(a, b)
    candidates = np.argwhere(overlap >= min_overlap)
    candidates = candidates[np.argsort(-overlap[tuple(candidates.T)], kind="stable")]
    left: list[int] = []
    right: list[int] = []
    for i, j in candidates.tolist():
        if i not in left and j not in right:
            left.append(i)
            right.append(j)
    return np.array(left, np.int64), np.array(right, np.int64)
