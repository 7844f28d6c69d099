"""Every family of classifiers: written, loaded, the same; started from other weights; refused where nothing fits."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from recognition.classifier_files import (
    FAMILIES,
    LoadedClassifier,
    NetworkConfig,
    family_of,
    load_classifier,
    network_of,
    save_classifier,
)
from recognition.classifier_start import build_classifier, build_from, build_second_stage
from recognition.clip_sampling import FLOW_PREPROCESSING, ClipInput
from recognition.inject import InjectedConfig
from recognition.lgd2d import lgd2d_small
from recognition.lgd3d import lgd3d_small, p3d_small
from recognition.lgd_classifier import LGDClassifierConfig
from recognition.lgd_xception import LGDXceptionConfig
from recognition.model_files import ModelFileError, save_model
from recognition.stnet import StNetConfig
from recognition.xception import XceptionConfig

NARROW = {"depths": (1, 1, 1, 1), "widths": (16, 16, 16, 32), "stem_width": 8}
LGD3D = LGDClassifierConfig(3, lgd3d_small(**NARROW), sketch_size=64)
XCEPTION_NARROW = (4, 6, 8, 8, 8, 8, 8, 8)
CONFIGS: dict[str, NetworkConfig] = {
    "lgd3d": LGD3D,
    "kernel": replace(LGD3D, head="kernel"),
    "lgd2d": LGDClassifierConfig(3, lgd2d_small(**NARROW)),
    "p3d, flow": LGDClassifierConfig(3, p3d_small(**NARROW, input="flow")),
    "injected": InjectedConfig("mc3_18", num_classes=3),
    "stnet": StNetConfig(num_classes=3, body="resnet18", frames=2, xception_width=8),
    "lgd-xception": LGDXceptionConfig(3, widths=XCEPTION_NARROW, middle_modules=1),
    "p3d-xception, flow": LGDXceptionConfig(3, block="none", widths=XCEPTION_NARROW, middle_modules=1, input="flow"),
    "xception": XceptionConfig(3, XCEPTION_NARROW, middle_modules=1),
    "audio": XceptionConfig(3, XCEPTION_NARROW, middle_modules=1, input="audio", side=40),
}
CLIP = ClipInput(frames=8, short_side=24, crop=20, test_short_side=24)


def clips_for(config: NetworkConfig) -> torch.Tensor:
    stream = getattr(getattr(config, "backbone", config), "input", "rgb")
    channels = {"rgb": 3, "flow": 2, "audio": 1}[stream]
    return torch.randn(2, channels, 8, 32, 32, generator=torch.Generator().manual_seed(0))


def saved(path: Path, config: NetworkConfig, network: torch.nn.Module) -> LoadedClassifier:
    save_classifier(
        path,
        network.state_dict(),
        config=config,
        class_names=("a", "b", "c")[: config.num_classes],
        clip=CLIP,
        provenance={"seed": 0},
        store="float32",
    )
    return load_classifier(path)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_a_classifier_comes_back_as_it_was(config: NetworkConfig, tmp_path: Path) -> None:
    network = build_classifier(config, seed=3).eval()
    loaded = saved(tmp_path / "c.safetensors", config, network)
    assert loaded.config == config
    assert (loaded.class_names, loaded.clip) == (("a", "b", "c"), CLIP)
    assert not loaded.network.training
    clips = clips_for(config)
    with torch.no_grad():
        expected, found = network(clips), loaded.network(clips)
        assert network.features(clips).shape[0] == 2
    assert len(expected) == len(found)
    for a, b in zip(expected, found):
        assert a.shape == (2, 3)
        assert torch.equal(a, b)


@pytest.mark.parametrize("config", [CONFIGS[name] for name in ("lgd3d", "kernel", "lgd2d")])
def test_the_seed_is_all_that_decides_a_start(config: NetworkConfig) -> None:
    one, same, other = (build_classifier(config, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_every_family_is_tried_here() -> None:
    assert {family_of(config) for config in CONFIGS.values()} == set(FAMILIES)


def test_the_input_of_a_flow_network_survives(tmp_path: Path) -> None:
    config = CONFIGS["p3d, flow"]
    clip = replace(CLIP, stream="flow", preprocessing=FLOW_PREPROCESSING)
    path = tmp_path / "flow.safetensors"
    state = network_of(config).state_dict()
    save_classifier(path, state, config=config, class_names=("a", "b", "c"), clip=clip, provenance={})
    assert load_classifier(path).clip == clip


def test_with_the_same_classes_a_start_is_the_network_itself(tmp_path: Path) -> None:
    first = saved(tmp_path / "c.safetensors", LGD3D, build_classifier(LGD3D, seed=5))
    again = build_from(first, 3, same_classes=True, seed=9).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in first.network.state_dict().items())


@pytest.mark.parametrize("num_classes", [3, 2])
def test_with_other_classes_only_the_last_layers_start_anew(tmp_path: Path, num_classes: int) -> None:
    first = saved(tmp_path / "c.safetensors", LGD3D, build_classifier(LGD3D, seed=5))
    given, found = first.network.state_dict(), build_from(first, num_classes, same_classes=False, seed=9).state_dict()
    changed = {name for name in given if not torch.equal(given[name], found[name])}
    # biases of the same number start at zero again
    assert changed - {"head.local.bias", "head.global_.bias"} == {"head.local.weight", "head.global_.weight"}


def test_stage_two_starts_from_stage_one(tmp_path: Path) -> None:
    first = saved(tmp_path / "c.safetensors", LGD3D, build_classifier(LGD3D, seed=5))
    long = replace(LGD3D, head="kernel", backbone=replace(LGD3D.backbone, pool1_stride=4))  # type: ignore[call-arg]
    second = build_second_stage(first, long, seed=1)
    assert second.config == long
    given = first.network.state_dict()
    body = {name: value for name, value in second.state_dict().items() if name.startswith("backbone.")}
    assert body.keys() == {name for name in given if name.startswith("backbone.")}
    assert all(torch.equal(value, given[name]) for name, value in body.items())
    with pytest.raises(ValueError, match="may differ from the first in its head and in pool1_stride only"):
        build_second_stage(first, replace(long, backbone=lgd3d_small(**{**NARROW, "stem_width": 16})))
    stnet = saved(tmp_path / "s.safetensors", CONFIGS["stnet"], build_classifier(CONFIGS["stnet"]))
    with pytest.raises(ValueError, match="only LGD networks and their baselines have a second stage"):
        build_second_stage(stnet, long)


def test_published_weights_are_asked_for_by_their_data() -> None:
    with pytest.raises(ValueError, match="has weights of Kinetics"):
        build_classifier(CONFIGS["injected"], body_weights="imagenet")
    with pytest.raises(ValueError, match="no published weights of Kinetics for this network"):
        build_classifier(LGD3D, body_weights="kinetics")
    for config in CONFIGS.values():
        with pytest.raises(ModelFileError, match=r"gone\.pth: no such file"):
            build_classifier(config, body_weights="gone.pth")


Change = Callable[[dict], None]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda values: values["config"].update(family="vit"), "is of family 'vit', this version knows lgd, injected"),
        (lambda values: values["config"]["network"].update(speed=1), "unknown option 'speed'"),
        (lambda values: values["config"].pop("network"), "its configuration does not fit this version"),
        (lambda values: values["preprocessing"].update(sampling="dense"), "sampling must be one of"),
        (lambda values: values.update(class_names=["a"]), "1 class names for 3 classes"),
        (lambda values: values.update(kind="proposals"), "holds a model of kind 'proposals'"),
    ],
)
def test_a_file_that_does_not_fit_is_one_line(change: Change, told: str, tmp_path: Path) -> None:
    values = {
        "kind": "classifier",
        "config": {"family": "lgd", "network": LGD3D.to_dict()},
        "class_names": ["a", "b", "c"],
        "preprocessing": CLIP.to_dict(),
        "provenance": {},
    }
    change(values)
    path = tmp_path / "c.safetensors"
    save_model(path, network_of(LGD3D).state_dict(), **values)  # type: ignore[arg-type]
    with pytest.raises(ModelFileError, match=told) as error:
        load_classifier(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)
