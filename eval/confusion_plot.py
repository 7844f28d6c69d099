"""The confusion matrix as a picture: what is taken for what."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from eval.figure_files import check_format
from linking.files import replace_when_whole

_MAX_NAMED = 60
"""Classes up to which their names stand at the axes."""
_MAX_COUNTED = 25
"""Classes up to which every cell holds its count."""


def plot_confusion(
    path: str | os.PathLike[str], counts: np.ndarray, class_names: tuple[str, ...], *, things: str = "videos"
) -> None:
    """Save (classes, classes) counts, rows the truth, as PNG, PDF or SVG; colours are shares of each row.

    One column more counts ``things`` that were not found. Equal counts give an equal file. ValueError for another
    suffix.
    """
    path = Path(path)
    check_format(path)
    figure = confusion_figure(counts, class_names, things=things)
    undated = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}}.get(path.suffix.lower(), {})
    with replace_when_whole(path) as temporary:
        figure.savefig(temporary, dpi=150, metadata=undated)


def confusion_figure(counts: np.ndarray, class_names: tuple[str, ...], *, things: str = "videos") -> Figure:
    """The figure of :func:`plot_confusion`."""
    count = len(class_names)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    side = min(14.0, 3.5 + 0.28 * min(count, _MAX_NAMED))
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8)
    right = int(np.trace(counts))
    axes.set(xlabel="given by the classifier", ylabel="true class")
    axes.set_title(f"{right} of {int(counts.sum())} {things} right", fontsize=10)
    if count <= _MAX_NAMED:
        names = [name if len(name) <= 24 else name[:23] + "…" for name in class_names]
        columns = [*names, *(["not found"] * (counts.shape[1] - count))]
        axes.set_xticks(range(len(columns)), columns, rotation=90, fontsize=7, parse_math=False)
        axes.set_yticks(range(count), names, fontsize=7, parse_math=False)
    if count <= _MAX_COUNTED:
        for row, column in np.argwhere(counts > 0):
            colour = "white" if shares[row, column] > 0.6 else "black"
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", fontsize=7, color=colour)
    return figure
