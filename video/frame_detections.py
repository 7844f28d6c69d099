"""Reading the boxes of single frames as the evaluation codes of MOC and MultiSports store them.

``frame_detections.pkl`` is one array with a row ``video, frame, label, score, x1, y1, x2, y2`` a box (or a list of such
rows). The video is an index, from 0, into the dataset's list of test videos, the label one into its classes; frames
count from 1. MOC's boxes are inclusive pixels, those of MultiSports continuous, and nothing in the file says which.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from linking.table_checks import MAX_FRAME
from linking.tables import table_of_loose_boxes
from video.act_pickles import ActError
from video.names import is_video_name


def is_frame_detections(data: object) -> bool:
    """Whether a loaded pickle looks like boxes of single frames; its contents may still be wrong."""
    if isinstance(data, list) and data:
        return isinstance(data[0], np.ndarray) and data[0].shape == (8,)
    return isinstance(data, np.ndarray) and data.ndim == 2 and data.shape[1] == 8


def parse_frame_detections(
    data: Any,
    path: Path,
    *,
    video_names: Sequence[str] | None,
    class_names: Sequence[str] | None = None,
    inclusive: bool,
) -> pd.DataFrame:
    """The boxes as a tube table without tubes; ``path`` is for messages only.

    ``video_names`` is the list that the first column counts in, ``class_names`` that of the third (without it, labels
    are numbers); ``inclusive`` boxes grow by a pixel in x2 and y2. Raises ActError.
    """
    if not is_frame_detections(data):
        raise ActError(f"{path}: no detections of frames: expected rows of 8 numbers")
    if video_names is None:
        raise ActError(f"{path}: its videos are numbers; give the list of test videos, in order, that they count in")
    bad_name = next((name for name in video_names if not is_video_name(name)), None)
    if bad_name is not None:
        raise ActError(f"{path}: {str(bad_name)[:60]!r} in the list of its videos is no name of a video")
    if isinstance(data, list):
        if not all(isinstance(row, np.ndarray) and row.shape == (8,) and row.dtype.kind in "iuf" for row in data):
            raise ActError(f"{path}: not all rows are 8 numbers")
        data = np.stack(data)
    if data.dtype.kind not in "iuf":
        raise ActError(f"{path}: rows must be numbers")
    rows = data.astype(np.float64)
    limits = (
        ("video", 0, 0, len(video_names) - 1),
        ("frame", 1, 1, MAX_FRAME),
        ("label", 2, 0, 9999 if class_names is None else len(class_names) - 1),
    )
    for name, column, lowest, highest in limits:
        values = rows[:, column]
        _refuse(
            ~((values >= lowest) & (values <= highest) & (values == np.floor(values))),
            path,
            rows[:, column],
            f"{name} must be a whole number from {lowest} to {highest}",
        )
    _refuse(~np.isfinite(rows[:, 3]), path, rows[:, 3], "score must be a number")
    with np.errstate(over="ignore"):
        boxes = (rows[:, 4:] + ([0, 0, 1, 1] if inclusive else 0)).astype(np.float32)
        scores = rows[:, 3].astype(np.float32)
    _refuse(~np.isfinite(scores), path, rows[:, 3], "score is too large")
    _refuse(~np.isfinite(boxes).all(axis=1), path, rows[:, 4:], "a box needs four finite numbers")
    _refuse(
        (boxes[:, 2] <= boxes[:, 0]) | (boxes[:, 3] <= boxes[:, 1]),
        path,
        rows[:, 4:],
        "a box without area, x1 y1 x2 y2",
    )
    labels = np.arange(10000).astype(str).astype(object) if class_names is None else np.array(class_names, object)
    return table_of_loose_boxes(
        np.array(video_names, object)[rows[:, 0].astype(np.int64)],
        labels[rows[:, 2].astype(np.int64)],
        rows[:, 1].astype(np.int64) - 1,
        boxes,
        scores,
    )


def _refuse(bad: np.ndarray, path: Path, values: np.ndarray, text: str) -> None:
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        got = " ".join(f"{value:.6g}" for value in np.atleast_1d(values[row]))
        raise ActError(f"{path}: row {row}: {text}, got {got}")
