"""Temporal trimming by all labels: which part of a tube shows its action rather than another one.

After Singh et al., ICCV 2017, as in their released code (``online-tubes/gentube/``): every box of a tube gets one of
all classes, so that the sum of its scores for them, minus a penalty for every change, is as high as possible; each run
that got the tube's own class becomes a tube. There is no background: a tube whose class is never the best is dropped,
and one whose class is the best throughout stays whole, however low its scores.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from linking.records import Tube
from linking.trim import TrimConfig, best_mean, box_scores

SINGH = TrimConfig(alpha=3.0, relative=False, share_frames=1, min_frames=10)
"""Singh et al. as published: runs whose last frame is more than 8 after the first, scored by their 40 best boxes."""

CELLS_AT_ONCE = 2**22
"""Tubes are labelled together up to this many boxes times classes, which bounds the memory."""


def trim_tubes_by_labels(
    tubes: Sequence[Tube], class_scores: Sequence[np.ndarray], class_names: Sequence[str], config: TrimConfig
) -> list[list[Tube]]:
    """The runs of each tube that got its own label, in order of time.

    ``class_scores`` holds (n, classes) for each tube, its columns named by ``class_names``; rows of NaN (interpolated
    boxes) take part with scores interpolated in time. Of ``config`` count the penalties, ``min_frames`` (strict: also
    for short tubes) and ``top_frames``; a run's score is the mean of that many best box scores of the tube.
    ValueError for a tube whose label is no class or whose boxes have no class scores.
    """
    column = {name: number for number, name in enumerate(class_names)}
    for tube in tubes:
        if tube.label not in column:
            raise ValueError(f"tube {tube.id} has the label {tube.label!r}, which has no class scores")
    gains = [_filled(tube, scores, len(class_names)) for tube, scores in zip(tubes, class_scores, strict=True)]
    runs: list[list[Tube]] = [[] for _ in tubes]
    # tubes of like length together, so that a long one does not stretch the table of all
    order = sorted(range(len(tubes)), key=lambda k: len(tubes[k]))
    while order:
        batch = [order.pop()]
        longest = len(tubes[batch[0]])
        most = max(1, CELLS_AT_ONCE // (longest * len(class_names)))
        while order and len(batch) < most and len(tubes[order[-1]]) * 2 > longest:
            batch.append(order.pop())
        alpha = np.array([config.class_alpha.get(tubes[k].label, config.alpha) for k in batch], np.float64)
        labels = best_labels([gains[k] for k in batch], alpha)
        for k, path in zip(batch, labels):
            runs[k] = _runs(tubes[k], path == column[tubes[k].label], config)
    return runs


def best_labels(scores: Sequence[np.ndarray], alpha: np.ndarray) -> list[np.ndarray]:
    """For each tube, (n,) int64: the class of each box that maximises the sum of scores less ``alpha`` a change.

    ``scores`` (n, classes) and ``alpha`` (tubes,) hold one entry a tube. Of labellings worth the same, read from the
    end, the one of lower classes.
    """
    lengths = np.array([len(one) for one in scores])
    table = np.zeros((lengths.max(), len(scores), scores[0].shape[1]))  # (frames, tubes, classes)
    for k, one in enumerate(scores):
        table[: len(one), k] = one
    tube = np.arange(len(scores))
    worth = table[0].copy()  # of the best labelling so far that ends in each class
    back = np.zeros(table.shape, np.int16)  # the class before on that labelling
    classes = np.arange(table.shape[2])
    for t in range(1, len(table)):
        best = worth.argmax(axis=1)  # the first of equals
        changed = (worth[tube, best] - alpha)[:, None]
        # keeping the class wins a tie unless the best class comes before it
        keeps = (worth > changed) | ((worth == changed) & (classes <= best[:, None]))
        back[t] = np.where(keeps, classes, best[:, None])
        going_on = np.maximum(worth, changed) + table[t]
        worth = np.where((t < lengths)[:, None], going_on, worth)
    at = worth.argmax(axis=1)
    labels = np.zeros(table.shape[:2], np.int64)
    for t in range(len(table) - 1, -1, -1):
        labels[t] = at
        at = np.where(t < lengths, back[t, tube, at], at) if t else at
    return [labels[:n, k] for k, n in enumerate(lengths.tolist())]


def _filled(tube: Tube, class_scores: np.ndarray, classes: int) -> np.ndarray:
    """(n, classes) float64 without NaN."""
    scores = np.asarray(class_scores, np.float64)
    if scores.shape != (len(tube), classes):
        raise ValueError(f"tube {tube.id} needs ({len(tube)}, {classes}) class scores, got {scores.shape}")
    known = ~np.isnan(scores).any(axis=1)
    if not known.any():
        raise ValueError(f"tube {tube.id} ({tube.label!r}) has no class scores to trim by")
    if known.all():
        return scores
    return np.stack([np.interp(tube.frames, tube.frames[known], column[known]) for column in scores.T], axis=1)


def _runs(tube: Tube, own: np.ndarray, config: TrimConfig) -> list[Tube]:
    edges = np.flatnonzero(np.diff(np.r_[False, own, False]))
    scores = box_scores(tube)
    return [
        dataclasses.replace(
            tube,
            frames=tube.frames[start:end],
            boxes=tube.boxes[start:end],
            scores=scores[start:end],
            score=best_mean(scores[start:end], config.top_frames),
        )
        for start, end in zip(edges[::2], edges[1::2])
        if end - start >= config.min_frames and not np.isnan(scores[start:end]).all()
    ]
