"""The nested view of a tube table for web pages and scripts.

::

    {"format": "tubes", "version": 1, "videos": [
      {"video": "clip", "num_frames": 40, "width": 320, "height": 240,
       "tubes": [{"id": 0, "label": "run", "score": 0.9,
                  "frames": [0, 1], "boxes": [[x1, y1, x2, y2], ...], "scores": [0.8, null]}],
       "detections": [{"frame": 0, "label": "", "boxes": [[...]], "scores": [0.7]}]}]}

``num_frames``, ``width`` and ``height`` are there where known, ``detections`` where a table has rows
without a tube. ``null`` is the empty cell. Rows come back grouped by video and tube.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from linking.table_checks import BOX_COLUMNS, TableError, refuse_unwritable

FACTS = ("num_frames", "width", "height")


def dumps(table: pd.DataFrame) -> str:
    """JSON text of a checked table."""
    known: dict[str, dict] = table.attrs.get("videos", {})
    videos: dict[str, dict[str, Any]] = {
        video: {"video": video, **facts, "tubes": []} for video, facts in known.items()
    }
    for video, rows in table.groupby("video", sort=False):
        entry = videos.setdefault(str(video), {"video": str(video), "tubes": []})
        loose = rows["tube"].isna()
        for tube, boxes in rows[~loose].groupby("tube", sort=False):
            head = {"id": int(tube), "label": boxes["label"].iloc[0], "score": _plain(boxes["tube_score"])[0]}
            entry["tubes"].append({**head, "frames": boxes["frame"].tolist(), **_boxes_and_scores(boxes)})
        if loose.any():
            entry["detections"] = [
                {"frame": int(frame), "label": label, **_boxes_and_scores(boxes)}
                for (frame, label), boxes in rows[loose].groupby(["frame", "label"], sort=False)
            ]
    lines = ",\n".join(
        json.dumps(entry, ensure_ascii=False, allow_nan=False, separators=(",", ":")) for entry in videos.values()
    )
    return f'{{"format":"tubes","version":1,"videos":[\n{lines}\n]}}\n'


def loads(text: bytes, name: str) -> tuple[pd.DataFrame, Callable[[int], str]]:
    """The table in ``text``, not yet checked, and a function that names the place of a row in the file."""
    try:
        document = json.loads(text, parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise TableError(f"{name}: a binary file or not UTF-8, not a tube table in JSON") from error
    except json.JSONDecodeError as error:
        raise TableError(f"{name}, line {error.lineno}, column {error.colno}: not JSON: {error.msg}") from error
    except (ValueError, RecursionError) as error:
        raise TableError(f"{name}: not usable JSON: {str(error)[:120]}") from error
    if not isinstance(document, dict) or not isinstance(document.get("videos"), list):
        raise TableError(f"{name}: not a tube table in JSON: expected an object with a list 'videos'")
    if document.get("version", 1) != 1:
        raise TableError(f"{name}: version {document['version']!r} of the format, this program reads 1")
    parts: list[tuple[str, pd.DataFrame]] = []
    facts: dict[str, dict[str, int]] = {}
    for number, entry in enumerate(document["videos"]):
        where = f"videos[{number}]"
        if not isinstance(entry, dict) or not isinstance(entry.get("video"), str):
            raise TableError(f"{name}, {where}: expected an object with a text 'video'")
        if entry["video"] in facts:
            raise TableError(f"{name}, {where}: video {entry['video'][:80]!r} is there twice")
        refuse_unwritable(entry["video"], "video", f"{name}, {where}")
        facts[entry["video"]] = _facts(entry, f"{name}, {where}")
        for kind in ("tubes", "detections"):
            for k, group in enumerate(_list(entry.get(kind, []), f"{name}, {where}.{kind}")):
                place = f"{where}.{kind}[{k}]"
                parts.append((place, _group_rows(group, kind == "tubes", entry["video"], f"{name}, {place}")))
    ends = np.cumsum([len(rows) for _, rows in parts]).tolist()

    def place_of(row: int) -> str:
        part = bisect_right(ends, row)
        return f"{name}, {parts[part][0]}, entry {row - (ends[part - 1] if part else 0)}"

    empty = _rows("", None, "", np.zeros(0), np.zeros((0, 4)), np.zeros(0), float("nan"))
    table = pd.concat([rows for _, rows in parts], ignore_index=True) if parts else empty
    table.attrs["videos"] = facts
    return table, place_of


def _group_rows(group: Any, is_tube: bool, video: str, where: str) -> pd.DataFrame:
    """The rows of one entry of "tubes" or "detections"."""
    if not isinstance(group, dict):
        raise TableError(f"{where}: expected an object")
    wanted = ("id", "label", "frames", "boxes") if is_tube else ("frame", "boxes")
    for key in wanted:
        if key not in group:
            raise TableError(f"{where}: missing {key!r}")
    label = group.get("label", "")
    if not isinstance(label, str):
        raise TableError(f"{where}.label: expected text, got {str(label)[:40]!r}")
    refuse_unwritable(label, "label", where)
    boxes = _numbers(group["boxes"], f"{where}.boxes").reshape(-1, 4) if group["boxes"] == [] else None
    if boxes is None:
        boxes = _numbers(group["boxes"], f"{where}.boxes")
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise TableError(f"{where}.boxes: expected [x1, y1, x2, y2] for every box")
    if is_tube:
        frames = _numbers(group["frames"], f"{where}.frames")
        tube = _numbers([group["id"]], f"{where}.id")[0]
        if len(boxes) == 0:
            raise TableError(f"{where}: a tube without boxes")
    else:
        frames = np.repeat(_numbers([group["frame"]], f"{where}.frame"), len(boxes))
        tube = None
    scores = _numbers(group.get("scores", [None] * len(boxes)), f"{where}.scores")
    tube_score = _numbers([group.get("score") if is_tube else None], f"{where}.score")[0]
    for key, values in (("frames", frames), ("scores", scores)):
        if values.shape != (len(boxes),):
            raise TableError(f"{where}.{key}: expected {len(boxes)} numbers, one a box, got {len(values)}")
    return _rows(video, tube, label, frames, boxes, scores, tube_score)


def _rows(
    video: str,
    tube: float | None,
    label: str,
    frames: np.ndarray,
    boxes: np.ndarray,
    scores: np.ndarray,
    tube_score: float,
) -> pd.DataFrame:
    total = len(frames)
    return pd.DataFrame(
        {
            "video": pd.array([video] * total, dtype="str"),
            "tube": np.full(total, np.nan if tube is None else tube, np.float64),
            "label": pd.array([label] * total, dtype="str"),
            "frame": frames,
            **{side: boxes[:, k] for k, side in enumerate(BOX_COLUMNS)},
            "score": scores,
            "tube_score": np.full(total, tube_score, np.float64),
        }
    )


def _numbers(values: Any, where: str) -> np.ndarray:
    """float64 array of a JSON list of numbers and nulls, nested evenly or not at all."""
    try:
        array = np.array(_list(values, where), dtype=object)
        if any(isinstance(value, str | bool | list | dict) for value in array.flat):
            raise ValueError
        return array.astype(np.float64)  # None becomes NaN
    except (ValueError, TypeError, OverflowError) as error:
        if isinstance(error, TableError):
            raise
        raise TableError(f"{where}: expected numbers, evenly nested") from None


def _list(values: Any, where: str) -> list:
    if not isinstance(values, list):
        raise TableError(f"{where}: expected a list")
    return values


def _facts(entry: dict[str, Any], where: str) -> dict[str, int]:
    facts = {key: entry[key] for key in FACTS if entry.get(key) is not None}
    for key, value in facts.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise TableError(f"{where}.{key}: expected a whole number, got {str(value)[:40]!r}")
    return facts


def _boxes_and_scores(rows: pd.DataFrame) -> dict[str, list]:
    sides = [_plain(rows[side]) for side in BOX_COLUMNS]
    return {"boxes": [list(box) for box in zip(*sides)], "scores": _plain(rows["score"])}


def _plain(column: pd.Series) -> list[float | None]:
    """Numbers as JSON writes them: the shortest text that is the same float32 again, null for NaN."""
    values = column.to_numpy()
    if values.dtype == np.float32:
        values = values.astype(str).astype(np.float64)
    return [None if value != value else value for value in values.tolist()]


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is not a number in JSON; an empty value is null")
