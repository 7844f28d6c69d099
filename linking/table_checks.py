"""What a tube table must hold, checked column by column; used by every reader and writer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd

BOX_COLUMNS = ("x1", "y1", "x2", "y2")
COLUMNS = ("video", "tube", "label", "frame", *BOX_COLUMNS, "score", "tube_score")

MAX_FRAME = 2**31 - 1
MAX_TUBE = 2**53
"""Whole numbers up to here survive the float64 by way of which a CSV column with empty cells is read."""


class TableError(ValueError):
    """A tube table that cannot be used; the text is one line: file, row, column, cause."""


def one_line(text: object, longest: int = 120) -> str:
    """What a file or a library says, fit for a message: on one line, nothing unprintable, not too long."""
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(str(text).split()))[:longest]


def refuse_unwritable(name: str, column: str, place: str) -> None:
    """TableError for text no file can keep: NUL ends it in C, a lone surrogate (an undecodable file name) is none."""
    if "\0" in name or any("\ud800" <= letter <= "\udfff" for letter in name):
        raise TableError(f"{place}: {column} {name[:80]!r} holds characters that no text file can keep")


def checked(table: pd.DataFrame, place: Callable[[int], str], name: str) -> pd.DataFrame:
    """``table`` reduced to ``COLUMNS`` with their dtypes, or TableError at the first bad cell of a column.

    ``place`` names row number ``i`` (from 0) for the message, ``name`` the whole table.
    """
    missing = [column for column in COLUMNS if column not in table.columns]
    if missing:
        found = ", ".join(map(str, table.columns[:12]))
        raise TableError(
            f"{name}: missing column {missing[0]!r}; expected {','.join(COLUMNS)}, found {one_line(found, 100)}"
        )
    duplicated = table.columns[table.columns.duplicated()]
    if len(duplicated):
        raise TableError(f"{name}: column {duplicated[0]!r} is there twice")

    def refuse(bad: np.ndarray, column: str, explain: Callable[[int], str]) -> None:
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise TableError(f"{place(row)}, column {column!r}: {explain(row)}")

    def numbers(column: str) -> np.ndarray:
        try:
            return table[column].to_numpy(np.float64, na_value=np.nan)
        except (ValueError, TypeError):
            bad = pd.to_numeric(table[column], errors="coerce").isna() & table[column].notna()
            refuse(bad.to_numpy(bool), column, lambda row: f"expected a number, got {table[column].iloc[row]!r}")
            raise TableError(f"{name}: column {column!r} must hold numbers") from None

    def whole(values: np.ndarray, column: str, highest: int) -> None:
        refuse(~np.isfinite(values), column, lambda row: f"expected a whole number, got {values[row]}")
        refuse(values != np.floor(values), column, lambda row: f"expected a whole number, got {values[row]}")
        refuse(values < 0, column, lambda row: f"must be 0 or more, got {values[row]:.0f}")
        refuse(values > highest, column, lambda row: f"{values[row]:.0f} is above {highest}")

    video, label = table["video"].fillna("").astype("str"), table["label"].fillna("").astype("str")
    refuse((video == "").to_numpy(bool), "video", lambda row: "empty; every box belongs to a video")

    frame = numbers("frame")
    whole(frame, "frame", MAX_FRAME)
    sides = {}
    with np.errstate(over="ignore"):
        for column in BOX_COLUMNS:
            sides[column] = numbers(column).astype(np.float32)
        scores = numbers("score").astype(np.float32)
    for column in BOX_COLUMNS:
        values = sides[column]
        refuse(~np.isfinite(values), column, partial(_explain_box_number, values))
    for low, high in (("x1", "x2"), ("y1", "y2")):
        refuse(sides[high] <= sides[low], high, partial(_explain_no_area, sides, low, high))
    tube_scores = numbers("tube_score")
    for column, values in (("score", scores), ("tube_score", tube_scores)):
        refuse(np.isinf(values), column, lambda row: "must be a finite number or empty, got infinity")

    tube = numbers("tube")
    has_tube = ~np.isnan(tube)
    whole(np.where(has_tube, tube, 0), "tube", MAX_TUBE)
    refuse(
        ~has_tube & ~np.isnan(tube_scores),
        "tube_score",
        lambda row: "a tube score, but column 'tube' is empty",
    )

    result = pd.DataFrame(
        {
            "video": video,
            "tube": pd.arrays.IntegerArray(np.where(has_tube, tube, 0).astype(np.int64), ~has_tube),
            "label": label,
            "frame": frame.astype(np.int64),
            **sides,
            "score": scores,
            "tube_score": tube_scores,
        }
    )
    result = result.reset_index(drop=True)
    result.attrs = dict(table.attrs)
    _refuse_contradictions(result, has_tube, refuse)
    return result


def _explain_box_number(values: np.ndarray, row: int) -> str:
    return f"a box needs a finite number, got {values[row]}"


def _explain_no_area(sides: dict[str, np.ndarray], low: str, high: str, row: int) -> str:
    return f"the box has no area: {high} = {sides[high][row]} must be above {low} = {sides[low][row]}"


def _refuse_contradictions(
    table: pd.DataFrame, has_tube: np.ndarray, refuse: Callable[[np.ndarray, str, Callable[[int], str]], None]
) -> None:
    """A tube has one label, one score, and one box a frame."""
    rows = np.flatnonzero(has_tube)
    if len(rows) == 0:
        return
    video = pd.factorize(table["video"])[0][rows].astype(np.int64)
    tube = pd.factorize(table["tube"].to_numpy(np.int64, na_value=-1)[rows])[0]
    owner = pd.factorize(video * (tube.max() + 1) + tube)[0]
    first = np.zeros(owner.max() + 1, np.int64)
    first[owner[::-1]] = rows[::-1]  # the last write wins, so the first row of each tube stays
    first_row = np.arange(len(table))
    first_row[rows] = first[owner]

    def name(row: int) -> str:
        return f"tube {table['tube'].iloc[row]} of {table['video'].iloc[row]!r}"[:100]

    label = pd.factorize(table["label"])[0]
    refuse(
        label != label[first_row],
        "label",
        lambda row: (
            f"{name(row)} has two labels, {table['label'].iloc[first_row[row]][:30]!r} "
            f"and {table['label'].iloc[row][:30]!r}"
        ),
    )
    scores = table["tube_score"].to_numpy()
    same = (scores == scores[first_row]) | (np.isnan(scores) & np.isnan(scores[first_row]))
    refuse(
        ~same,
        "tube_score",
        lambda row: f"{name(row)} has two scores, {scores[first_row[row]]} and {scores[row]}",
    )
    frame = table["frame"].to_numpy()
    again = np.zeros(len(table), bool)
    again[rows] = pd.Series(owner * (frame.max() + 1) + frame[rows]).duplicated().to_numpy()
    refuse(again, "frame", lambda row: f"{name(row)} has a second box in frame {frame[row]}")
