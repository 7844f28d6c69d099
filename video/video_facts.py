"""What a check wants to know of a video file: can it be read, how long and large is it, what does it look like."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import av
import numpy as np
from PIL import Image

from video.container import OPENING_ERRORS, ContainerSource, open_container
from video.frames import FILE_OPTIONS, open_video
from video.signatures import announced_bytes
from video.source import VideoError, VideoSource

LOOK = 16
"""Side of the grey pictures by which videos are compared."""
LOOKS = 8
"""Frames of a video that are compared, at equal distances."""
ALIKE = 10.0
"""Grey values (of 255) by which the cells of two copies of a video may differ, but for the most different 1 %.

Measured on J-HMDB: copies of a quarter of the pixels, in another codec and a tenth less contrast lie at 8 and less;
different clips of one source, 167 pairs, at 26 and more, but for three repetitions of a golf swing (8 to 12)."""
_STEADY = 0.25
"""Intervals between frames that are off the usual one by more than this share of it make a rate variable."""


@dataclass(frozen=True)
class VideoFacts:
    """Of a video that can be read."""

    num_frames: int
    """Pictures; by packets unless ``is_counted``."""
    is_counted: bool
    """Whether every frame was decoded, so that the number is exact."""
    width: int
    height: int
    fps: float
    num_bytes: int
    cut_off: tuple[int, int] | None
    """Bytes that are there and bytes that the file says it has, where it is cut off."""
    intervals: tuple[float, float] | None
    """Shortest and longest time between two frames in seconds, where they differ."""
    first_look: np.ndarray
    """(LOOK, LOOK) uint8, the first frame in grey."""
    warnings: tuple[str, ...] = ()
    """What decoding says, where every frame was decoded."""

    @property
    def seconds(self) -> float:
        return self.num_frames / self.fps


def look_into(path: Path, *, decode: bool = False) -> VideoFacts:
    """Open a video file or a folder of pictures, count its frames, by packets or (``decode``) exactly.

    Raises VideoError with the cause where nothing can be read.
    """
    with open_video(path) as source:
        if isinstance(source, ContainerSource):
            frames = source.decoded()
            first = _look(source.upright(next(frames)))
            packets, intervals = _packets(path)
            count = 1 + sum(1 for _ in frames) if decode else packets
            num_bytes = path.stat().st_size
            announced = announced_bytes(path)
            cut_off = (num_bytes, announced) if announced is not None and announced > num_bytes else None
        else:
            pictures = iter(source)
            first = _look(next(pictures))
            assert source.stated_frames is not None, "a folder knows its pictures"
            count = 1 + sum(1 for _ in pictures) if decode else source.stated_frames
            num_bytes, intervals, cut_off = 0, None, None
        return VideoFacts(
            num_frames=count,
            is_counted=decode,
            width=source.width,
            height=source.height,
            fps=source.fps,
            num_bytes=num_bytes,
            cut_off=cut_off,
            intervals=intervals,
            first_look=first,
            warnings=tuple(text.removeprefix(f"{source.name}: ") for text in source.warnings) if decode else (),
        )


def looks_of(path: Path, num_frames: int) -> np.ndarray:
    """(LOOKS, LOOK, LOOK) uint8: frames at equal distances in grey; decodes the video."""
    wanted = set(np.linspace(0, max(num_frames - 1, 0), LOOKS).round().astype(int).tolist())
    with open_video(path) as source:
        found = {number: _look(frame) for number, frame in _frames_at(source, wanted)}
    if not found:
        raise VideoError(f"{path}: not one frame can be decoded")
    places = [min(found, key=lambda at: abs(at - place)) for place in np.linspace(0, max(found), LOOKS)]
    return np.stack([found[place] for place in places])


def are_alike(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two rows of looks, (n, LOOK, LOOK) each, are of copies of one video.

    Brightness and contrast may differ as a whole. A copy that is cut in time, mirrored or cropped is another video.
    """
    a, b = a.astype(np.float64), b.astype(np.float64)
    if a.std() < 3 or b.std() < 3:
        return False  # a dark or empty picture looks like any other
    b = (b - b.mean()) * min(1.5, max(0.67, a.std() / b.std())) + a.mean()
    return bool(np.quantile(np.abs(a - b), 0.99) <= ALIKE)


def content_hash(path: Path) -> str:
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(2**20):
            digest.update(piece)
    return digest.hexdigest()


def _packets(path: Path) -> tuple[int, tuple[float, float] | None]:
    """Pictures by packets, and the range of intervals between their times where these are not steady."""
    times: list[int] = []
    count = 0
    try:
        with open_container(str(path.absolute()), options=FILE_OPTIONS) as container:
            stream = container.streams.best("video")
            if stream is None:
                raise VideoError(f"{path}: no video stream in it")
            unit = float(stream.time_base) if stream.time_base else 0.0
            for packet in container.demux(stream):
                if packet.size:
                    count += 1
                    if packet.pts is not None:
                        times.append(packet.pts)
    except (av.FFmpegError, EOFError, *OPENING_ERRORS) as error:
        if not count:
            raise VideoError(f"{path}: cannot be read as a video: {str(error)[:100]}") from None
    return count, _unsteady(np.sort(np.array(times, np.int64)), unit)


def _unsteady(times: np.ndarray, unit: float) -> tuple[float, float] | None:
    steps = np.diff(times)
    if len(steps) < 2:
        return None
    usual = float(np.median(steps))
    # a container that counts in milliseconds rounds every other interval
    odd = np.abs(steps - usual) > max(_STEADY * usual, 1.0)
    return (float(steps.min()) * unit, float(steps.max()) * unit) if odd.any() else None


def _frames_at(source: VideoSource, wanted: set[int]) -> Iterator[tuple[int, np.ndarray]]:
    last = max(wanted)
    if isinstance(source, ContainerSource):
        for number, frame in enumerate(islice(source.decoded(), last + 1)):
            if number in wanted:
                yield number, source.upright(frame)
    else:
        for number, picture in enumerate(islice(source, last + 1)):
            if number in wanted:
                yield number, picture


def _look(frame: np.ndarray) -> np.ndarray:
    small = Image.fromarray(frame).convert("L").resize((LOOK, LOOK), Image.Resampling.BOX)
    return np.asarray(small)
