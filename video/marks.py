"""Boxes with labels on a picture: crisp lines, text that is readable on anything and never leaves the picture."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from linking.colours import Colour, text_colour

Area = tuple[float, float, float, float]

_RIM = (0, 0, 0)  # lines carry a dark rim, so that light colours show on light pictures
_QUIET_PLATE = (40, 42, 46)


@dataclass(frozen=True, eq=False)
class Mark:
    """One box to be drawn."""

    box: Sequence[float] | np.ndarray
    """x1 y1 x2 y2 in pixels of the frame; what lies outside of it is cut off."""
    colour: Colour
    """Red, green, blue, 0..255."""
    text: str = ""
    """Shown beside the box, shortened where the picture is too narrow."""
    dashed: bool = False
    """For boxes nobody detected: interpolated ones."""
    thin: bool = False
    """For what should stand back: ground truth."""


@cache
def font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans as matplotlib brings it along: covers Latin, Greek and Cyrillic on every machine."""
    spec = importlib.util.find_spec("matplotlib")  # found, not imported: that would take half a second
    assert spec is not None, "matplotlib is a core dependency"
    assert spec.origin is not None
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / name), size)


def text_size(height: int) -> int:
    """Size of letters that suits a picture ``height`` pixels high."""
    return max(11, round(height / 32))


def shortened(text: str, letters: ImageFont.FreeTypeFont, width: float) -> str:
    """``text``, cut with an ellipsis where it is wider than ``width`` pixels."""
    text = " ".join(text.split())
    if letters.getlength(text) <= width:
        return text
    while text and letters.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…" if text else ""


def draw_marks(picture: Image.Image, marks: Sequence[Mark], *, scale: float = 1.0) -> None:
    """Draw onto ``picture``; boxes are multiplied by ``scale`` first. Thin marks lie below the others, text on top."""
    drawing = ImageDraw.Draw(picture)
    line = max(3, round(picture.height / 180))
    placed = [(mark, _visible(mark.box, scale, picture.size)) for mark in marks]
    shown = [(mark, box) for mark, box in placed if box is not None]
    for mark, box in sorted(shown, key=lambda pair: not pair[0].thin):
        width = max(1, line // 2) if mark.thin else line
        dash = 4 * line if mark.dashed else None
        # a rim outside; thin lines need it on both sides to show on light ground
        _rectangle(drawing, _grown(box, 1), _RIM, width + (2 if mark.thin else 1), dash)
        _rectangle(drawing, box, mark.colour, width, dash)
    letters = font(text_size(picture.height))
    taken: list[Area] = []
    # thin marks take the places that are left
    for mark, box in sorted(shown, key=lambda pair: pair[0].thin):
        if mark.text:
            taken.append(_label(drawing, mark, box, letters, taken, picture.size))


def _visible(box: Sequence[float] | np.ndarray, scale: float, size: tuple[int, int]) -> Area | None:
    """The part of the box inside the picture, in its pixels; None where there is none."""
    x1, y1, x2, y2 = (float(side) * scale for side in box)
    x1, y1, x2, y2 = max(x1, 0), max(y1, 0), min(x2, size[0]), min(y2, size[1])
    # x2, y2 bound the box; the last pixel that belongs to it is one less
    return (x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)) if x2 > x1 and y2 > y1 else None


def _grown(box: Area, by: float) -> Area:
    return box[0] - by, box[1] - by, box[2] + by, box[3] + by


def _rectangle(drawing: ImageDraw.ImageDraw, box: Area, colour: Colour, width: int, dash: int | None) -> None:
    if dash is None:
        drawing.rectangle(box, outline=colour, width=width)
        return
    x1, y1, x2, y2 = (round(side) for side in box)
    for left in range(x1, x2 + 1, 2 * dash):
        right = min(left + dash, x2)
        drawing.rectangle((left, y1, right, min(y1 + width - 1, y2)), fill=colour)
        drawing.rectangle((left, max(y2 - width + 1, y1), right, y2), fill=colour)
    for top in range(y1, y2 + 1, 2 * dash):
        bottom = min(top + dash, y2)
        drawing.rectangle((x1, top, min(x1 + width - 1, x2), bottom), fill=colour)
        drawing.rectangle((max(x2 - width + 1, x1), top, x2, bottom), fill=colour)


def _label(
    drawing: ImageDraw.ImageDraw,
    mark: Mark,
    box: Area,
    letters: ImageFont.FreeTypeFont,
    taken: Sequence[Area],
    size: tuple[int, int],
) -> Area:
    """Write the text of ``mark`` on a plate of its colour where it hides least; gives the place of the plate."""
    padding = max(2, letters.size // 5)
    text = shortened(mark.text, letters, size[0] - 2 * padding)
    ascent, descent = letters.getmetrics()
    width, height = letters.getlength(text) + 2 * padding, float(ascent + descent + padding)
    plate, ink = (_QUIET_PLATE, mark.colour) if mark.thin else (mark.colour, text_colour(mark.colour))
    place = _free_place(box, width, height, taken, size, below=mark.thin)
    drawing.rectangle(place, fill=plate, outline=_RIM)
    drawing.text((place[0] + padding, place[1] + padding // 2), text, font=letters, fill=ink)
    return place


def _free_place(
    box: Area, width: float, height: float, taken: Sequence[Area], size: tuple[int, int], *, below: bool
) -> Area:
    """A place near ``box`` inside the picture: outside at its corners, inside at them, further off."""
    x1, y1, x2, y2 = box
    above, under = y1 - height, y2 + 1
    first, second = (under, above) if below else (above, under)
    right = x2 - width
    corners = [
        *((x1, first), (right, first), (x1, second), (right, second)),
        *((x1, y1), (x1, y2 - height), (right, y1), (right, y2 - height)),
        *((x1, above - height), (x1, under + height), (x1, y1 + height), (x1, y2 - 2 * height)),
    ]
    best, least = None, float("inf")
    for left, top in corners:
        moved_left = min(max(left, 0), max(0, size[0] - 1 - width))
        moved_top = min(max(top, 0), max(0, size[1] - 1 - height))
        place = (moved_left, moved_top, moved_left + width, moved_top + height)
        # a plate pushed back into the picture covers the box, which is worth avoiding but not much
        cost = sum(_shared(place, other) for other in taken) + 0.1 * abs(moved_top - top) * width
        if cost < least:
            best, least = place, cost
    assert best is not None
    return best


def _shared(a: Area, b: Area) -> float:
    """Common pixels of two places."""
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
