"""Files of features: written, read, refused; streams joined by their time; folders opened as sets."""

import numpy as np
import pytest

from recognition.feature_files import (
    FeatureError,
    VideoFeatures,
    feature_path,
    join_streams,
    open_features,
    read_features,
    write_features,
)


def features(*rows, label="wave", seconds=None, about=None):
    return VideoFeatures(np.array(rows, np.float32), label, seconds, about or {})


def test_features_come_back_as_they_were(tmp_path):
    written = features([1, 2.5], [0, -3], [7, 8], seconds=[0.5, 1, 1.5], about={"model": "abc", "n": [1, 2]})
    write_features(tmp_path / "a.npz", written)
    read = read_features(tmp_path / "a.npz")
    assert read.features.dtype == np.float32
    assert read.features.tolist() == written.features.tolist()
    assert (read.label, read.seconds.tolist(), read.about) == ("wave", [0.5, 1, 1.5], {"model": "abc", "n": [1, 2]})
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        assert arrays["features"].dtype == np.float16


def test_what_is_too_large_for_half_precision_is_kept_whole(tmp_path):
    write_features(tmp_path / "a.npz", features([1e6, 1 / 3]))
    assert read_features(tmp_path / "a.npz").features.tolist() == [[1e6, np.float32(1 / 3)]]


def test_features_and_label_are_enough(tmp_path):
    np.savez(tmp_path / "a.npz", features=np.ones((3, 4)), label="run")
    read = read_features(tmp_path / "a.npz")
    assert (read.features.shape, read.label, read.seconds, read.about) == ((3, 4), "run", None, {})


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"features": np.ones((2, 3))}, "holds no array 'label'"),
        ({"label": "a"}, "holds no array 'features'"),
        ({"features": np.ones(3), "label": "a"}, r"features must be \(clips, D\) with at least one clip, got \(3,\)"),
        ({"features": np.ones((0, 3)), "label": "a"}, "at least one clip"),
        ({"features": np.array([[np.nan]]), "label": "a"}, "features must be finite numbers"),
        ({"features": np.ones((2, 3), int), "label": "a"}, "features must be numbers with a fraction"),
        ({"features": np.ones((2, 3)), "label": ["a", "b"]}, "label one text"),
        ({"features": np.ones((2, 3)), "label": "a", "about": "[1]"}, "about a JSON object"),
        ({"features": np.ones((2, 3)), "label": "a", "about": "{"}, "not a readable file of features"),
        ({"features": np.ones((2, 3)), "label": "a", "seconds": np.ones(3)}, "a number for each of 2 clips"),
        ({"features": np.array([[object()]]), "label": "a"}, "not a readable file of features"),
    ],
)
def test_a_file_that_holds_something_else_is_one_line(tmp_path, arrays, message):
    path = tmp_path / "a.npz"
    np.savez(path, **arrays)
    with pytest.raises(FeatureError, match=message) as error:
        read_features(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_npz_is_one_line(tmp_path):
    for name, content in (("empty.npz", b""), ("text.npz", b"text"), ("zip.npz", b"PK\x03\x04 cut off")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(FeatureError, match="not a readable file of features"):
            read_features(tmp_path / name)
    with pytest.raises(FeatureError, match="no such file of features"):
        read_features(tmp_path / "absent.npz")


def test_names_stay_in_their_folder(tmp_path):
    assert feature_path(tmp_path, "wave/clip.01") == tmp_path / "wave" / "clip.01.npz"
    for name in ("../a", "/etc/a", "a/../../b", ""):
        with pytest.raises(FeatureError, match="is not a name for a file in"):
            feature_path(tmp_path, name)


# ---- streams ----


def test_streams_are_joined_by_the_nearest_time():
    rgb = features([1], [2], [3], seconds=[0.5, 1.0, 2.0])
    audio = features([10, 11], [20, 21], seconds=[0.6, 1.8])
    joined = join_streams([rgb, audio])
    assert joined.features.tolist() == [[1, 10, 11], [2, 10, 11], [3, 20, 21]]
    assert joined.seconds.tolist() == [0.5, 1.0, 2.0]


def test_without_seconds_the_clips_are_joined_by_their_number():
    assert join_streams([features([1], [2]), features([3], [4])]).features.tolist() == [[1, 3], [2, 4]]
    with pytest.raises(FeatureError, match="streams have 2 and 1 clips and no seconds to join them by"):
        join_streams([features([1], [2]), features([3], seconds=[0])])


def test_streams_of_different_classes_are_refused():
    with pytest.raises(FeatureError, match="one stream has the label 'wave', another 'run'"):
        join_streams([features([1]), features([1], label="run")])


# ---- folders ----


def folder_of(path, **videos):
    for name, video in videos.items():
        write_features(feature_path(path, name.replace("__", "/")), video)
    return path


def test_a_set_holds_the_videos_that_all_streams_have(tmp_path):
    rgb = folder_of(
        tmp_path / "rgb", run__b=features([1, 2], label="run"), wave__a=features([3, 4]), c=features([5, 6])
    )
    audio = folder_of(tmp_path / "audio", wave__a=features([7]), run__b=features([8], label="run"))
    both = open_features([rgb, audio])
    assert both.videos == ("run/b", "wave/a")
    assert (both.labels, both.widths, both.class_names, both.left_out) == (("run", "wave"), (2, 1), ("run", "wave"), 1)
    assert both.read(1).features.tolist() == [[3, 4, 7]]
    assert both.of_videos({"wave/a"}).videos == ("wave/a",)
    assert len(open_features([rgb])) == 3


def test_folders_without_features_are_refused(tmp_path):
    with pytest.raises(FeatureError, match="absent: no such folder"):
        open_features([tmp_path / "absent"])
    one, other = folder_of(tmp_path / "one", a=features([1])), folder_of(tmp_path / "other", b=features([1]))
    with pytest.raises(FeatureError, match="no video has features there"):
        open_features([one, other])


def test_a_video_of_another_width_is_named(tmp_path):
    videos = open_features([folder_of(tmp_path, a=features([1, 2]), b=features([1]))])
    with pytest.raises(FeatureError, match=r"b\.npz: features have 1 numbers, others there 2"):
        videos.read(1)
