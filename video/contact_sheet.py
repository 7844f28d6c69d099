"""One picture that tells what every tube of a video shows: a row of frames per tube, its box drawn in."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from linking.colours import Colour
from linking.files import replace_when_whole
from linking.looks import PLAIN, Look, Looks
from linking.records import Tube
from video.marks import font, shortened
from video.thumbnails import marked, shrunk, spread_frames
from video.watching import watch_video

_COLUMNS = 6
_MAX_ROWS = 12
_THUMB_HEIGHT, _MAX_THUMB_WIDTH, _MIN_WIDTH = 170, 320, 640
_LETTERS, _GAP, _PAPER, _INK, _DIM = 15, 6, (255, 255, 255), (20, 20, 20), (110, 110, 110)


class ContactSheet:
    """Collects the pictures of a sheet while the frames of a video go by, and writes it in the end.

    Six frames of each tube from its first box to its last, twelve tubes at most, best first, then ground truth that was
    missed, as far as ``looks`` says so. Each row shows its own tube, and ``ground_truth`` in thin lines.
    """

    def __init__(
        self, tubes: Sequence[Tube], *, ground_truth: Sequence[Tube] | None = None, looks: Looks = PLAIN
    ) -> None:
        self._truth, self._looks = tuple(ground_truth or ()), looks
        best = sorted(tubes, key=lambda tube: (np.isnan(tube.score), -tube.score, tube.id))
        rows = [_Row(tube, looks.of(tube)) for tube in best]
        rows += [_Row(true, look, is_true=True) for true in self._truth if (look := looks.of_true(true)).word]
        self._rows, self._left_out = rows[:_MAX_ROWS], max(0, len(rows) - _MAX_ROWS)
        self._size = (0, 0)

    @property
    def tubes(self) -> list[Tube]:
        """Those that have a row."""
        return [row.tube for row in self._rows]

    def see(self, number: int, frame: np.ndarray) -> None:
        """A watcher of the video (video.watching)."""
        rows = [row for row in self._rows if number in row.wanted]
        if not rows:
            return
        scale = min(_THUMB_HEIGHT / frame.shape[0], _MAX_THUMB_WIDTH / frame.shape[1])
        small = shrunk(frame, scale)
        self._size = small.size
        for row in rows:
            row.pictures[number] = marked(
                small, scale, None if row.is_true else row.tube, self._truth, number, self._looks
            )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write what was seen as PNG, whole or not at all."""
        sheet = _arranged(self._rows, self._size, self._looks, self._left_out)
        with replace_when_whole(path) as temporary:
            sheet.save(temporary, "PNG")


def write_contact_sheet(
    source: str | os.PathLike[str],
    path: str | os.PathLike[str],
    tubes: Sequence[Tube],
    *,
    ground_truth: Sequence[Tube] | None = None,
    looks: Looks = PLAIN,
) -> None:
    """Write the ContactSheet of a video. Raises VideoError when the video cannot be read and when a tube has boxes
    outside its pictures or after its end."""
    sheet = ContactSheet(tubes, ground_truth=ground_truth, looks=looks)
    watch_video(source, sheet.see, sheet.tubes)
    sheet.save(path)


@dataclass(eq=False)
class _Row:
    tube: Tube
    look: Look
    is_true: bool = False
    pictures: dict[int, Image.Image] = field(default_factory=dict)
    wanted: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.wanted = spread_frames(self.tube, _COLUMNS)

    @property
    def title(self) -> str:
        tube = self.tube
        if self.is_true:
            return f"truth: {tube.label}"
        return f"#{tube.id} {tube.label}" + ("" if np.isnan(tube.score) else f"  {tube.score:.2f}")


def _arranged(rows: Sequence[_Row], size: tuple[int, int], looks: Looks, left_out: int) -> Image.Image:
    letters, bold, line = font(_LETTERS - 2), font(_LETTERS, bold=True), round(1.7 * _LETTERS)
    row_height = line + size[1] + line
    # a narrow video leaves room for the words all the same
    width = max(2 * _GAP + _COLUMNS * (size[0] + _GAP), _MIN_WIDTH)
    legend = _legend_lines(looks, letters, width)
    height = 2 * _GAP + len(legend) * line + max(1, len(rows)) * (row_height + _GAP) + (line if left_out else 0)
    sheet = Image.new("RGB", (width, max(height, 4 * line)), _PAPER)
    drawing, top = ImageDraw.Draw(sheet), _GAP
    for entries in legend:
        left = _GAP
        for text, colour in entries:
            _swatch(drawing, left, top, colour)
            drawing.text((left + 20, top + 2), text, font=letters, fill=_INK)
            left += round(letters.getlength(text)) + 44
        top += line
    if not rows:
        drawing.text((2 * _GAP, top + _GAP), "no tubes", font=bold, fill=_DIM)
    for row in rows:
        tube = row.tube
        _swatch(drawing, _GAP, top, row.look.colour)
        note = f"frames {tube.first_frame}–{tube.end_frame - 1}, {len(tube)} boxes"
        right = width - _GAP - letters.getlength(note)
        drawing.text((right, top + 3), note, font=letters, fill=_DIM)
        word = shortened(row.look.word, letters, right / 2)
        title = shortened(row.title, bold, right - _GAP - 44 - letters.getlength(word))
        drawing.text((_GAP + 20, top + 2), title, font=bold, fill=_INK)
        drawing.text((_GAP + 32 + bold.getlength(title), top + 3), word, font=letters, fill=_INK)
        for column, frame in enumerate(row.wanted):
            left = _GAP + column * (size[0] + _GAP)
            sheet.paste(row.pictures[frame], (left, top + line))
            drawing.text((left + 2, top + line + size[1] + 3), f"{frame}", font=letters, fill=_DIM)
        top += row_height + _GAP
    if left_out:
        drawing.text((_GAP, top), f"and {left_out} more tubes with lower scores", font=letters, fill=_DIM)
    return sheet


def _swatch(drawing: ImageDraw.ImageDraw, left: float, top: float, colour: Colour) -> None:
    drawing.rectangle((left, top + 4, left + 13, top + 17), fill=colour, outline=_INK)


def _legend_lines(looks: Looks, letters: ImageFont.FreeTypeFont, width: int) -> list[list[tuple[str, Colour]]]:
    """What the colours mean, in as many lines as the width of the sheet asks for."""
    lines: list[list[tuple[str, Colour]]] = []
    used = float(width)
    for text, colour in looks.legend:
        needed = letters.getlength(text) + 44
        if used + needed > width:
            lines.append([])
            used = _GAP
        lines[-1].append((text, colour))
        used += needed
    return lines
