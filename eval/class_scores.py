"""Score files: what a classifier says of each video, a score a class; what models, fusion and evaluation exchange.

``.npz`` (``numpy.load(..., allow_pickle=False)``): ``videos`` (n), ``labels`` (n, "" where unknown), ``scores``
(n, classes) float32, ``class_names``, and ``about`` (JSON: what made them). ``.csv``: columns ``video``, ``label`` and
one for each class, in their order; it does not keep ``about``.
"""

from __future__ import annotations

import csv
import json
import os
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from eval.errors import EvaluationError
from linking.files import replace_when_whole

_ARRAYS = ("videos", "labels", "scores", "class_names", "about")


@dataclass(frozen=True, eq=False)
class ClassScores:
    """Scores of several videos."""

    class_names: tuple[str, ...]
    videos: tuple[str, ...]
    """Names, each once."""
    labels: tuple[str, ...]
    """True class of each video, "" where it is unknown."""
    scores: np.ndarray
    """(videos, classes) float32, finite; mean probabilities, or any numbers that are larger for a likelier class."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """What made them."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "scores", np.asarray(self.scores, np.float32))
        if self.scores.shape != (len(self.videos), len(self.class_names)) or len(self.labels) != len(self.videos):
            raise EvaluationError(
                f"{len(self.videos)} videos with {len(self.labels)} labels and {len(self.class_names)} classes do not "
                f"fit scores of shape {self.scores.shape}"
            )
        for what, names in (("video", self.videos), ("class", self.class_names)):
            if len(set(names)) < len(names):
                twice = next(name for name in names if names.count(name) > 1)
                raise EvaluationError(f"{what} {twice[:100]!r} is there twice")
        if not np.isfinite(self.scores).all():
            video = self.videos[int(np.flatnonzero(~np.isfinite(self.scores).all(axis=1))[0])]
            raise EvaluationError(f"video {video[:100]!r} has a score that is not a finite number")

    def __len__(self) -> int:
        return len(self.videos)

    @property
    def targets(self) -> np.ndarray:
        """(videos,) int64 column of the true class, -1 where it is unknown or none of the classes."""
        columns = {name: column for column, name in enumerate(self.class_names)}
        return np.array([columns.get(label, -1) for label in self.labels], np.int64)

    def labelled(self) -> ClassScores:
        """Only the videos with a label; EvaluationError where there is none."""
        rows = [row for row, label in enumerate(self.labels) if label]
        if not rows:
            raise EvaluationError("no video has a label, so there is nothing to compare the scores with")
        return self.of_videos([self.videos[row] for row in rows])

    def of_videos(self, names: Iterable[str]) -> ClassScores:
        """The rows of these videos in this order; KeyError for one that is not there."""
        places = {video: row for row, video in enumerate(self.videos)}
        rows = [places[name] for name in names]
        return replace(
            self,
            videos=tuple(self.videos[row] for row in rows),
            labels=tuple(self.labels[row] for row in rows),
            scores=self.scores[rows],
        )


def write_scores(path: str | os.PathLike[str], scores: ClassScores) -> None:
    """Write ``.npz`` or ``.csv``, as the suffix says, whole or not at all. EvaluationError for another suffix."""
    path = Path(path)
    if path.suffix == ".npz":
        with replace_when_whole(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(
                file,
                videos=np.array(scores.videos, str),
                labels=np.array(scores.labels, str),
                scores=scores.scores,
                class_names=np.array(scores.class_names, str),
                about=np.array(json.dumps(dict(scores.about))),
            )
    elif path.suffix == ".csv":
        with replace_when_whole(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["video", "label", *scores.class_names])
            for video, label, row in zip(scores.videos, scores.labels, scores.scores):
                # as few digits as give the same float32 again
                writer.writerow([video, label, *(str(score) for score in row)])
    else:
        raise EvaluationError(f"{path}: score files are .npz or .csv")


def read_scores(path: str | os.PathLike[str]) -> ClassScores:
    """Read a score file; EvaluationError with file, place and cause where it is none."""
    path = Path(path)
    if path.suffix not in (".npz", ".csv"):
        raise EvaluationError(f"{path}: score files are .npz or .csv")
    try:
        return _read_npz(path) if path.suffix == ".npz" else _read_csv(path)
    except FileNotFoundError:
        raise EvaluationError(f"{path}: no such score file") from None
    except EvaluationError as error:
        text = str(error)
        raise EvaluationError(text if text.startswith(str(path)) else f"{path}: {text}") from None
    except (OSError, ValueError, zipfile.BadZipFile, csv.Error) as error:
        raise EvaluationError(f"{path}: not a readable score file ({' '.join(str(error).split())[:100]})") from None


def _read_npz(path: Path) -> ClassScores:
    with np.load(path, allow_pickle=False) as arrays:
        missing = [name for name in _ARRAYS if name not in arrays]
        if missing:
            raise EvaluationError(f"{path}: holds no array {missing[0]!r}; it is no score file")
        names = {name: arrays[name] for name in ("videos", "labels", "class_names")}
        scores = arrays["scores"]
        about = json.loads(str(arrays["about"]))
    for name, values in names.items():
        if values.ndim != 1 or (len(values) and values.dtype.kind != "U"):
            raise EvaluationError(f"{path}: {name} must be a list of names")
    if scores.dtype.kind != "f" or not isinstance(about, dict):
        raise EvaluationError(f"{path}: scores must be numbers with a fraction and about a JSON object")
    class_names, videos, labels = (tuple(names[name].tolist()) for name in ("class_names", "videos", "labels"))
    return ClassScores(class_names, videos, labels, scores, about)


def _read_csv(path: Path) -> ClassScores:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        header = next(reader, [])
        if header[:2] != ["video", "label"] or len(header) < 3:
            raise EvaluationError(f"{path}, line 1: expected columns video, label and one for each class")
        videos, labels, rows = [], [], []
        for row in reader:
            if not row:
                continue
            place = f"{path}, line {reader.line_num}"
            if len(row) != len(header):
                raise EvaluationError(f"{place}: has {len(row)} columns, the header {len(header)}")
            videos.append(row[0])
            labels.append(row[1])
            rows.append(_numbers(row[2:], place))
    scores = np.array(rows, np.float32).reshape(len(rows), len(header) - 2)
    return ClassScores(tuple(header[2:]), tuple(videos), tuple(labels), scores)


def _numbers(words: Sequence[str], place: str) -> list[float]:
    try:
        return [float(word) for word in words]
    except ValueError:
        wrong = next(word for word in words if not _is_number(word))
        raise EvaluationError(f"{place}: {wrong[:40]!r} is not a number") from None


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
