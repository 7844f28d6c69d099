"""Figures of tubes: every tube as a body in x, y and time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from mpl_toolkits.mplot3d.art3d import Line3DCollection, Poly3DCollection

from linking.colours import tube_colour
from linking.files import replace_when_whole
from linking.records import Tube

FORMATS = (".png", ".pdf", ".svg")
_TRUTH_GREY, _DASHES = "0.35", (0, (3, 2))
_MAX_SLICES = 48
"""Cross-sections drawn of one tube; more make files of megabytes and no difference to the eye."""
_MAX_LEGEND, _MAX_LETTERS = 14, 20  # entries, letters of a label: what fits beside the figure


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
) -> None:
    """Save the figure of ``tube_figure`` as PNG (200 dpi), PDF or SVG, as the suffix of ``path`` says.

    The same tubes give the same file, byte for byte. ValueError for another suffix.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise ValueError(
            f"{path}: figures are written as {', '.join(FORMATS)}, not {path.suffix or 'without suffix'}"
        )
    # TrueType keeps the text of PDFs searchable and editable
    with mpl.rc_context({"pdf.fonttype": 42, "svg.hashsalt": "tubes"}):
        figure = tube_figure(
            tubes,
            ground_truth=ground_truth,
            width=width,
            height=height,
            num_frames=num_frames,
            fps=fps,
            title=title,
        )
        with replace_when_whole(path) as temporary:
            figure.savefig(temporary, dpi=200, metadata=_undated(path.suffix.lower()))


def tube_figure(
    tubes: Sequence[Tube],
    *,
    ground_truth: Sequence[Tube] | None = None,
    width: float | None = None,
    height: float | None = None,
    num_frames: int | None = None,
    fps: float | None = None,
    title: str = "",
) -> Figure:
    """``tubes`` as coloured bodies over time, ``ground_truth`` as dashed grey wires.

    ``width``, ``height`` (pixels) and ``num_frames`` set the ends of the axes; without them the boxes do. ``fps`` adds
    seconds to the time axis. Interpolated parts of a tube (boxes without a score inside a scored tube) are paler.
    Colours are those of the annotated video.
    """
    truth = ground_truth or ()
    figure = Figure(figsize=(8.6, 4.1))
    axes = figure.add_axes((0.0, -0.02, 0.67, 1.02), projection="3d")
    _set_axes(axes, [*tubes, *truth], width, height, num_frames, fps)
    for tube in truth:
        _draw_wires(axes, tube)
    for tube in tubes:
        _draw_body(axes, tube)
    _add_legend(figure, tubes, truth)
    if title:
        figure.text(0.02, 0.965, title, fontsize=10, weight="bold", va="top", parse_math=False)
    return figure


def _draw_body(axes: Any, tube: Tube) -> None:
    """Four walls between neighbouring cross-sections, both ends, and the edges along the time."""
    colour = np.array(tube_colour(tube.id)) / 255
    scores = np.asarray(tube.scores)
    guessed = np.isnan(scores) & ~np.isnan(scores).all()
    for run in _runs(tube):
        places, corners = _slices(tube, run)
        following = np.roll(corners, -1, axis=1)
        walls = np.stack([corners[:-1], following[:-1], following[1:], corners[1:]], axis=2).reshape(-1, 4, 3)
        pale = (guessed[places[:-1]] | guessed[places[1:]]).repeat(4)
        faces = [(*colour, 0.07 if light else 0.22) for light in pale]
        rim = (*colour * 0.75, 0.9)
        _add(axes, Poly3DCollection(walls, facecolors=faces, edgecolors="none"))
        _add(
            axes,
            Poly3DCollection(corners[[0, -1]], facecolors=(*colour, 0.35), edgecolors=[rim], linewidths=1.1),
        )
        _add(axes, Line3DCollection([corners[:, k] for k in range(4)], colors=[rim], linewidths=0.8))


def _draw_wires(axes: Any, tube: Tube) -> None:
    for run in _runs(tube):
        _, corners = _slices(tube, run)
        lines = [corners[:, corner] for corner in range(4)]
        lines += [np.concatenate([end, end[:1]]) for end in corners[[0, -1]]]
        _add(axes, Line3DCollection(lines, colors=_TRUTH_GREY, linewidths=0.9, linestyles=_DASHES))


def _add(axes: Any, collection: Poly3DCollection | Line3DCollection) -> None:
    collection.set_clip_on(False)  # the zoomed drawing is larger than the rectangle of its axes
    axes.add_collection3d(collection)


def _runs(tube: Tube) -> list[np.ndarray]:
    """Places in ``tube`` without holes in time between them; ground truth may have holes."""
    return np.split(np.arange(len(tube)), np.flatnonzero(np.diff(tube.frames) > 1) + 1)


def _slices(tube: Tube, run: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cross-sections along a run: their places (n,) in the tube, and corners (n, 4, 3) as time, x, y, once around."""
    places = run[np.unique(np.linspace(0, len(run) - 1, _MAX_SLICES).round().astype(int))]
    times = tube.frames[places].astype(float)
    if len(places) == 1:  # a single frame is drawn as long as it lasts
        places, times = np.repeat(places, 2), times + np.array([0.0, 1.0])
    x1, y1, x2, y2 = tube.boxes[places].T
    around = ((x1, y1), (x2, y1), (x2, y2), (x1, y2))
    return places, np.stack([np.stack([times, x, y], axis=1) for x, y in around], axis=1)


def _set_axes(
    axes: Any,
    tubes: Sequence[Tube],
    width: float | None,
    height: float | None,
    num_frames: int | None,
    fps: float | None,
) -> None:
    boxes = np.concatenate([np.zeros((0, 4)), *(tube.boxes for tube in tubes)])
    width = width or (float(boxes[:, 2].max()) if len(boxes) else 1.0)
    height = height or (float(boxes[:, 3].max()) if len(boxes) else 1.0)
    frames = num_frames or max((tube.end_frame for tube in tubes), default=1)
    axes.set(xlim=(0, frames), ylim=(0, width), zlim=(height, 0))
    # tall pictures must not make the time axis shrink
    tall = min(height / width, 1.2)
    axes.set_box_aspect((2.0, 1.0, tall), zoom=1.2 / max(1.0, 0.75 * tall + 0.25))
    axes.view_init(elev=18, azim=-60)
    axes.set_xlabel("frame, seconds" if fps else "frame", labelpad=14 if fps else 5)
    axes.set_ylabel("x (pixels)", labelpad=3)
    axes.set_zlabel("y (pixels)", labelpad=3)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    axes.zaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.tick_params(labelsize=8)
    for label in (axes.xaxis.label, axes.yaxis.label, axes.zaxis.label):
        label.set_size(9)
    if fps:
        axes.xaxis.set_major_formatter(lambda frame, _: f"{frame:g}\n{frame / fps:.1f} s")
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.pane.set_facecolor((0.97, 0.97, 0.97, 1.0))
        axis._axinfo["grid"].update(color=(0.85, 0.85, 0.85, 1.0), linewidth=0.5)


def _add_legend(figure: Figure, tubes: Sequence[Tube], truth: Sequence[Tube]) -> None:
    entries: list[tuple[Patch | Line2D, str]] = []
    for tube in tubes[:_MAX_LEGEND]:
        colour = np.array(tube_colour(tube.id)) / 255
        score = "" if np.isnan(tube.score) else f" {tube.score:.2f}"
        patch = Patch(facecolor=(*colour, 0.5), edgecolor=tuple(colour * 0.75))
        entries.append((patch, f"#{tube.id} {_short(tube.label)}{score}"))
    if len(tubes) > _MAX_LEGEND:
        entries.append((Patch(alpha=0), f"and {len(tubes) - _MAX_LEGEND} more"))
    labels = sorted({tube.label for tube in truth})
    if labels:
        line = Line2D([], [], color=_TRUTH_GREY, linewidth=0.9, linestyle=_DASHES)
        shown = [_short(label) for label in labels[:3]] + [f"and {len(labels) - 3} more"] * (len(labels) > 3)
        entries.append((line, "\n".join(["ground truth:", *shown])))
    if entries:
        handles, names = zip(*entries)
        # a label may hold a dollar sign or an underscore without being a formula
        legend = figure.legend(
            handles, names, loc="upper right", bbox_to_anchor=(0.995, 0.96), frameon=False, fontsize=8
        )
        for text in legend.get_texts():
            text.set_parse_math(False)


def _short(label: str) -> str:
    label = " ".join(label.split())
    return label if len(label) <= _MAX_LETTERS else label[: _MAX_LETTERS - 1] + "…"


def _undated(suffix: str) -> dict[str, None]:
    """Metadata that make the same tubes the same file."""
    return {".pdf": {"CreationDate": None}, ".svg": {"Date": None}}.get(suffix, {})
