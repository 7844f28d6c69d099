"""The timeline of the report page: a lane an actor, its tubes as bars, score curves over them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from detection.report_records import Curve, Lane, Run, TrueTube, VideoReport
from detection.report_text import clock, colour, count, jump, number, safe, when
from linking.records import Tube

_MAX_POINTS = 300
"""Of a curve; longer ones are averaged, since a screen has no more columns for them."""
_FEW_LANES = 8
"""More are drawn lower."""
_STYLES = ("next", "third")


def timeline(video: VideoReport, player: str | None) -> str:
    """The timeline as HTML; tubes are links to ``player`` where there is one."""
    top = _top_score(video.lanes)
    beside, alone = _truth_by_lane(video)
    lanes = [_lane(lane, beside[place], video, player, top) for place, lane in enumerate(video.lanes)]
    lanes += [_missed(true, video, player) for true in alone]
    if not lanes:
        return "<p>No tubes.</p>"
    kind = "timeline crowd" if len(lanes) > _FEW_LANES else "timeline"
    return (
        f'<div class="{kind}" style="--now:0">\n{"".join(lanes)}{_axis(video)}</div>\n'
        f"<p class=legend>{_legend(video, top)}</p>"
    )


def curve_styles(lane: Lane) -> dict[str, str]:
    """How the curve of each class is drawn (a class of the style sheet), by label."""
    own = {run.tube.label for run in lane.runs}
    others = [curve.label for curve in lane.curves if curve.label not in own]
    return dict.fromkeys(own, "own") | dict(zip(others, _STYLES))


def runs_of_frames(frames: np.ndarray) -> list[tuple[int, int]]:
    """Ascending frame indices as half-open ranges without holes."""
    if len(frames) == 0:
        return []
    breaks = np.flatnonzero(np.diff(frames) > 1)
    starts, ends = frames[np.r_[0, breaks + 1]], frames[np.r_[breaks, len(frames) - 1]] + 1
    return list(zip(starts.tolist(), ends.tolist()))


def curve_path(curve: Curve, top: float, *, filled: bool = False) -> str:
    """An SVG path: x in frames, y from 0 (score ``top``) to 100 (score 0); boxes without a score are bridged.

    ``filled`` closes every piece along the ground. Pieces end where frames are missing.
    """
    scores = np.asarray(curve.scores, np.float64)
    known = ~np.isnan(scores)
    if not known.any():
        return ""
    heights = 100 - 100 * np.clip(np.interp(curve.frames, curve.frames[known], scores[known]) / top, 0, 1)
    block = math.ceil(len(scores) / _MAX_POINTS)
    pieces = []
    for start, end in runs_of_frames(curve.frames):
        row = int(np.searchsorted(curve.frames, start))
        part = heights[row : row + end - start]
        cuts = np.arange(0, len(part), block)
        means = np.add.reduceat(part, cuts) / np.diff(np.r_[cuts, len(part)])
        middles = start + (cuts + np.r_[cuts[1:], len(part)]) / 2
        points = [(start, means[0]), *zip(middles, means), (end, means[-1])]
        if filled:
            points = [(start, 100), *points, (end, 100)]
        pieces.append("M" + " ".join(f"{x:g},{y:.1f}" for x, y in points) + ("Z" if filled else ""))
    return "".join(pieces)


def _lane(lane: Lane, truth: Sequence[TrueTube], video: VideoReport, player: str | None, top: float) -> str:
    names = ", then ".join(
        jump(
            f"<i class=swatch></i>#{run.tube.id} {safe(run.tube.label)} <b>{number(run.tube.score)}</b>",
            player,
            _into(run.tube.first_frame, video.fps),
            attributes=f'class=name style="--tube:{colour(run.tube)}"',
        )
        for run in lane.runs
    )
    by_label = {curve.label: curve for curve in lane.curves}
    styles = curve_styles(lane)
    drawing = []
    for run in lane.runs:
        if run.tube.label in by_label:
            area = curve_path(_between(by_label[run.tube.label], run.tube), top, filled=True)
            drawing.append(f'<path class=area style="--tube:{colour(run.tube)}" d="{area}"/>')
    colours = {run.tube.label: f' style="--tube:{colour(run.tube)}"' for run in lane.runs}
    drawing += [
        f'<path class="curve {styles[curve.label]}"{colours.get(curve.label, "")} d="{curve_path(curve, top)}"/>'
        for curve in reversed(lane.curves)
        if curve.label in styles
    ]
    bars = [f'<span class=cut style="{_place(*part, video)}"></span>' for part in runs_of_frames(lane.cut)]
    bars += [_bar(run, video, player) for run in lane.runs]
    kind = "track beside" if truth else "track"
    return (
        f'<div class=lane><div class=who>{names}</div>\n<div class="{kind}">{"".join(bars)}'
        f'<svg viewBox="0 0 {video.num_frames} 100" preserveAspectRatio=none aria-hidden=true>'
        f"{''.join(drawing)}</svg>"
        f"{_true_bars(truth, video)}</div></div>\n"
    )


def _bar(run: Run, video: VideoReport, player: str | None) -> str:
    tube = run.tube
    said = safe(f"#{tube.id} {tube.label} {number(tube.score)}, {when(tube, video.fps)}")
    place = _place(tube.first_frame, tube.end_frame, video)
    attributes = f'class=tube data-tube={tube.id} style="{place};--tube:{colour(tube)}" title="{said}"'
    label = f'aria-label="Play tube {said}"' if player else f'role=img aria-label="Tube {said}"'
    return jump("", player, _into(tube.first_frame, video.fps), attributes=f"{attributes} {label}")


def _missed(true: TrueTube, video: VideoReport, player: str | None) -> str:
    """A lane for a tube of the ground truth that no prediction touches."""
    name = jump(
        f"missed: {safe(true.tube.label)}",
        player,
        _into(true.tube.first_frame, video.fps),
        attributes="class=name",
    )
    bars = _true_bars([true], video)
    return f'<div class=lane><div class=who>{name}</div>\n<div class="track alone">{bars}</div></div>\n'


def _true_bars(truth: Sequence[TrueTube], video: VideoReport) -> str:
    bars = []
    for true in truth:
        verdict = "missed" if true.found is None else f"IoU {true.iou:.2f} with #{true.found.id}"
        said = safe(f"ground truth: {true.tube.label}, {when(true.tube, video.fps)}, {verdict}")
        for part in runs_of_frames(true.tube.frames):
            bars.append(
                f'<span class="true {"" if true.found else "missed"}" role=img aria-label="{said}" title="{said}" '
                f'style="{_place(*part, video)}"></span>'
            )
    return "".join(bars)


def _truth_by_lane(video: VideoReport) -> tuple[list[list[TrueTube]], list[TrueTube]]:
    """Of each lane the tubes of the ground truth that come nearest to it; those without a lane."""
    lane_of = {tube.id: place for place, lane in enumerate(video.lanes) for run in lane.runs for tube in run.tubes}
    beside: list[list[TrueTube]] = [[] for _ in video.lanes]
    alone = []
    for true in video.truth or ():
        nearest = true.found or true.other
        if nearest is None or nearest.id not in lane_of:
            alone.append(true)
        else:
            beside[lane_of[nearest.id]].append(true)
    return beside, alone


def _axis(video: VideoReport) -> str:
    seconds = video.num_frames / video.fps
    step = _step(seconds)
    # the last tick is left out where its words would leave the page
    ticks = [step * k for k in range(int(seconds / step) + 1) if step * k <= 0.94 * seconds]
    marks = "".join(f'<span style="left:{100 * tick / seconds:.3f}%">{_tick(tick, step)}</span>' for tick in ticks)
    return f"<div class=lane aria-hidden=true><div class=who></div><div class=axis>{marks}</div></div>\n"


def _step(seconds: float) -> float:
    """A round number of seconds that divides a video into six parts at most."""
    tens = 10.0 ** math.floor(math.log10(seconds / 6))
    if seconds >= 360:
        return next(float(s) for s in (60, 120, 300, 600, 1200, 1800, 3600, 7200, 86400, 10**9) if seconds / s <= 6)
    return next(tens * k for k in (1, 2, 5, 10) if seconds / (tens * k) <= 6)


def _tick(seconds: float, step: float) -> str:
    if seconds < 60:
        return f"{seconds:.{max(0, -math.floor(math.log10(step)))}f} s"
    return clock(seconds).removesuffix(".0")


def _legend(video: VideoReport, top: float) -> str:
    """What the lanes show, no more than is there."""
    curves = [curve for lane in video.lanes for curve in lane.curves if not np.isnan(curve.scores).all()]
    styles = {style for lane in video.lanes for style in curve_styles(lane).values()}
    cut = sum(len(lane.cut) > 0 for lane in video.lanes)
    said = []
    if curves:
        said.append(f"Height: score of the tube’s class, 0 to {top:g}.")
    if "next" in styles:
        said.append("Thin lines: the next best classes of the actor.")
    if cut:
        said.append(f"<i class=cut></i> grey: trimmed away ({count(cut, 'actor')}).")
    if video.truth:
        said.append("<i class=true></i> ground truth.")
    return " ".join(said)


def _top_score(lanes: Sequence[Lane]) -> float:
    """Height of the tracks in scores, a round number: low scores have a shape too."""
    scores = [curve.scores for lane in lanes for curve in lane.curves]
    highest = float(np.nanmax(np.concatenate([np.zeros(1), *scores])))
    return next((top for top in (0.1, 0.2, 0.5, 1.0) if highest <= top), float(math.ceil(highest)))


def _between(curve: Curve, tube: Tube) -> Curve:
    inside = np.isin(curve.frames, tube.frames)
    return Curve(curve.label, curve.frames[inside], np.asarray(curve.scores)[inside])


def _into(frame: int, fps: float) -> float:
    """A second safely inside the time in which ``frame`` is shown."""
    return (frame + 0.5) / fps


def _place(first: int, end: int, video: VideoReport) -> str:
    share = 100 / video.num_frames
    return f"left:{first * share:.3f}%;width:{(end - first) * share:.3f}%"
