"""What can be wrong with labels: spellings, classes that nobody named, classes too rare to be learnt."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from difflib import SequenceMatcher
from itertools import combinations
from typing import Any

from video.dataset_description import Description
from video.dataset_findings import Findings, counted_as
from video.dataset_rows import DatasetRows
from video.folds import source_of

RARE_TUBES, RARE_SOURCES = 5, 2
"""Fewer tubes, or sources, of a class to train on are hardly enough to learn it."""
SIMILAR = 0.87
"""Share of equal letters (twice the matches by all letters) from which on two labels are nearly the same."""
_MAX_COMPARED = 500
"""Labels that are compared with each other; more are no list of actions."""


def check_labels(
    rows: DatasetRows, description: Description, parts: Mapping[str, Sequence[str]], findings: Findings
) -> None:
    """``parts`` names the videos of "train" and "test"; empty where all are for training."""
    tubes = rows.table.drop_duplicates(["video", "tube"])
    first_row = {label: int(row) for row, label in tubes["label"][::-1].items()}
    labels = Counter(tubes["label"])

    def place(label: str) -> dict[str, Any]:
        at = rows.place(first_row[label])
        return {"file": at["file"], "line": at["line"]}

    meant = {label: description.rename.get(label, label) for label in labels}
    spellings = defaultdict(list)
    for label in sorted(labels):
        spellings[_plain(meant[label])].append(label)
    for found in spellings.values():
        if len({meant[label] for label in found}) > 1:
            ordered = sorted(found, key=lambda label: -labels[label])
            names = " and ".join(f"{label!r} ({counted_as(labels[label], 'tube')})" for label in ordered)
            findings.add("error", "label-spelling", f"{names} differ in spelling only", **place(ordered[-1]))
    classes = sorted({description.class_of(label) or "" for label in labels} - {""})
    for a, b in combinations(classes[:_MAX_COMPARED], 2):
        if _plain(a) != _plain(b) and _are_similar(a, b):
            rarer = min((label for label in labels if meant[label] in (a, b)), key=lambda label: labels[label])
            findings.add("warning", "label-similar", f"{a!r} and {b!r}", **place(rarer))
    _named(labels, description, rows, findings, place)
    _rare(rows, description, parts, findings)


def _named(
    labels: Counter[str],
    description: Description,
    rows: DatasetRows,
    findings: Findings,
    place: Callable[[str], dict[str, Any]],
) -> None:
    """Labels against what the description (or the format) names."""
    names = description.class_names or (None if description.keep else rows.class_names)
    for label in sorted(labels):
        name = description.class_of(label)
        if names is not None and name is not None and name not in names:
            findings.add("error", "label-unknown", f"{name!r} ({counted_as(labels[label], 'tube')})", **place(label))
    have = {description.class_of(label) for label in labels}
    for key, wanted in (("class_names", description.class_names or ()), ("keep", description.keep or ())):
        for name in wanted:
            if name not in have:
                findings.add("warning", "label-unused", f"{key}: {name!r}", file=str(description.place))
    for old in description.rename:
        if old not in labels:
            findings.add("warning", "label-unused", f"rename: {old!r}", file=str(description.place))


def _rare(rows: DatasetRows, description: Description, parts: Mapping[str, Sequence[str]], findings: Findings) -> None:
    tubes = rows.table.drop_duplicates(["video", "tube"])
    train = set(parts["train"]) if parts else None
    counts: dict[str, dict[str, list[str]]] = defaultdict(lambda: {"train": [], "test": []})
    test = set(parts["test"]) if parts else set()
    for video, label in zip(tubes["video"], tubes["label"]):
        name = description.class_of(label)
        if name is not None and (train is None or video in train):
            counts[name]["train"].append(video)
        if name is not None and video in test:
            counts[name]["test"].append(video)
    for name, found in sorted(counts.items()):
        number = len(found["train"])
        sources = len({source_of(video, description.group) for video in found["train"]})
        if not number:
            text = f"{name!r}: {counted_as(len(found['test']), 'tube')} to test with, none to train on"
            findings.add("error", "label-not-trained", text)
        elif number < RARE_TUBES or sources < RARE_SOURCES:
            text = f"{name!r}: {counted_as(number, 'tube')} from {counted_as(sources, 'source')} to train on"
            findings.add("warning", "label-rare", text)


def _plain(label: str) -> str:
    """What two spellings of a label have in common."""
    return "".join(letter for letter in label.casefold() if letter.isalnum()) or label


def _are_similar(a: str, b: str) -> bool:
    a, b = _plain(a), _plain(b)
    # of short words every other is a letter away; numbers count
    if min(len(a), len(b)) < 4 or any(letter.isdigit() for letter in a + b):
        return False
    return SequenceMatcher(None, a, b, autojunk=False).ratio() >= SIMILAR
