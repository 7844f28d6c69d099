"""Every network of the papers, narrow: it learns eight examples, its file gives the same bits, and it exports.

FAMILY is the list. What each network computes is tested beside its module.
"""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import torch
from torch import Tensor, nn

from detection.export import ScorerOnPixels
from detection.scorer import KIND, LoadedScorer, ScorerConfig, load_scorer
from detection.train_scorer import build_scorer
from linking.settings import SettingsError
from recognition.classifier_files import FAMILIES, family_of, load_classifier, save_classifier
from recognition.classifier_presets import PRESETS, for_flow, second_stage
from recognition.classifier_start import LONG_POOL1_STRIDE, build_classifier
from recognition.clip_sampling import ClipInput
from recognition.export import PACKAGES, ClassifierOnPixels, Example, PoolingOnFeatures, export_onnx
from recognition.inject import NETWORKS, InjectedConfig
from recognition.kernel_head import SKETCH_FORMS
from recognition.lgd2d import LGD2DConfig
from recognition.lgd3d import LGD3DConfig
from recognition.lgd_classifier import LGDClassifierConfig
from recognition.lgd_xception import LGDXceptionConfig
from recognition.model_files import save_model
from recognition.preprocessing import Preprocessing
from recognition.stnet import StNetConfig, tsn
from recognition.temporal_pooling import TemporalPooling, TemporalPoolingConfig, load_pooling, save_pooling
from recognition.train_classifier import classification_loss
from recognition.xception import XceptionConfig

CLASSES = 8
"""As many as examples: each is a class of its own."""
STEPS = 40
BACKBONE: dict[int, Any] = {2: LGD2DConfig, 3: LGD3DConfig}
NARROW: dict[str, Any] = {"depths": (1, 1, 1, 2), "widths": (16, 24, 32, 48), "stem_width": 8, "rank_divisor": 8}
XCEPTION: dict[str, Any] = {"widths": (8, 8, 12, 16, 24, 32, 32, 48), "middle_modules": 1, "dropout": 0.0}
FEATURES: dict[str, Any] = {"clips": 6, "width": 16, "dropout": 0.0}


@dataclass(frozen=True)
class Member:
    """A network, what it is shown, and how fast it learns."""

    config: Any
    shape: tuple[int, ...]
    """Of an example: C, T, H, W; of features: clips, D."""
    rate: float = 3e-3


def lgd(dimensions: int, head: str = "paths", frames: int = 0, rate: float = 3e-3, **changes: Any) -> Member:
    form = changes.pop("form", "l2_sqrt")
    backbone = BACKBONE[dimensions](**{**NARROW, **changes})
    config = LGDClassifierConfig(CLASSES, backbone, head=head, dropout=0.0, sketch_size=128, sketch_form=form)  # type: ignore[arg-type]
    return Member(config, (backbone.in_channels, frames or (3 if dimensions == 2 else 8), 32, 32), rate)


def injected(network: str, *shape: int) -> Member:
    return Member(InjectedConfig(network, CLASSES), shape, rate=1e-3)


def stnet(body: str, side: int = 48, **changes: Any) -> Member:
    # the bodies have their published width; a wide block behind them learns in fewer steps than a narrow one
    config = StNetConfig(CLASSES, body, **{"frames": 2, "xception_width": 512, **changes})
    return Member(config, (config.in_channels, 2 * config.frames, side, side), rate=1e-3)


FAMILY = {
    "LGD-2D": lgd(2),
    "LGD-2D, block_v1": lgd(2, block="v1"),
    "LGD-2D, block_v2": lgd(2, block="v2"),
    "LGD-2D, full rank": lgd(2, rank_divisor=None),
    "LGD-2D, the authors' later order": lgd(2, order="authors2021"),
    "LGD-2D, kernel head": lgd(2, head="kernel"),
    "TSN": lgd(2, block="none"),
    "TSN, kernel head": lgd(2, head="kernel", block="none"),
    "LGD-3D": lgd(3),
    "LGD-3D, block_v1": lgd(3, block="v1"),
    "LGD-3D, block_v2": lgd(3, block="v2"),
    "LGD-3D, full rank": lgd(3, rank_divisor=None),
    "LGD-3D, the authors' later order": lgd(3, order="authors2021"),
    "LGD-3D, biases, stride on 1x1": lgd(3, bias=True, stride_on="1x1"),
    "LGD-3D, flow": lgd(3, input="flow"),
    "LGD-3D, kernel head": lgd(3, head="kernel"),
    "LGD-3D, kernel head as in Eq. 5": lgd(3, head="kernel", form="none"),
    "LGD-3D, kernel head over C": lgd(3, head="kernel", form="channels"),
    "LGD-3D, kernel head, root first": lgd(3, head="kernel", form="sqrt_l2", rate=0.01),
    "LGD-3D, long clips": lgd(3, pool1_stride=LONG_POOL1_STRIDE, frames=16),
    "LGD-3D, kernel head, long clips": lgd(3, head="kernel", pool1_stride=LONG_POOL1_STRIDE, frames=16),
    "P3D": lgd(3, block="none"),
    "P3D, kernel head": lgd(3, head="kernel", block="none"),
    "P3D, kernel head, long clips": lgd(3, head="kernel", block="none", pool1_stride=LONG_POOL1_STRIDE, frames=16),
    "LGD in r3d_18": injected("r3d_18", 3, 4, 16, 16),
    "LGD in mc3_18": injected("mc3_18", 3, 4, 16, 16),
    "LGD in r2plus1d_18": injected("r2plus1d_18", 3, 4, 16, 16),
    "LGD in s3d": injected("s3d", 3, 8, 32, 32),
    "LGD-P3D-Xception": Member(LGDXceptionConfig(CLASSES, rank_divisor=4, **XCEPTION), (3, 8, 40, 40)),
    "LGD-P3D-Xception, full rank": Member(LGDXceptionConfig(CLASSES, rank_divisor=None, **XCEPTION), (3, 8, 40, 40)),
    "P3D-Xception": Member(LGDXceptionConfig(CLASSES, block="none", **XCEPTION), (3, 8, 40, 40)),
    "TSN-Xception": Member(XceptionConfig(CLASSES, **XCEPTION), (3, 3, 40, 40)),
    "TSN-Xception, flow": Member(XceptionConfig(CLASSES, input="flow", **XCEPTION), (2, 3, 40, 40)),
    "audio Xception": Member(XceptionConfig(CLASSES, input="audio", side=71, **XCEPTION), (1, 1, 32, 24)),
    "audio Xception, pictures as they are": Member(XceptionConfig(CLASSES, input="audio", **XCEPTION), (1, 1, 64, 48)),
    "StNet ResNet-18": stnet("resnet18"),
    "StNet ResNet-18, flow": stnet("resnet18", input="flow"),
    "StNet ResNet-50": stnet("resnet50"),
    "StNet ResNet-101": stnet("resnet101"),
    "StNet Inception-ResNet-v2": stnet("inception_resnet_v2", side=75),
    "StNet's baseline TSN": Member(tsn(num_classes=CLASSES, body="resnet18"), (3, 3, 32, 32), rate=1e-3),
    "AP": Member(TemporalPoolingConfig(CLASSES, (24,), "average", **FEATURES), (6, 24), rate=0.02),
    "TCP": Member(TemporalPoolingConfig(CLASSES, (24,), **FEATURES), (6, 24), rate=0.02),
    "temporal Xception block of features": Member(
        TemporalPoolingConfig(CLASSES, (24,), "xception", **FEATURES), (6, 24), rate=0.02
    ),
    "LSTM of features": Member(TemporalPoolingConfig(CLASSES, (24,), "lstm", **FEATURES), (6, 24), rate=0.02),
    "GRU of features": Member(TemporalPoolingConfig(CLASSES, (24,), "gru", **FEATURES), (6, 24), rate=0.02),
    "TCP of three streams": Member(TemporalPoolingConfig(CLASSES, (24, 16, 8), **FEATURES), (6, 48), rate=0.02),
    "action scorer of detection": Member(
        ScorerConfig(CLASSES, LGD3DConfig(**NARROW), clip_frames=8, short_side=32, dropout=0.0), (3, 8, 32, 32)
    ),
}
needs_onnx = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in PACKAGES),
    reason="onnx, onnxscript and onnxruntime are not installed",
)


class OneActor(nn.Module):
    """The action scorer on clips with one box each: logits of the boxes, and of the clips."""

    def __init__(self, scorer: nn.Module) -> None:
        super().__init__()
        self.scorer = scorer

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        return self.scorer(clips, [torch.tensor([[4.0, 4, 2, 28, 30]])] * len(clips))


def build(config: Any) -> nn.Module:
    torch.manual_seed(0)
    if isinstance(config, TemporalPoolingConfig):
        return TemporalPooling(config)
    if isinstance(config, ScorerConfig):
        return OneActor(build_scorer(config))
    return build_classifier(config)


def examples(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@dataclass
class Learned:
    """A network that was trained on eight examples, in eval mode."""

    member: Member
    network: Any
    shape: tuple[int, ...]
    """Of an example that it takes now."""
    losses: list[float]
    blind: list[str]
    """Parameters that never had a gradient."""
    logits: tuple[Tensor, ...]
    """Of the eight."""


def learn(member: Member) -> Learned:
    network: Any = build(member.config)
    shrunk = isinstance(member.config, InjectedConfig) and member.config.network == "s3d"
    if shrunk:
        # Its last pool takes no clip below 13 x 209 x 209. That pool has no weights: another window learns the same.
        pool, network.net.avgpool = network.net.avgpool, nn.AdaptiveAvgPool3d(1)
        network._check = lambda clips: None
        network.net.classifier[0].p = 0.0
    clips, labels = examples(CLASSES, *member.shape), torch.arange(CLASSES)
    optimiser = torch.optim.Adam(network.parameters(), lr=member.rate)
    blind, losses = dict(network.named_parameters()), []
    for _ in range(STEPS):
        optimiser.zero_grad()
        logits = network(clips)
        loss = classification_loss(logits, labels)
        losses.append(loss.item())
        if losses[-1] < losses[0] / 4 and all(torch.equal(head.argmax(1), labels) for head in logits):
            break
        loss.backward()
        blind = {name: p for name, p in blind.items() if p.grad is None or not p.grad.abs().max() > 0}
        nn.utils.clip_grad_norm_(network.parameters(), 10)
        optimiser.step()
    optimiser.zero_grad()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            module.momentum = 1  # the running statistics become those of the eight
    with torch.no_grad():
        network(clips)
        logits = network.eval()(clips)
    shape = member.shape
    if shrunk:
        network.net.avgpool, shape = pool, (3, 13, 209, 209)
        del network._check
    return Learned(member, network, shape, losses, list(blind), logits)


@pytest.fixture(scope="module", params=FAMILY)
def learned(request: pytest.FixtureRequest) -> Learned:
    member = FAMILY[request.param]
    if getattr(member.config, "body", "") == "inception_resnet_v2" and importlib.util.find_spec("timm") is None:
        pytest.skip("timm, an optional part, is not installed")
    return learn(member)


def test_every_parameter_learns_and_eight_examples_are_known_by_heart(learned: Learned) -> None:
    assert learned.blind == []
    assert learned.losses[-1] < learned.losses[0] / 4
    # every head names every example, now with the statistics of training
    assert [head.argmax(1).tolist() for head in learned.logits] == [list(range(CLASSES))] * len(learned.logits)


def test_its_file_gives_the_same_bits(learned: Learned, tmp_path: Path) -> None:
    again, config = saved_and_loaded(learned, tmp_path / "model.safetensors")
    assert config == learned.member.config
    clips = examples(2, *learned.shape)
    with torch.no_grad():
        for found, expected in zip(again(clips), learned.network(clips), strict=True):
            assert torch.equal(found, expected)


def saved_and_loaded(learned: Learned, path: Path) -> tuple[nn.Module, Any]:
    """The network and the config of a file, each by the functions of its kind."""
    config, network, names = learned.member.config, learned.network, tuple("abcdefgh")
    if isinstance(config, TemporalPoolingConfig):
        save_pooling(path, network, names, streams={}, provenance={})
        pooling, _ = load_pooling(path)
        return pooling, pooling.config
    if isinstance(config, ScorerConfig):
        about: dict[str, Any] = {
            "config": config.to_dict(),
            "class_names": names,
            "preprocessing": Preprocessing().to_dict(),
        }
        save_model(path, network.scorer.state_dict(), kind=KIND, provenance={}, **about)
        scorer = load_scorer(path).network
        return OneActor(scorer).eval(), scorer.config
    state, clip = network.state_dict(), ClipInput()
    save_classifier(path, state, config=config, class_names=names, clip=clip, provenance={}, store="float32")
    classifier = load_classifier(path)
    return classifier.network, classifier.config


@needs_onnx
def test_its_onnx_file_gives_the_same_probabilities(
    learned: Learned, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """For any number of examples, or of boxes; export_onnx compares and refuses a difference above 1e-4."""
    network, config = learned.network, learned.member.config
    pair, three = (pixels(number, learned.shape) for number in (2, 3))
    if isinstance(config, TemporalPoolingConfig):
        module: nn.Module = PoolingOnFeatures(network)
        inputs = [Example({"features": examples(number, *learned.shape)}) for number in (2, 3)]
    elif isinstance(config, ScorerConfig):
        module = ScorerOnPixels(LoadedScorer(network.scorer, (), Preprocessing(), None))  # type: ignore[arg-type]
        boxes = torch.tensor([[1, 2.0, 2, 20, 30], [3, 0.0, 0, 32, 32], [7, 10.0, 5, 31, 12]])
        inputs = [Example({"clips": pair[:1], "regions": boxes[:number]}) for number in (2, 3)]
    else:
        channels = learned.shape[0]
        module = ClassifierOnPixels(network, Preprocessing(mean=(0.5,) * channels, std=(0.5,) * channels))
        inputs = [Example({"clips": pair}), Example({"clips": three})]
    path = tmp_path / "model.onnx"
    difference = export_onnx(module, path, inputs[0], inputs[1:], output="probabilities", about={})
    record_property("largest difference of a probability", difference)
    assert path.stat().st_size > 1000


def pixels(number: int, shape: tuple[int, ...]) -> Tensor:
    channels, *rest = shape
    generator = torch.Generator().manual_seed(number)
    return torch.randint(0, 256, (number, *rest, channels), dtype=torch.uint8, generator=generator)


# ---- the list is whole


def kind(config: Any) -> tuple[Any, ...]:
    """What tells networks apart, less their sizes."""
    if isinstance(config, LGDClassifierConfig):
        backbone = config.backbone
        return (config.dimensions, backbone.block, config.head, backbone.rank_divisor is None, backbone.temporal_stride)
    if isinstance(config, InjectedConfig):
        return (config.network,)
    if isinstance(config, StNetConfig):
        return (config.body, config.temporal_blocks, config.aggregation)
    if isinstance(config, LGDXceptionConfig):
        return ("3-D Xception", config.block, config.rank_divisor is None)
    if isinstance(config, XceptionConfig):
        return ("Xception", config.input == "audio", config.side > 0)
    return (type(config), getattr(config, "pooling", ""))


KINDS = {kind(member.config) for member in FAMILY.values()}


@pytest.mark.parametrize("name", PRESETS)
def test_every_recipe_and_its_second_stages_are_in_the_list(name: str) -> None:
    recipe = PRESETS[name]()
    wanted = [recipe]
    for change in (for_flow, second_stage, lambda recipe: second_stage(recipe, long=True)):
        try:
            wanted.append(change(recipe))
        except SettingsError:
            continue  # there is none of this network
    assert [kind(recipe.network) for recipe in wanted if kind(recipe.network) not in KINDS] == []


def choices(config: type[Any], option: str) -> set[Any]:
    return set(get_args(get_type_hints(config)[option]))


def test_every_family_and_every_choice_is_in_the_list() -> None:
    configs = [member.config for member in FAMILY.values()]
    networks = [config for config in configs if not isinstance(config, TemporalPoolingConfig | ScorerConfig)]
    assert {family_of(config) for config in networks} == set(FAMILIES)
    assert {config.network for config in configs if isinstance(config, InjectedConfig)} == set(NETWORKS)

    lgd_networks = [config for config in configs if isinstance(config, LGDClassifierConfig)]
    for dimensions, backbone in BACKBONE.items():
        backbones = [config.backbone for config in lgd_networks if config.dimensions == dimensions]
        for option in ("block", "order"):
            assert {getattr(config, option) for config in backbones} == choices(backbone, option)
    for config_class, option in [
        (LGDClassifierConfig, "head"),
        (LGDXceptionConfig, "block"),
        (XceptionConfig, "input"),
        (StNetConfig, "aggregation"),
        (TemporalPoolingConfig, "pooling"),
    ]:
        found = {getattr(config, option) for config in configs if isinstance(config, config_class)}
        assert found == choices(config_class, option)
    assert {config.sketch_form for config in lgd_networks if config.head == "kernel"} == set(SKETCH_FORMS)
