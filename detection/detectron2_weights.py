"""Checkpoints of detectron2 as weights of torchvision's parts (detection/detectron2_networks.py).

A Faster R-CNN, Mask R-CNN (without its masks), Keypoint R-CNN (without its keypoints) or region proposal network on
ResNet-50, 101 or 152, with a pyramid or without ("C4"). Which it is, the names and shapes in the checkpoint tell. Names
are mapped one by one; besides, colours are RGB here and BGR there, and the background is the first class here and the
last there, without a box of its own.
"""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision.models.detection import FasterRCNN, FasterRCNN_ResNet50_FPN_Weights

from detection.detectors import IMAGENET_MEAN, IMAGENET_STD
from detection.detectron2_networks import (
    ANCHOR_RATIOS,
    BODIES,
    Detectron2Config,
    ExactAnchors,
    unfilled_detectron2_network,
)
from recognition.model_files import ModelFileError, load_state_strictly_
from recognition.preprocessing import Preprocessing
from video.pickles import PickleError, load_pickle

COCO_CLASSES = tuple(
    name for name in FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"] if name not in ("__background__", "N/A")
)
"""The 80 classes in the order of detectron2."""

OTHER_HEADS = ("roi_heads.mask_head.", "roi_heads.keypoint_head.")
"""Of masks and keypoints; their weights are left out, since boxes do not depend on them."""
_NO_WEIGHTS = re.compile(r"pixel_(mean|std)|.*\.num_batches_tracked|proposal_generator\.anchor_generator\..*")
_MSRA_MEAN = (103.53, 116.28, 123.675)
"""Of blue, green and red in 0..255; the networks that began from MSRA's weights divide by 1."""


@dataclass(frozen=True, eq=False)
class ConvertedDetector:
    """A checkpoint of detectron2 in torchvision's parts."""

    model: FasterRCNN
    config: Detectron2Config
    preprocessing: Preprocessing
    class_names: tuple[str, ...]
    """Of outputs 1, 2, ... of the box head; output 0 is the background."""


def convert_checkpoint(
    path: str | os.PathLike[str],
    *,
    torchvision_body: bool = False,
    class_names: Iterable[str] | None = None,
    proposals: int = 1000,
) -> ConvertedDetector:
    """Read a ``.pkl`` or ``.pth`` checkpoint, without running what a pickle may contain.

    Args:
        torchvision_body: the network began from torchvision's ImageNet weights, not from MSRA's: its config has RGB
            input, ``STRIDE_IN_1X1: False`` and ImageNet's mean and deviation. No weight tells this.
        class_names: by default those of COCO for 80 classes, "actor" for one, else "class 1", "class 2" and so on.
        proposals: how many the box head judges; detectron2 lets it judge 1000.

    Raises ModelFileError with the file, what does not fit and what can be done.
    """
    state = read_checkpoint(path)
    config = config_of(state, path, stride_in_3x3=torchvision_body, proposals=proposals)
    names = _class_names(config.classes, class_names, path)
    _check_anchors(state, config, path)
    model = unfilled_detectron2_network(config).eval()
    weights = {}
    for name, tensor in _with_statistics(state).items():
        if _NO_WEIGHTS.fullmatch(name) or name.startswith(OTHER_HEADS):
            continue
        weights[torchvision_name(name, config) or name] = tensor
    if "roi_heads.box_predictor.cls_score.weight" in weights:
        _move_background(weights, config, path)
    stem = "backbone.body.conv1.weight"
    if not torchvision_body and stem in weights:
        weights[stem] = weights[stem].flip(1)
    load_state_strictly_(model, weights, str(path))
    return ConvertedDetector(model, config, _preprocessing(state, torchvision_body), names)


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Name to float32 weights of a checkpoint; ModelFileError where it is none, or of another program."""
    path = Path(path)
    if not path.is_file():
        raise ModelFileError(f"{path}: no such file of weights")
    try:
        if path.suffix == ".pkl":
            content = load_pickle(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except PickleError as error:
        raise ModelFileError(str(error)) from None
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
        raise ModelFileError(f"{path}: not a readable checkpoint ({' '.join(str(error).split())[:100]})") from None
    if isinstance(content, Mapping) and ("blobs" in content or content.get("matching_heuristics")):
        raise ModelFileError(
            f"{path}: weights in the layout of Caffe2; load them with detectron2 and save them, then convert"
        )
    if isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):
        content = content["model"]
    if not isinstance(content, Mapping) or not content:
        raise ModelFileError(f"{path}: not a checkpoint of detectron2: it has no weights by name")
    state = {}
    for name, value in content.items():
        if isinstance(value, np.ndarray) and value.dtype.kind in "fiu":
            value = torch.from_numpy(np.array(value, dtype=value.dtype.newbyteorder("=")))
        if isinstance(value, int | float):  # counters
            continue
        if not isinstance(value, Tensor):
            raise ModelFileError(f"{path}: not a checkpoint of detectron2: {str(name)[:60]!r} is no array")
        state[str(name)] = value.float()
    return state


def config_of(
    state: Mapping[str, Tensor], path: str | os.PathLike[str], *, stride_in_3x3: bool, proposals: int
) -> Detectron2Config:
    """The network that the names and shapes of a checkpoint belong to; ModelFileError where we cannot build it."""
    pyramid = any(name.startswith("backbone.fpn_output2.") for name in state)
    body = "backbone.bottom_up." if pyramid else "backbone."
    if f"{body}stem.conv1.weight" not in state:
        raise ModelFileError(f"{path}: not a ResNet detector of detectron2: it has no {body}stem.conv1.weight")
    blocks = [_count(state, rf"{re.escape(body)}res{stage}\.(\d+)\.conv3\.weight") for stage in (2, 3, 4)]
    depth = next((name for name, stages in BODIES.items() if list(stages[:3]) == blocks), None)
    second = state.get(f"{body}res2.0.conv2.weight")
    if depth is None or second is None or second.shape[1] != 64 or f"{body}res3.0.conv2_offset.weight" in state:
        raise ModelFileError(f"{path}: its body is no plain ResNet-50, 101 or 152: use detectron2 itself")
    if not pyramid and any(name.startswith("backbone.res5.") for name in state):
        raise ModelFileError(f"{path}: a network with dilated convolutions (DC5): use detectron2 itself")
    pyramid_norm = "backbone.fpn_output2.norm.weight" in state
    if pyramid_norm and "backbone.fpn_output2.norm.running_mean" not in state:
        raise ModelFileError(f"{path}: a network with group norm: use detectron2 itself")
    classifier = state.get("roi_heads.box_predictor.cls_score.weight")
    head_convolutions = _count(state, r"roi_heads\.box_head\.conv(\d+)\.weight")
    if head_convolutions and "roi_heads.box_head.conv1.norm.running_mean" not in state:
        raise ModelFileError(f"{path}: a box head of convolutions without batch norm: use detectron2 itself")
    deep = _count(state, r"proposal_generator\.rpn_head\.conv\.conv(\d+)\.weight")
    return Detectron2Config(
        body=depth,
        features="fpn" if pyramid else "c4",
        classes=0 if classifier is None else len(classifier) - 1,
        stride_in_3x3=stride_in_3x3,
        pyramid_norm=pyramid_norm,
        rpn_convolutions=deep or 1,
        head_convolutions=head_convolutions,
        proposals_before_nms=1000 if pyramid else 6000,
        proposals=proposals,
    )


def torchvision_name(name: str, config: Detectron2Config) -> str | None:
    """The name in torchvision of a weight of detectron2, None where there is no such weight."""
    body = "backbone.bottom_up." if config.features == "fpn" else "backbone."
    rules = [
        (rf"{re.escape(body)}(stem\.conv1|res[2-5]\.\d+\.\w+)\.(.+)", _body_name),
        (r"roi_heads\.(res5\.\d+\.\w+)\.(.+)", _body_name),
        (r"backbone\.fpn_(lateral|output)([2-5])\.(norm\.)?(\w+)", _pyramid_name),
        (
            r"proposal_generator\.rpn_head\.(conv|conv\.conv\d|objectness_logits|anchor_deltas)\.(weight|bias)",
            _rpn_name,
        ),
        (r"roi_heads\.box_head\.(fc|conv)(\d)\.(norm\.)?(\w+)", lambda m: _head_name(m, config.head_convolutions)),
        (r"(roi_heads\.box_predictor\.(?:cls_score|bbox_pred)\.(?:weight|bias))", lambda m: str(m[1])),
    ]
    for pattern, renamed in rules:
        if match := re.fullmatch(pattern, name):
            return renamed(match)
    return None


def _body_name(match: re.Match[str]) -> str | None:
    """``res2.0.conv1`` and ``norm.weight`` to ``backbone.body.layer1.0.bn1.weight``."""
    module, parameter = match[1].split("."), match[2]
    is_norm = parameter.startswith("norm.")
    parameter = parameter.removeprefix("norm.")
    if module[0] == "stem":
        return f"backbone.body.{'bn1' if is_norm else 'conv1'}.{parameter}"
    stage, block, part = int(module[0].removeprefix("res")) - 1, module[1], module[2]
    where = "roi_heads.box_head" if match[0].startswith("roi_heads.") else "backbone.body"
    if part == "shortcut":
        return f"{where}.layer{stage}.{block}.downsample.{int(is_norm)}.{parameter}"
    return f"{where}.layer{stage}.{block}.{part.replace('conv', 'bn') if is_norm else part}.{parameter}"


def _pyramid_name(match: re.Match[str]) -> str:
    blocks = {"lateral": "inner_blocks", "output": "layer_blocks"}[match[1]]
    return f"backbone.fpn.{blocks}.{int(match[2]) - 2}.{1 if match[3] else 0}.{match[4]}"


def _rpn_name(match: re.Match[str]) -> str:
    part = {"objectness_logits": "cls_logits", "anchor_deltas": "bbox_pred", "conv": "conv.0.0"}.get(match[1])
    return f"rpn.head.{part or f'conv.{match[1][-1]}.0'}.{match[2]}"


def _head_name(match: re.Match[str], convolutions: int) -> str:
    kind, number = match[1], int(match[2])
    if kind == "conv":
        return f"roi_heads.box_head.{number - 1}.{1 if match[3] else 0}.{match[4]}"
    layer = f"fc{number + 5}" if not convolutions else str(convolutions + 1)  # after the convolutions it is flattened
    return f"roi_heads.box_head.{layer}.{match[4]}"


def _move_background(weights: dict[str, Tensor], config: Detectron2Config, path: str | os.PathLike[str]) -> None:
    """Put the background first, with a box that is never asked for."""
    for kind in ("weight", "bias"):
        scores, boxes = (f"roi_heads.box_predictor.{part}.{kind}" for part in ("cls_score", "bbox_pred"))
        if scores not in weights or boxes not in weights:
            continue  # told as missing
        if len(weights[boxes]) != 4 * config.classes:
            raise ModelFileError(f"{path}: its boxes are not regressed class by class: use detectron2 itself")
        weights[scores] = weights[scores].roll(1, 0)
        weights[boxes] = torch.cat([torch.zeros_like(weights[boxes][:4]), weights[boxes]])


def _with_statistics(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``state`` with mean 0 and variance 1 where a batch norm has been folded into weight and bias, as old files do."""
    filled = dict(state)
    for name, weight in state.items():
        if name.endswith(".norm.weight"):
            norm = name.removesuffix("weight")
            filled.setdefault(f"{norm}running_mean", torch.zeros_like(weight))
            filled.setdefault(f"{norm}running_var", torch.ones_like(weight))
    return filled


def _check_anchors(state: Mapping[str, Tensor], config: Detectron2Config, path: str | os.PathLike[str]) -> None:
    """Old files hold their anchors, and every file tells how many there are at a place."""
    ours = ExactAnchors(config.anchor_sizes, (ANCHOR_RATIOS,) * len(config.strides), strides=config.strides)
    theirs = [value for name, value in state.items() if ".cell_anchors." in name]
    head = state.get("proposal_generator.rpn_head.objectness_logits.bias")
    fits = head is None or len(head) == ours.num_anchors_per_location()[0]
    if theirs:
        fits &= len(theirs) == len(ours.cell_anchors)
        fits &= all(a.shape == b.shape and torch.allclose(a, b, atol=1e-2) for a, b in zip(theirs, ours.cell_anchors))
    if not fits:
        raise ModelFileError(
            f"{path}: its anchors are not those of detectron2's COCO networks (sizes 32 to 512, ratios 0.5, 1, 2): "
            "use detectron2 itself"
        )


def _preprocessing(state: Mapping[str, Tensor], torchvision_body: bool) -> Preprocessing:
    """Old files hold mean and deviation, in the order of the channels of their input."""
    if torchvision_body:
        default = Preprocessing(IMAGENET_MEAN, IMAGENET_STD)
        mean, std = [255 * v for v in default.mean], [255 * v for v in default.std]
    else:
        mean, std = list(_MSRA_MEAN), [1.0, 1.0, 1.0]
    mean = state["pixel_mean"].flatten().tolist() if "pixel_mean" in state else mean
    std = state["pixel_std"].flatten().tolist() if "pixel_std" in state else std
    if not torchvision_body:
        mean, std = mean[::-1], std[::-1]
    return Preprocessing(tuple(v / 255 for v in mean), tuple(v / 255 for v in std))


def _class_names(count: int, given: Iterable[str] | None, path: str | os.PathLike[str]) -> tuple[str, ...]:
    if given is not None:
        names = tuple(given)
        if len(names) != count:
            raise ModelFileError(f"{path}: the network has {count} classes, {len(names)} names are given")
        return names
    if count == len(COCO_CLASSES):
        return COCO_CLASSES
    return ("actor",) if count == 1 else tuple(f"class {number + 1}" for number in range(count))


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    """How many names are of this form."""
    return sum(re.fullmatch(pattern, name) is not None for name in state)
