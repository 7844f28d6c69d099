from pathlib import Path

import numpy as np
import pytest

from linking.records import Tube, VideoAnnotation
from tests.squares import square_videos
from video.datasets import Dataset, LabelledVideo
from video.mixing import mix, named_fold, open_for_training


def dataset(name: str, *labels: str) -> Dataset:
    videos = tuple(
        LabelledVideo(
            Path(f"{k}.mp4"), VideoAnnotation(str(k), [Tube(label, np.array([0]), np.float32([[0, 0, 1, 1]]))])
        )
        for k, label in enumerate(labels)
    )
    return Dataset(name, tuple(sorted(set(labels))), videos)


def test_classes_of_one_name_are_one_class_and_names_stay_apart() -> None:
    both = mix([dataset("real", "run", "wave"), dataset("drawn", "jump", "run")])
    assert both.class_names == ("run", "wave", "jump")
    assert [item.annotation.video for item in both.videos] == ["0", "1", "drawn/0", "drawn/1"]
    assert both.name == "real+drawn"


def test_one_dataset_stays_as_it_is_and_none_is_an_error() -> None:
    one = dataset("real", "run")
    assert mix([one]).videos == one.videos
    with pytest.raises(ValueError, match="nothing to mix"):
        mix([])


def test_a_fold_is_named_by_a_text() -> None:
    four = dataset("real", "run", "run", "wave", "wave")
    training, held_out = named_fold(four, "1/2")
    assert (len(training), len(held_out)) == (2, 2)
    for text in ("half", "1", "1/", "a/b"):
        with pytest.raises(ValueError, match="expected I/N"):
            named_fold(four, text)


def test_every_dataset_is_opened_and_split_by_itself(tmp_path: Path) -> None:
    for name, count in (("a", 4), ("b", 2)):
        square_videos(tmp_path / name, count)
    paths = [str(tmp_path / "a"), str(tmp_path / "b")]
    training, held_out = open_for_training(paths, fold_name="0/2")
    assert [len(part) for part in training] == [2, 1]
    assert [len(part) for part in held_out] == [2, 1]
    training, held_out = open_for_training(paths)
    assert ([len(part) for part in training], held_out) == ([4, 2], [])
