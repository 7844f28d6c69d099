"""Reading person boxes of key frames: the proposal pickles that go with AVA and MultiSports.

A dictionary by ``"video,timestamp"`` (``"0f39OWEqJ24,0902"``; for MultiSports the number of the frame, from 1) of
arrays with a row ``x1, y1, x2, y2, score`` a box, corners as fractions of the picture; some have no score. The number
stands for the frame as it is, as in video/ava.py, and boxes stay fractions unless a size is given.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from linking.tables import table_of_loose_boxes
from video.names import is_video_name
from video.pickles import PickleError


class ProposalError(PickleError):
    """A pickle of proposals that does not hold what it should."""


def is_ava_proposals(data: object) -> bool:
    """Whether a loaded pickle looks like boxes by ``video,timestamp``; its contents may still be wrong."""
    if not isinstance(data, dict) or not data:
        return False
    key, rows = next(iter(data.items()))
    return _split(key) is not None and isinstance(rows, np.ndarray)


def parse_ava_proposals(data: Any, path: Path, *, size: tuple[int, int] | None = None) -> pd.DataFrame:
    """The boxes as a tube table without tubes and labels; ``size``, width and height, makes them pixels.

    A box without a score has score 1. ``path`` is for messages only. Raises ProposalError.
    """
    if not is_ava_proposals(data):
        raise ProposalError(f"{path}: no proposals: expected a dictionary by 'video,timestamp' of boxes")
    scale = np.tile(np.array(size or (1, 1), np.float64), 2)
    videos: list[str] = []
    frames, boxes, scores = [], [np.zeros((0, 4))], [np.zeros(0)]
    for key, rows in data.items():
        place, found = f"{path}: {str(key)[:80]!r}", _split(key)
        if found is None or not is_video_name(found[0]):
            raise ProposalError(f"{place}: expected a video and a whole number between a comma")
        if (
            not isinstance(rows, np.ndarray)
            or rows.dtype.kind not in "iuf"
            or rows.ndim != 2
            or rows.shape[1] not in (4, 5)
        ):
            raise ProposalError(f"{place}: expected rows of x1, y1, x2, y2 and score")
        corners = rows[:, :4].astype(np.float64)
        own = rows[:, 4].astype(np.float64) if rows.shape[1] == 5 else np.ones(len(rows))
        if not (np.isfinite(own) & (np.abs(own) < 1e6)).all():
            raise ProposalError(f"{place}: a score is no number")
        if not ((corners >= -1) & (corners <= 2)).all():
            raise ProposalError(f"{place}: a box is not in fractions of the picture, 0 to 1")
        with_area = (corners[:, 2:].astype(np.float32) > corners[:, :2].astype(np.float32)).all(axis=1)
        if not with_area.all():
            raise ProposalError(f"{place}: box {int(np.flatnonzero(~with_area)[0])} has no area")
        videos += [found[0]] * len(rows)
        frames += [found[1]] * len(rows)
        boxes.append(corners * scale)
        scores.append(own)
    table = table_of_loose_boxes(
        videos, [""] * len(videos), np.array(frames, np.int64), np.concatenate(boxes), np.concatenate(scores)
    )
    if size is not None:
        table.attrs["videos"] = {name: {"width": size[0], "height": size[1]} for name in dict.fromkeys(videos)}
    return table


def _split(key: object) -> tuple[str, int] | None:
    """Video and number of ``video,0902``."""
    if not isinstance(key, str):
        return None
    video, _, number = key.rpartition(",")
    if not video or not (number.isascii() and number.isdecimal() and len(number) < 10):
        return None
    return video, int(number)
