"""The panel at the right of an annotated video: frame, time, and the best classes of every tube in sight."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from video.marks import Colour, font, shortened, text_size

_PAPER, _INK, _DIM, _TROUGH = (22, 24, 28), (240, 240, 240), (160, 164, 170), (46, 49, 55)


@dataclass(frozen=True)
class PanelEntry:
    """One tube in the panel."""

    colour: Colour
    title: str
    note: str
    """Smaller, at the right of the title."""
    classes: tuple[tuple[str, float], ...]
    """(label, score), best first; NaN where there is no score. Bars show 0..1."""


class Panel:
    """Draws the panel for pictures of one height; keeps the last drawing, for tubes change rarely."""

    def __init__(self, height: int, *, legend: Sequence[tuple[str, Colour, bool]] = ()) -> None:
        """``legend`` names the line styles in use: text, colour, dashed."""
        self.height = height
        self.width = 2 * round(0.29 * height)  # even, as H.264 wants
        self._size = text_size(height)
        self._legend = legend
        self._last: tuple[tuple[PanelEntry, ...], Image.Image] | None = None

    def draw(self, entries: Sequence[PanelEntry], *, frame: int, seconds: float) -> Image.Image:
        """A new picture of ``width`` x ``height``."""
        key = tuple(entries)
        if self._last is None or self._last[0] != key:
            self._last = key, self._body(key)
        picture = self._last[1].copy()
        drawing, margin = ImageDraw.Draw(picture), self._size
        drawing.text((margin, margin * 0.7), f"frame {frame}", font=font(self._size, bold=True), fill=_INK)
        time = f"{seconds:.2f} s"
        right = self.width - margin - font(self._size).getlength(time)
        drawing.text((right, margin * 0.7), time, font=font(self._size), fill=_DIM)
        return picture

    def _body(self, entries: Sequence[PanelEntry]) -> Image.Image:
        picture = Image.new("RGB", (self.width, self.height), _PAPER)
        drawing = ImageDraw.Draw(picture)
        size, margin = self._size, self._size
        top, bottom = size * 2.6, self.height - margin * 0.6 - 1.5 * size * len(self._legend)
        drawing.line((margin, top - size * 0.3, self.width - margin, top - size * 0.3), fill=_TROUGH)
        for count in (3, 2, 1):  # fewer classes each when there are many tubes
            rows = [min(count, len(entry.classes)) for entry in entries]
            if sum(self._entry_height(row) for row in rows) <= bottom - top:
                break
        for number, (entry, row) in enumerate(zip(entries, rows if entries else [])):
            left = len(entries) - number
            room = bottom - top - (1.4 * size if left > 1 else 0)
            if self._entry_height(row) > room:
                drawing.text((margin, top + 0.2 * size), f"and {left} more", font=font(size), fill=_DIM)
                break
            self._entry(drawing, entry, row, top)
            top += self._entry_height(row)
        for number, (text, colour, dashed) in enumerate(reversed(self._legend)):
            middle = self.height - margin * 0.6 - 1.5 * size * (number + 0.5)
            self._legend_line(drawing, text, colour, dashed, middle)
        return picture

    def _entry_height(self, classes: int) -> float:
        return self._size * (1.9 + 1.75 * classes)

    def _entry(self, drawing: ImageDraw.ImageDraw, entry: PanelEntry, classes: int, top: float) -> None:
        size, margin = self._size, self._size
        left, right = margin, self.width - margin
        drawing.rectangle((left, top + 0.35 * size, left + 0.8 * size, top + 1.15 * size), fill=entry.colour)
        bold = font(size, bold=True)
        drawing.text((left + 1.2 * size, top + 0.15 * size), entry.title, font=bold, fill=_INK)
        small = font(round(0.85 * size))
        room = right - left - 1.8 * size - bold.getlength(entry.title)
        note = shortened(entry.note, small, room)
        drawing.text((right - small.getlength(note), top + 0.3 * size), note, font=small, fill=_DIM)
        for row, (label, score) in enumerate(entry.classes[:classes]):
            y = top + size * (1.6 + 1.75 * row)
            number = "–" if math.isnan(score) else f"{score:.2f}"
            share = 0.0 if math.isnan(score) else min(max(score, 0.0), 1.0)
            drawing.rectangle((left, y, right, y + 1.5 * size), fill=_TROUGH)
            drawing.rectangle(
                (left, y, left + share * (right - left), y + 1.5 * size), fill=_darker(entry.colour)
            )
            letters = font(size, bold=row == 0)
            wide = letters.getlength(number)
            text = shortened(label, letters, right - left - wide - 1.4 * size)
            drawing.text((left + 0.4 * size, y + 0.15 * size), text, font=letters, fill=_INK)
            drawing.text((right - wide - 0.4 * size, y + 0.15 * size), number, font=letters, fill=_INK)

    def _legend_line(
        self, drawing: ImageDraw.ImageDraw, text: str, colour: Colour, dashed: bool, middle: float
    ) -> None:
        size, margin = self._size, self._size
        dash = 0.45 * size if dashed else 2 * size
        x = float(margin)
        while x < 3 * margin:
            drawing.rectangle((x, middle - 1, min(x + dash, 3 * margin), middle + 1), fill=colour)
            x += 1.8 * dash
        letters = font(round(0.85 * size))
        text = shortened(text, letters, self.width - 4.5 * margin)
        drawing.text((3.5 * margin, middle - 0.6 * size), text, font=letters, fill=_DIM)


def _darker(colour: Colour) -> Colour:
    """Dark enough for white letters."""
    red, green, blue = (round(0.55 * part) for part in colour)
    return red, green, blue
