"""Batch norm folded into the convolutions before it: the same numbers with less work, for inference."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from recognition.lgd_block import BottleneckUnit, Stem

Net = TypeVar("Net", bound=nn.Module)


def fold_batch_norm(net: Net) -> Net:
    """A copy of ``net`` in evaluation mode, its LGD parts without batch norm; ``net`` itself stays as it is.

    The copy computes what ``net.eval()`` computes (to float32 rounding) and cannot be trained, nor take a
    state_dict of the original. Modules other than stems and residual units are copied unchanged.
    """
    folded = copy.deepcopy(net).eval()
    for module in folded.modules():
        if isinstance(module, Stem):
            _fold(module, "conv" if module.temporal is None else "temporal", "bn")
        elif isinstance(module, BottleneckUnit):
            _fold(module, "conv1", "bn1")
            _fold(module, "conv2" if module.temporal is None else "temporal", "bn2")
            _fold(module, "conv3", "bn3")
            if module.downsample is not None:
                _fold(module.downsample, "0", "1")
        if isinstance(module, nn.Conv2d):
            # the memory order of the maps, to which each call would otherwise copy the kernels
            module.to(memory_format=torch.channels_last)
    return folded.requires_grad_(False)


def _fold(owner: nn.Module, conv: str, norm: str) -> None:
    setattr(owner, conv, fuse_conv_bn_eval(getattr(owner, conv), getattr(owner, norm)))
    setattr(owner, norm, nn.Identity())
