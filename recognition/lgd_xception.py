"""LGD-P3D-Xception: local and global diffusion in a pseudo-3D Xception.

Qiu et al., "Trimmed Action Recognition, Dense-Captioning Events in Videos, and Spatio-temporal Action Localization with
Focus on ActivityNet Challenge 2019" (arXiv 1906.07016) names this network and does not describe it. It is built as the
LGD paper (CVPR 2019) builds its residual networks, and so that from ImageNet weights it starts as Xception on every
frame (docs/decisions/014-xception-readings.md):

- every separable convolution has a depthwise 3x1x1 between its 3x3 and its pointwise, the stem's two a full one;
- time is halved behind the stem and before module 3 (Table 1 of the LGD paper);
- each of the 12 residual modules is an LGD block. Xception has no ReLU behind its sums, so there is none here:

    x_l = F(x_{l-1}) + US(W^{xg} g_{l-1}),    g_l = ReLU(W^{gx} P(ReLU(x_l)) + W^{gg} g_{l-1}),    g_1 = P(x_1).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from recognition.config_values import from_plain_values, to_plain_values
from recognition.frame_maps import max_pool_time, mean_of_clip, to_clips, to_frames, up_sample
from recognition.global_path import GlobalBlock
from recognition.heads import LocalHead, TwoPathHead
from recognition.initialise import xavier_caffe_
from recognition.lgd_block import CHANNELS_OF_INPUT, check_choice, check_counts
from recognition.xception_body import (
    LEAST_SIDE,
    SMALL_WIDTHS,
    XCEPTION_WIDTHS,
    XceptionBody,
    check_xception_options,
    load_imagenet_body_,
)

_POOL2_BEFORE = 2
"""Index of module 3 among the units."""


@dataclass(frozen=True)
class LGDXceptionConfig:
    """What an LGD-P3D-Xception looks like; the defaults are the full network."""

    num_classes: int = 400
    """Outputs of each head."""
    block: Literal["lgd", "none"] = "lgd"
    """"none": the baseline P3D-Xception, without a global path."""
    rank_divisor: int | None = 16
    """Rank of every W is its output width over this; None: full matrices (section 3.2 of the LGD paper)."""
    widths: tuple[int, ...] = XCEPTION_WIDTHS
    """Channels, see :data:`recognition.xception_body.XCEPTION_WIDTHS`."""
    middle_modules: int = 8
    """Residual modules of the middle flow."""
    pool1_stride: int = 2
    """Temporal stride of the pool behind the stem; 4 for clips of 128 frames (section 5.4)."""
    dropout: float = 0.5
    """Before each linear layer."""
    input: Literal["rgb", "flow"] = "rgb"
    """"rgb": three channels; "flow": x and y displacement, two."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(self.widths))
        check_xception_options(self)
        check_choice("block", self.block, ("lgd", "none"))
        check_choice("input", self.input, tuple(CHANNELS_OF_INPUT))
        check_counts("pool1_stride", self.pool1_stride)
        if self.rank_divisor is not None:
            check_counts("rank_divisor", self.rank_divisor)

    @property
    def in_channels(self) -> int:
        return CHANNELS_OF_INPUT[self.input]

    @property
    def least_frames(self) -> int:
        """Of a clip; fewer leave nothing for the second pool over time."""
        return self.pool1_stride + 2

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; :meth:`from_dict` is the way back."""
        return to_plain_values(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LGDXceptionConfig:
        """Raises ValueError for a key that LGDXceptionConfig does not have, or for a value it cannot mean."""
        return from_plain_values(cls, values)


def lgd_xception(**changes: Any) -> LGDXceptionConfig:
    """The full network; keyword arguments change single fields."""
    return LGDXceptionConfig(**changes)


def lgd_xception_small(**changes: Any) -> LGDXceptionConfig:
    """Narrow and shallow, for CPU."""
    return LGDXceptionConfig(**{"widths": SMALL_WIDTHS, "middle_modules": 2, **changes})


class LGDXception(nn.Module):
    """Clips (B, C, T, H, W), float, normalised, to logits: (B, num_classes) of the local path and of the global one.

    Without a global path there is the first only. The start is Caffe's Xavier with W^{xg} zero;
    :func:`start_from_imagenet_` loads weights. Raises ValueError for clips of a wrong shape or too few frames.
    """

    head: TwoPathHead | LocalHead

    def __init__(self, config: LGDXceptionConfig, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        self.body = XceptionBody(config.in_channels, config.widths, config.middle_modules, temporal=True)
        widths = self.body.unit_widths
        pairs = pairwise(widths) if config.block == "lgd" else ()
        self.blocks = nn.ModuleList(GlobalBlock(before, width, config.rank_divisor) for before, width in pairs)
        local_width = config.widths[-1]
        if config.block == "lgd":
            self.head = TwoPathHead(local_width, config.num_classes, config.dropout, global_channels=widths[-1])
        else:
            self.head = LocalHead(local_width, config.num_classes, config.dropout)
        xavier_caffe_(self, generator=generator)
        _zero_diffusion_(self)

    def forward(self, clips: Tensor) -> tuple[Tensor, ...]:
        local, global_ = self.paths(clips)
        if isinstance(self.head, TwoPathHead):
            return self.head(local, global_)
        return (self.head(local),)

    def features(self, clips: Tensor) -> Tensor:
        """P of the local map behind conv4, (B, ``config.widths[-1]``)."""
        return self.paths(clips)[0].mean(dim=(2, 3, 4))

    def class_maps(self, clips: Tensor) -> Tensor:
        """(B, num_classes, T/4, H/32, W/32): what each position of the local map adds to each class, without the bias.

        The mean over positions is the local path's logit without its bias.
        """
        return torch.einsum("bcthw,kc->bkthw", self.paths(clips)[0], self.head.local.weight)

    def paths(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """The local map behind conv4 (B, widths[-1], T/4, H/32, W/32), and g behind the last module (B, widths[5])."""
        self._check(clips)
        num_clips = clips.shape[0]
        local = self.body.stem(to_frames(clips), num_clips)
        local = max_pool_time(local, num_clips, stride=self.config.pool1_stride)
        global_ = mean_of_clip(local, num_clips)  # g_1 = P(x_1)
        for number, unit in enumerate(self.body.units):
            if number == _POOL2_BEFORE:
                local = max_pool_time(local, num_clips, stride=2)
            local = unit(local, num_clips)
            if self.config.block == "lgd":
                block = cast(GlobalBlock, self.blocks[number])
                local = local + up_sample(block.global_to_local(global_), local)
                pooled = mean_of_clip(torch.relu(local), num_clips)
                global_ = torch.relu(block.local_to_global(pooled) + block.global_to_global(global_))
        if self.config.block == "none":
            global_ = mean_of_clip(torch.relu(local), num_clips)
        return to_clips(self.body.exit(local, num_clips), num_clips), global_

    def _check(self, clips: Tensor) -> None:
        config = self.config
        if clips.ndim != 5 or clips.shape[1] != config.in_channels or clips.numel() == 0:
            raise ValueError(f"expected clips (B, {config.in_channels}, T, H, W), got {tuple(clips.shape)}")
        if clips.shape[2] < config.least_frames or min(clips.shape[3:]) < LEAST_SIDE:
            raise ValueError(
                f"clips need at least {config.least_frames} frames and {LEAST_SIDE} pixels a side, "
                f"got {tuple(clips.shape)}"
            )


def start_from_imagenet_(net: LGDXception, weights: str | os.PathLike[str] | None = None) -> None:
    """Spatial kernels and norms of the image network, time the identity, W^{xg} zero; the rest stays as it is.

    ``weights``: see :func:`recognition.xception_body.load_imagenet_body_`.
    """
    load_imagenet_body_(net.body, weights)
    _zero_diffusion_(net)


def _zero_diffusion_(net: LGDXception) -> None:
    for block in net.blocks:
        cast(GlobalBlock, block).zero_diffusion_()
