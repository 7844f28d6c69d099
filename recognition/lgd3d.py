"""LGD-3D: pseudo-3D residual networks with Local and Global Diffusion.

Qiu, Yao, Ngo, Tian, Mei: "Learning Spatio-Temporal Representation with Local and Global Diffusion", CVPR
2019, sections 3 and 4 and Table 1. A network carries a *local* feature map x and a *global* vector g from
block to block

    x_l = ReLU(F(x_{l-1}) + US(W^{xg} g_{l-1}))          Eq. 2
    g_l = ReLU(W^{gx} P(x_l) + W^{gg} g_{l-1})           Eq. 3

with F the residual unit before its last ReLU, P the mean over time, height and width, and US the copy of a
vector to every position. Each W is a product of two matrices of rank C/16 without a non-linearity between
them.

How the kernels run. A map of B clips of T frames is kept as (B*T, C, H, W) in channels_last memory. The
factored kernels of P3D then are plain conv2d calls on views of the same memory: 1x3x3 and 1x1x1 on the
frames, 3x1x1 as a (3, 1) kernel on (B, C, T, H*W). On CPU that avoids the slow path conv3d takes for a batch
of one, and batch norm over B*T frames sees exactly the positions a 3-D batch norm would.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

SPATIAL_STRIDE = 16
"""Input pixels for one cell of the local map: the stem, res3, res4 and res5 halve the size."""

CHANNELS_OF_INPUT = {"rgb": 3, "flow": 2}


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
        _check_choice("block", self.block, ("lgd", "v1", "v2", "none"))
        _check_choice("order", self.order, ("paper", "authors2021"))
        _check_choice("stride_on", self.stride_on, ("3x3", "1x1"))
        _check_choice("input", self.input, tuple(CHANNELS_OF_INPUT))
        if len(self.depths) != 4 or len(self.widths) != 4:
            raise ValueError(
                f"depths and widths need 4 entries (res2..res5), got {self.depths}, {self.widths}"
            )
        for name in ("depths", "widths", "stem_width", "expansion", "pool1_stride"):
            values = getattr(self, name)
            if any(
                not isinstance(v, int) or v < 1 for v in (values if isinstance(values, tuple) else (values,))
            ):
                raise ValueError(f"{name} must be whole numbers of 1 or more, got {values}")
        if any(width % self.expansion for width in self.widths):
            raise ValueError(f"widths {self.widths} must be multiples of expansion {self.expansion}")
        if self.rank_divisor is not None and not 1 <= self.rank_divisor <= min(self.widths):
            raise ValueError(f"rank_divisor must be None or 1..{min(self.widths)}, got {self.rank_divisor}")
        if self.order == "authors2021" and self.block not in ("lgd", "v2"):
            raise ValueError(f"order 'authors2021' is defined for blocks 'lgd' and 'v2', not {self.block!r}")

    @property
    def in_channels(self) -> int:
        return CHANNELS_OF_INPUT[self.input]

    @property
    def out_channels(self) -> int:
        """Channels of the local map and length of the global vector."""
        return self.widths[-1]

    @property
    def temporal_stride(self) -> int:
        """Input frames for one step of the local map."""
        return 2 * self.pool1_stride

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; :meth:`from_dict` is the way back."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in dataclasses.asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LGD3DConfig:
        """Raises ValueError for a key that LGD3DConfig does not have, or for a value it cannot mean."""
        known = [f.name for f in dataclasses.fields(cls)]
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise ValueError(f"unknown option {unknown[0]!r}; LGD3DConfig has {', '.join(known)}")
        return cls(**values)


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
        inputs = (config.stem_width, *config.widths[:-1])
        self.res2, self.res3, self.res4, self.res5 = (
            _stage(config, inputs[i], config.widths[i], config.depths[i], stride=1 if i == 0 else 2)
            for i in range(4)
        )

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


class LGDBlock(nn.Module):
    """One step of the recursion, in the form that ``config.block`` names."""

    def __init__(self, config: LGD3DConfig, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.block = config.block
        self.global_first = config.order == "authors2021"
        self.unit = P3DUnit(in_channels, channels, config.expansion, stride, config.stride_on)
        # In the paper's order x is updated with the g of the previous width; in the other g widens first.
        seen = channels if self.global_first else in_channels
        pooled = in_channels if self.global_first else channels
        if config.block != "none":
            self.global_to_local = _linear(config, seen, channels)  # W^{xg}
        if config.block in ("lgd", "v2"):
            self.local_to_global = _linear(config, pooled, channels)  # W^{gx}
            self.global_to_global = _linear(config, in_channels, channels)  # W^{gg}

    def forward(self, local: Tensor, global_: Tensor) -> tuple[Tensor, Tensor]:
        """(B*T, C_in, H, W), (B, C_in) -> (B*T, C, H/s, W/s), (B, C)."""
        if self.global_first:
            global_ = self.update_global(local, global_)
            return self.update_local(local, global_), global_
        local = self.update_local(local, global_)
        return local, self.update_global(local, global_)

    def update_local(self, local: Tensor, global_: Tensor) -> Tensor:
        num_clips = len(global_)
        residual = self.unit(local, num_clips)  # F(x), shortcut included
        if self.block == "v2":
            gate = torch.sigmoid(self.global_to_local(global_))
            return torch.relu_(residual * up_sample(gate, residual))  # Eq. 9
        if self.block != "none":
            residual += up_sample(self.global_to_local(global_), residual)  # Eq. 2
        return torch.relu_(residual)

    def update_global(self, local: Tensor, global_: Tensor) -> Tensor:
        pooled = mean_of_clip(local, len(global_))  # P(x)
        if self.block in ("lgd", "v2"):
            return torch.relu(self.local_to_global(pooled) + self.global_to_global(global_))  # Eq. 3
        return pooled  # Eq. 8


class P3DUnit(nn.Module):
    """F of Eq. 1: bottleneck residual unit of type P3D-A, with its shortcut, before its last ReLU.

    1x1x1 - BN - ReLU - 1x3x3 - 3x1x1 - BN - ReLU - 1x1x1 - BN, plus the input. There is no batch norm between
    1x3x3 and 3x1x1, so that an identity 3x1x1 leaves an ImageNet network as it was, in training mode as well.
    """

    def __init__(
        self, in_channels: int, channels: int, expansion: int = 4, stride: int = 1, stride_on: str = "3x3"
    ) -> None:
        super().__init__()
        planes = channels // expansion
        first, second = (stride, 1) if stride_on == "1x1" else (1, stride)
        self.conv1 = PointwiseConv(in_channels, planes, stride=first)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride=second, padding=1, bias=False)
        self.temporal = TemporalConv(planes)
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
        out = self.temporal(self.conv2(out), num_clips)
        out = torch.relu_(self.bn2(out))
        out = self.bn3(self.conv3(out))
        out += shortcut
        return out


class Stem(nn.Module):
    """conv1 of Table 1: 1x7x7 with spatial stride 2, then 3x1x1, then BN and ReLU."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 7, stride=2, padding=3, bias=False)
        self.temporal = TemporalConv(channels)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, frames: Tensor, num_clips: int) -> Tensor:
        return torch.relu_(self.bn(self.temporal(self.conv(frames), num_clips)))


class TemporalConv(nn.Conv2d):
    """3x1x1 convolution along time, zero padded: on frames (B*T, C, H, W) of B clips."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, (3, 1), padding=(1, 0), bias=False)

    def forward(self, frames: Tensor, num_clips: int) -> Tensor:  # type: ignore[override]
        height = frames.shape[2]
        out = super().forward(_rows_of_time(frames, num_clips))  # (B, C, T, H*W)
        return _frames_of_rows(out, height)


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
        return out.permute(0, 2, 3, 1).reshape(len(frames), *frames.shape[2:], -1).permute(0, 3, 1, 2)


class LowRankLinear(nn.Module):
    """W = W1 W2 of section 3.2: ``inner`` is W2, ``outer`` is W1, and no non-linearity stands between."""

    def __init__(self, in_features: int, out_features: int, rank: int, bias: bool) -> None:
        super().__init__()
        self.inner = nn.Linear(in_features, rank, bias=bias)
        self.outer = nn.Linear(rank, out_features, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.outer(self.inner(x))


def to_frames(clips: Tensor) -> Tensor:
    """(B, C, T, H, W) -> (B*T, C, H, W) in channels_last memory; a view where the memory is already so."""
    frames = clips.transpose(1, 2).flatten(0, 1)
    return frames.contiguous(memory_format=torch.channels_last)


def to_clips(frames: Tensor, num_clips: int) -> Tensor:
    """(B*T, C, H, W) -> (B, C, T, H, W), a view."""
    return frames.unflatten(0, (num_clips, -1)).transpose(1, 2)


def mean_of_clip(frames: Tensor, num_clips: int) -> Tensor:
    """P of Eq. 3: (B*T, C, H, W) -> (B, C), the mean over time, height and width of each clip."""
    if frames.dtype == torch.bfloat16 and frames.device.type == "cpu":
        # mean() would first copy the whole map to float32, at eight times the cost of the sum
        per_frame = frames.sum(dim=(2, 3)) / frames[0, 0].numel()
    else:
        per_frame = frames.mean(dim=(2, 3))
    return per_frame.unflatten(0, (num_clips, -1)).mean(dim=1)


def up_sample(vectors: Tensor, frames: Tensor) -> Tensor:
    """US of Eq. 2: (B, C) -> (B*T, C, 1, 1), which broadcasts over ``frames`` (B*T, C, H, W)."""
    return vectors.repeat_interleave(len(frames) // len(vectors), dim=0)[:, :, None, None]


def max_pool_time(frames: Tensor, num_clips: int, stride: int) -> Tensor:
    """2x1x1 max pooling with a temporal stride: (B*T, C, H, W) -> (B*T', C, H, W), T' = (T - 2) // stride + 1."""
    clips = frames.unflatten(0, (num_clips, -1))
    count = (clips.shape[1] - 2) // stride + 1
    # Ten times faster than max_pool2d, which also notes where the maximum was. Equal values share their gradient
    # here; after a ReLU those are zeros, which pass none on.
    return torch.maximum(clips[:, ::stride][:, :count], clips[:, 1::stride][:, :count]).flatten(0, 1)


def _rows_of_time(frames: Tensor, num_clips: int) -> Tensor:
    """(B*T, C, H, W) -> (B, C, T, H*W); a view, and channels_last again, if ``frames`` is channels_last."""
    positions = frames.permute(0, 2, 3, 1).flatten(1, 2)  # (B*T, H*W, C)
    return positions.unflatten(0, (num_clips, -1)).permute(0, 3, 1, 2)


def _frames_of_rows(rows: Tensor, height: int) -> Tensor:
    """(B, C, T, H*W) -> (B*T, C, H, W), the way back."""
    positions = rows.permute(0, 2, 3, 1).flatten(0, 1)  # (B*T, H*W, C)
    return positions.unflatten(1, (height, -1)).permute(0, 3, 1, 2)


def _stage(config: LGD3DConfig, in_channels: int, channels: int, depth: int, stride: int) -> nn.ModuleList:
    first = LGDBlock(config, in_channels, channels, stride)
    return nn.ModuleList([first, *(LGDBlock(config, channels, channels, 1) for _ in range(depth - 1))])


def _linear(config: LGD3DConfig, in_features: int, out_features: int) -> nn.Module:
    if config.rank_divisor is None:
        return nn.Linear(in_features, out_features, bias=config.bias)
    return LowRankLinear(in_features, out_features, max(1, out_features // config.rank_divisor), config.bias)


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
