"""What a network that looks at motion sees of a frame: flow pictures around it, one behind the other.

Optical flow shows who moves, whatever he looks like, so a detector that sees nothing else cannot learn faces, clothes
and rooms by heart (Peng and Schmid 2016, "Multi-region two-stream R-CNN for action detection", section 3: a motion
stream of the proposal network).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from recognition.preprocessing import Preprocessing
from video.flow import NO_MOTION

_SPREAD = 32
"""Grey values by which displacements are divided: the standard deviation of flow of J-HMDB is 10 to 40."""


def frames_around(frame: int, offsets: Sequence[int], first: int, last: int) -> list[int]:
    """The frames ``offsets`` away from ``frame``; where they lie outside ``first`` to ``last``, the nearest inside."""
    return [min(max(frame + offset, first), last) for offset in offsets]


def motion_stack(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """(H, W, 2 n) uint8 from n flow pictures (H, W, 2) uint8, each without its mean displacement.

    The mean is most of what the camera does (Simonyan and Zisserman 2014, section 3: mean flow subtraction).
    """
    stacked = np.concatenate(pictures, axis=-1).astype(np.float32)
    stacked -= stacked.mean(axis=(0, 1)) - NO_MOTION
    return stacked.round().clip(0, 255).astype(np.uint8)


def flip_stack(stacks: Tensor) -> Tensor:
    """(..., 2 n, H, W) uint8 stacks of the mirrored video; see ``video.flow.flip``."""
    mirrored = stacks.flip(-1)
    mirrored[..., 0::2, :, :] = 255 - mirrored[..., 0::2, :, :]
    return mirrored


def stack_preprocessing(pictures: int) -> Preprocessing:
    """From the grey values of ``pictures`` stacked flow pictures to the numbers of a network; no motion is 0."""
    return Preprocessing((NO_MOTION / 255,) * (2 * pictures), (_SPREAD / 255,) * (2 * pictures))
