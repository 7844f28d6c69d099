"""What every kind of video looks like to the rest of the program."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Self

import numpy as np

UNKNOWN_FPS = 25.0
"""Frames a second where nothing states a rate: image folders, raw streams, some cameras."""


class VideoError(ValueError):
    """A video cannot be used; the message is one line: which one, why, what to do."""


class VideoSource:
    """The upright pictures of one video, one at a time; memory does not grow with its length.

    A context manager that is iterated once and yields (H, W, 3) uint8 RGB arrays. The k-th array is frame k
    everywhere in the program: neither time stamps nor the counts stated by containers are used, for both
    are wrong in common data sets. What could not be read is counted in ``num_damaged`` and told, in words, in
    ``warnings``; both are complete when the iteration ends.
    """

    name: str
    """As the user wrote it."""
    width: int
    """Pixels of the upright picture. Samples are taken as they are stored, also where they are not square."""
    height: int
    """Pixels of the upright picture."""
    fps: float = UNKNOWN_FPS
    """Frames a second, ``UNKNOWN_FPS`` where no rate is stated."""
    is_live: bool = False
    """Whether there is no end to wait for: a camera or a broadcast."""
    stated_frames: int | None = None
    """What the container says about its length: good for a progress bar, never for an index."""
    num_damaged: int = 0
    """Pieces of data (packets, mostly one frame each) that could not be decoded so far."""
    warnings: list[str]
    """One line each, for the user."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.warnings = []
        self._started = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[np.ndarray]:
        self._begin()
        return self._frames()

    def close(self) -> None:
        """Give back files and devices; harmless when repeated."""

    def _begin(self, *, again: bool = False) -> None:
        if self._started and not again:
            raise RuntimeError(f"{self.name}: a video source is read once; open it again")
        self._started = True

    def _frames(self) -> Iterator[np.ndarray]:
        raise NotImplementedError
