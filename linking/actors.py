"""Tubes as a person looks at them: one actor, its best class, and the classes that come next.

Linking works class by class, so an actor carries a tube for every class that fits a little. Drawn all at once
they hide each other; this groups them for display. Evaluation never does this.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from linking.geometry import box_iou, paired_box_iou
from linking.records import Tube
from linking.scores import ScoredVideo


@dataclass(frozen=True, eq=False)
class Actor:
    """One tube to be shown, and what else its actor might be doing."""

    tube: Tube
    """The tube of the best class."""
    classes: tuple[tuple[str, float], ...]
    """(label, tube score), best first; the first is the label of ``tube``."""


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
            if all(tube.label != other.label for other in group) and _follows(tube, group[0], overlap):
                group.append(tube)
                break
        else:
            groups.append([tube])
    return [Actor(group[0], tuple((tube.label, tube.score) for tube in group[:count])) for group in groups]


def classes_of(tube: Tube, scored: ScoredVideo, *, count: int = 3) -> tuple[tuple[str, float], ...]:
    """The ``count`` classes that score best on the boxes of ``tube``: (label, mean score), best first.

    The scores are those of the candidate box nearest to each box of the tube; interpolated boxes and frames without
    candidates do not count. Empty when no box of the tube was scored.
    """
    rows = []
    for frame, box, score in zip(tube.frames, tube.boxes, np.asarray(tube.scores)):
        found = scored.detections[frame]
        if not np.isnan(score) and len(found):
            nearest = int(box_iou(box[None], found.boxes)[0].argmax())
            rows.append(np.asarray(found.class_scores)[nearest])
    if not rows:
        return ()
    means = np.stack(rows).mean(axis=0, dtype=np.float64)
    return tuple((scored.class_names[k], float(means[k])) for k in np.argsort(-means, kind="stable")[:count])


def _follows(tube: Tube, leader: Tube, overlap: float) -> bool:
    shared, mine, its = np.intersect1d(tube.frames, leader.frames, assume_unique=True, return_indices=True)
    if len(shared) < 0.5 * len(tube):
        return False
    return bool(paired_box_iou(tube.boxes[mine], leader.boxes[its]).mean() >= overlap)
