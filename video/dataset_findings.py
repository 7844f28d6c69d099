"""What a check of a dataset finds: each finding with its place, and what to do about findings of its kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from linking.table_checks import one_line

Severity = Literal["error", "warning"]

MAX_KEPT = 1000
"""Findings of a kind that are kept with their places; more are counted."""


@dataclass(frozen=True)
class Kind:
    """A kind of finding."""

    title: str
    advice: str
    """What to do."""


KINDS = {
    # annotation
    "annotation-unreadable": Kind("annotation cannot be read", "correct the file at the place named, and check again"),
    "annotation-left-out": Kind("annotation is left out", "correct it, or leave it if that is what you want"),
    "cell-wrong": Kind("wrong cells", "correct or delete these rows; training refuses them"),
    "box-empty": Kind("boxes without area", "give x1 < x2 and y1 < y2, or delete the rows; training refuses them"),
    "box-twice": Kind("two boxes of a tube in one frame", "delete one, or give the second actor a tube of its own"),
    "tube-labels": Kind("tubes with two labels", "cut the tube where the action changes: a tube has one label"),
    "box-outside": Kind(
        "boxes beyond the picture", "was another size annotated, or width and height exchanged? else clip them"
    ),
    "box-tiny": Kind("tiny boxes", "networks see the picture scaled down; are they slips of the mouse?"),
    "box-jump": Kind("boxes that jump", "two people under one number? give each a tube of its own"),
    "tube-gap": Kind("tubes with holes", "draw the missing boxes; holes are for actors that cannot be seen"),
    "tube-short": Kind("tubes of one or two frames", "an unfinished track? draw it to its end, or delete it"),
    "tube-twice": Kind("tubes drawn twice", "delete one of the two: a detector finds one, the other counts as missed"),
    # labels
    "label-spelling": Kind("labels spelled in several ways", "choose one: [rename] in the .toml joins them"),
    "label-similar": Kind(
        "labels that are nearly the same", "if they mean the same, join them by [rename] in the .toml"
    ),
    "label-unknown": Kind("labels that are not in class_names", "add them to class_names, [rename] them, or say keep"),
    "label-unused": Kind(
        "classes named in the .toml that no tube has", "a slip of the pen? correct or remove the name"
    ),
    "label-rare": Kind("rare classes", "annotate more of them from other sources, or leave them out with keep"),
    "label-not-trained": Kind("classes in the test part only", "they cannot be learnt: move videos, or annotate more"),
    # videos
    "video-missing": Kind(
        "annotated videos that are not there", "add the files, or correct names or 'videos' in the .toml"
    ),
    "video-unannotated": Kind("videos without annotation", "they are not used: annotate them, or list them in a part"),
    "video-ambiguous": Kind("two files for one video", "remove or rename one of them"),
    "video-unreadable": Kind("unreadable videos", "fetch or convert them again; training stops at them"),
    "video-damaged": Kind("damaged videos", "fetch them again; what can be read is used"),
    "frame-beyond-end": Kind(
        "boxes beyond the end of the video",
        "is it the video that was annotated, at its full frame rate? else cut the tubes",
    ),
    "video-length": Kind(
        "videos not as long as annotated", "is it the file that was annotated, at the same frame rate?"
    ),
    "video-size": Kind(
        "videos not of the size that was annotated", "boxes are scaled; check in the preview that they fit"
    ),
    "video-short": Kind("very short videos", "clips are filled up with their last frame"),
    "frame-rate": Kind(
        "odd frame rates",
        "frames are counted as decoded; compare boxes with the preview, or convert to a constant rate",
    ),
    "video-twice": Kind("the same video twice", "remove one, or the result is about videos seen in training"),
    "video-alike": Kind("videos that look the same", "look at both: copies must be in one part, and better once"),
    # parts
    "part-overlap": Kind("videos in both parts", "remove them from one: what is trained on cannot be tested with"),
    "part-source": Kind(
        "sources in both parts", "put all clips of a source into one part; the 'group' of the .toml names sources"
    ),
    "part-unknown": Kind("listed videos that are neither annotated nor there", "correct or remove the names"),
    "part-none": Kind("annotated videos in no part", "they are not used: add them to train or test"),
    "part-empty": Kind("parts without tubes", "move annotated videos there"),
}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong or odd."""

    severity: Severity
    kind: str
    """Key of KINDS."""
    text: str
    """What it is, a sentence without its place."""
    file: str | None = None
    """Annotation file, list or video."""
    line: int | None = None
    """Of a text file, or row of a table in Parquet, from 1."""
    video: str | None = None
    tube: int | None = None
    frame: int | None = None

    @property
    def place(self) -> str:
        """``boxes.csv, line 12``."""
        return ", ".join(
            part for part in (self.file, f"line {self.line}" if self.line is not None else None) if part is not None
        )

    def __str__(self) -> str:
        """``boxes.csv, line 12: clip_1, tube 3, frame 40: ...``."""
        about = [
            None if self.video is None or (self.tube is None and repr(self.video)[1:-1] in self.text) else self.video,
            None if self.tube is None else f"tube {self.tube}",
            None if self.frame is None else f"frame {self.frame}",
        ]
        # of a video the file says its name
        named = self.tube is None and self.file is not None and self.line is None
        subject = "" if named else ", ".join(part for part in about if part is not None)
        return one_line(": ".join(part for part in (self.place, subject, self.text) if part), 400)


class Findings:
    """Collects findings; of each kind and severity only the first ``MAX_KEPT`` with their places."""

    def __init__(self) -> None:
        self.kept: list[Finding] = []
        self.counts: Counter[tuple[Severity, str]] = Counter()

    def add(self, severity: Severity, kind: str, text: str, **place: Any) -> None:
        """``place``: file, line, video, tube, frame, as far as they are known."""
        assert kind in KINDS, kind
        self.counts[severity, kind] += 1
        if self.counts[severity, kind] <= MAX_KEPT:
            self.kept.append(Finding(severity, kind, text, **place))

    def extend(self, others: Iterable[Finding]) -> None:
        for other in others:
            values = asdict(other)
            self.add(values.pop("severity"), values.pop("kind"), values.pop("text"), **values)

    def number(self, severity: Severity) -> int:
        return sum(count for (level, _), count in self.counts.items() if level == severity)

    def groups(self) -> list[tuple[Severity, str, int, list[Finding]]]:
        """Severity, kind, number and the kept findings, errors first, each in the order of KINDS."""
        order = list(KINDS)
        keys = sorted(self.counts, key=lambda key: (key[0] != "error", order.index(key[1])))
        return [
            (
                severity,
                kind,
                self.counts[severity, kind],
                [f for f in self.kept if (f.severity, f.kind) == (severity, kind)],
            )
            for severity, kind in keys
        ]

    def as_json(self) -> list[dict[str, Any]]:
        return [
            {
                "severity": severity,
                "kind": kind,
                "title": KINDS[kind].title,
                "advice": KINDS[kind].advice,
                "count": count,
                "findings": [
                    {
                        key: value
                        for key, value in asdict(one).items()
                        if value is not None and key not in ("severity", "kind")
                    }
                    for one in found
                ],
            }
            for severity, kind, count, found in self.groups()
        ]


def counted_as(number: int, thing: str) -> str:
    """``1 tube``, ``2 tubes``."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def report_text(findings: Findings, *, shown: int = 3) -> str:
    """All kinds with what to do, and the first ``shown`` findings of each with their places."""
    lines = []
    for severity, kind, count, found in findings.groups():
        about = KINDS[kind]
        lines.append(f"{severity}: {about.title} ({count})")
        for one in found[:shown]:
            lines.append(f"  {one}")
        if count > shown:
            lines.append(f"  ... and {count - shown} more")
        lines.append(f"  -> {about.advice}")
    return "\n".join(lines)
