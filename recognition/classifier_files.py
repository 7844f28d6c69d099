"""Model files of classifiers: any network of the family, rebuilt from what its file says, ready for inference."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from recognition.inject import InjectedConfig, InjectedNet
from recognition.lgd_classifier import LGDClassifier, LGDClassifierConfig
from recognition.lgd_xception import LGDXception, LGDXceptionConfig
from recognition.model_files import ModelFile, ModelFileError, load_model, load_state_, save_model
from recognition.sound_clips import NetworkInput, input_from_dict
from recognition.stnet import StNet, StNetConfig
from recognition.xception import Xception, XceptionConfig

KIND = "classifier"
"""What model files of classifiers say they are."""

NetworkConfig: TypeAlias = LGDClassifierConfig | InjectedConfig | StNetConfig | LGDXceptionConfig | XceptionConfig

FAMILIES: dict[str, tuple[type[Any], type[nn.Module]]] = {
    "lgd": (LGDClassifierConfig, LGDClassifier),
    "injected": (InjectedConfig, InjectedNet),
    "stnet": (StNetConfig, StNet),
    "lgd-xception": (LGDXceptionConfig, LGDXception),
    "xception": (XceptionConfig, Xception),
}
"""Family -> config and network. Every network takes clips (B, C, T, H, W) and gives a tuple of logits, of which the
first predicts; ``features(clips)`` is (B, D)."""


@dataclass(frozen=True)
class LoadedClassifier:
    """A classifier ready for inference, with what its model file says about it."""

    network: nn.Module
    config: NetworkConfig
    class_names: tuple[str, ...]
    clip: NetworkInput
    file: ModelFile


def family_of(config: NetworkConfig) -> str:
    """The key of :data:`FAMILIES` that ``config`` belongs to."""
    return next(name for name, (config_class, _) in FAMILIES.items() if isinstance(config, config_class))


def network_of(config: NetworkConfig) -> nn.Module:
    """A network as ``config`` says, with the start that its class gives it."""
    return FAMILIES[family_of(config)][1](config)


def save_classifier(
    path: str | os.PathLike[str],
    state: Mapping[str, Tensor],
    *,
    config: NetworkConfig,
    class_names: tuple[str, ...],
    clip: NetworkInput,
    provenance: Mapping[str, Any],
    store: Literal["float32", "float16"] = "float16",
) -> None:
    """Write a model file, whole or not at all; ``load_classifier`` is the way back."""
    save_model(
        path,
        state,
        kind=KIND,
        config={"family": family_of(config), "network": config.to_dict()},
        class_names=class_names,
        preprocessing=clip.to_dict(),
        provenance=provenance,
        store=store,
    )


def load_classifier(path: str | os.PathLike[str], device: str | torch.device = "cpu") -> LoadedClassifier:
    """Rebuild the classifier of a model file, in eval mode; ModelFileError in one line if it does not fit."""
    file = load_model(path, kind=KIND)
    family = file.config.get("family")
    if family not in FAMILIES:
        raise ModelFileError(f"{path}: is of family {family!r}, this version knows {', '.join(FAMILIES)}")
    try:
        config = FAMILIES[family][0].from_dict(file.config["network"])
        clip = input_from_dict(file.preprocessing)
        network = network_of(config)
    except (TypeError, KeyError, ValueError) as error:
        raise ModelFileError(f"{path}: its configuration does not fit this version: {error}"[:300]) from None
    if len(file.class_names) != config.num_classes:
        raise ModelFileError(f"{path}: {len(file.class_names)} class names for {config.num_classes} classes")
    load_state_(network, file)
    return LoadedClassifier(network.eval().to(device), config, file.class_names, clip, file)
