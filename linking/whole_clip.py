"""Tubes of clips that were cut to the action before, as those of J-HMDB were: in place of trimming."""

from __future__ import annotations

import dataclasses
from bisect import bisect_right
from collections.abc import Sequence

import numpy as np

from linking.geometry import interpolate_boxes
from linking.records import NO_SCORE, Tube
from linking.trim import box_scores

LEAST_SHARE = 0.5
"""Of the frames of its shot that a tube must have before it is carried on."""


def over_whole_clip(tube: Tube, num_frames: int, cuts: Sequence[int] = ()) -> Tube:
    """``tube`` where the shot it lies in shows the action from its first frame to its last.

    ``cuts`` are the first frames of new shots in a video of ``num_frames``. The tube's score becomes the mean over all
    frames of its shot, of which those without the tube count 0. A tube that has ``LEAST_SHARE`` of them or more is
    carried on to both ends of the shot by its first and its last box; these boxes have no score of their own.
    """
    shot = bisect_right(cuts, tube.first_frame)
    start = max(cuts[shot - 1], 0) if shot else 0
    end = max(cuts[shot] if shot < len(cuts) else num_frames, tube.end_frame)
    share = (tube.end_frame - tube.first_frame) / (end - start)
    score = tube.score * share
    if share < LEAST_SHARE:
        return dataclasses.replace(tube, score=score)
    frames = np.arange(start, end)
    return dataclasses.replace(
        tube,
        frames=frames,
        boxes=interpolate_boxes(tube.frames, tube.boxes, frames),
        scores=np.pad(box_scores(tube), (tube.first_frame - start, end - tube.end_frame), constant_values=NO_SCORE),
        score=score,
    )
