"""Several datasets at once, and the folds that a command line names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from video.datasets import Dataset, LabelledVideo, fold, open_dataset
from video.folds import parse_fold


def mix(datasets: Sequence[Dataset]) -> Dataset:
    """All videos of ``datasets``; classes of the same name are the same class.

    The classes of the first dataset come first, in their order, then the new ones of the next. Videos of the second
    and later datasets are named ``<dataset>/<video>``, so that equal names of two datasets stay apart.
    """
    if not datasets:
        raise ValueError("nothing to mix: give at least one dataset")
    class_names = tuple(dict.fromkeys(name for dataset in datasets for name in dataset.class_names))
    videos: list[LabelledVideo] = list(datasets[0].videos)
    for dataset in datasets[1:]:
        videos += [
            replace(item, annotation=replace(item.annotation, video=f"{dataset.name}/{item.annotation.video}"))
            for item in dataset.videos
        ]
    return Dataset("+".join(dataset.name for dataset in datasets), class_names, tuple(videos))


def named_fold(dataset: Dataset, name: str) -> tuple[Dataset, Dataset]:
    """``fold`` by a text like "0/5": training and validation videos. ValueError for any other text."""
    return fold(dataset, *parse_fold(name))


def open_for_training(
    paths: Sequence[str], *, split: int = 1, fold_name: str | None = None
) -> tuple[list[Dataset], list[Dataset]]:
    """The training part of each dataset, and what is held out of it: nothing (no entries) without ``fold_name``."""
    training, validation = [], []
    for path in paths:
        dataset = open_dataset(path, split=split, part="train")
        if fold_name is not None:
            dataset, held_out = named_fold(dataset, fold_name)
            validation.append(held_out)
        training.append(dataset)
    return training, validation
