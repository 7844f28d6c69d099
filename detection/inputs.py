"""Which videos a run is about, and the names their results go by."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from linking.records import VideoAnnotation
from video.datasets import Dataset


@dataclass(frozen=True)
class Input:
    """One video to be done."""

    name: str
    """Name in tables and of result files; may contain slashes, as the names of datasets do."""
    path: str
    """Anything ``open_video`` takes."""
    annotation: VideoAnnotation | None = None
    """What is known to be in it."""

    @property
    def is_live(self) -> bool:
        """Whether its frames are seen once only: a camera or a stream."""
        is_camera = self.path.isdigit() or self.path.startswith("/dev/video")
        return "://" in self.path or (is_camera and not Path(self.path).is_file())


def inputs_of(paths: Sequence[str]) -> list[Input]:
    """Inputs named after their files; of equal names the second becomes ``NAME-2`` and so on."""
    inputs: list[Input] = []
    taken: set[str] = set()
    for path in paths:
        plain = name = name_of(path)
        number = 1
        while name in taken:
            number += 1
            name = f"{plain}-{number}"
        taken.add(name)
        inputs.append(Input(name, path))
    return inputs


def inputs_of_dataset(dataset: Dataset) -> list[Input]:
    """The videos of a dataset under the names of its annotation."""
    return [Input(item.annotation.video, str(item.path), item.annotation) for item in dataset.videos]


def name_of(path: str) -> str:
    """A file's name without suffix, a folder's name, ``camera0``, or a stream's address without its password."""
    if path.isdigit():
        return f"camera{path}"
    if "://" in path:
        address = path.split("://", 1)[1].rpartition("@")[2].partition("?")[0].strip("/")
        return re.sub(r"[^\w.-]", "_", address) or "stream"
    file = Path(path)
    return (file.name if file.is_dir() else file.stem) or file.resolve().name or "video"
