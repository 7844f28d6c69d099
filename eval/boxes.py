"""Boxes of many videos as flat arrays: the form in which frame-mAP judges them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from eval.errors import EvaluationError
from linking.records import VideoAnnotation


@dataclass(frozen=True, eq=False)
class FrameBoxes:
    """Boxes in any order, each of a class, in a frame of a video."""

    video: np.ndarray
    """(n,) int32 index into the video names."""
    frame: np.ndarray
    """(n,) int32 0-based frame."""
    label: np.ndarray
    """(n,) int32 index into the class names."""
    boxes: np.ndarray
    """(n, 4) float32 x1 y1 x2 y2."""
    scores: np.ndarray
    """(n,) float32, not NaN; ignored in ground truth."""

    def __len__(self) -> int:
        return len(self.frame)

    def select(self, keep: np.ndarray) -> FrameBoxes:
        """The boxes at an index or mask."""
        return FrameBoxes(*(array[keep] for array in (self.video, self.frame, self.label, self.boxes, self.scores)))


def boxes_of_annotations(
    annotations: Sequence[VideoAnnotation], video_index: Mapping[str, int], class_names: Sequence[str]
) -> FrameBoxes:
    """Every box of every tube whose video and class are known.

    A box without a score of its own (NaN: interpolated into a gap) takes the score of its tube.
    """
    classes = {name: i for i, name in enumerate(class_names)}
    tubes = [
        (video_index[a.video], classes[tube.label], tube)
        for a in annotations
        if a.video in video_index
        for tube in a.tubes
        if tube.label in classes
    ]
    if not tubes:
        none = np.zeros(0, np.int32)
        return FrameBoxes(none, none, none, np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
    lengths = [len(tube.frames) for _, _, tube in tubes]
    scores = np.concatenate([tube.scores for _, _, tube in tubes])
    gaps = np.isnan(scores)
    if gaps.any():
        scores[gaps] = np.repeat(np.array([tube.score for _, _, tube in tubes], np.float32), lengths)[gaps]
    return FrameBoxes(
        np.repeat(np.array([video for video, _, _ in tubes], np.int32), lengths),
        np.concatenate([tube.frames for _, _, tube in tubes]).astype(np.int32),
        np.repeat(np.array([label for _, label, _ in tubes], np.int32), lengths),
        np.concatenate([tube.boxes for _, _, tube in tubes]),
        scores,
    )


def boxes_of_table(
    table: pd.DataFrame, video_index: Mapping[str, int], class_names: Sequence[str], *, scored: bool
) -> FrameBoxes:
    """Every box of a tube table whose video and class are known; the table may hold boxes that are in no tube.

    ``scored``: the score of a box is ``score`` or, where that is empty, ``tube_score``; EvaluationError where a
    box has neither.
    """
    video = _codes(table["video"], video_index)
    label = _codes(table["label"], {name: i for i, name in enumerate(class_names)})
    keep = (video >= 0) & (label >= 0)
    scores = np.zeros(len(table), np.float32)
    if scored:
        scores = table["score"].to_numpy(np.float64, na_value=np.nan)
        scores = np.where(np.isnan(scores), table["tube_score"].to_numpy(np.float64, na_value=np.nan), scores)
        bare = np.flatnonzero(np.isnan(scores) & keep)
        if len(bare):
            row = table.iloc[int(bare[0])]
            raise EvaluationError(
                f"{row['video']}: a detected box in frame {row['frame']} has neither score nor tube_score"
            )
    return FrameBoxes(
        video,
        table["frame"].to_numpy(np.int32),
        label,
        table[["x1", "y1", "x2", "y2"]].to_numpy(np.float32),
        scores.astype(np.float32),
    ).select(keep)


def _codes(column: pd.Series, index: Mapping[str, int]) -> np.ndarray:
    """(n,) int32 index of each text, -1 for unknown and empty ones."""
    codes, names = pd.factorize(column)
    lookup = np.array([*(index.get(name, -1) for name in names), -1], np.int32)
    return lookup[codes]  # pandas codes an empty cell as -1, which is the last entry
