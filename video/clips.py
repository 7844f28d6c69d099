"""Clips for training: any frames of a video by their index, exactly those a sequential reader would give."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from PIL import Image

from video.frames import open_video
from video.source import VideoError


def read_video(path: str | os.PathLike[str], *, size: tuple[int, int] | None = None) -> np.ndarray:
    """All frames, (T, H, W, 3) uint8 RGB; ``size=(height, width)`` scales them. For short videos."""
    with open_video(path) as source:
        if size is None:
            return np.stack(list(source))
        return np.stack([_resize(frame, size) for frame in source])


class ClipReader:
    """Random access to the frames of one video, exact by order of decoding.

    Opened lazily and holding only its path when pickled, so it may travel to DataLoader workers.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._facts: tuple[int, int, int, float] | None = None

    @property
    def num_frames(self) -> int:
        """Frames that can be decoded; found by decoding all of them once."""
        return self._scanned()[0]

    @property
    def height(self) -> int:
        return self._scanned()[1]

    @property
    def width(self) -> int:
        return self._scanned()[2]

    @property
    def fps(self) -> float:
        return self._scanned()[3]

    def read(self, indices: Sequence[int]) -> np.ndarray:
        """(n, H, W, 3) uint8 RGB of the frames named, in that order; repeats are allowed.

        Raises VideoError for an index outside the video.
        """
        wanted = np.asarray(indices, np.int64)
        if len(wanted) == 0:
            return np.empty((0, self.height, self.width, 3), np.uint8)
        if wanted.min() < 0:
            raise VideoError(f"{self.path}: there is no frame {wanted.min()}")
        last, found = int(wanted.max()), {}
        with open_video(self.path) as source:
            for index, frame in enumerate(source):
                if index in wanted:
                    found[index] = frame
                if index == last:
                    break
        missing = sorted(set(wanted.tolist()) - set(found))
        if missing:
            raise VideoError(
                f"{self.path}: there is no frame {missing[0]}; the video has {self.num_frames} frames"
            )
        return np.stack([found[index] for index in wanted.tolist()])

    def _scanned(self) -> tuple[int, int, int, float]:
        if self._facts is None:
            with open_video(self.path) as source:
                count = sum(1 for _ in source)
                self._facts = count, source.height, source.width, source.fps
        return self._facts


def _resize(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    height, width = size
    if frame.shape[:2] == (height, width):
        return frame
    return np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.BILINEAR))
