"""Log-mel pictures of videos: where in time they lie, and what training and testing get."""

import json
from pathlib import Path

import numpy as np
import pytest

from recognition.sound_clips import (
    SilentDatasetError,
    SoundClips,
    SoundInput,
    pictures_around,
    seconds_of_frames,
    strip_of,
    uniform_pictures,
    uniform_seconds,
)
from tests.sound_samples import tone, write_video_with_sound
from tests.video_samples import write_numbered
from video.audio import read_sound
from video.class_datasets import ClassDataset, ClassifiedVideo
from video.log_mel import LogMel, as_picture, log_mel
from video.source import VideoError

SOUND = SoundInput(columns=20, test_clips=3)  # pictures of (19 * 160 + 400) / 16000 = 0.215 s


def video(path, label="a", start=None, end=None):
    return ClassifiedVideo(path, label, Path(path).stem, start, end)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Low and high tones of a second, a change from one to the other, noise, and no sound."""
    folder = tmp_path_factory.mktemp("videos")
    for name, hertz in (("low", 300), ("high", 4000)):
        write_video_with_sound(folder / f"{name}.mkv", tone(hertz))
    write_video_with_sound(folder / "change.mkv", np.concatenate([tone(300), tone(4000)]))
    noise = np.random.default_rng(0).uniform(-1, 1, 16000).astype(np.float32)
    write_video_with_sound(folder / "noise.mkv", noise)
    write_numbered(folder / "mute.mp4", frames=5)
    return folder


def is_high(picture):
    """Whether the upper bands are louder than the lower; None for silence."""
    rows = picture.reshape(SOUND.mel.bands, -1).astype(float).mean(axis=1)
    low, high = rows[:64].max(), rows[64:].max()
    return None if max(low, high) == 0 else bool(high > low)


# ---- the strip ----


def test_the_strip_is_the_spectrogram_of_the_whole_sound(folder):
    strip = strip_of(video(folder / "low.mkv"), SOUND)
    assert strip.shape == (128, 100)  # a column every 10 ms of a second
    assert strip.dtype == np.uint8
    samples = read_sound(folder / "low.mkv").samples
    expected = as_picture(log_mel(samples, SOUND.mel), SOUND.mel)  # 98 columns lie inside
    assert np.array_equal(strip[:, :98], expected)


def test_a_labelled_part_is_cut_out_and_a_file_that_is_cut_already_is_taken_whole(folder):
    part = strip_of(video(folder / "change.mkv", start=1.0, end=2.0), SOUND)
    assert part.shape[1] == 100
    assert is_high(part)
    cut = strip_of(video(folder / "change.mkv", start=61.0, end=71.0), SOUND)
    assert cut.shape[1] == 200


def test_a_video_without_sound_is_a_picture_of_silence(folder, tmp_path):
    strip = strip_of(video(folder / "mute.mp4"), SOUND)
    assert strip.shape == (128, SOUND.columns)
    assert not strip.any()
    pictures, seconds = uniform_pictures(video(folder / "mute.mp4"), SOUND)
    assert pictures.shape == (1, 1, 128, SOUND.columns, 1)
    assert seconds.tolist() == [SOUND.seconds / 2]
    with pytest.raises(VideoError, match="no such video file"):
        strip_of(video(tmp_path / "absent.mp4"), SOUND)


# ---- pictures ----


def test_pictures_lie_around_their_seconds():
    strip = np.tile(np.arange(100, dtype=np.uint8) + 1, (128, 1))  # column k holds k + 1
    middle = SOUND.seconds / 2
    pictures = pictures_around(strip, np.array([middle, 0.5 + middle, 0.504 + middle]), SOUND)
    assert pictures.shape == (3, 1, 128, 20, 1)
    assert [picture[0, 0, [0, -1], 0].tolist() for picture in pictures] == [[1, 20], [51, 70], [51, 70]]
    before, behind, far = pictures_around(strip, np.array([0.0, 1.0, 99.0]), SOUND)
    # the middle of column k is (160 k + 200) / 16000 s: the 20 columns around 0 s begin at -10.75
    assert before[0, 0, :, 0].tolist() == [0] * 11 + list(range(1, 10))
    assert behind[0, 0, :, 0].tolist() == list(range(90, 101)) + [0] * 9
    assert not far.any()


def test_test_pictures_run_from_the_first_column_to_the_last():
    strip = np.tile(np.arange(100, dtype=np.uint8) + 1, (128, 1))
    pictures = pictures_around(strip, uniform_seconds(strip, SOUND), SOUND)
    assert pictures[:, 0, 0, 0, 0].tolist() == [1, 41, 81]
    assert pictures[-1, 0, 0, -1, 0] == 100
    one = SoundInput(columns=20, test_clips=1)
    assert pictures_around(strip, uniform_seconds(strip, one), one)[:, 0, 0, 0, 0].tolist() == [41]


def test_a_sound_shorter_than_a_picture_gives_one_with_silence_behind():
    strip = np.full((128, 7), 9, np.uint8)
    pictures = pictures_around(strip, uniform_seconds(strip, SOUND), SOUND)
    assert pictures[:, 0, 0, :, 0].tolist() == [[9] * 7 + [0] * 13]


def test_the_picture_at_the_time_of_a_clip_is_what_was_heard_with_it(folder):
    strip = strip_of(video(folder / "change.mkv"), SOUND)
    clips = np.array([np.arange(16), np.arange(30, 46)])  # of 25 frames a second; the pitch changes at frame 25
    seconds = seconds_of_frames(clips, 25)
    assert seconds.tolist() == [8 / 25, 38 / 25]
    assert [is_high(picture) for picture in pictures_around(strip, seconds, SOUND)] == [False, True]


# ---- training ----


def dataset(folder, names):
    videos = tuple(video(folder / name, "high" if "high" in name else "low") for name in names)
    return ClassDataset("tones", ("low", "high"), videos)


def test_training_pictures_depend_on_seed_epoch_and_number_only(folder):
    data = dataset(folder, ["noise.mkv", "high.mkv"])
    one, other = (SoundClips(data, SOUND, seed=3, clips_per_video=2, gigabytes=memory) for memory in (1, 0))
    assert len(one) == 4
    keys = [(epoch, index) for epoch in range(3) for index in range(4)]
    pictures = {key: one[key][0] for key in keys}
    for key in reversed(keys):
        assert (other[key][0] == pictures[key]).all()
        assert tuple(pictures[key].shape) == (1, 128, 20, 1)
    assert len({pictures[epoch, 0].numpy().tobytes() for epoch in range(3)}) > 1
    assert not (SoundClips(data, SOUND, seed=4)[0, 0][0] == pictures[0, 0]).all()
    assert [one[0, index][1] for index in range(4)] == [0, 1, 0, 1]


def test_a_video_without_sound_is_learned_as_silence_and_told_once(folder):
    clips = SoundClips(dataset(folder, ["mute.mp4", "high.mkv", "mute.mp4"]), SOUND, seed=0)
    with pytest.warns(UserWarning, match="has no sound; it and others like it are learned as silence") as told:
        items = [clips[0, index] for index in (0, 1, 2, 0)]
    assert [label for _, label in items] == [0, 1, 0, 0]
    assert [bool(picture.any()) for picture, _ in items] == [False, True, False, False]
    assert len(told) == 1


def test_a_video_that_cannot_be_read_stands_back(folder):
    clips = SoundClips(dataset(folder, ["absent.mkv", "high.mkv"]), SOUND, seed=0)
    with pytest.warns(UserWarning, match="left out of training: .*no such video file") as told:
        assert [clips[epoch, 0][1] for epoch in (0, 1)] == [1, 1]
    assert len(told) == 1
    nothing = SoundClips(dataset(folder, ["absent.mkv"]), SOUND, seed=0)
    told = pytest.warns(UserWarning, match="left out of training")
    with told, pytest.raises(VideoError, match="videos in a row cannot be read"):
        nothing[0, 0]


def test_a_dataset_without_any_sound_is_an_error(folder):
    clips = SoundClips(dataset(folder, ["mute.mp4", "mute.mp4"]), SOUND, seed=0)
    with pytest.warns(UserWarning, match="has no sound"):
        clips[0, 0]
    with pytest.raises(SilentDatasetError, match="tones: the first 2 videos have no sound; take a dataset with"):
        clips[0, 1]


def test_the_network_sees_grey_between_minus_one_and_one(folder):
    clips = SoundClips(dataset(folder, ["noise.mkv"]), SOUND, seed=0)
    batch = clips[0, 0][0][None]
    values = clips.network_input(batch, "cpu")
    assert values.shape == (1, 1, 1, 128, 20)
    assert values[0, 0, 0, 5, 7] == pytest.approx(batch[0, 0, 5, 7, 0].item() / 127.5 - 1)


# ---- configuration ----


def test_config_survives_json():
    for config in (SoundInput(), SoundInput(LogMel(bands=64, fft=512), columns=298, test_clips=1)):
        assert SoundInput.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_the_default_picture_is_vggishs_second():
    assert SoundInput().seconds == pytest.approx(0.975)  # 96 columns every 10 ms, the last one 25 ms long


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"columns": 0}, "columns must be 1 or more, got 0"),
        ({"test_clips": 0}, "test_clips must be 1 or more"),
        ({"stream": "rgb"}, "stream of a sound is audio, got 'rgb'"),
        ({"mel": {"bins": 3}}, "unknown option 'bins'; LogMel has bands, fft"),
        ({"crop": 3}, "unknown option 'crop'; SoundInput has mel, columns"),
        ({"preprocessing": {"mean": [0, 0], "std": [1, 1]}}, "sound has one channel, preprocessing 2"),
    ],
)
def test_a_config_that_means_nothing_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        SoundInput.from_dict({**SoundInput().to_dict(), **values})
