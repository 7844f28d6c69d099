"""The size at which a network sees a frame, and boxes between the two."""

from __future__ import annotations

import numpy as np

from video.clips import size_with_short_side as network_size

__all__ = ["network_size", "scale_boxes"]


def scale_boxes(boxes: np.ndarray, source: tuple[int, int], target: tuple[int, int]) -> np.ndarray:
    """(n, 4) float32 boxes of a picture of ``source`` (height, width) in pixels of its copy of ``target`` size."""
    factors = np.array([target[1] / source[1], target[0] / source[0]] * 2, np.float32)
    return np.asarray(boxes, np.float32) * factors
