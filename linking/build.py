"""From the scored boxes of a video to its action tubes: link, trim, remove duplicates, rank."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from linking.geometry import box_iou, smooth_boxes, tube_iou
from linking.link import PAPER as LINK_PAPER
from linking.link import LinkConfig, link_actors, link_classes
from linking.online import SINGH as ONLINE_SINGH
from linking.online import OnlineConfig, link_online
from linking.records import Tube
from linking.scores import ScoredVideo
from linking.trim import PAPER as TRIM_PAPER
from linking.trim import TrimConfig, box_scores, trim_tubes
from linking.trim_labels import SINGH as TRIM_SINGH
from linking.trim_labels import trim_tubes_by_labels
from linking.whole_clip import over_whole_clip


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


DEFAULT_LINK, DEFAULT_ONLINE, DEFAULT_TRIM, DEFAULT_SELECT = LinkConfig(), OnlineConfig(), TrimConfig(), SelectConfig()
TrimLabels = Literal["own", "all"]


@dataclass(frozen=True)
class TubeConfig:
    """Everything between scored boxes and tubes."""

    link: LinkConfig = DEFAULT_LINK
    trim: TrimConfig = DEFAULT_TRIM
    select: SelectConfig = DEFAULT_SELECT
    trimmed: bool = True
    """Cut tubes in time; no for clips that hold nothing but the action, like those of J-HMDB."""
    linker: Literal["offline", "online"] = "offline"
    """offline looks at the whole video (settings ``link``), online frame by frame (settings ``online``)."""
    online: OnlineConfig = DEFAULT_ONLINE
    trim_labels: TrimLabels = "own"
    """What a box may be while tubes are cut: the action of its tube or background (own; Saha), or any of the classes
    (all; Singh)."""
    whole_clip: bool = False
    """Every shot is a clip that shows the action from its first frame to its last (``linking.whole_clip``); of no
    account where tubes are trimmed."""

    def build(self, scored: ScoredVideo) -> list[Tube]:
        link = self.online if self.linker == "online" else self.link
        trim = self.trim if self.trimmed else None
        return build_tubes(scored, link, trim, self.select, trim_labels=self.trim_labels, whole_clip=self.whole_clip)


_ALL = SelectConfig(nms_iou=1.0, min_score=0.0, max_tubes=1_000_000)
PRESETS = {
    "default": TubeConfig(),
    "online": TubeConfig(linker="online"),
    "paper": TubeConfig(LINK_PAPER, TRIM_PAPER, SelectConfig(nms_iou=1.0, min_score=0.0)),
    "singh": TubeConfig(DEFAULT_LINK, TRIM_SINGH, _ALL, linker="online", online=ONLINE_SINGH, trim_labels="all"),
}
"""``paper`` is Saha et al. 2016 as published for UCF101-24; see ``link.PAPER`` for what it asks of a video. ``singh``
is Singh et al. 2017 as published; ``online`` is their method with gaps bridged and trimming as in the default."""


def build_tubes(
    scored: ScoredVideo,
    link: LinkConfig | OnlineConfig = DEFAULT_LINK,
    trim: TrimConfig | None = DEFAULT_TRIM,
    select: SelectConfig = DEFAULT_SELECT,
    *,
    trim_labels: TrimLabels = "own",
    whole_clip: bool = False,
    labels: Collection[str] | None = None,
) -> list[Tube]:
    """Action tubes of a video, best first, with ids 0, 1, 2, ...

    All actors are linked once (or every class by itself, without ``link.class_agnostic``), offline or online as the
    type of ``link`` says, each path is trimmed (not at all with ``trim=None``; see ``TubeConfig.trim_labels``, and
    ``whole_clip`` there for what is done instead), and of tubes of one class that overlap too much the best stays.
    ``labels``: only tubes of these classes; the others still count in what is trimmed.
    """
    by_labels = trim is not None and trim_labels == "all"
    paths = linked_paths(scored, link, least=select.min_score, with_class_scores=by_labels)
    if labels is not None:
        paths = [path for path in paths if path.tube.label in labels]
    tubes = [path.tube for path in paths]
    if trim is not None:
        trim = dataclasses.replace(trim, min_frames=min(trim.min_frames, max(1, scored.num_frames)))
        if by_labels:
            class_scores = [path.class_scores for path in paths if path.class_scores is not None]
            runs = trim_tubes_by_labels(tubes, class_scores, scored.class_names, trim)
        else:
            runs = trim_tubes(tubes, trim, [path.any_class for path in paths])
        tubes = [run for of_tube in runs for run in of_tube]
    elif whole_clip:
        tubes = [over_whole_clip(tube, scored.num_frames, scored.cuts) for tube in tubes]
    tubes = [tube for tube in tubes if tube.score >= select.min_score]
    tubes = suppress_tubes(tubes, select.nms_iou)[: select.max_tubes]
    return [dataclasses.replace(tube, id=number) for number, tube in enumerate(tubes)]


@dataclass(frozen=True, eq=False)
class LinkedPath:
    """A tube of one class as it was linked, not trimmed yet, and what else its boxes score."""

    tube: Tube
    class_scores: np.ndarray | None
    """(n, classes) float32, NaN where a box has none; None where they were not looked up."""
    any_class: np.ndarray | None
    """(n,) float32, their sum; None where it is not known."""


def linked_paths(
    scored: ScoredVideo, link: LinkConfig | OnlineConfig, *, least: float = 0.0, with_class_scores: bool = False
) -> list[LinkedPath]:
    """The tubes of a video before they are trimmed.

    Actors that were linked once come once for every class for which a box of theirs scores ``least`` and the
    threshold of ``link`` or more. ``with_class_scores``: look up those of all tubes.
    """
    # a video shorter than the shortest tube may hold one all the same
    link = dataclasses.replace(link, min_boxes=min(link.min_boxes, max(1, scored.num_frames)))
    paths = _linked(scored, link, with_class_scores=with_class_scores or link.class_agnostic)
    if link.class_agnostic:
        return _with_every_class(paths, scored.class_names, max(link.score_threshold, least))
    return paths


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


def _linked(
    scored: ScoredVideo, link: LinkConfig | OnlineConfig, *, with_class_scores: bool
) -> list[LinkedPath]:
    if isinstance(link, OnlineConfig):
        linked = link_online(scored.detections, scored.class_names, link, cuts=scored.cuts)
        looked_up = [one.class_scores(scored.detections) if with_class_scores else None for one in linked]
        return [LinkedPath(one.tube, scores, one.any_class) for one, scores in zip(linked, looked_up)]
    if link.class_agnostic:
        tubes = link_actors(scored.detections, link, cuts=scored.cuts)
    else:
        tubes = link_classes(scored.detections, scored.class_names, link, cuts=scored.cuts)
    paths = []
    for tube in tubes:
        # scores are looked up by the boxes, so before these are smoothed
        scores = class_scores_of(tube, scored) if with_class_scores else None
        if link.smooth > 1:
            tube = dataclasses.replace(tube, boxes=smooth_boxes(tube.boxes, link.smooth))
        paths.append(LinkedPath(tube, scores, None if scores is None else scores.sum(axis=1)))
    return paths


def _with_every_class(actors: Sequence[LinkedPath], labels: Sequence[str], least: float) -> list[LinkedPath]:
    """Each of ``actors`` once for every class for which any of its boxes scores ``least`` or more."""
    paths = []
    for actor in actors:
        scores = actor.class_scores
        assert scores is not None, "actors are linked with the class scores of their boxes"
        known = ~np.isnan(scores[:, 0])
        means, highest = scores[known].mean(axis=0, dtype=np.float64), scores[known].max(axis=0)
        for c in np.flatnonzero(highest >= least).tolist():
            tube = dataclasses.replace(actor.tube, label=labels[c], scores=scores[:, c], score=float(means[c]))
            paths.append(dataclasses.replace(actor, tube=tube))
    return paths


def _meet(a: Tube, b: Tube) -> bool:
    return a.first_frame < b.end_frame and b.first_frame < a.end_frame
