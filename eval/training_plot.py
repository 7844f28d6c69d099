"""Curves of training runs: every number of their logs against epochs or iterations."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from eval.errors import EvaluationError
from eval.figure_files import check_format, save, styles

LOG_FILE = "log.jsonl"
_STEPS = ("iteration", "epoch")
"""What lines are counted by; of the program's logs some have the one, some the other."""
_BOOKKEEPING = frozenset({*_STEPS, "step", "minutes", "seconds", "frames", "actors", "clips_per_second", "waiting"})
_COLUMNS = 3

Curve = tuple[list[float], list[float]]
"""Steps and values."""


def read_curves(run: Path) -> tuple[str, dict[str, Curve]]:
    """What the log of a run is counted by, and its numbers by name.

    ``run`` is the folder of a training or its log. Numbers of a validation are called "validation NAME"; where a line
    is the second one of its step with that name (the second of two datasets), "validation NAME (2)". EvaluationError
    where there is no such log.
    """
    path = run / LOG_FILE if run.is_dir() else run
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise EvaluationError(f"{path}: not the log of a training ({error})") from None
    by = next((name for name in _STEPS if lines and isinstance(lines[0], dict) and name in lines[0]), None)
    if by is None or not all(isinstance(line, dict) and isinstance(line.get(by), int | float) for line in lines):
        raise EvaluationError(f"{path}: not the log of a training (no epoch or iteration in every line)")
    curves: dict[str, Curve] = {}
    for line in lines:
        step = float(line[by])
        for name, value in _flat(line).items():
            again = 1
            while step in curves.get(name if again == 1 else f"{name} ({again})", ([], []))[0]:
                again += 1
            steps, values = curves.setdefault(name if again == 1 else f"{name} ({again})", ([], []))
            steps.append(step)
            values.append(value)
    return by, curves


def _flat(line: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    numbers: dict[str, float] = {}
    for name, value in line.items():
        if isinstance(value, Mapping):
            numbers |= _flat(value, f"{prefix}{name} ")
        elif isinstance(value, int | float) and not isinstance(value, bool) and name not in _BOOKKEEPING:
            numbers[f"{prefix}{name}"] = float(value)
    return numbers


def plot_training(path: str | os.PathLike[str], runs: Sequence[Path], names: Sequence[str] = ()) -> None:
    """Save the curves of ``runs``, a panel for every number, a line for every run, as PNG, PDF or SVG.

    ``names`` stand in the legend, by default those of the folders. Equal logs give an equal file. ValueError for
    another suffix or another number of names than runs, EvaluationError where a run has no log.
    """
    path = Path(path)
    check_format(path)
    names = names or [run.name if run.is_dir() else run.parent.name or run.stem for run in runs]
    if len(names) != len(runs):
        raise ValueError(f"{len(names)} names for {len(runs)} runs")
    settings = styles(names)
    with mpl.rc_context(settings):
        save(training_figure([read_curves(run) for run in runs], names), path, settings)


def training_figure(runs: Sequence[tuple[str, dict[str, Curve]]], names: Sequence[str]) -> Figure:
    """The figure of :func:`plot_training`."""
    panels = list(dict.fromkeys(name for _, curves in runs for name in curves))
    if not panels:
        raise EvaluationError("the logs hold no numbers to draw")
    rows = -(-len(panels) // _COLUMNS)
    figure = Figure(figsize=(3.4 * min(_COLUMNS, len(panels)), 2.5 * rows + 0.4), layout="constrained")
    grid = figure.subplots(rows, min(_COLUMNS, len(panels)), squeeze=False).ravel()
    for axes, panel in zip(grid, panels):
        for number, (_, curves) in enumerate(runs):
            if panel in curves:
                steps, values = curves[panel]
                # a single point, of a validation at the end say, shows only with a mark
                mark = "o" if len(steps) < 8 else ""
                axes.plot(steps, values, mark + "-", color=f"C{number % 10}", linewidth=1.2, markersize=3)
        units = dict.fromkeys(by for by, curves in runs if panel in curves)
        axes.set_title(panel.replace("_", " "), fontsize=9, parse_math=False)
        axes.set_xlabel(" or ".join(units), fontsize=8)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.tick_params(labelsize=7)
        axes.grid(alpha=0.25)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    if len(runs) > 1:
        handles = [mpl.lines.Line2D([], [], color=f"C{number % 10}", label=name) for number, name in enumerate(names)]
        figure.legend(handles=handles, loc="outside lower center", ncols=min(4, len(names)), fontsize=8)
    return figure
