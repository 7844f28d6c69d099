"""Offline linking of per-frame boxes into tubes.

After Saha et al., "Deep Learning for Detecting Multiple Space-Time Action Tubes in Videos" (BMVC 2016),
section 4.1: per class, non-maximum suppression in every frame, then the path through the video that
maximises the sum of scores and overlaps (Viterbi), path after path. The published method needs a box in
every frame and lets a path jump anywhere; ``PAPER`` does exactly that. The default differs, because missed
frames, several shots and actors that come and go are the rule in real video:

- a path begins and ends anywhere, and breaks where no box overlaps enough, instead of jumping;
- up to ``max_gap`` frames without a usable box are bridged; their boxes are interpolated, with score NaN;
- paths that are short or mostly gaps are dropped, so that noise does not become tubes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from linking.candidates import Candidates, candidates_of, usable, with_last_pixel
from linking.geometry import interpolate_boxes
from linking.link_graph import NEAREST, link_graph
from linking.paths import PathRules, best_paths
from linking.records import NO_SCORE, Detections, Tube


@dataclass(frozen=True)
class LinkConfig:
    """How boxes become tubes. "Saha" is the released code of the BMVC 2016 paper (``action_tubes/``)."""

    score_threshold: float = 0.05
    """A class ignores boxes scored below this. Saha: none. Singh et al. 2017: 0.001."""
    nms_iou: float = 0.3
    """A box goes when it overlaps a better one of its class and frame by more. Saha: 0.3."""
    top_boxes: int = 10
    """Boxes a class keeps per frame after suppression. Saha: 5; Singh and ACT: 10."""
    overlap_weight: float = 1.0
    """Weight of the IoU of two boxes against the sum of their scores in the value of an edge. Saha: 1."""
    min_overlap: float = 0.2
    """Least IoU of two boxes that follow each other in a path, so that paths break at jumps. Saha: 0."""
    max_gap: int = 10
    """Most frames without a box between two boxes of a path. Saha: 0; Singh: 2 (he gives up at the third); ACT: 5."""
    max_paths: int = 10
    """Most paths of a class at any one time. Saha: 3."""
    min_boxes: int = 8
    """Paths with fewer own (not interpolated) boxes are dropped, unless the video is shorter. Singh: 4; ACT: 15."""
    min_coverage: float = 0.3
    """Paths with own boxes in a smaller share of their frames are dropped: noise hops from gap to gap. Ours."""
    whole_video: bool = False
    """A path needs a box in every frame of the video. Saha: yes."""
    inclusive_pixels: bool = False
    """Count one pixel more on each side in overlaps, as code for integer corners does. Saha: yes."""
    class_agnostic: bool = True
    """Link once, by objectness, and give each path every class afterwards (``build_tubes``), which finds more than
    linking each class by itself, as Saha does (docs/decisions/006-linking.md). Section 5.6 of the LGD paper can be
    read both ways."""
    smooth: int = 9
    """``build_tubes`` makes boxes of a path the mean over this many frames around each, fewer towards its ends, which
    takes the jitter out of them; odd, 1 leaves them. Saha: none."""

    def __post_init__(self) -> None:
        for name in ("nms_iou", "min_overlap", "min_coverage"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share and must lie in 0..1, got {getattr(self, name)}")
        for name, least in (("top_boxes", 1), ("max_gap", 0), ("max_paths", 1), ("min_boxes", 1), ("smooth", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be {least} or more, got {getattr(self, name)}")
        if self.smooth % 2 == 0:
            raise ValueError(f"smooth counts the frame in the middle too and must be odd, got {self.smooth}")
        if self.overlap_weight < 0 or self.score_threshold < 0:
            raise ValueError("overlap_weight and score_threshold must be 0 or more")
        if self.whole_video and self.max_gap:
            raise ValueError("whole_video asks for a box in every frame, so max_gap must be 0")


PAPER = LinkConfig(
    score_threshold=0.0,
    nms_iou=0.3,
    top_boxes=5,
    overlap_weight=1.0,
    min_overlap=0.0,
    max_gap=0,
    max_paths=3,
    min_boxes=1,
    whole_video=True,
    inclusive_pixels=True,
    class_agnostic=False,
    smooth=1,
)
"""Saha et al. as published: for short clips in which every frame has a box; other clips give no tubes."""

PRESETS = {"default": LinkConfig(), "paper": PAPER}


def link_class(
    detections: Sequence[Detections],
    class_index: int,
    label: str,
    config: LinkConfig,
    *,
    cuts: Sequence[int] = (),
) -> list[Tube]:
    """Tubes of one class, best first; column ``class_index`` of the class scores, named ``label``.

    ``detections`` ascend in frames; a frame that is missing from them had no boxes. Box scores of a tube are
    the class scores, NaN where the box was interpolated; the score of a tube is the mean of its box scores.
    No path crosses ``cuts``, the first frames of new shots.
    """
    candidates = candidates_of(detections, [_class_scores(found)[:, [class_index]] for found in detections])
    return _tubes_of(candidates, [label], config, cuts)


def link_classes(
    detections: Sequence[Detections],
    labels: Sequence[str],
    config: LinkConfig,
    *,
    cuts: Sequence[int] = (),
) -> list[Tube]:
    """``link_class`` for all classes at once, in the time of a few; ``labels`` name the class columns."""
    candidates = candidates_of(detections, [_class_scores(found) for found in detections])
    if len(detections) and candidates.scores.shape[1] != len(labels):
        raise ValueError(f"{candidates.scores.shape[1]} class scores a box, but {len(labels)} labels")
    return _tubes_of(candidates, labels, config, cuts)


def link_actors(detections: Sequence[Detections], config: LinkConfig, *, cuts: Sequence[int] = ()) -> list[Tube]:
    """Tubes linked by ``Detections.scores`` whatever the action; their label is empty."""
    return _tubes_of(candidates_of(detections, [found.scores[:, None] for found in detections]), [""], config, cuts)


def _tubes_of(candidates: Candidates, labels: Sequence[str], config: LinkConfig, cuts: Sequence[int]) -> list[Tube]:
    if len(candidates.boxes) == 0:
        return []
    boxes = with_last_pixel(candidates.boxes) if config.inclusive_pixels else candidates.boxes
    mask = usable(
        dataclasses.replace(candidates, boxes=boxes),
        score_threshold=config.score_threshold,
        nms_iou=config.nms_iou,
        top_boxes=config.top_boxes,
    )
    used = np.logical_or.reduce(mask, axis=1)
    if not used.any():
        return []
    candidates, mask = candidates.only(used), mask[used]
    graph = link_graph(
        candidates,
        mask,
        max_gap=config.max_gap,
        min_overlap=config.min_overlap,
        inclusive_pixels=config.inclusive_pixels,
        nearest=None if config.whole_video else NEAREST,
        cuts=cuts,
    )
    min_boxes = min(config.min_boxes, candidates.num_frames)
    rules = PathRules(config.overlap_weight, config.max_paths, min_boxes, config.whole_video)
    time = candidates.time
    tubes = []
    for column, (label, paths) in enumerate(zip(labels, best_paths(candidates, graph, mask, rules))):
        kept = [path for path in paths if len(path) >= config.min_coverage * (time[path[-1]] - time[path[0]] + 1)]
        found = [_tube(candidates, time, path, column, label) for path in kept]
        tubes += sorted(found, key=lambda tube: -tube.score)
    return tubes


def _tube(candidates: Candidates, time: np.ndarray, path: np.ndarray, column: int, label: str) -> Tube:
    """The boxes of ``path`` with its gaps filled."""
    known = candidates.first_frame + time[path]
    frames = np.arange(known[0], known[-1] + 1)
    scores = np.full(len(frames), NO_SCORE, np.float32)
    own = candidates.scores[path, column]
    scores[known - known[0]] = own
    boxes = interpolate_boxes(known, candidates.boxes[path], frames)
    return Tube(label, frames, boxes, scores, float(own.mean(dtype=np.float64)))


def _class_scores(found: Detections) -> np.ndarray:
    if found.class_scores is None:
        raise ValueError(f"the boxes of frame {found.frame} have no class scores to link by")
    return found.class_scores
