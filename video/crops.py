"""The pictures of one tube, cut out of its video."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pandas as pd

from linking.table_checks import BOX_COLUMNS
from video.frames import open_video
from video.source import VideoError


def tube_crops(
    path: str | os.PathLike[str], rows: pd.DataFrame, *, margin: float = 0.0
) -> Iterator[tuple[int, np.ndarray]]:
    """(frame, RGB uint8 (h, w, 3)) for each box of a tube, in order of frames.

    Args:
        path: the video, anything ``open_video`` takes; it is read once, up to the last frame of the tube.
        rows: rows of a tube table, at most one a frame.
        margin: share of the box's width and height that is added on every side.

    Crops are the box rounded outwards and cut at the edges of the picture, so they differ in size. A box that lies
    wholly outside gives none. VideoError where the video ends before the tube or two rows share a frame.
    """
    if rows["frame"].duplicated().any():
        frame = rows["frame"][rows["frame"].duplicated()].iloc[0]
        raise VideoError(f"{os.fspath(path)}: two boxes in frame {frame}; give the rows of one tube")
    boxes = rows[list(BOX_COLUMNS)].to_numpy(np.float64)
    around = margin * np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    boxes = boxes + np.where([True, True, False, False], -around, around)
    wanted = dict(zip(rows["frame"].tolist(), boxes))
    if not wanted:
        return
    last = max(wanted)
    with open_video(path) as source:
        number = -1
        for number, picture in enumerate(source):
            if number in wanted:
                x1, y1, x2, y2 = wanted[number]
                crop = picture[max(int(np.floor(y1)), 0) : max(int(np.ceil(y2)), 0)]
                crop = crop[:, max(int(np.floor(x1)), 0) : max(int(np.ceil(x2)), 0)]
                if crop.size:
                    yield number, crop
            if number == last:
                return
    raise VideoError(f"{os.fspath(path)}: it has {number + 1} frames, the tube goes on to frame {last}")
