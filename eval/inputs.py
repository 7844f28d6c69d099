"""Checks before ground truth and detections are compared: names, labels, frames, scores.

A silent mismatch of names is the commonest cause of a wrong number, so it is an error unless asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
import pandas as pd

from eval.errors import EvaluationError
from eval.protocols import FrameProtocol, VideoProtocol
from eval.tubes import TubeSet, tube_set
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

    Empty where no way of spelling makes half of them known, or means more than half of the known ones.
    """
    way, pairs = respelled(unknown, known)
    if not pairs or (len(pairs) < len(unknown) / 2 and len(pairs) <= len(known) / 2):
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


def tube_warnings(ground_truth: Sequence[VideoAnnotation], index: Mapping[str, int], found: TubeSet) -> list[str]:
    """What looks mistaken in tubes taken by themselves: frames beyond the video, true boxes beyond the picture, holes,
    scores that rank nothing. ``index``: of the videos, as in ``found``, the detected tubes."""
    truth = tube_set(ground_truth, index, ())
    names = list(index)
    length = _lengths(ground_truth, index)
    warnings = []
    for side, tubes in (("true", truth), ("detected", found)):
        late = np.flatnonzero(tubes.last >= length[tubes.video])
        if len(late):
            tube, video = tubes.tubes[late[0]], int(tubes.video[late[0]])
            warnings.append(
                f"{len(late)} {side} tubes end after the last frame of their video: {names[video][:70]!r} tube"
                f" {tube.id} has frame {tube.end_frame - 1}, the last is {length[video] - 1:.0f} counted from 0"
            )
    warnings += _outside(ground_truth)
    missing = found.last - found.first + 1 - found.count
    holed = np.flatnonzero(missing)
    # where only some frames are annotated, a frame that both sides lack costs nothing
    if len(holed) and (truth.last - truth.first + 1 == truth.count).all():
        at = holed[0]
        warnings.append(
            f"{len(holed)} of {len(found)} detected tubes have holes, and a missing frame is a miss:"
            f" {names[int(found.video[at])][:70]!r} tube {found.tubes[at].id} lacks {missing[at]} of"
            f" {missing[at] + found.count[at]} frames"
        )
    return warnings + score_warnings(found.score, "tubes")


def table_warnings(
    ground_truth: Sequence[VideoAnnotation], index: Mapping[str, int], table: pd.DataFrame, scores: np.ndarray
) -> list[str]:
    """The same for boxes of a table that need not be in tubes; ``scores``: those that they are ranked by."""
    codes, names = pd.factorize(table["video"])
    length = np.append(_lengths(ground_truth, index), np.inf)
    of_name = length[[index.get(name, -1) for name in names]]
    late = np.flatnonzero(table["frame"].to_numpy() >= of_name[codes])
    warnings = []
    if len(late):
        row = table.iloc[int(late[0])]
        warnings.append(
            f"{len(late)} detected boxes lie after the last frame of their video: {str(row['video'])[:70]!r} frame"
            f" {row['frame']}, the last is {of_name[codes[late[0]]] - 1:.0f} counted from 0"
        )
    return warnings + score_warnings(scores, "boxes")


def score_warnings(scores: np.ndarray, things: str) -> list[str]:
    """A warning where scores rank nothing because all are the same."""
    if len(scores) < 2 or (scores != scores[0]).any():
        return []
    return [f"all {len(scores)} detected {things} have the score {scores[0]:g}, so their order, by name, is arbitrary"]


def pixel_warnings(ground_truth: Sequence[VideoAnnotation], protocol: VideoProtocol | FrameProtocol) -> list[str]:
    """A warning where a protocol adds pixels to coordinates that are shares of the picture."""
    moved = isinstance(protocol, VideoProtocol) and protocol.shift_detections != (0.0, 0.0)
    if not (protocol.inclusive_pixels or moved) or any(t.boxes.max() > 1.05 for a in ground_truth for t in a.tubes):
        return []
    return [
        f"the protocol {protocol.name} adds pixels, but the coordinates are shares of the picture, 0 to 1: its numbers"
        " mean nothing here"
    ]


def _lengths(ground_truth: Sequence[VideoAnnotation], index: Mapping[str, int]) -> np.ndarray:
    """(videos,) number of frames, infinite where unknown."""
    length = np.full(len(index), np.inf)
    for annotation in ground_truth:
        if annotation.num_frames is not None:
            length[index[annotation.video]] = annotation.num_frames
    return length


def _outside(annotations: Sequence[VideoAnnotation]) -> list[str]:
    """True boxes beyond the picture, by more than the pixel that inclusive and continuous corners differ in."""
    beyond = [
        (annotation, tube)
        for annotation in annotations
        if annotation.width and annotation.height
        for tube in annotation.tubes
        if (tube.boxes[:, 2:] > (annotation.width + 1, annotation.height + 1)).any() or tube.boxes.min() < -1
    ]
    if not beyond:
        return []
    annotation, tube = beyond[0]
    corners = " ".join(f"{value:g}" for value in (*tube.boxes[:, :2].min(axis=0), *tube.boxes[:, 2:].max(axis=0)))
    return [
        f"{len(beyond)} true tubes leave the picture: {annotation.video[:70]!r} tube {tube.id} spans {corners},"
        f" the picture is {annotation.width} x {annotation.height}"
    ]


def _refuse_twice(annotations: Sequence[VideoAnnotation], side: str) -> None:
    counts = Counter(annotation.video for annotation in annotations)
    if len(counts) < len(annotations):
        name = counts.most_common(1)[0][0]
        raise EvaluationError(f"{side}: video {name[:120]!r} occurs more than once; put its tubes together")
