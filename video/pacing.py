"""Releasing pictures at the speed at which they were taken, whatever the pace at which they come."""

from __future__ import annotations

import time
from collections.abc import Callable

LATE = 1.0
"""Seconds behind time after which the clock is set anew: the stream has stalled."""
PATIENCE = 5.0
"""Seconds without waiting for the network after which pictures are taken to pile up there."""
CATCH_UP = 0.1
"""Pictures that have piled up are released this share faster."""


class Pacer:
    """A clock that runs with the time stamps of a stream.

    Network streams come in bursts (HLS by segments, MPEG-TS by whatever lay in a buffer); released as they come, most
    pictures of a burst would be dropped by whoever needs time for each. What comes late is released at once; after a
    stall of more than ``LATE`` seconds the clock is set anew. Pictures that pile up in the network are released a
    little faster until they are used up, for otherwise the delay of the beginning would stay for ever.
    """

    def __init__(
        self,
        *,
        catch_up: bool,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """``catch_up`` is for sources that go on by themselves; a file waits and has nothing to catch up with."""
        self._catch_up, self._clock, self._sleep = catch_up, clock, sleep
        self._start: float | None = None  # when second 0 of the stream is due
        self._before = 0.0
        self._waited_for_network = 0.0

    def wait(self, seconds: float) -> float:
        """Sleep until the picture of this second of the stream is due; the time of the clock then."""
        now = self._clock()
        if self._start is None or now - (self._start + seconds) > LATE:
            self._start, self._waited_for_network = now - seconds, now
        step, self._before = seconds - self._before, seconds
        if now >= self._start + seconds:
            self._waited_for_network = now
            return now
        if self._catch_up and now - self._waited_for_network > PATIENCE:
            self._start -= CATCH_UP / (1 + CATCH_UP) * max(step, 0.0)
        due = max(now, self._start + seconds)
        if due > now:
            self._sleep(due - now)
        return due
