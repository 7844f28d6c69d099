"""Recipes to train the action scorer with; each is a starting point for ``--config`` and ``--set``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from detection.regions import RegionConfig
from detection.scorer import ScorerConfig
from detection.train_scorer import TrainConfig
from detection.training_clips import AugmentConfig, ClipConfig
from recognition.lgd3d import lgd3d_resnet50, lgd3d_resnet101, lgd3d_small
from recognition.video_nets import NETWORKS as VIDEO_NETS
from recognition.video_nets import WITH_LGD, VideoNetConfig
from video.flow import QUICK_FLOW, FlowSettings


@dataclass(frozen=True)
class ScorerRecipe:
    """Network and training together, as files of settings see them."""

    scorer: ScorerConfig = field(default_factory=lambda: ScorerConfig(num_classes=1))
    """``num_classes`` is taken from the dataset."""
    train: TrainConfig = field(default_factory=TrainConfig)


def small() -> ScorerRecipe:
    """The bundled network: trained from scratch on a CPU in about an hour on a thousand short clips."""
    return ScorerRecipe(
        scorer=ScorerConfig(
            num_classes=1,
            backbone=lgd3d_small(widths=(32, 96, 256, 512), stem_width=12),
            # Random crops show actors 1.2 times as large as whole frames of the clip's size would; larger
            # frames at inference make up for that (Touvron et al. 2019, "Fixing the train-test resolution").
            short_side=112,
            dropout=0.2,
            mirror=True,
        ),
        train=TrainConfig(
            epochs=55,
            batch_clips=4,
            optimizer="adamw",
            learning_rate=3e-3,
            weight_decay=0.05,
            label_smoothing=0.1,
            clips=ClipConfig(height=96, width=128),
        ),
    )


def tiny() -> ScorerRecipe:
    """Minutes instead of an hour: for generated videos, tests of a dataset, and trying things out."""
    return ScorerRecipe(
        scorer=ScorerConfig(
            num_classes=1,
            backbone=lgd3d_small(depths=(1, 1, 1, 1), widths=(32, 64, 128, 256), stem_width=8),
            short_side=112,
            dropout=0.0,
        ),
        train=TrainConfig(
            epochs=40,
            batch_clips=4,
            optimizer="adamw",
            learning_rate=3e-3,
            warmup_epochs=0.5,
            weight_decay=0.02,
            clips=ClipConfig(height=96, width=128, augment=AugmentConfig(colour=0.2)),
        ),
    )


def resnet50() -> ScorerRecipe:
    """LGD-3D ResNet-50 at 240 x 320, for a GPU; meant for ``--body-weights imagenet``."""
    return ScorerRecipe(scorer=ScorerConfig(num_classes=1, backbone=lgd3d_resnet50(), short_side=240), train=_PAPER)


def resnet101() -> ScorerRecipe:
    """LGD-3D ResNet-101, the network of the paper's Table 7; meant for ``--body-weights imagenet``."""
    return ScorerRecipe(scorer=ScorerConfig(num_classes=1, backbone=lgd3d_resnet101(), short_side=240), train=_PAPER)


_PAPER = TrainConfig(
    epochs=50,
    batch_clips=16,
    optimizer="sgd",
    learning_rate=0.01,
    clips=ClipConfig(height=240, width=320, regions=RegionConfig(per_actor=8, background=8)),
)


def video_net(network: str, *, lgd: bool = False) -> ScorerRecipe:
    """One of torchvision's video networks, with LGD or without; meant for ``--body-weights kinetics``.

    Pictures are as large as those that the Kinetics weights saw crops of. 16 consecutive frames for all of them: the
    clips of datasets with boxes are short.
    """
    backbone = VideoNetConfig(network, lgd=lgd)
    height = backbone.short_side
    is_transformer = not (lgd or network in WITH_LGD)
    train = replace(
        _PAPER,
        # transformers are not trained by SGD; the rate is what their authors fine-tune with
        optimizer="adamw" if is_transformer else "sgd",
        learning_rate=1e-4 if is_transformer else 0.01,
        weight_decay=0.05 if is_transformer else 1e-4,
        clips=replace(_PAPER.clips, height=height, width=round(height * 4 / 3)),
    )
    return ScorerRecipe(ScorerConfig(num_classes=1, backbone=backbone, short_side=height), train)


def small_flow() -> ScorerRecipe:
    """:func:`small` on optical flow that is quick to compute, without the motion of the camera."""
    recipe = for_flow(small(), QUICK_FLOW)
    return replace(recipe, scorer=replace(recipe.scorer, steady_flow=True))


def for_flow(recipe: ScorerRecipe, flow: FlowSettings) -> ScorerRecipe:
    """``recipe`` on optical flow instead of RGB: the second stream."""
    backbone = recipe.scorer.backbone
    if isinstance(backbone, VideoNetConfig):
        raise ValueError("torchvision's video networks are for RGB; take another preset for flow")
    backbone = replace(backbone, input="flow")
    return replace(recipe, scorer=replace(recipe.scorer, backbone=backbone, flow=flow))


def _preset_name(network: str) -> str:
    """r2plus1d_18 is "r2plus1d18", as among the classifiers' presets; mc3_18 "mc3-18"."""
    return {"r3d_18": "r3d18", "r2plus1d_18": "r2plus1d18"}.get(network, network.replace("_", "-"))


PRESETS: dict[str, Callable[[], ScorerRecipe]] = {
    "small": small,
    "small-flow": small_flow,
    "tiny": tiny,
    "resnet50": resnet50,
    "resnet50-flow": lambda: for_flow(resnet50(), FlowSettings()),
    "resnet101": resnet101,
    "resnet101-flow": lambda: for_flow(resnet101(), FlowSettings()),
    **{_preset_name(name): partial(video_net, name) for name in VIDEO_NETS},
    **{f"lgd-{_preset_name(name)}": partial(video_net, name, lgd=True) for name in WITH_LGD},
}
"""Recipes by name; the last ones are r3d18, mc3-18, r2plus1d18, s3d, mvit-v1-b, mvit-v2-s, swin3d-t, -s, -b, and the
first four with LGD as lgd-r3d18 and so on."""
