"""Recipes to train classifiers with, the papers' and small ones; each is a start for ``--config`` and ``--set``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from linking.settings import SettingsError, with_settings
from recognition.classifier_files import NetworkConfig
from recognition.classifier_start import LONG_POOL1_STRIDE
from recognition.clip_sampling import FLOW_PREPROCESSING, ClipInput
from recognition.clip_views import ClipAugment
from recognition.inject import KINETICS_PREPROCESSING, InjectedConfig
from recognition.lgd3d import LGD3DConfig
from recognition.lgd_classifier import BACKBONES, LGDClassifierConfig
from recognition.lgd_xception import LGDXceptionConfig, lgd_xception, lgd_xception_small
from recognition.sound_clips import NetworkInput, SoundInput
from recognition.stnet import StNetConfig, stnet_inception_resnet_v2, stnet_resnet50, stnet_resnet101
from recognition.train_classifier import ClassifierTraining
from recognition.xception import XceptionConfig, audio_xception, audio_xception_small, xception
from recognition.xception_body import XCEPTION_PREPROCESSING
from video.flow import QUICK_FLOW, FlowSettings
from video.log_mel import LogMel


@dataclass(frozen=True)
class Recipe:
    """Network, what it is fed, and training together, as files of settings see them."""

    network: NetworkConfig
    """``num_classes`` is taken from the dataset."""
    clip: NetworkInput = dataclasses.field(default_factory=ClipInput)
    train: ClassifierTraining = dataclasses.field(default_factory=ClassifierTraining)


# ---- what the papers feed their networks

PAPER_3D = ClipInput()
"""LGD-3D, P3D: 16 consecutive frames, crops of 112 from 120 x 160; 15 whole clips (CVPR 2019, section 5.2)."""
PAPER_2D = ClipInput(
    sampling="segments",
    frames=1,
    segments=3,
    test_segments=3,
    test_clips=10,
    short_side=240,
    crop=224,
    test_short_side=240,
)
"""LGD-2D, TSN: three frames, crops of 224 from 240 x 320; 10 whole triples (section 5.2)."""
STNET = ClipInput(
    sampling="segments",
    frames=5,
    segments=7,
    test_segments=25,
    test_clips=1,
    short_side=256,
    aspect="keep",
    crop=224,
    test_short_side=256,
    test_crop=256,
)
"""StNet: 7 segments of 5 frames, 25 at test, middle crop. Deviation: the authors' code makes every frame 4:3."""
KINETICS_112 = ClipInput(
    short_side=128,
    crop=112,
    test_short_side=128,
    test_crop=112,
    preprocessing=KINETICS_PREPROCESSING,
)
"""As torchvision's r3d_18, mc3_18 and r2plus1d_18 were trained on Kinetics-400."""
KINETICS_224 = ClipInput(
    short_side=256,
    crop=224,
    test_short_side=256,
    test_crop=224,
    preprocessing=KINETICS_PREPROCESSING,
)
"""As its s3d was."""
XCEPTION_3D = dataclasses.replace(PAPER_3D, preprocessing=XCEPTION_PREPROCESSING)
"""LGD-P3D-Xception: the challenge report gives no sizes, so those of LGD-3D."""
XCEPTION_2D = dataclasses.replace(PAPER_2D, preprocessing=XCEPTION_PREPROCESSING)
SOUND = SoundInput()
"""Audio: 0.96 s of sound in 128 bands; the mean of 15."""

_TRAIN_3D = ClassifierTraining()
_TRAIN_2D = ClassifierTraining(batch=128)
_TRAIN_STNET = ClassifierTraining(epochs=60, batch=128, step_epochs=20, nesterov=False)
"""A tenth after 1/3 and 2/3 of the epochs, as in the authors' code."""

_SMALL_3D = ClipInput(short_side=80, crop=72, test_short_side=80, test_clips=4)
_SMALL_2D = dataclasses.replace(_SMALL_3D, sampling="segments", frames=1, test_clips=4)
_TRAIN_SMALL = ClassifierTraining(
    epochs=40,
    batch=8,
    optimizer="adamw",
    learning_rate=3e-3,
    schedule="cosine",
    warmup_epochs=1,
    weight_decay=0.05,
    label_smoothing=0.1,
    gradient_norm=10,
    augment=ClipAugment(min_crop=0.8, colour=0.2),
)


def _lgd(backbone: str, clip: ClipInput, train: ClassifierTraining, **changes: Any) -> Callable[[], Recipe]:
    def recipe() -> Recipe:
        network = LGDClassifierConfig(num_classes=1, backbone=BACKBONES[backbone](**changes))
        return Recipe(network, clip, train)

    return recipe


def _small(backbone: str) -> Callable[[], Recipe]:
    """Narrow networks that learn from scratch on a CPU in minutes."""
    is_2d = backbone.startswith(("lgd2d", "tsn"))

    def recipe() -> Recipe:
        network = LGDClassifierConfig(
            num_classes=1,
            backbone=BACKBONES[backbone](widths=(32, 96, 192, 384), stem_width=16),
            dropout=0.2,
            sketch_size=2048,
        )
        return Recipe(network, _SMALL_2D if is_2d else _SMALL_3D, _TRAIN_SMALL)

    return recipe


def _injected(network: str, clip: ClipInput) -> Callable[[], Recipe]:
    return lambda: Recipe(InjectedConfig(network, num_classes=1), clip, _TRAIN_3D)


def _stnet(config: Callable[..., StNetConfig], clip: ClipInput = STNET) -> Callable[[], Recipe]:
    return lambda: Recipe(config(num_classes=1), clip, _TRAIN_STNET)


def _stnet_small() -> Recipe:
    network = StNetConfig(num_classes=1, body="resnet18", frames=3, xception_width=128)
    clip = dataclasses.replace(_SMALL_2D, frames=3, segments=4, test_segments=8, test_clips=1)
    return Recipe(network, clip, dataclasses.replace(_TRAIN_SMALL, learning_rate=1e-3))


def _xception(config: LGDXceptionConfig | XceptionConfig, clip: NetworkInput) -> Callable[[], Recipe]:
    return lambda: Recipe(config, clip, _TRAIN_3D)


def _xception_small() -> Recipe:
    return Recipe(lgd_xception_small(num_classes=1, dropout=0.2), _SMALL_3D, _TRAIN_SMALL)


def _audio_small() -> Recipe:
    sound = SoundInput(LogMel(bands=64, fft=512), columns=96, test_clips=4)
    return Recipe(audio_xception_small(num_classes=1, dropout=0.2), sound, _TRAIN_SMALL)


PRESETS: dict[str, Callable[[], Recipe]] = {
    "lgd3d-small": _small("lgd3d_small"),
    "p3d-small": _small("p3d_small"),
    "lgd2d-small": _small("lgd2d_small"),
    "tsn-small": _small("tsn_small"),
    "stnet-small": _stnet_small,
    "lgd-xception-small": _xception_small,
    "audio-small": _audio_small,
    "lgd3d-resnet50": _lgd("lgd3d_resnet50", PAPER_3D, _TRAIN_3D),
    "lgd3d-resnet101": _lgd("lgd3d_resnet101", PAPER_3D, _TRAIN_3D),
    "p3d-resnet50": _lgd("p3d_resnet50", PAPER_3D, _TRAIN_3D),
    "p3d-resnet101": _lgd("p3d_resnet101", PAPER_3D, _TRAIN_3D),
    "lgd2d-resnet50": _lgd("lgd2d_resnet50", PAPER_2D, _TRAIN_2D),
    "lgd2d-resnet101": _lgd("lgd2d_resnet101", PAPER_2D, _TRAIN_2D),
    "tsn-resnet50": _lgd("tsn_resnet50", PAPER_2D, _TRAIN_2D),
    "tsn-resnet101": _lgd("tsn_resnet101", PAPER_2D, _TRAIN_2D),
    "stnet-resnet50": _stnet(stnet_resnet50),
    "stnet-resnet101": _stnet(stnet_resnet101),
    "stnet-inception-resnet-v2": _stnet(
        stnet_inception_resnet_v2,
        dataclasses.replace(STNET, short_side=331, crop=299, test_short_side=331, test_crop=331),
    ),
    "lgd-r3d18": _injected("r3d_18", KINETICS_112),
    "lgd-mc3-18": _injected("mc3_18", KINETICS_112),
    "lgd-r2plus1d18": _injected("r2plus1d_18", KINETICS_112),
    "lgd-s3d": _injected("s3d", KINETICS_224),
    "lgd-xception": _xception(lgd_xception(num_classes=1), XCEPTION_3D),
    "p3d-xception": _xception(lgd_xception(num_classes=1, block="none"), XCEPTION_3D),
    "tsn-xception": _xception(xception(num_classes=1), XCEPTION_2D),
    "audio-xception": _xception(audio_xception(num_classes=1), SOUND),
}
"""Recipes by name."""

LONG_FRAMES = 128


def second_stage(recipe: Recipe, *, long: bool = False) -> Recipe:
    """Stage two of LGD: the kernel head, trained for as long again (section 5.2).

    ``long`` trains it on clips of 128 frames with four times the temporal stride of pool1, a quarter of the batch and a
    quarter of the epochs (section 5.4), and of the learning rate's steps.
    """
    network, clip, train = recipe.network, recipe.clip, recipe.train
    if not isinstance(network, LGDClassifierConfig):
        raise SettingsError("only LGD networks and their baselines have a second stage with a kernel head")
    if long:
        if not isinstance(network.backbone, LGD3DConfig):
            raise SettingsError("only LGD-3D and P3D have a stage with long clips")
        backbone = dataclasses.replace(network.backbone, pool1_stride=LONG_POOL1_STRIDE)
        network = dataclasses.replace(network, backbone=backbone)
        assert isinstance(clip, ClipInput), "LGD-3D sees clips"
        clip = dataclasses.replace(clip, frames=LONG_FRAMES)
        train = dataclasses.replace(
            train,
            epochs=train.epochs / 4,
            batch=max(1, train.batch // 4),
            step_epochs=train.step_epochs / 4,
            warmup_epochs=train.warmup_epochs / 4,
        )
    return Recipe(dataclasses.replace(network, head="kernel"), clip, train)


def for_flow(recipe: Recipe) -> Recipe:
    """``recipe`` on optical flow instead of RGB: x and y displacement, two channels; small recipes get QUICK_FLOW."""
    network = recipe.network
    if isinstance(recipe.clip, SoundInput):
        raise SettingsError("this network is for sound; take another preset for flow")
    if isinstance(network, InjectedConfig):
        raise SettingsError("torchvision's video networks are for RGB; take another preset for flow")
    if isinstance(network, LGDClassifierConfig):
        network = dataclasses.replace(network, backbone=dataclasses.replace(network.backbone, input="flow"))
    else:
        network = dataclasses.replace(network, input="flow")
    flow = QUICK_FLOW if recipe.clip.short_side < QUICK_FLOW.short_side else FlowSettings()
    clip = dataclasses.replace(recipe.clip, stream="flow", preprocessing=FLOW_PREPROCESSING, flow=flow)
    return Recipe(network, clip, recipe.train)


def settled(recipe: Recipe, settings: Mapping[str, Any], *, num_classes: int) -> Recipe:
    """``recipe`` with the settings of a user, for a dataset of ``num_classes``; SettingsError where they do not fit."""
    recipe = with_settings(recipe, settings)
    network: Any = dataclasses.replace(recipe.network, num_classes=num_classes)
    stream = getattr(getattr(network, "backbone", network), "input", "rgb")
    if stream != recipe.clip.stream:
        raise SettingsError(f"the network is for {stream}, the clips are {recipe.clip.stream}; use --stream for both")
    clip = recipe.clip
    if isinstance(network, StNetConfig) and isinstance(clip, ClipInput) and network.frames != clip.frames:
        raise SettingsError(f"network.frames is {network.frames}, clip.frames {clip.frames}; they must be equal")
    return Recipe(network, recipe.clip, recipe.train)
