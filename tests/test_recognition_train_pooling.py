"""From videos to features to pooled scores, by function and by command line."""

import dataclasses
import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

from eval.class_scores import read_scores
from linking.settings import with_settings
from recognition.classifier_files import load_classifier, network_of, save_classifier
from recognition.classify import ClassifyConfig, clip_scores, clips_of
from recognition.clip_sampling import ClipInput
from recognition.extract_features import extract_features
from recognition.feature_files import (
    FeatureError,
    VideoFeatures,
    feature_path,
    open_features,
    read_features,
    write_features,
)
from recognition.sound_clips import SoundInput
from recognition.stnet import StNetConfig
from recognition.temporal_pooling import load_pooling
from recognition.train_classifier import Run
from recognition.train_pooling import PoolingRecipe, train_pooling
from recognition.xception import XceptionConfig
from tests.squares import FRAMES, square_videos
from video.class_datasets import ClassifiedVideo, open_classes
from video.log_mel import LogMel

TOOLS = Path(__file__).parents[1] / "tools"
CLIP = ClipInput(frames=4, short_side=32, crop=32, test_short_side=32)
SOUND = SoundInput(LogMel(bands=16, fft=512), columns=8)
NARROW = {"network": {"width": 8, "clips": 5}, "train": {"batch": 8, "epochs": 12.0, "learning_rate": 0.05}}
QUICK = [f"--set={group}.{name}={value}" for group, values in NARROW.items() for name, value in values.items()]


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    square_videos(folder, 4)
    return folder


@pytest.fixture(scope="module")
def classifiers(tmp_path_factory):
    """A classifier of frames and one of sound, as training starts them."""
    folder = tmp_path_factory.mktemp("models")
    widths = (4, 4, 4, 4, 4, 4, 4, 6)
    for name, config, clip in (
        ("rgb", XceptionConfig(2, widths, middle_modules=1), CLIP),
        ("audio", XceptionConfig(2, widths, middle_modules=1, input="audio"), SOUND),
    ):
        torch.manual_seed(0)
        state = network_of(config).state_dict()
        about = {"config": config, "class_names": ("down", "right"), "clip": clip, "provenance": {}}
        save_classifier(folder / f"{name}.safetensors", state, **about, store="float32")
    return folder


def tool(name, capsys, *words):
    code = runpy.run_path(str(TOOLS / f"{name}.py"))["main"]([str(word) for word in words])
    said = capsys.readouterr()
    return code, said.out, said.err


def made_up(folder, count=16, classes=("left", "right"), width=4, **options):
    """Videos whose first feature is the class, in a noise."""
    rng = np.random.default_rng(0)
    for number in range(count):
        features = rng.normal(0, 0.3, (7, width))
        features[:, 0] += 2 * (number % len(classes))
        video = VideoFeatures(features, classes[number % len(classes)], np.arange(7.0), **options)
        write_features(feature_path(folder, f"clip{number}"), video)
    return folder


# ---- extraction ----


def test_features_are_those_of_the_test_clips(videos, classifiers, tmp_path):
    model = load_classifier(classifiers / "rgb.safetensors")
    dataset = open_classes(videos, part="all")
    done = list(extract_features(model, dataset, tmp_path, ClassifyConfig(batch_clips=3), clips=5))
    assert [video.error for video in done] == [""] * 4
    video = dataset.videos[1]
    read = read_features(feature_path(tmp_path, video.name))
    clips = clips_of(video, dataclasses.replace(CLIP, test_clips=5))
    assert (FRAMES, len(clips.clips), read.label) == (12, 5, video.label)
    # starts at 0, 2, 4, 6 and 8 of 12 frames, 25 a second; the middle of four frames lies 2 frames behind the first
    assert read.seconds.tolist() == pytest.approx([(start + 2) / 25 for start in (0, 2, 4, 6, 8)])
    assert read.about == {
        "model": model.file.sha256,
        "clip": json.loads(json.dumps(dataclasses.replace(CLIP, test_clips=5).to_dict())),
    }
    scores = clip_scores(model.network, clips.clips, CLIP, ClassifyConfig(), "cpu")
    with torch.no_grad():
        logits = model.network.classifier(torch.from_numpy(read.features))
    np.testing.assert_allclose(logits.softmax(dim=1), scores, atol=2e-3)  # half precision


def test_a_run_that_was_stopped_goes_on_and_another_model_is_refused(videos, classifiers, tmp_path):
    model, dataset = load_classifier(classifiers / "rgb.safetensors"), open_classes(videos, part="all")
    run = extract_features(model, dataset, tmp_path, ClassifyConfig(), clips=2)
    first = feature_path(tmp_path, next(run).video)
    run.close()
    before = first.stat().st_mtime_ns
    assert len(list(extract_features(model, dataset, tmp_path, ClassifyConfig(), clips=2))) == 4
    assert first.stat().st_mtime_ns == before
    assert len(list(tmp_path.rglob("*.npz"))) == 4
    with pytest.raises(FeatureError, match="made by another model, or from other clips; take another folder"):
        list(extract_features(model, dataset, tmp_path, ClassifyConfig(), clips=3))


def test_a_video_that_cannot_be_read_is_told_and_left_out(videos, classifiers, tmp_path):
    model, dataset = load_classifier(classifiers / "rgb.safetensors"), open_classes(videos, part="all")
    absent = ClassifiedVideo(videos / "absent.mp4", "down", "absent")
    dataset = dataclasses.replace(dataset, videos=(absent, *dataset.videos[:1]))
    done = list(extract_features(model, dataset, tmp_path, ClassifyConfig(), clips=2))
    assert [bool(video.error) for video in done] == [True, False]
    assert "absent.mp4" in done[0].error


# ---- training ----


@pytest.mark.parametrize("pooling", ["tcp", "average"])
def test_pooling_learns_by_command_line_and_scores_what_it_held_out(tmp_path, capsys, pooling):
    features, output = made_up(tmp_path / "features"), tmp_path / "run"
    words = ("--train", features, "--fold=0/2", "--output", output, f"--set=network.pooling={pooling}", *QUICK)
    code, out, err = tool("train_temporal_pooling", capsys, *words)
    assert code == 0, err
    report = json.loads(out)
    assert (report["finished"], report["videos"], report["classes"]) == (True, 8, 2)
    assert report["validation"]["videos"] == 8
    assert report["validation"]["top1"] == 1
    network, file = load_pooling(output / "pooling.safetensors")
    assert file.class_names == ("left", "right")
    assert (network.config.pooling, network.config.stream_widths) == (pooling, (4,))
    assert len((output / "log.jsonl").read_text().splitlines()) == 12

    # the same file scores other videos
    code, out, err = tool(
        *("train_temporal_pooling", capsys, "--weights", output / "pooling.safetensors"),
        *("--validate", features, "--output", tmp_path / "again"),
    )
    assert code == 0, err
    assert json.loads(out)["validation"]["videos"] == 16
    held_out, all_scores = (read_scores(folder / "scores.npz") for folder in (output, tmp_path / "again"))
    np.testing.assert_allclose(all_scores.of_videos(held_out.videos).scores, held_out.scores, atol=1e-6)


def test_training_goes_on_bit_for_bit(tmp_path):
    features, recipe = open_features([made_up(tmp_path / "features")]), with_settings(PoolingRecipe(), NARROW)
    whole, parts = Run(tmp_path / "whole"), Run(tmp_path / "parts", max_minutes=1e-9)
    assert train_pooling(recipe, features, None, whole)["finished"]
    assert not train_pooling(recipe, features, None, parts)["finished"]
    assert train_pooling(recipe, features, None, Run(parts.output, resume=True))["finished"]
    one, other = (load_pooling(run.output / "pooling.safetensors")[1].state for run in (whole, parts))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_two_streams_from_videos_to_scores_by_command_line(videos, classifiers, tmp_path, capsys):
    folders = []
    for stream in ("rgb", "audio"):
        folders.append(tmp_path / stream)
        words = ("--weights", classifiers / f"{stream}.safetensors", "--dataset", videos, "--clips=3")
        code, out, err = tool("extract_features", capsys, *words, "--output", folders[-1])
        assert code == 0, err
        assert out.startswith("4 videos in ")
    # none of these videos has sound: silence is one picture, whatever the length of the video
    assert read_features(next(folders[1].rglob("*.npz"))).features.shape == (1, 6)
    code, out, err = tool(
        "train_temporal_pooling",
        capsys,
        "--train",
        *folders,
        "--validate",
        *folders,
        "--output",
        tmp_path / "run",
        *QUICK,
    )
    assert code == 0, err
    network, file = load_pooling(tmp_path / "run" / "pooling.safetensors")
    assert network.config.stream_widths == (6, 6)
    assert [stream["clip"]["stream"] for stream in file.preprocessing["streams"]] == ["rgb", "audio"]
    assert len(read_scores(tmp_path / "run" / "scores.npz")) == 4

    # streams in another order are not what it was trained on
    words = ("--weights", tmp_path / "run" / "pooling.safetensors", "--validate", *folders[::-1])
    code, _, err = tool("train_temporal_pooling", capsys, *words, "--output", tmp_path / "wrong")
    assert code == 2
    assert "made by another classifier, or from other clips, than what the network was trained on" in err


def test_unlabelled_videos_are_scored_without_numbers(tmp_path, capsys):
    features = made_up(tmp_path / "features")
    assert tool("train_temporal_pooling", capsys, "--train", features, "--output", tmp_path / "run", *QUICK)[0] == 0
    unknown = made_up(tmp_path / "unknown", count=3, classes=("",))
    words = ("--weights", tmp_path / "run" / "pooling.safetensors", "--validate", unknown, "--output", tmp_path)
    code, out, _ = tool("train_temporal_pooling", capsys, *words)
    assert code == 0
    assert json.loads(out) == {"scored": 3}


def test_what_cannot_be_trained_is_one_line(tmp_path, capsys):
    one = made_up(tmp_path / "one", classes=("left",))
    wide = made_up(tmp_path / "wide", width=5)
    two = made_up(tmp_path / "two")
    for words, message in (
        (("--train", tmp_path / "absent"), "absent: no such folder of features"),
        (("--train", one), "has 1 classes; training needs two or more"),
        (("--train", two, "--set=train.speed=3"), "unknown setting train.speed"),
        (("--train", two, "--fold=0/99"), "cannot make 99 folds"),
        (("--train", two, "--validate", wide, *QUICK), "streams have (5,) numbers, the network was trained on (4,)"),
        (("--train", two, "--resume", *QUICK), "no such training state"),
    ):
        output = tmp_path / str(len(message))
        code, out, err = tool("train_temporal_pooling", capsys, *words, "--output", output)
        last = err.strip().splitlines()[-1]
        assert (code, out) == (2, "")
        assert last.startswith("error: ")
        assert message in last


def test_a_set_of_features_can_be_opened_as_streams_twice(tmp_path):
    features = made_up(tmp_path / "features", count=2)
    assert open_features([features, features]).read(0).features.shape == (7, 8)


def test_stnet_gives_features_too(videos, tmp_path):
    config = StNetConfig(2, body="resnet18", frames=2, xception_width=5)
    clip = ClipInput(
        sampling="segments", frames=2, segments=2, test_segments=2, short_side=32, crop=32, test_short_side=32
    )
    path = tmp_path / "stnet.safetensors"
    about = {"config": config, "class_names": ("down", "right"), "clip": clip, "provenance": {}}
    save_classifier(path, network_of(config).state_dict(), **about)
    dataset = open_classes(videos, part="all")
    dataset = dataclasses.replace(dataset, videos=dataset.videos[:1])
    assert not next(extract_features(load_classifier(path), dataset, tmp_path, ClassifyConfig(), clips=2)).error
    assert read_features(next(tmp_path.rglob("*.npz"))).features.shape == (2, 5)
