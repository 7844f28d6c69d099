"""Live pictures without a camera, boxes without a network, and a small scorer with random weights."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch

from detection.live_scores import ScoredFrame
from detection.scorer import ActionScorer, LoadedScorer, ScorerConfig
from linking.records import Detections
from recognition.lgd3d import lgd3d_small
from recognition.model_files import ModelFile
from recognition.preprocessing import Preprocessing
from video.live_frames import LiveFrame

WIDTH, HEIGHT = 64, 48
CLASSES = ("jump", "run", "wave")
RNG = np.random.default_rng(3)
TEXTURE = RNG.integers(0, 255, (HEIGHT, WIDTH, 3)).astype(np.uint8)


def live_frame(index: int, *, seconds: float | None = None, stride: int = 1, connection: int = 0) -> LiveFrame:
    """A picture of a 25 Hz source that moves; its first value is the index modulo 256."""
    image = np.roll(TEXTURE, index, axis=1)
    image[0, 0, 0] = index % 256
    seconds = index / 25 if seconds is None else seconds
    return LiveFrame(index, seconds, time.monotonic(), image, stride, connection)


def scored_frame(
    number: int, boxes: Sequence[Sequence[float]], scores: Sequence[Sequence[float]], *, index: int | None = None,
    is_new_shot: bool = False, seconds: float | None = None,
) -> ScoredFrame:  # fmt: skip
    """Boxes (n, 4) with scores (n, 3) in the ``number``-th picture that was looked at."""
    frame = live_frame(number if index is None else index, seconds=seconds)
    actor = np.ones(len(boxes), np.float32)
    found = Detections(number, np.float32(boxes).reshape(-1, 4), actor, np.float32(scores).reshape(-1, 3))
    return ScoredFrame(frame, found, is_new_shot)


class OneBox:
    """Proposes one box in every picture; takes ``seconds`` for it."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.asked: list[int] = []

    def propose(self, frames: Sequence[np.ndarray], indices: Sequence[int]) -> list[Detections]:
        self.asked += [int(frame[0, 0, 0]) for frame in frames]
        time.sleep(self.seconds * len(frames))
        return [Detections(i, np.float32([[10, 8, 40, 44]]), np.float32([0.9])) for i in indices]


def small_scorer(*, clip_frames: int = 8) -> LoadedScorer:
    torch.manual_seed(0)
    config = ScorerConfig(
        num_classes=len(CLASSES),
        backbone=lgd3d_small(depths=(1, 1, 1, 1), widths=(16, 16, 16, 32), stem_width=8),
        clip_frames=clip_frames,
        short_side=HEIGHT,
    )
    network = ActionScorer(config).eval()
    file = ModelFile(None, "", {}, CLASSES, {}, {}, {}, "", "")  # type: ignore[arg-type]
    return LoadedScorer(network, CLASSES, Preprocessing(), file)
