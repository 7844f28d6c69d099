"""Tube tables: the exchange format between stages and with other programs, one row a box.

Columns (``COLUMNS``)::

    video, tube, label, frame, x1, y1, x2, y2, score, tube_score

Boxes and frames follow ``linking.records``. An empty cell means "none": ground truth has no ``score`` and no
``tube_score``; proposals and per-frame detections have no ``tube`` (and mostly no ``label``); a box without
``score`` inside a predicted tube was interpolated. Columns beyond these ten are ignored by readers.

The suffix chooses the format: ``.csv`` (UTF-8), ``.parquet`` (needs pyarrow), ``.json`` (nested, see
``linking.table_json``). All three give back every bit of what was written. Names and labels are text
whatever they look like: ``NA``, ``1`` and ``007`` stay as they are.
"""

from __future__ import annotations

import csv
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from linking import table_json
from linking.files import replace_when_whole
from linking.records import Detections, Tube, VideoAnnotation
from linking.table_checks import BOX_COLUMNS, COLUMNS, TableError, checked, one_line, refuse_unwritable

__all__ = [
    "COLUMNS",
    "TableError",
    "annotations_from_table",
    "check_suffix",
    "detections_from_table",
    "read_tubes",
    "table_from_annotations",
    "table_from_detections",
    "table_of_loose_boxes",
    "write_tubes",
]

SUFFIXES = (".csv", ".parquet", ".json")


def read_tubes(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read and check a tube table.

    Dtypes of the result: video and label text ("" for none), tube Int64 (``<NA>`` for none), frame int64,
    box and score float32 (NaN for none), tube_score float64 (NaN for none). What the file knows of the
    videos themselves is in ``attrs["videos"]``: name -> {num_frames, width, height}.

    Raises TableError, one line naming file, row (line number of a text file) and column, on: a missing
    column, a box that is NaN, reversed or without area, a frame that is negative or not whole, a second
    box of a tube in a frame, a tube with two labels or two scores, a file of another kind.
    """
    path = Path(path)
    reader = {".csv": _read_csv, ".parquet": _read_parquet, ".json": _read_json}.get(path.suffix.lower())
    if reader is None:
        raise _unknown_suffix(path)
    try:
        if path.stat().st_size == 0:
            raise TableError(f"{path}: the file is empty; a tube table has at least the line of column names")
        return reader(path)
    except OSError as error:
        raise TableError(f"{path}: cannot be read: {error.strerror or error}") from error


def write_tubes(table: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Check ``table`` and write it in the format that the suffix of ``path`` names, whole or not at all."""
    path = Path(path)
    check_suffix(path)
    table = checked(table, lambda row: f"{path}, row {row + 1}", str(path))
    for column in ("video", "label"):
        for name in table[column].unique():
            refuse_unwritable(name, column, str(path))
    with replace_when_whole(path) as temporary:
        if path.suffix.lower() == ".csv":
            # Names are quoted where they must be; pandas does not see that "\r" ends a line for readers. newline=""
            # keeps "\r\n" inside a name.
            broken = any(table[column].str.contains("\r", regex=False).any() for column in ("video", "label"))
            quoting = csv.QUOTE_NONNUMERIC if broken else csv.QUOTE_MINIMAL
            with temporary.open("w", encoding="utf-8", newline="") as file:
                table.to_csv(file, index=False, lineterminator="\n", quoting=quoting)
        elif path.suffix.lower() == ".json":
            temporary.write_text(table_json.dumps(table), encoding="utf-8")
        else:
            table.to_parquet(temporary, index=False, engine="pyarrow")


def check_suffix(path: str | os.PathLike[str]) -> None:
    """TableError unless a tube table could be written to ``path``: tells it before the work is done."""
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise _unknown_suffix(path)
    if path.suffix.lower() == ".parquet":
        _need_pyarrow(path)


def table_from_annotations(annotations: Sequence[VideoAnnotation]) -> pd.DataFrame:
    """One row a box, in the order of the annotations; a video without tubes appears in ``attrs`` only."""
    tubes = [(annotation.video, tube) for annotation in annotations for tube in annotation.tubes]
    for video, tube in tubes:
        refuse_unwritable(video, "video", "tube table")
        refuse_unwritable(tube.label, "label", "tube table")
    lengths = [len(tube) for _, tube in tubes]
    boxes = np.concatenate([np.zeros((0, 4), np.float32), *(tube.boxes for _, tube in tubes)])

    def per_tube(values: list, dtype: Any) -> pd.Series:
        return pd.Series(pd.array(values, dtype=dtype).repeat(lengths))

    columns = {
        "video": per_tube([video for video, _ in tubes], "str"),
        "tube": per_tube([tube.id for _, tube in tubes], "Int64"),
        "label": per_tube([tube.label for _, tube in tubes], "str"),
        "frame": np.concatenate([np.zeros(0, np.int64), *(tube.frames for _, tube in tubes)]),
        **{side: boxes[:, k] for k, side in enumerate(BOX_COLUMNS)},
        "score": np.concatenate([np.zeros(0, np.float32), *(tube.scores for _, tube in tubes)]),
        "tube_score": np.repeat(np.array([tube.score for _, tube in tubes], np.float64), lengths),
    }
    table = pd.DataFrame(columns)
    table.attrs["videos"] = {
        annotation.video: {
            key: int(value)
            for key in ("num_frames", "width", "height")
            if (value := getattr(annotation, key)) is not None
        }
        for annotation in annotations
    }
    return table


def annotations_from_table(table: pd.DataFrame) -> list[VideoAnnotation]:
    """The videos of ``table`` in the order of their names, tubes by id, boxes by frame.

    TableError when a row belongs to no tube: such a table holds detections of single frames.
    """
    table = checked(table, lambda row: f"row {row + 1}", "tube table")
    loose = np.flatnonzero(table["tube"].isna())
    if len(loose):
        raise TableError(
            f"row {loose[0] + 1}, column 'tube': empty; this table holds detections of single frames, "
            "link them into tubes first"
        )
    known = table.attrs.get("videos", {})
    tubes: dict[str, list[Tube]] = {video: [] for video in known}
    codes, names = pd.factorize(table["video"], sort=True)
    ids, frames = table["tube"].to_numpy(np.int64), table["frame"].to_numpy()
    order = np.lexsort((frames, ids, codes))
    codes, ids = codes[order], ids[order]
    starts = np.flatnonzero(np.r_[True, (np.diff(codes) != 0) | (np.diff(ids) != 0)][: len(order)])
    boxes = table[list(BOX_COLUMNS)].to_numpy(np.float32)
    scores, tube_scores = table["score"].to_numpy(), table["tube_score"].to_numpy()
    labels = table["label"].to_numpy(object)
    for start, end in zip(starts, np.r_[starts[1:], len(order)]):
        rows = order[start:end]
        tube = Tube(
            str(labels[rows[0]]),
            frames[rows],
            boxes[rows],
            scores[rows],
            float(tube_scores[rows[0]]),
            int(ids[start]),
        )
        tubes.setdefault(str(names[codes[start]]), []).append(tube)
    return [VideoAnnotation(video, found, **known.get(video, {})) for video, found in sorted(tubes.items())]


def table_from_detections(video: str, detections: Sequence[Detections]) -> pd.DataFrame:
    """One row a box with ``tube`` and ``label`` empty; class scores have no place in a table and stay out."""
    refuse_unwritable(video, "video", "tube table")
    counts = [len(found) for found in detections]
    boxes = np.concatenate([np.zeros((0, 4), np.float32), *(found.boxes for found in detections)])
    frames = np.repeat(np.array([found.frame for found in detections], np.int64), counts)
    scores = np.concatenate([np.zeros(0, np.float32), *(found.scores for found in detections)])
    return table_of_loose_boxes([video] * len(boxes), [""] * len(boxes), frames, boxes, scores)


def table_of_loose_boxes(
    videos: Sequence[str] | np.ndarray,
    labels: Sequence[str] | np.ndarray,
    frames: np.ndarray,
    boxes: np.ndarray,
    scores: np.ndarray,
) -> pd.DataFrame:
    """A tube table of n boxes that belong to no tube: names (n,), frames (n,), boxes (n, 4), scores (n,)."""
    total = len(boxes)
    return pd.DataFrame(
        {
            "video": pd.array(videos, dtype="str"),
            "tube": pd.array([pd.NA] * total, dtype="Int64"),
            "label": pd.array(labels, dtype="str"),
            "frame": np.asarray(frames, np.int64),
            **{side: np.asarray(boxes, np.float32)[:, k] for k, side in enumerate(BOX_COLUMNS)},
            "score": np.asarray(scores, np.float32),
            "tube_score": np.full(total, np.nan),
        }
    )


def detections_from_table(table: pd.DataFrame, video: str) -> list[Detections]:
    """The boxes of ``video`` frame by frame, ascending; frames without a box are left out.

    Any table will do, with tubes or without. A box without a score (ground truth, interpolated) counts as
    certain: its score is 1. Labels and tube numbers are dropped.
    """
    table = checked(table, lambda row: f"row {row + 1}", "tube table")
    rows = table[table["video"] == video]
    rows = rows.iloc[np.argsort(rows["frame"].to_numpy(), kind="stable")]
    frames, starts = np.unique(rows["frame"].to_numpy(), return_index=True)
    boxes = rows[list(BOX_COLUMNS)].to_numpy(np.float32)
    scores = rows["score"].fillna(1.0).to_numpy(np.float32)
    ends = np.r_[starts[1:], len(rows)][: len(starts)]
    return [
        Detections(int(frame), boxes[start:end], scores[start:end]) for frame, start, end in zip(frames, starts, ends)
    ]


def _read_csv(path: Path) -> pd.DataFrame:
    with path.open("rb") as file:
        head = file.read(4096)
    if b"\0" in head:
        raise TableError(f"{path}: a binary file, not a tube table in CSV")
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        raise TableError(f"{path}: a web page or XML, not a tube table in CSV")
    numeric = [*BOX_COLUMNS, "frame", "tube", "score", "tube_score"]
    options: dict[str, Any] = {"index_col": False, "encoding": "utf-8-sig", "keep_default_na": False}
    try:
        with warnings.catch_warnings():
            # a row longer than the header is only a warning to pandas
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(
                path,
                dtype={"video": "str", "label": "str", **dict.fromkeys(numeric, "float64")},
                # names may be "nan", numbers may not: as an empty cell it is refused by its place
                na_values={column: ["", "nan", "NaN", "NAN"] for column in numeric},
                **options,
                **EXACT_FLOATS,
            )
    except UnicodeDecodeError as error:
        raise TableError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8 CSV") from error
    except (ValueError, pd.errors.ParserError, pd.errors.ParserWarning) as error:
        raise _first_unreadable_cell(path, numeric) from error
    return checked(table, lambda row: f"{path}, line {_line_of_row(path, row)}", str(path))


# Until pandas 3.0 the ordinary converter is off by an ulp now and then; from 3.1 all are exact and the
# argument is deprecated.
EXACT_FLOATS: dict[str, Any] = (
    {} if tuple(int(part) for part in pd.__version__.split(".")[:2]) >= (3, 1) else {"float_precision": "round_trip"}
)


def _first_unreadable_cell(path: Path, numeric: list[str]) -> TableError:
    """Read again, slowly, to name the place at which pandas gave up."""
    with path.open(encoding="utf-8-sig", newline="", errors="replace") as file:
        rows = csv.reader(file, strict=True)
        line = 1
        try:
            header = next(rows)
            missing = [column for column in COLUMNS if column not in header]
            if missing:
                return TableError(f"{path}, line 1: missing column {missing[0]!r}; expected {','.join(COLUMNS)}")
            for cells in rows:
                line = rows.line_num
                if len(cells) > len(header):
                    return TableError(
                        f"{path}, line {line}: {len(cells)} cells for {len(header)} columns; "
                        "names with a comma need quotes"
                    )
                for column in numeric:
                    cell = cells[header.index(column)] if header.index(column) < len(cells) else ""
                    if not _is_number(cell):
                        return TableError(
                            f"{path}, line {line}, column {column!r}: expected a number, got {cell[:40]!r}"
                        )
        except (csv.Error, StopIteration) as error:
            return TableError(f"{path}, line {line}: not a table in CSV: {error or 'no line of column names'}")
    return TableError(f"{path}: not a table in CSV")


def _is_number(cell: str) -> bool:
    try:
        float(cell or "nan")
    except ValueError:
        return False
    return True


def _line_of_row(path: Path, row: int) -> int:
    """Line, from 1, on which data row ``row`` begins: quoted names may hold line breaks, lines may be blank."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file)
        next(rows)
        before = rows.line_num
        for cells in rows:
            if cells:
                if row == 0:
                    return before + 1
                row -= 1
            before = rows.line_num
    return before


def _read_parquet(path: Path) -> pd.DataFrame:
    _need_pyarrow(path)
    try:
        table = pd.read_parquet(path, engine="pyarrow")
    # A damaged file breaks the reading in any way, down to the names of types in its metadata.
    except Exception as error:
        raise TableError(f"{path}: not a Parquet file: {one_line(error)}") from error
    known = table.attrs.get("videos", {})  # pandas keeps attrs in Parquet; other programs may mean something else
    if not isinstance(known, dict) or not all(
        isinstance(name, str) and isinstance(facts, dict) for name, facts in known.items()
    ):
        raise TableError(f"{path}: its metadata has an entry 'videos' that does not hold facts by name of video")
    table.attrs["videos"] = {
        name: table_json.facts_of(facts, f"{path}, metadata of {name[:80]!r}") for name, facts in known.items()
    }
    return checked(table, lambda row: f"{path}, row {row + 1}", str(path))


def _read_json(path: Path) -> pd.DataFrame:
    table, place = table_json.loads(path.read_bytes(), str(path))
    return checked(table, place, str(path))


def _need_pyarrow(path: Path) -> None:
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise TableError(f"{path}: Parquet needs pyarrow: pip install pyarrow, or use .csv or .json") from error


def _unknown_suffix(path: Path) -> TableError:
    return TableError(f"{path}: unknown suffix {path.suffix!r}; tube tables are {', '.join(SUFFIXES)}")
