"""Tubes of a video as its report shows them: by actor, with score curves and what was trimmed away."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from detection.report_records import Curve, Lane, Run, TrueTube
from linking.actors import Actor, best_classes, follows
from linking.build import class_scores_of
from linking.geometry import box_iou, tube_iou
from linking.link import LinkConfig
from linking.online import OnlineConfig
from linking.records import Tube
from linking.scores import ScoredVideo
from linking.untrimmed import untrimmed_paths
from video.thumbnails import Thumbnails

_OTHER_CURVES = 2
_MAX_PAUSE = 8
"""Frames between the end of a path and the beginning of another in the same place, if they are to be one person."""


def lanes_of(
    actors: Sequence[Actor],
    scored: ScoredVideo | None = None,
    link: LinkConfig | OnlineConfig | None = None,
    thumbnails: Thumbnails | None = None,
) -> tuple[Lane, ...]:
    """A lane for each actor, in the order given.

    Args:
        actors: tubes to be shown, best first, as ``group_by_actor`` gives them. Of one person who first runs and then
            jumps it knows two; here they share a lane when the paths they were cut from run side by side, or one goes
            on where the other ends.
        scored: the scores that the tubes were made from; without them the curves are the scores in the tubes.
        link: the settings they were linked with; without them nothing is known of what was trimmed away.
        thumbnails: pictures of the tubes.
    """
    tubes = [actor.tube for actor in actors]
    paths = untrimmed_paths(tubes, scored, link) if scored is not None and link is not None else tubes
    shared = _same_person(tubes, paths, () if scored is None else scored.cuts)
    lanes = []
    for members in shared:
        runs = []
        for actor in (actors[number] for number in members):
            classes = actor.classes if scored is None else best_classes(actor, scored)
            pictures = () if thumbnails is None else thumbnails.of(actor.tube)
            runs.append(Run(actor.tube, classes, actor.tubes or (actor.tube,), pictures))
        whole = _joined([paths[number] for number in members])
        by_time = tuple(sorted(runs, key=lambda run: run.tube.first_frame))
        lanes.append(Lane(by_time, whole.frames, _curves(runs, whole, scored)))
    return tuple(lanes)


def beside_predictions(truth: Sequence[Tube], tubes: Sequence[Tube]) -> tuple[TrueTube, ...]:
    """Each tube of the ground truth with the predictions of its own class and of the others that overlap it most."""
    rows = []
    for true in truth:
        found = _nearest(true, [tube for tube in tubes if tube.label == true.label])
        other = _nearest(true, [tube for tube in tubes if tube.label != true.label])
        rows.append(TrueTube(true, *found, *other))
    return tuple(rows)


def _nearest(true: Tube, tubes: Sequence[Tube]) -> tuple[Tube | None, float]:
    iou, place = max(((tube_iou(true, tube), -place) for place, tube in enumerate(tubes)), default=(0.0, 0))
    return (tubes[-place], iou) if iou > 0 else (None, 0.0)


def _same_person(tubes: Sequence[Tube], paths: Sequence[Tube], cuts: Sequence[int]) -> list[list[int]]:
    """Numbers of the tubes of each person, ascending; tubes of one person do not overlap in time."""
    groups = [[number] for number in range(len(tubes))]
    of = list(range(len(tubes)))
    for number, other in combinations(range(len(tubes)), 2):
        one, two = groups[of[other]], groups[of[number]]
        if one is two or not all(_apart(tubes[a], tubes[b]) for a in one for b in two):
            continue
        if _together(paths[number], paths[other], cuts):
            groups[of[number]] = sorted(one + two)
            groups[of[other]] = []
            for member in one:
                of[member] = of[number]
    return [group for group in groups if group]


def _together(one: Tube, other: Tube, cuts: Sequence[int]) -> bool:
    """Whether two paths show one person: side by side, or one where the other has just ended in the same shot."""
    if one is other:
        return True
    if not _apart(one, other):
        return follows(one, other) or follows(other, one)
    first, second = sorted((one, other), key=lambda path: path.first_frame)
    begin = second.first_frame
    near = begin - first.end_frame < _MAX_PAUSE and not any(first.end_frame <= cut <= begin for cut in cuts)
    return near and bool(box_iou(first.boxes[-1:], second.boxes[:1])[0, 0] >= 0.5)


def _curves(runs: Sequence[Run], whole: Tube, scored: ScoredVideo | None) -> tuple[Curve, ...]:
    """Of the class of every run, then of the two next best of the first."""
    own = {run.tube.label: None for run in runs}
    next_best = [label for run in runs for label, _ in run.classes if label not in own]
    labels = [*own, *list(dict.fromkeys(next_best))[:_OTHER_CURVES]]
    if scored is not None:
        scores = class_scores_of(whole, scored)
        known = {name: number for number, name in enumerate(scored.class_names)}
        if not np.isnan(scores).all():
            return tuple(Curve(name, whole.frames, scores[:, known[name]]) for name in labels if name in known)
    curves = []
    for name in labels:
        parts = [tube for run in runs for tube in run.tubes if tube.label == name]
        if parts:
            one = _joined(parts)
            curves.append(Curve(name, one.frames, np.asarray(one.scores)))
    return tuple(curves)


def _joined(tubes: Sequence[Tube]) -> Tube:
    """One tube through the frames of all; where several have a box, that of the first."""
    frames, first = np.unique(np.concatenate([tube.frames for tube in tubes]), return_index=True)
    boxes = np.concatenate([tube.boxes for tube in tubes])[first]
    scores = np.concatenate([np.asarray(tube.scores) for tube in tubes])[first]
    return dataclasses.replace(tubes[0], frames=frames, boxes=boxes, scores=scores)


def _apart(one: Tube, other: Tube) -> bool:
    """Whether one tube ends before the other begins."""
    return one.end_frame <= other.first_frame or other.end_frame <= one.first_frame
