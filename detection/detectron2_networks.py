"""Faster R-CNN as detectron2 computes it, from torchvision's parts: what its checkpoints need to give its boxes.

detectron2 and torchvision agree but for: anchors, which torchvision rounds to whole pixels and places by the size of
the picture; ROI pooling, which it shifts by half a cell and samples 2 x 2 times; the convolution of a bottleneck that
has the stride (in networks that began from MSRA's ImageNet weights); and the networks without a pyramid ("C4", Ren
et al. 2015), which torchvision does not have. A network must run with what it was trained with, so torchvision's own
checkpoints keep its way.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torchvision import ops
from torchvision.models import resnet
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead, FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

BODIES = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3), "resnet152": (3, 8, 36, 3)}
"""Blocks of the four stages."""
ANCHOR_SIZES = (32, 64, 128, 256, 512)
ANCHOR_RATIOS = (0.5, 1.0, 2.0)
_PYRAMID_CHANNELS = 256
_HEAD_WIDTH = 1024


@dataclass(frozen=True)
class Detectron2Config:
    """What a network of detectron2's Faster R-CNN family is built from; stored in the model file."""

    body: str = "resnet101"
    features: Literal["fpn", "c4"] = "fpn"
    """A pyramid of strides 4 to 64, or the fourth stage alone (stride 16), with the fifth as box head."""
    classes: int = 80
    """Without the background; 0 for a region proposal network without a second stage."""
    stride_in_3x3: bool = False
    """Which convolution of a stage's first block has the stride: the first (MSRA's weights), or the 3x3."""
    pyramid_norm: bool = False
    """The pyramid has batch norm ("LSJ" networks)."""
    rpn_convolutions: int = 1
    head_convolutions: int = 0
    """Convolutions with batch norm before the box head's one linear layer; 0: two linear layers."""
    proposals_before_nms: int = 1000
    """Best anchors of each level that enter the NMS of the proposal stage (C4: 6000)."""
    proposals: int = 1000
    """Proposals that the box head judges."""
    trained_short_side: int = 800
    trained_long_side: int = 1333

    def __post_init__(self) -> None:
        if self.body not in BODIES:
            raise ValueError(f"unknown body {self.body!r}; known are {', '.join(BODIES)}")
        if self.features not in ("fpn", "c4"):
            raise ValueError(f"features must be fpn or c4, got {self.features!r}")
        if self.features == "c4" and (self.pyramid_norm or self.head_convolutions):
            raise ValueError("a network without a pyramid has no norm in it, and its box head is the fifth stage")
        if min(self.proposals_before_nms, self.proposals, self.rpn_convolutions) < 1 or self.classes < 0:
            raise ValueError("proposals and convolutions must be 1 or more, classes 0 or more")

    @property
    def strides(self) -> tuple[int, ...]:
        """Of the levels."""
        return (4, 8, 16, 32, 64) if self.features == "fpn" else (16,)

    @property
    def padding(self) -> int:
        """Sides of pictures are padded to a multiple of this."""
        return 32 if self.features == "fpn" else 1

    @property
    def anchor_sizes(self) -> tuple[tuple[int, ...], ...]:
        return tuple((size,) for size in ANCHOR_SIZES) if self.features == "fpn" else (ANCHOR_SIZES,)


def build_detectron2_network(config: Detectron2Config) -> FasterRCNN:
    """A Faster R-CNN with random weights that computes what detectron2's network of this ``config`` does."""
    body = resnet.__dict__[config.body](weights=None, norm_layer=ops.FrozenBatchNorm2d)
    if not config.stride_in_3x3:
        for stage in (body.layer2, body.layer3, body.layer4):
            stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    for part in (body.conv1, body.layer1):  # as detectron2's BACKBONE.FREEZE_AT: 2
        part.requires_grad_(False)
    backbone: nn.Module
    head: nn.Module
    if config.features == "fpn":
        backbone = BackboneWithFPN(
            body,
            {f"layer{number}": str(number - 1) for number in (1, 2, 3, 4)},
            [256, 512, 1024, 2048],
            _PYRAMID_CHANNELS,
            extra_blocks=LastLevelMaxPool(),
            norm_layer=ops.FrozenBatchNorm2d if config.pyramid_norm else None,
        )
        pooler = AlignedPooler(["0", "1", "2", "3"], config.strides[:4], output_size=7)
        head_width = _HEAD_WIDTH
        if config.head_convolutions:
            widths = [_PYRAMID_CHANNELS] * config.head_convolutions
            head = FastRCNNConvFCHead(
                (_PYRAMID_CHANNELS, 7, 7), widths, [_HEAD_WIDTH], norm_layer=ops.FrozenBatchNorm2d
            )
        else:
            head = TwoMLPHead(_PYRAMID_CHANNELS * 7**2, _HEAD_WIDTH)
    else:
        head = FifthStage(body.layer4)
        backbone = FourthStage(body)
        pooler = AlignedPooler(["0"], config.strides, output_size=14)
        head_width = 2048
    if config.classes:
        predictor: nn.Module = FastRCNNPredictor(head_width, config.classes + 1)
    else:
        head, predictor = nn.Identity(), nn.Identity()
    anchors = ExactAnchors(config.anchor_sizes, (ANCHOR_RATIOS,) * len(config.strides), strides=config.strides)
    return FasterRCNN(
        backbone,
        rpn_anchor_generator=anchors,
        rpn_head=RPNHead(backbone.out_channels, anchors.num_anchors_per_location()[0], config.rpn_convolutions),
        box_roi_pool=pooler,
        box_head=head,
        box_predictor=predictor,
        rpn_pre_nms_top_n_train=2 * config.proposals_before_nms,
        rpn_pre_nms_top_n_test=config.proposals_before_nms,
        rpn_post_nms_top_n_train=2 * config.proposals,
        rpn_post_nms_top_n_test=config.proposals,
    )


def unfilled_detectron2_network(config: Detectron2Config) -> FasterRCNN:
    """The same without any values, for weights that are loaded at once: random ones take a second or two to draw."""
    with torch.device("meta"):
        model = build_detectron2_network(config)
    return model.to_empty(device="cpu")


class FourthStage(nn.Module):
    """A ResNet up to its fourth stage (detectron2's res4), stride 16."""

    out_channels = 1024

    def __init__(self, body: resnet.ResNet) -> None:
        super().__init__()
        self.body = IntermediateLayerGetter(body, {"layer3": "0"})

    def forward(self, pictures: Tensor) -> OrderedDict[str, Tensor]:
        return self.body(pictures)


class FifthStage(nn.Module):
    """The last stage of a ResNet over pooled regions, (n, 1024, 14, 14) to their mean, (n, 2048)."""

    def __init__(self, layer4: nn.Module) -> None:
        super().__init__()
        self.layer4 = layer4

    def forward(self, regions: Tensor) -> Tensor:
        return self.layer4(regions).mean((2, 3))


class ExactAnchors(AnchorGenerator):
    """Anchors of detectron2: not rounded, size by size, at fixed strides.

    torchvision divides the side of the picture by that of the grid, which gives the coarsest level of a picture of 1088
    pixels a stride of 60 instead of 64.
    """

    def __init__(
        self, sizes: Sequence[Sequence[int]], ratios: Sequence[Sequence[float]], *, strides: Sequence[int]
    ) -> None:
        super().__init__(sizes, ratios)
        self.strides = tuple(strides)

    def generate_anchors(
        self,
        scales: Any,
        aspect_ratios: Any,
        dtype: torch.dtype = torch.float32,
        device: torch.device = torch.device("cpu"),  # noqa: B008 - the signature that is overridden
    ) -> Tensor:
        """(sizes * ratios, 4) around zero; all ratios (height over width) of a size, then those of the next."""
        size = torch.as_tensor(scales, dtype=torch.float64, device=device)[:, None]
        ratio = torch.as_tensor(aspect_ratios, dtype=torch.float64, device=device)[None, :]
        half_width = (size / ratio.sqrt() / 2).flatten()
        half_height = (size * ratio.sqrt() / 2).flatten()
        return torch.stack([-half_width, -half_height, half_width, half_height], dim=1).to(dtype)

    def forward(self, image_list: ImageList, feature_maps: list[Tensor]) -> list[Tensor]:
        self.set_cell_anchors(feature_maps[0].dtype, feature_maps[0].device)
        steps = [[torch.tensor(s, device=feature_maps[0].device)] * 2 for s in self.strides]
        every = torch.cat(self.grid_anchors([list(level.shape[-2:]) for level in feature_maps], steps))
        return [every] * len(image_list.image_sizes)


class AlignedPooler(ops.MultiScaleRoIAlign):
    """ROI pooling of detectron2 ("ROIAlignV2"): pixels are squares, not points, and all of a cell is sampled.

    A region goes to the level that equation 1 of Lin et al. 2017 names.
    """

    def __init__(self, levels: list[str], strides: Sequence[int], output_size: int) -> None:
        super().__init__(levels, output_size, sampling_ratio=0)
        self.strides = tuple(strides)

    def forward(self, x: dict[str, Tensor], boxes: list[Tensor], image_shapes: list[tuple[int, int]]) -> Tensor:
        """Regions (n, C, size, size) of all ``boxes``, picture after picture."""
        picture = torch.cat([torch.full_like(b[:, :1], number) for number, b in enumerate(boxes)])
        regions = torch.cat([picture, torch.cat(boxes)], dim=1)  # (n, 5)
        levels = [x[name] for name in self.featmap_names]
        if len(levels) == 1:
            return self._pool(levels[0], regions, self.strides[0])
        sides = regions[:, 3:5] - regions[:, 1:3]
        number = torch.floor(4 + torch.log2(sides.prod(1).sqrt() / 224 + 1e-8)).clamp(2, 5) - 2
        pooled = levels[0].new_zeros(len(regions), levels[0].shape[1], *self.output_size)
        for level, (features, stride) in enumerate(zip(levels, self.strides)):
            here = torch.nonzero(number == level)[:, 0]
            pooled[here] = self._pool(features, regions[here], stride).to(pooled.dtype)
        return pooled

    def _pool(self, features: Tensor, regions: Tensor, stride: int) -> Tensor:
        regions = regions.to(features.dtype)
        return ops.roi_align(features, regions, self.output_size, 1 / stride, self.sampling_ratio, aligned=True)
