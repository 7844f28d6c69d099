"""The parts that LGD-2D and LGD-3D are made of: stem, residual unit, and the block of local and global diffusion.

Qiu, Yao, Ngo, Tian, Mei: "Learning Spatio-Temporal Representation with Local and Global Diffusion", CVPR
2019, section 3. A network carries a *local* feature map x and a *global* vector g from block to block

    x_l = ReLU(F(x_{l-1}) + US(W^{xg} g_{l-1}))          Eq. 2
    g_l = ReLU(W^{gx} P(x_l) + W^{gg} g_{l-1})           Eq. 3

with F the residual unit before its last ReLU, P the mean over time, height and width, and US the copy of a
vector to every position. Each W is a product of two matrices of rank C/16 without a non-linearity between
them. Maps are frames in the layout of ``recognition.frame_maps``.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from recognition.frame_maps import frames_of_rows, mean_of_clip, rows_of_time, up_sample

CHANNELS_OF_INPUT = {"rgb": 3, "flow": 2}


class BlockOptions(Protocol):
    """What LGD2DConfig and LGD3DConfig have in common; each field is documented there."""

    @property
    def depths(self) -> tuple[int, ...]: ...
    @property
    def widths(self) -> tuple[int, ...]: ...
    @property
    def stem_width(self) -> int: ...
    @property
    def expansion(self) -> int: ...
    @property
    def block(self) -> str: ...
    @property
    def rank_divisor(self) -> int | None: ...
    @property
    def order(self) -> str: ...
    @property
    def stride_on(self) -> str: ...
    @property
    def bias(self) -> bool: ...
    @property
    def input(self) -> str: ...
    @property
    def has_temporal_kernels(self) -> bool: ...


class LGDBlock(nn.Module):
    """One step of the recursion, in the form that ``config.block`` names."""

    def __init__(self, config: BlockOptions, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.block = config.block
        self.global_first = config.order == "authors2021"
        self.unit = BottleneckUnit(
            in_channels, channels, config.expansion, stride, config.stride_on, config.has_temporal_kernels
        )
        # In the paper's order x is updated with the g of the previous width; in the other g widens first.
        seen = channels if self.global_first else in_channels
        pooled = in_channels if self.global_first else channels
        if config.block != "none":
            self.global_to_local = _matrix(config, seen, channels)  # W^{xg}
        if config.block in ("lgd", "v2"):
            self.local_to_global = _matrix(config, pooled, channels)  # W^{gx}
            self.global_to_global = _matrix(config, in_channels, channels)  # W^{gg}

    def forward(self, local: Tensor, global_: Tensor) -> tuple[Tensor, Tensor]:
        """(B*T, C_in, H, W), (B, C_in) -> (B*T, C, H/s, W/s), (B, C)."""
        if self.global_first:
            global_ = self.update_global(local, global_)
            return self.update_local(local, global_), global_
        local = self.update_local(local, global_)
        return local, self.update_global(local, global_)

    def update_local(self, local: Tensor, global_: Tensor) -> Tensor:
        residual = self.unit(local, global_.shape[0])  # F(x), shortcut included
        if self.block == "v2":
            gate = torch.sigmoid(self.global_to_local(global_))
            return torch.relu_(residual * up_sample(gate, residual))  # Eq. 9
        if self.block != "none":
            residual += up_sample(self.global_to_local(global_), residual)  # Eq. 2
        return torch.relu_(residual)

    def update_global(self, local: Tensor, global_: Tensor) -> Tensor:
        pooled = mean_of_clip(local, global_.shape[0])  # P(x)
        if self.block in ("lgd", "v2"):
            return torch.relu(self.local_to_global(pooled) + self.global_to_global(global_))  # Eq. 3
        return pooled  # Eq. 8


def residual_stages(config: BlockOptions) -> tuple[nn.ModuleList, nn.ModuleList, nn.ModuleList, nn.ModuleList]:
    """res2, res3, res4 and res5: lists of blocks, the first of each of the last three with spatial stride 2."""
    inputs = (config.stem_width, *config.widths[:-1])
    res2, res3, res4, res5 = (
        _stage(config, inputs[i], config.widths[i], config.depths[i], stride=1 if i == 0 else 2) for i in range(4)
    )
    return res2, res3, res4, res5


class BottleneckUnit(nn.Module):
    """F of Eq. 1: bottleneck residual unit with its shortcut, before its last ReLU.

    1x1 - BN - ReLU - 3x3 - BN - ReLU - 1x1 - BN, plus the input. With ``temporal`` it is of type P3D-A: a 3x1x1
    convolution follows the 3x3. There is no batch norm between these two, so that an identity 3x1x1 leaves an
    ImageNet network as it was, in training mode as well.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        expansion: int = 4,
        stride: int = 1,
        stride_on: str = "3x3",
        temporal: bool = True,
    ) -> None:
        super().__init__()
        planes = channels // expansion
        first, second = (stride, 1) if stride_on == "1x1" else (1, stride)
        self.conv1 = PointwiseConv(in_channels, planes, stride=first)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride=second, padding=1, bias=False)
        self.temporal = TemporalConv(planes) if temporal else None
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = PointwiseConv(planes, channels)
        self.bn3 = nn.BatchNorm2d(channels)
        self.downsample = None
        if stride != 1 or in_channels != channels:
            self.downsample = nn.Sequential(
                PointwiseConv(in_channels, channels, stride=stride), nn.BatchNorm2d(channels)
            )

    def forward(self, frames: Tensor, num_clips: int) -> Tensor:
        shortcut = frames if self.downsample is None else self.downsample(frames)
        out = torch.relu_(self.bn1(self.conv1(frames)))
        out = self.conv2(out)
        if self.temporal is not None:
            out = self.temporal(out, num_clips)
        out = torch.relu_(self.bn2(out))
        out = self.bn3(self.conv3(out))
        out += shortcut
        return out


class Stem(nn.Module):
    """conv1 of Table 1: 7x7 with spatial stride 2, with ``temporal`` a 3x1x1 after it, then BN and ReLU."""

    def __init__(self, in_channels: int, channels: int, temporal: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 7, stride=2, padding=3, bias=False)
        self.temporal = TemporalConv(channels) if temporal else None
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, frames: Tensor, num_clips: int) -> Tensor:
        out = self.conv(frames)
        if self.temporal is not None:
            out = self.temporal(out, num_clips)
        return torch.relu_(self.bn(out))


class TemporalConv(nn.Conv2d):
    """3x1x1 convolution along time, zero padded: on frames (B*T, C, H, W) of B clips.

    ``groups=channels`` is depthwise.
    """

    def __init__(self, channels: int, groups: int = 1) -> None:
        super().__init__(channels, channels, (3, 1), padding=(1, 0), groups=groups, bias=False)

    def forward(self, frames: Tensor, num_clips: int) -> Tensor:  # type: ignore[override]
        height = frames.shape[2]
        out = super().forward(rows_of_time(frames, num_clips))  # (B, C, T, H*W)
        return frames_of_rows(out, height)


class PointwiseConv(nn.Conv2d):
    """1x1x1 convolution on frames (B*T, C, H, W), with an optional spatial stride."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__(in_channels, out_channels, 1, stride=stride, bias=False)

    def forward(self, frames: Tensor) -> Tensor:
        if self.stride != (1, 1) or frames.device.type != "cpu":
            return super().forward(frames)
        # Every row of pixels as an image of its own, in the same memory. Below 16 images PyTorch on one thread
        # hands a 1x1 convolution to a matrix product that runs at half the speed.
        rows = frames.permute(0, 2, 3, 1).flatten(0, 1)[:, None]  # (B*T*H, 1, W, C)
        out = super().forward(rows.permute(0, 3, 1, 2))  # (B*T*H, C, 1, W)
        return out.permute(0, 2, 3, 1).reshape(frames.shape[0], *frames.shape[2:], -1).permute(0, 3, 1, 2)


class LowRankLinear(nn.Module):
    """W = W1 W2 of section 3.2: ``inner`` is W2, ``outer`` is W1, and no non-linearity stands between."""

    def __init__(self, in_features: int, out_features: int, rank: int, bias: bool) -> None:
        super().__init__()
        self.inner = nn.Linear(in_features, rank, bias=bias)
        self.outer = nn.Linear(rank, out_features, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.outer(self.inner(x))


def check_block_options(config: BlockOptions) -> None:
    """ValueError for a combination of options from which no network can be built."""
    check_choice("block", config.block, ("lgd", "v1", "v2", "none"))
    check_choice("order", config.order, ("paper", "authors2021"))
    check_choice("stride_on", config.stride_on, ("3x3", "1x1"))
    check_choice("input", config.input, tuple(CHANNELS_OF_INPUT))
    if len(config.depths) != 4 or len(config.widths) != 4:
        raise ValueError(f"depths and widths need 4 entries (res2..res5), got {config.depths}, {config.widths}")
    for name in ("depths", "widths", "stem_width", "expansion"):
        check_counts(name, getattr(config, name))
    if any(width % config.expansion for width in config.widths):
        raise ValueError(f"widths {config.widths} must be multiples of expansion {config.expansion}")
    if config.rank_divisor is not None and not 1 <= config.rank_divisor <= min(config.widths):
        raise ValueError(f"rank_divisor must be None or 1..{min(config.widths)}, got {config.rank_divisor}")
    if config.order == "authors2021" and config.block not in ("lgd", "v2"):
        raise ValueError(f"order 'authors2021' is defined for blocks 'lgd' and 'v2', not {config.block!r}")


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")


def check_counts(name: str, values: object) -> None:
    """ValueError unless ``values`` is a whole number of 1 or more, or a tuple of such."""
    numbers = values if isinstance(values, tuple) else (values,)
    if any(not isinstance(number, int) or number < 1 for number in numbers):
        raise ValueError(f"{name} must be whole numbers of 1 or more, got {values}")


def _stage(config: BlockOptions, in_channels: int, channels: int, depth: int, stride: int) -> nn.ModuleList:
    first = LGDBlock(config, in_channels, channels, stride)
    return nn.ModuleList([first, *(LGDBlock(config, channels, channels, 1) for _ in range(depth - 1))])


def _matrix(config: BlockOptions, in_features: int, out_features: int) -> nn.Module:
    if config.rank_divisor is None:
        return nn.Linear(in_features, out_features, bias=config.bias)
    return LowRankLinear(in_features, out_features, max(1, out_features // config.rank_divisor), config.bias)
