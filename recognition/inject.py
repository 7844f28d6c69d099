"""torchvision's video networks with Local and Global Diffusion: r3d_18, mc3_18, r2plus1d_18 and s3d.

    net = inject_lgd("r2plus1d_18", weights="KINETICS400_V1", num_classes=51)
    local, global_ = net(clips)

At the start the local logits are, bit for bit, those of torchvision's network. The three ResNets have a block around
each of their eight residual units, the sum of Eq. 2 beside the shortcut; g starts behind the stem. S3D has one around
each of its nine Inception units: their maps lie one behind the other in x_l, so each branch gets its rows of W^{xg}
g before its last ReLU; its plain convolutions and pools up to the first Inception unit are the stem. Another 3-D CNN:
``recognition.global_path.inject_lgd_at``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import WeightsEnum, get_model_weights
from torchvision.models.video import mc3_18, r2plus1d_18, r3d_18, s3d

from recognition.config_values import from_plain_values, to_plain_values
from recognition.global_path import Injected, InjectionPoints, channels_at, classifier_of
from recognition.initialise import read_state_dict
from recognition.lgd_block import check_choice, check_counts
from recognition.model_files import load_state_strictly_
from recognition.preprocessing import Preprocessing

KINETICS_PREPROCESSING = Preprocessing(mean=(0.43216, 0.394666, 0.37645), std=(0.22803, 0.22145, 0.216989))
"""What torchvision's Kinetics-400 weights of these networks were trained with."""

RESNET_POINTS = InjectionPoints(
    first="stem",
    units=tuple((f"layer{stage}.{unit}.relu",) for stage in (1, 2, 3, 4) for unit in (0, 1)),
    classifier="fc",
)
S3D_POINTS = InjectionPoints(
    first="features.4",
    units=tuple(
        tuple(f"features.{unit}.{last}" for last in ("branch0.2", "branch1.1.1.2", "branch2.1.1.2", "branch3.1.2"))
        for unit in (5, 6, 8, 9, 10, 11, 12, 14, 15)
    ),
    classifier="classifier.1",
)


@dataclass(frozen=True)
class _Host:
    build: Callable[..., nn.Module]
    points: InjectionPoints
    least_frames: int  # of a clip; fewer leave nothing for the last pool
    least_side: int  # of a clip, pixels


_HOSTS = {
    "r3d_18": _Host(r3d_18, RESNET_POINTS, 1, 1),
    "mc3_18": _Host(mc3_18, RESNET_POINTS, 1, 1),
    "r2plus1d_18": _Host(r2plus1d_18, RESNET_POINTS, 1, 1),
    "s3d": _Host(s3d, S3D_POINTS, 13, 209),  # its last pool is 2x7x7 on the map of 1/8, 1/32
}
NETWORKS = tuple(_HOSTS)


@dataclass(frozen=True)
class InjectedConfig:
    """Which network, and its blocks."""

    network: str
    """Of torchvision.models.video: r3d_18, mc3_18, r2plus1d_18 or s3d."""
    num_classes: int = 400
    """Outputs of both classifiers; Kinetics-400 by default, as torchvision's weights."""
    rank_divisor: int | None = 16
    """Rank of every W is its output width over this; None: full matrices (section 3.2)."""
    dropout: float = 0.0
    """Share of g zeroed before the global classifier; the network keeps its own dropout."""

    def __post_init__(self) -> None:
        check_choice("network", self.network, NETWORKS)
        check_counts("num_classes", self.num_classes)
        if self.rank_divisor is not None:
            check_counts("rank_divisor", self.rank_divisor)
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; :meth:`from_dict` is the way back."""
        return to_plain_values(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> InjectedConfig:
        """Raises ValueError for a key that InjectedConfig does not have, or for a value it cannot mean."""
        return from_plain_values(cls, values)


class InjectedNet(Injected):
    """One of torchvision's video networks with LGD; clips (B, 3, T, H, W) -> (local logits, global logits).

    The weights of torchvision's network are at random unless ``net`` brings them; :func:`inject_lgd` loads them. Its
    own state_dict is that of ``self.net``, with torchvision's names. Raises ValueError for clips of a wrong shape.
    """

    def __init__(
        self, config: InjectedConfig, net: nn.Module | None = None, *, generator: torch.Generator | None = None
    ) -> None:
        host = _HOSTS[config.network]
        super().__init__(
            host.build(num_classes=config.num_classes) if net is None else net,
            host.points,
            widths_of(config.network),
            config.num_classes,
            rank_divisor=config.rank_divisor,
            dropout=config.dropout,
            generator=generator,
        )
        self.config = config

    def _check(self, clips: Tensor) -> None:
        host = _HOSTS[self.config.network]
        if clips.ndim != 5 or clips.shape[1] != 3 or clips.numel() == 0:
            raise ValueError(f"expected clips (B, 3, T, H, W), got {tuple(clips.shape)}")
        if clips.shape[2] < host.least_frames or min(clips.shape[3:]) < host.least_side:
            raise ValueError(
                f"{self.config.network} needs clips of at least {host.least_frames} frames and {host.least_side} "
                f"pixels a side, got {tuple(clips.shape)}"
            )


def inject_lgd(
    network: str | nn.Module,
    *,
    weights: WeightsEnum | str | os.PathLike[str] | None = None,
    num_classes: int | None = None,
    rank_divisor: int | None = 16,
    dropout: float = 0.0,
    generator: torch.Generator | None = None,
) -> InjectedNet:
    """LGD blocks around the units of one of torchvision's networks; its output does not change by that.

    ``network`` is a name (:data:`NETWORKS`) or the network itself, which then is used and not copied. ``weights``, for
    a name: ``R3D_18_Weights.KINETICS400_V1`` or its name (torchvision downloads and caches it), a state_dict with
    torchvision's names saved by ``torch.save``, or None for a random start. ``num_classes`` None keeps the classes of
    the weights; any other number than theirs puts a fresh classifier in the place of the old one. Raises ValueError
    for another network and for weights that are not its own, ModelFileError for a file that does not fit.
    """
    if num_classes is not None:
        check_counts("num_classes", num_classes)
    if isinstance(network, nn.Module):
        if weights is not None:
            raise ValueError("weights go with the name of a network; load them into the network itself first")
        name, net = _name_of(network), network
    else:
        name = InjectedConfig(network).network
        build, classifier = _HOSTS[name].build, _HOSTS[name].points.classifier
        if weights is None:
            net = build(num_classes=num_classes or 400)
        else:
            source, state = _weights_of(name, weights)
            outputs = state.get(f"{classifier}.weight")
            net = build(num_classes=400 if outputs is None else len(outputs))
            load_state_strictly_(net, state, source)
    classes = num_classes or len(classifier_of(net, _HOSTS[name].points.classifier).weight)
    return InjectedNet(InjectedConfig(name, classes, rank_divisor, dropout), net, generator=generator)


def widths_of(network: str) -> tuple[int, ...]:
    """Channels of x_1 and of every unit."""
    with torch.device("meta"):
        return channels_at(_HOSTS[network].build(), _HOSTS[network].points, torch.empty(1, 3, 16, 224, 224))


def _weights_of(network: str, weights: WeightsEnum | str | os.PathLike[str]) -> tuple[str, Mapping[str, Tensor]]:
    """What to call the weights in an error, and their tensors."""
    published = get_model_weights(network)
    if isinstance(weights, str) and weights in published.__members__:
        weights = published[weights]
    if not isinstance(weights, WeightsEnum):
        return str(weights), read_state_dict(Path(weights))
    if not isinstance(weights, published):
        raise ValueError(f"{weights} are not weights of {network}; it has {', '.join(published.__members__)}")
    return str(weights), weights.get_state_dict(progress=True, check_hash=True, weights_only=True)


def _name_of(net: nn.Module) -> str:
    """Which network it is, by the names and shapes of its weights; the classifier may have any size."""

    def shapes(net: nn.Module, classifier: str) -> dict[str, torch.Size]:
        return {name: v.shape for name, v in net.state_dict().items() if not name.startswith(f"{classifier}.")}

    for name, host in _HOSTS.items():
        with torch.device("meta"):
            twin = host.build()
        if shapes(net, host.points.classifier) == shapes(twin, host.points.classifier):
            return name
    raise ValueError(
        f"{type(net).__name__} is none of {', '.join(NETWORKS)}; use recognition.global_path.inject_lgd_at and name "
        "its units"
    )
