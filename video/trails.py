"""Trails: the path that the middle of a box took lately, thinner and fainter the longer ago."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from linking.colours import Colour
from linking.looks import PLAIN, Looks
from linking.records import Tube


def draw_trails(
    picture: Image.Image, tubes: Sequence[Tube], frame: int, length: float, *, scale: float = 1.0, looks: Looks = PLAIN
) -> None:
    """Draw onto ``picture`` where the boxes of ``tubes`` were in the ``length`` frames up to ``frame``.

    Boxes are multiplied by ``scale`` first. The trail of a tube that has ended goes on fading.
    """
    for tube in tubes:
        first, end = np.searchsorted(tube.frames, [frame - length, frame], side="right")
        if end - first < 2:
            continue
        boxes = scale * tube.boxes[first:end]
        strength = 1 - (frame - tube.frames[first:end]) / length
        _draw(picture, (boxes[:, :2] + boxes[:, 2:]) / 2, strength, looks.of(tube).colour)


def _draw(picture: Image.Image, centres: np.ndarray, strength: np.ndarray, colour: Colour) -> None:
    """``centres`` (n, 2) in pixels of the picture, oldest first, each with its ``strength``, 0..1."""
    thick = max(3.0, picture.height / 120)
    low = np.floor(centres.min(axis=0) - thick).astype(int)
    size = np.ceil(centres.max(axis=0) + thick).astype(int) - low + 1
    points = [(float(x), float(y)) for x, y in centres - low]
    # the rim makes light colours show on light ground; newer pieces replace older ones, so that nothing adds up
    for rim, ink in ((2, (0, 0, 0)), (0, colour)):
        mask = Image.new("L", (int(size[0]), int(size[1])))
        drawing = ImageDraw.Draw(mask)
        for start, end, share in zip(points, points[1:], strength[1:].tolist()):
            width = 1 + share * (thick - 1) + rim
            drawing.line((*start, *end), fill=round(235 * share), width=round(width))
            radius = width / 2 - 0.5
            if radius > 1:
                x, y = end
                drawing.ellipse((x - radius, y - radius, x + radius, y + radius), fill=round(235 * share))
        picture.paste(ink, (int(low[0]), int(low[1])), mask)
