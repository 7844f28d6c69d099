"""Tubes that were linked elsewhere: only their action is asked."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from linking.build import class_scores_of
from linking.records import Tube
from linking.scores import ScoredVideo


def label_tubes(given: Sequence[Tube], scored: ScoredVideo) -> list[Tube]:
    """``given`` with the class and scores that ``scored`` has for their boxes; frames, boxes and ids stay.

    A tube gets the class of the highest mean score over its boxes, and that mean. Boxes that ``scored`` does not
    have keep no score (NaN); a tube none of whose boxes it has is an error (ValueError), since then the scores
    are of another video.
    """
    labelled = []
    for tube in given:
        scores = class_scores_of(dataclasses.replace(tube, scores=np.ones(len(tube), np.float32)), scored)
        known = ~np.isnan(scores[:, 0])
        if not known.any():
            raise ValueError(f"{scored.video}: none of the boxes of tube {tube.id} was scored")
        means = scores[known].mean(axis=0, dtype=np.float64)
        best = int(means.argmax())
        labelled.append(
            dataclasses.replace(
                tube, label=scored.class_names[best], scores=scores[:, best], score=float(means[best])
            )
        )
    return sorted(labelled, key=lambda tube: (-tube.score, tube.id))
