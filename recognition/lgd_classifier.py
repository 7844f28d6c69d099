"""Video classifiers on LGD-2D and LGD-3D: two linear heads (stage one), then the kernel head (stage two).

CVPR 2019, sections 4.3 and 5.2. Stage one trains the network under the losses of both paths (Eq. 6); stage two
replaces the two layers by one on second-order features (Eq. 5, 7) and trains everything again. The baselines
without a global path (``block="none"``: TSN in 2-D, P3D in 3-D) have one head.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torchvision.models import WeightsEnum

from recognition.config_values import from_plain_values, to_plain_values
from recognition.heads import LocalHead, TwoPathHead, class_scores
from recognition.initialise import imagenet_weights, load_imagenet_, xavier_caffe_, zero_diffusion_
from recognition.kernel_head import SKETCH_FORMS, KernelHead, SketchForm
from recognition.lgd2d import (
    LGD2D,
    LGD2DConfig,
    lgd2d_resnet50,
    lgd2d_resnet101,
    lgd2d_small,
    tsn_resnet50,
    tsn_resnet101,
    tsn_small,
)
from recognition.lgd3d import (
    LGD3D,
    LGD3DConfig,
    lgd3d_resnet50,
    lgd3d_resnet101,
    lgd3d_small,
    p3d_resnet50,
    p3d_resnet101,
    p3d_small,
)
from recognition.lgd_block import check_choice, check_counts

BACKBONES: dict[str, Callable[..., LGD2DConfig | LGD3DConfig]] = {
    "lgd3d_resnet50": lgd3d_resnet50,
    "lgd3d_resnet101": lgd3d_resnet101,
    "lgd3d_small": lgd3d_small,
    "p3d_resnet50": p3d_resnet50,
    "p3d_resnet101": p3d_resnet101,
    "p3d_small": p3d_small,
    "lgd2d_resnet50": lgd2d_resnet50,
    "lgd2d_resnet101": lgd2d_resnet101,
    "lgd2d_small": lgd2d_small,
    "tsn_resnet50": tsn_resnet50,
    "tsn_resnet101": tsn_resnet101,
    "tsn_small": tsn_small,
}
"""Backbones by name; the functions take changes of single fields (``pool1_stride=4``, ``input="flow"``)."""


@dataclass(frozen=True)
class LGDClassifierConfig:
    """Everything that shapes the classifier, stored in its model file."""

    num_classes: int
    """Outputs of each head."""
    backbone: LGD2DConfig | LGD3DConfig = field(default_factory=LGD3DConfig)
    """The network below the heads. A mapping of its fields is taken too; ``dimensions`` says of which."""
    dimensions: Literal[2, 3] | None = None
    """Of the backbone: 2 for LGD2DConfig, 3 for LGD3DConfig; filled in from ``backbone`` where that is a config."""
    head: Literal["paths", "kernel"] = "paths"
    """"paths": a linear layer a path, Eq. 6; "kernel": one on the sketches of both, Eq. 7."""
    dropout: float = 0.5
    """Before each linear layer, as in the authors' public LGD code."""
    sketch_size: int = 8192
    """d of the kernel head; not given in the paper, 8192 in compact bilinear pooling."""
    sketch_form: SketchForm = "l2_sqrt"
    """Normalisation of the kernel head's features, see :class:`recognition.kernel_head.KernelHead`."""
    sketch_seed: int = 0
    """Of the kernel head's hashes; a loaded file brings its own hashes."""

    def __post_init__(self) -> None:
        kinds: dict[int, type[LGD2DConfig] | type[LGD3DConfig]] = {2: LGD2DConfig, 3: LGD3DConfig}
        if isinstance(self.backbone, Mapping):
            if self.dimensions not in kinds:
                raise ValueError(f"dimensions must be 2 or 3 beside the backbone's fields, got {self.dimensions!r}")
            object.__setattr__(self, "backbone", kinds[self.dimensions].from_dict(self.backbone))
        own = 2 if isinstance(self.backbone, LGD2DConfig) else 3
        if self.dimensions not in (None, own):
            raise ValueError(f"dimensions is {self.dimensions}, but the backbone is {type(self.backbone).__name__}")
        object.__setattr__(self, "dimensions", own)
        check_counts("num_classes", self.num_classes)
        check_choice("head", self.head, ("paths", "kernel"))
        check_counts("sketch_size", self.sketch_size)
        check_choice("sketch_form", self.sketch_form, SKETCH_FORMS)
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be 0 or more and below 1, got {self.dropout}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; :meth:`from_dict` is the way back."""
        return to_plain_values(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LGDClassifierConfig:
        """Raises ValueError for a key that the config or its backbone does not have, or a value without meaning."""
        return from_plain_values(cls, values)


class LGDClassifier(nn.Module):
    """Clips (B, C, T, H, W), float, normalised, to logits: a tuple with a (B, num_classes) tensor a head.

    The loss is the sum of the cross entropies of all members, the first member is the one to predict by: the local
    path, or the kernel head. The start is torch's default: call :func:`start_from_scratch_` or
    :func:`start_from_imagenet_` next.
    """

    backbone: LGD2D | LGD3D
    head: TwoPathHead | LocalHead | KernelHead

    def __init__(self, config: LGDClassifierConfig) -> None:
        super().__init__()
        self.config = config
        backbone = config.backbone
        self.backbone = LGD2D(backbone) if isinstance(backbone, LGD2DConfig) else LGD3D(backbone)
        channels = backbone.out_channels
        if config.head == "kernel":
            self.head = KernelHead(
                channels,
                config.num_classes,
                config.sketch_size,
                config.sketch_form,
                config.dropout,
                config.sketch_seed,
            )
        elif backbone.block == "none":
            self.head = LocalHead(channels, config.num_classes, config.dropout)
        else:
            self.head = TwoPathHead(channels, config.num_classes, config.dropout)

    def forward(self, clips: Tensor) -> tuple[Tensor, ...]:
        local, global_ = self.backbone(clips)
        if isinstance(self.head, TwoPathHead):
            return self.head(local, global_)
        if isinstance(self.head, KernelHead):
            return (self.head(local, global_),)
        return (self.head(local),)

    def scores(self, clips: Tensor, *, paths: Literal["local", "mean"] = "local") -> Tensor:
        """(B, num_classes) float32 probabilities: of the first head, or the mean of both; set ``eval()`` before."""
        return class_scores(*self(clips), paths=paths)

    def features(self, clips: Tensor) -> Tensor:
        """P(x_L), the mean of the local map, (B, backbone.out_channels): what temporal pooling over clips takes.

        The same for every head; the kernel head's own features are ``head.features(*backbone(clips))``.
        """
        return self.backbone(clips)[0].mean(dim=(2, 3, 4))

    def class_maps(self, clips: Tensor) -> Tensor:
        """(B, num_classes, T', H', W'): what each position of the local map adds to each class, without the bias.

        The mean over positions is the local path's logit without its bias, for the kernel head the local half's.
        """
        local = self.backbone(clips)[0]
        if isinstance(self.head, KernelHead):
            return self.head.class_maps(local)
        return torch.einsum("bcthw,kc->bkthw", local, self.head.local.weight.to(local.dtype))


def start_from_scratch_(
    net: LGDClassifier, *, zero_diffusion: bool = False, generator: torch.Generator | None = None
) -> None:
    """Caffe's Xavier everywhere (section 5.2).

    ``zero_diffusion`` also starts W^{xg} at zero, as an ImageNet start does: without it the global vector grows
    with depth, and narrow networks may diverge at learning rates that suit their baseline.
    """
    xavier_caffe_(net, generator=generator)
    if zero_diffusion:
        zero_diffusion_(net)


def start_from_imagenet_(
    net: LGDClassifier,
    weights: WeightsEnum | str | os.PathLike[str] | None = None,
    *,
    generator: torch.Generator | None = None,
) -> None:
    """The backbone from a 2-D ResNet, the heads from Caffe's Xavier.

    ``weights`` as in :func:`recognition.initialise.load_imagenet_`; None takes torchvision's for the backbone's
    depths. Raises ValueError where there are none, ModelFileError for a file that does not fit.
    """
    backbone = net.backbone
    load_imagenet_(
        backbone, imagenet_weights(backbone.config.depths) if weights is None else weights, generator=generator
    )
    xavier_caffe_(net.head, generator=generator)


def with_kernel_head(
    net: LGDClassifier,
    *,
    sketch_size: int = 8192,
    sketch_form: SketchForm = "l2_sqrt",
    sketch_seed: int = 0,
    dropout: float | None = None,
    pool1_stride: int | None = None,
    generator: torch.Generator | None = None,
) -> LGDClassifier:
    """Stage two from stage one: a new classifier with the backbone's weights and a kernel head.

    Args:
        net: of stage one; stays as it is.
        sketch_size: and the other two, see :class:`recognition.kernel_head.KernelHead`.
        sketch_form: of the kernel head.
        sketch_seed: of the kernel head.
        dropout: before the new layer; None keeps stage one's.
        pool1_stride: of the new LGD-3D; 4 for the 128-frame network, which exists in stage two only (section 5.4).
        generator: for the new linear layer, Caffe's Xavier.

    Raises:
        ValueError: ``net`` has a kernel head already, or ``pool1_stride`` is given for LGD-2D.
    """
    if net.config.head == "kernel":
        raise ValueError("the classifier has a kernel head already; stage two starts from head 'paths'")
    backbone = net.config.backbone
    if pool1_stride is not None:
        if isinstance(backbone, LGD2DConfig):
            raise ValueError("pool1_stride is an option of LGD-3D; LGD-2D does not pool over time")
        backbone = dataclasses.replace(backbone, pool1_stride=pool1_stride)
    second = LGDClassifier(
        dataclasses.replace(
            net.config,
            backbone=backbone,
            head="kernel",
            dropout=net.config.dropout if dropout is None else dropout,
            sketch_size=sketch_size,
            sketch_form=sketch_form,
            sketch_seed=sketch_seed,
        )
    )
    second.backbone.load_state_dict(net.backbone.state_dict())
    xavier_caffe_(second.head, generator=generator)
    return second.to(next(net.parameters()).device).train(net.training)
