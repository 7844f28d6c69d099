"""A check of a whole dataset before anybody trains on it: what is wrong, and what is in it."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from linking.records import Tube
from linking.table_checks import BOX_COLUMNS
from video.dataset_box_checks import check_boxes
from video.dataset_description import Description, names_by_part
from video.dataset_findings import Findings
from video.dataset_label_checks import check_labels
from video.dataset_rows import DatasetRows, read_rows
from video.dataset_statistics import Statistics, statistics_of
from video.dataset_video_checks import DatasetVideos, find_copies, look_at_videos
from video.datasets import describe
from video.described import format_options_of
from video.folds import source_of


@dataclass(frozen=True)
class CheckedDataset:
    """What a check saw."""

    description: Description
    rows: DatasetRows
    videos: DatasetVideos
    parts: dict[str, tuple[str, ...]]
    """Videos of "train" and "test"; empty where none are described."""
    statistics: Statistics
    findings: Findings

    @property
    def classes(self) -> pd.DataFrame:
        """The rows under the classes that training sees, those left out left out; the index is that of ``rows``."""
        return _as_meant(self.rows.table, self.description)

    def tubes_of(self, video: str) -> list[Tube]:
        """The tubes of one video under the classes that training sees, in pixels as annotated."""
        table = self.classes
        own = table[table["video"] == video]
        return [
            Tube(
                str(rows["label"].iloc[0]), rows["frame"].to_numpy(), rows[list(BOX_COLUMNS)].to_numpy(), id=int(number)
            )
            for number, rows in own.groupby("tube")
        ]

    def as_json(self) -> dict[str, Any]:
        return {
            "dataset": self.description.name,
            "place": str(self.description.place),
            "errors": self.findings.number("error"),
            "warnings": self.findings.number("warning"),
            "findings": self.findings.as_json(),
            "statistics": self.statistics.as_json(),
        }


def check_dataset(
    path: str | os.PathLike[str],
    *,
    deep: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> CheckedDataset:
    """Check the dataset that ``path``, a .toml or a folder, describes.

    Every video is opened and its packets are counted; where annotation ends near the last packet, and with ``deep``
    everywhere, every frame is decoded. ``progress(done, total)`` counts videos. Raises DatasetError where there is no
    dataset or its description is wrong; everything else that is wrong is in the findings.
    """
    findings = Findings()
    description = describe(Path(path))
    options, kind = format_options_of(description), description.format.get("kind")
    rows = read_rows(description.annotations, kind, options, findings)
    annotated = rows.videos
    parts = names_by_part(description, annotated) if annotated else {}
    if not parts and rows.splits:
        parts = {"train": rows.splits[0].train, "test": rows.splits[0].test}
    listed = frozenset(name for names in parts.values() for name in names) - set(annotated)
    names = [*annotated, *sorted(listed)]
    videos = look_at_videos(description.videos, names, rows, findings, listed=listed, deep=deep, progress=progress)
    sizes = {name: (seen.width, seen.height) for name, seen in videos.facts.items()}
    sizes |= {
        name: (facts["width"], facts["height"])
        for name, facts in rows.known.items()
        if facts.get("width") and facts.get("height")
    }
    lengths = {name: seen.num_frames for name, seen in videos.facts.items()}
    counted = {name: seen.is_counted for name, seen in videos.facts.items()}
    check_boxes(rows, sizes, lengths, counted, findings)
    if len(rows.table):
        check_labels(rows, description, parts, findings)
    elif not findings.number("error"):
        findings.add("error", "annotation-unreadable", "it holds no box", file=str(description.annotations[0]))
    _check_parts(rows, videos, parts, listed, description, findings)
    find_copies(videos, _part_of(parts), findings, deep=deep)
    source = partial(source_of, group=description.group)
    table = _as_meant(rows.table, description)
    statistics = statistics_of(table, names, videos.facts, sizes, parts, source)
    return CheckedDataset(description, rows, videos, parts, statistics, findings)


def _as_meant(table: pd.DataFrame, description: Description) -> pd.DataFrame:
    names = {label: description.class_of(label) for label in table["label"].unique()}
    meant = table["label"].map(names)
    return table.assign(label=meant)[meant.notna()]


def _part_of(parts: Mapping[str, Sequence[str]]) -> dict[str, str]:
    return {name: part for part, names in parts.items() for name in names}


def _check_parts(
    rows: DatasetRows,
    videos: DatasetVideos,
    parts: Mapping[str, Sequence[str]],
    listed: frozenset[str],
    description: Description,
    findings: Findings,
) -> None:
    if not parts:
        return
    where = str(description.place)
    for name, times in Counter(name for names in parts.values() for name in names).items():
        if times > 1:
            findings.add("error", "part-overlap", repr(name[:100]), file=where, video=name)
    for name in sorted(listed):
        if name not in videos.paths:
            findings.add("error", "part-unknown", repr(name[:100]), file=where, video=name)
    with_tubes = set(rows.table["video"].unique())
    for part, names in parts.items():
        if not with_tubes.intersection(names):
            findings.add("error", "part-empty", f"{part!r} has {len(names)} videos and no tube", file=where)
    everywhere = {name for names in parts.values() for name in names}
    for name in rows.videos:
        if name not in everywhere:
            findings.add("warning", "part-none", repr(name[:100]), file=where, video=name)
    sources: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for part, names in parts.items():
        for name in names:
            sources[source_of(name, description.group)][part].append(name)
    for source, by_part in sorted(sources.items()):
        train, test = by_part.get("train", []), by_part.get("test", [])
        if set(train) - set(test) and set(test) - set(train):
            text = f"{source[:60]!r}: {train[0][:60]!r} to train on, {test[0][:60]!r} to test with"
            # by the names of well-known datasets it is a guess; by a pattern that was given it is not
            findings.add("error" if description.group else "warning", "part-source", text, file=where)
