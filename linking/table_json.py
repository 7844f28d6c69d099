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

from linking.table_checks import BOX_COLUMNS, MAX_FRAME, TableError, one_line, refuse_unwritable

FACTS = ("num_frames", "width", "height")


def dumps(table: pd.DataFrame) -> str:
    """JSON text of a checked table, a line a video."""
    # numbers become text here, column by column: as Python floats they would show the digits of a float64
    boxes = [f"[{box}]" for box in map(",".join, zip(*(_texts(table[side]) for side in BOX_COLUMNS)))]
    scores, tube_scores = _texts(table["score"]), _texts(table["tube_score"])
    frames = _texts(table["frame"])
    has_tube = table["tube"].notna().to_numpy()
    frame_and_label = pd.factorize(table["label"])[0].astype(np.int64) * (MAX_FRAME + 1) + table["frame"].to_numpy()
    groups: dict[str, dict[str, list[str]]] = {video: {"tubes": []} for video in table.attrs.get("videos", {})}
    for video, rows in table.groupby("video", sort=False).indices.items():
        members = groups.setdefault(str(video), {"tubes": []})
        inside, outside = rows[has_tube[rows]], rows[~has_tube[rows]]
        for own in _runs_of_equal(inside, table["tube"].to_numpy(np.int64, na_value=-1)[inside]):
            first = own[0]
            members["tubes"].append(
                f'{{"id":{table["tube"].iloc[first]},"label":{_quoted(table["label"].iloc[first])},'
                f'"score":{tube_scores[first]},"frames":[{_joined(frames, own)}],'
                f'"boxes":[{_joined(boxes, own)}],"scores":[{_joined(scores, own)}]}}'
            )
        for own in _runs_of_equal(outside, frame_and_label[outside]):
            members.setdefault("detections", []).append(
                f'{{"frame":{frames[own[0]]},"label":{_quoted(table["label"].iloc[own[0]])},'
                f'"boxes":[{_joined(boxes, own)}],"scores":[{_joined(scores, own)}]}}'
            )
    lines = []
    for video, members in groups.items():
        facts = "".join(f',"{key}":{value}' for key, value in table.attrs.get("videos", {}).get(video, {}).items())
        lists = "".join(f',"{kind}":[{",".join(entries)}]' for kind, entries in members.items())
        lines.append(f'{{"video":{_quoted(video)}{facts}{lists}}}')
    return '{"format":"tubes","version":1,"videos":[\n' + ",\n".join(lines) + "\n]}\n"


def loads(text: bytes, name: str) -> tuple[pd.DataFrame, Callable[[int], str]]:
    """The table in ``text``, not yet checked, and a function that names the place of a row in the file."""
    try:
        document = json.loads(text, parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise TableError(f"{name}: a binary file or not UTF-8, not a tube table in JSON") from error
    except json.JSONDecodeError as error:
        raise TableError(f"{name}, line {error.lineno}, column {error.colno}: not JSON: {error.msg}") from error
    except (ValueError, RecursionError) as error:
        raise TableError(f"{name}: not usable JSON: {one_line(error)}") from error
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
        facts[entry["video"]] = facts_of(entry, f"{name}, {where}")
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


def facts_of(entry: dict[str, Any], where: str) -> dict[str, int]:
    """What an entry says of the video itself, other keys left out; TableError unless they are whole numbers."""
    facts = {key: entry[key] for key in FACTS if entry.get(key) is not None}
    for key, value in facts.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise TableError(f"{where}.{key}: expected a whole number, got {str(value)[:40]!r}")
    return facts


def _runs_of_equal(rows: np.ndarray, keys: np.ndarray) -> list[np.ndarray]:
    """``rows`` cut into those of equal key, keys in the order in which they first appear."""
    keys = pd.factorize(keys)[0]
    order = np.argsort(keys, kind="stable")
    return np.split(rows[order], np.flatnonzero(np.diff(keys[order])) + 1) if len(rows) else []


def _texts(column: pd.Series) -> list[str]:
    """Numbers as JSON writes them: the shortest text that gives the same number again, null for NaN."""
    texts = column.to_numpy().astype(str).tolist()
    return ["null" if text == "nan" else text for text in texts] if column.isna().any() else texts


def _joined(texts: list[str], rows: np.ndarray) -> str:
    return ",".join([texts[row] for row in rows.tolist()])


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is not a number in JSON; an empty value is null")
