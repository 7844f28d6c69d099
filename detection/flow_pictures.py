"""Optical flow of a video that goes by, for all networks that want it."""

from __future__ import annotations

import numpy as np

from detection.clip_scores import shrink
from video.flow import NO_MOTION, FlowSettings, flow_between


class FlowPictures:
    """Frames in, flow pictures out: some frames later, since flow needs the next one. As ``flow_of_frames``."""

    def __init__(self, settings: FlowSettings, size: tuple[int, int], device: str) -> None:
        """``size`` is height and width of the video."""
        self.settings, self.device = settings, device
        self.frame_size = settings.size_of(*size)
        self.waiting: list[np.ndarray] = []
        self.last: np.ndarray | None = None
        # small pictures are solved faster in company, and a few frames of delay are short of what a clip waits for
        self.pairs_at_once = 8 if device.startswith("cuda") else 4

    def add(self, frame: np.ndarray) -> list[np.ndarray]:
        """Take the next frame, (H, W, 3) uint8 as decoded or of ``frame_size`` already."""
        self.waiting.append(shrink(frame, self.frame_size))
        return self._flow() if len(self.waiting) > self.pairs_at_once else []

    def finish(self) -> list[np.ndarray]:
        """The rest; as everywhere, the last frame repeats the flow before it."""
        if not self.waiting:
            return []
        found = self._flow() if len(self.waiting) > 1 else []
        return [*found, self.last if self.last is not None else np.full((*self.frame_size, 2), NO_MOTION, np.uint8)]

    def _flow(self) -> list[np.ndarray]:
        found = list(
            flow_between(np.stack(self.waiting[:-1]), np.stack(self.waiting[1:]), self.settings, device=self.device)
        )
        self.waiting = self.waiting[-1:]
        self.last = found[-1]
        return found
