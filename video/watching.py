"""One pass over the frames of a video for everybody who wants to see them, and what they take along.

A watcher is called with the number of each frame and its picture, (H, W, 3) uint8 RGB, as decoded. Memory does not
grow with the length of the video.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from linking.records import Tube
from video.drawing import check_frames, check_places
from video.frames import open_video
from video.thumbnails import shrunk, spread_frames

Watcher = Callable[[int, np.ndarray], None]

_PADDING = 232
"""Grey of what a crop shows beyond the picture."""


def watch_video(
    source: str | os.PathLike[str],
    watch: Watcher,
    tubes: Sequence[Tube] = (),
    *,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Show every frame to ``watch``; the number of frames. ``progress`` is called with that so far.

    Raises VideoError when the video cannot be read and when a box of ``tubes`` is not in its pictures or frames.
    """
    with open_video(source) as video:
        check_places(tubes, video.width, video.height, video.name)
        count = 0
        for number, frame in enumerate(video):
            watch(number, frame)
            count = number + 1
            if progress is not None:
                progress(count)
        check_frames(tubes, count, video.name)
    return count


def together(watchers: Sequence[Watcher]) -> Watcher:
    """One watcher that shows each frame to all ``watchers``."""

    def watch(number: int, frame: np.ndarray) -> None:
        for each in watchers:
            each(number, frame)

    return watch


@contextmanager
def progress_bar(title: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, nothing elsewhere; gives the function to call with the number of frames done."""
    from tqdm import tqdm

    with tqdm(desc=title, total=total, unit="frame", disable=None, leave=False) as bar:
        yield lambda done: bar.update(done - bar.n) and None


class SpreadFrames:
    """Keeps small pictures of frames at equal distances of a video whose length nobody knows beforehand."""

    def __init__(self, count: int, *, height: int = 300) -> None:
        """``count`` pictures are wanted in the end, no higher than ``height`` pixels."""
        self._count, self._height, self._step = count, height, 1
        self._kept: dict[int, np.ndarray] = {}

    def see(self, number: int, frame: np.ndarray) -> None:
        """A watcher: every ``step``-th frame is kept, and when they become too many every second of these."""
        if self._count < 1 or number % self._step:
            return
        self._kept[number] = np.asarray(shrunk(frame, min(1.0, self._height / frame.shape[0])))
        if len(self._kept) > 16 * self._count:
            self._step *= 2
            self._kept = {kept: picture for kept, picture in self._kept.items() if kept % self._step == 0}

    def pictures(self, num_frames: int) -> dict[int, np.ndarray]:
        """By frame: the kept ones nearest to the beginnings of ``count`` equal parts of ``num_frames`` frames."""
        if not self._kept:
            return {}
        kept = np.array(sorted(self._kept))
        wanted = np.arange(self._count) * num_frames / self._count
        nearest = {int(kept[np.abs(kept - frame).argmin()]) for frame in wanted}
        return {frame: self._kept[frame] for frame in sorted(nearest)}


@dataclass(frozen=True, eq=False)
class Crop:
    """The surroundings of one box of a tube."""

    frame: int
    """0-based index in the video."""
    picture: np.ndarray
    """(h, w, 3) uint8 RGB; light grey where it reaches beyond the frame."""
    window: tuple[float, float, float, float]
    """x1 y1 x2 y2 of what it shows, in pixels of the video."""


class Crops:
    """Cuts some frames of each tube out around its boxes, always at the scale at which its largest box fits in."""

    def __init__(self, tubes: Sequence[Tube], count: int, *, width: int = 160, height: int = 200) -> None:
        """``count`` crops of each tube at most, at equal distances, of ``width`` x ``height`` pixels."""
        self._size = width, height
        self._tubes = tubes
        self._sides: list[float] = []
        """Height of the window of each tube, in pixels of the video."""
        self._wanted: dict[int, list[int]] = {}
        self._taken: list[list[Crop]] = [[] for _ in tubes]
        for place, tube in enumerate(tubes):
            x1, y1, x2, y2 = tube.boxes.T
            self._sides.append(1.25 * float(max((y2 - y1).max(), (x2 - x1).max() * height / width)))
            for frame in spread_frames(tube, count):
                self._wanted.setdefault(frame, []).append(place)

    def see(self, number: int, frame: np.ndarray) -> None:
        """A watcher; frames nobody wants cost nothing."""
        for place in self._wanted.get(number, ()):
            tube = self._tubes[place]
            x1, y1, x2, y2 = map(float, tube.boxes[int(np.searchsorted(tube.frames, number))])
            tall = self._sides[place]
            wide = tall * self._size[0] / self._size[1]
            # moved into the picture as far as it is large enough
            left = _inside((x1 + x2 - wide) / 2, wide, frame.shape[1])
            top = _inside((y1 + y2 - tall) / 2, tall, frame.shape[0])
            window = left, top, left + wide, top + tall
            self._taken[place].append(Crop(number, _cut(frame, window, self._size), window))

    def of(self, place: int) -> tuple[Crop, ...]:
        """Of the tube at this place of the list, those seen so far, in order of time."""
        return tuple(self._taken[place])


def _inside(start: float, length: float, whole: int) -> float:
    """Where a stretch begins that is moved into 0..``whole``; one that is too long is put in its middle."""
    return (whole - length) / 2 if length > whole else min(max(start, 0.0), whole - length)


def _cut(frame: np.ndarray, window: tuple[float, float, float, float], size: tuple[int, int]) -> np.ndarray:
    """``window`` of ``frame`` as a picture of ``size`` (width, height)."""
    height, width = frame.shape[:2]
    scale = size[0] / (window[2] - window[0])
    result = np.full((size[1], size[0], 3), _PADDING, np.uint8)
    x1, y1 = max(0, int(window[0])), max(0, int(window[1]))
    x2, y2 = min(width, int(np.ceil(window[2]))), min(height, int(np.ceil(window[3])))
    if x2 <= x1 or y2 <= y1:
        return result
    part = np.asarray(shrunk(np.ascontiguousarray(frame[y1:y2, x1:x2]), scale))
    left, top = round((x1 - window[0]) * scale), round((y1 - window[1]) * scale)
    # whole pixels of the source may begin before the window
    part = part[max(0, -top) :, max(0, -left) :]
    left, top = max(0, left), max(0, top)
    part = part[: size[1] - top, : size[0] - left]
    result[top : top + part.shape[0], left : left + part.shape[1]] = part
    return result
