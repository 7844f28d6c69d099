"""Detections as the programs around the ACT detector store them: one pickle of tubes a video.

``<folder>/<video>_tubes.pkl`` of ACT (Kalogeiton et al., ICCV 2017) and MOC (Li et al., ECCV 2020) holds a dictionary
by label, counted from 0, of tubes: pairs of an array with a row ``frame, x1, y1, x2, y2, score`` a box, frames counted
from 1, and the score of the tube. The programs measure boxes as inclusive pixels.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from linking.files import replace_when_whole
from linking.records import Tube, VideoAnnotation
from video.names import is_video_name
from video.pickle_writing import dump_pickle
from video.pickles import PickleError, load_pickle

SUFFIX = "_tubes.pkl"


class ActError(PickleError):
    """A pickle of detections that does not hold what it should."""


def act_files(path: str | os.PathLike[str]) -> list[Path]:
    """The ``*_tubes.pkl`` in a folder and below, sorted."""
    return sorted(Path(path).rglob(f"*{SUFFIX}"))


def is_act(data: object) -> bool:
    """Whether a loaded pickle looks like the tubes of one video; its contents may still be wrong."""
    if not isinstance(data, dict) or not data or not all(isinstance(label, int) for label in data):
        return False
    if not all(isinstance(tubes, list) for tubes in data.values()):
        return False
    tubes = next((tubes for tubes in data.values() if tubes), [(np.zeros(0), 0)])
    return isinstance(tubes[0], list | tuple) and len(tubes[0]) == 2


def read_act(
    path: str | os.PathLike[str],
    *,
    video: str | None = None,
    class_names: Sequence[str] | None = None,
    as_published: bool = False,
) -> list[VideoAnnotation]:
    """The detected tubes of every video in a folder of such pickles, or of one, sorted by name.

    In a folder a video is named by its file, ``class/clip``; a file alone is ``video``, or else named as in a folder
    two levels up where that level is one of ``class_names``, and by its own name where not. Labels are
    ``class_names``, or without them the numbers of the file. Frames become 0-based, boxes continuous (x2 and y2 a
    pixel more) unless ``as_published``; boxes of NaN, which ACT writes for frames that no tubelet covers, are left
    out. Raises PickleError for what is no pickle of data and ActError for other data.
    """
    path = Path(path)
    if path.is_dir():
        files = act_files(path)
        if not files:
            raise ActError(f"{path}: no *{SUFFIX} in this folder or below")
        names = [file.relative_to(path).as_posix().removesuffix(SUFFIX) for file in files]
    else:
        files, names = [path], [video or video_of_act_file(path, class_names or ())]
    annotations = [
        parse_act(load_pickle(file), file, name, class_names=class_names, as_published=as_published)
        for file, name in zip(files, names)
    ]
    return sorted(annotations, key=lambda annotation: annotation.video)


def parse_act(
    data: Any, path: Path, video: str, *, class_names: Sequence[str] | None = None, as_published: bool = False
) -> VideoAnnotation:
    """The tubes in what ``load_pickle`` gave; ``path`` is for messages only."""
    if not is_act(data):
        raise ActError(f"{path}: no ACT tubes: expected a dictionary by label number of lists of (boxes, score)")
    if not is_video_name(video):
        raise ActError(f"{path}: {video[:100]!r} is no name of a video")
    tubes: list[Tube] = []
    for label, detected in data.items():
        name = label_name(label, class_names, str(path))
        for number, item in enumerate(detected):
            place = f"{path}: tube {number} of label {label}"
            if not isinstance(item, list | tuple) or len(item) != 2:
                raise ActError(f"{place}: expected (boxes, score)")
            tube = detected_tube(item[0], item[1], name, len(tubes), place, 0 if as_published else 1)
            if tube is not None:
                tubes.append(tube)
    return VideoAnnotation(video, tubes)


def label_name(label: Any, class_names: Sequence[str] | None, place: str) -> str:
    """The class of a label number; the number as text where no classes are known."""
    if not isinstance(label, int) or label < 0 or (class_names is not None and label >= len(class_names)):
        known = "counted from 0" if class_names is None else f"one of the {len(class_names)} classes"
        raise ActError(f"{place}: label {str(label)[:20]} is not {known}")
    return str(label) if class_names is None else class_names[label]


def detected_tube(rows: Any, score: Any, label: str, number: int, place: str, pixel: int) -> Tube | None:
    """The tube of rows ``frame, x1, y1, x2, y2[, score]``, ``pixel`` added to x2 and y2; None if all rows are NaN."""
    if (
        not isinstance(rows, np.ndarray)
        or rows.ndim != 2
        or rows.shape[1] not in (5, 6)
        or rows.dtype.kind not in "iuf"
    ):
        raise ActError(f"{place}: expected rows of frame, x1, y1, x2, y2 and score")
    if not isinstance(score, int | float) or not np.isfinite(score):
        raise ActError(f"{place}: its score is no number")
    rows = rows.astype(np.float64)
    rows = rows[~np.isnan(rows[:, 1:5]).all(axis=1)]
    if len(rows) == 0:
        return None
    frames, boxes = rows[:, 0], rows[:, 1:5]
    if not ((frames >= 1) & (frames < 2**31) & (frames == np.floor(frames))).all():
        raise ActError(f"{place}: frames must be whole numbers, counted from 1")
    boxes[:, 2:] += pixel
    scores = rows[:, 5] if rows.shape[1] == 6 else None
    try:
        return Tube(label, frames.astype(np.int64) - 1, boxes, scores, float(score), number)
    except ValueError as error:
        raise ActError(f"{place}: {error}") from None


def write_act(videos: Sequence[VideoAnnotation], folder: str | os.PathLike[str], class_names: Sequence[str]) -> None:
    """A ``<video>_tubes.pkl`` for every video, each whole or not at all; read_act gives back the same tubes.

    Every tube needs a score and a label among ``class_names``, whose order numbers them; ActError where not.
    """
    pickles = [(video.video, dump_pickle(act_dictionary(video, class_names))) for video in videos]
    for name, data in pickles:
        with replace_when_whole(Path(folder) / f"{name}{SUFFIX}") as temporary:
            temporary.write_bytes(data)


def act_dictionary(video: VideoAnnotation, class_names: Sequence[str]) -> dict[int, list[tuple[np.ndarray, float]]]:
    """What such a pickle holds: every label has a list, also where no tube is of it."""
    if not is_video_name(video.video):
        raise ActError(f"{video.video[:100]!r} is no name from which a file could be made")
    numbers = {name: number for number, name in enumerate(class_names)}
    by_label: dict[int, list[tuple[np.ndarray, float]]] = {number: [] for number in range(len(class_names))}
    for tube in video.tubes:
        if tube.label not in numbers:
            raise ActError(f"{video.video[:100]}: label {tube.label[:40]!r} is not among the class names")
        if np.isnan(tube.score):
            raise ActError(f"{video.video[:100]}: tube {tube.id} has no score; these pickles hold detections only")
        by_label[numbers[tube.label]].append((detected_rows(tube, 1), tube.score))
    return by_label


def detected_rows(tube: Tube, pixel: int) -> np.ndarray:
    """(n, 6) float64 rows ``frame, x1, y1, x2, y2, score``; a box without a score takes that of its tube."""
    boxes = tube.boxes.astype(np.float64) - (0, 0, pixel, pixel)
    scores = np.full(len(tube), tube.score) if tube.scores is None else tube.scores.astype(np.float64)
    scores[np.isnan(scores)] = tube.score
    return np.column_stack([tube.frames + 1, boxes, scores])


def video_of_act_file(path: Path, class_names: Sequence[str]) -> str:
    """Name of the video of a file that stands alone: see read_act."""
    clip = path.name.removesuffix(SUFFIX).removesuffix(".pkl")
    folder = path.resolve().parent.name
    return f"{folder}/{clip}" if folder in class_names else clip
