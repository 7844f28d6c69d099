"""Several datasets as one, for training on all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from video.datasets import Dataset, LabelledVideo


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
