"""Tubes cut into pieces that can be drawn one after the other: at holes, at planes, where interpolation begins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from linking.records import Tube


@dataclass(frozen=True, eq=False)
class Piece:
    """A part of a tube without a hole in it."""

    tube: Tube
    times: np.ndarray
    """(n,) ascending, in frames, n >= 2."""
    boxes: np.ndarray
    """(n, 4) at these times."""
    pale: bool
    """Whether its boxes were interpolated."""
    begins: bool
    """Whether the tube, or what follows a hole, begins here."""
    ends: bool
    """Whether it ends here."""


def pieces(tube: Tube, cuts: Sequence[float], slices: int) -> Iterator[Piece]:
    """The pieces of ``tube`` by time, cut at the times ``cuts``, with about ``slices`` cross-sections in all.

    A box without neighbours in time lasts one frame.
    """
    scores = np.asarray(tube.scores)
    guessed = np.isnan(scores) & ~np.isnan(scores).all()
    for run in np.split(np.arange(len(tube)), np.flatnonzero(np.diff(tube.frames) > 1) + 1):
        times, boxes, pale = tube.frames[run].astype(float), tube.boxes[run].astype(float), guessed[run]
        if len(run) == 1:
            times, boxes, pale = np.array([times[0], times[0] + 1]), np.repeat(boxes, 2, axis=0), np.repeat(pale, 2)
        step_pale = pale[:-1] | pale[1:]  # of each step between neighbours
        count = max(2, round(slices * len(run) / len(tube)))
        kept = np.unique(np.linspace(0, len(times) - 1, count).round().astype(int))
        changes = np.flatnonzero(np.diff(step_pale)) + 1
        at = [cut for cut in cuts if times[0] < cut < times[-1]]
        stops = np.unique(np.concatenate([times[[0, -1]], times[changes], at]))
        for start, end in pairwise(stops.tolist()):
            inner = times[kept]
            inside = np.concatenate([[start], inner[(inner > start) & (inner < end)], [end]])
            sides = np.stack([np.interp(inside, times, boxes[:, side]) for side in range(4)], axis=1)
            first_step = int(np.searchsorted(times, start, side="right")) - 1
            yield Piece(tube, inside, sides, bool(step_pale[first_step]), start == times[0], end == times[-1])


def cross_section(tube: Tube, frame: int) -> np.ndarray | None:
    """(4,) the box of ``tube`` in ``frame``; None where it has none."""
    place = int(np.searchsorted(tube.frames, frame))
    return tube.boxes[place] if place < len(tube) and tube.frames[place] == frame else None
