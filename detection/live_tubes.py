"""Who does what now, and the tubes that have ended: online linking and trimming of live pictures, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from detection.live_scores import ScoredFrame
from linking.actors import group_by_actor
from linking.build import SelectConfig, suppress_tubes
from linking.geometry import interpolate_boxes, tube_iou
from linking.online import OnlineConfig, OnlineLinker
from linking.online_paths import LinkedTube
from linking.records import NO_SCORE, Tube
from linking.trim import TrimConfig, trim_tubes

_RECENT = 48
"""Frames of a tube that are looked at to tell its actor and to draw it."""


@dataclass(frozen=True, eq=False)
class LiveActor:
    """One who does something now."""

    id: int
    """Of the tube, here and in the table."""
    label: str
    score: float
    since_index: int
    """Decoded picture with which it began."""
    since_seconds: float
    classes: tuple[tuple[str, float], ...]
    """(label, score) best first, up to three: what else it may be."""
    recent: Tube
    """Its last boxes; frames count the pictures that were looked at."""


@dataclass(frozen=True, eq=False)
class EndedTube:
    """A tube as it is written down."""

    tube: Tube
    """Frames are decoded pictures, without holes: boxes in pictures nobody looked at are interpolated."""
    seconds: np.ndarray
    """(n,) float64, the time of each of its frames."""
    was_shown: bool
    """Whether somebody saw it while it lived: it was the best class of its actor."""


class LiveTubes:
    """Links live pictures; tells the actors of the moment and hands out tubes that ended.

    A tube is trimmed as soon as there is something to trim, so that an action begins and ends while its actor stays.
    Of duplicates (one class, much overlap) the tube that ended first is handed out.
    """

    _MOST_PATHS = 4096

    def __init__(
        self,
        class_names: Sequence[str],
        online: OnlineConfig,
        trim: TrimConfig | None,
        select: SelectConfig,
        *,
        show_score: float,
        scale: float = 1.0,
    ) -> None:
        """``online.max_frames`` must be set: it bounds the memory. ``scale`` makes pixels of the source of the pixels
        of its pictures, for the tubes that are handed out."""
        assert online.max_frames is not None
        self._linker = OnlineLinker(class_names, online)
        self._online, self._trim, self._select, self._show_score = online, trim, select, show_score
        self._scale = np.float32(scale)
        self._ids: dict[int, list[int]] = {}  # of the runs of each living path, in order of time
        self._num_ids = 0
        self._shown: set[int] = set()
        self._places: deque[tuple[int, float]] = deque(maxlen=online.max_frames + online.max_gap + 256)
        self._count = 0  # pictures so far; the last of _places is number _count - 1
        self._handed_out: list[Tube] = []  # lately, against duplicates

    def update(self, scored: ScoredFrame) -> None:
        """The next picture."""
        if scored.is_new_shot:
            self._linker.cut()
        self._linker.update(scored.detections)
        self._places.append((scored.frame.index, scored.frame.seconds))
        self._count = scored.detections.frame + 1

    def now(self) -> list[LiveActor]:
        """The actors of the last picture and what they do, best first."""
        runs: list[tuple[Tube, int]] = []  # the run a path is in, and where that began
        for path, parts in self._runs(self._linker.live_with_rows()):
            if parts and parts[-1].end_frame >= self._count - self._online.max_gap:
                run = parts[-1]
                if run.score >= max(self._show_score, self._select.min_score):
                    runs.append((replace(_end_of(run), id=self._id(path, len(parts) - 1)), run.first_frame))
        begun = {tube.id: first for tube, first in runs}
        actors = []
        for actor in group_by_actor(suppress_tubes([tube for tube, _ in runs], self._select.nms_iou)):
            tube = actor.tube
            self._shown.add(tube.id)
            index, seconds = self._place(begun[tube.id])
            actors.append(LiveActor(tube.id, tube.label, tube.score, index, seconds, actor.classes, tube))
        return actors

    def ended(self) -> list[EndedTube]:
        """The tubes that ended since this was last asked."""
        found = []
        for path, parts in self._runs(self._linker.finished_with_rows()):
            for number in range(len(parts)):
                self._id(path, number)
            ids = self._ids.pop(path, [])
            for number, run in zip(ids, parts):
                was_shown = number in self._shown
                if run.score >= self._select.min_score and not self._is_duplicate(run):
                    self._handed_out.append(run)
                    found.append(self._in_decoded_pictures(replace(run, id=number), was_shown))
            self._shown.difference_update(ids)
        # a path may end without a trace after it was seen, by too thin a cover of boxes
        for path in list(self._ids)[: -self._MOST_PATHS]:
            self._shown.difference_update(self._ids.pop(path))
        oldest = self._count - int(self._online.max_frames or 0)
        self._handed_out = [tube for tube in self._handed_out if tube.end_frame > oldest]
        return found

    def finish(self) -> list[EndedTube]:
        """The source has ended, and so have all tubes; then ``ended``."""
        self._linker.cut()
        return self.ended()

    def _runs(self, linked: Sequence[LinkedTube]) -> list[tuple[int, list[Tube]]]:
        """The parts of each tube in which its action happens, by the number of its path."""
        tubes = [one.tube for one in linked]
        if self._trim is None:
            return [(tube.id, [tube]) for tube in tubes]
        runs = trim_tubes(tubes, self._trim, [one.any_class for one in linked])
        return [(tube.id, of_tube) for tube, of_tube in zip(tubes, runs)]

    def _id(self, path: int, run: int) -> int:
        """Small numbers in the order in which tubes were first seen or handed out."""
        ids = self._ids.setdefault(path, [])
        while len(ids) <= run:
            ids.append(self._num_ids)
            self._num_ids += 1
        return ids[run]

    def _is_duplicate(self, tube: Tube) -> bool:
        limit = self._select.nms_iou
        return limit < 1 and any(
            other.label == tube.label and tube_iou(tube, other) > limit for other in self._handed_out
        )

    def _place(self, number: int) -> tuple[int, float]:
        """Index and second of a picture by its number among those that were looked at."""
        return self._places[number - self._count]

    def _in_decoded_pictures(self, tube: Tube, was_shown: bool) -> EndedTube:
        places = [self._place(number) for number in tube.frames.tolist()]
        index = np.array([index for index, _ in places])
        frames = np.arange(index[0], index[-1] + 1)
        scores = np.full(len(frames), NO_SCORE, np.float32)
        scores[index - index[0]] = np.asarray(tube.scores)
        boxes = interpolate_boxes(index, tube.boxes, frames) if len(frames) > len(index) else tube.boxes
        seconds = np.interp(frames, index, [seconds for _, seconds in places])
        return EndedTube(replace(tube, frames=frames, boxes=boxes * self._scale, scores=scores), seconds, was_shown)


def _end_of(tube: Tube) -> Tube:
    """Its last frames."""
    scores = np.asarray(tube.scores)
    return replace(tube, frames=tube.frames[-_RECENT:], boxes=tube.boxes[-_RECENT:], scores=scores[-_RECENT:])
