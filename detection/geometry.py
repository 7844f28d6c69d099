"""The size at which a network sees a frame, and boxes between the two."""

from __future__ import annotations

import numpy as np


def network_size(height: int, width: int, short_side: int) -> tuple[int, int]:
    """(height, width) with the shorter side at ``short_side`` pixels, aspect kept, whole pixels."""
    scale = short_side / min(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def scale_boxes(boxes: np.ndarray, source: tuple[int, int], target: tuple[int, int]) -> np.ndarray:
    """(n, 4) float32 boxes of a picture of ``source`` (height, width) in pixels of its copy of ``target`` size."""
    factors = np.array([target[1] / source[1], target[0] / source[0]] * 2, np.float32)
    return np.asarray(boxes, np.float32) * factors
