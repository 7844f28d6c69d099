"""Small pictures of tubes: some frames of each, its box drawn in."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from linking.looks import PLAIN, Looks
from linking.records import Tube
from video.drawing import marks_at
from video.marks import Mark, draw_marks

HEIGHT, MAX_WIDTH = 132, 264
_QUALITY = 80
_MAX_TUBES = 12


@dataclass(frozen=True)
class Thumbnail:
    """A small picture of one frame."""

    frame: int
    """0-based index in the video."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""
    jpeg: bytes
    """The file."""


class Thumbnails:
    """Collects pictures of tubes while the frames of their video go by, so that it is decoded once only.

    thumbnails = Thumbnails(tubes)
    for number, frame in enumerate(video):
        thumbnails.see(number, frame)
    thumbnails.of(tubes[0])
    """

    def __init__(self, tubes: Sequence[Tube], *, count: int = 6, ground_truth: Sequence[Tube] = ()) -> None:
        """``count`` pictures of each tube at most; ``ground_truth`` is drawn in thin light lines."""
        self._truth = ground_truth
        self._wanted: dict[int, list[Tube]] = {}
        for tube in tubes:
            for frame in spread_frames(tube, count):
                self._wanted.setdefault(frame, []).append(tube)
        self._taken: dict[int, list[Thumbnail]] = {tube.id: [] for tube in tubes}

    def see(self, number: int, frame: np.ndarray) -> None:
        """Frame ``number`` of the video, (H, W, 3) uint8 RGB; frames nobody wants cost nothing."""
        tubes = self._wanted.get(number)
        if not tubes:
            return
        height, width = frame.shape[:2]
        scale = min(HEIGHT / height, MAX_WIDTH / width)
        small = shrunk(frame, scale)
        for tube in tubes:
            file = io.BytesIO()
            marked(small, scale, tube, self._truth, number).save(file, "JPEG", quality=_QUALITY)
            self._taken[tube.id].append(Thumbnail(number, *small.size, file.getvalue()))

    def of(self, tube: Tube) -> tuple[Thumbnail, ...]:
        """The pictures of ``tube`` seen so far, in order."""
        return tuple(self._taken.get(tube.id, ()))


def thumbnails_for(tubes: Sequence[Tube], num_videos: int, *, ground_truth: Sequence[Tube] = ()) -> Thumbnails:
    """For a page about ``num_videos``: fewer pictures of each tube in many videos, so that the page stays loadable.

    At most the first ``_MAX_TUBES`` of ``tubes`` get pictures; in all that is some ten to thirty megabytes.
    """
    count = 6 if num_videos <= 20 else 3 if num_videos <= 100 else 1
    return Thumbnails(tubes[:_MAX_TUBES], count=count, ground_truth=ground_truth)


def spread_frames(tube: Tube, count: int) -> list[int]:
    """``count`` frames of the tube at equal distances, each once; its first and last among them, the middle for 1."""
    ends = (0, len(tube) - 1) if count > 1 else (len(tube) // 2,) * 2
    places = np.unique(np.linspace(*ends, count).round().astype(int))
    return tube.frames[places].tolist()


def shrunk(frame: np.ndarray, scale: float) -> Image.Image:
    """``frame``, (H, W, 3) uint8 RGB, ``scale`` times as large."""
    size = max(1, round(frame.shape[1] * scale)), max(1, round(frame.shape[0] * scale))
    return Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)


def marked(
    small: Image.Image, scale: float, tube: Tube | None, truth: Sequence[Tube], frame: int, looks: Looks = PLAIN
) -> Image.Image:
    """A copy of ``small``, which is frame ``frame`` at ``scale``, with the boxes of ``tube`` and ``truth``."""
    picture = small.copy()
    marks = []
    for true in truth:
        look = looks.of_true(true)
        marks += [
            Mark(mark.box, look.colour, thin=not look.word, dashed=bool(look.word)) for mark in marks_at([true], frame)
        ]
    if tube is not None:
        marks += [Mark(mark.box, mark.colour, dashed=mark.dashed) for mark in marks_at([tube], frame, looks)]
    draw_marks(picture, marks, scale=scale)
    return picture
