"""The legend beside the figure of tubes: colours, tubes with their scores, ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from eval.figure_files import fitted
from linking.colours import TRUTH, Colour
from linking.looks import Looks
from linking.records import Tube

LEGEND_WIDTH = 1.75
"""Inches of the page that it takes."""
MAX_LEGEND = 14
"""Tubes that are named."""
DASHES = (0, (3, 2))
"""Line style of ground truth."""
TRUTH_GREY = "0.3"
_LEGEND_SIZE = 7.5


def add_legend(figure: Figure, tubes: Sequence[Tube], truth: Sequence[Tube], looks: Looks) -> None:
    """Write it at the right: what colours mean, the best tubes, and what is true."""
    entries: list[tuple[Any, str]] = []
    best = sorted(tubes, key=lambda tube: (np.isnan(tube.score), -tube.score, tube.id))
    for tube in best[:MAX_LEGEND]:
        score = "" if np.isnan(tube.score) else f" {tube.score:.2f}"
        entries.append((_patch(looks.of(tube).colour), _entry(f"#{tube.id} ", tube.label, score)))
    if len(tubes) > MAX_LEGEND:
        entries.append((Patch(alpha=0), f"and {len(tubes) - MAX_LEGEND} more"))
    missed = [tube for tube in truth if looks.of_true(tube).word]
    labels = sorted({tube.label for tube in truth if not looks.of_true(tube).word})
    entries += [(_dashed(TRUTH_GREY), _entry("truth: ", label)) for label in labels[:3]]
    if len(labels) > 3:
        entries.append((Patch(alpha=0), f"and {len(labels) - 3} more"))
    for tube in missed[:3]:
        look = looks.of_true(tube)
        entries.append((_dashed(on_paper(look.colour)), _entry(f"{look.word}: ", tube.label)))
    if len(missed) > 3:
        entries.append((Patch(alpha=0), f"and {len(missed) - 3} more {looks.of_true(missed[3]).word}"))
    top = 0.96
    if looks.legend:
        # what is said of true tubes only stands below, with their labels
        meant = {look.colour for look in looks.tubes.values()}
        meanings = [(_patch(colour), name) for name, colour in looks.legend if colour in meant]
        top -= _legend(figure, meanings, top) + 0.02 if meanings else 0
    if entries:
        _legend(figure, entries, top)


def _entry(before: str, label: str, after: str = "") -> str:
    """A line of the legend, its label cut where the line is too long for the page."""
    room = 72 * LEGEND_WIDTH - 4.2 * _LEGEND_SIZE - 5.4 * len(before + after)
    return f"{before}{fitted(label, room, size=_LEGEND_SIZE)}{after}"


def _legend(figure: Figure, entries: Sequence[tuple[Any, str]], top: float) -> float:
    """Entries below each other at the right; the height they take, as a share of the figure."""
    handles, names = zip(*entries)
    left = 1 - LEGEND_WIDTH / figure.get_figwidth()
    legend = figure.legend(
        handles,
        names,
        loc="upper left",
        bbox_to_anchor=(left, top),
        frameon=False,
        fontsize=_LEGEND_SIZE,
        borderpad=0.1,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)  # a label may hold a dollar sign without being a formula
    return len(entries) * 0.155 / figure.get_figheight()


def _patch(colour: Colour) -> Patch:
    rgb = np.array(colour) / 255
    return Patch(facecolor=(*rgb, 0.55), edgecolor=tuple(rgb * 0.72), linewidth=0.8)


def _dashed(colour: Any) -> Line2D:
    return Line2D([], [], color=colour, linewidth=1.0, linestyle=DASHES)


def on_paper(colour: Colour) -> Any:
    """Ground truth is light on pictures and grey on paper."""
    return TRUTH_GREY if colour == TRUTH else tuple(np.array(colour) / 255)
