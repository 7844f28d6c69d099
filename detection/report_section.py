"""The part of the report page that is about one video."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import numpy as np

from detection.report_records import Curve, Lane, Run, TrueTube, VideoReport
from detection.report_text import clock, colour, count, frames_text, jump, number, safe, size, table, when
from detection.report_timeline import curve_styles, runs_of_frames, timeline
from linking.records import Tube
from video.thumbnails import Thumbnail

_MAX_LANES = 100
"""Actors with a lane and a part of their own; the rest stands in the table."""


@dataclass(frozen=True)
class Player:
    """Where the page plays a video from."""

    source: str
    """A data URL, or an address relative to the page."""
    name: str
    """Where the video lies, for people to read."""
    embedded: bool
    num_bytes: int


def video_section(video: VideoReport, player: Player | None, place: int) -> str:
    """The section as HTML; ``place`` tells the videos of a page apart, from 1."""
    anchor = f"video-{place}"
    target = f"{anchor}-player" if player else None
    warnings = "".join(f"<p class=warning>{safe(text)}</p>\n" for text in video.warnings)
    shown = video.lanes[:_MAX_LANES]
    more = len(video.lanes) - len(shown)
    remark = f"<p>And {count(more, 'more actor')}; all tubes are in the table below.</p>\n" if more else ""
    kind = "actors" if any(run.thumbnails for lane in shown for run in lane.runs) else "actors plain"
    actors = "".join(_actor(lane, video, target, anchor) for lane in shown)
    return (
        f'<section class=video id="{anchor}" data-fps="{video.fps:.6f}" data-seconds="{_seconds(video):.4f}">\n'
        f"<h2>{safe(video.video)}</h2>\n<p class=facts>{_facts(video)}</p>\n{warnings}"
        f"{_player(video, player, target)}<h3>Who does what, when</h3>\n{timeline(video, target)}\n{remark}"
        f'<div class="{kind}">\n{actors}</div>\n'
        f"{_truth(video, target)}{_tubes(video, target)}</section>\n"
    )


def _facts(video: VideoReport) -> str:
    facts = [
        f"{video.width}×{video.height} pixels",
        count(video.num_frames, "frame"),
        f"{video.fps:g} a second",
        clock(_seconds(video)),
        count(len(video.lanes), "actor"),
    ]
    return " · ".join(facts[0 if video.width and video.height else 1 :])


def _player(video: VideoReport, player: Player | None, target: str | None) -> str:
    if player is None:
        return ""
    name = safe(player.name)
    if player.embedded:
        place = f"The video is part of this page ({size(player.num_bytes)})."
        failure = "This browser cannot play the video."
    else:
        place = (
            f"The video is not part of this page ({size(player.num_bytes)}): it is played from <code>{name}</code>, so "
            "keep the files together."
        )
        failure = f"The video cannot be played: is <code>{name}</code> still beside this page?"
    return (
        f'<figure class=player id="{target}"><video controls playsinline preload=metadata src="{safe(player.source)}" '
        f'aria-label="{safe(video.video)} with its tubes"></video>\n'
        f"<p class=warning hidden>{failure}</p>\n"
        f"<figcaption>{place} <span class=script-only>Click a tube to see it; a small picture to stop "
        "there.</span></figcaption></figure>\n"
    )


def _actor(lane: Lane, video: VideoReport, target: str | None, anchor: str) -> str:
    parts = [_run(run, lane, video, target, anchor) for run in lane.runs]
    cut = ", ".join(f"{clock(a / video.fps)} to {clock(b / video.fps)}" for a, b in runs_of_frames(lane.cut))
    remark = f"<p class=note>Trimmed away: {cut}.</p>\n" if cut else ""
    return f"<article class=actor>\n{''.join(parts)}{remark}</article>\n"


def _run(run: Run, lane: Lane, video: VideoReport, target: str | None, anchor: str) -> str:
    tube = run.tube
    interpolated = int(np.isnan(np.asarray(tube.scores)).sum())
    between = f", {interpolated} of them interpolated" if 0 < interpolated < len(tube) else ""
    second = (tube.first_frame + 0.5) / video.fps
    name = jump(f"<i class=swatch></i>#{tube.id} {safe(tube.label)}", target, second)
    strip = "".join(_thumbnail(picture, run, video, target) for picture in run.thumbnails)
    styles, shown = curve_styles(lane), {curve.label: curve for curve in lane.curves}
    rows = "".join(_class(*pair, styles.get(pair[0]), shown.get(pair[0])) for pair in run.classes[:3])
    return (
        f'<div class=run id="{anchor}-tube-{tube.id}" style="--tube:{colour(tube)}">\n<div>'
        f"<h4>{name} <b>{number(tube.score)}</b></h4>\n"
        f"<p class=note>{when(tube, video.fps)} · {frames_text(tube)} · "
        f"{count(len(tube), 'box', 'boxes')}{between}</p>\n"
        f'<table class=classes aria-label="Best classes">{rows}</table></div>\n'
        + (f"<div class=strip tabindex=0>{strip}</div>" if strip else "")
        + "</div>\n"
    )


def _class(label: str, score: float, style: str | None, curve: Curve | None) -> str:
    """A row of the best classes: name, bar, score, and how its curve is drawn."""
    width = 0.0 if np.isnan(score) else 100 * min(max(score, 0.0), 1.0)
    sample = ""
    if style and curve is not None and not np.isnan(curve.scores).all():
        sample = (
            f'<svg class=sample viewBox="0 0 24 8" aria-hidden=true><path class="curve {style}" d="M1,4H23"/></svg>'
        )
    return (
        f"<tr><th scope=row>{safe(label)}<td class=line>{sample}<td class=bar>"
        f'<span style="width:{width:.1f}%"></span><td>{number(score)}\n'
    )


def _thumbnail(picture: Thumbnail, run: Run, video: VideoReport, target: str | None) -> str:
    second = clock(picture.frame / video.fps)
    data = base64.b64encode(picture.jpeg).decode("ascii")
    said = safe(f"#{run.tube.id} {run.tube.label}, frame {picture.frame}")
    image = (
        f'<img src="data:image/jpeg;base64,{data}" width={picture.width} height={picture.height} alt="{said}">'
        f"<span>{second}</span>"
    )
    return jump(image, target, (picture.frame + 0.5) / video.fps, stay=True, attributes="class=thumbnail")


def _truth(video: VideoReport, target: str | None) -> str:
    if video.truth is None:
        return ""
    if not video.truth:
        return "<h3>Ground truth</h3>\n<p>It has no tube in this video.</p>\n"
    rows = [_true_row(true, video, target) for true in video.truth]
    head = ["ground truth", "when", "frames", "found as", "IoU", "other class", "IoU"]
    return f"<h3>Ground truth beside predictions</h3>\n{table(head, rows, kind='truth')}\n"


def _true_row(true: TrueTube, video: VideoReport, target: str | None) -> list[str]:
    first = true.tube.first_frame
    return [
        jump(safe(true.tube.label), target, (first + 0.5) / video.fps),
        when(true.tube, video.fps),
        f"{first}–{true.tube.end_frame - 1}",
        _named(true.found) if true.found else "<b class=missed>missed</b>",
        f"{true.iou:.2f}" if true.found else "–",
        _named(true.other) if true.other else "–",
        f"{true.other_iou:.2f}" if true.other else "–",
    ]


def _named(tube: Tube) -> str:
    return f'<i class=swatch style="--tube:{colour(tube)}"></i>#{tube.id} {safe(tube.label)}'


def _tubes(video: VideoReport, target: str | None) -> str:
    shown_with = {tube.id: run.tube for lane in video.lanes for run in lane.runs for tube in run.tubes}
    rows = []
    for tube in video.tubes:
        leader = shown_with[tube.id]
        rows.append(
            [
                jump(f"#{tube.id}", target, (tube.first_frame + 0.5) / video.fps),
                safe(tube.label),
                number(tube.score),
                clock(tube.first_frame / video.fps),
                clock(tube.end_frame / video.fps),
                f"{tube.first_frame}–{tube.end_frame - 1}",
                str(len(tube)),
                "–" if leader is tube else f"#{leader.id}",
            ]
        )
    if not rows:
        return ""
    head = ["tube", "action", "score", "from", "to", "frames", "boxes", "same actor as"]
    return f"<details><summary>All tubes as a table ({len(rows)})</summary>\n{table(head, rows)}</details>\n"


def _seconds(video: VideoReport) -> float:
    return video.num_frames / video.fps
