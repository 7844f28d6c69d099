"""Checks before ground truth and detections are compared: names, labels, frames, scores.

A silent mismatch of names is the commonest cause of a wrong number, so it is an error unless asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
import pandas as pd

from eval.errors import EvaluationError
from linking.records import VideoAnnotation


@dataclass(frozen=True)
class Detected:
    """What the detections name."""

    videos: tuple[str, ...]
    """Names of the videos that have detections, each once."""
    labels: Counter[str]
    """Number of detections (tubes, or boxes of a table) by class name."""


def detected_in_annotations(detections: Sequence[VideoAnnotation]) -> Detected:
    """Raises EvaluationError where two annotations are of one video."""
    _refuse_twice(detections, "detections")
    videos = tuple(annotation.video for annotation in detections if annotation.tubes)
    return Detected(videos, Counter(tube.label for annotation in detections for tube in annotation.tubes))


def detected_in_table(table: pd.DataFrame) -> Detected:
    """The names in a tube table; boxes without a label are not counted."""
    return Detected(
        tuple(str(name) for name in table["video"].unique()),
        Counter({str(name): int(n) for name, n in table["label"].value_counts().items() if name != ""}),
    )


def video_index(
    ground_truth: Sequence[VideoAnnotation], detected: Detected, ignore_unknown: bool
) -> tuple[dict[str, int], list[str]]:
    """Index of each ground-truth video by name (in order of name), and warnings.

    Raises EvaluationError for a video that occurs twice, for a ground truth without tubes, and, unless
    ``ignore_unknown``, for detections in videos that the ground truth does not have.
    """
    _refuse_twice(ground_truth, "ground truth")
    if not any(annotation.tubes for annotation in ground_truth):
        raise EvaluationError("the ground truth holds no tube, so there is nothing to compare with")
    index = {name: i for i, name in enumerate(sorted(annotation.video for annotation in ground_truth))}
    unknown = sorted(name for name in detected.videos if name not in index)
    warnings = []
    if unknown:
        text = f"{len(unknown)} of {len(detected.videos)} videos with detections are unknown to the ground truth: "
        text += matching_names(unknown, list(index)) or f"{unknown[0][:70]!r}{nearest_hint(unknown[0], list(index))}"
        if not ignore_unknown:
            raise EvaluationError(f"{text}; correct the names, match them loosely, or leave such videos out")
        warnings.append(f"{text}; they were left out")
    silent = len(index) - sum(name in index for name in detected.videos)
    if silent:
        warnings.append(f"{silent} of {len(index)} ground-truth videos have no detections: their tubes are missed")
    return index, warnings


def class_list(
    ground_truth: Sequence[VideoAnnotation], detected: Detected, class_names: Sequence[str] | None
) -> tuple[tuple[str, ...], list[str]]:
    """The classes to judge (those of the ground truth unless given), and a warning about detections of others.

    Raises EvaluationError for ground truth of a class that is not in the list, and for a class listed twice.
    """
    labels = {tube.label for annotation in ground_truth for tube in annotation.tubes}
    classes = tuple(sorted(labels) if class_names is None else class_names)
    if len(set(classes)) != len(classes):
        raise EvaluationError(f"the class list names {Counter(classes).most_common(1)[0][0]!r} twice")
    missing = sorted(labels - set(classes))
    if missing:
        raise EvaluationError(f"the ground truth has tubes of {missing[0]!r}, which is not in the class list")
    others = {name: n for name, n in detected.labels.items() if name not in set(classes)}
    if not others:
        return classes, []
    first = min(others)
    meant = matching_names(sorted(others), classes) or f"{first[:60]!r}{nearest_hint(first, classes)}"
    return classes, [
        f"{sum(others.values())} detections of {len(others)} classes that are not judged were left out: {meant}"
    ]


_SPELLINGS: dict[str, Callable[[str], str]] = {
    "without suffix": lambda name: name.rsplit(".", 1)[0],
    "without folder": lambda name: name.rsplit("/", 1)[-1],
    "without folder and suffix": lambda name: name.rsplit("/", 1)[-1].rsplit(".", 1)[0],
    "without regard to capitals, spaces, - and _": lambda name: "".join(c for c in name.casefold() if c not in " -_"),
}


def respelled(unknown: Sequence[str], known: Sequence[str]) -> tuple[str, dict[str, str]]:
    """The way of spelling under which most unknown names agree with a known one, and which with which.

    A name that could be meant for several known ones, or that another unknown name is spelled like, agrees with none.
    """
    best: tuple[str, dict[str, str]] = ("", {})
    for way, spell in _SPELLINGS.items():
        meant: dict[str, list[str]] = {}
        for name in known:
            meant.setdefault(spell(name), []).append(name)
        times = Counter(map(spell, unknown))
        pairs = {
            name: meant[spell(name)][0]
            for name in unknown
            if len(meant.get(spell(name), ())) == 1 and times[spell(name)] == 1
        }
        if len(pairs) > len(best[1]):
            best = (way, pairs)
    return best


def matching_names(unknown: Sequence[str], known: Sequence[str]) -> str:
    """How most of the unknown names could be meant: ``'a.avi' and 'a' agree without suffix (12 of 12 names do)``.

    Empty where no way of spelling makes at least half of them known.
    """
    way, pairs = respelled(unknown, known)
    if not pairs or len(pairs) < len(unknown) / 2:
        return ""
    name = min(pairs)
    return f"{name[:70]!r} and {pairs[name][:70]!r} agree {way} ({len(pairs)} of {len(unknown)} names do)"


def nearest_hint(name: str, known: Sequence[str]) -> str:
    """``, nearest 'Basketball'``: the known name that looks most like ``name``; nothing where none is known."""
    nearest = get_close_matches(name, known, 1, 0.3) or list(known[:1])
    return f", nearest {nearest[0][:70]!r}" if nearest else ""


def check_scores(detections: Sequence[VideoAnnotation]) -> None:
    """EvaluationError names the first detected tube without a score."""
    for annotation in detections:
        for tube in annotation.tubes:
            if np.isnan(tube.score):
                raise EvaluationError(
                    f"{annotation.video}: detected tube {tube.id} ({tube.label}) has no score; fill tube_score"
                )


def frame_warnings(ground_truth: Sequence[VideoAnnotation], detections: Sequence[VideoAnnotation]) -> list[str]:
    """A warning where detections lie beyond the last frame that the ground truth knows of."""
    length = {a.video: a.num_frames for a in ground_truth if a.num_frames is not None}
    late = [
        (annotation.video, tube)
        for annotation in detections
        if annotation.video in length
        for tube in annotation.tubes
        if tube.frames[-1] >= length[annotation.video]
    ]
    if not late:
        return []
    video, tube = late[0]
    return [
        f"{len(late)} detected tubes end after the last frame of their video: {video[:70]!r} tube {tube.id} has frame"
        f" {tube.end_frame - 1}, the last is {length[video] - 1} counted from 0"
    ]


def _refuse_twice(annotations: Sequence[VideoAnnotation], side: str) -> None:
    counts = Counter(annotation.video for annotation in annotations)
    if len(counts) < len(annotations):
        name = counts.most_common(1)[0][0]
        raise EvaluationError(f"{side}: video {name[:120]!r} occurs more than once; put its tubes together")
