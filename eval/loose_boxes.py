"""Boxes that belong to no tube, and the ground truth beside them, as tubes of one frame: for comparing as tubes are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from linking.records import NO_SCORE, Tube, VideoAnnotation


def as_one_frame_tubes(
    ground_truth: Sequence[VideoAnnotation], table: pd.DataFrame, frames_per_video: int = 8
) -> tuple[list[VideoAnnotation], list[VideoAnnotation]]:
    """A sample of both sides: in each video some annotated frames, evenly spaced, and one frame around each of them.

    Every box of the ground truth in these frames becomes a tube, and every box of the table in these frames and those
    beside them. A video of the table that has no box there keeps its first one, so that its name is not lost.
    """
    chosen = {annotation.video: _some_frames(annotation, frames_per_video) for annotation in ground_truth}
    truth = [_truth_at(annotation, chosen[annotation.video]) for annotation in ground_truth]
    found = []
    for video, rows in table.groupby("video", sort=True):
        frames = rows["frame"].to_numpy()
        around = chosen.get(str(video), np.zeros(0, np.int64))
        near = np.isin(frames, np.concatenate([around - 1, around, around + 1]))
        near[0] |= not near.any()
        found.append(VideoAnnotation(str(video), _tubes(rows[near])))
    return truth, found


def _some_frames(annotation: VideoAnnotation, number: int) -> np.ndarray:
    frames = np.unique(np.concatenate([np.zeros(0, np.int64), *(tube.frames for tube in annotation.tubes)]))
    return frames[np.unique(np.linspace(0, len(frames) - 1, min(number, len(frames))).astype(int))]


def _truth_at(annotation: VideoAnnotation, frames: np.ndarray) -> VideoAnnotation:
    tubes: list[Tube] = []
    for tube in annotation.tubes:
        for row in np.flatnonzero(np.isin(tube.frames, frames)).tolist():
            at = slice(row, row + 1)
            tubes.append(Tube(tube.label, tube.frames[at], tube.boxes[at], None, NO_SCORE, len(tubes)))
    return VideoAnnotation(annotation.video, tubes, annotation.num_frames, annotation.width, annotation.height)


def _tubes(rows: pd.DataFrame) -> list[Tube]:
    boxes = rows[["x1", "y1", "x2", "y2"]].to_numpy(np.float32)
    own, of_tube = (rows[name].to_numpy(np.float64, na_value=np.nan) for name in ("score", "tube_score"))
    scores = np.where(np.isnan(own), of_tube, own)
    return [
        Tube(label, np.array([frame]), boxes[k : k + 1], scores[k : k + 1], float(scores[k]), k)
        for k, (label, frame) in enumerate(zip(rows["label"].tolist(), rows["frame"].tolist()))
    ]
