"""From the features of a video's clips to its classes: average and temporal convolutional pooling (TCP), and others.

The report on the ActivityNet challenge 2019 (Qiu et al., arXiv 1906.07016) takes 20 clips of a video at equal distances
and the features of each before the classifier, and pools them by convolutions over time, for one stream or for several,
whose features then lie one behind the other. Its layers are not printed; these are two of kernel 3 and width 1024
(docs/decisions/014-xception-readings.md). StNet (arXiv 1811.01549, Table 1) compares its temporal Xception block with
an LSTM and a GRU on such features. They are computed once, by ``recognition.extract_features``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from eval.class_scores import ClassScores
from recognition.class_clips import Key, TrainingClips
from recognition.config_values import from_plain_values, to_plain_values
from recognition.feature_files import FeatureSet
from recognition.initialise import xavier_caffe_
from recognition.lgd_block import check_choice, check_counts
from recognition.model_files import ModelFile, ModelFileError, load_model, load_state_, save_model
from recognition.stnet import TemporalXception

KIND = "temporal_pooling"
"""What model files say they are."""
_BATCH = 64


@dataclass(frozen=True)
class TemporalPoolingConfig:
    """What the pooling network looks like."""

    num_classes: int
    """Outputs of the classifier."""
    stream_widths: tuple[int, ...] = (2048,)
    """D of each stream's features."""
    pooling: Literal["tcp", "average", "xception", "lstm", "gru"] = "tcp"
    """"tcp": convolutions over the clips, then their mean; "average": the mean at once; "xception": StNet's temporal
    Xception block; "lstm", "gru": a recurrent layer, and the maximum over time as behind that block."""
    clips: int = 20
    """At equal distances; a video with more or fewer is brought to that number by its nearest ones."""
    width: int = 1024
    """Channels of the convolutions, of the block, of the recurrent layer."""
    layers: int = 2
    """Convolutions of "tcp", each with BN and ReLU."""
    kernel: int = 3
    """Clips that a convolution of "tcp" sees; odd."""
    dropout: float = 0.5
    """Before the classifier."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "stream_widths", tuple(self.stream_widths))
        for name in ("num_classes", "stream_widths", "clips", "width", "layers", "kernel"):
            check_counts(name, getattr(self, name))
        check_choice("pooling", self.pooling, ("tcp", "average", "xception", "lstm", "gru"))
        if not self.stream_widths:
            raise ValueError("stream_widths needs at least one stream")
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, got {self.kernel}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be 0 or more and below 1, got {self.dropout}")

    @property
    def in_features(self) -> int:
        """Numbers of a clip, all streams together."""
        return sum(self.stream_widths)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; :meth:`from_dict` is the way back."""
        return to_plain_values(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TemporalPoolingConfig:
        """Raises ValueError for a key that TemporalPoolingConfig does not have, or for a value it cannot mean."""
        return from_plain_values(cls, values)


class TemporalPooling(nn.Module):
    """Features of clips (B, clips, D), in their order, to a tuple of one (B, num_classes) tensor of logits.

    D is ``config.in_features``; any number of clips works. Convolutions see zeros before the first clip and behind the
    last. Starts from Caffe's Xavier, the block as in StNet, a recurrent layer as in torch. Raises ValueError for
    features of a wrong shape.
    """

    def __init__(self, config: TemporalPoolingConfig, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        layers: list[nn.Module] = []
        width = config.in_features
        for _ in range(config.layers if config.pooling == "tcp" else 0):
            layers += [
                nn.Conv1d(width, config.width, config.kernel, padding=config.kernel // 2, bias=False),
                nn.BatchNorm1d(config.width),
                nn.ReLU(),
            ]
            width = config.width
        self.convolutions = nn.Sequential(*layers)
        self.block: nn.Module | None = None
        if config.pooling in ("xception", "lstm", "gru"):
            self.block = _block(config.pooling, width, config.width)
            width = config.width
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(width, config.num_classes)
        for part in (self.convolutions, self.classifier):
            xavier_caffe_(part, generator=generator)

    def forward(self, clips: Tensor) -> tuple[Tensor]:
        return (self.classifier(self.dropout(self.features(clips))),)

    def features(self, clips: Tensor) -> Tensor:
        """(B, width), or (B, D) of average pooling: what the classifier sees of a video."""
        if clips.ndim != 3 or clips.shape[2] != self.config.in_features or clips.numel() == 0:
            raise ValueError(f"expected features (B, clips, {self.config.in_features}), got {tuple(clips.shape)}")
        if self.block is not None:
            return self.block(clips.transpose(1, 2))
        return self.convolutions(clips.transpose(1, 2)).mean(dim=2)


class _Recurrent(nn.Module):
    """(B, D, T) -> (B, width): the largest of a recurrent layer's outputs over time."""

    def __init__(self, layer: type[nn.LSTM] | type[nn.GRU], channels: int, width: int) -> None:
        super().__init__()
        self.layer = layer(channels, width, batch_first=True)

    def forward(self, vectors: Tensor) -> Tensor:
        return self.layer(vectors.transpose(1, 2))[0].amax(dim=1)


def _block(kind: str, channels: int, width: int) -> nn.Module:
    """(B, D, T) -> (B, width)."""
    if kind == "xception":
        return TemporalXception(channels, width)
    return _Recurrent(nn.LSTM if kind == "lstm" else nn.GRU, channels, width)


def at_equal_distances(features: np.ndarray, count: int) -> np.ndarray:
    """(n, D) -> (count, D): from the first clip to the last, the nearest to each place; one place is the middle."""
    places = np.linspace(0, len(features) - 1, count) if count > 1 else np.array([(len(features) - 1) / 2])
    return features[places.round().astype(int)]


class FeatureClips(TrainingClips):
    """Features of the clips of each labelled video, (config.clips, D) float32, and the number of its class.

    ``class_names`` are those of the network. Raises ValueError where a video's class is none of them.
    """

    def __init__(self, videos: FeatureSet, class_names: tuple[str, ...], clips: int) -> None:
        self.videos, self.clips = videos, clips
        numbers = {name: number for number, name in enumerate(class_names)}
        for name, label in zip(videos.videos, videos.labels):
            if label not in numbers:
                raise ValueError(f"video {name[:100]!r} has the label {label[:100]!r}, which is no class to train")
        self.targets = [numbers[label] for label in videos.labels]

    def __len__(self) -> int:
        return len(self.videos)

    def __getitem__(self, key: Key) -> tuple[Tensor, int]:
        _, index = key
        features = at_equal_distances(self.videos.read(index).features, self.clips)
        return torch.from_numpy(np.ascontiguousarray(features)), self.targets[index]

    def network_input(self, batch: Tensor, device: torch.device | str) -> Tensor:
        return batch.to(device)


def pooled_scores(
    network: TemporalPooling, videos: FeatureSet, class_names: tuple[str, ...], device: str = "cpu"
) -> ClassScores:
    """Probabilities of the classes of every video; the network is in eval mode."""
    rows: list[np.ndarray] = []
    for first in range(0, len(videos), _BATCH):
        indices = range(first, min(first + _BATCH, len(videos)))
        clips = [at_equal_distances(videos.read(index).features, network.config.clips) for index in indices]
        with torch.inference_mode():
            (logits,) = network(torch.from_numpy(np.stack(clips)).to(device))
        rows += list(logits.float().softmax(dim=1).cpu().numpy())
    return ClassScores(class_names, videos.videos, videos.labels, np.stack(rows))


def save_pooling(
    path: str | os.PathLike[str],
    network: TemporalPooling,
    class_names: tuple[str, ...],
    *,
    streams: Mapping[str, Any],
    provenance: Mapping[str, Any],
) -> None:
    """Write a model file, whole or not at all; ``streams`` says what made the features."""
    save_model(
        path,
        network.state_dict(),
        kind=KIND,
        config=network.config.to_dict(),
        class_names=class_names,
        preprocessing=streams,
        provenance=provenance,
    )


def load_pooling(path: str | os.PathLike[str], device: str = "cpu") -> tuple[TemporalPooling, ModelFile]:
    """The network of a model file, in eval mode, and the file; ModelFileError in one line if it does not fit."""
    file = load_model(path, kind=KIND)
    try:
        network = TemporalPooling(TemporalPoolingConfig.from_dict(file.config))
    except (TypeError, ValueError) as error:
        raise ModelFileError(f"{path}: its configuration does not fit this version: {error}"[:300]) from None
    if len(file.class_names) != network.config.num_classes:
        raise ModelFileError(f"{path}: {len(file.class_names)} class names for {network.config.num_classes} classes")
    load_state_(network, file)
    return network.eval().to(device), file
