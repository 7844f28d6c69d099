"""Paper on which time, x and y are drawn in parallel projection: where points lie, the box of axes, frames as planes.

Parallel, so that equal lengths stay equal and a plane of one time is an affine picture, which PDF and SVG hold as an
ordinary raster. The eye is above, behind the last frame and at x = 0: later things are nearer and cover earlier ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.image import AxesImage
from matplotlib.patches import Polygon
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Affine2D

TIME_LENGTH = 2.9
"""Of the time axis; the longer side of the picture is 1."""
_TIME, _X, _Y = np.array([0.82, -0.15]), np.array([0.57, 0.21]), np.array([0.0, -0.965])
"""Where a unit of each axis leads on paper: azimuth −55°, elevation 15°."""
_GRID, _EDGE, _TEXT = "0.86", "0.45", "0.2"
_TICK_SIZE, _NAME_SIZE = 7.5, 8.5


@dataclass(frozen=True)
class TubeView:
    """The projection of a video of ``frames`` frames of ``width`` x ``height`` pixels."""

    frames: float
    width: float
    height: float

    def points(self, time: Any, x: Any, y: Any) -> np.ndarray:
        """(..., 2) places on paper of times in frames and pixels; arguments broadcast."""
        time, x, y = np.broadcast_arrays(*(np.asarray(value, float) for value in (time, x, y)))
        unit = 1 / max(self.width, self.height)
        return (
            time[..., None] * (_TIME * TIME_LENGTH / self.frames)
            + x[..., None] * (_X * unit)
            + y[..., None] * (_Y * unit)
        )

    def rectangle(self, time: float) -> np.ndarray:
        """(4, 2) corners of the picture at a time, once around from the upper left."""
        return self.points(time, [0, self.width, self.width, 0], [0, 0, self.height, self.height])

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Lower left and upper right of the box on paper."""
        corners = np.concatenate([self.rectangle(0), self.rectangle(self.frames)])
        return corners.min(axis=0), corners.max(axis=0)


def draw_box(axes: Any, view: TubeView, fps: float | None) -> None:
    """The three walls behind everything, with grids, and the ticks and names of the axes in front."""
    times, time_name, name_of = _time_ticks(view.frames, fps)
    longer = max(view.width, view.height)
    xs, ys = (_ticks(length, max(1, round(4 * length / longer))) for length in (view.width, view.height))
    end, width, height = view.frames, view.width, view.height
    for wall in (
        view.points([0, end, end, 0], [0, 0, width, width], height),  # the floor
        view.points([0, end, end, 0], width, [0, 0, height, height]),  # behind
        view.rectangle(0),
    ):
        axes.add_patch(Polygon(wall, facecolor="0.975", edgecolor=_GRID, linewidth=0.6, zorder=0))
    lines = [view.points([t, t], [0, width], height) for t in times]
    lines += [view.points([t, t], width, [0, height]) for t in times]
    lines += [view.points([0, end], x, height) for x in xs] + [view.points(0, x, [0, height]) for x in xs]
    lines += [view.points([0, end], width, y) for y in ys] + [view.points(0, [0, width], y) for y in ys]
    axes.add_collection(LineCollection(lines, colors=_GRID, linewidths=0.5, zorder=0), autolim=False)
    edges = [view.points([0, end], 0, height), view.points(end, [0, width], height), view.points(0, 0, [0, height])]
    axes.add_collection(LineCollection(edges, colors=_EDGE, linewidths=0.8, zorder=1), autolim=False)
    _label_axis(axes, [(view.points(t, 0, height), name_of(t)) for t in times], (-2, -5), time_name)
    _label_axis(axes, [(view.points(end, x, height), f"{x:g}") for x in xs], (6, -3), "x (pixels)")
    _label_axis(axes, [(view.points(0, 0, y), f"{y:g}") for y in ys], (-6, 0), "y (pixels)")


def draw_frame(axes: Any, view: TubeView, time: float, picture: np.ndarray, order: float, *, smooth: bool) -> None:
    """``picture``, (h, w, 3) uint8 RGB, as the plane of a time; ``smooth`` it is resampled, otherwise kept as it is."""
    rows, columns = picture.shape[:2]
    upper_left, upper_right, _, lower_left = view.rectangle(time)
    right, down = (upper_right - upper_left) / columns, (lower_left - upper_left) / rows
    place = Affine2D(np.array([[right[0], down[0], upper_left[0]], [right[1], down[1], upper_left[1]], [0, 0, 1]]))
    image = AxesImage(
        axes,
        extent=(0, columns, rows, 0),
        origin="upper",
        interpolation="hanning" if smooth else "none",
        interpolation_stage="rgba",
        zorder=order,
    )
    image.set_data(picture)
    image.set_transform(place + axes.transData)
    image.set_clip_on(False)
    axes.add_artist(image)
    corners = view.rectangle(time)
    axes.add_patch(Polygon(corners, fill=False, edgecolor="0.25", linewidth=0.6, zorder=order, joinstyle="miter"))


def set_limits(axes: Any, view: TubeView) -> None:
    """Axes that hold the box, of equal units, without a frame of their own."""
    low, high = view.bounds()
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
    axes.set_anchor("C")
    axes.set_axis_off()


def _label_axis(axes: Any, ticks: Sequence[tuple[np.ndarray, str]], offset: tuple[float, float], name: str) -> None:
    """Numbers beside an edge, ``offset`` points away from it, and the name of the axis further off."""
    across, down = offset
    side = "right" if across < 0 else "left"
    for place, text in ticks:
        _write(axes, place, text, offset, side if down == 0 or across > 0 else "center", _TICK_SIZE)
    first, last = ticks[0][0], ticks[-1][0]
    middle = (first + last) / 2
    turn = np.degrees(np.arctan2(*(last - first)[::-1])) if down else 90.0
    far = (across * 2.5 if down else across - 20, down * 4)
    if down:
        far = (across * 3.2 if across > 0 else -4.0, down * 3.6 if across < 0 else down * 5.5)
    _write(axes, middle, name, far, "center", _NAME_SIZE, rotation=turn)


def _write(
    axes: Any, place: np.ndarray, text: str, offset: tuple[float, float], side: str, size: float, rotation: float = 0
) -> None:
    axes.annotate(
        text,
        place,
        offset,
        textcoords="offset points",
        ha=side,
        va="center" if rotation or offset[1] == 0 else "top",
        fontsize=size,
        color=_TEXT,
        rotation=rotation,
        rotation_mode="anchor" if rotation else None,
        annotation_clip=False,
        zorder=1,
    )


def _ticks(length: float, count: int) -> list[float]:
    values = MaxNLocator(count, integer=True, steps=[1, 2, 2.5, 5, 10]).tick_values(0, length)
    return [float(value) for value in values if 0 <= value <= length]


def _time_ticks(frames: float, fps: float | None) -> tuple[list[float], str, Callable[[float], str]]:
    """Times in frames at which there are ticks, the name of the axis, and how a time is written."""
    if not fps:
        return _ticks(frames, 6), "frame", lambda time: f"{time:g}"
    seconds = frames / fps
    if seconds < 180:
        values = MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]).tick_values(0, seconds)
        return [v * fps for v in values if 0 <= v <= seconds], "time (seconds)", lambda t: f"{t / fps:.6g}"
    step = next(s for s in _long_steps() if seconds / s <= 6)
    count = int(seconds / step) + 1
    return [k * step * fps for k in range(count)], "time (min:s)", lambda t: _minutes(t / fps)


def _long_steps() -> Iterator[int]:
    yield from (30, 60, 120, 300, 600, 1200, 1800)
    step = 3600
    while True:
        yield step
        step *= 2


def _minutes(seconds: float) -> str:
    return f"{int(round(seconds) // 60)}:{int(round(seconds) % 60):02d}"
