"""A classifier of sound from videos to model file and back, by the training that all classifiers share."""

import numpy as np
import pytest

from recognition.class_maps import video_maps
from recognition.classifier_files import load_classifier
from recognition.classifier_presets import PRESETS, settled
from recognition.classifier_stages import MODEL_NAME, TrainingData, train_stage
from recognition.classifier_start import build_classifier
from recognition.classify import ClassifyConfig, classify_dataset, classify_video, clips_of
from recognition.train_classifier import Run
from tests.sound_samples import tone, write_video_with_sound
from tests.video_samples import write_numbered
from video.class_datasets import ClassifiedVideo, open_classes

SETTINGS = {
    "network": {"widths": [4, 6, 8, 8, 12, 16, 16, 16], "middle_modules": 1, "dropout": 0.0},
    "clip": {"columns": 24, "test_clips": 2},
    "train": {"epochs": 25, "batch": 4, "precision": "fp32", "label_smoothing": 0.0},
}


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Low and high tones under a noise, half a second each; the pictures are all the same."""
    folder, rng = tmp_path_factory.mktemp("tones"), np.random.default_rng(0)
    for part, count in (("train", 4), ("test", 2)):
        for name, low, high in (("high", 2000, 4000), ("low", 300, 800)):
            (folder / part / name).mkdir(parents=True)
            for number in range(count):
                sound = tone(rng.uniform(low, high), 0.5) * rng.uniform(0.3, 1) + rng.uniform(-0.05, 0.05, 8000)
                write_video_with_sound(folder / part / name / f"{part}{number}_{name}.mkv", sound)
    return folder


@pytest.fixture(scope="module")
def trained(videos, tmp_path_factory):
    """The folder of a trained classifier, and the report of its training."""
    output = tmp_path_factory.mktemp("run")
    training, test = (open_classes(videos, part=part) for part in ("train", "test"))
    recipe = settled(PRESETS["audio-small"](), SETTINGS, num_classes=2)
    data = TrainingData(training, test, {"datasets": ["tones"]})
    report = train_stage(recipe, lambda: build_classifier(recipe.network, seed=0), data, Run(output))
    return output, report, recipe


def test_it_learns_to_tell_sounds_apart_and_its_file_says_what_it_hears(trained, videos):
    output, report, recipe = trained
    assert report["finished"]
    assert report["validation"]["top1"] == 1
    model = load_classifier(output / MODEL_NAME)
    assert model.clip == recipe.clip
    assert model.class_names == ("high", "low")
    scores, unreadable = classify_dataset(
        model.network, open_classes(videos, part="train"), model.class_names, model.clip, ClassifyConfig()
    )
    assert unreadable == []
    assert (scores.scores.argmax(axis=1) == scores.targets).all()


def test_a_video_without_sound_gets_the_scores_of_silence(trained, tmp_path):
    model = load_classifier(trained[0] / MODEL_NAME)
    mute, silence = (tmp_path / name for name in ("mute.mp4", "silence.mkv"))
    write_numbered(mute, frames=5)
    write_video_with_sound(silence, np.zeros(8000, np.float32))
    scores = [
        classify_video(model.network, ClassifiedVideo(path, "", path.stem), model.clip, ClassifyConfig())
        for path in (mute, silence)
    ]
    assert scores[0].sum() == pytest.approx(1)
    assert scores[0].tolist() == pytest.approx(scores[1].tolist(), abs=1e-6)


def test_there_are_no_class_maps_of_sound(trained, videos):
    model = load_classifier(trained[0] / MODEL_NAME)
    clips = clips_of(open_classes(videos, part="test").videos[0], model.clip)
    assert clips.clips.shape == (2, 1, 64, 24, 1)
    with pytest.raises(ValueError, match="a classifier of sound does not look at the picture"):
        video_maps(model.network, clips, [0], model.clip, ClassifyConfig(), size=(32, 32))
