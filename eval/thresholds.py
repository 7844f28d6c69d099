"""Overlap thresholds: single ones, and ranges whose mean is reported, such as ``0.5:0.95``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from eval.errors import EvaluationError

DEFAULT_IOUS = ("0.2", "0.5", "0.75", "0.5:0.95")
JHMDB_IOUS = ("0.2", "0.5", "0.75", "0.5:0.95")
UCF24_IOUS = ("0.05", "0.1", "0.2", "0.3", "0.5", "0.75", "0.5:0.95")
MULTISPORTS_IOUS = ("0.2", "0.5", "0.05:0.45", "0.1:0.9:0.1", "0.5:0.95")
AVA_IOUS = ("0.5",)


@dataclass(frozen=True)
class IouList:
    """What to report, and the thresholds it takes."""

    columns: dict[str, tuple[int, ...]]
    """Name of a column, ``0.5`` or ``0.5:0.95``, to the positions of its thresholds in ``values``."""
    values: tuple[float, ...]
    """Every threshold once, ascending."""

    def reduce(self, by_threshold: np.ndarray) -> np.ndarray:
        """(..., thresholds) to (..., columns): the mean over the thresholds of each column."""
        return np.stack([by_threshold[..., list(at)].mean(axis=-1) for at in self.columns.values()], axis=-1)


def parse_ious(ious: Iterable[float | str]) -> IouList:
    """Thresholds as numbers or text: ``0.5``, ``"0.5"``, ``"0.5:0.95"`` (step 0.05), ``"0.1:0.9:0.1"``.

    Raises EvaluationError for anything outside (0, 1] and for an empty list.
    """
    members = dict(map(_parse_one, ious))
    if not members:
        raise EvaluationError("no IoU threshold given; expected some like 0.5 or 0.5:0.95")
    every = tuple(sorted({value for values in members.values() for value in values}))
    at = {value: position for position, value in enumerate(every)}
    return IouList({name: tuple(at[value] for value in values) for name, values in members.items()}, every)


def _parse_one(item: float | str) -> tuple[str, tuple[float, ...]]:
    try:
        parts = [float(part) for part in str(item).split(":")]
    except ValueError:
        parts = []
    if not 1 <= len(parts) <= 3 or not all(0 < part <= 1 for part in parts):
        raise EvaluationError(
            f"IoU {item!r} is neither a threshold above 0 and at most 1 nor a range like 0.5:0.95 or 0.1:0.9:0.1"
        )
    if len(parts) == 1:
        return f"{parts[0]:g}", (parts[0],)
    first, last, step = (*parts, 0.05)[:3]
    if last < first:
        raise EvaluationError(f"IoU range {item!r} ends below its start")
    # rounding keeps 0.55, not 0.55 + 1e-16, so that a range shares its thresholds with single columns
    values = tuple(round(first + i * step, 10) for i in range(int((last - first) / step + 1e-6) + 1))
    name = f"{first:g}:{last:g}" + (f":{step:g}" if len(parts) == 3 else "")
    return name, values
