"""What an online linker remembers of a path, and how that becomes a tube with its gaps filled."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from linking.geometry import interpolate_boxes
from linking.records import NO_SCORE, Detections, Tube


@dataclass(frozen=True, eq=False)
class LinkedTube:
    """A tube, and which detection each of its boxes is."""

    tube: Tube
    frames: np.ndarray
    """(n,) int64, the frame whose detection gave the box: a later one than the box's own where a box was repeated
    into a gap, -1 where the box was interpolated."""
    rows: np.ndarray
    """(n,) int64, number of the box among the detections of that frame; -1 where interpolated."""
    any_class: np.ndarray
    """(n,) float32, what the box scores for all classes together; NaN where it was interpolated."""

    def class_scores(self, detections: Sequence[Detections]) -> np.ndarray:
        """(n, classes) float32 scores of its boxes for all classes, NaN where interpolated.

        ``detections[k]`` must be frame ``k``.
        """
        found = [detections[frame].class_scores if frame >= 0 else None for frame in self.frames.tolist()]
        classes = next(scores.shape[1] for scores in found if scores is not None)
        unknown = np.full(classes, np.nan, np.float32)
        return np.stack([unknown if s is None else s[row] for s, row in zip(found, self.rows.tolist())])


@dataclass(eq=False)
class OnlinePath:
    """What a path found, in arrays that grow; 36 bytes a box."""

    number: int
    """Unique among the paths of a linker, in the order in which they began."""
    column: int
    """Column of its class."""
    frames: array[int] = field(default_factory=lambda: array("q"))
    rows: array[int] = field(default_factory=lambda: array("i"))
    boxes: array[float] = field(default_factory=lambda: array("f"))
    scores: array[float] = field(default_factory=lambda: array("f"))
    any_class: array[float] = field(default_factory=lambda: array("f"))

    def add(self, frame: int, row: int, box: list[float], score: float, any_class: float) -> None:
        """``any_class``: what the box scores for all classes together."""
        self.frames.append(frame)
        self.rows.append(row)
        self.boxes.extend(box)
        self.scores.append(score)
        self.any_class.append(any_class)

    def __len__(self) -> int:
        """Number of its own boxes."""
        return len(self.frames)

    @property
    def coverage(self) -> float:
        """Share of its frames in which it has a box of its own."""
        return len(self.frames) / (self.frames[-1] - self.frames[0] + 1)


def linked_tube(
    path: OnlinePath,
    label: str,
    *,
    gap_boxes: Literal["interpolate", "repeat"],
    score_boxes: int | None,
    last: int | None = None,
) -> LinkedTube:
    """The tube of ``path``; of its boxes only those in its ``last`` frames, while its score is that of all."""
    # of a path that has lived for long only the boxes in these frames and the one before them are looked at
    end = path.frames[-1] + 1
    first = path.frames[0] if last is None else max(path.frames[0], end - last)
    some = len(path) if last is None else min(len(path), last + 1)
    frames, found = np.arange(first, end), np.array(path.frames[-some:])
    boxes = np.array(path.boxes[-4 * some :], np.float32).reshape(-1, 4)
    rows, own = np.array(path.rows[-some:], np.int64), np.array(path.scores, np.float32)
    after = np.searchsorted(found, frames)  # the box of each frame, or the next one
    scores, source, row = own[-some:][after], found[after], rows[after]
    any_class = np.array(path.any_class[-some:], np.float32)[after]
    if gap_boxes == "repeat":
        filled = boxes[after]
        own = np.repeat(own, np.diff(path.frames, prepend=path.frames[0] - 1))
    else:
        gap = source != frames
        filled = interpolate_boxes(found, boxes, frames) if gap.any() else boxes[after]
        scores[gap], any_class[gap], source[gap], row[gap] = NO_SCORE, NO_SCORE, -1, -1
    best = own if score_boxes is None else np.sort(own)[-score_boxes:]
    tube = Tube(label, frames, filled, scores, float(best.mean(dtype=np.float64)), path.number)
    return LinkedTube(tube, source, row, any_class)
