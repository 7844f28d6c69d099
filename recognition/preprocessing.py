"""From the pixels of clips to the numbers a network was trained on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Preprocessing:
    """Normalisation of RGB pixels, stored in the model file; the defaults are ImageNet's, as torchvision's."""

    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    """Per channel, of pixels scaled to 0..1."""
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    """Per channel, of pixels scaled to 0..1."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", tuple(float(v) for v in self.mean))
        object.__setattr__(self, "std", tuple(float(v) for v in self.std))
        if len(self.mean) != len(self.std) or not self.mean:
            raise ValueError(f"mean and std need one number a channel, got {self.mean} and {self.std}")
        if not np.isfinite(self.mean).all() or not np.isfinite(self.std).all() or min(self.std) <= 0:
            raise ValueError(f"mean must be finite and std positive, got {self.mean} and {self.std}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; :meth:`from_dict` is the way back."""
        return {key: list(value) for key, value in dataclasses.asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocessing:
        """Raises ValueError for an unknown key or a value it cannot mean."""
        known = [f.name for f in dataclasses.fields(cls)]
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise ValueError(f"unknown option {unknown[0]!r}; Preprocessing has {', '.join(known)}")
        return cls(**values)


def normalise_clips(
    clips: np.ndarray | Tensor, preprocessing: Preprocessing, *, device: torch.device | str | None = None
) -> Tensor:
    """uint8 pixels (B, T, H, W, C) or (T, H, W, C) -> float32 (B, C, T, H, W): (pixel/255 - mean) / std.

    The pixels travel to ``device`` as bytes, a quarter of the floats. The result is a view of (B, T, H, W, C)
    memory, the order in which the networks compute.
    """
    pixels = torch.as_tensor(clips)
    if pixels.dtype != torch.uint8:
        raise ValueError(f"clips must be uint8 pixels, got {pixels.dtype}")
    if pixels.ndim == 4:
        pixels = pixels[None]
    if pixels.ndim != 5 or pixels.shape[-1] != len(preprocessing.mean):
        raise ValueError(
            f"clips must be (B, T, H, W, {len(preprocessing.mean)}) or one dimension less, got {tuple(clips.shape)}"
        )
    values = pixels.to(device).to(torch.float32, memory_format=torch.contiguous_format)
    mean = torch.tensor(preprocessing.mean, device=values.device) * 255
    std = torch.tensor(preprocessing.std, device=values.device) * 255
    return values.sub_(mean).div_(std).permute(0, 4, 1, 2, 3)
