"""Where a live run can be seen: a window where there is a screen, a page on this machine in any case."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np

from detection.live_page import LivePage
from detection.live_tubes import EndedTube
from detection.live_view import Picture
from detection.live_window import NO_SCREEN
from linking.colours import tube_colour

Where = Literal["auto", "window", "page", "none"]
DEFAULT_PORT = 8000
_BEFORE = 20  # ended tubes on the page


class LiveShow:
    """The page and the window of a run; a context manager that closes both."""

    def __init__(self, video: str, *, where: Where, host: str, port: int | None, tell: Callable[[str], None]) -> None:
        """Port None is 8000 or, where that is taken, any free one. ValueError where the page cannot be there."""
        self.video, self._tell = video, tell
        self._before: deque[dict[str, Any]] = deque(maxlen=_BEFORE)
        self._window: subprocess.Popen[bytes] | None = None
        self.page = _open_page(host, port)
        has_screen = sys.platform == "darwin" or os.name == "nt" or "DISPLAY" in os.environ
        if where == "window" or (where == "auto" and has_screen):
            script = Path(__file__).with_name("live_window.py")
            self._window = subprocess.Popen([sys.executable, str(script), self.page.address, f"Live: {video}"])
        tell(f"watch at {self.page.address}")
        if not self.page.only_here:
            tell("anybody who reaches this machine can watch")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.page.close()
        if self._window is not None:
            self._window.terminate()
            self._window.wait()

    def window_was_closed(self) -> bool:
        """Whether the user closed the window; where none could be opened that is told once."""
        if self._window is None or self._window.poll() is None:
            return False
        code, self._window = self._window.returncode, None
        if code == NO_SCREEN:
            self._tell("no window: there is no screen, or Python has no Tk; the page shows the same")
        return code == 0

    def add_ended(self, ended: Iterable[EndedTube]) -> None:
        """Tubes for the list of the past."""
        for one in ended:
            if one.was_shown:
                times = {"start_seconds": float(one.seconds[0]), "end_seconds": float(one.seconds[-1])}
                self._before.appendleft(_facts(one.tube.id, one.tube.label, one.tube.score) | times)

    def show(self, drawn: np.ndarray, picture: Picture, latency: float, latencies: dict[str, Any]) -> None:
        """The newest picture."""
        shown = time.monotonic()
        facts = {
            "video": self.video,
            "frame": picture.frame.index,
            "seconds": round(picture.frame.seconds, 3),
            "latency_seconds": round(latency, 3),
            "latency": latencies,
            **vars(picture.status),
            "tubes": [
                _facts(actor.id, actor.label, actor.score)
                | {
                    "since_frame": actor.since_index,
                    "since_seconds": round(actor.since_seconds, 3),
                    "classes": [[label, round(score, 4)] for label, score in actor.classes],
                    "box": [round(float(side), 1) for side in actor.recent.boxes[-1]],
                }
                for actor in picture.actors
            ],
            # pictures are shown some time after their boxes are known, and what comes after them is not the past
            "ended": [
                one
                for one in self._before
                if one["end_seconds"] < picture.frame.seconds and all(one["id"] != actor.id for actor in picture.actors)
            ],
        }
        self.page.show(drawn, lambda: facts | {"age_seconds": round(time.monotonic() - shown, 1)})


def _facts(number: int, label: str, score: float) -> dict[str, Any]:
    colour = "#{:02x}{:02x}{:02x}".format(*tube_colour(number))
    return {"id": number, "label": label, "score": round(score, 4), "colour": colour}


def _open_page(host: str, port: int | None) -> LivePage:
    try:
        return LivePage(host=host, port=DEFAULT_PORT if port is None else port)
    except (OSError, OverflowError) as error:
        if port is None:
            with suppress(OSError):
                return LivePage(host=host, port=0)
        reason = getattr(error, "strerror", None) or error
        where = f"{host}, port {DEFAULT_PORT if port is None else port}"
        raise ValueError(f"the page cannot be at {where}: {reason}; choose another --port or --host") from error
