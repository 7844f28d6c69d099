"""Maps of heat over frames: as a sheet of pictures, or as a video."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from linking.files import replace_when_whole
from video.frames import open_video
from video.marks import font, shortened, text_size
from video.writing import VideoWriter

Area = tuple[float, float, float, float]

_COLUMNS = 6
_THUMB_HEIGHT, _MAX_THUMB_WIDTH = 150, 300
_GAP, _LINE, _PAPER, _INK, _DIM = 6, 22, (255, 255, 255), (20, 20, 20), (110, 110, 110)
_STRONGEST = 0.65
"""Share of colour where the heat is greatest; where there is none the frame stays as it is."""
_COLOURS = np.array([[0, 0, 130], [0, 90, 255], [40, 220, 210], [250, 230, 40], [255, 120, 0], [200, 0, 0]], float)
"""From cold to hot."""


@dataclass(frozen=True, eq=False)
class HeatRow:
    """What is shown of one class: a title and its maps."""

    title: str
    maps: np.ndarray
    """(m, H', W') of any scale; a map a frame of ``frames``. What is negative is cold."""


def heat_over(frame: np.ndarray, heat: np.ndarray, area: Area = (0, 0, 1, 1)) -> np.ndarray:
    """(H, W, 3) uint8 with ``heat`` (H', W') in 0..1 laid over ``area``: shares of width and height, also outside 0..1.

    What of the frame lies outside the area stays as it is.
    """
    height, width = frame.shape[:2]
    x1, y1, x2, y2 = round(area[0] * width), round(area[1] * height), round(area[2] * width), round(area[3] * height)
    values = np.clip(np.nan_to_num(heat), 0, 1).astype(np.float32)
    # bicubic makes round spots of the cells, and may leave the range a little
    wide = Image.fromarray(values).resize((max(1, x2 - x1), max(1, y2 - y1)), Image.Resampling.BICUBIC)
    # a crop beyond the edges is filled with zeros
    inside = wide.crop((-x1, -y1, width - x1, height - y1))
    full = np.clip(np.asarray(inside, np.float64), 0, 1)
    steps = np.linspace(0, 1, len(_COLOURS))
    colours = np.stack([np.interp(full, steps, _COLOURS[:, channel]) for channel in range(3)], axis=-1)
    share = (_STRONGEST * full)[..., None]
    return np.rint(frame * (1 - share) + colours * share).astype(np.uint8)


def scaled_heat(maps: np.ndarray) -> np.ndarray:
    """(m, H', W') of any scale -> 0..1: the greatest value of all frames is 1, zero and what is below it 0."""
    greatest = float(maps.max(initial=0))
    return np.clip(maps, 0, None) / greatest if greatest > 0 else np.zeros_like(maps)


def write_heat_sheet(
    source: str | os.PathLike[str],
    path: str | os.PathLike[str],
    frames: np.ndarray,
    rows: Sequence[HeatRow],
    *,
    area: Area = (0, 0, 1, 1),
) -> None:
    """Write a PNG with six frames at equal distances, and below them, a row a class, the same with its heat.

    ``frames`` (m,) ascending are the frames that maps belong to. Raises VideoError when the video cannot be read.
    """
    shown = np.unique(np.linspace(0, len(frames) - 1, _COLUMNS).round().astype(int))
    heats = [scaled_heat(row.maps) for row in rows]
    with open_video(source) as video:
        scale = min(_THUMB_HEIGHT / video.height, _MAX_THUMB_WIDTH / video.width)
        size = max(1, round(video.width * scale)), max(1, round(video.height * scale))
        pictures: dict[int, np.ndarray] = {}
        wanted = set(frames[shown].tolist())
        for number, picture in enumerate(video):
            if number in wanted:
                pictures[number] = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))
            if len(pictures) == len(wanted):
                break
    width = 2 * _GAP + len(shown) * (size[0] + _GAP)
    height = 2 * _GAP + (len(rows) + 1) * (_LINE + size[1] + _GAP)
    sheet = Image.new("RGB", (width, height), _PAPER)
    drawing, letters = ImageDraw.Draw(sheet), font(13, bold=True)
    for line, title in enumerate(["", *(row.title for row in rows)]):
        top = _GAP + line * (_LINE + size[1] + _GAP)
        drawing.text((_GAP, top + 2), shortened(title, letters, width - 2 * _GAP), font=letters, fill=_INK)
        for column, place in enumerate(shown.tolist()):
            left, frame = _GAP + column * (size[0] + _GAP), int(frames[place])
            picture = pictures[frame]
            if line:
                picture = heat_over(picture, heats[line - 1][place], area)
            else:
                drawing.text((left + 2, top + 4), f"frame {frame}", font=font(12), fill=_DIM)
            sheet.paste(Image.fromarray(picture), (left, top + _LINE))
    with replace_when_whole(path) as temporary:
        sheet.save(temporary, "PNG")


def write_heat_video(
    source: str | os.PathLike[str],
    path: str | os.PathLike[str],
    frames: np.ndarray,
    row: HeatRow,
    *,
    area: Area = (0, 0, 1, 1),
    on_frame: Callable[[int], None] | None = None,
) -> None:
    """Write the video with the heat of one class over every frame, between two maps a mixture of both.

    The title stands in the upper left corner. Raises VideoError when a video cannot be read or written.
    """
    heat = scaled_heat(row.maps)
    with open_video(source) as video, VideoWriter(path, width=video.width, height=video.height, fps=video.fps) as out:
        letters = font(text_size(video.height), bold=True)
        for number, frame in enumerate(video):
            picture = Image.fromarray(heat_over(frame, _heat_at(number, frames, heat), area))
            title = shortened(row.title, letters, video.width - 12)
            ImageDraw.Draw(picture).text(
                (6, 4), title, font=letters, fill=(255, 255, 255), stroke_width=2, stroke_fill=0
            )
            out.write(np.asarray(picture))
            if on_frame is not None:
                on_frame(number + 1)


def _heat_at(number: int, frames: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """The map of frame ``number``: one of ``heat`` or a mixture of its neighbours; before the first, the first."""
    after = int(np.searchsorted(frames, number))
    if after == 0 or after == len(frames):
        return heat[min(after, len(frames) - 1)]
    share = (number - frames[after - 1]) / (frames[after] - frames[after - 1])
    return (1 - share) * heat[after - 1] + share * heat[after]
