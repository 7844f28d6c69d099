"""The report of a run: one HTML page that needs no network and nothing beside it but large videos.

It is read on any screen, light or dark, by keyboard, and without JavaScript. Its policy (Content-Security-Policy)
lets no script run but its own, and nothing be loaded but pictures in the page and videos in it or beside it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import TypeGuard
from urllib.parse import quote

from detection.report_records import RunReport, VideoReport
from detection.report_section import Player, video_section
from detection.report_text import clock, count, safe, table
from linking.files import replace_when_whole

EMBED_BYTES = 15_000_000
"""Videos are put into the page, in order, as long as they are no larger than this together."""
_FEW_VIDEOS = 20
"""In longer pages browsers lay out only what is in sight."""


def write_report(path: str | os.PathLike[str], run: RunReport, *, embed_bytes: int = EMBED_BYTES) -> None:
    """Write the page to ``path``, whole or not at all; annotated videos are embedded or named relative to it."""
    page = Path(path)
    players: list[Player | None] = []
    room = embed_bytes
    for video in run.videos:
        player = None
        # a file that somebody has moved away during a long run is no reason to lose the page
        if video.annotated is not None and video.annotated.is_file():
            player = _player(video.annotated, page.parent, room)
            room -= player.num_bytes if player.embedded else 0
        players.append(player)
    with replace_when_whole(page) as temporary:
        temporary.write_text(html_report(run, players), encoding="utf-8")


def html_report(run: RunReport, players: Sequence[Player | None]) -> str:
    """The page as text; ``players`` are those of ``run.videos``. All text from the data is escaped."""
    style, script = _resource("report.css"), _resource("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    policy = (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:; "
        "media-src 'self' data: blob: file:; base-uri 'none'; form-action 'none'"
    )
    index = _index(run) if len(run.videos) + len(run.failed) > 1 else ""
    length = "long" if len(run.videos) > _FEW_VIDEOS else "short"
    failed = "".join(
        f"<p class=warning>{safe(name)} could not be done: {safe(cause)}</p>\n" for name, cause in run.failed.items()
    )
    sections = "".join(
        video_section(video, player, place) for place, (video, player) in enumerate(zip(run.videos, players), 1)
    )
    title = safe(run.title)
    return (
        f"<!doctype html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n<title>{title}</title>\n"
        f'<meta http-equiv=Content-Security-Policy content="{policy}">\n'
        '<meta name=viewport content="width=device-width, initial-scale=1">\n'
        '<meta name=color-scheme content="light dark">\n'
        f"<style>{style}</style>\n</head>\n<body>\n<header id=top><h1>{title}</h1>\n<p class=facts>{_summary(run)}</p>"
        f'</header>\n<main class="{length}">\n{failed}{index}{sections}{_timings(run)}{_provenance(run)}</main>\n'
        f"<script>{script}</script>\n</body>\n</html>\n"
    )


def _player(video: Path, folder: Path, room: int) -> Player:
    num_bytes = video.stat().st_size
    relative = Path(os.path.relpath(video, folder)).as_posix()
    if num_bytes <= room:
        kind = "webm" if video.suffix.lower() == ".webm" else "mp4"
        data = base64.b64encode(video.read_bytes()).decode("ascii")
        return Player(f"data:video/{kind};base64,{data}", relative, True, num_bytes)
    # quoted whole, so that neither "#" nor "?" nor "javascript:" in a name means anything
    return Player(f"./{quote(os.fsencode(relative))}", relative, False, num_bytes)


def _summary(run: RunReport) -> str:
    seconds = sum(video.num_frames / video.fps for video in run.videos)
    actors = sum(len(video.lanes) for video in run.videos)
    tubes = sum(len(video.tubes) for video in run.videos)
    facts = [count(len(run.videos), "video"), clock(seconds), count(actors, "actor"), count(tubes, "tube")]
    if run.failed:
        facts.append(f"{len(run.failed)} failed")
    return " · ".join(facts)


def _index(run: RunReport) -> str:
    rows = []
    for place, video in enumerate(run.videos, 1):
        names = list(dict.fromkeys(run_.tube.label for lane in video.lanes for run_ in lane.runs))
        rows.append(
            [
                f'<a href="#video-{place}">{safe(video.video)}</a>',
                clock(video.num_frames / video.fps),
                str(len(video.lanes)),
                safe(", ".join(names[:4])) + (" …" if len(names) > 4 else "") if names else "nothing found",
            ]
        )
    head = ["video", "length", "actors", "actions"]
    return f"<nav aria-label=Videos>\n<h2>Videos</h2>\n{table(head, rows, kind='index')}</nav>\n"


def _timings(run: RunReport) -> str:
    timed = [video for video in run.videos if video.seconds]
    if not timed:
        return ""
    stages = [stage for stage in timed[0].seconds if any(video.seconds[stage] for video in timed)]
    rows = [_timing_row(safe(video.video), [video], stages) for video in timed]
    total = _timing_row("all videos", timed, stages)
    head = ["video", "frames", *(f"{stage}, s" for stage in map(safe, stages)), "together, s", "frames a second"]
    if len(rows) == 1:
        return f"<h2>Timings</h2>\n{table(head, rows)}\n"
    each = f"<details><summary>Of each video</summary>\n{table(head, rows)}</details>"
    return f"<h2>Timings</h2>\n{table(head, [total])}\n{each}\n"


def _timing_row(name: str, videos: Sequence[VideoReport], stages: Sequence[str]) -> list[str]:
    frames = sum(video.num_frames for video in videos)
    seconds = [sum(video.seconds.get(stage, 0.0) for video in videos) for stage in stages]
    together = sum(seconds)
    rate = f"{frames / together:.1f}" if together else "–"
    return [name, str(frames), *(f"{value:.2f}" for value in seconds), f"{together:.2f}", rate]


def _provenance(run: RunReport) -> str:
    facts = [[safe(name), _value(value)] for name, value in run.provenance.items()]
    if not facts:
        return ""
    return f"<h2>What made these results</h2>\n{table(['', ''], facts, kind='provenance')}\n"


def _value(value: object) -> str:
    """A fact in a line or a few, or folded away where it is long."""
    parts = [part for part in (value if isinstance(value, list) else [value]) if _is_flat(part)]
    if parts and (parts[0] is value or parts == value):
        lines = (f"{safe(name)} <code>{safe(v)}</code>" for part in parts for name, v in part.items() if v is not None)
        return "<br>".join(lines)
    if isinstance(value, dict | list):
        text = json.dumps(value, indent=1, ensure_ascii=False)
        entries = count(len(value), "entry", "entries")
        return f"<details><summary>{entries}</summary><pre>{safe(text)}</pre></details>"
    return f"<code>{safe(value)}</code>"


def _is_flat(value: object) -> TypeGuard[dict]:
    return isinstance(value, dict) and not any(isinstance(part, dict | list) for part in value.values())


def _resource(name: str) -> str:
    return files("detection").joinpath(name).read_text(encoding="utf-8")
