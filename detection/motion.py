"""What a network that looks at motion sees of a frame: flow pictures around it, one behind the other.

Optical flow shows who moves, whatever he looks like, so a detector that sees nothing else cannot learn the colours of
clothes and rooms by heart (Peng and Schmid 2016, "Multi-region two-stream R-CNN for action detection", section 3: a
motion stream of the proposal network).
"""

from __future__ import annotations

from collections import deque
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


class MotionBuffer:
    """Flow pictures of a video that goes by, as long as stacks need them. A stack sees nothing of another shot."""

    def __init__(self, offsets: Sequence[int]) -> None:
        self._offsets = offsets
        self._pictures: deque[np.ndarray] = deque()
        self._first = 0  # frame of _pictures[0]
        self._cuts = [0]
        self._is_whole = False

    def add(self, pictures: Sequence[np.ndarray]) -> None:
        """The next (H, W, 2) uint8 flow pictures."""
        self._pictures.extend(pictures)

    def cut(self, frame: int) -> None:
        """``frame`` is the first of a new shot."""
        self._cuts.append(frame)

    def finish(self) -> None:
        """There are no more pictures."""
        self._is_whole = True

    def is_ready(self, frame: int) -> bool:
        """Whether everything that belongs to the stack of ``frame`` is here."""
        return self._is_whole or frame + max(self._offsets) < self._first + len(self._pictures)

    def stack(self, frame: int) -> np.ndarray:
        """(H, W, 2 n) uint8 of a frame that is ready; frames before it are let go."""
        first = max(cut for cut in self._cuts if cut <= frame)
        last = self._first + len(self._pictures) - 1
        if later := [cut for cut in self._cuts if cut > frame]:
            last = min(last, max(first, min(later) - 2))  # the flow of a shot's last frame leads into the next shot
        wanted = frames_around(frame, self._offsets, first, last)
        found = motion_stack([self._pictures[wish - self._first] for wish in wanted])
        while self._first < frame + min(0, *self._offsets) and len(self._pictures) > 1:
            self._pictures.popleft()
            self._first += 1
        self._cuts = [cut for cut in self._cuts if cut >= first]
        return found
