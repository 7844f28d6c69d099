"""Frames out of FFmpeg: one video stream of a file, a camera or a broadcast, whatever state it is in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import av
import av.container
import av.error
import av.logging
import av.stream
import numpy as np

from video.signatures import announced_bytes, probable_cause
from video.source import UNKNOWN_FPS, VideoError, VideoSource

MAX_BAD_READS = 1000  # in a row, without a frame between them: then nothing more will come
_MAX_FPS = 1000.0  # a larger rate is a time base that somebody mistook for one
_SUSPICIOUS_SHARE = 0.75
"""A file that gives less of the length it states is called damaged. J-HMDB, sound as it is, gives 0.83 and more."""


class ContainerSource(VideoSource):
    """The best video stream (the largest picture, as players choose) of what FFmpeg can open.

    Damage shows in three ways, and all are counted: packets that cannot be decoded (``num_damaged``), errors that
    the decoder only logs while it patches the picture (``num_patched``), and files that end early.
    """

    _decoded: Iterator[av.VideoFrame]
    _stored_size: tuple[int, int]
    _turns: int
    _resized: bool

    format: str
    """FFmpeg's name of the container: ``mpegts``, ``mpjpeg``, ..."""
    num_patched: int = 0
    """Errors the decoder reported and concealed; the pictures around them may show faults."""

    def __init__(
        self,
        url: str,
        name: str,
        max_pixels: int,
        *,
        options: dict[str, str] | None = None,
        format: str | None = None,
        timeout: tuple[float, float] | None = None,
    ) -> None:
        """``options`` and ``format`` are FFmpeg's; ``timeout`` is seconds to open and seconds to wait for data."""
        super().__init__(name)
        self._path = None if timeout else Path(url)
        self._timeout = timeout
        self._max_pixels = max_pixels
        given = {"max_pixels": str(max_pixels), **(options or {})}
        self._container: Any
        try:
            self._container = open_container(url, options=given, format=format, timeout=timeout)
        except OPENING_ERRORS as error:
            raise VideoError(f"{name}: cannot be read as a video: {self._cause(error)}") from error
        try:
            self._prepare()
        except BaseException:
            self._container.close()
            raise

    def close(self) -> None:
        self._container.close()

    def decoded(self) -> Iterator[av.VideoFrame]:
        """The frames as the decoder gives them, neither converted nor turned; instead of iterating."""
        self._begin()
        return self._counted()

    def decoded_from(self, time: int) -> Iterator[av.VideoFrame]:
        """Frames from a point at or before ``time`` (time stamp in units of the stream) where decoding can start.

        May be called again and again; which frames come, and whether they are whole, is for the caller to check.
        """
        self._begin(again=True)
        try:
            self._container.seek(time, stream=self._stream)
        except (av.FFmpegError, OSError):
            return iter(())
        return self._decode()

    def upright(self, frame: av.VideoFrame, scale: float = 1.0) -> np.ndarray:
        """(H, W, 3) uint8 RGB of the size of this source times ``scale``, turned as the file asks."""
        width, height = self._stored_size
        if (frame.width, frame.height) != self._stored_size and not self._resized:
            self._resized = True
            self.warnings.append(
                f"{self.name}: the picture changes to {frame.width}x{frame.height} on the way; "
                f"all frames are scaled to {width}x{height}"
            )
        if scale != 1:
            width, height = max(1, round(width * scale)), max(1, round(height * scale))
        # the default number of threads halves the speed of the conversion
        array = frame.reformat(width=width, height=height, format="rgb24", threads=1).to_ndarray()
        return np.ascontiguousarray(np.rot90(array, self._turns)) if self._turns else array

    def _frames(self) -> Iterator[np.ndarray]:
        return map(self.upright, self._counted())

    def _counted(self) -> Iterator[av.VideoFrame]:
        count = 0
        for frame in self._decoded:
            count += 1
            yield frame
        self._report(count)

    def _prepare(self) -> None:
        stream = self._container.streams.best("video")
        if stream is None or _is_cover(stream):
            others = sorted({stream.type for stream in self._container.streams} - {"video"})
            raise VideoError(f"{self.name}: no video stream in it, only {' and '.join(others) or 'nothing'}")
        self._stream: Any = stream
        context = stream.codec_context
        if context is None:
            raise VideoError(f"{self.name}: no decoder for its video stream; convert it to H.264 first")
        # One thread: damaged streams decode the same way every time, and FFmpeg's log cannot meet Python's lock.
        context.thread_count = 1
        if context.width * context.height > self._max_pixels:
            raise VideoError(
                f"{self.name}: {context.width}x{context.height} pixels are more than the limit of "
                f"{self._max_pixels}; scale it down or raise max_pixels"
            )
        self.format = self._container.format.name
        self.fps = _rate(stream)
        self.is_live = self._path is None and self._container.duration is None
        self.stated_frames = self._stated_frames()
        self._resized = False
        frames = self._decode()
        first = next(frames, None)
        if first is None:
            raise VideoError(f"{self.name}: not one frame can be decoded: {self._cause(None)}")
        self._decoded = chain([first], frames)
        self._stored_size = (first.width, first.height)
        self._turns = round(first.rotation / 90) % 4  # counter-clockwise
        self.width, self.height = self._stored_size if self._turns % 2 == 0 else self._stored_size[::-1]

    def _stated_frames(self) -> int | None:
        if self.is_live:
            return None
        if self._stream.frames:
            return self._stream.frames
        if self._container.duration:
            return max(1, round(self._container.duration / av.time_base * self.fps))
        return None

    def _decode(self) -> Iterator[av.VideoFrame]:
        """Every frame that can be had; what fails is counted and passed over."""
        packets = self._container.demux(self._stream)
        bad_reads = 0
        while bad_reads < MAX_BAD_READS:
            try:
                packet = self._patched(next, packets)
                frames = self._patched(packet.decode)
            except (StopIteration, EOFError):
                return
            except av.error.ExitError:
                self.warnings.append(f"{self.name}: no data came for {_seconds(self._timeout)}; it ends here")
                return
            except (av.FFmpegError, OSError):
                self.num_damaged += 1
                bad_reads += 1
                packets = self._container.demux(self._stream)  # an error in reading has ended the other one
                continue
            for frame in frames:
                bad_reads = 0
                yield frame

    def _patched(self, step: Callable[..., Any], *arguments: Any) -> Any:
        """``step(*arguments)``, adding the errors FFmpeg logs meanwhile to ``num_patched``."""
        before = av.logging.get_last_error()[0]
        try:
            return step(*arguments)
        finally:
            self.num_patched += av.logging.get_last_error()[0] - before

    def _report(self, count: int) -> None:
        """Say at the end what was lost, if anything."""
        got = f"{count} of {self.stated_frames} frames" if self.stated_frames else f"{count} frames"
        announced = announced_bytes(self._path) if self._path is not None else None
        size = self._path.stat().st_size if self._path is not None else 0
        if announced is not None and announced > size:
            self.warnings.append(
                f"{self.name}: the file is cut off ({size:,} of {announced:,} bytes are there); {got} could be read"
            )
        elif self.num_damaged or self.num_patched:
            self.warnings.append(
                f"{self.name}: damaged data (lost packets: {self.num_damaged}, concealed errors: {self.num_patched}); "
                f"{got} could be read, and some may show faults"
            )
        elif self.stated_frames and count < _SUSPICIOUS_SHARE * self.stated_frames:
            self.warnings.append(f"{self.name}: only {got} that the file states could be read; it may be damaged")

    def _cause(self, error: BaseException | None) -> str:
        reason = reason_of(error) if error is not None else "nothing usable in its packets"
        if self._path is not None and self._path.is_file():
            try:
                return probable_cause(self._path, reason)
            except OSError as unreadable:
                return reason_of(unreadable)
        return reason


OPENING_ERRORS = (av.FFmpegError, OSError, ValueError, EOFError)
"""What :func:`open_container` may raise."""


def open_container(
    url: str,
    *,
    options: dict[str, str],
    format: str | None = None,
    timeout: tuple[float, float] | None = None,
) -> av.container.InputContainer:
    """``av.open`` for reading, whatever bytes the tags hold, with FFmpeg's log silent and counted."""
    arguments: dict[str, Any] = {"options": options}
    if format is not None:
        arguments["format"] = format
    if timeout is not None:
        arguments["timeout"] = timeout
    # Tags that are not UTF-8 (HMDB51 has some) are an error unless replaced; PyAV 19 dropped the argument.
    if int(av.__version__.split(".")[0]) < 19:
        arguments["metadata_errors"] = "replace"
    if av.logging.get_level() is None:
        # The level that emits nothing still counts errors, the only trace of concealed damage.
        av.logging.set_level(av.logging.PANIC)
    return av.open(url, **arguments)


def _rate(stream: Any) -> float:
    for rate in (stream.average_rate, stream.guessed_rate):
        if rate and 0 < rate <= _MAX_FPS:
            return float(rate)
    return UNKNOWN_FPS


def _is_cover(stream: Any) -> bool:
    """Whether the stream is a still picture that decorates an audio file."""
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _seconds(timeout: tuple[float, float] | None) -> str:
    return f"{timeout[1]:g} s" if timeout else "too long"


def reason_of(error: BaseException) -> str:
    """FFmpeg's log line where there is one, for it knows more than the error code."""
    log = getattr(error, "log", None)
    text = log[2] if log else getattr(error, "strerror", None) or str(error) or type(error).__name__
    if isinstance(error, av.error.ExitError):
        text = "no answer in time"
    return " ".join(text.split())[:120]
