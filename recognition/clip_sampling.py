"""Which frames of a video a classifier sees, in training and at test: pure functions of the number of frames.

LGD (CVPR 2019) section 5.2: three frames from three equal segments for LGD-2D, 16 (or 128) consecutive frames for
LGD-3D, at random in training; 10 triples or 15 clips at equal distances at test. StNet (AAAI 2019): N consecutive
frames from each of T equal segments, the segments' middles at test; triples are its case N = 1, T = 3.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from recognition.preprocessing import Preprocessing
from video.flow import FlowSettings


@dataclass(frozen=True)
class ClipInput:
    """What a classifier is fed, stored in its model file; the defaults are LGD-3D's of the paper."""

    stream: Literal["rgb", "flow"] = "rgb"
    """"rgb": three colours; "flow": x and y displacement as grey values, two channels."""
    sampling: Literal["clip", "segments"] = "clip"
    """"clip": consecutive frames; "segments": some consecutive frames from each of several equal parts of the video."""
    frames: int = 16
    """Consecutive frames: of the clip, or of each segment."""
    frame_step: int = 1
    """Every n-th frame counts as consecutive."""
    segments: int = 3
    """Equal parts in training; of no account with "clip"."""
    test_segments: int = 3
    test_clips: int = 15
    """Clips (or sets of segments) at equal distances whose scores are averaged at test."""
    short_side: int = 120
    """Shorter side, in pixels, of the frames that training crops are cut from."""
    aspect: Literal["4:3", "keep"] = "4:3"
    """Shape of these frames: 120 x 160 whatever the video's is, as in the paper, or that of the video."""
    crop: int = 112
    """Side of the square training crop in pixels."""
    test_short_side: int = 120
    """At test the aspect is kept."""
    test_crop: int = 0
    """Side of the middle crop at test; 0 is the whole frame, fully convolutional."""
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    flow: FlowSettings = field(default_factory=FlowSettings)
    """How flow is computed; of no account with "rgb"."""

    def __post_init__(self) -> None:
        choices = {"stream": ("rgb", "flow"), "sampling": ("clip", "segments"), "aspect": ("4:3", "keep")}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}")
        positive = ("frames", "frame_step", "segments", "test_segments", "test_clips", "short_side", "crop")
        for name in (*positive, "test_short_side"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, got {getattr(self, name)}")
        if self.crop > self.short_side or not 0 <= self.test_crop <= self.test_short_side:
            raise ValueError(f"crops of {self.crop} and {self.test_crop} pixels do not fit into the short sides")
        if len(self.preprocessing.mean) != self.channels:
            raise ValueError(
                f"{self.stream} has {self.channels} channels, preprocessing {len(self.preprocessing.mean)}"
            )

    @property
    def channels(self) -> int:
        return 3 if self.stream == "rgb" else 2

    @property
    def flow_settings(self) -> FlowSettings | None:
        """Those of the flow that the clips are made of; None for RGB."""
        return self.flow if self.stream == "flow" else None

    @property
    def clip_frames(self) -> int:
        """Frames of one training clip."""
        return self.frames * (self.segments if self.sampling == "segments" else 1)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a model file; :meth:`from_dict` is the way back."""
        return {**dataclasses.asdict(self), "preprocessing": self.preprocessing.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ClipInput:
        """Raises ValueError for an unknown key or a value it cannot mean."""
        known = [f.name for f in dataclasses.fields(cls)]
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise ValueError(f"unknown option {unknown[0]!r}; ClipInput has {', '.join(known)}")
        inner = {
            "preprocessing": Preprocessing.from_dict(values["preprocessing"]),
            "flow": FlowSettings.from_dict(values["flow"]) if "flow" in values else FlowSettings(),
        }
        return cls(**{**values, **inner})


FLOW_PREPROCESSING = Preprocessing(mean=(128 / 255, 128 / 255), std=(0.229, 0.229))
"""No motion is grey 128; the deviation is that of the authors' later flow networks."""


def random_frames(num_frames: int, clip: ClipInput, rng: np.random.Generator) -> np.ndarray:
    """(n,) int64 frame indices of one random training clip; a video that is too short starts again from its beginning.

    "clip": every start is as likely as any other. "segments": so is, in each segment, every start at which the frames
    stay in it.
    """
    span = _span(clip)
    if clip.sampling == "clip":
        start = int(rng.integers(max(1, num_frames - span + 1)))
        return _consecutive(start, num_frames, clip)
    bounds = _bounds(num_frames, clip.segments)
    starts = [low + int(rng.integers(max(1, high - low - span + 1))) for low, high in bounds]
    return np.concatenate([_consecutive(start, num_frames, clip) for start in starts])


def uniform_frames(num_frames: int, clip: ClipInput) -> np.ndarray:
    """(clips, n) int64 frame indices of the test clips; clips that would be equal are given once.

    "clip": from the first frame to the last at equal distances. "segments": set k of K takes the frames at the
    (k + 1/2)/K-th of the room that each segment leaves, which is its middle for K = 1.
    """
    span, count = _span(clip), clip.test_clips
    if clip.sampling == "clip":
        room = max(0, num_frames - span)
        # a single clip is the middle one
        places = np.linspace(0, room, count) if count > 1 else np.array([room / 2])
        rows = [_consecutive(start, num_frames, clip) for start in places.round().astype(int).tolist()]
    else:
        bounds = _bounds(num_frames, clip.test_segments)
        rows = []
        for place in (np.arange(count) + 0.5) / count:
            # rounded down, as StNet's code does: of two middle starts the first
            starts = [low + max(0, math.ceil((high - low - span + 1) * place) - 1) for low, high in bounds]
            rows.append(np.concatenate([_consecutive(start, num_frames, clip) for start in starts]))
    return np.unique(np.stack(rows), axis=0)


def _span(clip: ClipInput) -> int:
    """Frames from the first to the last of a run, both counted."""
    return (clip.frames - 1) * clip.frame_step + 1


def _consecutive(start: int, num_frames: int, clip: ClipInput) -> np.ndarray:
    return (start + np.arange(clip.frames) * clip.frame_step) % num_frames


def _bounds(num_frames: int, segments: int) -> list[tuple[int, int]]:
    """First and end frame of equal parts; with fewer frames than parts, empty ones take the frame they begin at."""
    edges = [k * num_frames // segments for k in range(segments + 1)]
    return [(min(low, num_frames - 1), high) for low, high in pairwise(edges)]
