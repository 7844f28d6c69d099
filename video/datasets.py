"""Datasets on disk: which videos, where they lie, what is annotated in them, and how to split them honestly.

A dataset is a folder recognised by what it contains:

- J-HMDB: a pickle as ``JHMDB-GT.pkl``, videos in ``videos/<class>/<clip>.avi`` (or folders of images);
- UCF101-24: a pickle as ``pyannot.pkl`` and ``testlist01.txt``, videos alike;
- one's own: videos with annotation of any format beside them (``tubes.csv``, an export of CVAT), and optionally a
  ``dataset.toml`` or another .toml that describes it, see video.dataset_description.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from linking.records import Tube, VideoAnnotation
from video.dataset_description import (
    TABLE_NAMES,
    VIDEO_SUFFIXES,
    DatasetError,
    Description,
    describe_folder,
    find_description,
    read_description,
)
from video.described import read_described
from video.folds import held_out
from video.jhmdb import is_jhmdb, parse_jhmdb
from video.pickles import load_pickle
from video.ucf24 import is_ucf24, parse_ucf24, read_test_list
from video.video_folder import find_video, find_videos

__all__ = [
    "VIDEO_FOLDERS",
    "VIDEO_SUFFIXES",
    "Dataset",
    "DatasetError",
    "LabelledVideo",
    "Part",
    "describe",
    "find_video",
    "fold",
    "open_dataset",
    "resized_annotation",
]

Part = Literal["train", "test", "all"]

VIDEO_FOLDERS = ("videos", "ReCompress_Videos", "rgb-images", "Frames", "Rename_Images")
"""Where the distributions of J-HMDB and UCF101-24 put videos or images; the first that exists is used."""
_UCF24_LISTS = ("testlist01.txt", "splitfiles/testlist01.txt")


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
    group: str | None = None
    """What was cut from one source, by names: see video.folds.source_of."""
    cut_to_action: bool = False
    """Every video shows its action from its first frame to its last, as those of J-HMDB do."""

    def __len__(self) -> int:
        return len(self.videos)


def open_dataset(path: str | os.PathLike[str], *, split: int = 1, part: Part = "train") -> Dataset:
    """The labelled videos of one part of a dataset folder, or of a .toml that describes one.

    ``split`` counts from 1 and matters to datasets with several (J-HMDB has 3). Videos that are annotated but
    not on disk are left out with one warning that says how many. Raises DatasetError when the folder is no
    dataset or none of the part's videos is there, and the error of the annotation's reader when that is damaged.
    """
    path = Path(path)
    if part not in ("train", "test", "all"):
        raise DatasetError(f"part must be train, test or all, got {part!r}")
    described = find_description(path)
    if described is not None:
        return _open_described(read_description(described), split, part)
    if not path.is_dir():
        raise DatasetError(f"{path}: no such dataset folder, and no .toml that describes one")
    if any((path / name).is_file() for name in TABLE_NAMES):
        found = describe_folder(path)
        assert found is not None, "a table in the folder is annotation"
        return _open_described(found, split, part)
    if (known := _known_pickle(path)) is not None:
        pickle, data = known
        return (_open_jhmdb if is_jhmdb(data) else _open_ucf24)(path, data, pickle, split, part)
    found = describe_folder(path)
    if found is None:
        raise _no_dataset(path)
    return _open_described(found, split, part)


def _known_pickle(folder: Path) -> tuple[Path, Any] | None:
    """The annotation of J-HMDB or UCF101-24 in a folder, and what is in it."""
    usual = ("JHMDB-GT.pkl", "pyannot.pkl", "pyannot_with_class_names.pkl")
    for pickle in sorted(folder.glob("*.pkl"), key=lambda file: (file.name not in usual, file.name)):
        data = load_pickle(pickle)
        if is_jhmdb(data) or is_ucf24(data):
            return pickle, data
    return None


def _no_dataset(path: Path) -> DatasetError:
    others = ", ".join(sorted(file.name for file in path.glob("*.toml"))[:3])
    return DatasetError(
        f"{path}: no dataset: expected JHMDB-GT.pkl, a UCF101-24 pickle, tubes.csv, an export of CVAT or dataset.toml "
        + (f"in it; give {others} by its name, if that describes it" if others else "in it")
    )


def describe(path: str | os.PathLike[str]) -> Description:
    """Where the annotation and the videos of any dataset lie that open_dataset opens; DatasetError where there is none.

    Of a folder of J-HMDB or UCF101-24 it is what a .toml about it would say.
    """
    path = Path(path)
    described = find_description(path)
    if described is not None:
        return read_description(described)
    if not path.is_dir():
        raise DatasetError(f"{path}: no such dataset folder, and no .toml that describes one")
    if not any((path / name).is_file() for name in TABLE_NAMES) and (found := _known_pickle(path)) is not None:
        pickle, data = found
        lists = [name for name in _UCF24_LISTS if (path / name).is_file()]
        parts: dict[str, Path | tuple[str, ...]] = {"test": path / lists[0]} if is_ucf24(data) and lists else {}
        return Description(path, path, path.resolve().name, _video_folder(path), (pickle,), parts=parts)
    description = describe_folder(path)
    if description is None:
        raise _no_dataset(path)
    return description


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
    spans = all(
        tube.first_frame == 0 and tube.end_frame == video.num_frames
        for video in annotation.videos
        for tube in video.tubes
    )
    found = _on_disk(_video_folder(folder), videos)
    return Dataset(folder.resolve().name, annotation.class_names, found, cut_to_action=spans)


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
    lists = [folder / name for name in _UCF24_LISTS]
    for path in lists:
        if path.is_file():
            return set(read_test_list(path))
    if train is not None:
        return set(names) - set(train)
    raise DatasetError(f"{lists[0]}: missing; without it the training and test parts cannot be told apart")


def _open_described(description: Description, split: int, part: Part) -> Dataset:
    annotations = read_described(description)
    assert annotations.class_names is not None, "the description or the labels give the classes"
    videos: Sequence[VideoAnnotation] = annotations.videos
    if annotations.splits:
        if not 1 <= split <= len(annotations.splits):
            raise DatasetError(f"{description.place}: split must be 1 to {len(annotations.splits)}, got {split}")
        chosen = annotations.splits[split - 1]
        names = set({"train": chosen.train, "test": chosen.test, "all": chosen.train + chosen.test}[part])
        videos = [video for video in videos if video.video in names]
    elif part == "test":
        raise DatasetError(
            f"{description.place}: no parts are described, so nothing is known to be for testing; "
            "write [parts] into it, or take all videos or a fold"
        )
    found = _on_disk(description.videos, videos)
    return Dataset(description.name, annotations.class_names, found, description.group)


# ---- finding the files


def _video_folder(folder: Path) -> Path:
    for name in VIDEO_FOLDERS:
        if (folder / name).is_dir():
            return folder / name
    raise DatasetError(f"{folder}: no folder of videos in it; expected one of {', '.join(VIDEO_FOLDERS)}")


def _on_disk(folder: Path, annotations: Sequence[VideoAnnotation]) -> tuple[LabelledVideo, ...]:
    found = find_videos(folder, [annotation.video for annotation in annotations])
    videos = tuple(LabelledVideo(found[one.video], one) for one in annotations if one.video in found)
    missing = [annotation.video for annotation in annotations if annotation.video not in found]
    if missing and not videos:
        raise DatasetError(f"{folder}: none of the {len(missing)} videos is there, for example {missing[0][:100]}")
    if missing:
        warnings.warn(
            f"{folder}: {len(missing)} of {len(annotations)} annotated videos are not there and are left out, "
            f"for example {missing[0]}",
            stacklevel=4,
        )
    return videos


# ---- splitting


def fold(dataset: Dataset, index: int, count: int, seed: int = 0) -> tuple[Dataset, Dataset]:
    """Cut a dataset into training and validation videos: fold ``index`` of ``count`` is the validation part.

    No source is in both parts; see video.folds.held_out. Raises ValueError where there are fewer sources than folds.
    """
    labels = {video.annotation.video: video.annotation.labels for video in dataset.videos}
    try:
        validation = held_out(labels, index, count, seed, group=dataset.group)
    except ValueError as error:
        raise ValueError(f"{dataset.name}: {error}") from None
    inside = tuple(video for video in dataset.videos if video.annotation.video in validation)
    outside = tuple(video for video in dataset.videos if video.annotation.video not in validation)
    return replace(dataset, videos=outside), replace(dataset, videos=inside)
