"""Online linking: boxes become tubes frame by frame, for live streams.

After Singh et al., "Online Real-time Multiple Spatiotemporal Action Localisation and Prediction" (ICCV 2017). Every
class keeps its live paths in order of their best scores; in that order each path takes the box of the new frame that
is worth most to it among those that overlap its last box, boxes that nobody took begin paths of their own, and a path
that found nothing for too long ends. ``SINGH`` is the released code (gurkirt/realtime-action-detection,
``online-tubes/actionpath/``). The default keeps the method and differs as the offline default does: a box is chosen by
overlap too, longer gaps are bridged and their boxes interpolated, and noise is dropped.

Ties: of boxes worth the same the first is taken, of paths with equal scores the older comes first. (The released
suppression prefers the last of equal scores; that is not followed.)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from linking.candidates import Candidates, usable, with_last_pixel
from linking.geometry import box_iou
from linking.online_paths import LinkedTube, OnlinePath, linked_tube
from linking.records import Detections, Tube


@dataclass(frozen=True)
class OnlineConfig:
    """How boxes become tubes while they arrive. "Singh" is the released code of the ICCV 2017 paper."""

    score_threshold: float = 0.05
    """A class ignores boxes scored below this. Singh: those of 0.001 and less."""
    candidate_boxes: int | None = None
    """Boxes a class looks at per frame, the best ones, before suppression; none: all. Singh: 50."""
    nms_iou: float = 0.3
    """A box goes when it overlaps a better one of its class and frame by more. Singh: 0.45."""
    top_boxes: int = 10
    """Boxes a class keeps per frame after suppression. Singh: 10."""
    min_overlap: float = 0.2
    """Least IoU of a box with the last box of the path that takes it. Singh: 0.1."""
    overlap_weight: float = 1.0
    """A box is worth its score plus this weight times its IoU with the last box of the path. Singh: 0."""
    order_scores: int = 4
    """Paths choose in the order of the mean of this many best box scores. Singh: 4."""
    max_gap: int = 10
    """Most frames without a box between two boxes of a path. Singh: 2, a path dies at its third miss in a row."""
    min_boxes: int = 8
    """Paths with fewer own (not interpolated) boxes are dropped. Singh: 4."""
    min_coverage: float = 0.3
    """Paths with own boxes in a smaller share of their frames are dropped. Singh: 0."""
    gap_boxes: Literal["interpolate", "repeat"] = "interpolate"
    """What fills a gap: boxes on the line between its two ends, without a score; or the box found after the gap,
    with its score. Singh: repeat."""
    score_boxes: int | None = None
    """The score of a tube is the mean of this many best box scores; none: of all. Singh: 20."""
    inclusive_pixels: bool = False
    """Count one pixel more on each side in overlaps with paths (not in suppression). Singh: yes."""
    class_agnostic: bool = False
    """Link once, by objectness; tubes have no label."""
    max_frames: int | None = None
    """A path of this many frames ends and the actor begins a new one, which bounds the memory that an endless
    stream takes; none: no limit. Singh: none."""

    def __post_init__(self) -> None:
        for name in ("nms_iou", "min_overlap", "min_coverage"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share and must lie in 0..1, got {getattr(self, name)}")
        least = {"candidate_boxes": 1, "top_boxes": 1, "order_scores": 1, "max_gap": 0, "min_boxes": 1}
        for name, low in {**least, "score_boxes": 1, "max_frames": 1}.items():
            value = getattr(self, name)
            if value is not None and value < low:
                raise ValueError(f"{name} must be {low} or more, got {value}")
        if self.overlap_weight < 0 or self.score_threshold < 0:
            raise ValueError("overlap_weight and score_threshold must be 0 or more")


SINGH = OnlineConfig(
    score_threshold=float(np.nextafter(np.float32(0.001), np.float32(1))),  # above 0.001, not at it
    candidate_boxes=50,
    nms_iou=0.45,
    top_boxes=10,
    min_overlap=0.1,
    overlap_weight=0.0,
    order_scores=4,
    max_gap=2,
    min_boxes=4,
    min_coverage=0.0,
    gap_boxes="repeat",
    score_boxes=20,
    inclusive_pixels=True,
)
"""Singh et al. as published."""


DEFAULT = OnlineConfig()


class OnlineLinker:
    """Links one stream. Feed every frame in order; take out finished tubes now and then.

    Args:
        class_names: names of the class columns of the detections.
        config: see ``OnlineConfig``.
    """

    def __init__(self, class_names: Sequence[str], config: OnlineConfig = DEFAULT) -> None:
        self.config = config
        self.labels = ("",) if config.class_agnostic else tuple(class_names)
        self._frame = -1
        self._begun = 0
        self._ended: list[OnlinePath] = []
        # what is known of the live paths, in the order in which they choose; one row a path
        self._paths: list[OnlinePath] = []
        self._column = np.zeros(0, np.int64)
        self._box = np.zeros((0, 4), np.float32)  # the last one
        self._found = np.zeros(0, np.int64)  # its frame
        self._best = np.zeros((0, config.order_scores))  # best scores, ascending, -inf in front of fewer

    def update(self, found: Detections) -> None:
        """Take the boxes of the next frame; a frame that is left out had none.

        ValueError for a frame that is not after the last one, and for detections without the scores to link by.
        """
        if found.frame <= self._frame:
            raise ValueError(f"frames must ascend, but frame {found.frame} came after frame {self._frame}")
        scores = self._scores_of(found)
        if found.frame > self._frame + 1:
            self._end_frame(found.frame - 1)
        self._frame = found.frame
        # (pairs,) a box and a class that may use it, in the order in which they would begin paths
        box, column = self._candidates(found.boxes, scores)
        path, box_of_path = self._choices(found.boxes, scores, box, column)
        taken = np.zeros(scores.shape, bool)
        taken[box_of_path, self._column[path]] = True
        any_class = (scores if found.class_scores is None else found.class_scores).sum(axis=1)
        self._add(path, box_of_path, found, scores, any_class)
        self._end_frame(found.frame)
        free = ~taken[box, column]
        self._begin(box[free], column[free], found, scores, any_class)

    def cut(self) -> None:
        """A new shot begins with the next frame: all live paths end, so that nothing is linked across it."""
        self._end(np.arange(len(self._paths)))

    def live(self, last: int | None = None) -> list[Tube]:
        """The tubes alive now, best first, each up to its last box; ``last``: only their last so many frames.

        A tube keeps its id for life and in ``finished``. Paths that would be dropped if they ended now are left out.
        """
        return [linked.tube for linked in self.live_with_rows(last)]

    def live_with_rows(self, last: int | None = None) -> list[LinkedTube]:
        """``live``, and which detections the tubes are made of."""
        if last is not None and last < 1:
            raise ValueError(f"last is a number of frames, 1 or more, got {last}")
        linked = [self._linked(path, last) for path in self._paths if self._lasts(path)]
        return sorted(linked, key=lambda one: (-one.tube.score, one.tube.id))

    def finished(self) -> list[Tube]:
        """The tubes that ended since this was last called, in the order in which they ended."""
        return [linked.tube for linked in self.finished_with_rows()]

    def finished_with_rows(self) -> list[LinkedTube]:
        """``finished``, and which detections the tubes are made of."""
        ended, self._ended = self._ended, []
        return [self._linked(path) for path in ended]

    def finish(self) -> list[Tube]:
        """The stream ends: all live paths end; then ``finished``."""
        self.cut()
        return self.finished()

    def _scores_of(self, found: Detections) -> np.ndarray:
        """(n, columns) the scores to link by."""
        if self.config.class_agnostic:
            return found.scores[:, None]
        if found.class_scores is None:
            raise ValueError(f"the boxes of frame {found.frame} have no class scores to link by")
        if found.class_scores.shape[1] != len(self.labels):
            raise ValueError(
                f"frame {found.frame} has {found.class_scores.shape[1]} class scores a box, "
                f"but there are {len(self.labels)} labels"
            )
        return found.class_scores

    def _candidates(self, boxes: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Boxes and the columns that may use them, best score first; of equals the first box."""
        config = self.config
        if config.candidate_boxes is not None and len(boxes) > config.candidate_boxes:
            rank = np.argsort(np.argsort(-scores, axis=0, kind="stable"), axis=0)
            scores = np.where(rank < config.candidate_boxes, scores, -np.inf)
        worth_a_look = np.flatnonzero((scores >= config.score_threshold).any(axis=1))
        seen = Candidates(boxes[worth_a_look], scores[worth_a_look], np.array([0, len(worth_a_look)]), 0)
        mask = usable(seen, score_threshold=config.score_threshold, nms_iou=config.nms_iou, top_boxes=config.top_boxes)
        row, column = np.nonzero(mask)
        box = worth_a_look[row]
        order = np.argsort(-scores[box, column], kind="stable")
        return box[order], column[order]

    def _choices(
        self, boxes: np.ndarray, scores: np.ndarray, box: np.ndarray, column: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The paths that go on, ascending, and the box each of them takes.

        One after the other, each path takes the best box its betters have left. Done for all at once: every path asks
        for its best box, the first of those that ask for it holds it for now, the others ask for their next; a holder
        may be displaced by a path before it that lost elsewhere. Since every box prefers the earlier path, this ends
        as if they had chosen one by one.
        """
        usable_by = np.zeros(scores.shape, bool)
        usable_by[box, column] = True
        last, new = self._box, boxes
        if self.config.inclusive_pixels:
            last, new = with_last_pixel(last), with_last_pixel(new)
        overlap = box_iou(last, new)  # (paths, n)
        worth = scores.T[self._column] + self.config.overlap_weight * overlap
        worth[(overlap < self.config.min_overlap) | ~usable_by.T[self._column]] = -np.inf

        nobody = len(self._paths)
        choice = np.full(nobody, -1)
        holder = np.full((len(boxes), len(self.labels)), nobody)
        asking = np.flatnonzero((worth > -np.inf).any(axis=1))
        while len(asking):
            choice[asking] = worth[asking].argmax(axis=1)
            choice[asking[worth[asking, choice[asking]] == -np.inf]] = -1
            served = np.flatnonzero(choice >= 0)
            np.minimum.at(holder, (choice[served], self._column[served]), served)
            asking = served[holder[choice[served], self._column[served]] != served]
            worth[asking, choice[asking]] = -np.inf
        path = np.flatnonzero(choice >= 0)
        return path, choice[path]

    def _add(
        self, path: np.ndarray, box: np.ndarray, found: Detections, scores: np.ndarray, any_class: np.ndarray
    ) -> None:
        """Each path goes on with its box."""
        score = scores[box, self._column[path]]
        self._box[path] = found.boxes[box]
        self._found[path] = found.frame
        best = np.concatenate([self._best[path], score[:, None]], axis=1)
        self._best[path] = np.sort(best, axis=1)[:, 1:]
        of_box = zip(box.tolist(), found.boxes[box].tolist(), score.tolist(), any_class[box].tolist())
        for k, values in zip(path.tolist(), of_box):
            self._paths[k].add(found.frame, *values)

    def _begin(
        self, box: np.ndarray, column: np.ndarray, found: Detections, scores: np.ndarray, any_class: np.ndarray
    ) -> None:
        """A path for each pair of a box and a column; they choose after those that live already."""
        score = scores[box, column]
        of_box = zip(box.tolist(), found.boxes[box].tolist(), score.tolist(), any_class[box].tolist())
        for c, values in zip(column.tolist(), of_box):
            path = OnlinePath(self._begun, c)
            path.add(found.frame, *values)
            self._paths.append(path)
            self._begun += 1
        best = np.full((len(box), self.config.order_scores), -np.inf)
        best[:, -1] = score
        self._column = np.concatenate([self._column, column])
        self._box = np.concatenate([self._box, found.boxes[box]])
        self._found = np.concatenate([self._found, np.full(len(box), found.frame)])
        self._best = np.concatenate([self._best, best])

    def _end_frame(self, frame: int) -> None:
        """Paths without a box for too long end, the others are put in the order in which they choose next."""
        known = self._best > -np.inf
        mean = np.where(known, self._best, 0).sum(axis=1) / known.sum(axis=1)
        order = np.argsort(-mean, kind="stable")
        alive = frame - self._found[order] <= self.config.max_gap
        if self.config.max_frames is not None:
            begun = np.array([path.frames[0] for path in self._paths], np.int64)
            alive &= frame - begun[order] + 1 < self.config.max_frames
        self._end(order[~alive], order[alive])

    def _end(self, ended: np.ndarray, kept: np.ndarray | None = None) -> None:
        """Paths end, in this order, and others are kept, in this order; what is too short or too thin is forgotten."""
        kept = np.zeros(0, np.int64) if kept is None else kept
        self._ended += [self._paths[k] for k in ended.tolist() if self._lasts(self._paths[k])]
        self._paths = [self._paths[k] for k in kept.tolist()]
        self._column, self._box, self._found = self._column[kept], self._box[kept], self._found[kept]
        self._best = self._best[kept]

    def _lasts(self, path: OnlinePath) -> bool:
        return len(path) >= self.config.min_boxes and path.coverage >= self.config.min_coverage

    def _linked(self, path: OnlinePath, last: int | None = None) -> LinkedTube:
        config = self.config
        label = self.labels[path.column]
        return linked_tube(path, label, gap_boxes=config.gap_boxes, score_boxes=config.score_boxes, last=last)


def link_online(
    detections: Iterable[Detections],
    labels: Sequence[str],
    config: OnlineConfig,
    *,
    cuts: Sequence[int] = (),
) -> list[LinkedTube]:
    """All tubes of a stream that ended, class by class and best first, as ``link.link_classes`` orders them.

    ``detections`` ascend in frames; a frame that is missing from them had no boxes. No tube crosses ``cuts``, the
    first frames of new shots.
    """
    linker = OnlineLinker(labels, config)
    shots = sorted(cuts, reverse=True)
    for found in detections:
        while shots and shots[-1] <= found.frame:
            linker.cut()
            shots.pop()
        linker.update(found)
    linker.cut()
    linked = linker.finished_with_rows()
    column = {label: number for number, label in enumerate(linker.labels)}
    return sorted(linked, key=lambda one: (column[one.tube.label], -one.tube.score, one.tube.id))
