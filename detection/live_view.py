"""Drawing live pictures, writing them to a video and showing them at an even pace, without ever being waited for."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from detection.live_tubes import LiveActor
from video.drawing import MIN_HEIGHT, marks_at
from video.live_frames import LiveFrame
from video.marks import draw_marks, font, shortened, text_size
from video.writing import VideoWriter

_MAX_HEIGHT = 720  # larger pictures are scaled down before they are drawn: encoding them costs more than the networks
_ROOM = 48  # pictures that may wait to be drawn
_COMES_BACK = 3.0  # seconds in which a delay that is no longer needed mostly goes
_PAPER, _INK, _DIM = (22, 24, 28), (240, 240, 240), (160, 164, 170)


@dataclass(frozen=True)
class Status:
    """How the run is doing."""

    source_fps: float
    frames_per_second: float
    """Pictures that are looked at, a second, lately."""
    decoded: int
    dropped: int
    reconnects: int
    effort: str
    reduced: bool
    """Whether less is done than was asked for."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture to be drawn."""

    frame: LiveFrame
    number: int
    """Of those that were looked at: the frame of the boxes of ``actors``."""
    actors: Sequence[LiveActor]
    status: Status


class Latencies:
    """Seconds between the arrival of a picture and its display; constant memory, exact to a hundredth."""

    _BINS = 12_000  # up to two minutes

    def __init__(self) -> None:
        self._counts = np.zeros(self._BINS, np.int64)
        self._max = 0.0

    def add(self, seconds: float) -> None:
        self._counts[min(max(round(seconds * 100), 0), self._BINS - 1)] += 1
        self._max = max(self._max, seconds)

    def quantile(self, share: float) -> float | None:
        """The latency that this share of the pictures does not exceed; None before the first."""
        total = int(self._counts.sum())
        if total == 0:
            return None
        return int(np.searchsorted(self._counts.cumsum(), max(1.0, share * total))) / 100

    def summary(self) -> dict[str, float | None]:
        """Median, 95 % and largest, in seconds."""
        largest = None if self._counts.sum() == 0 else round(self._max, 3)
        return {"median": self.quantile(0.5), "p95": self.quantile(0.95), "max": largest}


class LiveView:
    """A thread that draws what it is given. A context manager; when the block ends all that waits is drawn.

    Boxes become known clip by clip, several pictures at once. They are shown one after the other, each the same time
    after its arrival, so that motion looks like motion. Where drawing is too slow the oldest pictures go undrawn.
    """

    undrawn: int = 0
    writer: VideoWriter | None = None
    """Is given every drawn picture, with the time it was taken; may be set at any time."""
    show: Callable[[np.ndarray, Picture, float], None] | None = None
    """Is called with every drawn picture, what it shows and its latency in seconds."""

    def __init__(self, width: int, height: int) -> None:
        """Size of the pictures."""
        self.width, self.height, self.scale = picture_size(width, height)
        self.latencies = Latencies()
        self.delay = 0.0
        """Seconds between the arrival of a picture and the moment for which its display is planned."""
        self._given = 0.0  # when pictures were put last
        self._strip = 2 * round(0.9 * text_size(self.height))
        self._waiting: deque[Picture] = deque()
        self._changed = threading.Condition()
        self._ended = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="live view", daemon=True)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the drawn picture with the strip below it."""
        return self.width, self.height + self._strip

    def put(self, pictures: Sequence[Picture]) -> None:
        """Give pictures to be drawn, which became known just now. Raises what has gone wrong in the thread."""
        if self._failure is not None:
            raise self._failure
        if not pictures:
            return
        latest = time.monotonic() - pictures[0].frame.arrived
        with self._changed:
            # the display follows the slowest pictures at once and comes back slowly
            now = time.monotonic()
            share, self._given = min(1.0, (now - self._given) / _COMES_BACK), now
            self.delay = max(latest + 0.02, self.delay - share * (self.delay - latest))
            self._waiting.extend(pictures)
            while len(self._waiting) > _ROOM:
                self._waiting.popleft()
                self.undrawn += 1
            self._changed.notify_all()

    def __enter__(self) -> LiveView:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        with self._changed:
            self._ended = True
            if kind is not None:
                self._waiting.clear()
            self._changed.notify_all()
        self._thread.join()
        if self._failure is not None and kind is None:
            raise self._failure

    def _run(self) -> None:
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._waiting or self._ended)
                    if not self._waiting:
                        return
                    picture = self._waiting.popleft()
                self._draw_and_show(picture)
        except Exception as error:
            self._failure = error

    def _draw_and_show(self, picture: Picture) -> None:
        arrived = picture.frame.arrived
        latency = max(time.monotonic() - arrived, self.delay)
        drawn = self.draw(picture, latency)
        if self.writer is not None:
            self.writer.write(drawn, picture.frame.seconds)
        if self.show is not None:
            with self._changed:  # what is left at the end is not waited for
                self._changed.wait_for(lambda: self._ended, timeout=max(0.0, arrived + latency - time.monotonic()))
        latency = time.monotonic() - arrived
        if not self._ended:
            self.latencies.add(latency)
        if self.show is not None:
            self.show(drawn, picture, latency)

    def draw(self, picture: Picture, latency: float) -> np.ndarray:
        """(height, width, 3) uint8: the picture with its boxes, and a strip with time, latency and status."""
        image = Image.fromarray(picture.frame.image)
        if image.size != (self.width, self.height):
            image = image.resize((self.width, self.height), Image.Resampling.BILINEAR)
        tubes = [actor.recent for actor in picture.actors]
        draw_marks(image, marks_at(tubes, picture.number), scale=self.scale)
        canvas = Image.new("RGB", self.size, _PAPER)
        canvas.paste(image, (0, 0))
        drawing, letters = ImageDraw.Draw(canvas), font(text_size(self.height))
        margin, top = letters.size / 2, self.height + (self._strip - 1.2 * letters.size) / 2
        time_text = clock_text(picture.frame.seconds)
        drawing.text((margin, top), time_text, font=letters, fill=_INK)
        left = 2 * margin + letters.getlength(time_text)
        status = picture.status
        note = f"latency {latency:.2f} s · {status.frames_per_second:.1f} pictures/s · {status.dropped} dropped"
        text = shortened(note, letters, self.width - left - margin)
        drawing.text((self.width - margin - letters.getlength(text), top), text, font=letters, fill=_DIM)
        return np.asarray(canvas)


def picture_size(width: int, height: int) -> tuple[int, int, float]:
    """Width and height of the drawn picture, even, and its scale: small ones are enlarged, for letters to be read."""
    scale = min(max(height, MIN_HEIGHT), _MAX_HEIGHT) / height
    return max(2, 2 * round(width * scale / 2)), max(2, 2 * round(height * scale / 2)), scale


def clock_text(seconds: float) -> str:
    """``0:01:12.3`` since the run began."""
    minutes, rest = divmod(max(0.0, seconds), 60)
    return f"{int(minutes) // 60}:{int(minutes) % 60:02d}:{rest:04.1f}"
