"""A page to look at a dataset with: boxes of every class drawn into pictures, distributions, and what a check found.

One HTML file that needs no network and no script, in the style of the report page (report.css).
"""

from __future__ import annotations

import base64
import io
import os
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
import pandas as pd

from detection.report_text import clock, count, safe, table
from linking.files import replace_when_whole
from linking.records import Tube
from linking.table_checks import BOX_COLUMNS
from video.clips import ClipReader
from video.dataset_checks import CheckedDataset
from video.dataset_findings import KINDS, Finding
from video.dataset_statistics import Spread, Statistics
from video.drawing import marks_at
from video.folds import source_of
from video.marks import Mark, draw_marks
from video.source import VideoError
from video.thumbnails import HEIGHT, MAX_WIDTH, shrunk

MAX_CLASSES = 60
"""Classes with pictures, the most frequent first."""
MAX_SHOWN = 20
"""Findings of a kind that are listed on the page."""
_QUALITY = 82


@dataclass(frozen=True)
class Example:
    """A frame of a tube, its box drawn in."""

    video: str
    frame: int
    tube: int
    width: int
    height: int
    jpeg: bytes


def write_dataset_page(path: str | os.PathLike[str], checked: CheckedDataset, *, thumbnails: int = 6) -> None:
    """Write the page to ``path``, whole or not at all, with at most ``thumbnails`` pictures of each class."""
    examples = examples_of(checked, thumbnails)
    with replace_when_whole(path) as temporary:
        temporary.write_text(dataset_page(checked, examples), encoding="utf-8")


def examples_of(checked: CheckedDataset, number: int) -> dict[str, list[Example]]:
    """For each class pictures of tubes from as many videos as can be, from their middles; the same every time.

    The other boxes of the frame are drawn thin. Videos that cannot be read have no pictures.
    """
    rows = checked.classes
    rows = rows[rows["video"].isin(list(checked.videos.facts))]
    chosen = [
        (one.name, video, tube, frame)
        for one in checked.statistics.classes[:MAX_CLASSES]
        for video, tube, frame in _chosen(rows[rows["label"] == one.name], number, checked.description.group)
    ]
    by_video: dict[str, list[tuple[str, int, int]]] = {}
    for name, video, tube, frame in chosen:
        by_video.setdefault(video, []).append((name, tube, frame))
    found: dict[tuple[str, str, int], Example] = {}
    for video, wanted in by_video.items():
        try:
            pictures = _pictures(checked, video, sorted({frame for _, _, frame in wanted}))
        except (VideoError, OSError):
            continue
        own = rows[rows["video"] == video]
        for name, tube, frame in wanted:
            if frame in pictures:
                found[name, video, tube] = _drawn(checked, own, video, tube, frame, pictures[frame])
    result: dict[str, list[Example]] = {}
    for name, video, tube, _ in chosen:
        if (name, video, tube) in found:
            result.setdefault(name, []).append(found[name, video, tube])
    return result


def _chosen(rows: pd.DataFrame, number: int, group: str | None) -> list[tuple[str, int, int]]:
    """Video, tube and its middle frame, of different sources and videos first."""
    pairs = rows[["video", "tube"]].drop_duplicates().itertuples(index=False)
    tubes = [(str(video), int(tube)) for video, tube in pairs]
    random.Random(0).shuffle(tubes)
    seen: Counter[str] = Counter()
    turn = []
    for video, _ in tubes:
        source = f"source {source_of(video, group)}"
        turn.append((seen[video], seen[source]))
        seen.update((video, source))
    order = sorted(range(len(tubes)), key=lambda k: turn[k])[:number]
    picked = {tubes[k] for k in order}
    keys = list(zip(rows["video"], rows["tube"]))
    frames: dict[tuple[str, int], list[int]] = {}
    for key, frame in zip(keys, rows["frame"]):
        if key in picked:
            frames.setdefault(key, []).append(int(frame))
    return [(*tubes[k], sorted(frames[tubes[k]])[len(frames[tubes[k]]) // 2]) for k in order]


def _pictures(checked: CheckedDataset, video: str, frames: Sequence[int]) -> dict[int, np.ndarray]:
    reader = ClipReader(checked.videos.paths[video])
    there = [frame for frame in frames if frame < reader.num_frames]
    return dict(zip(there, reader.read(there))) if there else {}


def _drawn(
    checked: CheckedDataset, own: pd.DataFrame, video: str, tube: int, frame: int, picture: np.ndarray
) -> Example:
    height, width = picture.shape[:2]
    known = checked.rows.known.get(video, {})
    stretch = np.array([width / (known.get("width") or width), height / (known.get("height") or height)] * 2)
    here = own[own["frame"] == frame]
    tubes = [
        Tube(str(label), np.array([frame]), (box * stretch)[None], id=int(number))
        for number, label, *box in here[["tube", "label", *BOX_COLUMNS]].itertuples(index=False)
        if np.isfinite(box).all()
    ]
    scale = min(HEIGHT / height, MAX_WIDTH / width)
    small = shrunk(picture, scale)
    marks = [Mark(mark.box, (255, 255, 255), thin=True) for mark in marks_at([t for t in tubes if t.id != tube], frame)]
    marks += [Mark(mark.box, mark.colour) for mark in marks_at([t for t in tubes if t.id == tube], frame)]
    draw_marks(small, marks, scale=scale)
    file = io.BytesIO()
    small.save(file, "JPEG", quality=_QUALITY)
    return Example(video, frame, tube, *small.size, file.getvalue())


def dataset_page(checked: CheckedDataset, examples: dict[str, list[Example]]) -> str:
    """The page as text; all text from the data is escaped."""
    style = files("detection").joinpath("report.css").read_text(encoding="utf-8")
    style += files("detection").joinpath("dataset_page.css").read_text(encoding="utf-8")
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    title = safe(checked.description.name)
    numbers = checked.statistics
    return (
        f"<!doctype html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n<title>{title}</title>\n"
        f'<meta http-equiv=Content-Security-Policy content="{policy}">\n'
        '<meta name=viewport content="width=device-width, initial-scale=1">\n'
        '<meta name=color-scheme content="light dark">\n'
        f"<style>{style}</style>\n</head>\n<body class=dataset>\n<header><h1>{title}</h1>\n"
        f"<p class=facts>{_summary(numbers)}</p></header>\n<main>\n"
        f"{_findings(checked)}{_numbers(numbers)}{_classes(numbers, examples)}</main>\n</body>\n</html>\n"
    )


def _summary(numbers: Statistics) -> str:
    facts = [
        count(numbers.videos, "video"),
        clock(numbers.seconds),
        count(len(numbers.classes), "class", "classes"),
        count(numbers.tubes, "tube"),
        count(numbers.boxes, "box", "boxes"),
        *(f"{safe(part)} {count(videos, 'video')}" for part, videos in numbers.videos_by_part.items()),
    ]
    return " · ".join(facts)


def _findings(checked: CheckedDataset) -> str:
    groups = checked.findings.groups()
    if not groups:
        return "<h2>Findings</h2>\n<p>Nothing found to correct.</p>\n"
    errors, warnings = checked.findings.number("error"), checked.findings.number("warning")
    parts = [f"<h2>Findings</h2>\n<p class=facts>{count(errors, 'error')}, {count(warnings, 'warning')}</p>\n"]
    for severity, kind, number, found in groups:
        about = KINDS[kind]
        items = "".join(f"<li>{_finding(one)}" for one in found[:MAX_SHOWN])
        more = f"<p class=note>and {number - MAX_SHOWN} more</p>" if number > MAX_SHOWN else ""
        is_open = " open" if severity == "error" else ""
        parts.append(
            f"<details class={severity}{is_open}><summary><b>{severity}</b> {safe(about.title)} "
            f"<span class=number>{number}</span></summary>\n<p class=note>{safe(about.advice)}</p>\n"
            f"<ul>{items}</ul>{more}</details>\n"
        )
    return "".join(parts)


def _finding(one: Finding) -> str:
    place = f"<code>{safe(one.place)}</code> " if one.place else ""
    return f"{place}{safe(str(one).removeprefix(f'{one.place}: '))}"


def _numbers(numbers: Statistics) -> str:
    charts = [
        ("Height of boxes", "% of the picture", numbers.box_height),
        ("Width of boxes", "% of the picture", numbers.box_width),
        ("Length of tubes", "frames", numbers.tube_frames),
        ("Actors in a frame", "where any", numbers.actors),
    ]
    drawn = "".join(_histogram(title, unit, spread) for title, unit, spread in charts if spread is not None)
    shapes = ", ".join(f"{width} × {height} ({times})" for width, height, times in numbers.picture_sizes[:6])
    rates = ", ".join(f"{rate:g} ({times})" for rate, times in numbers.frame_rates[:6])
    facts = f"Pictures: {shapes or '–'}. Frames a second: {rates or '–'}."
    if numbers.annotated_share is not None:
        facts += f" {100 * numbers.annotated_share:.0f} % of the frames have a box."
    return f"<h2>Numbers</h2>\n<p class=facts>{facts}</p>\n<div class=charts>{drawn}</div>\n"


def _histogram(title: str, unit: str, spread: Spread) -> str:
    """Bars as a picture of 240 x 80 units; numbers stand beside it for those who do not see it."""
    most = max(spread.counts)
    width = 240 / len(spread.counts)
    bars = "".join(
        f'<rect x="{k * width + 0.5:.1f}" y="{80 - 78 * amount / most:.1f}" width="{width - 1:.1f}" '
        f'height="{78 * amount / most:.1f}"><title>{_bin(spread, k)}: {amount}</title></rect>'
        for k, amount in enumerate(spread.counts)
    )
    low, median, high = (f"{spread.quantiles[k]:.3g}" for k in (0, 2, 4))
    words = f"{title}, {unit}: {low} to {high}, median {median}"
    return (
        f'<figure class=chart><figcaption><b>{title}</b>, {unit}</figcaption><svg viewBox="0 0 240 80" role=img '
        f'aria-label="{safe(words)}">{bars}</svg><div class=ends><span>{low}</span>'
        f"<span>median {median}</span><span>{high}</span></div></figure>"
    )


def _bin(spread: Spread, k: int) -> str:
    low, high = spread.edges[k], spread.edges[k + 1]
    if high - low == 1 and low % 1 == 0.5:
        return f"{low + 0.5:g}"
    return f"{low:.3g} to {high:.3g}"


def _classes(numbers: Statistics, examples: dict[str, list[Example]]) -> str:
    if not numbers.classes:
        return ""
    most = numbers.classes[0].tubes
    parts = list(numbers.videos_by_part)
    rows = [
        [
            f'<a href="#class-{place}">{safe(one.name)}</a>',
            f'<span class=amount style="--share:{100 * one.tubes / most:.1f}%">{one.tubes}</span>',
            *(str(one.by_part.get(part, 0)) for part in parts),
            str(one.videos),
            str(one.sources),
            f"{one.median_frames:g}",
        ]
        for place, one in enumerate(numbers.classes)
    ]
    head = ["class", "tubes", *map(safe, parts), "videos", "sources", "frames of a tube"]
    sections = []
    for place, one in enumerate(numbers.classes):
        pictures = "".join(_picture(example) for example in examples.get(one.name, []))
        strip = f"<div class=strip tabindex=0>{pictures}</div>" if pictures else "<p class=note>no pictures</p>"
        sections.append(
            f"<section class=actor id=class-{place}><h3>{safe(one.name)}</h3>"
            f"<p class=note>{count(one.tubes, 'tube')} in {count(one.videos, 'video')}</p>{strip}</section>\n"
        )
    return f"<h2>Classes</h2>\n{table(head, rows, kind='classes-table')}\n{''.join(sections)}"


def _picture(example: Example) -> str:
    data = base64.b64encode(example.jpeg).decode("ascii")
    words = safe(f"{example.video}, tube {example.tube}, frame {example.frame}")
    return (
        f'<figure class=thumbnail><img src="data:image/jpeg;base64,{data}" width={example.width} '
        f'height={example.height} alt="{words}"><figcaption>{safe(example.video)}<br>tube {example.tube}, '
        f"frame {example.frame}</figcaption></figure>"
    )
