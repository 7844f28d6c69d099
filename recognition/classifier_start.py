"""How classifiers start: at random, from ImageNet or Kinetics, from another classifier, or from stage one."""

from __future__ import annotations

import dataclasses

import torch
from torch import nn

from recognition import lgd_xception, stnet, xception
from recognition.classifier_files import LoadedClassifier, NetworkConfig, network_of
from recognition.inject import InjectedConfig, inject_lgd
from recognition.lgd2d import LGD2DConfig
from recognition.lgd_classifier import (
    LGDClassifier,
    LGDClassifierConfig,
    start_from_imagenet_,
    start_from_scratch_,
    with_kernel_head,
)
from recognition.model_files import ModelFileError

LONG_POOL1_STRIDE = 4
"""Temporal stride of pool1 in the 128-frame network (section 5.4)."""


def build_classifier(config: NetworkConfig, *, seed: int = 0, body_weights: str | None = None) -> nn.Module:
    """A classifier to be trained.

    Args:
        config: of the network.
        seed: of the random weights.
        body_weights: a file of a 2-D network's weights (a state_dict saved by ``torch.save``), or "imagenet" for those
            that torchvision or timm publish; for torchvision's video networks a file of theirs, or "kinetics". None
            starts at random: LGD networks from Xavier with W^{xg} zero, as from ImageNet, for narrow ones diverge
            otherwise (docs/decisions/005).

    Raises:
        ValueError: there are no such weights for this network, or they do not fit.
    """
    torch.manual_seed(seed)
    published = {"imagenet", "kinetics"}
    if isinstance(config, InjectedConfig):
        if body_weights == "imagenet":
            raise ValueError(f"{config.network} has weights of Kinetics; use --body-weights kinetics, or a file")
        weights = "DEFAULT" if body_weights == "kinetics" else body_weights
        return inject_lgd(
            config.network,
            weights=weights,
            num_classes=config.num_classes,
            rank_divisor=config.rank_divisor,
            dropout=config.dropout,
        )
    if body_weights == "kinetics":
        raise ValueError("there are no published weights of Kinetics for this network; use imagenet, or a file")
    network = network_of(config)
    file = None if body_weights in published else body_weights
    if isinstance(network, LGDClassifier):
        if body_weights is None:
            start_from_scratch_(network, zero_diffusion=network.config.backbone.block in ("lgd", "v1"))
        else:
            start_from_imagenet_(network, file)
    elif body_weights is not None:
        if isinstance(network, stnet.StNet):
            stnet.start_from_imagenet_(network, file)
        elif isinstance(network, lgd_xception.LGDXception):
            lgd_xception.start_from_imagenet_(network, file)
        elif isinstance(network, xception.Xception):
            xception.start_from_imagenet_(network, file)
    return network


def build_from(start: LoadedClassifier, num_classes: int, *, same_classes: bool, seed: int = 0) -> nn.Module:
    """The classifier of a file to be trained on; with other classes its last layers start anew.

    Everything that depends on the number of classes is taken over only with ``same_classes``.
    """
    config = dataclasses.replace(start.config, num_classes=num_classes)
    network = build_classifier(config, seed=seed)
    own, given = network.state_dict(), start.network.state_dict()
    last = {name for name in own if own[name].shape != given[name].shape}
    if not same_classes:
        # found by asking which tensors grow with the number of classes, for two datasets may have equally many
        other = network_of(dataclasses.replace(config, num_classes=num_classes + 1)).state_dict()
        last |= {name for name in own if own[name].shape != other[name].shape}
    elif last:
        raise ModelFileError(f"{start.file.path}: {sorted(last)[0]} is of another shape than its classes need")
    network.load_state_dict({name: own[name] if name in last else given[name] for name in own})
    return network


def build_second_stage(first: LoadedClassifier, config: NetworkConfig, *, seed: int = 0) -> nn.Module:
    """Stage two of LGD from a classifier of stage one: the kernel head on its backbone (section 4.3).

    ``config`` is that of stage two, see ``recognition.classifier_presets.second_stage``.
    """
    if not isinstance(first.network, LGDClassifier) or not isinstance(config, LGDClassifierConfig):
        raise ValueError("only LGD networks and their baselines have a second stage with a kernel head")
    torch.manual_seed(seed)
    backbone = config.backbone
    network = with_kernel_head(
        first.network,
        sketch_size=config.sketch_size,
        sketch_form=config.sketch_form,
        sketch_seed=config.sketch_seed,
        dropout=config.dropout,
        pool1_stride=None if isinstance(backbone, LGD2DConfig) else backbone.pool1_stride,
    )
    if network.config != config:
        raise ValueError("the second stage may differ from the first in its head and in pool1_stride only")
    return network
