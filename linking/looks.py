"""How the tubes of one video are drawn where their ids alone do not say it: colours, words, and what they mean.

Annotated videos, contact sheets, film strips and plots all take the same looks, so that a colour means one thing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from linking.colours import TRUTH, Colour, tube_colour
from linking.records import Tube


@dataclass(frozen=True)
class Look:
    """Of one tube."""

    colour: Colour
    """Red, green, blue, 0..255."""
    word: str = ""
    """Said beside its label: what was judged of it."""


@dataclass(frozen=True, eq=False)
class Looks:
    """Of the tubes and the ground truth of one video; empty ones colour tubes by id, ground truth in light grey."""

    tubes: Mapping[int, Look] = field(default_factory=dict)
    """By the id of the tube."""
    truth: Mapping[int, Look] = field(default_factory=dict)
    """By the id of the true tube."""
    legend: tuple[tuple[str, Colour], ...] = ()
    """What the colours mean, in the order of the legend."""
    about: Mapping[int, Tube] = field(default_factory=dict)
    """The true tube that a tube is compared with, by the id of the tube."""

    def of(self, tube: Tube) -> Look:
        """Of a detected tube."""
        return self.tubes.get(tube.id, Look(tube_colour(tube.id)))

    def of_true(self, tube: Tube) -> Look:
        """Of a tube of the ground truth."""
        return self.truth.get(tube.id, Look(TRUTH))


PLAIN = Looks()
"""Every tube in its own colour."""
