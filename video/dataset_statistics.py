"""Numbers of a dataset: videos, seconds, tubes of each class, sizes of boxes, lengths of tubes, actors in a frame."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from linking.table_checks import BOX_COLUMNS
from video.video_facts import VideoFacts


@dataclass(frozen=True)
class ClassNumbers:
    name: str
    tubes: int
    videos: int
    sources: int
    """Different source videos."""
    by_part: dict[str, int]
    """Tubes in "train" and "test", where there are parts."""
    median_frames: float
    """Of its tubes."""


@dataclass(frozen=True)
class Spread:
    """Least, quarter, median, three quarters, most."""

    quantiles: tuple[float, float, float, float, float]
    counts: tuple[int, ...]
    """A histogram."""
    edges: tuple[float, ...]
    """One more than ``counts``."""

    @staticmethod
    def of(values: np.ndarray, bins: int = 12) -> Spread | None:
        """None where there are no values; whole numbers in few steps get a bin each."""
        if not len(values):
            return None
        low, high = float(values.min()), float(values.max())
        whole = np.issubdtype(values.dtype, np.integer)
        if whole and high - low < bins:
            edges = np.arange(low - 0.5, high + 1)
        else:
            edges = np.linspace(low, high if high > low else low + 1, bins + 1)
        counts = np.histogram(values, edges)[0]
        quantiles = np.quantile(values, (0, 0.25, 0.5, 0.75, 1)).tolist()
        return Spread(tuple(quantiles), tuple(counts.tolist()), tuple(edges.tolist()))


@dataclass(frozen=True)
class Statistics:
    videos: int
    """Annotated, or listed in a part."""
    readable: int
    frames: int
    """Of the readable ones."""
    seconds: float
    tubes: int
    boxes: int
    videos_by_part: dict[str, int]
    classes: tuple[ClassNumbers, ...]
    """By the number of their tubes."""
    box_height: Spread | None
    """Percent of the picture's height."""
    box_width: Spread | None
    """Percent of the picture's width."""
    tube_frames: Spread | None
    actors: Spread | None
    """Boxes in a frame that has any; a person with two actions counts once where the boxes are the same."""
    annotated_share: float | None
    """Of the frames of readable videos: those with a box."""
    picture_sizes: tuple[tuple[int, int, int], ...]
    """Width, height and number of videos, the most frequent first."""
    frame_rates: tuple[tuple[float, int], ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def statistics_of(
    table: pd.DataFrame,
    names: Sequence[str],
    facts: Mapping[str, VideoFacts],
    sizes: Mapping[str, tuple[int, int]],
    parts: Mapping[str, Sequence[str]],
    source: Callable[[str], str],
) -> Statistics:
    """Of boxes ``table`` (video, tube, label, frame, x1, y1, x2, y2) in the videos ``names``.

    ``sizes``: pictures as annotated; ``source`` names what a video was cut from.
    """
    tubes = table.groupby(["video", "tube"], sort=False).agg(label=("label", "first"), frames=("frame", "size"))
    tubes = tubes.reset_index()
    member = {name: part for part, inside in parts.items() for name in inside}
    classes = []
    for name, own in tubes.groupby("label"):
        of_part = own["video"].map(member).value_counts().to_dict()
        classes.append(
            ClassNumbers(
                name=str(name),
                tubes=len(own),
                videos=own["video"].nunique(),
                sources=len({source(video) for video in own["video"].unique()}),
                by_part={part: int(of_part.get(part, 0)) for part in parts},
                median_frames=float(own["frames"].median()),
            )
        )
    size = np.array([sizes.get(name, (np.nan, np.nan)) for name in table["video"]], float).reshape(-1, 2)
    boxes = table[list(BOX_COLUMNS)].to_numpy()
    percent = 100 * (boxes[:, 2:] - boxes[:, :2]) / size
    percent = percent[np.isfinite(percent).all(axis=1)]
    actors = table.drop_duplicates(["video", "frame", *BOX_COLUMNS]).groupby(["video", "frame"], sort=False).size()
    frames = sum(seen.num_frames for seen in facts.values())
    annotated = int(actors.index.get_level_values("video").isin(list(facts)).sum()) if len(actors) else 0
    shapes = pd.Series([(seen.width, seen.height) for seen in facts.values()], dtype=object).value_counts()
    rates = pd.Series([round(seen.fps, 2) for seen in facts.values()], dtype=float).value_counts()
    return Statistics(
        videos=len(names),
        readable=len(facts),
        frames=frames,
        seconds=float(sum(seen.seconds for seen in facts.values())),
        tubes=len(tubes),
        boxes=len(table),
        videos_by_part={part: len(inside) for part, inside in parts.items()},
        classes=tuple(sorted(classes, key=lambda one: (-one.tubes, one.name))),
        box_height=Spread.of(percent[:, 1]),
        box_width=Spread.of(percent[:, 0]),
        tube_frames=Spread.of(tubes["frames"].to_numpy(np.int64)),
        actors=Spread.of(actors.to_numpy(np.int64)),
        annotated_share=min(1.0, annotated / frames) if frames else None,
        picture_sizes=tuple((int(shape[0]), int(shape[1]), int(count)) for shape, count in shapes.items()),
        frame_rates=tuple((float(rate), int(count)) for rate, count in rates.items()),
    )


def statistics_text(numbers: Statistics) -> str:
    """A page of plain text."""
    lines = [
        f"{numbers.videos} videos ({numbers.readable} readable), {_time(numbers.seconds)}, {numbers.frames} frames, "
        f"{numbers.tubes} tubes, {numbers.boxes} boxes, {len(numbers.classes)} classes"
    ]
    if numbers.videos_by_part:
        lines.append("parts: " + ", ".join(f"{part} {count} videos" for part, count in numbers.videos_by_part.items()))
    if numbers.picture_sizes:
        shapes = [f"{width} x {height} ({count})" for width, height, count in numbers.picture_sizes[:4]]
        rates = [f"{rate:g} ({count})" for rate, count in numbers.frame_rates[:4]]
        lines.append(
            f"pictures: {', '.join(shapes)}{_more(numbers.picture_sizes)}; frames a second: {', '.join(rates)}"
            f"{_more(numbers.frame_rates)}"
        )
    if numbers.annotated_share is not None:
        lines.append(f"frames with a box: {100 * numbers.annotated_share:.0f} %")
    if numbers.classes:
        lines += ["", *_class_lines(numbers)]
    spreads = [
        ("box height, % of the picture", numbers.box_height),
        ("box width, % of the picture", numbers.box_width),
        ("frames of a tube", numbers.tube_frames),
        ("actors in a frame", numbers.actors),
    ]
    rows = [(title, spread) for title, spread in spreads if spread is not None]
    if rows:
        lines += ["", f"{'':30}{'least':>8}{'quarter':>9}{'median':>8}{'3 quart.':>9}{'most':>8}"]
        for title, spread in rows:
            values = [f"{value:.4g}" for value in spread.quantiles]
            lines.append(f"{title:30}{values[0]:>8}{values[1]:>9}{values[2]:>8}{values[3]:>9}{values[4]:>8}")
    return "\n".join(lines)


def _class_lines(numbers: Statistics) -> list[str]:
    parts = list(numbers.videos_by_part)
    width = min(40, max(5, *(len(one.name) for one in numbers.classes)))
    lines = [
        f"{'class':{width}}  tubes" + "".join(f"{part:>7}" for part in parts) + "  videos  sources  frames of a tube"
    ]
    for one in numbers.classes:
        name = one.name if len(one.name) <= width else one.name[: width - 3] + "..."
        lines.append(
            f"{name:{width}}{one.tubes:>7}"
            + "".join(f"{one.by_part.get(part, 0):>7}" for part in parts)
            + f"{one.videos:>8}{one.sources:>9}{one.median_frames:>18.4g}"
        )
    return lines


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} seconds"
    minutes = seconds / 60
    return f"{minutes:.1f} minutes" if minutes < 120 else f"{minutes / 60:.1f} hours"


def _more(values: Sequence[Any]) -> str:
    return f" and {len(values) - 4} others" if len(values) > 4 else ""
