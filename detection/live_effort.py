"""How much of a live source is looked at: less, step by step, while the networks cannot keep up with it.

A clip is of consecutive pictures at an even pace, as in training. So before the buffer has to drop any, work is saved
where it costs least; after the last step the buffer drops what comes between runs of consecutive pictures, which costs
less than leaving out two of three (docs/decisions/023-live.md has the numbers).
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Effort:
    """One step."""

    streams: int
    """Scorers in use, the first ones."""
    proposal_stride: int
    clip_stride: int
    """In pictures that are looked at."""
    frame_stride: int
    """Every so many decoded pictures one is looked at."""

    def __str__(self) -> str:
        which = "every picture" if self.frame_stride == 1 else f"1 of {self.frame_stride} pictures"
        streams = "1 stream" if self.streams == 1 else f"{self.streams} streams"
        return f"{which}, proposals every {self.proposal_stride}, a clip every {self.clip_stride}, {streams}"


def steps_down(full: Effort, *, clip_frames: int, may_drop_streams: bool) -> list[Effort]:
    """``full`` and what follows when it is too much, in the order of what it costs in accuracy.

    Proposals and clips become half as many; every other picture is looked at; where ``may_drop_streams``, the second
    stream (flow, which costs most) goes and every picture is looked at again; then more and more are left out.
    """
    sparse = replace(
        full,
        proposal_stride=max(full.proposal_stride, 8),
        clip_stride=max(full.clip_stride, min(16, clip_frames)),
    )
    steps = [full] if sparse == full else [full, sparse]
    if may_drop_streams and full.streams > 1:
        steps.append(replace(sparse, frame_stride=2 * full.frame_stride))
        sparse = replace(sparse, streams=1)
        steps.append(sparse)
    return [*steps, replace(sparse, frame_stride=2 * full.frame_stride)]


class Governor:
    """Chooses the step from how busy the networks were.

    One step down after a period in which they were busy for ``TOO_BUSY`` of the time or pictures were dropped; one
    step up when they were busy for less than ``IDLE`` for a while. The while doubles whenever the step up was too
    much, so that a machine at its limit does not swing.
    """

    PERIOD = 2.0  # seconds
    TOO_BUSY = 0.9
    IDLE = 0.45
    _FIRST_WHILE, _LONGEST_WHILE = 10.0, 600.0  # seconds

    def __init__(self, steps: list[Effort]) -> None:
        self.steps = steps
        self.step = 0
        self._while = self._FIRST_WHILE
        self._idle_since: float | None = None
        self._stepped_up = float("-inf")

    @property
    def effort(self) -> Effort:
        return self.steps[self.step]

    def judge(self, now: float, busy: float, dropped: int) -> int:
        """Told what share of a period the networks were busy and how many pictures were dropped; the change of the
        step: 1 is less effort, -1 is more, 0 none."""
        if busy > self.TOO_BUSY or dropped:
            self._idle_since = None
            if self.step + 1 == len(self.steps):
                return 0
            if now - self._stepped_up < 3 * self._while:
                self._while = min(2 * self._while, self._LONGEST_WHILE)
            self.step += 1
            return 1
        if busy > self.IDLE or self.step == 0:
            self._idle_since = None
            return 0
        self._idle_since = now if self._idle_since is None else self._idle_since
        if now - self._idle_since < self._while:
            return 0
        self._idle_since, self._stepped_up = None, now
        self.step -= 1
        return -1
