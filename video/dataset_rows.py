"""Every box of a dataset's annotation with its place in the file, also from a file that training would refuse.

A check shall name all that is wrong at once, so tables in CSV are read cell by cell here: bad rows become findings
and are left out. Other formats come from their own readers, which stop at the first thing that is wrong.
"""

from __future__ import annotations

import csv
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from linking.records import VideoAnnotation
from linking.table_checks import BOX_COLUMNS, COLUMNS, MAX_FRAME, MAX_TUBE
from linking.tables import EXACT_FLOATS, TableError, read_tubes, table_from_annotations
from video.annotation_kinds import kind_of_file, recognised_files
from video.annotations import Annotations, FormatOptions, read_annotations
from video.cvat import read_cvat_lines
from video.dataset_findings import Findings
from video.jhmdb import Split
from video.names import is_label, is_video_name

NO_LINE = 0


@dataclass(frozen=True, eq=False)
class DatasetRows:
    """The boxes that can be used, sorted by video, tube and frame, and what is known of the videos."""

    table: pd.DataFrame
    """video, tube, label, frame, x1, y1, x2, y2 (float64), file (index into ``files``), line (0 where it has none)."""
    files: tuple[Path, ...]
    known: dict[str, dict[str, int]] = field(default_factory=dict)
    """num_frames, width, height by video, as far as the annotation says; videos without a box are here too."""
    class_names: tuple[str, ...] | None = None
    splits: tuple[Split, ...] = ()

    @property
    def videos(self) -> list[str]:
        """Annotated videos, sorted."""
        return sorted({*self.known, *self.table["video"].unique()})

    @cached_property
    def first_row(self) -> dict[str, int]:
        """The row of each video that comes first."""
        return {name: int(rows[0]) for name, rows in self.table.groupby("video", sort=False).indices.items()}

    def place(self, row: int) -> dict[str, Any]:
        """Where row number ``row`` stands, for Findings.add."""
        at = self.table.iloc[row]
        return {
            "file": str(self.files[at["file"]]),
            "line": int(at["line"]) or None,
            "video": at["video"],
            "tube": int(at["tube"]),
            "frame": int(at["frame"]),
        }


def read_rows(files: Sequence[Path], kind: str | None, options: FormatOptions, findings: Findings) -> DatasetRows:
    """The rows of all files together; a file that cannot be read is a finding and gives none."""
    parts: list[pd.DataFrame] = []
    known: dict[str, dict[str, int]] = {}
    all_files: list[Path] = []
    about: list[Annotations] = []
    owner: dict[str, Path] = {}
    for file in _single_files(files):
        all_files.append(file)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            try:
                table, facts, read = _read(file, kind, options, findings)
            except (ValueError, OSError) as error:
                findings.add("error", "annotation-unreadable", _without_path(str(error), file), file=str(file))
                continue
        for warning in said:
            text = _without_path(str(warning.message), file)
            findings.add("warning", "annotation-left-out", text, file=str(file))
        names = sorted({*facts, *table["video"].unique()})
        for name in [name for name in names if name in owner]:
            text = f"video {name[:80]!r} is in {owner[name]} too; its second annotation is not used"
            findings.add("error", "annotation-unreadable", text, file=str(file), video=name)
        table = table[~table["video"].isin(list(owner))]
        known |= {name: value for name, value in facts.items() if name not in owner}
        owner |= {name: file for name in names if name not in owner}
        parts.append(table.assign(file=len(all_files) - 1))
        if read is not None:
            about.append(read)
    empty = table_from_annotations([]).assign(file=0, line=NO_LINE)
    table = pd.concat(parts, ignore_index=True) if parts else empty
    table = table.sort_values(["video", "tube", "frame"], kind="stable", ignore_index=True)
    one = about[0] if len(about) == 1 and len(parts) == 1 else None
    return DatasetRows(table, tuple(all_files), known, one.class_names if one else None, one.splits if one else ())


def _single_files(paths: Sequence[Path]) -> list[Path]:
    """The files of folders of tables or CVAT exports, so that a bad one is a finding and the others are read."""
    files = []
    for path in paths:
        found = recognised_files(path) if path.is_dir() else []
        if found and {kind for kind, _ in found} <= {"cvat", "table"}:
            files += [file for _, file in found]
        else:
            files.append(path)
    return files


def _read(
    path: Path, kind: str | None, options: FormatOptions, findings: Findings
) -> tuple[pd.DataFrame, dict[str, dict[str, int]], Annotations | None]:
    """The table, what is known of the videos, and what else the format says."""
    if path.is_file():
        kind = kind or kind_of_file(path)
        if kind == "table" and path.suffix.lower() == ".csv":
            before = findings.number("error")
            table = _csv_rows(path, findings)
            if findings.number("error") == before:
                read_tubes(path)  # what is found clean must be read by training as well: scores, for example
            return table, {}, None
        if kind == "cvat":
            located = read_cvat_lines(path, options.attribute, options.video)
            table, known = _of_videos([one.annotation for one in located])
            lines = [lines for one in located for lines in one.lines]
            return table.assign(line=np.concatenate([np.zeros(0, np.int64), *lines])), known, None
    read = read_annotations(path, kind=kind, options=options)
    if read.has_loose_boxes:
        raise TableError("boxes that belong to no tube; a dataset to train on needs tubes with labels")
    table, known = _of_videos(read.videos)
    # rows of these are ordered anew by their reader
    return table.assign(line=NO_LINE), known, read


def _of_videos(videos: Sequence[VideoAnnotation]) -> tuple[pd.DataFrame, dict[str, dict[str, int]]]:
    table = table_from_annotations(videos)
    known = table.attrs["videos"]
    return _plain(table), known


def _plain(table: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "video": table["video"].astype(object),
            "tube": table["tube"].astype(np.int64),
            "label": table["label"].astype(object),
            "frame": table["frame"].astype(np.int64),
            **{side: table[side].astype(np.float64) for side in BOX_COLUMNS},
        }
    )


def _csv_rows(path: Path, findings: Findings) -> pd.DataFrame:
    """The rows that can be used; the others are found. TableError where it is not a table at all."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            raw = pd.read_csv(
                path, dtype="str", index_col=False, encoding="utf-8-sig", keep_default_na=False, **EXACT_FLOATS
            )
    except (ValueError, pd.errors.ParserError, pd.errors.ParserWarning, OSError):
        read_tubes(path)  # its reader says what is wrong
        raise TableError("not a table in CSV") from None
    if any(column not in raw.columns for column in COLUMNS) or raw.columns.duplicated().any():
        read_tubes(path)
        raise TableError("not a tube table")
    raw = raw.fillna("")  # cells that a short row lacks
    lines = _lines(path, len(raw))
    bad = np.zeros(len(raw), bool)

    def refuse(wrong: Any, kind: str, text: Callable[[int], str]) -> None:
        wrong = np.asarray(wrong, bool) & ~bad
        for row in np.flatnonzero(wrong).tolist():
            findings.add("error", kind, text(row), file=str(path), line=int(lines[row]), video=raw["video"].iloc[row])
        bad[wrong] = True

    numbers = {name: _numbers(raw[name]) for name in ("tube", "frame", *BOX_COLUMNS)}
    refuse(
        [not is_video_name(name) for name in raw["video"]],
        "cell-wrong",
        lambda row: f"column 'video': {_shown(raw['video'].iloc[row])} cannot be the name of a video",
    )
    refuse(
        [not is_label(name) for name in raw["label"]],
        "cell-wrong",
        lambda row: f"column 'label': {_shown(raw['label'].iloc[row])} cannot be a label",
    )
    for name, highest in (("tube", MAX_TUBE), ("frame", MAX_FRAME)):
        values = numbers[name]
        refuse(
            ~((values >= 0) & (values <= highest) & (values == np.floor(values))),
            "cell-wrong",
            partial(_expected, raw, name, "a whole number from 0"),
        )
    for name in BOX_COLUMNS:
        refuse(
            ~(np.abs(numbers[name]) < 1e30),
            "cell-wrong",
            partial(_expected, raw, name, "a number"),
        )
    x1, y1, x2, y2 = (numbers[name].astype(np.float32) for name in BOX_COLUMNS)
    refuse(
        (x2 <= x1) | (y2 <= y1),
        "box-empty",
        lambda row: f"x1 y1 x2 y2 = {' '.join(raw[name].iloc[row] for name in BOX_COLUMNS)} has no area",
    )
    good = np.flatnonzero(~bad)
    table = pd.DataFrame(
        {
            "video": raw["video"].to_numpy(object)[good],
            "tube": numbers["tube"][good].astype(np.int64),
            "label": raw["label"].to_numpy(object)[good],
            "frame": numbers["frame"][good].astype(np.int64),
            **{name: numbers[name][good] for name in BOX_COLUMNS},
            "line": lines[good],
        }
    )
    return _without_contradictions(table, path, findings)


def _without_contradictions(table: pd.DataFrame, path: Path, findings: Findings) -> pd.DataFrame:
    """A tube has one box a frame and one label; rows that say otherwise are found, second boxes left out."""
    again = table.duplicated(["video", "tube", "frame"]).to_numpy()
    for row in np.flatnonzero(again):
        at = table.iloc[row]
        text = f"tube {at['tube']} has a second box in frame {at['frame']}"
        place = {"video": at["video"], "tube": int(at["tube"]), "frame": int(at["frame"])}
        findings.add("error", "box-twice", text, file=str(path), line=int(at["line"]), **place)
    table = table[~again].reset_index(drop=True)
    first = table.groupby(["video", "tube"], sort=False)["label"].transform("first")
    other = np.flatnonzero((table["label"] != first).to_numpy())
    tubes = table.iloc[other].drop_duplicates(["video", "tube"])
    for row, at in tubes.iterrows():
        text = f"tube {at['tube']} is {first[row]!r} before and {at['label']!r} here"
        findings.add(
            "error", "tube-labels", text, file=str(path), line=int(at["line"]), video=at["video"], tube=int(at["tube"])
        )
    return table.assign(label=first)


def _numbers(cells: pd.Series) -> np.ndarray:
    """(n,) float64, NaN for what is none."""
    return pd.to_numeric(cells.where(cells != "", "nan"), errors="coerce").to_numpy(np.float64, na_value=np.nan)


def _lines(path: Path, count: int) -> np.ndarray:
    """Line, from 1, on which each of the ``count`` rows begins; names may hold line breaks, lines may be blank."""
    with path.open("rb") as file:
        total = sum(1 for _ in file)
    if total == count + 1:
        return np.arange(2, count + 2)
    lines = []
    with path.open(encoding="utf-8-sig", newline="") as text:
        rows = csv.reader(text)
        next(rows)
        before = rows.line_num
        for cells in rows:
            if cells:
                lines.append(before + 1)
            before = rows.line_num
    return np.resize(np.array(lines, np.int64), count)


def _expected(raw: pd.DataFrame, name: str, what: str, row: int) -> str:
    return f"column {name!r}: expected {what}, got {_shown(raw[name].iloc[row])}"


def _shown(cell: str) -> str:
    return repr(cell[:40])


def _without_path(text: str, path: Path) -> str:
    return text.removeprefix(str(path)).lstrip(",: ") or text
