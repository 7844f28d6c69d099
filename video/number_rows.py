"""Annotation files that are rows of numbers between commas: read fast, refused by line, written short.

Used by the readers of AVA (video.ava) and MOTChallenge (video.mot), whose files have no line of column names.
"""

from __future__ import annotations

import io
import math
import os
import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from linking.tables import EXACT_FLOATS

MAX_FILE_BYTES = 2**30
"""Larger files are refused: AVA's validation part, 80 classes for each box of each key frame, is a quarter of it."""
MAX_LINES = 10_000_000
"""A line costs up to 100 bytes of memory, even one of two bytes."""

MAX_LINE_BYTES = 4096
_PIECE = 2**24

_BYTE_ORDER_MARKS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}


def read_text_bytes(path: Path, error: type[ValueError], limit: int = MAX_FILE_BYTES) -> bytes:
    """The bytes of a text file without the mark that may begin UTF-8; ``error`` unless they can be such text."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > limit:
                raise error(f"{path}: {size} bytes are more than the limit of {limit}")
            data = file.read(limit + 1)
    except OSError as problem:
        raise error(f"{path}: cannot be read: {problem.strerror or type(problem).__name__}") from None
    if data[:2] in _BYTE_ORDER_MARKS:
        raise error(f"{path}: {_BYTE_ORDER_MARKS[data[:2]]} text; save it as UTF-8")
    if len(data) > limit:
        raise error(f"{path}: more than the limit of {limit} bytes")
    nul = data.find(b"\0")
    if nul >= 0:
        raise error(f"{path}: a binary file, not text (byte {nul} is 0)")
    return data.removeprefix(b"\xef\xbb\xbf")


def read_number_rows(path: Path, columns: Sequence[str], text: Sequence[str], error: type[ValueError]) -> pd.DataFrame:
    """The rows of a file as a table with ``columns``; those in ``text`` are text, the others float64.

    Cells that are empty or missing at the end of a row are "" or NaN, blanks around a cell do not matter. Blank
    lines are left out; the index holds each row's line number, from 1. ``error`` for a file that is empty, is not
    UTF-8, has a row of too many cells, or text in a column of numbers.
    """
    data = read_text_bytes(path, error)
    if not data.strip():
        raise error(f"{path}: the file is empty")
    _check_lengths(path, data, error)
    try:
        with warnings.catch_warnings():
            # a row with too many cells is only a warning to pandas
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(
                io.BytesIO(data),
                header=None,
                names=list(columns),
                dtype={column: "str" if column in text else "float64" for column in columns},
                index_col=False,
                keep_default_na=False,
                na_values={column: [""] for column in columns if column not in text},
                skipinitialspace=True,
                skip_blank_lines=False,
                quoting=3,  # csv.QUOTE_NONE: the formats know no quotes, so a line is a row
                encoding="utf-8",
                **EXACT_FLOATS,
            )
    except UnicodeDecodeError as problem:
        raise error(f"{path}: not UTF-8 text (byte {problem.start}); save it as UTF-8") from None
    except (ValueError, OverflowError, pd.errors.ParserError, pd.errors.ParserWarning):
        raise _first_bad_row(path, data, columns, text, error) from None
    table.index = pd.RangeIndex(1, len(table) + 1)
    for column in text:
        table[column] = table[column].fillna("").str.strip()
    numbers = [column for column in columns if column not in text]
    blank = table[numbers].isna().all(axis=1)
    for column in text:
        blank &= table[column] == ""
    table = table[~blank]
    if table.empty:
        raise error(f"{path}: the file is empty")
    return table


def _check_lengths(path: Path, data: bytes, error: type[ValueError]) -> None:
    """``error`` for a line that is no row: pandas would make a column of each of its cells."""
    start, number = 0, 1  # of the line that goes on into the next piece
    for offset in range(0, len(data), _PIECE):
        piece = np.frombuffer(data, np.uint8, min(_PIECE, len(data) - offset), offset)
        ends = np.flatnonzero((piece == 10) | (piece == 13)) + offset
        lengths = np.diff(np.concatenate([[start], ends, [offset + len(piece)]]))
        if lengths.max() > MAX_LINE_BYTES:
            raise error(f"{path}, about line {number + int(lengths.argmax())}: longer than {MAX_LINE_BYTES} bytes")
        number += len(ends)
        start = int(ends[-1]) if len(ends) else start
        if number > MAX_LINES:
            raise error(f"{path}: more than the limit of {MAX_LINES} lines")


def _first_bad_row(
    path: Path, data: bytes, columns: Sequence[str], text: Sequence[str], error: type[ValueError]
) -> ValueError:
    """Read again, slowly, to name the place at which pandas gave up."""
    for line, found in enumerate(re.finditer(rb"([^\r\n]*)(?:\r\n|\r|\n|\Z)", data), start=1):
        cells = found[1].decode("utf-8", "replace").split(",")
        if len(cells) > len(columns):
            return error(f"{path}, line {line}: {len(cells)} cells, at most {len(columns)} are expected")
        for column, cell in zip(columns, cells):
            if column not in text and cell.strip() and not _is_number(cell):
                return error(f"{path}, line {line}, {column}: expected a number, got {cell.strip()[:40]!r}")
    return error(f"{path}: not rows of numbers between commas")


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell)) and "_" not in cell
    except ValueError:
        return False


def refuse(rows: pd.DataFrame, bad: np.ndarray, path: Path, text: str, error: type[ValueError]) -> None:
    """``error`` at the first row that is ``bad`` (boolean, one a row), if there is one.

    ``text`` says what is wrong with it and may name its cells: ``"x1 must be a number, got {x1}"``.
    """
    if bad.any():
        row = rows.iloc[int(np.flatnonzero(bad)[0])]
        raise error(f"{path}, line {row.name}: {text.format(**row.to_dict())}")


def shortest_decimals(values: np.ndarray, reads_back: Callable[[np.ndarray], np.ndarray]) -> list[list[str]]:
    """Numbers (n, k) as text with as few decimals a row as its reader needs to get the same boxes again.

    ``reads_back`` takes numbers (m, k) and the indices of their rows are those of ``values``; it says for each row
    whether a reader makes of it what it should. Where no rounding will do, all digits are written.
    """
    values = np.asarray(values, np.float64)
    chosen = values.copy()
    left = np.ones(len(values), bool)
    with np.errstate(all="ignore"):
        for decimals in range(9):
            rounded = np.round(values, decimals)
            good = left & reads_back(rounded)
            chosen[good] = rounded[good]
            left &= ~good
            if not left.any():
                break
    return [[repr(number).removesuffix(".0") for number in row] for row in chosen.tolist()]
