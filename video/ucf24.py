"""Reading UCF101-24: the corrected ``pyannot.pkl`` in both layouts in which it is distributed.

UCF101-24 is the part of UCF101 (Soomro et al., 2012) annotated for the THUMOS'13 localisation task, 24
classes; the corrected annotation is that of Singh et al. (ICCV 2017), 3194 videos and 4458 tubes. In the
file, ``sf`` is the 0-based first frame, ``ef`` one past the last, and boxes are x, y, width, height, mostly
in uint8: x + width would overflow in 1445 tubes, so boxes are widened before anything is added. All numbers
are for 320x240 pixels.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from linking.records import Tube, VideoAnnotation
from video.names import is_label, is_video_name
from video.pickles import load_pickle

WIDTH, HEIGHT = 320, 240
"""Pixels of every UCF101 video, which the annotation does not say. Copies of other sizes need scaled boxes."""


class Ucf24Error(ValueError):
    """A UCF101-24 annotation or test list that does not hold what it should."""


@dataclass(frozen=True)
class Ucf24Annotation:
    """All that the pickle says."""

    class_names: tuple[str, ...]
    videos: tuple[VideoAnnotation, ...]
    """Every annotated video, sorted by name."""
    train: tuple[str, ...] | None
    """Names of the training videos of split 1, where the layout holds them."""


def read_ucf24(path: str | os.PathLike[str], *, as_published: bool = False) -> list[VideoAnnotation]:
    """The annotation of every video in a UCF101-24 pickle, sorted by name.

    A box x, y, w, h becomes x1 = x, y1 = y, x2 = x + w, y2 = y + h, in our reading of the numbers (a box one
    pixel wide has w = 1) and in that of the published evaluation code alike, so ``as_published`` changes
    nothing here; it is accepted so that readers of ground truth share one signature. Raises PickleError and
    Ucf24Error.
    """
    del as_published
    return list(read_ucf24_pickle(path).videos)


def read_ucf24_pickle(path: str | os.PathLike[str]) -> Ucf24Annotation:
    """Everything in a UCF101-24 pickle: classes, annotation, training videos; see read_ucf24."""
    return parse_ucf24(load_pickle(path), Path(path))


def is_ucf24(data: object) -> bool:
    """Whether a loaded pickle looks like UCF101-24's; its contents may still be wrong."""
    if not isinstance(data, dict) or not data:
        return False
    if {"db", "classes"} <= data.keys():
        return True
    first = next(iter(data.values()))
    return isinstance(first, dict) and "annotations" in first


def parse_ucf24(data: Any, path: Path) -> Ucf24Annotation:
    """The annotation in what ``load_pickle`` gave; ``path`` is for messages only."""
    if not is_ucf24(data):
        raise Ucf24Error(f"{path}: no UCF101-24 annotation: expected a dictionary of videos with annotations")
    train = None
    if "db" in data and "classes" in data:
        database = data["db"]
        class_names = _names(data["classes"], f"{path}: classes")
        if "trainvideos" in data:
            train = _names(data["trainvideos"], f"{path}: trainvideos")
    else:
        database = data
        class_names = _class_names_of(data, path)
    if not isinstance(database, dict):
        raise Ucf24Error(f"{path}: the videos must be a dictionary by name")
    videos = [_video(name, database[name], class_names, path) for name in sorted(database, key=str)]
    return Ucf24Annotation(class_names, tuple(videos), train)


def read_test_list(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Names of the videos in ``testlist01.txt``: ``Class/v_Class_g01_c01`` a line, with or without a suffix."""
    path = Path(path)
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise Ucf24Error(f"{path}: not a readable list of videos ({type(error).__name__})") from None
    # UCF101's own training lists carry the class number behind the name.
    names = [line.split()[0].removesuffix(".avi") for line in lines if line.strip()]
    if not names:
        raise Ucf24Error(f"{path}: the list of videos is empty")
    return tuple(names)


def _class_names_of(database: dict[Any, Any], path: Path) -> tuple[str, ...]:
    """Class names in order of their labels, told by the folder in each video's name."""
    by_label: dict[int, str] = {}
    for name, entry in database.items():
        folder = str(name).partition("/")[0]
        label = entry.get("label") if isinstance(entry, dict) else None
        if not isinstance(label, int) or "/" not in str(name):
            raise Ucf24Error(f"{path}: {str(name)[:100]!r}: expected Class/video with a label")
        if by_label.setdefault(label, folder) != folder:
            raise Ucf24Error(f"{path}: {str(name)[:100]!r}: label {label} is also that of {by_label[label][:60]!r}")
    if sorted(by_label) != list(range(len(by_label))):
        raise Ucf24Error(f"{path}: labels must be 0..{len(by_label) - 1}, one a class folder")
    return tuple(by_label[label] for label in range(len(by_label)))


def _video(name: Any, entry: Any, class_names: tuple[str, ...], path: Path) -> VideoAnnotation:
    place = f"{path}: {str(name)[:100]!r}"
    if not is_video_name(name) or not isinstance(entry, dict) or not isinstance(entry.get("annotations"), list):
        raise Ucf24Error(f"{place}: expected a video name with a list of annotations")
    num_frames = entry.get("numf")
    if not isinstance(num_frames, int) or num_frames < 1:
        raise Ucf24Error(f"{place}: numf is no number of frames")
    tubes = [
        _tube(annotation, number, num_frames, class_names, place)
        for number, annotation in enumerate(entry["annotations"])
    ]
    return VideoAnnotation(name, tubes, num_frames=num_frames, width=WIDTH, height=HEIGHT)


def _tube(entry: Any, number: int, num_frames: int, class_names: tuple[str, ...], place: str) -> Tube:
    place = f"{place}: tube {number}"
    if not isinstance(entry, dict) or not {"label", "sf", "ef", "boxes"} <= entry.keys():
        raise Ucf24Error(f"{place}: expected label, sf, ef and boxes")
    label, first, end, boxes = (entry[key] for key in ("label", "sf", "ef", "boxes"))
    if not isinstance(label, int) or not 0 <= label < len(class_names):
        raise Ucf24Error(f"{place}: its label is not one of 0..{len(class_names) - 1}")
    if not (isinstance(first, int) and isinstance(end, int) and 0 <= first < end <= num_frames):
        raise Ucf24Error(f"{place}: its frames are not a range within 0..{num_frames}")
    if not isinstance(boxes, np.ndarray) or boxes.shape != (end - first, 4) or boxes.dtype.kind not in "uif":
        raise Ucf24Error(f"{place}: expected {end - first} boxes x, y, width, height, one a frame")
    x, y, width, height = boxes.astype(np.float64).T
    try:
        return Tube(
            class_names[label],
            np.arange(first, end),
            np.stack([x, y, x + width, y + height], axis=1),
            id=number,
        )
    except ValueError as error:
        raise Ucf24Error(f"{place}: {error}") from None


def _names(values: Any, place: str) -> tuple[str, ...]:
    if isinstance(values, np.ndarray) and values.dtype.kind == "U" and values.ndim == 1:
        values = values.tolist()
    if not isinstance(values, (list, tuple)) or not all(is_label(value) for value in values):
        raise Ucf24Error(f"{place} must be a list of names")
    return tuple(values)
