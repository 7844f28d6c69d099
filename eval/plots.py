"""Figures of tubes: every tube as a body in x, y and time, among frames of its video."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from eval.figure_files import check_format, fitted, save, styles
from eval.tube_legend import DASHES, LEGEND_WIDTH, MAX_LEGEND, add_legend, on_paper
from eval.tube_pieces import Piece, cross_section, pieces
from eval.tube_view import TubeView, draw_box, draw_frame, set_limits
from linking.colours import Colour
from linking.looks import PLAIN, Looks
from linking.records import Tube

_WIDTH = 7.2
"""Inches: a page of two columns."""


def plot_tubes(
    path: str | os.PathLike[str],
    tubes: Sequence[Tube],
    *,
    ground_truth: Sequence[Tube] | None = None,
    width: float | None = None,
    height: float | None = None,
    num_frames: int | None = None,
    fps: float | None = None,
    title: str = "",
    pictures: Mapping[int, np.ndarray] | None = None,
    looks: Looks = PLAIN,
) -> None:
    """Save the figure of ``tube_figure`` as PNG (200 dpi), PDF or SVG, as the suffix of ``path`` says.

    The same tubes give the same file, byte for byte. ValueError for another suffix.
    """
    path = Path(path)
    check_format(path)
    settings = styles([title, *(tube.label for tube in (*tubes, *(ground_truth or ())))])
    with mpl.rc_context(settings):
        figure = tube_figure(
            tubes,
            ground_truth=ground_truth,
            width=width,
            height=height,
            num_frames=num_frames,
            fps=fps,
            title=title,
            pictures=pictures,
            looks=looks,
            smooth=path.suffix.lower() == ".png",
        )
    save(figure, path, settings)


def tube_figure(
    tubes: Sequence[Tube],
    *,
    ground_truth: Sequence[Tube] | None = None,
    width: float | None = None,
    height: float | None = None,
    num_frames: int | None = None,
    fps: float | None = None,
    title: str = "",
    pictures: Mapping[int, np.ndarray] | None = None,
    looks: Looks = PLAIN,
    smooth: bool = True,
) -> Figure:
    """``tubes`` as coloured bodies over time, ``ground_truth`` as dashed wires.

    ``width``, ``height`` (pixels) and ``num_frames`` set the ends of the axes; without them the boxes do. With
    ``fps`` the time axis counts seconds, otherwise frames. ``pictures`` are frames of the video, (h, w, 3) uint8 RGB of
    any scale by their number, which stand in the figure where they belong. Interpolated parts of a tube (boxes without
    a score inside a scored tube) are paler. Colours are those of the annotated video unless ``looks`` says otherwise.
    """
    truth, pictures = ground_truth or (), dict(sorted((pictures or {}).items()))
    view = _view([*tubes, *truth], width, height, num_frames)
    low, high = view.bounds()
    drawing = _WIDTH - LEGEND_WIDTH - 0.75  # numbers and names of the axes stand beside it
    tall = min(drawing * (high[1] - low[1]) / (high[0] - low[0]), 5.0)
    top, bottom = (0.36 if title else 0.12), 0.36
    size = _WIDTH, max(tall + top + bottom, 2.4)
    figure = Figure(figsize=size)
    axes = figure.add_axes((0.55 / size[0], bottom / size[1], drawing / size[0], 1 - (top + bottom) / size[1]))
    set_limits(axes, view)
    draw_box(axes, view, fps)
    _draw_bodies(axes, view, tubes, truth, pictures, looks, smooth)
    if len(tubes) <= MAX_LEGEND:
        _number(axes, view, tubes, looks)
    add_legend(figure, tubes, truth, looks)
    if title:
        shown = fitted(title, 72 * (_WIDTH - LEGEND_WIDTH - 0.3), size=9, bold=True)
        figure.text(0.1 / size[0], 1 - 0.1 / size[1], shown, fontsize=9, weight="bold", va="top", parse_math=False)
    return figure


def _view(tubes: Sequence[Tube], width: float | None, height: float | None, num_frames: int | None) -> TubeView:
    boxes = np.concatenate([np.zeros((0, 4)), *(tube.boxes for tube in tubes)])
    width = width or (float(boxes[:, 2].max()) if len(boxes) else 1.0)
    height = height or (float(boxes[:, 3].max()) if len(boxes) else 1.0)
    frames = num_frames or max((tube.end_frame for tube in tubes), default=1)
    # a picture a hundred times as wide as high would leave no room for anything else
    return TubeView(frames, max(width, 0.05 * height), max(height, 0.05 * width))


def _draw_bodies(
    axes: Any,
    view: TubeView,
    tubes: Sequence[Tube],
    truth: Sequence[Tube],
    pictures: Mapping[int, np.ndarray],
    looks: Looks,
    smooth: bool,
) -> None:
    """Earlier things first, later ones over them; between two frames what is further back (larger x) first."""
    order = 2.0
    cuts = list(pictures)
    found = [piece for tube in tubes for piece in pieces(tube, cuts, _slices(len(tubes)))]
    true = [piece for tube in truth for piece in pieces(tube, cuts, _slices(len(truth)))]
    for start, end in zip([-np.inf, *cuts], [*cuts, np.inf]):
        if start in pictures:
            draw_frame(axes, view, start, pictures[int(start)], order, smooth=smooth)
            for tube in tubes:
                _draw_section(axes, view, tube, int(start), looks.of(tube).colour, order + 0.1)
            order += 1
        inside = [(piece, False) for piece in found if start <= piece.times[0] < end]
        inside += [(piece, True) for piece in true if start <= piece.times[0] < end]
        for piece, is_true in sorted(inside, key=lambda pair: -float(pair[0].boxes[:, 0].mean())):
            if is_true:
                _draw_wires(axes, view, piece, looks, order)
            else:
                _draw_piece(axes, view, piece, looks.of(piece.tube).colour, order)
            order += 0.01
        order += 1
    # in a crowd it would only add to the confusion
    for piece in found if pictures and len(tubes) <= MAX_LEGEND else ():
        _draw_ghost(axes, view, piece, looks.of(piece.tube).colour, order)


def _slices(count: int) -> int:
    """Cross-sections drawn of one tube; more make files of megabytes and no difference to the eye."""
    return int(np.clip(3000 // max(count, 1), 6, 60))


def _draw_piece(axes: Any, view: TubeView, piece: Piece, colour: Colour, order: float) -> None:
    """Four walls, the far ones first, both ends where the tube ends there, and the edges along the time."""
    rgb = np.array(colour) / 255
    edges = _edges(view, piece)  # upper left, upper right, lower right, lower left
    far = 0.07 if piece.pale else 0.16
    near = 0.10 if piece.pale else 0.30
    walls = [np.concatenate([edges[a], edges[b][::-1]]) for a, b in ((1, 2), (2, 3), (0, 1), (3, 0))]
    shades = [(*rgb, far), (*rgb, far), (*(0.5 + 0.5 * rgb), near), (*rgb, near)]
    axes.add_collection(PolyCollection(walls, facecolors=shades, edgecolors="none", zorder=order), autolim=False)
    dark = (*(rgb * 0.72), 0.95)
    ends = [edges[:, place] for place, is_end in ((0, piece.begins), (-1, piece.ends)) if is_end]
    if ends:
        axes.add_collection(
            PolyCollection(ends, facecolors=(*rgb, 0.3), edgecolors=[dark], linewidths=1.0, zorder=order),
            autolim=False,
        )
    # the edge at the back below is seen through two walls
    widths = [0.9, 0.9, 0.4, 0.9]
    style = DASHES if piece.pale else "solid"
    axes.add_collection(
        LineCollection(list(edges), colors=[dark], linewidths=widths, linestyles=[style], zorder=order), autolim=False
    )


def _draw_ghost(axes: Any, view: TubeView, piece: Piece, colour: Colour, order: float) -> None:
    """What frames cover shows through them, faintly."""
    rgb = np.array(colour) / 255
    edges = _edges(view, piece)
    around = [np.concatenate([edges[a], edges[b][::-1]]) for a, b in ((0, 1), (3, 0))]
    axes.add_collection(PolyCollection(around, facecolors=(*rgb, 0.09), edgecolors="none", zorder=order), autolim=False)
    axes.add_collection(
        LineCollection(list(edges[[0, 1, 3]]), colors=[(*rgb, 0.55)], linewidths=0.6, zorder=order), autolim=False
    )


def _draw_wires(axes: Any, view: TubeView, piece: Piece, looks: Looks, order: float) -> None:
    edges = _edges(view, piece)
    lines = list(edges)
    for place, is_end in ((0, piece.begins), (-1, piece.ends)):
        if is_end:
            lines.append(np.concatenate([edges[:, place], edges[:1, place]]))
    colour = on_paper(looks.of_true(piece.tube).colour)
    axes.add_collection(
        LineCollection(lines, colors=[colour], linewidths=1.0, linestyles=[DASHES], zorder=order), autolim=False
    )


def _draw_section(axes: Any, view: TubeView, tube: Tube, frame: int, colour: Colour, order: float) -> None:
    """The box of ``tube`` on the plane of a frame, where it has one."""
    box = cross_section(tube, frame)
    if box is None:
        return
    x1, y1, x2, y2 = box
    outline = view.points(frame, [x1, x2, x2, x1], [y1, y1, y2, y2])
    for width, edge in ((2.6, "black"), (1.5, np.array(colour) / 255)):
        axes.add_collection(
            PolyCollection([outline], facecolors="none", edgecolors=[edge], linewidths=width, zorder=order),
            autolim=False,
        )


def _edges(view: TubeView, piece: Piece) -> np.ndarray:
    """(4, n, 2) the edges along the time on paper, once around from the upper left."""
    x1, y1, x2, y2 = piece.boxes.T
    return np.stack([view.points(piece.times, x, y) for x, y in ((x1, y1), (x2, y1), (x2, y2), (x1, y2))])


def _number(axes: Any, view: TubeView, tubes: Sequence[Tube], looks: Looks) -> None:
    """The id of each tube above its beginning."""
    for tube in tubes:
        x1, y1, x2, _ = tube.boxes[0]
        colour = np.array(looks.of(tube).colour) / 255 * 0.6
        axes.annotate(
            f"#{tube.id}",
            view.points(tube.first_frame, (x1 + x2) / 2, y1),
            (0, 2),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=7.5,
            weight="bold",
            color=colour,
            zorder=1e6,
            path_effects=[withStroke(linewidth=2.2, foreground="white")],
        )
