"""Tubes as a person looks at them: one actor, its best class, and the classes that come next.

Linking works class by class, so an actor carries a tube for every class that fits a little. Drawn all at once
they hide each other; this groups them for display. Evaluation never does this.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from linking.build import top_classes
from linking.geometry import paired_box_iou
from linking.records import Tube
from linking.scores import ScoredVideo


@dataclass(frozen=True, eq=False)
class Actor:
    """One tube to be shown, and what else its actor might be doing."""

    tube: Tube
    """The tube of the best class."""
    classes: tuple[tuple[str, float], ...]
    """(label, tube score), best first; the first is the label of ``tube``."""
    tubes: tuple[Tube, ...] = ()
    """All tubes of the actor, ``tube`` first, then the weaker ones; empty where nobody asked."""


def group_by_actor(tubes: Sequence[Tube], *, overlap: float = 0.5, count: int = 3) -> list[Actor]:
    """The tubes that stay when an actor is shown once, by falling score; ties by id.

    A tube joins the best tube of another label that it follows: at least half of its frames are shared, and
    the mean box IoU on them is at least ``overlap``. Tubes of one label are different actors and stay apart.
    ``count`` classes are kept of each actor.
    """
    order = sorted(tubes, key=lambda tube: (np.isnan(tube.score), -tube.score, tube.id))
    groups: list[list[Tube]] = []
    for tube in order:
        for group in groups:
            if all(tube.label != other.label for other in group) and follows(tube, group[0], overlap):
                group.append(tube)
                break
        else:
            groups.append([tube])
    return [
        Actor(group[0], tuple((tube.label, tube.score) for tube in group[:count]), tuple(group)) for group in groups
    ]


def one_by_one(tubes: Sequence[Tube]) -> list[Actor]:
    """Every tube as an actor of its own, in the same order."""
    order = sorted(tubes, key=lambda tube: (np.isnan(tube.score), -tube.score, tube.id))
    return [Actor(tube, ((tube.label, tube.score),), (tube,)) for tube in order]


def best_classes(actor: Actor, scored: ScoredVideo, *, count: int = 3) -> tuple[tuple[str, float], ...]:
    """``actor.classes``, filled up to ``count`` with the classes that score best on the boxes of its tube.

    A class whose tube was too weak to be handed out is still among the top three that the paper's Figure 5 shows.
    """
    named = dict(actor.classes[:count])
    for label, score in top_classes(actor.tube, scored, k=len(scored.class_names)):
        if len(named) == count:
            break
        named.setdefault(label, score)
    return tuple(named.items())


def follows(tube: Tube, leader: Tube, overlap: float = 0.5) -> bool:
    """Whether ``tube`` shows the actor of ``leader``: half of its frames shared, mean box IoU there ``overlap``."""
    shared, mine, its = np.intersect1d(tube.frames, leader.frames, assume_unique=True, return_indices=True)
    if len(shared) < 0.5 * len(tube):
        return False
    return bool(paired_box_iou(tube.boxes[mine], leader.boxes[its]).mean() >= overlap)
