"""Clips for training: any frames of a video by index, exactly those that reading it from the start would give.

Seeking in real files is not exact: time stamps repeat, jump and run backwards, key frames are not where the index says,
pictures decoded after a jump differ from the ones decoded in a row. So one pass over the video notes time stamp,
key-frame flag and checksum of every frame, and a frame found by seeking counts only if its checksum agrees;
otherwise the video is read from its start.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import av
import numpy as np
from PIL import Image

from video.container import ContainerSource
from video.frames import MAX_PIXELS, open_video
from video.pictures import PictureFolder, read_picture
from video.source import VideoError

_NEAR = 16
"""Frames ahead that are decoded rather than jumped over: a jump costs about as much."""
_MAX_DETOUR = 300
"""Frames more than expected that are decoded before a jump is given up: it may land a key frame too early."""
_MAX_FAILED_JUMPS = 2
"""Then the file is taken for one in which seeking does not work."""


def read_video(path: str | os.PathLike[str], *, size: tuple[int, int] | None = None) -> np.ndarray:
    """All frames of a short video, (T, H, W, 3) uint8 RGB; ``size=(height, width)`` scales them."""
    with open_video(path) as source:
        if source.is_live:
            raise VideoError(f"{source.name}: a live source has no end; it cannot be read as a whole")
        return np.stack([resize_frame(frame, size) for frame in source])


def size_with_short_side(height: int, width: int, short_side: int) -> tuple[int, int]:
    """(height, width) with the shorter side at ``short_side`` pixels, aspect kept, whole pixels."""
    scale = short_side / min(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


@dataclass(frozen=True, eq=False)
class FrameIndex:
    """What one pass over a video tells about its frames; index k is the k-th decoded picture."""

    width: int
    height: int
    fps: float
    times: np.ndarray
    """(n,) int64, time stamps in units of the stream; -1 where a frame has none."""
    keys: np.ndarray
    """(n,) bool, frames at which decoding may start."""
    checksums: np.ndarray
    """(n,) uint32, CRC of the brightness plane."""
    warnings: tuple[str, ...] = ()
    """What reading the whole video had to say."""

    def __len__(self) -> int:
        return len(self.times)

    @property
    def is_seekable(self) -> bool:
        """Whether every frame has a time stamp of its own."""
        return bool((self.times >= 0).all()) and len(np.unique(self.times)) == len(self.times)


class ClipReader:
    """Random access to the frames of one video file or folder of pictures.

    Nothing is opened before it is needed and nothing stays open, so thousands of readers may live in a dataset
    and travel to the workers of a DataLoader; the index, once made, travels with them.
    """

    def __init__(self, path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> None:
        self.path = os.fspath(path)
        self.max_pixels = max_pixels
        self._index: FrameIndex | None = None
        self._failed_jumps = 0

    @property
    def index(self) -> FrameIndex:
        """Made at first use by decoding the video once; VideoError when it cannot be read."""
        if self._index is None:
            self._index = self._scan()
        return self._index

    @property
    def num_frames(self) -> int:
        """Frames that can be decoded."""
        return len(self.index)

    @property
    def width(self) -> int:
        return self.index.width

    @property
    def height(self) -> int:
        return self.index.height

    @property
    def fps(self) -> float:
        return self.index.fps

    def read(self, indices: Sequence[int] | np.ndarray, *, size: tuple[int, int] | None = None) -> np.ndarray:
        """(n, H, W, 3) uint8 RGB: the frames named, in that order, repeats allowed; ``size=(height, width)`` scales.

        Raises VideoError for an index outside the video.
        """
        wanted = [int(index) for index in indices]
        outside = [index for index in wanted if not 0 <= index < self.num_frames]
        if outside:
            raise VideoError(
                f"{self.path}: there is no frame {outside[0]}; it has frames 0 to {self.num_frames - 1}"
            )
        height, width = size or (self.height, self.width)
        if not wanted:
            return np.empty((0, height, width, 3), np.uint8)
        frames = self._read(sorted(set(wanted)), size)
        return np.stack([frames[index] for index in wanted])

    def _read(self, wanted: list[int], size: tuple[int, int] | None) -> dict[int, np.ndarray]:
        with open_video(self.path, max_pixels=self.max_pixels) as source:
            if isinstance(source, PictureFolder):
                return {
                    index: resize_frame(read_picture(source.paths[index], max_pixels=self.max_pixels), size)
                    for index in wanted
                }
            assert isinstance(source, ContainerSource)
            while self.index.is_seekable and wanted[0] > _NEAR and self._failed_jumps < _MAX_FAILED_JUMPS:
                frames = self._read_by_jumps(source, wanted, size)
                if frames is not None:
                    return frames
                self._failed_jumps += 1
        return self._read_from_start(wanted, size)

    def _read_by_jumps(
        self, source: ContainerSource, wanted: list[int], size: tuple[int, int] | None
    ) -> dict[int, np.ndarray] | None:
        """The frames wanted (ascending), or None as soon as one of them cannot be had for certain."""
        times, key_frames = self.index.times, np.flatnonzero(self.index.keys)
        found: dict[int, np.ndarray] = {}
        decoded: Iterator[av.VideoFrame] = iter(())
        position = -1
        for target in wanted:
            before = key_frames[key_frames <= target]
            if len(before) == 0:
                return None
            # MPEG streams land behind the key frame they are sent to: aim two earlier after a failure
            start = int(before[max(0, len(before) - 1 - 2 * self._failed_jumps)])
            if position < 0 or (start > position and target - position > _NEAR):
                decoded, position = source.decoded_from(int(times[start])), start
            for frame in islice(decoded, target - position + _MAX_DETOUR):
                if frame.pts == times[target]:
                    if _checksum(frame) == self.index.checksums[target]:
                        found[target] = resize_frame(source.upright(frame), size)
                    break
            if target not in found:
                return None
            position = target
        return found

    def _read_from_start(self, wanted: list[int], size: tuple[int, int] | None) -> dict[int, np.ndarray]:
        found: dict[int, np.ndarray] = {}
        with open_video(self.path, max_pixels=self.max_pixels) as source:
            assert isinstance(source, ContainerSource)
            needed = set(wanted)
            for index, frame in enumerate(source.decoded()):
                if index in needed:
                    found[index] = resize_frame(source.upright(frame), size)
                if index == wanted[-1]:
                    break
        if len(found) < len(wanted):
            raise VideoError(f"{self.path}: has fewer frames than a moment ago; was it changed meanwhile?")
        return found

    def _scan(self) -> FrameIndex:
        with open_video(self.path, max_pixels=self.max_pixels) as source:
            if isinstance(source, PictureFolder):
                count = len(source.paths)
                times, keys, sums = np.arange(count), np.ones(count, bool), np.zeros(count, np.uint32)
            elif source.is_live or not isinstance(source, ContainerSource):
                raise VideoError(
                    f"{source.name}: clips need a file or a folder of pictures, not a live source"
                )
            else:
                seen = [(_time(frame), frame.key_frame, _checksum(frame)) for frame in source.decoded()]
                columns = np.array(seen, np.int64).reshape(-1, 3)
                times, keys = columns[:, 0], columns[:, 1].astype(bool)
                sums = columns[:, 2].astype(np.uint32)
            return FrameIndex(
                source.width, source.height, source.fps, times, keys, sums, tuple(source.warnings)
            )


def _time(frame: av.VideoFrame) -> int:
    return -1 if frame.pts is None else frame.pts


def _checksum(frame: av.VideoFrame) -> int:
    """CRC of the first plane, which is brightness in all formats of cameras, without the padding of its lines."""
    plane: Any = frame.planes[0]  # gives its bytes by the buffer protocol
    layout = frame.format
    bits = layout.components[0].bits if layout.is_planar else layout.padded_bits_per_pixel
    row = frame.width * -(-bits // 8)
    lines = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: frame.height, :row]
    return zlib.crc32(lines.tobytes())


def resize_frame(frame: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    """A (H, W, 3) or (H, W) uint8 picture in another ``size`` (height, width): bilinear with antialiasing."""
    if size is None or frame.shape[:2] == tuple(size):
        return frame
    height, width = size
    return np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.BILINEAR))
