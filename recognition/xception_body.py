"""The body of Xception: residual modules of depthwise separable convolutions, with or without a temporal kernel.

Chollet: "Xception: Deep Learning with Depthwise Separable Convolutions", CVPR 2017, Figure 5. It computes
what timm's ``legacy_xception`` computes, and loads its weights.
This is its body; ``recognition.xception`` and ``recognition.lgd_xception`` are classifiers on it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from recognition.initialise import identity_temporal_, read_state_dict
from recognition.lgd_block import PointwiseConv, TemporalConv, check_counts
from recognition.model_files import load_state_strictly_
from recognition.preprocessing import Preprocessing

XCEPTION_WIDTHS = (32, 64, 128, 256, 728, 1024, 1536, 2048)
"""Channels behind conv1, conv2, modules 1 and 2, modules 3 to 11, module 12, conv3 and conv4."""
SMALL_WIDTHS = (8, 16, 24, 32, 48, 64, 96, 128)
"""The same network narrow, for a CPU."""
LEAST_SIDE = 7
"""Of a picture in pixels: conv1 and conv2 have no padding."""
XCEPTION_PREPROCESSING = Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
"""What the ImageNet weights were trained with."""

_CLASSIFIERS = ("fc.", "last_linear.")


class XceptionOptions(Protocol):
    """What the configs of all networks on this body have in common."""

    @property
    def widths(self) -> tuple[int, ...]: ...
    @property
    def middle_modules(self) -> int: ...
    @property
    def dropout(self) -> float: ...
    @property
    def num_classes(self) -> int: ...


class XceptionBody(nn.Module):
    """Frames (B*T, C, H, W) of B clips, channels_last, to the last map (B*T, widths[-1], H/32, W/32).

    ``units`` are the residual modules: 1, 2, 3, then ``middle_modules`` of equal width, then 12; the paper has eight in
    the middle. ``temporal`` adds convolutions over time: a 3x1x1 behind each of the stem's two convolutions, and a
    *depthwise* 3x1x1 in every separable convolution, between its depthwise 3x3 and its pointwise. None has a batch norm
    of its own, so with the identity in them the network is that of the images.
    """

    def __init__(
        self,
        in_channels: int = 3,
        widths: tuple[int, ...] = XCEPTION_WIDTHS,
        middle_modules: int = 8,
        *,
        temporal: bool = False,
    ) -> None:
        super().__init__()
        conv1, conv2, first, second, middle, last, conv3, conv4 = widths
        self.unit_widths = (conv2, first, second, *(middle,) * (middle_modules + 1), last)
        """Channels of the stem's map and of every unit's."""
        self.stem = XceptionStem(in_channels, (conv1, conv2), temporal)
        self.units = nn.ModuleList(
            [
                ResidualModule(conv2, (first, first), stride=2, relu_first=False, temporal=temporal),
                ResidualModule(first, (second, second), stride=2, temporal=temporal),
                ResidualModule(second, (middle, middle), stride=2, temporal=temporal),
                *(ResidualModule(middle, (middle, middle, middle), temporal=temporal) for _ in range(middle_modules)),
                ResidualModule(middle, (middle, last), stride=2, temporal=temporal),
            ]
        )
        self.conv3 = SeparableConv(last, conv3, temporal)
        self.norm3 = nn.BatchNorm2d(conv3)
        self.conv4 = SeparableConv(conv3, conv4, temporal)
        self.norm4 = nn.BatchNorm2d(conv4)

    def forward(self, frames: Tensor, num_clips: int) -> Tensor:
        x = self.stem(frames, num_clips)
        for unit in self.units:
            x = unit(x, num_clips)
        return self.exit(x, num_clips)

    def exit(self, x: Tensor, num_clips: int) -> Tensor:
        """conv3 and conv4, on the map of the last unit."""
        x = torch.relu_(self.norm3(self.conv3(x, num_clips)))
        return torch.relu_(self.norm4(self.conv4(x, num_clips)))


class XceptionStem(nn.Module):
    """Two 3x3 convolutions without padding, the first with stride 2, each with BN and ReLU."""

    def __init__(self, in_channels: int, widths: tuple[int, int], temporal: bool) -> None:
        super().__init__()
        first, second = widths
        self.conv1 = nn.Conv2d(in_channels, first, 3, stride=2, bias=False)
        self.temporal1 = TemporalConv(first) if temporal else None
        self.norm1 = nn.BatchNorm2d(first)
        self.conv2 = nn.Conv2d(first, second, 3, bias=False)
        self.temporal2 = TemporalConv(second) if temporal else None
        self.norm2 = nn.BatchNorm2d(second)

    def forward(self, frames: Tensor, num_clips: int) -> Tensor:
        x = self.conv1(frames)
        if self.temporal1 is not None:
            x = self.temporal1(x, num_clips)
        x = self.conv2(torch.relu_(self.norm1(x)))
        if self.temporal2 is not None:
            x = self.temporal2(x, num_clips)
        return torch.relu_(self.norm2(x))


class ResidualModule(nn.Module):
    """Separable convolutions, each with a ReLU before and a BN behind it, plus the input. No ReLU follows the sum.

    With ``stride`` 2 a 3x3 max pool ends the branch; where size or width change the shortcut is a 1x1 convolution with
    BN. ``widths`` are the outputs of the convolutions.
    """

    def __init__(
        self,
        in_channels: int,
        widths: tuple[int, ...],
        stride: int = 1,
        *,
        relu_first: bool = True,
        temporal: bool = False,
    ) -> None:
        super().__init__()
        inputs = (in_channels, *widths[:-1])
        self.relu_first, self.stride = relu_first, stride
        self.separable = nn.ModuleList(SeparableConv(i, o, temporal) for i, o in zip(inputs, widths))
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in widths)
        self.skip: nn.Module | None = None
        self.skip_norm: nn.Module | None = None
        if stride != 1 or in_channels != widths[-1]:
            self.skip = PointwiseConv(in_channels, widths[-1], stride=stride)
            self.skip_norm = nn.BatchNorm2d(widths[-1])

    def forward(self, frames: Tensor, num_clips: int) -> Tensor:
        shortcut = frames
        if self.skip is not None and self.skip_norm is not None:
            shortcut = self.skip_norm(self.skip(frames))
        x = frames
        for number, (separable, norm) in enumerate(zip(self.separable, self.norms)):
            if number or self.relu_first:
                x = torch.relu(x)  # not in place: the first one is on the input, which the shortcut sees without it
            x = norm(separable(x, num_clips))
        if self.stride != 1:
            x = nn.functional.max_pool2d(x, 3, stride=self.stride, padding=1)
        return x + shortcut


class SeparableConv(nn.Module):
    """Depthwise 3x3, with ``temporal`` a depthwise 3x1x1, then pointwise; nothing between them."""

    def __init__(self, in_channels: int, out_channels: int, temporal: bool = False) -> None:
        super().__init__()
        self.spatial = nn.Conv2d(in_channels, in_channels, 3, padding=1, groups=in_channels, bias=False)
        self.temporal = TemporalConv(in_channels, groups=in_channels) if temporal else None
        self.pointwise = PointwiseConv(in_channels, out_channels)

    def forward(self, frames: Tensor, num_clips: int) -> Tensor:
        x = self.spatial(frames)
        if self.temporal is not None:
            x = self.temporal(x, num_clips)
        return self.pointwise(x)


def check_xception_options(config: XceptionOptions) -> None:
    """ValueError for options from which no network can be built."""
    if len(config.widths) != len(XCEPTION_WIDTHS):
        raise ValueError(f"widths needs {len(XCEPTION_WIDTHS)} entries, as {XCEPTION_WIDTHS}, got {config.widths}")
    for name in ("num_classes", "widths", "middle_modules"):
        check_counts(name, getattr(config, name))
    if not 0 <= config.dropout < 1:
        raise ValueError(f"dropout must be 0 or more and below 1, got {config.dropout}")


def load_imagenet_body_(body: XceptionBody, weights: str | os.PathLike[str] | None = None) -> None:
    """Give ``body`` the weights of the image network; its convolutions over time become the identity.

    ``weights`` is a state_dict with the names of timm's ``legacy_xception``, saved by ``torch.save``; None takes timm's
    own weights, which timm downloads and caches. A body with one channel gets the sum of the kernels for red, green and
    blue, so that it treats a grey picture as they did; a body with two, flow, their mean for both. Raises
    ModelFileError, and leaves ``body`` untouched, unless every tensor but the classifier's has its place and the other
    way round; ValueError where timm is needed and not there.
    """
    source, images = ("timm's legacy_xception", imagenet_state()) if weights is None else _from_file(weights)
    # Files from before 2018 do not count batches; the count has no part in what the network computes.
    own = body.state_dict()
    kept = {name: own[name] for name in own if ".temporal" in name or name.endswith("batches_tracked")}
    state = kept | {our_name(name): v for name, v in images.items() if not name.startswith(_CLASSIFIERS)}
    conv1 = state.get("stem.conv1.weight")
    if conv1 is not None:
        state["stem.conv1.weight"] = for_channels(conv1, body.stem.conv1.in_channels)
    load_state_strictly_(body, state, source)
    identity_temporal_(body)


def for_channels(kernels: Tensor, channels: int) -> Tensor:
    """RGB kernels (O, 3, k, k) for another input: (O, channels, k, k); 1 is grey, others are flow."""
    if channels == kernels.shape[1]:
        return kernels
    if channels == 1:
        return kernels.sum(dim=1, keepdim=True)
    return kernels.mean(dim=1, keepdim=True).repeat(1, channels, 1, 1)


def our_name(name: str) -> str:
    """timm's ``block4.rep.1.conv1.weight`` is our ``units.3.separable.0.spatial.weight``, and so on."""
    if stem := re.fullmatch(r"(conv|bn)([12])\.(\w+)", name):
        return f"stem.{'norm' if stem[1] == 'bn' else 'conv'}{stem[2]}.{stem[3]}"
    name = re.sub(r"^bn([34])\.", r"norm\1.", name)
    name = re.sub(r"^block(\d+)\.", lambda block: f"units.{int(block[1]) - 1}.", name)
    # ReLU, separable convolution, BN: three entries of ``rep`` for each, without the ReLU at the start of block 1
    name = re.sub(r"\.rep\.(\d+)\.(?=conv1|pointwise)", lambda rep: f".separable.{int(rep[1]) // 3}.", name)
    name = re.sub(r"\.rep\.(\d+)\.", lambda rep: f".norms.{int(rep[1]) // 3}.", name)
    return name.replace(".skipbn.", ".skip_norm.").replace(".conv1.", ".spatial.")


def imagenet_state() -> Mapping[str, Tensor]:
    """timm's ImageNet weights with its names; timm downloads and caches them. Raises ValueError without timm."""
    try:
        import timm
    except ImportError as error:
        raise ValueError(
            "ImageNet weights of Xception need timm: pip install timm, or give a file of its weights"
        ) from error
    network: Any = timm.create_model("legacy_xception", pretrained=True)
    return network.state_dict()


def _from_file(path: str | os.PathLike[str]) -> tuple[str, Mapping[str, Tensor]]:
    return str(path), read_state_dict(Path(path))
