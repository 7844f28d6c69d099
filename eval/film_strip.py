"""Film strips: a row a tube, cut out around its actor over time, with the times below and the score as a curve."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from eval.figure_files import check_format, fitted, save, styles
from linking.colours import Colour
from linking.geometry import paired_box_iou
from linking.looks import PLAIN, Look, Looks
from linking.records import Tube

_WIDTH, _LEFT, _RIGHT, _GAP = 7.2, 0.45, 0.12, 0.05
"""Inches: the page, its margins, and between crops."""
_HEAD, _TIMES, _CURVE, _SPACE = 0.24, 0.3, 0.42, 0.16
"""Inches: heights of the parts of a row, and between rows."""
_INK, _DIM, _TRUTH = "0.1", "0.4", "0.15"
_DASHES = (0, (3, 2))


class Cropped(Protocol):
    """A frame of a tube, cut out."""

    @property
    def frame(self) -> int:
        """0-based index in the video."""

    @property
    def picture(self) -> np.ndarray:
        """(h, w, 3) uint8 RGB."""

    @property
    def window(self) -> tuple[float, float, float, float]:
        """x1 y1 x2 y2 of what it shows, in pixels of the video."""


@dataclass(frozen=True, eq=False)
class Strip:
    """One row."""

    tube: Tube
    crops: Sequence[Cropped]
    """By time, at equal distances along the tube; all of one size."""
    is_true: bool = False
    """Whether the tube is of the ground truth: one that was missed."""


def plot_film_strip(
    path: str | os.PathLike[str],
    strips: Sequence[Strip],
    *,
    columns: int,
    ground_truth: Sequence[Tube] | None = None,
    fps: float | None = None,
    title: str = "",
    looks: Looks = PLAIN,
    left_out: int = 0,
) -> None:
    """Save the figure of ``film_strip_figure`` as PNG, PDF or SVG, as the suffix says; ValueError for another."""
    check_format(path)
    truth = ground_truth or ()
    settings = styles([title, *(strip.tube.label for strip in strips)])
    with mpl.rc_context(settings):
        figure = film_strip_figure(strips, columns, truth, fps, title, looks, left_out)
    save(figure, Path(path), settings)


def film_strip_figure(
    strips: Sequence[Strip],
    columns: int,
    truth: Sequence[Tube] = (),
    fps: float | None = None,
    title: str = "",
    looks: Looks = PLAIN,
    left_out: int = 0,
) -> Figure:
    """Rows of up to ``columns`` crops, each with its box; boxes of ``truth`` dashed.

    Below a row the score of every box, at the place in time where it belongs between the crops, and, where ``looks``
    says with which true tube the tube is compared, its IoU with the true box, dashed. ``fps`` gives times in seconds.
    ``left_out`` is the number of tubes that have no row.
    """
    wide = (_WIDTH - _LEFT - _RIGHT - (columns - 1) * _GAP) / columns
    shape = next((strip.crops[0].picture.shape for strip in strips if strip.crops), (5, 4))
    tall = wide * shape[0] / shape[1]
    curves = [_has_curve(strip, looks) for strip in strips]
    legend = _legend_entries(strips, truth, looks)
    head = 0.12 + 0.26 * bool(title) + 0.24 * bool(legend)
    rows = [_HEAD + tall + _TIMES + (_CURVE + 0.06) * curve + _SPACE for curve in curves]
    height = head + sum(rows) + (0.25 if left_out or not strips else 0)
    figure = Figure(figsize=(_WIDTH, height))
    page = _Page(figure, height)
    if title:
        page.write(0.1, 0.1, fitted(title, 72 * (_WIDTH - 0.3), size=9, bold=True), size=9, weight="bold")
    top = head
    for strip, row, curve in zip(strips, rows, curves):
        _draw_row(page, strip, top, wide, tall, curve, truth, fps, looks)
        top += row
    if left_out or not strips:
        page.write(_LEFT, top, f"and {left_out} more tubes with lower scores" if left_out else "no tubes", colour=_DIM)
    if legend:
        _add_legend(figure, legend, 1 - (0.06 + 0.26 * bool(title)) / height)
    return figure


class _Page:
    """Places in inches from the upper left corner."""

    def __init__(self, figure: Figure, height: float) -> None:
        self.figure, self.height = figure, height

    def axes(self, left: float, top: float, width: float, height: float) -> Any:
        return self.figure.add_axes(
            (left / _WIDTH, 1 - (top + height) / self.height, width / _WIDTH, height / self.height)
        )

    def write(self, left: float, top: float, text: str, *, size: float = 8, colour: Any = _INK, **more: Any) -> Any:
        return self.figure.text(
            left / _WIDTH, 1 - top / self.height, text, fontsize=size, color=colour, va="top", parse_math=False, **more
        )


def _draw_row(
    page: _Page,
    strip: Strip,
    top: float,
    wide: float,
    tall: float,
    has_curve: bool,
    truth: Sequence[Tube],
    fps: float | None,
    looks: Looks,
) -> None:
    tube = strip.tube
    look = looks.of_true(tube) if strip.is_true else looks.of(tube)
    colour = _rgb(look.colour)
    _draw_head(page, strip, look, top, fps)
    top += _HEAD
    lefts = [_LEFT + column * (wide + _GAP) for column in range(len(strip.crops))]
    for left, crop in zip(lefts, strip.crops):
        axes = page.axes(left, top, wide, tall)
        x1, y1, x2, y2 = crop.window
        axes.imshow(crop.picture, extent=(x1, x2, y2, y1), interpolation="antialiased", aspect="auto")
        for true in truth:
            if true is not tube:
                _outline(axes, true, crop.frame, "white", _DASHES)
        _outline(axes, tube, crop.frame, colour, _DASHES if strip.is_true else "solid")
        axes.set(xlim=(x1, x2), ylim=(y2, y1), xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set(color="0.6", linewidth=0.5)
        time = f"{crop.frame / fps:.2f} s" if fps else f"frame {crop.frame}"
        middle = left + wide / 2
        page.write(middle, top + tall + 0.04, time, size=7.5, ha="center")
        if fps:
            page.write(middle, top + tall + 0.16, f"{crop.frame}", size=6.5, colour=_DIM, ha="center")
    if has_curve:
        _draw_curve(page, strip, colour, lefts, wide, top + tall + _TIMES, looks)


def _draw_head(page: _Page, strip: Strip, look: Look, top: float, fps: float | None) -> None:
    tube, colour = strip.tube, _rgb(look.colour)
    swatch = page.axes(_LEFT, top + 0.04, 0.13, 0.11)
    swatch.set(xticks=[], yticks=[], facecolor=(*colour, 0.6) if not strip.is_true else "none")
    for spine in swatch.spines.values():
        spine.set(color=colour * 0.72, linewidth=0.9, linestyle=_DASHES if strip.is_true else "solid")
    score = "" if np.isnan(tube.score) else f"  {tube.score:.2f}"
    label = fitted(tube.label, 200, size=8.5, bold=True)
    name = f"truth: {label}" if strip.is_true else f"#{tube.id}  {label}{score}"
    title = page.write(_LEFT + 0.2, top + 0.03, name, size=8.5, weight="bold")
    if look.word:
        # half of a point a letter wider than what most letters take
        right = title.get_window_extent().x1 / page.figure.dpi
        page.write(right + 0.12, top + 0.035, look.word, size=8)
    last = tube.end_frame - 1
    frames = f"frame {last}" if last == tube.first_frame else f"frames {tube.first_frame}–{last}"
    note = f"{tube.first_frame / fps:.2f}–{tube.end_frame / fps:.2f} s, {frames}" if fps else frames
    page.write(_WIDTH - _RIGHT, top + 0.04, note, size=7.5, colour=_DIM, ha="right")


def _outline(axes: Any, tube: Tube, frame: int, colour: Any, style: Any) -> None:
    """The box of ``tube`` in ``frame``, where it has one, on a dark rim that shows on light ground."""
    place = int(np.searchsorted(tube.frames, frame))
    if place == len(tube) or tube.frames[place] != frame:
        return
    x1, y1, x2, y2 = tube.boxes[place]
    for width, edge, dashes in ((2.2, "black", "solid"), (1.2, colour, style)):
        axes.add_patch(
            Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=edge, linewidth=width, linestyle=dashes)
        )


def _draw_curve(
    page: _Page, strip: Strip, colour: np.ndarray, lefts: Sequence[float], wide: float, top: float, looks: Looks
) -> None:
    """Scores over time, each box where it lies between the crops; the axes reach from the first crop to the last."""
    tube = strip.tube
    first, last = lefts[0] + wide / 2, lefts[-1] + wide / 2
    axes = page.axes(lefts[0], top, lefts[-1] + wide - lefts[0], _CURVE)
    places = first + (last - first) * (np.arange(len(tube)) / max(len(tube) - 1, 1))
    scores = np.asarray(tube.scores)
    highest = max(1.0, float(np.nanmax(scores, initial=0.0)))
    axes.set(xlim=(lefts[0], lefts[-1] + wide), ylim=(0, 1.04 * highest), xticks=[], yticks=[0, highest / 2, highest])
    axes.tick_params(axis="y", labelsize=6.5, length=2, width=0.5, labelcolor=_DIM, color="0.6")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.2g}")
    axes.set_ylabel("score", fontsize=6.5, color=_DIM, labelpad=2)
    axes.grid(axis="y", color="0.9", linewidth=0.5)
    axes.set_axisbelow(True)
    for left in lefts:
        axes.axvline(left + wide / 2, color="0.85", linewidth=0.6, zorder=0.5)
    for side, spine in axes.spines.items():
        spine.set(visible=side in ("left", "bottom"), color="0.6", linewidth=0.5)
    marker = "o" if len(tube) == 1 else None
    if not np.isnan(scores).all():
        axes.fill_between(places, 0, scores, color=(*colour, 0.25), linewidth=0)
        axes.plot(places, scores, color=colour * 0.72, linewidth=1.2, marker=marker, markersize=3)
    true = looks.about.get(tube.id) if not strip.is_true else None
    if true is not None:
        axes.plot(places, ious(tube, true), color=_TRUTH, linewidth=0.9, linestyle=_DASHES, marker=marker, markersize=2)


def ious(tube: Tube, true: Tube) -> np.ndarray:
    """(n,) IoU of each box of ``tube`` with that of ``true`` in its frame; 0 where ``true`` has none."""
    values = np.zeros(len(tube))
    _, mine, its = np.intersect1d(tube.frames, true.frames, assume_unique=True, return_indices=True)
    values[mine] = paired_box_iou(tube.boxes[mine], true.boxes[its])
    return values


def _has_curve(strip: Strip, looks: Looks) -> bool:
    scored = not np.isnan(np.asarray(strip.tube.scores)).all()
    return bool(strip.crops) and not strip.is_true and (scored or strip.tube.id in looks.about)


def _legend_entries(strips: Sequence[Strip], truth: Sequence[Tube], looks: Looks) -> list[tuple[Any, str]]:
    """What colours and lines mean; nothing where there is only the score, which is named at its axis."""
    entries: list[tuple[Any, str]] = [
        (Patch(facecolor=(*_rgb(colour), 0.6), edgecolor=tuple(_rgb(colour) * 0.72), linewidth=0.8), name)
        for name, colour in looks.legend
    ]
    if any(_has_curve(strip, looks) for strip in strips):
        entries.append((Line2D([], [], color="0.3", linewidth=1.2), "score"))
    if any(strip.tube.id in looks.about for strip in strips if not strip.is_true):
        entries.append((Line2D([], [], color=_TRUTH, linewidth=0.9, linestyle=_DASHES), "IoU with the truth"))
    if truth:
        line = (
            Line2D([], [], color="black", linewidth=2.4),
            Line2D([], [], color="white", linewidth=1.2, linestyle=_DASHES),
        )
        entries.append((line, "true box"))
    return entries if len(entries) > 1 else []


def _add_legend(figure: Figure, entries: Sequence[tuple[Any, str]], top: float) -> None:
    handles, names = zip(*entries)
    figure.legend(
        handles,
        names,
        loc="upper left",
        bbox_to_anchor=(_LEFT / _WIDTH, top),
        ncols=len(entries),
        frameon=False,
        fontsize=7,
        borderpad=0,
        borderaxespad=0,
        handlelength=1.6,
        columnspacing=1.2,
    )


def _rgb(colour: Colour) -> np.ndarray:
    return np.array(colour) / 255
