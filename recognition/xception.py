"""Xception as a classifier of frames, or of sound as a log-mel picture.

Every frame of a clip goes through the network of the images by itself, and the features of all frames are averaged,
as in a temporal segment network. Sound is a clip of one grey picture, or of several from different times. The report
on the ActivityNet challenge 2019 (Qiu et al., arXiv 1906.07016) has Xception as its audio stream and says no more about
it: the front end is in ``video.log_mel``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recognition.config_values import from_plain_values, to_plain_values
from recognition.frame_maps import to_clips, to_frames
from recognition.initialise import xavier_caffe_
from recognition.lgd_block import CHANNELS_OF_INPUT, check_choice
from recognition.xception_body import (
    LEAST_SIDE,
    SMALL_WIDTHS,
    XCEPTION_WIDTHS,
    XceptionBody,
    check_xception_options,
    load_imagenet_body_,
)

_CHANNELS = {**CHANNELS_OF_INPUT, "audio": 1}


@dataclass(frozen=True)
class XceptionConfig:
    """What an Xception looks like; the defaults are the published network for ImageNet."""

    num_classes: int = 1000
    """Outputs of the classifier."""
    widths: tuple[int, ...] = XCEPTION_WIDTHS
    """Channels, see :data:`recognition.xception_body.XCEPTION_WIDTHS`."""
    middle_modules: int = 8
    """Residual modules of the middle flow."""
    dropout: float = 0.5
    """Before the classifier."""
    input: Literal["rgb", "flow", "audio"] = "rgb"
    """"rgb": three channels; "flow": x and y displacement, two; "audio": log-mel pictures, one."""
    side: int = 0
    """Pictures are first resized to this side, whatever their shape; 0 takes them as they are."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(self.widths))
        check_xception_options(self)
        check_choice("input", self.input, tuple(_CHANNELS))
        if not isinstance(self.side, int) or (self.side and self.side < LEAST_SIDE):
            raise ValueError(f"side must be 0 or {LEAST_SIDE} pixels or more, got {self.side}")

    @property
    def in_channels(self) -> int:
        """Of a frame or picture."""
        return _CHANNELS[self.input]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; :meth:`from_dict` is the way back."""
        return to_plain_values(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> XceptionConfig:
        """Raises ValueError for a key that XceptionConfig does not have, or for a value it cannot mean."""
        return from_plain_values(cls, values)


def xception(**changes: Any) -> XceptionConfig:
    """22.86 M parameters with 1000 classes; keyword arguments change single fields."""
    return XceptionConfig(**changes)


def audio_xception(**changes: Any) -> XceptionConfig:
    """The same on log-mel pictures, which are stretched to the size the image network was made for."""
    return XceptionConfig(**{"input": "audio", "side": 299, **changes})


def xception_small(**changes: Any) -> XceptionConfig:
    """Narrow and shallow, for CPU."""
    return XceptionConfig(**{"widths": SMALL_WIDTHS, "middle_modules": 2, **changes})


def audio_xception_small(**changes: Any) -> XceptionConfig:
    """Narrow and shallow, on log-mel pictures as they are."""
    return xception_small(**{"input": "audio", **changes})


class Xception(nn.Module):
    """Clips (B, C, T, H, W) or pictures (B, C, H, W), float, normalised, to a tuple of one (B, num_classes) of logits.

    C is ``config.in_channels``; of audio H is mel bins and W is time. Starts from Caffe's Xavier;
    :func:`start_from_imagenet_` loads weights. Raises ValueError for an input of a wrong shape.
    """

    def __init__(self, config: XceptionConfig, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        self.body = XceptionBody(config.in_channels, config.widths, config.middle_modules)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(config.widths[-1], config.num_classes)
        xavier_caffe_(self, generator=generator)

    def forward(self, clips: Tensor) -> tuple[Tensor]:
        return (self.classifier(self.dropout(self.features(clips))),)

    def features(self, clips: Tensor) -> Tensor:
        """(B, ``config.widths[-1]``): the mean of the last maps of all frames."""
        return self.maps(clips).mean(dim=(2, 3, 4))

    def class_maps(self, clips: Tensor) -> Tensor:
        """(B, num_classes, T, H', W'): what each position adds to each class.

        The mean over positions is the logit without its bias.
        """
        return torch.einsum("bcthw,kc->bkthw", self.maps(clips), self.classifier.weight)

    def maps(self, clips: Tensor) -> Tensor:
        """(B, D, T, H', W'), the last map of each frame."""
        config = self.config
        if clips.ndim == 4:
            clips = clips[:, :, None]
        if clips.ndim != 5 or clips.shape[1] != config.in_channels or clips.numel() == 0:
            raise ValueError(
                f"expected clips (B, {config.in_channels}, T, H, W) or pictures without T, got {tuple(clips.shape)}"
            )
        num_clips, frames = clips.shape[0], to_frames(clips)
        if config.side:
            frames = F.interpolate(frames, (config.side, config.side), mode="bilinear", align_corners=False)
        elif min(clips.shape[3:]) < LEAST_SIDE:
            raise ValueError(f"Xception needs at least {LEAST_SIDE} pixels a side, got {tuple(clips.shape)}")
        return to_clips(self.body(frames, num_clips), num_clips)


def start_from_imagenet_(net: Xception, weights: str | os.PathLike[str] | None = None) -> None:
    """Give the body the weights of the image network; the classifier stays as it is.

    ``weights``: see :func:`recognition.xception_body.load_imagenet_body_`.
    """
    load_imagenet_body_(net.body, weights)
