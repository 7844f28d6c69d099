"""StNet: local and global spatial-temporal modelling by a 2-D network on super-images.

He, Zhou, Gan, Li, Liu, Li, Wang, Wen: "StNet: Local and Global Spatial-Temporal Modeling for Action Recognition",
AAAI 2019. A video is T segments of N consecutive frames. The N frames of a segment lie one behind the other in the
channels of one *super-image*, which a 2-D network takes as it takes an image (local modelling). *Temporal modelling
blocks* between its stages join the T maps, and a *temporal Xception block* joins the T feature vectors (global
modelling). Where the paper leaves something open the layers are those of the authors' PaddlePaddle code; without
super-images and temporal blocks it is a temporal segment network (TSN), the paper's baseline.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torchvision.models import WeightsEnum, get_model_weights

from recognition import inception_resnet
from recognition.config_values import from_plain_values, to_plain_values
from recognition.frame_maps import frames_of_rows, rows_of_time, to_clips
from recognition.initialise import read_state_dict
from recognition.lgd_block import CHANNELS_OF_INPUT, check_choice, check_counts
from recognition.model_files import load_state_strictly_


@dataclass(frozen=True)
class _Body:
    """A 2-D network up to its pool, as a Sequential under the names of its ImageNet weights."""

    build: Callable[[int], nn.Sequential]
    """Number of input channels -> body."""
    width: int
    """Channels of its map."""
    joined: Mapping[str, int]
    """Stages behind which a temporal modelling block stands, and their channels."""
    conv1: str
    """Weight of the first convolution."""
    classifier: str
    """Layer of the ImageNet network that the body leaves out."""
    least_side: int = 1
    """Of an image, pixels."""


def _resnet(name: str, width: int, joined: Mapping[str, int]) -> _Body:
    def build(in_channels: int) -> nn.Sequential:
        network = getattr(torchvision.models, name)()
        if in_channels != 3:
            network.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
            nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
        layers = [(name, layer) for name, layer in network.named_children() if name not in ("avgpool", "fc")]
        return nn.Sequential(OrderedDict(layers))

    return _Body(build, width, joined, "conv1.weight", "fc.")


_BODIES = {
    "resnet18": _resnet("resnet18", 512, {"layer2": 128, "layer3": 256}),
    "resnet50": _resnet("resnet50", 2048, {"layer2": 512, "layer3": 1024}),
    "resnet101": _resnet("resnet101", 2048, {"layer2": 512, "layer3": 1024}),
    # One block, on the map of 2080 channels: what the paper's 72.13 M parameters and 439.57 GMAC say. They do not say
    # whether before or behind the block8 repeats; this is the boundary of the stage, as in the ResNets.
    "inception_resnet_v2": _Body(
        inception_resnet.inception_resnet_v2_body,
        inception_resnet.WIDTH,
        {"mixed_7a": 2080},
        "conv2d_1a.conv.weight",
        "classif.",
        inception_resnet.LEAST_SIDE,
    ),
}


@dataclass(frozen=True)
class StNetConfig:
    """What an StNet looks like; the defaults are ResNet-50 for Kinetics-400 of the paper's Table 3."""

    num_classes: int = 400
    """Outputs of the classifier."""
    body: str = "resnet50"
    """resnet18, resnet50, resnet101, or inception_resnet_v2, which needs timm; resnet18 is not in the paper."""
    frames: int = 5
    """N, consecutive frames of a super-image; 1: plain images."""
    temporal_blocks: bool = True
    """Whether temporal modelling blocks stand behind res3 and res4."""
    aggregation: Literal["xception", "average"] = "xception"
    """How T feature vectors become one: by the temporal Xception block, or as TSN by their mean."""
    xception_width: int = 1024
    """Channels of the temporal Xception block."""
    dropout: float = 0.0
    """Before the classifier; the authors' code has none."""
    input: Literal["rgb", "flow"] = "rgb"
    """"rgb": three channels; "flow": x and y displacement, two."""

    def __post_init__(self) -> None:
        check_choice("body", self.body, tuple(_BODIES))
        check_choice("aggregation", self.aggregation, ("xception", "average"))
        check_choice("input", self.input, tuple(CHANNELS_OF_INPUT))
        for name in ("num_classes", "frames", "xception_width"):
            check_counts(name, getattr(self, name))
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be 0 or more and below 1, got {self.dropout}")

    @property
    def in_channels(self) -> int:
        """Of a frame."""
        return CHANNELS_OF_INPUT[self.input]

    @property
    def feature_width(self) -> int:
        """Length of the vector before the classifier."""
        return self.xception_width if self.aggregation == "xception" else _BODIES[self.body].width

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; :meth:`from_dict` is the way back."""
        return to_plain_values(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> StNetConfig:
        """Raises ValueError for a key that StNetConfig does not have, or for a value it cannot mean."""
        return from_plain_values(cls, values)


def stnet_resnet50(**changes: Any) -> StNetConfig:
    """33.16 M parameters with 400 classes; keyword arguments change single fields."""
    return StNetConfig(**changes)


def stnet_resnet101(**changes: Any) -> StNetConfig:
    """52.15 M parameters with 400 classes."""
    return StNetConfig(**{"body": "resnet101", **changes})


def stnet_inception_resnet_v2(**changes: Any) -> StNetConfig:
    """72.13 M parameters with 600 classes; needs timm."""
    return StNetConfig(**{"body": "inception_resnet_v2", **changes})


def tsn(**changes: Any) -> StNetConfig:
    """The baseline on any ``body``: single frames, no temporal blocks, the mean of the segments."""
    return StNetConfig(**{"frames": 1, "temporal_blocks": False, "aggregation": "average", **changes})


class StNet(nn.Module):
    """Clips (B, C, T * N, H, W), float, normalised, to a tuple of one (B, num_classes) tensor of logits.

    The T segments follow each other, each with its N = ``config.frames`` consecutive frames; T = 7 in training and 25
    at test in the paper, and any T works. ``recognition.clip_sampling`` picks the frames. The body starts as
    torchvision's or timm's, the temporal layers as the authors'; :func:`start_from_imagenet_` loads ImageNet weights.
    Raises ValueError for clips of a wrong shape.
    """

    def __init__(self, config: StNetConfig) -> None:
        super().__init__()
        self.config = config
        body = _BODIES[config.body]
        self.body = body.build(config.in_channels * config.frames)
        joined = body.joined if config.temporal_blocks else {}
        self.temporal = nn.ModuleDict({name: TemporalBlock(channels) for name, channels in joined.items()})
        self.aggregate: nn.Module = MeanOfSegments()
        if config.aggregation == "xception":
            self.aggregate = TemporalXception(body.width, config.xception_width)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(config.feature_width, config.num_classes)
        bound = body.width**-0.5
        nn.init.uniform_(self.classifier.weight, -bound, bound)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, clips: Tensor) -> tuple[Tensor]:
        return (self.classifier(self.dropout(self.features(clips))),)

    def features(self, clips: Tensor) -> Tensor:
        """(B, ``config.feature_width``), the vector before the classifier."""
        return self.aggregate(self.segment_maps(clips).mean(dim=(3, 4)))

    def segment_maps(self, clips: Tensor) -> Tensor:
        """(B, D, T, H', W'), the body's last map of every segment."""
        self._check(clips)
        x = super_images(clips, self.config.frames)  # (B*T, N*C, H, W)
        num_clips = clips.shape[0]
        for name, layer in self.body.named_children():
            x = layer(x)
            if name in self.temporal:
                x = self.temporal[name](x, num_clips)
        return to_clips(x, num_clips)

    def class_maps(self, clips: Tensor) -> Tensor:
        """(B, num_classes, T, H', W'): what each position of each segment adds to each class; set ``eval()`` before.

        With the mean of the segments these are class activation maps: the classifier's weights at every position. The
        temporal Xception block is linear around a given input, so there each class has weights of its own for every
        segment, its gradient with respect to that segment's feature vector. The scale is
        the same: where all feature vectors grow by a small share, the logit grows by that share of the mean over
        positions.
        """
        with torch.no_grad():
            maps = self.segment_maps(clips)
        vectors = maps.mean(dim=(3, 4))  # (B, D, T)
        class_maps = [
            torch.einsum("kbdt,bdthw->bkthw", self._gradients(vectors, classes), maps)
            for classes in torch.arange(self.config.num_classes, device=maps.device).split(32)
        ]
        return torch.cat(class_maps, dim=1) * maps.shape[2]

    def _gradients(self, vectors: Tensor, classes: Tensor) -> Tensor:
        """(B, D, T), (k,) -> (k, B, D, T): of the logits of these classes, each by a copy of the batch of its own."""
        with torch.inference_mode(False), torch.enable_grad():
            copies = vectors.repeat(len(classes), 1, 1, 1).requires_grad_()
            logits = self.classifier(self.aggregate(copies.flatten(0, 1))).unflatten(0, copies.shape[:2])  # (k, B, K)
            one_hot = F.one_hot(classes, logits.shape[2]).to(logits)[:, None].expand_as(logits)
            return torch.autograd.grad(logits, copies, one_hot)[0]

    def _check(self, clips: Tensor) -> None:
        config, least_side = self.config, _BODIES[self.config.body].least_side
        if clips.ndim != 5 or clips.shape[1] != config.in_channels or clips.numel() == 0:
            raise ValueError(f"expected clips (B, {config.in_channels}, T, H, W), got {tuple(clips.shape)}")
        if clips.shape[2] % config.frames:
            raise ValueError(
                f"clips need a multiple of {config.frames} frames, {config.frames} a segment; got {clips.shape[2]}"
            )
        if min(clips.shape[3:]) < least_side:
            raise ValueError(f"{config.body} needs at least {least_side} pixels a side, got {tuple(clips.shape)}")


class TemporalBlock(nn.Module):
    """Temporal modelling block: 3x1x1 convolution over the segments, ReLU, BN, and the input added.

    Deviation: the paper has BN before ReLU, no sum, and every weight 1/(3C). Then all C outputs are equal and the
    body's features are lost. This is the authors' code.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, (3, 1), padding=(1, 0))
        self.bn = nn.BatchNorm2d(channels)
        _msra_(self.conv)

    def forward(self, frames: Tensor, num_clips: int) -> Tensor:
        """(B*T, C, H, W) -> the same shape."""
        rows = rows_of_time(frames, num_clips)  # (B, C, T, H*W)
        return frames_of_rows(self.bn(torch.relu(self.conv(rows))) + rows, frames.shape[2])


class TemporalXception(nn.Module):
    """Temporal Xception block: (B, C, T) -> (B, width), two separable convolutions over time and a shortcut.

    BN - depthwise 3 - pointwise - BN - ReLU - depthwise 3 - pointwise, plus a pointwise of the first BN's output; BN,
    ReLU, maximum over time.
    """

    def __init__(self, channels: int, width: int = 1024) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm1d(channels)
        self.depthwise1 = nn.Conv1d(channels, channels, 3, padding=1, groups=channels)
        self.pointwise1 = nn.Conv1d(channels, width, 1)
        self.bn2 = nn.BatchNorm1d(width)
        self.depthwise2 = nn.Conv1d(width, width, 3, padding=1, groups=width)
        self.pointwise2 = nn.Conv1d(width, width, 1)
        self.shortcut = nn.Conv1d(channels, width, 1)
        self.bn3 = nn.BatchNorm1d(width)
        for conv in (self.depthwise1, self.pointwise1, self.depthwise2, self.pointwise2, self.shortcut):
            _msra_(conv)

    def forward(self, vectors: Tensor) -> Tensor:
        return self.over_time(vectors).amax(dim=2)

    def over_time(self, vectors: Tensor) -> Tensor:
        """(B, C, T) -> (B, width, T): step t sees steps t - 2 to t + 2."""
        x = self.bn1(vectors)
        out = torch.relu(self.bn2(self.pointwise1(self.depthwise1(x))))
        out = self.pointwise2(self.depthwise2(out)) + self.shortcut(x)
        return torch.relu(self.bn3(out))


class MeanOfSegments(nn.Module):
    """(B, C, T) -> (B, C); of features, which for a linear classifier is TSN's mean of the segments' logits."""

    def forward(self, vectors: Tensor) -> Tensor:
        return vectors.mean(dim=2)


def super_images(clips: Tensor, frames: int) -> Tensor:
    """(B, C, T*N, H, W) -> (B*T, N*C, H, W): the channels of the first frame, then those of the second."""
    segments = clips.unflatten(2, (-1, frames)).permute(0, 2, 3, 1, 4, 5)  # (B, T, N, C, H, W)
    return segments.flatten(2, 3).flatten(0, 1).contiguous(memory_format=torch.channels_last)


def inflate_conv1(
    weight: Tensor, frames: int, *, inflation: Literal["i3d", "paddle"] = "i3d", channels: int = 3
) -> Tensor:
    """Kernels (O, 3, k, k) of an image network for super-images: (O, frames * channels, k, k).

    "i3d", the paper's, repeats them for every frame and divides by N, so that N equal frames give what one gave;
    "paddle", the authors' code, takes the mean over the colours first, so that the network starts without seeing
    colour. For flow (``channels=2``) only the second exists.
    """
    check_choice("inflation", inflation, ("i3d", "paddle"))
    if inflation == "paddle" or channels != 3:
        weight = weight.mean(dim=1, keepdim=True).repeat(1, channels, 1, 1)
    return weight.repeat(1, frames, 1, 1) / frames


def start_from_imagenet_(
    net: StNet,
    weights: WeightsEnum | str | os.PathLike[str] | None = None,
    *,
    inflation: Literal["i3d", "paddle"] = "i3d",
) -> None:
    """Give the body the weights of its image network; the temporal layers and the classifier stay as they are.

    ``weights`` is of torchvision (``ResNet50_Weights.IMAGENET1K_V2``, say), or a state_dict with torchvision's or
    timm's names saved by ``torch.save``, or None for the usual ones: torchvision's default, or timm's. They are
    downloaded and cached. ``inflation``: see :func:`inflate_conv1`. Raises ModelFileError, and leaves ``net``
    untouched, unless every tensor but the classifier's has its place and the other way round.
    """
    config, body = net.config, _BODIES[net.config.body]
    if weights is None and config.body == "inception_resnet_v2":
        source, images = "timm's inception_resnet_v2", inception_resnet.imagenet_state()
    elif weights is None or isinstance(weights, WeightsEnum):
        published: WeightsEnum = get_model_weights(config.body)["DEFAULT"] if weights is None else weights
        source, images = str(published), dict(published.get_state_dict(progress=True, check_hash=True))
    else:
        source, images = str(weights), read_state_dict(Path(weights))
    # Files from before 2018 do not count batches; the count has no part in what the network computes.
    state = {name: v for name, v in net.body.state_dict().items() if name.endswith(".num_batches_tracked")}
    state |= {name: v for name, v in images.items() if not name.startswith(body.classifier)}
    if body.conv1 in state:
        state[body.conv1] = inflate_conv1(
            state[body.conv1], config.frames, inflation=inflation, channels=config.in_channels
        )
    load_state_strictly_(net.body, state, source)


def _msra_(conv: nn.Conv1d | nn.Conv2d) -> None:
    """He's start as PaddlePaddle has it, uniform by fan-in; the bias zero."""
    nn.init.kaiming_uniform_(conv.weight, nonlinearity="relu")
    assert conv.bias is not None, "every convolution here has a bias"
    nn.init.zeros_(conv.bias)
