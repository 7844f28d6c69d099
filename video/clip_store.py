"""Frames of many videos by index, fast enough for training: from memory, from small copies on disk, or from the files.

A random clip from an ordinary video file costs up to half a video of decoding. So decoded frames, scaled to the size
that training needs, are kept in memory as long as there is room; or, with a folder, every video is decoded once and
kept as a bundle of JPEG pictures, from which a clip is read many times as fast (benchmarks/bench_clip_store.py).
Processes and runs share the folder.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
from PIL import Image

from linking.files import replace_when_whole
from video.class_datasets import ClassifiedVideo, frame_range
from video.clips import ClipReader, read_video
from video.flow import FlowSettings, FlowSource
from video.flow_cache import flow_path, open_flow
from video.frames import open_video
from video.source import VideoError

_QUALITY = 95
"""Of the JPEG pictures; the mean error of a pixel is below 2 grey values, 10 kB a frame of 120 x 160."""

SizeOf = Callable[[int, int], tuple[int, int]]
"""(height, width) of a video -> (height, width) of its frames here."""


class Frames(Protocol):
    """The labelled frames of one video, all of one size; flow has x and y in the place of colours."""

    @property
    def num_frames(self) -> int: ...

    def read(self, indices: np.ndarray) -> np.ndarray:
        """(n, h, w, 3 or 2) uint8, the frames ``indices``, each within 0..num_frames - 1, in their order."""
        ...


class ClipStore:
    """Opens the frames of labelled videos; where they come from is a matter of speed only (and of JPEG's loss).

    Args:
        size_of: gives the size of a video's frames.
        gigabytes: of memory for decoded videos, those that are asked for first; the others are read from their files.
        folder: for bundles of pictures instead; made where it does not exist. A bundle is made at first use and again
            when its video changes. Flow is never bundled: its own files are.
        flow: the frames are pictures of optical flow, computed so, instead of RGB.
        flow_folder: where tools/extract_flow.py put them; without it they are computed when they are asked for.
    """

    def __init__(
        self,
        size_of: SizeOf,
        *,
        gigabytes: float = 4.0,
        folder: str | Path | None = None,
        flow: FlowSettings | None = None,
        flow_folder: str | Path | None = None,
    ) -> None:
        self.size_of = size_of
        self.folder = None if folder is None or flow is not None else Path(folder)
        self.flow, self.flow_folder = flow, flow_folder
        self._bytes_left = int(gigabytes * 1e9)
        self._opened: dict[tuple[Path, float | None, float | None], Frames] = {}

    def open(self, video: ClassifiedVideo) -> Frames:
        """Raises VideoError where the video cannot be read."""
        key = video.path, video.start, video.end
        if key not in self._opened:
            self._opened[key] = self._from_bundle(video) if self.folder is not None else self._from_file(video)
        return self._opened[key]

    def _from_file(self, video: ClassifiedVideo) -> Frames:
        if self.flow is not None:
            cached = None if self.flow_folder is None else flow_path(self.flow_folder, video.name)
            return self._from_reader(video, open_flow(video.path, self.flow, cached=cached))
        with open_video(video.path) as source:
            size, stated = self.size_of(source.height, source.width), source.stated_frames
        fits = stated is not None and stated * size[0] * size[1] * 3 <= self._bytes_left
        if video.start is not None or not fits:
            return self._from_reader(video, ClipReader(video.path))
        return self._kept(read_video(video.path, size=size))

    def _from_reader(self, video: ClassifiedVideo, reader: ClipReader | FlowSource) -> Frames:
        """What a reader by index gives of the labelled part: kept where it fits into memory."""
        size = self.size_of(reader.height, reader.width)
        part = frame_range(video, reader.num_frames, reader.fps)
        channels = 3 if self.flow is None else 2
        if len(part) * size[0] * size[1] * channels > self._bytes_left:
            return _FileFrames(reader, part, size)
        return self._kept(reader.read(part, size=size))

    def _kept(self, frames: np.ndarray) -> Frames:
        self._bytes_left -= frames.nbytes
        return _MemoryFrames(frames)

    def _from_bundle(self, video: ClassifiedVideo) -> Frames:
        assert self.folder is not None
        with open_video(video.path) as source:
            size = self.size_of(source.height, source.width)
        path = self.folder / f"{_fingerprint(video, size)}.jpegs"
        if not path.is_file():
            write_bundle(path, _pictures(video, size))
        return _BundleFrames(path)


def write_bundle(path: Path, frames: Iterator[np.ndarray]) -> None:
    """Write (h, w, 3) uint8 frames as ``.jpegs``: an ``.npy`` array of n + 1 offsets, then n JPEG pictures."""
    pictures: list[bytes] = []
    for frame in frames:
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, "JPEG", quality=_QUALITY)
        pictures.append(buffer.getvalue())
    offsets = np.cumsum([0, *map(len, pictures)], dtype=np.int64)
    with replace_when_whole(path) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array(file, offsets, allow_pickle=False)
        file.writelines(pictures)


@dataclass(frozen=True, eq=False)
class _MemoryFrames:
    frames: np.ndarray

    @property
    def num_frames(self) -> int:
        return len(self.frames)

    def read(self, indices: np.ndarray) -> np.ndarray:
        return self.frames[indices]


@dataclass(frozen=True, eq=False)
class _FileFrames:
    reader: ClipReader | FlowSource
    part: range
    size: tuple[int, int]

    @property
    def num_frames(self) -> int:
        return len(self.part)

    def read(self, indices: np.ndarray) -> np.ndarray:
        return self.reader.read(self.part.start + np.asarray(indices), size=self.size)


class _BundleFrames:
    """Pictures of a ``.jpegs`` file; the file is open only while it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            self._offsets = self._read_offsets(file)
            self._start = file.tell()
        self.num_frames = len(self._offsets) - 1

    def read(self, indices: np.ndarray) -> np.ndarray:
        pictures: dict[int, np.ndarray] = {}
        with self.path.open("rb") as file:
            for index in sorted(set(np.asarray(indices).tolist())):
                first, end = self._offsets[index : index + 2].tolist()
                file.seek(self._start + first)
                pictures[index] = self._decoded(file.read(end - first))
        return np.stack([pictures[index] for index in np.asarray(indices).tolist()])

    def _read_offsets(self, file: BinaryIO) -> np.ndarray:
        try:
            return np.lib.format.read_array(file, allow_pickle=False)
        except ValueError:
            raise self._damaged() from None

    def _decoded(self, data: bytes) -> np.ndarray:
        try:
            return np.asarray(Image.open(io.BytesIO(data)))
        except OSError:
            raise self._damaged() from None

    def _damaged(self) -> VideoError:
        return VideoError(f"{self.path}: damaged copy of a video; delete it, and it is made again")


def _pictures(video: ClassifiedVideo, size: tuple[int, int]) -> Iterator[np.ndarray]:
    """The labelled frames, one after the other, in the size wanted."""
    part = None
    if video.start is not None:
        reader = ClipReader(video.path)
        part = frame_range(video, reader.num_frames, reader.fps)
    with open_video(video.path) as source:
        for index, frame in enumerate(source):
            if part is not None and index >= part.stop:
                break
            if part is None or index in part:
                yield np.asarray(Image.fromarray(frame).resize(size[::-1], Image.Resampling.BILINEAR))


def _fingerprint(video: ClassifiedVideo, size: tuple[int, int]) -> str:
    """Changes with the file, with the labelled part and with the size."""
    about = video.path.stat()
    text = f"{video.path.resolve()} {about.st_mtime_ns} {video.start} {video.end} {size[0]}x{size[1]} {_QUALITY}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]
