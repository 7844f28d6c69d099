"""LGD-3D: pseudo-3D residual networks with Local and Global Diffusion (CVPR 2019, section 4.2 and Table 1).

The blocks and their equations are in ``recognition.lgd_block``, the memory layout in ``recognition.frame_maps``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from recognition.config_values import from_plain_values, to_plain_values
from recognition.frame_maps import max_pool_time, mean_of_clip, to_clips, to_frames
from recognition.lgd_block import (
    CHANNELS_OF_INPUT,
    Stem,
    check_block_options,
    check_counts,
    residual_stages,
)

SPATIAL_STRIDE = 16
"""Input pixels for one cell of the local map: the stem, res3, res4 and res5 halve the size."""


@dataclass(frozen=True)
class LGD3DConfig:
    """What an LGD-3D network looks like; the defaults are ResNet-50 of the paper's Table 1."""

    depths: tuple[int, ...] = (3, 4, 6, 3)
    """Residual units in res2, res3, res4, res5; each is one LGD block (section 4.2)."""
    widths: tuple[int, ...] = (256, 512, 1024, 2048)
    """Channels of the map that res2, res3, res4, res5 put out."""
    stem_width: int = 64
    """Channels after the 1x7x7 and 3x1x1 convolutions."""
    expansion: int = 4
    """Width of a unit divided by the width of its 1x3x3 and 3x1x1 convolutions."""
    block: Literal["lgd", "v1", "v2", "none"] = "lgd"
    """"lgd": Eq. 2 and 3; "v1": Eq. 8; "v2": Eq. 9; "none": the P3D-A baseline without a global path."""
    rank_divisor: int | None = 16
    """Rank of every W is its output width over this; None: full matrices (section 3.2)."""
    order: Literal["paper", "authors2021"] = "paper"
    """"authors2021" updates g before x in each block, as later code of the authors does; same parameters."""
    stride_on: Literal["3x3", "1x1"] = "3x3"
    """Which convolution takes the spatial stride of a unit; torchvision's ImageNet weights expect "3x3"."""
    pool1_stride: int = 2
    """Temporal stride of pool1; 4 for the 128-frame network of section 5.4."""
    bias: bool = False
    """Biases in the factors of W; the paper starts all biases at zero."""
    input: Literal["rgb", "flow"] = "rgb"
    """"rgb": three channels; "flow": x and y displacement, two."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "depths", tuple(self.depths))
        object.__setattr__(self, "widths", tuple(self.widths))
        check_block_options(self)
        check_counts("pool1_stride", self.pool1_stride)

    @property
    def has_temporal_kernels(self) -> bool:
        return True

    @property
    def in_channels(self) -> int:
        return CHANNELS_OF_INPUT[self.input]

    @property
    def out_channels(self) -> int:
        """Channels of the local map and length of the global vector."""
        return self.widths[-1]

    @property
    def spatial_stride(self) -> int:
        """Input pixels for one cell of the local map."""
        return SPATIAL_STRIDE

    @property
    def cell_offset(self) -> float:
        """Pixels from the edge of the picture to the middle of cell 0 (docs/decisions/003, half a pixel left out)."""
        return 0.0

    @property
    def temporal_stride(self) -> int:
        """Input frames for one step of the local map."""
        return 2 * self.pool1_stride

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; :meth:`from_dict` is the way back."""
        return to_plain_values(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LGD3DConfig:
        """Raises ValueError for a key that LGD3DConfig does not have, or for a value it cannot mean."""
        return from_plain_values(cls, values)


def lgd3d_resnet50(**changes: Any) -> LGD3DConfig:
    """ResNet-50 of Table 1; keyword arguments change single fields."""
    return LGD3DConfig(**changes)


def lgd3d_resnet101(**changes: Any) -> LGD3DConfig:
    """ResNet-101 of Table 1: 23 units in res4."""
    return LGD3DConfig(**{"depths": (3, 4, 23, 3), **changes})


def lgd3d_small(**changes: Any) -> LGD3DConfig:
    """The same network narrow and shallow, for CPU and for weights that fit into a repository."""
    small = {"depths": (1, 2, 2, 2), "widths": (64, 192, 384, 768), "stem_width": 16}
    return LGD3DConfig(**{**small, **changes})


def p3d_resnet50(**changes: Any) -> LGD3DConfig:
    """The baseline of :func:`lgd3d_resnet50`: P3D-A, no global path."""
    return lgd3d_resnet50(**{"block": "none", **changes})


def p3d_resnet101(**changes: Any) -> LGD3DConfig:
    """The baseline of :func:`lgd3d_resnet101`."""
    return lgd3d_resnet101(**{"block": "none", **changes})


def p3d_small(**changes: Any) -> LGD3DConfig:
    """The baseline of :func:`lgd3d_small`."""
    return lgd3d_small(**{"block": "none", **changes})


class LGD3D(nn.Module):
    """Clips (B, C, T, H, W), float, normalised, to a local map and a global vector.

    Returns ``local`` (B, C', T', H', W') >= 0 with C' = ``config.out_channels``, H' = H/16 and W' = W/16
    rounded up, T' = T/4 rounded down, and ``global_`` (B, C') >= 0. With ``block`` "v1" or "none" the global
    vector is the mean of the local map. The start is torch's default: call a function of
    ``recognition.initialise`` next. Raises ValueError for clips of a wrong shape or too few frames.
    """

    def __init__(self, config: LGD3DConfig) -> None:
        super().__init__()
        self.config = config
        self.stem = Stem(config.in_channels, config.stem_width)
        self.res2, self.res3, self.res4, self.res5 = residual_stages(config)

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        config = self.config
        if clips.ndim != 5 or clips.shape[1] != config.in_channels:
            raise ValueError(f"expected clips (B, {config.in_channels}, T, H, W), got {tuple(clips.shape)}")
        if clips.numel() == 0:
            raise ValueError(f"expected at least one clip and one pixel, got {tuple(clips.shape)}")
        num_clips, _, num_frames = clips.shape[:3]
        if num_frames < config.pool1_stride + 2:
            raise ValueError(f"clips need at least {config.pool1_stride + 2} frames, got {num_frames}")

        local = self.stem(to_frames(clips), num_clips)  # (B*T, stem, H/2, W/2)
        local = max_pool_time(local, num_clips, stride=config.pool1_stride)
        global_ = mean_of_clip(local, num_clips)  # g_1 = P(x_1), section 4.1
        for block in self.res2:
            local, global_ = block(local, global_)  # (B*T/2, C, H/2, W/2), (B, C)
        local = max_pool_time(local, num_clips, stride=2)
        for stage in (self.res3, self.res4, self.res5):
            for block in stage:
                local, global_ = block(local, global_)
        return to_clips(local, num_clips), global_
