"""The picture that a classifier sees of a frame: sizes, crops, mirror images, colours.

LGD (CVPR 2019) section 5.2: training crops of 224 from 240 x 320 (LGD-2D) or of 112 from 120 x 160 (LGD-3D), mirrored
at random; at test the whole frame with its shorter side at 240 or 120.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from recognition.clip_sampling import ClipInput
from video.clips import size_with_short_side
from video.flow import flip


@dataclass(frozen=True)
class ClipAugment:
    """How a training clip differs from the frames it is cut from; the defaults are the paper's."""

    flip: float = 0.5
    """Probability of mirroring left and right."""
    min_crop: float = 1.0
    """The side of the crop is drawn from this share of ``ClipInput.crop`` up to all of it, and enlarged to it."""
    colour: float = 0.0
    """Largest relative change of brightness, contrast and saturation; RGB only."""

    def __post_init__(self) -> None:
        if not 0 <= self.flip <= 1 or not 0 < self.min_crop <= 1 or not 0 <= self.colour < 1:
            raise ValueError(f"flip, min_crop and colour are shares, got {self.flip}, {self.min_crop}, {self.colour}")


def crop_size(height: int, width: int, clip: ClipInput) -> tuple[int, int]:
    """(height, width) of the frames that training crops are cut from."""
    if clip.aspect == "4:3":
        return clip.short_side, round(clip.short_side * 4 / 3)
    return size_with_short_side(height, width, clip.short_side)


def whole_size(height: int, width: int, clip: ClipInput) -> tuple[int, int]:
    """(height, width) of the frames at test, before a crop if there is one."""
    return size_with_short_side(height, width, clip.test_short_side)


def random_view(frames: np.ndarray, clip: ClipInput, augment: ClipAugment, rng: np.random.Generator) -> Tensor:
    """(T, h, w, C) uint8 frames of crop_size -> (T, crop, crop, C) uint8: one random crop for all frames."""
    height, width = frames.shape[1:3]
    side = round(clip.crop * rng.uniform(augment.min_crop, 1)) if augment.min_crop < 1 else clip.crop
    top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
    view = frames[:, top : top + side, left : left + side]
    is_mirrored = rng.random() < augment.flip
    if is_mirrored and clip.stream == "flow":
        view = flip(view)  # what moved to the right moves to the left
    pixels = torch.from_numpy(np.ascontiguousarray(view))
    if is_mirrored and clip.stream == "rgb":
        pixels = pixels.flip(2)  # ten times as fast as numpy's
    if side != clip.crop:
        pixels = _resized(pixels, clip.crop)
    return change_colour(pixels, augment.colour, rng) if clip.stream == "rgb" else pixels


def whole_view(frames: np.ndarray, clip: ClipInput) -> Tensor:
    """(T, h, w, C) uint8 frames of whole_size -> the middle crop of ``clip.test_crop``, or all where that is 0."""
    if clip.test_crop:
        top, left = (frames.shape[1] - clip.test_crop) // 2, (frames.shape[2] - clip.test_crop) // 2
        frames = frames[:, top : top + clip.test_crop, left : left + clip.test_crop]
    return torch.from_numpy(np.ascontiguousarray(frames))


def change_colour(clip: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    """(T, H, W, 3) uint8 with the same random brightness, contrast and saturation for every frame."""
    if strength == 0:
        return clip
    brightness, contrast, saturation = rng.uniform(1 - strength, 1 + strength, 3).tolist()
    values = clip.float() * brightness
    mean = values.mean()
    values = (values - mean) * contrast + mean
    grey = values.mean(dim=-1, keepdim=True)
    values = (values - grey) * saturation + grey
    return values.round_().clamp_(0, 255).to(torch.uint8)


def _resized(view: Tensor, side: int) -> Tensor:
    planes = view.permute(0, 3, 1, 2)  # stays uint8: interpolation rounds by itself
    resized = F.interpolate(planes, (side, side), mode="bilinear", align_corners=False, antialias=True)
    return resized.permute(0, 2, 3, 1).contiguous()
