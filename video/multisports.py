"""Reading and writing MultiSports (Li et al., ICCV 2021): its ground truth and the detections its script evaluates.

``multisports_GT.pkl`` has the layout of J-HMDB's pickle (video/jhmdb.py) with several tubes a video, and numbers
for the evaluation code of ``MCG-NJU/MultiSports``, which measures boxes without adding a pixel: they are continuous
already. ``video_detections.pkl`` is a dictionary by label, counted from 0, of tubes: a video's name, the tube's
score, an array of rows ``frame, x1, y1, x2, y2, score`` with frames counted from 1.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from linking.files import replace_when_whole
from linking.records import Tube, VideoAnnotation
from video.act_pickles import ActError, detected_rows, detected_tube, label_name
from video.jhmdb import JhmdbAnnotation, is_jhmdb, parse_jhmdb
from video.names import is_video_name
from video.pickle_writing import dump_pickle

SPORTS = frozenset({"aerobic_gymnastics", "basketball", "football", "volleyball"})
"""The folders of its videos, by which its ground truth is told from others of the same layout."""


def is_multisports(data: object) -> bool:
    """Whether a loaded pickle looks like MultiSports' ground truth; its contents may still be wrong."""
    if not isinstance(data, dict) or not is_jhmdb(data) or not isinstance(data["gttubes"], dict):
        return False
    return bool(data["gttubes"]) and {str(name).partition("/")[0] for name in data["gttubes"]} <= SPORTS


def parse_multisports(data: Any, path: Path) -> JhmdbAnnotation:
    """The annotation in what ``load_pickle`` gave; ``path`` is for messages only. Raises JhmdbError."""
    return parse_jhmdb(data, path, as_published=True)


def is_multisports_tubes(data: object) -> bool:
    """Whether a loaded pickle looks like detected tubes of several videos; its contents may still be wrong."""
    if not isinstance(data, dict) or not data or not all(isinstance(label, int) for label in data):
        return False
    first = next((tubes[0] for tubes in data.values() if isinstance(tubes, list) and tubes), None)
    return isinstance(first, list | tuple) and len(first) == 3 and isinstance(first[0], str)


def parse_multisports_tubes(
    data: Any, path: Path, *, class_names: Sequence[str] | None = None
) -> list[VideoAnnotation]:
    """The detected tubes of every video that has any, sorted by name; labels without ``class_names`` are numbers.

    Raises ActError.
    """
    if not is_multisports_tubes(data):
        raise ActError(f"{path}: no MultiSports detections: expected by label lists of (video, score, boxes)")
    found: dict[str, list[Tube]] = defaultdict(list)
    for label, tubes in data.items():
        name = label_name(label, class_names, str(path))
        if not isinstance(tubes, list):
            raise ActError(f"{path}: label {label} has no list of tubes")
        for number, item in enumerate(tubes):
            place = f"{path}: tube {number} of label {label}"
            if not isinstance(item, list | tuple) or len(item) != 3 or not is_video_name(item[0]):
                raise ActError(f"{place}: expected (video, score, boxes)")
            video, score, rows = item
            tube = detected_tube(rows, score, name, len(found[video]), place, 0)
            if tube is not None:
                found[video].append(tube)
    return [VideoAnnotation(video, found[video]) for video in sorted(found)]


def write_multisports_tubes(
    videos: Sequence[VideoAnnotation], path: str | os.PathLike[str], class_names: Sequence[str]
) -> None:
    """A ``video_detections.pkl``; ActError for a tube without a score or of a label that is not in ``class_names``."""
    numbers = {name: number for number, name in enumerate(class_names)}
    data: dict[int, list[tuple[str, float, np.ndarray]]] = {number: [] for number in range(len(class_names))}
    for video in videos:
        for tube in video.tubes:
            if tube.label not in numbers:
                raise ActError(f"{video.video[:100]}: label {tube.label[:40]!r} is not among the class names")
            if np.isnan(tube.score):
                raise ActError(f"{video.video[:100]}: tube {tube.id} has no score, as every detection needs")
            data[numbers[tube.label]].append((video.video, tube.score, detected_rows(tube, 0)))
    with replace_when_whole(path) as temporary:
        temporary.write_bytes(dump_pickle(data))
