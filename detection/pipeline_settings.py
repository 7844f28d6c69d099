"""Settings of the pass over a video, and the account of its time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class PipelineConfig:
    """Speed and thoroughness of the pass over the frames."""

    proposal_stride: int = 2
    """Proposals on every k-th frame (and on the last); 1 is every frame."""
    clip_stride: int = 8
    """Frames scored by one clip, centred on them; 1 is a clip for every frame. At most the frames of a clip."""
    max_boxes: int = 10
    """Most likely boxes of a frame that are scored."""
    min_actor_score: float = 0.05
    """Boxes the proposal network believes in less are not scored."""
    actor_weight: float = 1.0
    """A class score is multiplied by the actor score to this power: 1 is the probability of an actor doing the action,
    0 leaves the scorer alone (the paper)."""
    batch_frames: int = 4
    """Frames per call of the proposal network."""
    batch_clips: int = 2
    """Clips per call of LGD-3D; two are faster than one by more than half on a CPU."""
    fusion: Literal["product", "mean"] = "product"
    """How the class scores of several scorers become one; the paper fuses its two streams and does not say how. product
    (docs/decisions/027): the classes share the mean of what the streams give to all of them, by the product of what
    they give to each; mean: class by class. Scorers with independent classes (``multi_label``) are averaged."""
    stream_weights: tuple[float, ...] = ()
    """Weight of each scorer; equal without it."""
    mirror: bool = True
    """Score mirrored clips as well where the scorer's file asks for it."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto: bf16 autocast where the processor has instructions for it."""

    def __post_init__(self) -> None:
        for name in ("proposal_stride", "clip_stride", "max_boxes", "batch_frames", "batch_clips"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, got {getattr(self, name)}")
        if self.fusion not in ("product", "mean"):
            raise ValueError(f"fusion must be 'product' or 'mean', got {self.fusion!r}")
        if self.stream_weights and not (min(self.stream_weights) >= 0 and sum(self.stream_weights) > 0):
            raise ValueError(f"stream_weights must be 0 or more and not all 0, got {self.stream_weights}")


@dataclass
class Timings:
    """Seconds spent in each stage, and how much work it was."""

    decode: float = 0.0
    propose: float = 0.0
    flow: float = 0.0
    score: float = 0.0
    link: float = 0.0
    draw: float = 0.0
    frames: int = 0
    key_frames: int = 0
    clips: int = 0
    boxes: int = 0
