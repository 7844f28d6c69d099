"""One picture that tells what every tube of a video shows: a row of frames per tube, its box drawn in."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw

from linking.colours import tube_colour
from linking.files import replace_when_whole
from linking.records import Tube
from video.drawing import check_frames, check_places
from video.frames import open_video
from video.marks import font, shortened
from video.thumbnails import marked, shrunk, spread_frames

_COLUMNS = 6
_MAX_ROWS = 12
_THUMB_HEIGHT, _MAX_THUMB_WIDTH = 170, 320
_LETTERS, _GAP, _PAPER, _INK, _DIM = 15, 6, (255, 255, 255), (20, 20, 20), (110, 110, 110)


def write_contact_sheet(
    source: str | os.PathLike[str],
    path: str | os.PathLike[str],
    tubes: Sequence[Tube],
    *,
    ground_truth: Sequence[Tube] | None = None,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Write a PNG with six frames of each tube from its first box to its last, twelve tubes at most, best first.

    Each row shows its own tube, and ``ground_truth`` in thin lines. Raises VideoError when the video cannot be read
    and when a tube goes on where the video has ended.
    """
    shown = sorted(tubes, key=lambda tube: (np.isnan(tube.score), -tube.score, tube.id))[:_MAX_ROWS]
    wanted = {tube.id: spread_frames(tube, _COLUMNS) for tube in shown}
    pictures: dict[tuple[int, int], Image.Image] = {}
    with open_video(source) as video:
        check_places(shown, video.width, video.height, video.name)
        scale = min(_THUMB_HEIGHT / video.height, _MAX_THUMB_WIDTH / video.width)
        size = max(1, round(video.width * scale)), max(1, round(video.height * scale))
        frames = 0
        for frames, picture in enumerate(video, 1):
            rows = [tube for tube in shown if frames - 1 in wanted[tube.id]]
            if rows:
                small = shrunk(picture, scale)
            for tube in rows:
                pictures[tube.id, frames - 1] = marked(small, scale, tube, ground_truth or (), frames - 1)
            if progress is not None:
                progress(frames)
        check_frames(shown, frames, video.name)
    sheet = _arranged(shown, wanted, pictures, size, left_out=len(tubes) - len(shown))
    with replace_when_whole(path) as temporary:
        sheet.save(temporary, "PNG")


def _arranged(
    tubes: Sequence[Tube],
    wanted: dict[int, list[int]],
    pictures: dict[tuple[int, int], Image.Image],
    size: tuple[int, int],
    *,
    left_out: int,
) -> Image.Image:
    letters, bold, line = font(_LETTERS - 2), font(_LETTERS, bold=True), round(1.7 * _LETTERS)
    row_height = line + size[1] + line
    width = 2 * _GAP + _COLUMNS * (size[0] + _GAP)
    height = 2 * _GAP + max(1, len(tubes)) * (row_height + _GAP) + (line if left_out else 0)
    sheet = Image.new("RGB", (width, height), _PAPER)
    drawing, top = ImageDraw.Draw(sheet), _GAP
    if not tubes:
        drawing.text((2 * _GAP, 2 * _GAP), "no tubes", font=bold, fill=_DIM)
    for tube in tubes:
        drawing.rectangle((_GAP, top + 4, _GAP + 13, top + 17), fill=tube_colour(tube.id), outline=_INK)
        score = "" if np.isnan(tube.score) else f"  {tube.score:.2f}"
        title = shortened(f"#{tube.id} {tube.label}{score}", bold, width - 260)
        drawing.text((_GAP + 20, top + 2), title, font=bold, fill=_INK)
        note = f"frames {tube.first_frame}–{tube.end_frame - 1}, {len(tube)} boxes"
        drawing.text((width - _GAP - letters.getlength(note), top + 3), note, font=letters, fill=_DIM)
        for column, frame in enumerate(wanted[tube.id]):
            left = _GAP + column * (size[0] + _GAP)
            sheet.paste(pictures[tube.id, frame], (left, top + line))
            drawing.text((left + 2, top + line + size[1] + 3), f"{frame}", font=letters, fill=_DIM)
        top += row_height + _GAP
    if left_out:
        drawing.text((_GAP, top), f"and {left_out} more tubes with lower scores", font=letters, fill=_DIM)
    return sheet
