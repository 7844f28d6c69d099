"""What all sources of boxes share: settings, frames grouped by size, and the way boxes leave for the frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.ops import boxes as box_ops

from linking.records import Detections


class ProposalError(ValueError):
    """Proposals that cannot be had as asked; the text is one line with the cause and what to do."""


@dataclass(frozen=True)
class ProposalConfig:
    """What is asked of a source of boxes."""

    mode: Literal["actor", "objectness"] = "actor"
    """"objectness" stops after the region proposal network, the literal reading of the LGD paper (section 5.6)."""
    classes: Literal["person", "all"] = "person"
    """Of a detector of many classes: people, or everything it finds, where those who act are no people."""
    max_boxes: int = 10
    """Kept in each frame."""
    min_score: float = 0.02
    """Boxes with a lower score are dropped; low, since linking finds actors by weak boxes too."""
    nms_iou: float = 0.5
    """Of two boxes that overlap more the surer one stays ("objectness": 0.7, inside the network)."""
    short_side: int | None = None
    """Frames are scaled to this short side in pixels; None: down to the network's own, never up."""
    batch_size: int = 4
    """Frames that go through the network together; bounds the memory."""
    mirror: bool = True
    """Look at mirrored frames as well where the network's file asks for it ("objectness": never)."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16 is up to 1.8 times as fast on CPUs that have it and moves boxes by fractions of a pixel."""

    def __post_init__(self) -> None:
        if self.max_boxes < 1 or self.batch_size < 1:
            raise ValueError(f"max_boxes and batch_size must be 1 or more, got {self.max_boxes}, {self.batch_size}")
        if self.short_side is not None and self.short_side < 32:
            raise ValueError(f"short_side must be 32 or more, got {self.short_side}")


BoxesOfBatch = Callable[[np.ndarray], Sequence[tuple[Tensor, Tensor]]]
"""(B, H, W, 3) uint8 frames to boxes (n, 4), in pixels of the frames, and scores (n,) of each, best first."""


def propose_by_size(
    frames: Sequence[np.ndarray], indices: Sequence[int], config: ProposalConfig, boxes_of: BoxesOfBatch
) -> list[Detections]:
    """``boxes_of`` over batches of frames of one size, its answers in the order of ``frames``.

    Frames of one size share a batch: padding to a common size would change what is found.
    """
    check_frames(frames, indices)
    by_size: dict[tuple[int, ...], list[int]] = {}
    for place, frame in enumerate(frames):
        by_size.setdefault(frame.shape[:2], []).append(place)
    found: dict[int, Detections] = {}
    for (height, width), places in by_size.items():
        for start in range(0, len(places), config.batch_size):
            batch = places[start : start + config.batch_size]
            answers = boxes_of(np.stack([frames[place] for place in batch]))
            for place, (boxes, scores) in zip(batch, answers):
                found[place] = finished(int(indices[place]), boxes, scores, height, width, config)
    return [found[place] for place in range(len(frames))]


def finished(index: int, boxes: Tensor, scores: Tensor, height: int, width: int, config: ProposalConfig) -> Detections:
    """What a network found in a frame, as it leaves: inside the picture, sure enough, not too many."""
    if config.classes == "all" and config.mode == "actor":
        # The network compared boxes of one class only; here one thing with two names is one box.
        best = box_ops.nms(boxes.float(), scores.float(), config.nms_iou)
        boxes, scores = boxes[best], scores[best]
    inside = clipped(boxes.float().cpu().numpy(), height, width)
    sure = scores.float().cpu().numpy()
    kept = np.flatnonzero(has_area(inside) & (sure >= config.min_score))[: config.max_boxes]
    return Detections(index, inside[kept], sure[kept])


def check_frames(frames: Sequence[np.ndarray], indices: Sequence[int]) -> None:
    """ValueError unless every frame is (H, W, 3) uint8 and has its index."""
    if len(frames) != len(indices):
        raise ValueError(f"every frame needs its index, got {len(frames)} frames and {len(indices)} indices")
    for frame in frames:
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape:
            raise ValueError(f"a frame must be (H, W, 3) uint8, got {frame.shape} {frame.dtype}")


def clipped(boxes: np.ndarray, height: int, width: int) -> np.ndarray:
    """(n, 4) boxes cut at the edges of the picture."""
    return np.clip(boxes, 0, np.array([width, height, width, height], np.float32))


def has_area(boxes: np.ndarray) -> np.ndarray:
    """(n,) which of (n, 4) boxes are not empty."""
    return (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])


def network_size(
    height: int, width: int, config: ProposalConfig, *, short_side: int, long_side: int | None = None
) -> tuple[int, int]:
    """Height and width at which a network sees a frame.

    The short side is the one of ``config``, or that of the frame but at most ``short_side``, the network's own; the
    whole gets smaller still where the long side would exceed ``long_side``. Halves are rounded up, as by detectron2.
    """
    wanted = config.short_side or min(short_side, min(height, width))
    scale = wanted / min(height, width)
    if long_side is not None:
        scale = min(scale, long_side / max(height, width))
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))


def scaled_frames(frames: np.ndarray, size: tuple[int, int], device: torch.device, *, pillow: bool = False) -> Tensor:
    """(B, H, W, 3) uint8 to (B, 3, h, w) in 0..255, bilinear with antialiasing.

    ``pillow``: by Pillow, in whole grey levels, which is how detectron2's networks were trained; a resampling that
    differs by one level moves their boxes.
    """
    if pillow and size != frames.shape[1:3]:
        pictures = [Image.fromarray(frame).resize(size[::-1], Image.Resampling.BILINEAR) for frame in frames]
        frames = np.stack([np.asarray(picture) for picture in pictures])
    scaled = torch.from_numpy(frames).to(device).permute(0, 3, 1, 2)
    if size != scaled.shape[-2:]:
        scaled = nn.functional.interpolate(scaled.float(), size, mode="bilinear", antialias=True, align_corners=False)
    return scaled
