"""Figures of an evaluation: precision over recall, AP with its confidence, errors by reason.

Each function gives a matplotlib Figure; ``save_figure`` writes it as the suffix says, ``as_svg`` gives it as text
for a page.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from math import ceil
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from eval.results import MapResult
from eval.video_map import TubeVerdicts
from linking.colours import VERDICTS
from linking.files import replace_when_whole

_BLUE, _GREY = "#0072b2", "0.6"


def precision_recall(result: MapResult, verdicts: TubeVerdicts, iou: float) -> dict[str, np.ndarray]:
    """By class, (n, 2) recall and precision after each detection in order of score.

    ``iou``: one of the thresholds that ``result`` was made with (``result.ious.values``).
    """
    row = verdicts.claimed[result.ious.values.index(iou)]
    curves = {}
    for c, name in enumerate(result.class_names):
        mine = verdicts.order[verdicts.detections.label[verdicts.order] == c]
        hits = np.cumsum(row[mine] >= 0)
        recall = hits / max(int(result.num_ground_truth[c]), 1)
        curves[name] = np.stack([recall, hits / np.arange(1, len(hits) + 1)], axis=1)
    return curves


def precision_recall_figure(curves: Mapping[str, np.ndarray], ap: Mapping[str, float]) -> Figure:
    """A small panel for every class, raw points in grey under their envelope; AP in the title, in percent."""
    columns = min(6, max(len(curves), 1))
    rows = ceil(max(len(curves), 1) / columns)
    figure = Figure(figsize=(1.9 * columns, 1.75 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for panel, (name, points) in zip(panels, curves.items()):
        if len(points):
            recall, precision = points.T
            envelope = np.maximum.accumulate(precision[::-1])[::-1]
            panel.plot(recall, precision, color=_GREY, linewidth=0.8)
            panel.step(np.append(0, recall), np.append(envelope[0], envelope), color=_BLUE, linewidth=1.2)
        panel.set_title(f"{name[:22]}  {100 * ap.get(name, np.nan):.1f}", fontsize=7)
        panel.set_xlim(0, 1)
        panel.set_ylim(0, 1.02)
        panel.tick_params(labelsize=6)
    for panel in panels[len(curves) :]:
        panel.set_visible(False)
    figure.supxlabel("recall", fontsize=8)
    figure.supylabel("precision", fontsize=8)
    return figure


def interval_figure(intervals: pd.DataFrame) -> Figure:
    """AP of every class, and the mean below, with a bar from low to high.

    ``intervals``: columns low, value, high in 0..1, as in confidence_intervals at one IoU.
    """
    table = intervals.dropna()
    figure = Figure(figsize=(7, 0.9 + 0.22 * len(table)), layout="constrained")
    panel = figure.subplots()
    rows = np.arange(len(table))[::-1]
    low, value, high = (100 * table[column].to_numpy() for column in ("low", "value", "high"))
    panel.hlines(rows, low, high, color=_GREY, linewidth=2)
    panel.plot(value, rows, "o", color=_BLUE, markersize=4)
    panel.set_yticks(rows, [str(name)[:30] for name in table.index], fontsize=7)
    panel.set_xlim(0, 100)
    panel.set_xlabel("AP in percent", fontsize=8)
    panel.tick_params(axis="x", labelsize=7)
    panel.grid(axis="x", color="0.9")
    return figure


def error_figure(points: pd.DataFrame) -> Figure:
    """A stack of bars a class: points of AP won by mending each reason, as in Breakdown.points."""
    figure = Figure(figsize=(7, 1.1 + 0.22 * len(points)), layout="constrained")
    panel = figure.subplots()
    rows = np.arange(len(points))[::-1]
    left = np.zeros(len(points))
    for reason in points.columns:
        width = 100 * points[reason].fillna(0).clip(lower=0).to_numpy()
        panel.barh(rows, width, left=left, color=np.array(VERDICTS[reason]) / 255, label=reason, height=0.75)
        left += width
    panel.set_yticks(rows, [str(name)[:30] for name in points.index], fontsize=7)
    panel.set_xlabel("AP won, in percent, each reason mended alone", fontsize=8)
    panel.tick_params(axis="x", labelsize=7)
    panel.legend(fontsize=7, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
    return figure


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write as png, pdf or svg, whole or not at all; a figure made anew from the same numbers gives the same svg."""
    with replace_when_whole(path) as temporary, mpl.rc_context({"svg.hashsalt": "fixed"}):
        metadata = {"Date": None} if Path(path).suffix == ".svg" else None
        figure.savefig(temporary, dpi=150, metadata=metadata)


def as_svg(figure: Figure) -> str:
    """An ``<svg>`` element with text as text, to stand in a page."""
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "fixed", "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
