"""Recipes: every one can be built and fed, and those of the papers hold the papers' numbers."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from linking.settings import SettingsError
from recognition.classifier_files import network_of
from recognition.classifier_presets import PRESETS, Recipe, for_flow, second_stage, settled
from recognition.clip_sampling import random_frames, uniform_frames
from recognition.inject import InjectedConfig
from recognition.sound_clips import SoundInput
from recognition.stnet import StNetConfig


@pytest.mark.parametrize("name", PRESETS)
def test_every_recipe_survives_settings_and_its_clips_fit_its_network(name: str) -> None:
    recipe = settled(PRESETS[name](), {"train": {"epochs": 1}}, num_classes=7)
    assert recipe.network.num_classes == 7
    assert recipe.train.epochs == 1
    if isinstance(recipe.clip, SoundInput):
        assert recipe.network.input == "audio"  # type: ignore[union-attr]
        return
    frames = random_frames(300, recipe.clip, np.random.default_rng(0))
    assert len(frames) == recipe.clip.clip_frames
    if isinstance(recipe.network, StNetConfig):
        assert len(frames) % recipe.network.frames == 0
        assert uniform_frames(300, recipe.clip).shape[1] % recipe.network.frames == 0


@pytest.mark.parametrize("name", [name for name in PRESETS if name.endswith("-small") and name != "audio-small"])
def test_small_recipes_run(name: str) -> None:
    recipe = settled(PRESETS[name](), {}, num_classes=5)
    clip = recipe.clip
    network = network_of(recipe.network).eval()
    with torch.no_grad():
        logits = network(torch.zeros(1, 3, clip.clip_frames, clip.crop, clip.crop))  # type: ignore[union-attr]
    assert logits[0].shape == (1, 5)


def test_the_small_recipe_for_sound_runs() -> None:
    recipe = settled(PRESETS["audio-small"](), {"clip": {"mel": {"bands": 48}}}, num_classes=5)
    network = network_of(recipe.network).eval()
    with torch.no_grad():
        logits = network(torch.zeros(2, 1, 1, 48, recipe.clip.columns))  # type: ignore[union-attr]
    assert logits[0].shape == (2, 5)


def test_the_papers_numbers() -> None:
    three, two, stnet = (PRESETS[f"{name}-resnet50"]() for name in ("lgd3d", "lgd2d", "stnet"))
    assert (three.train.batch, two.train.batch, stnet.train.batch) == (64, 128, 128)
    rates = [three.train.learning_rate * three.train.rate(epoch) for epoch in (0, 20, 40, 49.9)]
    assert rates == pytest.approx([0.01, 0.001, 0.0001, 0.0001])
    assert uniform_frames(300, three.clip).shape == (15, 16)
    assert uniform_frames(300, two.clip).shape == (10, 3)
    assert uniform_frames(300, stnet.clip).shape == (1, 125)
    assert (three.clip.crop, three.clip.short_side, two.clip.crop, two.clip.short_side) == (112, 120, 224, 240)


def test_the_second_stage_is_the_kernel_head_for_as_long_again() -> None:
    first = PRESETS["lgd3d-resnet50"]()
    second = second_stage(first)
    assert second == replace(first, network=replace(first.network, head="kernel"))


def test_the_long_stage_sees_128_frames_for_a_quarter_of_the_epochs() -> None:
    long = second_stage(PRESETS["lgd3d-resnet101"](), long=True)
    assert (long.clip.frames, long.network.backbone.pool1_stride) == (128, 4)  # type: ignore[union-attr]
    assert (long.train.batch, long.train.epochs, long.train.step_epochs) == (16, 12.5, 5)
    with pytest.raises(SettingsError, match="only LGD-3D and P3D have a stage with long clips"):
        second_stage(PRESETS["lgd2d-small"](), long=True)
    with pytest.raises(SettingsError, match="only LGD networks and their baselines"):
        second_stage(PRESETS["stnet-small"]())


def test_any_recipe_but_torchvisions_takes_flow() -> None:
    for name in PRESETS:
        recipe = PRESETS[name]()
        if isinstance(recipe.network, InjectedConfig):
            with pytest.raises(SettingsError, match="for RGB"):
                for_flow(recipe)
        elif isinstance(recipe.clip, SoundInput):
            with pytest.raises(SettingsError, match="for sound"):
                for_flow(recipe)
        else:
            assert settled(for_flow(recipe), {}, num_classes=2).clip.channels == 2  # type: ignore[union-attr]


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(SettingsError, match="the network is for flow, the clips are rgb; use --stream"):
        settled(PRESETS["lgd3d-small"](), {"network": {"backbone": {"input": "flow"}}}, num_classes=2)
    with pytest.raises(SettingsError, match=r"network\.frames is 3, clip\.frames 5"):
        settled(PRESETS["stnet-small"](), {"clip": {"frames": 5}}, num_classes=2)
    with pytest.raises(SettingsError, match=r"unknown setting clip\.speed; known are clip\.stream"):
        settled(PRESETS["lgd3d-small"](), {"clip": {"speed": 5}}, num_classes=2)


def test_a_recipe_holds_nothing_but_network_clip_and_training() -> None:
    assert list(Recipe.__dataclass_fields__) == ["network", "clip", "train"]
