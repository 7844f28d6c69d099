"""Inception-ResNet-v2 as the body of a video network, from timm (an optional part: ``pip install timm``)."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from torch import Tensor, nn

from recognition.preprocessing import Preprocessing

INCEPTION_PREPROCESSING = Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
"""What the ImageNet weights of this network were trained with."""

WIDTH = 1536
"""Channels of the body's map."""
LEAST_SIDE = 75
"""Of an image in pixels; smaller ones leave no cell for the last strided convolution, which has no padding."""

_STEM = ("conv2d_1a", "conv2d_2a", "conv2d_2b", "maxpool_3a", "conv2d_3b", "conv2d_4a", "maxpool_5a")
_STAGES = ("mixed_5b", "repeat", "mixed_6a", "repeat_1", "mixed_7a", "repeat_2", "block8", "conv2d_7b")


def inception_resnet_v2_body(in_channels: int = 3) -> nn.Sequential:
    """Images (B, in_channels, H, W) -> (B, 1536, H', W'): the network up to its pool, under timm's names.

    Raises ValueError where timm is not installed.
    """
    network = _timm().create_model("inception_resnet_v2", pretrained=False, in_chans=in_channels)
    return nn.Sequential(OrderedDict((name, network.get_submodule(name)) for name in (*_STEM, *_STAGES)))


def imagenet_state() -> dict[str, Tensor]:
    """timm's ImageNet weights with its names; timm downloads and caches them. Raises ValueError without timm."""
    return _timm().create_model("inception_resnet_v2", pretrained=True).state_dict()


def _timm() -> Any:
    try:
        import timm
    except ImportError as error:
        raise ValueError("Inception-ResNet-v2 needs timm: pip install timm, or choose resnet50 or resnet101") from error
    return timm
