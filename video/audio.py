"""The sound of a video: its own track, as one channel at a fixed rate, on the clock of its pictures."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np

from video.container import MAX_BAD_READS, OPENING_ERRORS, open_container, reason_of
from video.frames import FILE_OPTIONS
from video.signatures import probable_cause
from video.source import VideoError

_JUMP = 0.03
"""Seconds by which a time stamp may differ from the end of the sound before it; Matroska's are rounded."""
_MAX_GAP = 60.0
"""Seconds of silence that a time stamp may put in; a larger jump is taken for a mistake of the container."""
_MAX_SILENCE = 3600.0
"""Seconds that all gaps together may put in, so that damage cannot fill the memory."""
_LEAST_RATE, _LARGEST_RATE = 1000, 768_000
"""Samples a second that a track may state; others are damage, and resampling would take hours or gigabytes."""


@dataclass(frozen=True, eq=False)
class Sound:
    """A piece of sound, one channel."""

    samples: np.ndarray
    """(n,) float32 within -1..1, the mean of the track's channels."""
    rate: int
    """Samples a second."""
    start: float = 0.0
    """Seconds from the first picture of the video to the first sample."""
    num_damaged: int = 0
    """Pieces of data that could not be decoded; there is silence in their place, but for the shortest."""

    def window(self, second: float, count: int) -> np.ndarray:
        """(count,) samples from that second of the video on, with silence before the sound begins and after it ends."""
        first = round((second - self.start) * self.rate)
        window = np.zeros(count, np.float32)
        inside = self.samples[max(0, first) : max(0, first + count)]
        offset = max(0, -first)
        window[offset : offset + len(inside)] = inside
        return window


def read_sound(
    path: str | os.PathLike[str], *, rate: int = 16000, start: float = 0.0, end: float | None = None
) -> Sound | None:
    """The sound of a video file, or None where it has none: no track, an empty one, or a folder of pictures.

    Frame k of the video is shown k / fps seconds after its first; sample k of the result is heard ``start + k / rate``
    seconds after that, also where the track begins later than the pictures, has gaps, or lost packets. Of several
    tracks it is the one that players choose. An hour takes 230 MB.

    Args:
        path: of the video.
        rate: samples a second of the result; FFmpeg resamples.
        start: second of the video to begin at.
        end: second of the video to stop at; None is the end of the track.

    Raises:
        VideoError: the file cannot be read, or has a track that cannot be decoded.
    """
    path = Path(path)
    if path.is_dir():
        return None
    if not path.is_file():
        raise VideoError(f"{path}: no such video file; sound is read from files only")
    try:
        container = open_container(str(path.absolute()), options=FILE_OPTIONS)
    except OPENING_ERRORS as error:
        raise VideoError(f"{path}: cannot be read as a video: {_cause(path, error)}") from error
    with container:
        pictures = container.streams.best("video")
        stream = container.streams.best("audio", related=pictures)
        if stream is None:
            return None
        if stream.codec_context is None:
            raise VideoError(f"{path}: no decoder for its sound; convert the track to AAC first")
        stream.codec_context.thread_count = 1
        damaged: list[BaseException] = []
        first_picture = 0.0
        if pictures is not None and pictures.start_time is not None and pictures.time_base is not None:
            first_picture = float(pictures.start_time * pictures.time_base)
        pieces = _resampled(_decode(container, stream, damaged), rate, damaged)
        samples = _in_place(
            pieces, first_picture, rate, round(start * rate), None if end is None else round(end * rate)
        )
    if samples is None:
        if damaged:
            raise VideoError(f"{path}: nothing of its sound can be decoded: {reason_of(damaged[0])}")
        return None
    return Sound(samples, rate, start, len(damaged))


def _decode(container: Any, stream: Any, damaged: list[BaseException]) -> Iterator[av.AudioFrame]:
    """Every frame of sound that can be had; the errors of the others are put into ``damaged``."""
    packets = container.demux(stream)
    bad_reads = 0
    while bad_reads < MAX_BAD_READS:
        try:
            frames = next(packets).decode()
        except (StopIteration, EOFError):
            return
        except (av.FFmpegError, OSError) as error:
            damaged.append(error)
            bad_reads += 1
            packets = container.demux(stream)  # an error in reading has ended the other one
            continue
        for frame in frames:
            bad_reads = 0
            yield frame


def _resampled(
    frames: Iterable[av.AudioFrame], rate: int, damaged: list[BaseException]
) -> Iterator[tuple[float | None, np.ndarray]]:
    """(n,) float32 pieces, one channel; the first of a run without a jump in time comes with its time in seconds."""
    resampler: av.AudioResampler | None = None
    layout, expected = None, 0.0
    for frame in frames:
        if not _LEAST_RATE <= frame.sample_rate <= _LARGEST_RATE:
            damaged.append(ValueError(f"{frame.sample_rate} samples a second"))
            continue
        time = expected if frame.time is None else frame.time
        now = (frame.format.name, frame.layout.name, frame.sample_rate)
        begins = resampler is None or now != layout or abs(time - expected) > _JUMP
        if begins:
            if resampler is not None:
                yield None, _one_channel(resampler.resample(None))
            resampler, layout = av.AudioResampler(format="fltp", rate=rate), now
        else:
            time = expected  # the small deviations of time stamps must not add up
        assert resampler is not None, "made at the first frame"
        try:
            samples = _one_channel(resampler.resample(frame))
        except (av.FFmpegError, ValueError) as error:  # what damage has made of the number of channels or the rate
            damaged.append(error)
            resampler = None
            continue
        yield time if begins else None, samples
        expected = time + frame.samples / frame.sample_rate
    if resampler is not None:
        yield None, _one_channel(resampler.resample(None))


def _one_channel(frames: list[av.AudioFrame]) -> np.ndarray:
    pieces = [frame.to_ndarray().mean(axis=0) for frame in frames]
    samples = np.concatenate([np.zeros(0, np.float32), *pieces])
    return np.clip(np.nan_to_num(samples), -1, 1).astype(np.float32)


def _in_place(
    pieces: Iterable[tuple[float | None, np.ndarray]], first_picture: float, rate: int, begin: int, end: int | None
) -> np.ndarray | None:
    """Samples ``begin`` to ``end``, counted from the first picture; None where there is not one piece."""
    kept: list[np.ndarray] = []
    count = 0  # samples since the first picture
    room = round(_MAX_SILENCE * rate)
    is_there = False
    for time, samples in pieces:
        if time is not None:
            gap = round((time - first_picture) * rate) - count
            if 0 < gap <= min(_MAX_GAP * rate, room):
                room -= gap
                kept.append(np.zeros(max(0, gap - max(0, begin - count)), np.float32))
                count += gap
            elif not is_there and -_MAX_GAP * rate <= gap < 0:
                count = gap  # it is heard before the first picture is seen
        is_there = is_there or len(samples) > 0
        kept.append(samples[max(0, begin - count) :])
        count += len(samples)
        if end is not None and count >= end:
            break
    if not is_there:
        return None
    return np.concatenate(kept)[: None if end is None else max(0, end - begin)]


def _cause(path: Path, error: BaseException) -> str:
    try:
        return probable_cause(path, reason_of(error))
    except OSError as unreadable:
        return reason_of(unreadable)
