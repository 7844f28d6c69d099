"""Late fusion: scores of several streams or models, averaged with weights that are given or fitted.

The papers fuse RGB, flow and audio by the mean of their class scores and do not print the weights; equal ones are the
default here. Fitted ones are found on validation videos, written to a file, and applied to others.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from eval.class_scores import ClassScores
from eval.errors import EvaluationError
from linking.files import replace_when_whole

_STEP = 20
"""Steps of the grid from 0 to 1 on which weights are searched for accuracy."""
_ROUNDS = 2000
_TINY = 1e-12


@dataclass(frozen=True)
class FusionWeights:
    """A weight a stream, in the order in which the score files are given."""

    weights: tuple[float, ...]
    """Not negative; they add up to 1."""
    criterion: str = "given"
    """"given", or what they were fitted for: "likelihood" or "accuracy"."""
    about: dict[str, Any] | None = None
    """What they were fitted on."""

    def __post_init__(self) -> None:
        values = np.asarray(self.weights, float)
        if values.ndim != 1 or not np.isfinite(values).all() or (values < 0).any() or not values.any():
            raise ValueError(f"weights must be numbers of 0 or more and not all 0, got {self.weights}")
        object.__setattr__(self, "weights", tuple((values / values.sum()).tolist()))


def fuse(scores: Sequence[ClassScores], weights: Sequence[float] | None = None) -> ClassScores:
    """The weighted mean of the scores of the same videos; without weights, the plain mean.

    Videos and classes may stand in another order in each; the order of the first is kept. EvaluationError where they
    are not the same videos and classes, or where a video has two different labels.
    """
    aligned = align(scores)
    fusion = FusionWeights(tuple(weights) if weights is not None else (1.0,) * len(aligned))
    if len(fusion.weights) != len(aligned):
        raise EvaluationError(f"{len(fusion.weights)} weights for {len(aligned)} files of scores")
    mixed = np.tensordot(fusion.weights, np.stack([one.scores.astype(np.float64) for one in aligned]), axes=1)
    about = {"fused": [dict(one.about) for one in scores], "weights": list(fusion.weights)}
    return replace(aligned[0], scores=mixed.astype(np.float32), about=about)


def align(scores: Sequence[ClassScores]) -> list[ClassScores]:
    """The same with the videos and classes of the first in its order, and labels filled in where one file has them."""
    if not scores:
        raise EvaluationError("nothing to fuse: give at least one file of scores")
    first = scores[0]
    aligned = []
    for number, one in enumerate(scores, 1):
        for what, mine, given in (
            ("classes", first.class_names, one.class_names),
            ("videos", first.videos, one.videos),
        ):
            other = set(mine) ^ set(given)
            if other:
                raise EvaluationError(
                    f"file {number} has other {what} than the first: {sorted(other)[0][:80]!r} is in one of them only"
                )
        columns = [one.class_names.index(name) for name in first.class_names]
        one = one.of_videos(first.videos)
        aligned.append(replace(one, class_names=first.class_names, scores=one.scores[:, columns]))
    labels = []
    for video, given in zip(first.videos, zip(*(one.labels for one in aligned))):
        known = sorted({label for label in given if label})
        if len(known) > 1:
            raise EvaluationError(f"video {video[:80]!r} is {known[0]!r} in one file and {known[1]!r} in another")
        labels.append(known[0] if known else "")
    return [replace(one, labels=tuple(labels)) for one in aligned]


def softmax(scores: ClassScores) -> ClassScores:
    """Probabilities of scores that are logits."""
    shifted = np.exp(scores.scores - scores.scores.max(axis=1, keepdims=True))
    return replace(scores, scores=shifted / shifted.sum(axis=1, keepdims=True))


def fit_weights(
    scores: Sequence[ClassScores], criterion: Literal["likelihood", "accuracy"] = "likelihood"
) -> FusionWeights:
    """Weights for ``fuse``, fitted on labelled videos; use others to judge the result.

    "likelihood": of the labels under the fused probabilities, as large as any weights can make it (the problem is
    convex, and the EM steps of a mixture lead to its maximum). "accuracy": the top-1 on a grid of steps of 1/20, among
    equal ones the likeliest; all of the grid for up to three files, for more one weight after the other.
    """
    aligned = [one.labelled() for one in align(scores)]
    targets = aligned[0].targets
    known = np.flatnonzero(targets >= 0)
    if len(known) == 0:
        raise EvaluationError("no video has a label among the classes, so there is nothing to fit weights to")
    probabilities = np.stack([one.scores[known].astype(np.float64) for one in aligned])  # (streams, videos, classes)
    if probabilities.min() < 0 or (criterion == "likelihood" and probabilities.max() > 1 + 1e-4):
        raise EvaluationError("weights are fitted to probabilities; turn logits into them with --softmax")
    own = probabilities[:, np.arange(len(known)), targets[known]]  # (streams, videos)
    if criterion == "likelihood":
        weights = _likeliest(own)
    else:
        weights = _most_accurate(probabilities, own, targets[known])
    return FusionWeights(
        tuple(weights.tolist()),
        criterion,
        {
            "videos": len(known),
            "top1": _top1(weights, probabilities, targets[known]),
            "top1_equal_weights": _top1(np.full(len(own), 1 / len(own)), probabilities, targets[known]),
            "sources": [dict(one.about) for one in scores],
        },
    )


def write_weights(path: str | os.PathLike[str], weights: FusionWeights) -> None:
    """Write a JSON file for :func:`read_weights`, whole or not at all."""
    with replace_when_whole(path) as temporary:
        temporary.write_text(json.dumps({"format": 1, **asdict(weights)}, indent=1) + "\n")


def read_weights(path: str | os.PathLike[str]) -> FusionWeights:
    """Raises EvaluationError with the file where it is none of :func:`write_weights`."""
    try:
        values = json.loads(Path(path).read_text("utf-8"))
        return FusionWeights(tuple(values["weights"]), values["criterion"], values["about"])
    except OSError as error:
        raise EvaluationError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise EvaluationError(f"{path}: not a file of fusion weights ({' '.join(str(error).split())[:80]})") from None


def _likeliest(own: np.ndarray) -> np.ndarray:
    """(streams, videos) probability that each stream gives to each label -> (streams,) weights of the best mixture."""
    weights = np.full(len(own), 1 / len(own))
    for _ in range(_ROUNDS):
        joint = weights[:, None] * np.maximum(own, _TINY)
        better = (joint / joint.sum(axis=0)).mean(axis=1)
        moved = np.abs(better - weights).max()
        weights = better
        if moved < 1e-9:
            break
    return weights / weights.sum()


def _most_accurate(probabilities: np.ndarray, own: np.ndarray, targets: np.ndarray) -> np.ndarray:
    def quality(weights: np.ndarray) -> tuple[float, float]:
        likelihood = float(np.log(np.maximum(weights @ own, _TINY)).mean())
        return _top1(weights, probabilities, targets), round(likelihood, 12)

    if len(own) <= 3:
        return max(_grid(len(own)), key=quality)
    best = np.full(len(own), 1 / len(own))
    while True:
        before = quality(best)
        for stream in range(len(own)):
            others = np.delete(best, stream)
            rest = others / others.sum() if others.any() else np.full(len(others), 1 / len(others))
            shares = np.linspace(0, 1, _STEP + 1)
            tried = [np.insert((1 - share) * rest, stream, share) for share in shares]
            best = max([best, *tried], key=quality)
        if quality(best) == before:
            return best


def _grid(count: int) -> Iterator[np.ndarray]:
    """All weights that are multiples of 1/20, equal ones first."""
    yield np.full(count, 1 / count)
    for parts in itertools.product(range(_STEP + 1), repeat=count - 1):
        if sum(parts) <= _STEP:
            yield np.array([*parts, _STEP - sum(parts)]) / _STEP


def _top1(weights: np.ndarray, probabilities: np.ndarray, targets: np.ndarray) -> float:
    return float((np.tensordot(weights, probabilities, axes=1).argmax(axis=1) == targets).mean())
