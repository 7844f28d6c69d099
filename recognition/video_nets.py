"""torchvision's video networks as backbones: clips to a local map and a global vector, like LGD-3D.

    net = VideoNet(VideoNetConfig("r2plus1d_18", lgd=True))
    load_kinetics_(net, "kinetics")
    local, global_ = net(clips)

The four CNNs take LGD (``recognition.inject``), and the global vector is its last g. Elsewhere it is the mean of the
local map, and of an MViT the class token. The layers that classify are left out; :func:`classifier_in` finds them.

Where the cells of the local map lie differs from network to network. It follows from strides and paddings, see
``VideoNetConfig.cell_offset`` and docs/decisions/003; ``tests/test_recognition_video_nets.py`` measures it.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import WeightsEnum, get_model_weights
from torchvision.models.video import (
    mc3_18,
    mvit_v1_b,
    mvit_v2_s,
    r2plus1d_18,
    r3d_18,
    s3d,
    swin3d_b,
    swin3d_s,
    swin3d_t,
)

from recognition.config_values import from_plain_values, to_plain_values
from recognition.cpu_precision import float32_on_cpu
from recognition.global_path import InjectionPoints, global_blocks, mean_of_positions, run_with_path
from recognition.initialise import read_state_dict
from recognition.inject import RESNET_POINTS, S3D_POINTS, widths_of
from recognition.lgd_block import check_choice, check_counts
from recognition.model_files import load_state_strictly_
from recognition.preprocessing import Preprocessing
from recognition.weights_location import ASKED_FOR, Fetch, published_state


@dataclass(frozen=True)
class _Host:
    build: Callable[..., nn.Module]
    classifier: str  # the last layer
    channels: int
    stride: int  # pixels a cell
    offset: float  # of the middle of cell 0 from the left and upper edge of the picture
    temporal_stride: int
    clip_frames: int
    frame_rate: float
    points: InjectionPoints | None = None
    least_frames: int = 1
    least_side: int = 1


# Cell i of a convolution of stride s with symmetric padding lies over the middle of cell s i of its input; the
# middle of pixel 0 is at 0.5. A pool of 2x2 without padding, the last of s3d, lies between two cells, those at
# 32 i + 0.5 and 32 i + 16.5. Swin's patches touch: cell i is the square from 32 i to 32 (i + 1).
_RESNET: dict[str, Any] = {"classifier": "fc", "channels": 512, "stride": 16, "offset": 0.5, "points": RESNET_POINTS}
_MVIT: dict[str, Any] = {"classifier": "head.1", "channels": 768, "stride": 32, "offset": 0.5, "temporal_stride": 2}
_SWIN: dict[str, Any] = {"classifier": "head", "stride": 32, "offset": 16.0, "temporal_stride": 2}
_HOSTS = {
    "r3d_18": _Host(r3d_18, **_RESNET, temporal_stride=8, clip_frames=16, frame_rate=15),
    "mc3_18": _Host(mc3_18, **_RESNET, temporal_stride=1, clip_frames=16, frame_rate=15),
    "r2plus1d_18": _Host(r2plus1d_18, **_RESNET, temporal_stride=8, clip_frames=16, frame_rate=15),
    "s3d": _Host(
        s3d,
        classifier="classifier.1",
        channels=1024,
        stride=32,
        offset=8.5,
        temporal_stride=8,
        clip_frames=32,  # torchvision measured with 128: 8.5 seconds, which hold more than one action
        frame_rate=15,
        points=S3D_POINTS,
        least_frames=5,
        least_side=17,
    ),
    "mvit_v1_b": _Host(mvit_v1_b, **_MVIT, clip_frames=16, frame_rate=7.5, least_side=32),
    "mvit_v2_s": _Host(mvit_v2_s, **_MVIT, clip_frames=16, frame_rate=7.5, least_side=32),
    "swin3d_t": _Host(swin3d_t, **_SWIN, channels=768, clip_frames=32, frame_rate=15),
    "swin3d_s": _Host(swin3d_s, **_SWIN, channels=768, clip_frames=32, frame_rate=15),
    "swin3d_b": _Host(swin3d_b, **_SWIN, channels=1024, clip_frames=32, frame_rate=15),
}
NETWORKS = tuple(_HOSTS)
WITH_LGD = tuple(name for name, host in _HOSTS.items() if host.points is not None)
POOLED = tuple(name for name in NETWORKS if not name.startswith("mvit"))
"""Networks whose classifier sees the mean of the local map, so that it can see the mean of a part of it; an MViT's sees
its class token, which belongs to the whole clip."""


@dataclass(frozen=True)
class VideoNetConfig:
    """Which of torchvision's video networks, and with LGD or without."""

    network: str = "r2plus1d_18"
    """One of :data:`NETWORKS`."""
    lgd: bool = False
    """LGD blocks around its units; the four CNNs only (:data:`WITH_LGD`)."""
    rank_divisor: int | None = 16
    """Rank of every W is its output width over this; None: full matrices (section 3.2)."""

    def __post_init__(self) -> None:
        check_choice("network", self.network, NETWORKS)
        if self.lgd and self.network not in WITH_LGD:
            raise ValueError(f"{self.network} takes no LGD; {', '.join(WITH_LGD)} do")
        if self.rank_divisor is not None:
            check_counts("rank_divisor", self.rank_divisor)

    @property
    def input(self) -> str:
        """Always "rgb": there are no published weights for flow."""
        return "rgb"

    @property
    def in_channels(self) -> int:
        return 3

    @property
    def out_channels(self) -> int:
        """Channels of the local map and length of the global vector."""
        return _HOSTS[self.network].channels

    @property
    def spatial_stride(self) -> int:
        """Input pixels for one cell of the local map."""
        return _HOSTS[self.network].stride

    @property
    def cell_offset(self) -> float:
        """Pixels from the edge of the picture to the middle of cell 0; the middle of pixel 0 is at 0.5."""
        return _HOSTS[self.network].offset

    @property
    def temporal_stride(self) -> int:
        """Input frames for one step of the local map."""
        return _HOSTS[self.network].temporal_stride

    @property
    def clip_frames(self) -> int:
        """Frames of a clip that torchvision's accuracies are measured with (s3d: 32 in place of 128)."""
        return _HOSTS[self.network].clip_frames

    @property
    def frame_rate(self) -> float:
        """Frames a second of these clips."""
        return _HOSTS[self.network].frame_rate

    @property
    def short_side(self) -> int:
        """Pixels of the short side of the pictures that the published weights were trained on crops of."""
        return min(_transforms(self.network).resize_size)

    @property
    def preprocessing(self) -> Preprocessing:
        """What the published weights were trained with."""
        transforms = _transforms(self.network)
        return Preprocessing(tuple(transforms.mean), tuple(transforms.std))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; :meth:`from_dict` is the way back."""
        return to_plain_values(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> VideoNetConfig:
        """Raises ValueError for a key that VideoNetConfig does not have, or for a value it cannot mean."""
        return from_plain_values(cls, values)


class VideoNet(nn.Module):
    """Clips (B, 3, T, H, W), float, normalised, to a local map and a global vector.

    Returns ``local`` (B, C, T', H', W') and ``global_`` (B, C) with C = ``config.out_channels``. ``net`` holds
    torchvision's layers under torchvision's names, without those that classify. Weights start as torchvision's class
    starts them, LGD so that it changes nothing: call :func:`load_kinetics_` next. Raises ValueError for clips of a
    wrong shape, or too small for the network.
    """

    def __init__(self, config: VideoNetConfig, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        self.net = _body_of(config.network)
        self.blocks: nn.ModuleList | None = None
        if config.lgd:
            self.blocks = global_blocks(widths_of(config.network), config.rank_divisor, generator=generator)

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        host = _HOSTS[self.config.network]
        if clips.ndim != 5 or clips.shape[1] != 3 or clips.numel() == 0:
            raise ValueError(f"expected clips (B, 3, T, H, W), got {tuple(clips.shape)}")
        if clips.shape[2] < host.least_frames or min(clips.shape[3:]) < host.least_side:
            raise ValueError(
                f"{self.config.network} needs clips of at least {host.least_frames} frames and {host.least_side} "
                f"pixels a side, got {tuple(clips.shape)}"
            )
        if self.blocks is not None:
            assert host.points is not None
            local, path = run_with_path(self.net, self.blocks, host.points, clips)
            return local, path.global_
        with float32_on_cpu(clips):
            return self._plain(clips)

    def _plain(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """Local map and global vector of a network without LGD."""
        if isinstance(self.net, _MViTBody):
            return self.net(clips)
        local = self.net(clips)
        if self.config.network.startswith("swin3d"):
            local = local.permute(0, 4, 1, 2, 3)
        return local, mean_of_positions(local)


class _MViTBody(nn.Module):
    """An MViT without its head, for pictures and clips of any size.

    torchvision's forward takes for granted the size that the network was built for. Absolute positions (v1) are
    interpolated here, linearly, to the grid of the clip, as is usual in detection; relative ones (v2) torchvision
    interpolates itself. With 16 frames of 224 x 224 nothing changes.
    """

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.conv_proj, self.pos_encoding, self.blocks, self.norm = (
            net.conv_proj,
            net.pos_encoding,
            net.blocks,
            net.norm,
        )

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """Local map (B, C, T', H', W') and class token (B, C)."""
        patches = self.conv_proj(clips)
        grid = tuple(patches.shape[2:])
        tokens = patches.flatten(2).transpose(1, 2)  # (B, T'H'W', C)
        token = self.pos_encoding.class_token.expand(len(tokens), 1, -1)
        tokens = torch.cat([token, tokens], dim=1)
        if self.pos_encoding.spatial_pos is not None:
            tokens = tokens + self._positions(grid)
        for block in self.blocks:
            tokens, grid = block(tokens, grid)
        tokens = self.norm(tokens)
        return tokens[:, 1:].transpose(1, 2).unflatten(2, grid), tokens[:, 0]

    def _positions(self, grid: tuple[int, ...]) -> Tensor:
        """(1 + T'H'W', C): what v1 adds to the class token and to every patch."""
        encoding = self.pos_encoding
        frames, size = grid[0], grid[1:]
        spatial, temporal = encoding.spatial_pos, encoding.temporal_pos
        if size != tuple(encoding.spatial_size):
            pictures = spatial.T.unflatten(1, encoding.spatial_size)[None]  # (1, C, H', W')
            pictures = F.interpolate(pictures, size, mode="bilinear", align_corners=False, antialias=True)
            spatial = pictures[0].flatten(1).T
        if frames != encoding.temporal_size:
            temporal = F.interpolate(temporal.T[None], frames, mode="linear", align_corners=False)[0].T
        patches = (temporal[:, None] + spatial[None]).flatten(0, 1)
        return torch.cat([encoding.class_pos[None], patches])


def load_kinetics_(net: VideoNet, weights: str | os.PathLike[str] | WeightsEnum, fetch: Fetch = ASKED_FOR) -> None:
    """Copy Kinetics weights into the body of ``net``; LGD blocks stay as they are.

    ``weights`` is "kinetics" for those that torchvision publishes (``fetch`` says whether they may be fetched; to name
    them is permission otherwise), or a state_dict with torchvision's names saved by ``torch.save``, with or without its
    classifier. Raises DownloadError or ModelFileError, and leaves ``net`` as it was, where they cannot be had or do not
    fit.
    """
    network = net.config.network
    if weights == "kinetics":
        weights = get_model_weights(network).DEFAULT
    if isinstance(weights, WeightsEnum):
        state: Mapping[str, Tensor] = published_state(weights, fetch)
    else:
        state = read_state_dict(Path(weights))
    load_body_(net, state, str(weights))


def load_body_(net: VideoNet, state: Mapping[str, Tensor], source: str) -> None:
    """Copy torchvision's ``state`` into the body of ``net``; ModelFileError that begins with ``source`` if it does not
    fit."""
    head = _HOSTS[net.config.network].classifier.partition(".")[0]
    body = {name: value for name, value in state.items() if name.partition(".")[0] != head}
    load_state_strictly_(net.net, body, source)


def classifier_in(network: str, state: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Weight (classes, C) and bias (classes,) of the last layer; KeyError where ``state`` has none."""
    name = _HOSTS[network].classifier
    return state[f"{name}.weight"].flatten(1), state[f"{name}.bias"]


def _transforms(network: str) -> Any:
    return get_model_weights(network).DEFAULT.transforms()


def _body_of(network: str) -> nn.Module:
    net: Any = _HOSTS[network].build()
    if network.startswith("mvit"):
        return _MViTBody(net)
    if network.startswith("swin3d"):
        names = ["patch_embed", "pos_drop", "features", "norm"]
    else:
        names = ["features"] if network == "s3d" else ["stem", "layer1", "layer2", "layer3", "layer4"]
    return nn.Sequential(OrderedDict((name, getattr(net, name)) for name in names))
