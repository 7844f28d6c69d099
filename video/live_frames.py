"""Pictures of a camera or stream as they come, for a reader that may be too slow: the oldest are dropped.

A thread decodes, so that the device or the network is never kept waiting, and puts pictures into a small buffer. The
buffer bounds memory and delay: when it is full the oldest picture goes. A connection that breaks is made again.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from video.container import ContainerSource
from video.frames import open_video
from video.pacing import Pacer
from video.source import VideoError, VideoSource

# Formats without time stamps: those that FFmpeg makes up for them have nothing to do with the camera.
_WITHOUT_CLOCK = {"mpjpeg", "mjpeg", "h264", "hevc", "m4v", "mpegvideo", "obu", "rawvideo", "video4linux2,v4l2"}
_LONGEST_WAIT = 30.0  # seconds between two attempts to connect
_SETTLED = 10.0  # seconds of pictures after which a connection counts as made
_DRAIN = 10.0  # most seconds of old pictures that are hurried through at the beginning of a connection


@dataclass(frozen=True, eq=False)
class LiveFrame:
    """A picture and where it belongs."""

    index: int
    """0-based number of the decoded picture; those that were dropped or skipped count."""
    seconds: float
    """Since the first picture of the run: by the time stamps of the stream where it has any, else by arrival."""
    arrived: float
    """``time.monotonic()`` when it was here; of a paced source, when it was due."""
    image: np.ndarray
    """(H, W, 3) uint8 RGB, ``width`` x ``height`` of the reader."""
    stride: int
    """Every so many pictures one was taken when this one was."""
    connection: int
    """Number of the connection it came by; between two connections time is missing."""


class LiveReader:
    """Reads one source in a thread of its own until it ends; see :func:`frames <LiveReader.frames>`.

    A source without an end (camera, broadcast) is opened again when it ends or breaks, with pauses of 1, 2, 4, ... 30
    seconds; ``max_reconnects`` bounds the attempts since pictures came for ten seconds. A file plays at its own speed.
    """

    stride: int = 1
    """Every so many pictures one is taken; may be changed at any time."""
    decoded: int = 0
    """Pictures so far, taken or not."""
    dropped: int = 0
    """Pictures that the buffer had no room for."""
    hurried: int = 0
    """Pictures dropped at the beginning of a connection, because they were old already: what servers keep for newcomers
    and what came while the stream was being analysed."""
    reconnects: int = 0
    """Connections after the first."""
    failure: str | None = None
    """Why a source without an end has ended."""

    def __init__(
        self,
        path: str,
        *,
        buffer_frames: int = 32,
        max_height: int = 720,
        max_frames: int | None = None,
        max_reconnects: int = 10,
        first_wait: float = 1.0,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        """Open the source; VideoError if it cannot be. Higher pictures than ``max_height`` are scaled down to it.
        After ``max_frames`` decoded pictures it ends. ``tell`` is given lines for the user, from the thread."""
        self._path, self._tell, self._max_frames = path, tell, max_frames
        self._max_reconnects, self._first_wait = max_reconnects, first_wait
        self._source = _open_interruptibly(path)
        self.name, self.full_width, self.full_height = self._source.name, self._source.width, self._source.height
        scale = min(1.0, max_height / self.full_height)
        self.width, self.height = max(1, round(self.full_width * scale)), max(1, round(self.full_height * scale))
        self.stated_fps, self.is_endless = self._source.fps, self._source.is_live
        self._waiting: deque[LiveFrame] = deque()
        self._room = buffer_frames
        self._changed = threading.Condition()
        self._closed = threading.Event()
        self._ended = False
        self._last: tuple[float, float] | None = None  # seconds and arrival of the newest picture
        self._recent: deque[float] = deque(maxlen=50)
        self._thread = threading.Thread(target=self._run, name="live reader", daemon=True)

    @property
    def fps(self) -> float:
        """Pictures a second lately, by their times; the stated rate while little is known."""
        recent = list(self._recent)
        if len(recent) < 10 or recent[-1] <= recent[0]:
            return self.stated_fps
        return (len(recent) - 1) / (recent[-1] - recent[0])

    def frames(self, until: Callable[[], bool] = lambda: False) -> Iterator[LiveFrame]:
        """The pictures that are taken, oldest first, as they come; ends with the source, or when ``until`` is true.

        All that wait are taken at once, so a reader that is too slow gets runs of consecutive pictures and loses what
        comes between the runs, not one here and one there.
        """
        self._thread.start()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._ended, timeout=0.1)
                taken, self._waiting = self._waiting, deque()
                if not taken and self._ended:
                    return
            while taken:
                if until():
                    return
                yield taken.popleft()
            if until():
                return

    def close(self) -> None:
        """Stop reading. A thread that waits for the network is left alone; it ends with its next picture."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join(timeout=1.0)

    def _run(self) -> None:
        try:
            source: VideoSource | None = self._source
            attempts = 0
            while source is not None and not self._closed.is_set():
                lasted = self._read(source)
                if not self.is_endless or self._closed.is_set() or self.decoded == self._max_frames:
                    return
                attempts = 0 if lasted >= _SETTLED else attempts
                source, attempts = self._again(source, attempts)
        except (VideoError, OSError) as error:
            self.failure = str(error)
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _again(self, source: VideoSource, attempts: int) -> tuple[VideoSource | None, int]:
        """A new connection after the old one ended, and the number of attempts made so far."""
        silent = [line.removeprefix(f"{self.name}: ") for line in source.warnings if "no data came" in line]
        reason = silent[-1] if silent else "the connection has ended"
        while attempts < self._max_reconnects:
            pause = min(self._first_wait * 2**attempts, _LONGEST_WAIT)
            attempts += 1
            self._tell(f"{reason}; connecting again in {pause:g} s ({attempts} of {self._max_reconnects})")
            if self._closed.wait(pause):
                return None, attempts
            try:
                again = open_video(self._path)
            except VideoError as error:
                reason = str(error).removeprefix(f"{self.name}: ").removeprefix("cannot be read as a video: ")
                continue
            self.reconnects += 1
            self._tell(f"connected again after {self.decoded} pictures; nothing is linked across the gap")
            return again, attempts
        if self._max_reconnects:
            self.failure = f"{self.name}: lost, and not back after {attempts} attempts to connect: {reason}"
        return None, attempts

    def _read(self, source: VideoSource) -> float:
        """Take the pictures of one connection; for how many seconds they came."""
        with source:
            interval = 1 / source.fps
            clock = _Clock(source)
            pacer = Pacer(catch_up=self.is_endless, sleep=self._closed.wait) if clock.is_own else None
            is_old, asked = self.is_endless, time.monotonic()
            first = last = None
            offset = 0.0  # of the seconds of this connection
            for number, (stamp, picture) in enumerate(_pictures(source, self.height / source.height)):
                now = time.monotonic()
                # the first picture was decoded when the source was opened
                is_old = is_old and (number == 0 or now - asked < interval / 2) and number * interval < _DRAIN
                seconds = clock.seconds(stamp, now)
                arrived = now if pacer is None or is_old else pacer.wait(seconds)
                if self._closed.is_set():
                    break
                if first is None:
                    first = arrived
                    offset = 0.0 if self._last is None else self._last[0] + arrived - self._last[1]
                last = arrived
                self._last = offset + seconds, arrived
                self._recent.append(offset + seconds)
                self._take(picture, offset + seconds, arrived, is_old)
                if self.decoded == self._max_frames:
                    break
                asked = time.monotonic()
        return 0.0 if first is None or last is None else last - first

    def _take(self, picture: Callable[[], np.ndarray], seconds: float, arrived: float, is_old: bool) -> None:
        index, stride = self.decoded, self.stride
        self.decoded += 1
        if index % stride:
            return
        image = picture()
        if image.shape[:2] != (self.height, self.width):  # another size since the last connection
            image = np.asarray(Image.fromarray(image).resize((self.width, self.height), Image.Resampling.BILINEAR))
        with self._changed:
            # a bound in time: of fewer pictures a second fewer may wait
            while len(self._waiting) >= max(self._room // stride, 4):
                self._waiting.popleft()
                self.hurried += is_old
                self.dropped += not is_old
            self._waiting.append(LiveFrame(index, seconds, arrived, image, stride, self.reconnects))
            self._changed.notify_all()


class _Clock:
    """Seconds of the pictures of one connection, from 0, ascending."""

    def __init__(self, source: VideoSource) -> None:
        self.is_own = not (isinstance(source, ContainerSource) and source.format in _WITHOUT_CLOCK)
        self._is_endless, self._interval = source.is_live, 1 / source.fps
        self._stamp: float | None = None
        self._seconds = -self._interval
        self._now = 0.0

    def seconds(self, stamp: float | None, now: float) -> float:
        """Of a picture with this time stamp that came ``now``, both in seconds."""
        passed = now - self._now if self._seconds >= 0 else self._interval
        step = self._interval
        if not self.is_own:
            step = passed
        elif stamp is not None and self._stamp is not None:
            step = stamp - self._stamp
            # stamps that jump (a server begins again, a counter runs over): what has really passed
            if step <= 0 or (self._is_endless and step > max(1.0, 2 * passed)):
                step = passed
        self._stamp, self._now = stamp, now
        self._seconds = 0.0 if self._seconds < 0 else self._seconds + max(step, 0.0)
        return self._seconds


def _pictures(source: VideoSource, scale: float) -> Iterator[tuple[float | None, Callable[[], np.ndarray]]]:
    """Time stamp in seconds, where there is one, and how to get the picture: who skips it need not convert it."""
    if isinstance(source, ContainerSource):
        for frame in source.decoded():
            yield frame.time, lambda frame=frame: source.upright(frame, scale)  # type: ignore[misc]
    else:
        for image in source:
            yield None, lambda image=image: image  # type: ignore[misc]


def _open_interruptibly(path: str) -> VideoSource:
    """``open_video``, which may wait for a server for long, in a way that Ctrl-C can end."""
    outcome: list[VideoSource | BaseException] = []

    def attempt() -> None:
        try:
            outcome.append(open_video(path))
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=attempt, name="live opening", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.1)
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]
