"""LGD-2D: a 2-D residual network shared by all frames, joined by Local and Global Diffusion.

Qiu et al., CVPR 2019, sections 4.1 and 5.2: "triple frames" sampled from one video go through one 2-D CNN, and the
global path pools over all of them, which is the only place where frames meet. Without it (``block="none"``) the
network is a temporal segment network with average consensus. The blocks and their equations are in
``recognition.lgd_block``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from recognition.config_values import from_plain_values, to_plain_values
from recognition.frame_maps import mean_of_clip, to_clips, to_frames
from recognition.lgd_block import (
    CHANNELS_OF_INPUT,
    Stem,
    check_block_options,
    residual_stages,
)


@dataclass(frozen=True)
class LGD2DConfig:
    """What an LGD-2D network looks like; the defaults are torchvision's ResNet-50 with a global path."""

    depths: tuple[int, ...] = (3, 4, 6, 3)
    """Residual units in res2, res3, res4, res5; each is one LGD block (section 4.2)."""
    widths: tuple[int, ...] = (256, 512, 1024, 2048)
    """Channels of the map that res2, res3, res4, res5 put out."""
    stem_width: int = 64
    """Channels after the 7x7 convolution."""
    expansion: int = 4
    """Width of a unit divided by the width of its 3x3 convolution."""
    block: Literal["lgd", "v1", "v2", "none"] = "lgd"
    """"lgd": Eq. 2 and 3; "v1": Eq. 8; "v2": Eq. 9; "none": the TSN baseline without a global path."""
    rank_divisor: int | None = 16
    """Rank of every W is its output width over this; None: full matrices (section 3.2)."""
    order: Literal["paper", "authors2021"] = "paper"
    """"authors2021" updates g before x in each block, as later code of the authors does; same parameters."""
    stride_on: Literal["3x3", "1x1"] = "3x3"
    """Which convolution takes the spatial stride of a unit; torchvision's ImageNet weights expect "3x3"."""
    max_pool: bool = True
    """3x3 max pooling with stride 2 after the stem, as in ResNet; False keeps small pictures twice as large."""
    bias: bool = False
    """Biases in the factors of W; the paper starts all biases at zero."""
    input: Literal["rgb", "flow"] = "rgb"
    """"rgb": three channels; "flow": x and y displacement, two."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "depths", tuple(self.depths))
        object.__setattr__(self, "widths", tuple(self.widths))
        check_block_options(self)

    @property
    def has_temporal_kernels(self) -> bool:
        return False

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
        return 32 if self.max_pool else 16

    @property
    def temporal_stride(self) -> int:
        """Every frame keeps a map of its own."""
        return 1

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; :meth:`from_dict` is the way back."""
        return to_plain_values(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LGD2DConfig:
        """Raises ValueError for a key that LGD2DConfig does not have, or for a value it cannot mean."""
        return from_plain_values(cls, values)


def lgd2d_resnet50(**changes: Any) -> LGD2DConfig:
    """ResNet-50; keyword arguments change single fields."""
    return LGD2DConfig(**changes)


def lgd2d_resnet101(**changes: Any) -> LGD2DConfig:
    """ResNet-101: 23 units in res4."""
    return LGD2DConfig(**{"depths": (3, 4, 23, 3), **changes})


def lgd2d_small(**changes: Any) -> LGD2DConfig:
    """As narrow and shallow as ``lgd3d_small``, with maps of the same size: for CPUs and small pictures."""
    small = {"depths": (1, 2, 2, 2), "widths": (64, 192, 384, 768), "stem_width": 16, "max_pool": False}
    return LGD2DConfig(**{**small, **changes})


def tsn_resnet50(**changes: Any) -> LGD2DConfig:
    """The baseline of :func:`lgd2d_resnet50`: a temporal segment network, no global path."""
    return lgd2d_resnet50(**{"block": "none", **changes})


def tsn_resnet101(**changes: Any) -> LGD2DConfig:
    """The baseline of :func:`lgd2d_resnet101`."""
    return lgd2d_resnet101(**{"block": "none", **changes})


def tsn_small(**changes: Any) -> LGD2DConfig:
    """The baseline of :func:`lgd2d_small`."""
    return lgd2d_small(**{"block": "none", **changes})


class LGD2D(nn.Module):
    """Frames of videos (B, C, T, H, W), float, normalised, to a local map and a global vector.

    T = 3 in the paper; any T of 1 or more works, also one that differs from training. Returns ``local``
    (B, C', T, H', W') >= 0 with C' = ``config.out_channels`` and H', W' = H/32, W/32 rounded up (H/16, W/16
    without ``max_pool``), and ``global_`` (B, C') >= 0. The order of the frames does not matter. With ``block``
    "v1" or "none" the global vector is the mean of the local map. The start is torch's default: call a function
    of ``recognition.initialise`` next. Raises ValueError for clips of a wrong shape.
    """

    def __init__(self, config: LGD2DConfig) -> None:
        super().__init__()
        self.config = config
        self.stem = Stem(config.in_channels, config.stem_width, temporal=False)
        self.res2, self.res3, self.res4, self.res5 = residual_stages(config)

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        config = self.config
        if clips.ndim != 5 or clips.shape[1] != config.in_channels:
            raise ValueError(f"expected clips (B, {config.in_channels}, T, H, W), got {tuple(clips.shape)}")
        if clips.numel() == 0:
            raise ValueError(f"expected at least one frame and one pixel, got {tuple(clips.shape)}")
        num_clips = clips.shape[0]

        local = self.stem(to_frames(clips), num_clips)  # (B*T, stem, H/2, W/2)
        if config.max_pool:
            local = F.max_pool2d(local, 3, stride=2, padding=1)
        global_ = mean_of_clip(local, num_clips)  # g_1 = P(x_1) over all frames of a video, section 4.1
        for stage in (self.res2, self.res3, self.res4, self.res5):
            for block in stage:
                local, global_ = block(local, global_)
        return to_clips(local, num_clips), global_
