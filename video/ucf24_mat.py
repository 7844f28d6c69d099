"""Reading UCF101-24 as MATLAB has it: ``finalAnnots.mat``, from which the pickles were made.

A structure array ``annot`` (in older files ``videos``) with ``name``, ``num_imgs`` and ``tubes``; a tube has ``sf`` and
``ef``, its first and last frame counted from 1, both included, ``class`` counted from 1, and ``boxes`` of x, y, width,
height, a row a frame. All are doubles, whatever bytes they are stored in. Tube by tube, the result is that of the
pickles (video/ucf24.py).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from video.mat_files import read_mat
from video.ucf24 import Ucf24Annotation, Ucf24Error, parse_ucf24

VARIABLES = ("annot", "videos")


def read_ucf24_mat(path: str | os.PathLike[str]) -> Ucf24Annotation:
    """The annotation of every video, sorted by name; classes are named by the folders of the videos.

    Raises MatError for a file that is no MATLAB file of data and Ucf24Error for one of other data.
    """
    path = Path(path)
    variables = read_mat(path, VARIABLES)
    videos = next((variables[name] for name in VARIABLES if name in variables), None)
    if not isinstance(videos, list):
        raise Ucf24Error(f"{path}: no UCF101-24 annotation: expected a structure array annot of name, num_imgs, tubes")
    database: dict[str, Any] = {}
    for number, video in enumerate(videos, 1):
        place = f"{path}: video {number}"
        if not isinstance(video, dict) or not {"name", "num_imgs", "tubes"} <= video.keys():
            raise Ucf24Error(f"{place}: expected a structure of name, num_imgs and tubes")
        name, tubes = video["name"], video["tubes"]
        if not isinstance(name, str) or name in database:
            raise Ucf24Error(f"{place}: its name is no text, or that of another video")
        if isinstance(tubes, np.ndarray) and tubes.size == 0:
            tubes = []  # MATLAB's [] is a number array
        if not isinstance(tubes, list):
            raise Ucf24Error(f"{place}: tubes is no structure array")
        database[name] = {
            "numf": _whole(video["num_imgs"], place),
            "annotations": [_tube(tube, f"{place}, tube {k}") for k, tube in enumerate(tubes, 1)],
        }
    _label_by_folder(database, path)
    return parse_ucf24(database, path)


def _tube(tube: Any, place: str) -> dict[str, Any]:
    """The tube as the pickles have it: labels from 0, frames from 0 and half-open."""
    if not isinstance(tube, dict) or not {"sf", "ef", "class", "boxes"} <= tube.keys():
        raise Ucf24Error(f"{place}: expected a structure of sf, ef, class and boxes")
    return {
        "label": _whole(tube["class"], place) - 1,
        "sf": _whole(tube["sf"], place) - 1,
        "ef": _whole(tube["ef"], place),
        "boxes": tube["boxes"],
    }


def _whole(value: Any, place: str) -> int:
    if not isinstance(value, np.ndarray) or value.size != 1 or not 0 <= value.flat[0] < 2**31 or value.flat[0] % 1:
        raise Ucf24Error(f"{place}: expected a whole number, 0 or more, of frames, frame or class")
    return int(value.flat[0])


def _label_by_folder(database: dict[str, Any], path: Path) -> None:
    """Give every video the label of its tubes; one without tubes has that of another video of its folder."""
    labels: dict[str, int] = {}
    for name, video in database.items():
        for tube in video["annotations"]:
            labels.setdefault(name.partition("/")[0], tube["label"])
    for name, video in database.items():
        label = labels.get(name.partition("/")[0])
        if label is None:
            raise Ucf24Error(f"{path}: {name[:100]!r}: no video of its class has a tube, so the class has no number")
        video["label"] = label
