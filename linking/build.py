"""From the scored boxes of a video to its action tubes: link, trim, remove duplicates, rank."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from linking.geometry import box_iou, tube_iou
from linking.link import PAPER as LINK_PAPER
from linking.link import LinkConfig, link_actors, link_classes
from linking.records import Tube
from linking.scores import ScoredVideo
from linking.trim import PAPER as TRIM_PAPER
from linking.trim import TrimConfig, box_scores, trim_tubes


@dataclass(frozen=True)
class SelectConfig:
    """Which tubes are handed out."""

    nms_iou: float = 0.5
    """A tube goes when it overlaps a better one of its class by more (spatio-temporal IoU); 1 keeps all.
    ACT's evaluator: 0.3, which removes true pairs too (dancers, fencers): 48 pairs in UCF101-24."""
    min_score: float = 0.01
    """Tubes that score lower are dropped."""
    max_tubes: int = 500
    """Most tubes of a video, the best ones."""

    def __post_init__(self) -> None:
        if not 0 <= self.nms_iou <= 1:
            raise ValueError(f"nms_iou is an IoU and must lie in 0..1, got {self.nms_iou}")
        if self.max_tubes < 1:
            raise ValueError(f"max_tubes must be 1 or more, got {self.max_tubes}")


DEFAULT_LINK, DEFAULT_TRIM, DEFAULT_SELECT = LinkConfig(), TrimConfig(), SelectConfig()


@dataclass(frozen=True)
class TubeConfig:
    """Everything between scored boxes and tubes."""

    link: LinkConfig = DEFAULT_LINK
    trim: TrimConfig = DEFAULT_TRIM
    select: SelectConfig = DEFAULT_SELECT
    trimmed: bool = True
    """Cut tubes in time; no for clips that hold nothing but the action, like those of J-HMDB."""

    def build(self, scored: ScoredVideo) -> list[Tube]:
        return build_tubes(scored, self.link, self.trim if self.trimmed else None, self.select)


PRESETS = {
    "default": TubeConfig(),
    "paper": TubeConfig(LINK_PAPER, TRIM_PAPER, SelectConfig(nms_iou=1.0, min_score=0.0)),
}
"""``paper`` is Saha et al. 2016 as published for UCF101-24; see ``link.PAPER`` for what it asks of a video."""


def build_tubes(
    scored: ScoredVideo,
    link: LinkConfig = DEFAULT_LINK,
    trim: TrimConfig | None = DEFAULT_TRIM,
    select: SelectConfig = DEFAULT_SELECT,
) -> list[Tube]:
    """Action tubes of a video, best first, with ids 0, 1, 2, ...

    Every class is linked by itself (or all actors once, with ``link.class_agnostic``), each path is trimmed
    (not at all with ``trim=None``), and of tubes of one class that overlap too much the best stays.
    """
    # a video shorter than the shortest tube may hold one all the same
    shortest = max(1, scored.num_frames)
    link = dataclasses.replace(link, min_boxes=min(link.min_boxes, shortest))
    if trim is not None:
        trim = dataclasses.replace(trim, min_frames=min(trim.min_frames, shortest))
    if link.class_agnostic:
        actors = link_actors(scored.detections, link, cuts=scored.cuts)
        least = max(link.score_threshold, select.min_score)
        tubes = [tube for actor in actors for tube in _with_every_class(actor, scored, least)]
    else:
        tubes = link_classes(scored.detections, scored.class_names, link, cuts=scored.cuts)
    if trim is not None:
        tubes = [run for runs in trim_tubes(tubes, trim) for run in runs]
    tubes = [tube for tube in tubes if tube.score >= select.min_score]
    tubes = suppress_tubes(tubes, select.nms_iou)[: select.max_tubes]
    return [dataclasses.replace(tube, id=number) for number, tube in enumerate(tubes)]


def suppress_tubes(tubes: Sequence[Tube], nms_iou: float) -> list[Tube]:
    """``tubes`` by falling score, without those that overlap a better one of their class by more than ``nms_iou``."""
    kept: list[Tube] = []
    by_label: dict[str, list[Tube]] = {}
    for tube in sorted(tubes, key=lambda tube: (-tube.score, tube.label, tube.first_frame)):
        rivals = by_label.setdefault(tube.label, [])
        if nms_iou >= 1 or all(tube_iou(tube, rival) <= nms_iou for rival in rivals if _meet(tube, rival)):
            rivals.append(tube)
            kept.append(tube)
    return kept


def top_classes(tube: Tube, scored: ScoredVideo, k: int = 3) -> list[tuple[str, float]]:
    """The ``k`` classes of highest mean score over the boxes of ``tube``, best first; empty if none is its own."""
    scores = class_scores_of(tube, scored)
    known = ~np.isnan(scores[:, 0])
    if not known.any():
        return []
    means = scores[known].mean(axis=0, dtype=np.float64)
    return [(scored.class_names[c], float(means[c])) for c in np.argsort(-means, kind="stable")[:k]]


def class_scores_of(tube: Tube, scored: ScoredVideo) -> np.ndarray:
    """(n, classes) float32 class scores of the boxes of ``tube``, looked up in ``scored``.

    A box is looked up by its corners, or else as the box that overlaps it most with an IoU of at least 0.5.
    Rows of interpolated boxes (score NaN) and of boxes that are not found are NaN.
    """
    result = np.full((len(tube), len(scored.class_names)), np.nan, np.float32)
    for row in np.flatnonzero(~np.isnan(box_scores(tube))):
        frame = tube.frames[row]
        found = scored.detections[frame] if frame < scored.num_frames else None
        if found is None or found.class_scores is None or len(found) == 0:
            continue
        same = np.flatnonzero((found.boxes == tube.boxes[row]).all(axis=1))
        if len(same):
            result[row] = found.class_scores[same[0]]
            continue
        overlap = box_iou(tube.boxes[row : row + 1], found.boxes)[0]
        if overlap.max() >= 0.5:
            result[row] = found.class_scores[overlap.argmax()]
    return result


def _with_every_class(actor: Tube, scored: ScoredVideo, least: float) -> list[Tube]:
    """``actor`` once for every class for which any of its boxes scores ``least`` or more."""
    scores = class_scores_of(actor, scored)
    known = ~np.isnan(scores[:, 0])
    means, highest = scores[known].mean(axis=0, dtype=np.float64), scores[known].max(axis=0)
    return [
        dataclasses.replace(actor, label=label, scores=scores[:, c], score=float(means[c]))
        for c, label in enumerate(scored.class_names)
        if highest[c] >= least
    ]


def _meet(a: Tube, b: Tube) -> bool:
    return a.first_frame < b.end_frame and b.first_frame < a.end_frame
