"""Small videos whose motion is known: a texture that moves by a given number of pixels a frame."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 48, 32
_WAVES = ((12.0, 0.4, 0.0), (19.0, 1.9, 1.0), (9.0, 2.8, 2.0), (27.0, 4.0, 3.0))
"""Length in pixels, direction and phase of what the texture is made of."""


def textured_frame(x: float, y: float = 0.0, *, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """(height, width, 3) uint8 RGB: the texture moved by (x, y) pixels."""
    rows, columns = np.mgrid[:height, :width]
    picture = np.full((height, width), 128.0)
    for length, angle, phase in _WAVES:
        way = (columns - x) * np.cos(angle) + (rows - y) * np.sin(angle)
        picture += 28 * np.sin(2 * np.pi * way / length + phase)
    return np.repeat(picture.round().clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)


def write_moving(folder: Path, places: Sequence[float], *, width: int = WIDTH, height: int = HEIGHT) -> Path:
    """A folder of pictures, one for each place in x: as lossless as a video can be."""
    folder.mkdir(parents=True)
    for number, x in enumerate(places):
        Image.fromarray(textured_frame(x, width=width, height=height)).save(folder / f"{number:03d}.png")
    return folder
