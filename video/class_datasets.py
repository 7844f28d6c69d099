"""Datasets of videos with one class each: which videos, where they lie, which class, and in which part.

A dataset is a folder recognised by what it contains:

- Kinetics: lists of ``label,youtube_id,time_start,time_end,split`` (``*.csv``, in the folder or in ``annotations/``);
  the videos anywhere below, by the names of the two usual layouts (see ``find_clip``);
- UCF101: ``classInd.txt`` and ``trainlist01.txt`` (in the folder or in ``ucfTrainTestlist/``);
- HMDB51: ``<class>_test_split1.txt`` (in the folder, one below it, or in ``splits.zip``);
- a dataset for detection (video/datasets.py): the class of a video is the one annotated in most of its frames;
- any folder of videos by class, ``<class>/<video>``, with or without a level ``train``, ``val``, ``test`` above it.
"""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Literal

from linking.records import VideoAnnotation
from video.datasets import VIDEO_FOLDERS, VIDEO_SUFFIXES, DatasetError, find_video, open_dataset
from video.folds import held_out, parse_fold
from video.jhmdb import read_split_files
from video.kinetics import files_by_name, find_clip, is_kinetics_list, read_kinetics_lists
from video.pictures import PICTURE_SUFFIXES
from video.ucf24 import read_test_list

Part = Literal["train", "val", "test", "all"]

_VIDEO_FOLDERS = (*VIDEO_FOLDERS, "UCF-101", "UCF101", "hmdb51_org", "hmdb51", "HMDB51")
_PART_FOLDERS: dict[str, Part] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
_SLACK = 0.5
"""Seconds by which a file may be shorter than a list says."""


@dataclass(frozen=True)
class ClassifiedVideo:
    """A video, or a part of one, and its class."""

    path: Path
    """A video file or a folder of images."""
    label: str
    name: str
    """Unique in its dataset; scores are kept under it, and folds are made by it (video.folds.source_of)."""
    start: float | None = None
    """Second at which the labelled part begins, where the file may hold more; see ``frame_range``."""
    end: float | None = None


@dataclass(frozen=True)
class ClassDataset:
    """Videos with one class each and one list of classes."""

    name: str
    class_names: tuple[str, ...]
    """Of all parts; their order is the order of a model's outputs."""
    videos: tuple[ClassifiedVideo, ...]
    missing: int = 0
    """Videos that are listed but not on disk."""

    def __len__(self) -> int:
        return len(self.videos)


def open_classes(path: str | os.PathLike[str], *, split: int = 1, part: Part = "train") -> ClassDataset:
    """The videos of one part of a dataset folder.

    ``split`` counts from 1 and matters to datasets with several (UCF101, HMDB51 and J-HMDB have 3). ``val`` and
    ``test`` stand in for each other where a dataset has only one of them; papers on Kinetics report ``val``. Videos
    that are listed but not on disk are counted and left out, with one warning. Raises DatasetError when the folder
    is no dataset or none of the part's videos is there, and the error of the reader when a list is damaged.
    """
    folder = Path(path)
    if part not in ("train", "val", "test", "all"):
        raise DatasetError(f"part must be train, val, test or all, got {part!r}")
    if folder.is_file() and folder.suffix == ".toml":
        return _open_detection(folder, split, part)
    if not folder.is_dir():
        raise DatasetError(f"{folder}: no such dataset folder")
    if lists := [file for file in _files(folder, "*.csv", "annotations") if is_kinetics_list(file)]:
        return _open_kinetics(folder, lists, part)
    if class_index := _files(folder, "classInd.txt"):
        return _open_ucf101(folder, class_index[0], split, part)
    if (folder / "dataset.toml").is_file() or any(folder.glob("*.pkl")) or any(folder.glob("tubes.*")):
        return _open_detection(folder, split, part)
    if split_files := _hmdb51_lists(folder):
        return _open_hmdb51(folder, split_files[0], split, part)
    return _open_folders(folder, part)


def open_all_splits(path: str | os.PathLike[str]) -> tuple[ClassifiedVideo, ...]:
    """Every listed video once, whatever its part and split: HMDB51 leaves some out of each split. Raises as above."""
    videos = {video.name: video for video in open_classes(path, part="all").videos}
    if Path(path).is_dir() and _hmdb51_lists(Path(path)):
        for split in (2, 3):
            with suppress(DatasetError):  # a copy with the lists of the first split only
                videos |= {video.name: video for video in open_classes(path, split=split, part="all").videos}
    return tuple(videos.values())


def fold_classes(dataset: ClassDataset, index: int, count: int, seed: int = 0) -> tuple[ClassDataset, ClassDataset]:
    """Training and validation videos, cut by source video as ``video.datasets.fold`` does; ValueError likewise."""
    try:
        validation = held_out({video.name: [video.label] for video in dataset.videos}, index, count, seed)
    except ValueError as error:
        raise ValueError(f"{dataset.name}: {error}") from None
    inside = tuple(video for video in dataset.videos if video.name in validation)
    outside = tuple(video for video in dataset.videos if video.name not in validation)
    return replace(dataset, videos=outside), replace(dataset, videos=inside)


def mix_classes(datasets: Sequence[ClassDataset]) -> ClassDataset:
    """All videos of ``datasets``; classes of the same name are the same class, as ``video.mixing.mix`` has it."""
    if not datasets:
        raise ValueError("nothing to mix: give at least one dataset")
    class_names = tuple(dict.fromkeys(name for dataset in datasets for name in dataset.class_names))
    videos = list(datasets[0].videos)
    for dataset in datasets[1:]:
        videos += [replace(video, name=f"{dataset.name}/{video.name}") for video in dataset.videos]
    missing = sum(dataset.missing for dataset in datasets)
    return ClassDataset("+".join(dataset.name for dataset in datasets), class_names, tuple(videos), missing)


def open_for_training(
    paths: Sequence[str], *, split: int = 1, fold_name: str | None = None, part: Literal["val", "test"] | None = None
) -> tuple[list[ClassDataset], list[ClassDataset]]:
    """The training part of each dataset, and what to validate on: a fold of it ("0/5"), another part, or nothing."""
    training, validation = [], []
    for path in paths:
        dataset = open_classes(path, split=split, part="train")
        if fold_name is not None:
            dataset, held_out_videos = fold_classes(dataset, *parse_fold(fold_name))
            validation.append(held_out_videos)
        elif part is not None:
            validation.append(open_classes(path, split=split, part=part))
        training.append(dataset)
    return training, validation


def frame_range(video: ClassifiedVideo, num_frames: int, fps: float) -> range:
    """The frames that ``video.start`` and ``video.end`` mean in a file of ``num_frames``; never empty.

    Lists of Kinetics give times in the video at YouTube, but most copies hold the part alone. So a file that ends
    before ``end`` is taken as cut already, and all of it is used.
    """
    start, end = labelled_seconds(video, num_frames / fps)
    first = min(int(start * fps), num_frames - 1)
    return range(first, max(first + 1, min(num_frames, round(end * fps))))


def labelled_seconds(video: ClassifiedVideo, seconds: float) -> tuple[float, float]:
    """Begin and end of the labelled part in a file that lasts so long; see :func:`frame_range`."""
    if video.start is None or video.end is None or seconds < video.end - _SLACK:
        return 0.0, seconds
    return video.start, min(video.end, seconds)


# ---- the layouts


def _open_kinetics(folder: Path, lists: Sequence[Path], part: Part) -> ClassDataset:
    clips = read_kinetics_lists(lists)
    class_names = tuple(sorted({clip.label for clip in clips}))
    wanted = _choose(folder, part, {clip.part for clip in clips})
    files = files_by_name(folder)
    listed = [clip for clip in clips if clip.part in wanted]
    videos, missing = [], []
    for clip in listed:
        path = find_clip(clip, files)
        if path is None:
            missing.append(clip.name)
        else:
            videos.append(ClassifiedVideo(path, clip.label, clip.name, clip.start, clip.end))
    return _dataset(folder, class_names, videos, missing)


def _open_ucf101(folder: Path, class_index: Path, split: int, part: Part) -> ClassDataset:
    class_names = _read_class_index(class_index)
    names: dict[str, list[str]] = {}
    for kind in ("train", "test"):
        path = class_index.with_name(f"{kind}list{split:02d}.txt")
        if not path.is_file():
            raise DatasetError(f"{path}: missing; UCF101 has splits 1, 2 and 3")
        names[kind] = list(read_test_list(path))
    listed = [name for kind in _choose(folder, part, set(names)) for name in names[kind]]
    unknown = [name for name in listed if name.partition("/")[0] not in class_names]
    if unknown:
        raise DatasetError(f"{class_index}: does not name the class of {unknown[0][:100]}")
    return _named_by_class(folder, class_names, listed)


def _open_hmdb51(folder: Path, split_file: Path, split: int, part: Part) -> ClassDataset:
    splits = read_split_files(split_file if split_file.suffix == ".zip" else split_file.parent)
    if split not in splits:
        raise DatasetError(f"{split_file.parent}: has no split {split}, only {', '.join(map(str, splits))}")
    chosen = splits[split]
    names = {"train": chosen.train, "test": chosen.test}
    class_names = sorted({name.partition("/")[0] for listed in names.values() for name in listed})
    listed = [name for kind in _choose(folder, part, set(names)) for name in names[kind]]
    return _named_by_class(folder, tuple(class_names), listed)


def _hmdb51_lists(folder: Path) -> list[Path]:
    return [*_files(folder, "*_test_split?.txt"), *folder.glob("splits.zip")]


def _open_detection(folder: Path, split: int, part: Part) -> ClassDataset:
    dataset = open_dataset(folder, split=split, part="test" if part == "val" else part)
    videos = [
        ClassifiedVideo(item.path, label, item.annotation.video)
        for item in dataset.videos
        if (label := _main_label(item.annotation)) is not None
    ]
    if not videos:
        raise DatasetError(f"{folder}: in none of its {len(dataset)} videos an action is annotated")
    return ClassDataset(dataset.name, dataset.class_names, tuple(videos))


def _open_folders(folder: Path, part: Part) -> ClassDataset:
    inner = [folder / name for name in _VIDEO_FOLDERS if (folder / name).is_dir()]
    root = inner[0] if inner and not (folder / "train").is_dir() else folder
    parts = {
        path.name: _PART_FOLDERS[path.name.lower()] for path in _folders(root) if path.name.lower() in _PART_FOLDERS
    }
    if not parts:
        class_names = [path.name for path in _folders(root) if any(_videos_in(path))]
        if not class_names:
            raise DatasetError(
                f"{folder}: no dataset: expected lists of Kinetics (*.csv), UCF101 (classInd.txt) or HMDB51 "
                "(*_test_split1.txt), annotation for detection, or folders of videos by class"
            )
        if part in ("val", "test"):
            raise DatasetError(f"{folder}: has no folders train, val or test; hold videos out with a fold")
        chosen = [root]
    else:
        class_names = [path.name for name in parts for path in _folders(root / name)]
        wanted = _choose(folder, part, set(parts.values()))
        chosen = [root / name for name, kind in parts.items() if kind in wanted]
    videos = [
        ClassifiedVideo(path, label.name, _name_of(path, folder))
        for parent in chosen
        for label in _folders(parent)
        if label.name in class_names
        for path in _videos_in(label)
    ]
    return _dataset(folder, tuple(sorted(set(class_names))), videos, [])


# ---- helpers


def _choose(folder: Path, part: Part, known: set[str]) -> list[str]:
    """Which of the ``known`` parts are meant by ``part``."""
    if part == "all":
        return sorted(known, key=("train", "val", "test").index)
    if part not in known and part != "train":
        part = "val" if part == "test" else "test"
    if part not in known:
        raise DatasetError(f"{folder}: has no part {part!r}, only {', '.join(sorted(known))}")
    return [part]


def _named_by_class(folder: Path, class_names: tuple[str, ...], names: Sequence[str]) -> ClassDataset:
    """Videos named ``class/clip`` in one of the usual folders of videos, or beside the lists."""
    root = next((folder / name for name in _VIDEO_FOLDERS if (folder / name).is_dir()), folder)
    found = [(name, find_video(root, name)) for name in names]
    videos = [ClassifiedVideo(path, name.partition("/")[0], name) for name, path in found if path is not None]
    return _dataset(folder, class_names, videos, [name for name, path in found if path is None])


def _dataset(
    folder: Path, class_names: tuple[str, ...], videos: Sequence[ClassifiedVideo], missing: Sequence[str]
) -> ClassDataset:
    if not videos:
        example = f", for example {missing[0][:100]}" if missing else ""
        raise DatasetError(f"{folder}: none of the {len(missing)} videos is there{example}")
    if missing:
        warnings.warn(
            f"{folder}: {len(missing)} of {len(missing) + len(videos)} listed videos are not there and are left out, "
            f"for example {missing[0][:100]}",
            stacklevel=4,
        )
    return ClassDataset(folder.resolve().name, class_names, tuple(videos), len(missing))


def _main_label(annotation: VideoAnnotation) -> str | None:
    """The label annotated in most frames, the first by name among equals; None where nothing is annotated."""
    frames: Counter[str] = Counter()
    for tube in annotation.tubes:
        frames[tube.label] += len(tube)
    return min(frames, key=lambda label: (-frames[label], label), default=None)


def _read_class_index(path: Path) -> tuple[str, ...]:
    """UCF101's ``classInd.txt``: ``1 ApplyEyeMakeup`` a line, counted from 1."""
    names: list[str] = []
    for number, line in enumerate(path.read_text("utf-8", "replace").split("\n"), 1):
        words = line.split()
        if not words:
            continue
        if len(words) != 2 or words[0] != str(len(names) + 1):
            raise DatasetError(
                f"{path}, line {number}: expected '{len(names) + 1} ClassName', got {line.strip()[:60]!r}"
            )
        names.append(words[1])
    return tuple(names)


def _files(folder: Path, pattern: str, *subfolders: str) -> list[Path]:
    """Files of a pattern in ``folder``, else in its subfolders (those named, or any), sorted."""
    if found := sorted(folder.glob(pattern)):
        return found
    parents = [folder / name for name in subfolders] if subfolders else _folders(folder)
    return [path for parent in parents for path in sorted(parent.glob(pattern))]


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _videos_in(folder: Path) -> Iterator[Path]:
    """Video files and folders of pictures directly in ``folder``, sorted."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            if any(file.suffix.lower() in PICTURE_SUFFIXES for file in islice(path.iterdir(), 10)):
                yield path
        elif path.suffix.lower() in VIDEO_SUFFIXES:
            yield path


def _name_of(path: Path, folder: Path) -> str:
    name = path.relative_to(folder).as_posix()
    # Not with_suffix: names of clips contain dots.
    return name if path.is_dir() else name.removesuffix(path.suffix)
