"""Datasets on disk: which videos, where they lie, what is annotated in them, and how to split them honestly.

A dataset is a folder recognised by what it contains:

- J-HMDB: a pickle as ``JHMDB-GT.pkl``, videos in ``videos/<class>/<clip>.avi`` (or folders of images);
- UCF101-24: a pickle as ``pyannot.pkl`` and ``testlist01.txt``, videos alike;
- one's own: a tube table ``tubes.csv`` with the videos in ``videos/``, and optionally ``dataset.toml``::

      name = "kitchen"
      videos = "videos"            # folder of video files, by the names in the table
      tubes = "tubes.csv"
      class_names = ["cut", "stir"]  # their order; without it, the sorted labels of the table
      [parts]                      # text files, a video name a line
      train = "train.txt"
      test = "test.txt"
"""

from __future__ import annotations

import os
import tomllib
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from linking.records import Tube, VideoAnnotation
from linking.tables import annotations_from_table, read_tubes
from video.folds import held_out
from video.jhmdb import is_jhmdb, parse_jhmdb
from video.names import is_video_name
from video.pickles import load_pickle
from video.ucf24 import is_ucf24, parse_ucf24, read_test_list

Part = Literal["train", "test", "all"]

VIDEO_FOLDERS = ("videos", "ReCompress_Videos", "rgb-images", "Frames", "Rename_Images")
"""Where the distributions of J-HMDB and UCF101-24 put videos or images; the first that exists is used."""
VIDEO_SUFFIXES = (".avi", ".mp4", ".mkv", ".mov", ".webm", ".m4v", ".mpg", ".mpeg")
_TABLE_NAMES = ("tubes.csv", "tubes.parquet", "tubes.json")
_TOML_KEYS = ("name", "videos", "tubes", "class_names", "parts")


class DatasetError(ValueError):
    """The folder is no dataset we know, or does not hold what it says."""


@dataclass(frozen=True)
class LabelledVideo:
    """A video and what is annotated in it."""

    path: Path
    """A video file or a folder of images."""
    annotation: VideoAnnotation
    """In pixels of its own width and height, where known: a copy in another size needs resized_annotation."""


@dataclass(frozen=True)
class Dataset:
    """Labelled videos with one list of classes."""

    name: str
    class_names: tuple[str, ...]
    """Their order is the order of a model's outputs."""
    videos: tuple[LabelledVideo, ...]
    """Sorted by name."""

    def __len__(self) -> int:
        return len(self.videos)


def open_dataset(path: str | os.PathLike[str], *, split: int = 1, part: Part = "train") -> Dataset:
    """The labelled videos of one part of a dataset folder (or of its ``dataset.toml``).

    ``split`` counts from 1 and matters to datasets with several (J-HMDB has 3). Videos that are annotated but
    not on disk are left out with one warning that says how many. Raises DatasetError when the folder is no
    dataset or none of the part's videos is there, and the error of the annotation's reader when that is damaged.
    """
    path = Path(path)
    if part not in ("train", "test", "all"):
        raise DatasetError(f"part must be train, test or all, got {part!r}")
    if path.is_file() and path.suffix == ".toml":
        return _open_described(path.parent, _read_toml(path), part)
    if not path.is_dir():
        raise DatasetError(f"{path}: no such dataset folder")
    if (path / "dataset.toml").is_file():
        return _open_described(path, _read_toml(path / "dataset.toml"), part)
    if any((path / name).is_file() for name in _TABLE_NAMES):
        return _open_described(path, {}, part)
    usual = ("JHMDB-GT.pkl", "pyannot.pkl", "pyannot_with_class_names.pkl")
    for pickle in sorted(path.glob("*.pkl"), key=lambda file: (file.name not in usual, file.name)):
        data = load_pickle(pickle)
        if is_jhmdb(data):
            return _open_jhmdb(path, data, pickle, split, part)
        if is_ucf24(data):
            return _open_ucf24(path, data, pickle, split, part)
    raise DatasetError(
        f"{path}: no dataset: expected JHMDB-GT.pkl, a UCF101-24 pickle, tubes.csv or dataset.toml in it"
    )


def resized_annotation(annotation: VideoAnnotation, width: int, height: int) -> VideoAnnotation:
    """The annotation for a copy of the video that is ``width`` x ``height`` pixels.

    ValueError where the annotation does not know its own size.
    """
    if annotation.width is None or annotation.height is None:
        raise ValueError(f"{annotation.video}: its annotation does not say for which size its boxes are")
    if (annotation.width, annotation.height) == (width, height):
        return annotation
    scale = np.array([width / annotation.width, height / annotation.height] * 2, np.float32)
    tubes: list[Tube] = [replace(tube, boxes=tube.boxes * scale) for tube in annotation.tubes]
    return replace(annotation, tubes=tuple(tubes), width=width, height=height)


# ---- the three layouts


def _open_jhmdb(folder: Path, data: Any, pickle: Path, split: int, part: Part) -> Dataset:
    annotation = parse_jhmdb(data, pickle)
    wanted = None
    if part != "all":
        try:
            chosen = annotation.split(split)
        except ValueError as error:
            raise DatasetError(f"{pickle}: {error}") from None
        wanted = set(chosen.train if part == "train" else chosen.test)
    videos = [video for video in annotation.videos if wanted is None or video.video in wanted]
    return Dataset(folder.resolve().name, annotation.class_names, _on_disk(_video_folder(folder), videos))


def _open_ucf24(folder: Path, data: Any, pickle: Path, split: int, part: Part) -> Dataset:
    annotation = parse_ucf24(data, pickle)
    videos: Iterable[VideoAnnotation] = annotation.videos
    if part != "all":
        if split != 1:
            raise DatasetError(f"{pickle}: UCF101-24 is annotated for split 1 only, got split {split}")
        is_test = _ucf24_test_names(folder, annotation.train, [video.video for video in annotation.videos])
        videos = [video for video in annotation.videos if (video.video in is_test) == (part == "test")]
    return Dataset(folder.resolve().name, annotation.class_names, _on_disk(_video_folder(folder), list(videos)))


def _ucf24_test_names(folder: Path, train: Sequence[str] | None, names: list[str]) -> set[str]:
    lists = [folder / "testlist01.txt", folder / "splitfiles" / "testlist01.txt"]
    for path in lists:
        if path.is_file():
            return set(read_test_list(path))
    if train is not None:
        return set(names) - set(train)
    raise DatasetError(f"{lists[0]}: missing; without it the training and test parts cannot be told apart")


def _open_described(folder: Path, description: dict[str, Any], part: Part) -> Dataset:
    table = folder / description.get("tubes", next((n for n in _TABLE_NAMES if (folder / n).is_file()), "tubes.csv"))
    annotations = {annotation.video: annotation for annotation in annotations_from_table(read_tubes(table))}
    labels = sorted({label for annotation in annotations.values() for label in annotation.labels})
    class_names = tuple(description.get("class_names", labels))
    unknown = sorted(set(labels) - set(class_names))
    if unknown:
        raise DatasetError(f"{table}: label {unknown[0]!r} is not among the class_names of {folder / 'dataset.toml'}")
    parts = description.get("parts", {})
    if part == "test" and not parts:
        raise DatasetError(f"{folder}: no parts are described in a dataset.toml, so nothing is known to be for testing")
    names = sorted(annotations)
    if parts:
        wanted = list(parts.values()) if part == "all" else [parts.get(part)]
        if wanted == [None]:
            raise DatasetError(f"{folder}: has no part {part!r}; its parts are {', '.join(sorted(parts))}")
        names = sorted({name for file in wanted for name in _read_names(folder / file)})
    # A listed video without a row in the table is a video in which nothing happens.
    videos = [annotations.get(name) or VideoAnnotation(name) for name in names]
    name = description.get("name", folder.resolve().name)
    return Dataset(name, class_names, _on_disk(folder / description.get("videos", "videos"), videos))


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        description = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DatasetError(f"{path}: not a readable TOML file: {str(error)[:120]}") from None
    for key, value in description.items():
        if key not in _TOML_KEYS:
            raise DatasetError(f"{path}: unknown key {key!r}; known are {', '.join(_TOML_KEYS)}")
        if key == "parts":
            is_right = isinstance(value, dict) and all(isinstance(v, str) for v in value.values())
        elif key == "class_names":
            is_right = isinstance(value, list) and all(isinstance(v, str) for v in value)
            is_right = is_right and len(set(value)) == len(value)
        else:
            is_right = isinstance(value, str)
        if not is_right:
            raise DatasetError(f"{path}: {key} has the wrong type, or repeats a class; see the text of open_dataset")
    return description


def _read_names(path: Path) -> list[str]:
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: not a readable list of videos ({type(error).__name__})") from None
    return [line.strip() for line in lines if line.strip()]


# ---- finding the files


def _video_folder(folder: Path) -> Path:
    for name in VIDEO_FOLDERS:
        if (folder / name).is_dir():
            return folder / name
    raise DatasetError(f"{folder}: no folder of videos in it; expected one of {', '.join(VIDEO_FOLDERS)}")


def _on_disk(folder: Path, annotations: Sequence[VideoAnnotation]) -> tuple[LabelledVideo, ...]:
    found = [(find_video(folder, annotation.video), annotation) for annotation in annotations]
    videos = tuple(LabelledVideo(path, annotation) for path, annotation in found if path is not None)
    missing = [annotation.video for path, annotation in found if path is None]
    if missing and not videos:
        raise DatasetError(f"{folder}: none of the {len(missing)} videos is there, for example {missing[0][:100]}")
    if missing:
        warnings.warn(
            f"{folder}: {len(missing)} of {len(found)} annotated videos are not there and are left out, "
            f"for example {missing[0]}",
            stacklevel=4,
        )
    return videos


def find_video(folder: Path, name: str) -> Path | None:
    """The file or image folder of the video ``name`` (``class/clip``, as annotated) under ``folder``, or None."""
    if not is_video_name(name):
        return None
    # Some copies put all videos into one folder, without the classes.
    for plain in (folder / name, folder / name.rpartition("/")[2]):
        # Not with_suffix: names of clips contain dots.
        for path in (plain, *(plain.parent / (plain.name + suffix) for suffix in VIDEO_SUFFIXES)):
            if path.is_file() or (path == plain and path.is_dir()):
                return path
    return None


# ---- splitting


def fold(dataset: Dataset, index: int, count: int, seed: int = 0) -> tuple[Dataset, Dataset]:
    """Cut a dataset into training and validation videos: fold ``index`` of ``count`` is the validation part.

    No source is in both parts; see video.folds.held_out. Raises ValueError where there are fewer sources than folds.
    """
    labels = {video.annotation.video: video.annotation.labels for video in dataset.videos}
    try:
        validation = held_out(labels, index, count, seed)
    except ValueError as error:
        raise ValueError(f"{dataset.name}: {error}") from None
    inside = tuple(video for video in dataset.videos if video.annotation.video in validation)
    outside = tuple(video for video in dataset.videos if video.annotation.video not in validation)
    return replace(dataset, videos=outside), replace(dataset, videos=inside)
