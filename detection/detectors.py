"""The Faster R-CNN family (Ren et al. 2015, with the feature pyramid of Lin et al. 2017) that proposes actors.

Every network here is torchvision's ``FasterRCNN``: ResNet-101-FPN as in the LGD paper (section 5.6), other
ResNets, and a small one that trains on a CPU and is bundled. Its parts are called one by one, because proposals need
two things that ``FasterRCNN.forward`` does not give: batches that are never padded to a common size (padding
changes the result), and one class, so that other objects do not compete for the places in the answer.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.models import resnet
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN, resnet_fpn_backbone
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import concat_box_prediction_layers
from torchvision.ops import FrozenBatchNorm2d, MultiScaleRoIAlign
from torchvision.ops import boxes as box_ops
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from video.flow import QUICK_FLOW, FlowSettings

STRIDE = 32
"""Sides of a batch are padded to a multiple of this, the coarsest stride whose cells must line up."""
RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class DetectorConfig:
    """What a two-class (background, actor) Faster R-CNN is built from; stored in the model file."""

    body: str = "small"
    """"small" (widths and depths below) or the name of a torchvision ResNet, "resnet101" say."""
    frozen_norm: bool = False
    """A torchvision body keeps the batch norm (and the first two stages) of its ImageNet weights, as torchvision
    does: a batch of few pictures estimates it badly. A body trained from scratch has to train its own."""
    stem_width: int = 24
    """Channels of the stride-2 stem; small body only."""
    widths: tuple[int, ...] = (32, 64, 128, 256)
    """Channels of the four stages at strides 4, 8, 16, 32; small body only."""
    depths: tuple[int, ...] = (2, 2, 2, 2)
    """Two-convolution residual blocks in each stage; small body only."""
    pyramid_channels: int = 96
    """Channels of the feature pyramid; torchvision's ResNets always have 256."""
    anchor_sizes: tuple[tuple[float, ...], ...] = ((24, 34), (48, 68), (96, 136), (192, 272))
    """Square root of the anchor areas in pixels, a tuple for each level of the pyramid."""
    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0, 3.0)
    """Height over width. Half of J-HMDB's actors lie between 1.25 and 2.3, 90 % between 0.84 and 3.4."""
    head_width: int = 256
    """Units of the two layers of the box head (torchvision: 1024)."""
    proposals_before_nms: int = 300
    """Best anchors of each level that enter the NMS of the proposal stage when detecting."""
    proposals: int = 100
    """Proposals that the box head judges when detecting. 1000 cost more than twice the time of 100."""
    trained_short_side: int = 240
    """Short side in pixels the network was trained for; larger frames are scaled down to it, smaller are left."""
    mirror: bool = False
    """Frames are looked at mirrored as well: finds more, at twice the time (docs/training.md)."""
    flow: FlowSettings | None = None
    """The network sees optical flow of these settings instead of RGB (detection/motion.py); small body only. It is used
    beside one that sees RGB (detection/two_streams.py)."""
    flow_frames: tuple[int, ...] = (-3, 0, 3)
    """The flow pictures it sees of a frame, as offsets from it: one alone often shows nobody moving."""

    @property
    def channels(self) -> int:
        """Of the input: 3 of RGB, x and y of every flow picture."""
        return 3 if self.flow is None else 2 * len(self.flow_frames)

    def __post_init__(self) -> None:
        if isinstance(self.flow, Mapping):  # as a model file has it
            object.__setattr__(self, "flow", FlowSettings.from_dict(self.flow))
        for name in ("widths", "depths", "anchor_ratios", "flow_frames"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        object.__setattr__(self, "anchor_sizes", tuple(tuple(sizes) for sizes in self.anchor_sizes))
        if self.body not in ("small", *RESNETS):
            raise ValueError(f"unknown body {self.body!r}; known are small, {', '.join(RESNETS)}")
        if self.flow is not None and (self.body != "small" or not self.flow_frames):
            raise ValueError("flow needs the small body, and at least one of flow_frames")
        if self.body == "small" and self.frozen_norm:
            raise ValueError("frozen_norm needs a torchvision body with ImageNet weights")
        if self.body == "small" and self.stem_width < 16:
            # The backward pass of a channels_last 1x1 convolution of stride 2 with fewer than 16 input channels writes
            # beyond its memory in oneDNN (torch 2.15): seen with glibc's malloc check at 4, 8 and 12, not at 16 and up.
            raise ValueError(f"stem_width must be 16 or more, got {self.stem_width}")
        if self.body == "small" and not len(self.widths) == len(self.depths) == 4:
            raise ValueError(f"a small body has 4 stages, got widths {self.widths} and depths {self.depths}")
        levels = 4 if self.body == "small" else 5
        if len(self.anchor_sizes) != levels:
            raise ValueError(f"body {self.body!r} has {levels} levels, got {len(self.anchor_sizes)} anchor sizes")
        if len({len(sizes) for sizes in self.anchor_sizes}) != 1:
            raise ValueError("every level needs the same number of anchor sizes")


def small() -> DetectorConfig:
    """4 M parameters, about 1 GMAC for a frame of 320x240."""
    return DetectorConfig(mirror=True)


def small_flow() -> DetectorConfig:
    """2 M parameters, 0.6 GMAC: the second stream of ``small``."""
    return DetectorConfig(
        widths=(24, 48, 96, 192), pyramid_channels=64, head_width=192, flow=QUICK_FLOW, flow_frames=(-3, 0, 3)
    )


def tiny() -> DetectorConfig:
    """0.3 M parameters: learns simple pictures in minutes, for tries and tests."""
    return DetectorConfig(
        stem_width=16, widths=(16, 32, 48, 64), depths=(1, 1, 1, 1), pyramid_channels=32, head_width=64
    )


def resnet101() -> DetectorConfig:
    """ResNet-101-FPN, the paper's; box head and anchors as in torchvision's R50-FPN."""
    return DetectorConfig(
        body="resnet101",
        pyramid_channels=256,
        anchor_sizes=((32,), (64,), (128,), (256,), (512,)),
        anchor_ratios=(0.5, 1.0, 2.0),
        head_width=1024,
        proposals_before_nms=1000,
        proposals=300,
    )


PRESETS = {"small": small, "small-flow": small_flow, "tiny": tiny, "resnet101": resnet101}


def build_detector(config: DetectorConfig) -> FasterRCNN:
    """A Faster R-CNN with random weights."""
    if config.body == "small":
        backbone = _small_backbone(config)
        levels = ["0", "1", "2"]
    else:
        backbone = resnet_fpn_backbone(
            backbone_name=config.body,
            weights=None,
            norm_layer=FrozenBatchNorm2d if config.frozen_norm else nn.BatchNorm2d,
            trainable_layers=3 if config.frozen_norm else 5,
        )
        levels = ["0", "1", "2", "3"]
    cells = 7
    return FasterRCNN(
        backbone,
        rpn_anchor_generator=AnchorGenerator(config.anchor_sizes, (config.anchor_ratios,) * len(config.anchor_sizes)),
        box_roi_pool=MultiScaleRoIAlign(levels, output_size=cells, sampling_ratio=2),
        box_head=TwoMLPHead(backbone.out_channels * cells**2, config.head_width),
        box_predictor=FastRCNNPredictor(config.head_width, num_classes=2),
        rpn_pre_nms_top_n_train=2 * config.proposals_before_nms,
        rpn_pre_nms_top_n_test=config.proposals_before_nms,
        rpn_post_nms_top_n_train=2 * config.proposals,
        rpn_post_nms_top_n_test=config.proposals,
        rpn_batch_size_per_image=128,
        box_batch_size_per_image=64,
    )


def _small_backbone(config: DetectorConfig) -> BackboneWithFPN:
    stem = nn.Sequential(
        nn.Conv2d(config.channels, config.stem_width, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(config.stem_width),
        nn.ReLU(inplace=True),
    )
    stages: OrderedDict[str, nn.Module] = OrderedDict(stem=stem)
    channels = config.stem_width
    for number, (width, depth) in enumerate(zip(config.widths, config.depths), 1):
        blocks = []
        for block in range(depth):
            stride = 2 if block == 0 else 1
            shortcut = None
            if stride != 1 or channels != width:
                shortcut = nn.Sequential(
                    nn.Conv2d(channels, width, 1, stride=stride, bias=False), nn.BatchNorm2d(width)
                )
            blocks.append(resnet.BasicBlock(channels, width, stride, shortcut))
            channels = width
        stages[f"stage{number}"] = nn.Sequential(*blocks)
    body = nn.Sequential(stages)
    for module in body.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    # Stage 1 (stride 4) is not a level: actors of 24 pixels and more are found at stride 8, at a quarter of the cost.
    return BackboneWithFPN(
        body,
        {"stage2": "0", "stage3": "1", "stage4": "2"},
        list(config.widths[1:]),
        config.pyramid_channels,
        extra_blocks=LastLevelMaxPool(),
        norm_layer=nn.BatchNorm2d,
    )


def to_batch(
    pictures: Tensor,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    padding: int = STRIDE,
) -> ImageList:
    """Normalise (B, channels, H, W) pictures in 0..255; zeros right and below make sides multiples of ``padding``."""
    scale = torch.tensor(std, device=pictures.device).view(1, -1, 1, 1) * 255
    shift = torch.tensor(mean, device=pictures.device).view(1, -1, 1, 1) * 255
    normalised = (pictures.float() - shift) / scale
    height, width = pictures.shape[-2:]
    padded = nn.functional.pad(normalised, (0, -width % padding, 0, -height % padding))
    return ImageList(padded.contiguous(memory_format=torch.channels_last), [(height, width)] * len(pictures))


def detection_losses(model: FasterRCNN, batch: ImageList, boxes: Sequence[Tensor]) -> dict[str, Tensor]:
    """The four losses of Faster R-CNN; ``boxes`` are the actors of each picture, (n, 4) with n >= 0, in its pixels."""
    targets = [{"boxes": b, "labels": torch.ones(len(b), dtype=torch.int64, device=b.device)} for b in boxes]
    features = model.backbone(batch.tensors)
    proposals, rpn_losses = model.rpn(batch, features, targets)
    _, head_losses = model.roi_heads(features, proposals, batch.image_sizes, targets)
    return {**rpn_losses, **head_losses}


def propose_boxes(model: FasterRCNN, batch: ImageList) -> tuple[list[Tensor], list[Tensor]]:
    """The proposal stage alone: per picture boxes (n, 4) and objectness (n,) in 0..1, falling."""
    return _region_proposals(model, batch, model.backbone(batch.tensors))


def detect_boxes(
    model: FasterRCNN,
    batch: ImageList,
    *,
    label: int | None = 1,
    min_score: float = 0.01,
    min_side: float = 1.0,
    nms_iou: float = 0.5,
    max_boxes: int = 100,
) -> tuple[list[Tensor], list[Tensor]]:
    """Boxes of one class: per picture (n, 4) in its pixels and (n,) scores in 0..1, falling.

    ``label`` 1 is the actor of our networks and the person of COCO; None takes every class, each with an NMS of its
    own. The same boxes as ``FasterRCNN.forward`` gives for that class, except that other classes take no places of its
    answer.
    """
    features = model.backbone(batch.tensors)
    proposals, _ = _region_proposals(model, batch, features)
    logits, boxes = _judged(model, batch, features, proposals)
    asked = slice(1, None) if label is None else slice(label, label + 1)
    counts = [len(p) for p in proposals]
    return _best_boxes(
        boxes[:, asked].split(counts),
        logits.softmax(-1)[:, asked].split(counts),
        batch.image_sizes,
        min_score=min_score,
        min_side=min_side,
        nms_iou=nms_iou,
        max_boxes=max_boxes,
    )


def detect_boxes_by_all(
    models: Sequence[FasterRCNN],
    batches: Sequence[ImageList],
    *,
    corner_weights: Sequence[float] | None = None,
    min_score: float = 0.01,
    nms_iou: float = 0.5,
    max_boxes: int = 100,
) -> tuple[list[Tensor], list[Tensor]]:
    """Actors as several networks of two classes see them together, each in its own input; as from :func:`detect_boxes`.

    ``batches`` are the same pictures at the same size. The proposals of all networks are judged by each of them, and of
    every proposal the logits and the corners are averaged, corners with ``corner_weights``, whose sum is 1, if given.
    """
    features = [model.backbone(batch.tensors) for model, batch in zip(models, batches)]
    by_model = [_region_proposals(*inputs)[0] for inputs in zip(models, batches, features)]
    proposals = [torch.cat(of_picture) for of_picture in zip(*by_model)]
    judged = [_judged(*inputs, proposals) for inputs in zip(models, batches, features)]
    logits = torch.stack([logits for logits, _ in judged]).mean(0)
    weights = corner_weights or [1 / len(models)] * len(models)
    boxes = torch.stack([weight * boxes for weight, (_, boxes) in zip(weights, judged)]).sum(0)
    counts = [len(p) for p in proposals]
    return _best_boxes(
        boxes[:, 1:2].split(counts),
        logits.softmax(-1)[:, 1:2].split(counts),
        batches[0].image_sizes,
        min_score=min_score,
        min_side=1.0,
        nms_iou=nms_iou,
        max_boxes=max_boxes,
    )


def _judged(
    model: FasterRCNN, batch: ImageList, features: dict[str, Tensor], proposals: list[Tensor]
) -> tuple[Tensor, Tensor]:
    """What the box head says of all proposals of a batch: logits (n, classes) and boxes (n, classes, 4), float32."""
    heads = model.roi_heads
    hidden = heads.box_head(heads.box_roi_pool(features, proposals, batch.image_sizes))
    logits, deltas = heads.box_predictor(hidden)
    # Without any proposal the coder leaves the classes unfolded.
    boxes = heads.box_coder.decode(deltas.float(), proposals).reshape(-1, logits.shape[1], 4)
    return logits.float(), boxes


def _best_boxes(
    all_boxes: Sequence[Tensor],
    all_scores: Sequence[Tensor],
    sizes: Sequence[tuple[int, int]],
    *,
    min_score: float,
    min_side: float,
    nms_iou: float,
    max_boxes: int,
) -> tuple[list[Tensor], list[Tensor]]:
    """The boxes that stay of (n, classes, 4) boxes with (n, classes) scores of each picture, best first."""
    kept_boxes, kept_scores = [], []
    for boxes, scores, size in zip(all_boxes, all_scores, sizes):
        boxes = box_ops.clip_boxes_to_image(boxes, size)
        sides = boxes[..., 2:] - boxes[..., :2]
        sure = (scores > min_score) & (sides >= min_side).all(-1)
        boxes, scores, classes = boxes[sure], scores[sure], sure.nonzero()[:, 1]
        best = box_ops.batched_nms(boxes, scores, classes, nms_iou)[:max_boxes]
        kept_boxes.append(boxes[best])
        kept_scores.append(scores[best])
    return kept_boxes, kept_scores


def with_mirrored(
    boxes: Sequence[Tensor],
    scores: Sequence[Tensor],
    mirrored_boxes: Sequence[Tensor],
    mirrored_scores: Sequence[Tensor],
    width: int,
    nms_iou: float = 0.5,
) -> tuple[list[Tensor], list[Tensor]]:
    """What was found in pictures ``width`` pixels wide and in their mirror images; of two boxes that overlap the surer
    stays. As from :func:`detect_boxes`."""
    all_boxes, all_scores = [], []
    for seen, sure, other, other_sure in zip(boxes, scores, mirrored_boxes, mirrored_scores):
        turned = torch.stack([width - other[:, 2], other[:, 1], width - other[:, 0], other[:, 3]], dim=1)
        both, both_sure = torch.cat([seen, turned]), torch.cat([sure, other_sure])
        best = box_ops.nms(both, both_sure, nms_iou)
        all_boxes.append(both[best])
        all_scores.append(both_sure[best])
    return all_boxes, all_scores


def _region_proposals(
    model: FasterRCNN, batch: ImageList, features: dict[str, Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    """``RegionProposalNetwork.forward`` keeps its scores to itself, so its steps are repeated here."""
    rpn = model.rpn
    levels = list(features.values())
    objectness, deltas = rpn.head(levels)
    anchors = rpn.anchor_generator(batch, levels)
    per_level = [level[0].numel() for level in objectness]
    scores, offsets = concat_box_prediction_layers(objectness, deltas)
    boxes = rpn.box_coder.decode(offsets.float(), anchors).view(len(anchors), -1, 4)
    return rpn.filter_proposals(boxes, scores.float(), batch.image_sizes, per_level)
