"""Reading AVA: key frames, boxes as fractions of the picture, several actions a person.

The format of AVA (Gu et al., CVPR 2018) and of its official evaluation code (ActivityNet, ``Evaluation/ava``)::

    video_id, timestamp, x1, y1, x2, y2, action_id, person_id     ground truth
    video_id, timestamp, x1, y1, x2, y2, action_id, score         detections
    video_id, timestamp                                           a key frame without boxes

``timestamp`` is a whole second of the video at which a picture was annotated. By default it stands for the frame:
frame-mAP (protocol ``ava``) compares such tables as they are. With ``fps`` it becomes the index of a decoded
frame, ``(timestamp - start) * fps``; ``start`` is 900 for the common 15-minute clips cut from second 900 on. Boxes
stay fractions, 0..1, unless the size of the picture is given: overlaps do not depend on it. A person who does three
actions at a time is in three rows and becomes three tubes.
"""

from __future__ import annotations

import math
import os
import re
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from linking.records import Tube, VideoAnnotation
from linking.table_checks import MAX_FRAME
from linking.tables import table_of_loose_boxes
from video.names import is_video_name
from video.number_rows import read_number_rows, read_text_bytes, refuse

COLUMNS = ("video", "timestamp", "x1", "y1", "x2", "y2", "action", "last")
BOX = ("x1", "y1", "x2", "y2")

Size = tuple[int, int]
"""Width and height in pixels."""

_NUMBER = rb"\s*-?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*"
_ROW = re.compile(rb"[^,]+,\s*\d{1,6}\s*(,%b){4},\s*\d{1,6}\s*(,(%b)?)?" % (_NUMBER, _NUMBER), re.IGNORECASE)


class AvaError(ValueError):
    """A file of AVA's that does not hold what it should; the text names file, line and cause."""


def looks_like_ava(head: bytes) -> bool:
    """Whether the first bytes of a file look like AVA's csv: its first line with a box has one of fractions."""
    for line in head.removeprefix(b"\xef\xbb\xbf").splitlines()[:1000]:
        line = line.strip()
        if line.count(b",") == 1 or not line:
            continue  # a key frame without boxes
        if len(line) > 1000 or not _ROW.fullmatch(line):
            return False
        return all(-1 <= float(cell) <= 2 for cell in line.split(b",")[2:6])
    return False


def holds_scores(path: str | os.PathLike[str]) -> bool:
    """Whether the last column holds scores (read_ava_detections) and not numbers of persons (read_ava).

    Told by the text: scores have a decimal point or an exponent in some row, persons in none.
    """
    last = _read_rows(Path(path))["last"]
    return bool(last.str.contains(r"[.eE]").any())


def read_ava(
    path: str | os.PathLike[str],
    *,
    class_names: Mapping[int, str] | None = None,
    excluded: Collection[tuple[str, int]] = (),
    size: Size | Mapping[str, Size] | None = None,
    fps: float | None = None,
    start: float = 0.0,
) -> list[VideoAnnotation]:
    """The ground truth of every video, sorted by name: a tube for each run of one person doing one action.

    A run has a box in every second; where a second is missing, a new tube begins. Rows without a person become
    tubes of one box. ``class_names``: name by action id, as read_action_list gives it; rows with other ids are
    left out with a warning. Without it the label is the id. ``excluded``: (video, timestamp) to leave out, from
    read_excluded_timestamps. ``size``: width and height of the pictures, of all or by video, to get pixels.
    ``fps`` and ``start``: see above. Boxes without area are left out with a warning. Raises AvaError.
    """
    path = Path(path)
    check_clock(fps, start)
    _check_size(size)
    rows = _read_rows(path)
    names = sorted(rows["video"].unique())
    person = pd.to_numeric(rows["last"].replace("", "-1"), errors="coerce").to_numpy(np.float64)
    bad = ~((person >= -1) & (person == np.floor(person)) & (person < 2**53))
    refuse(rows, bad, path, "the person must be a whole number, got {last!r:.40}", AvaError)
    rows["person"] = np.where(person < 0, np.arange(len(rows)) - float(len(rows)), person)
    rows = _usable(rows, path, class_names, excluded)
    frames = _frames(rows, path, fps, start)
    boxes, rows, frames = _boxes(rows, path, size, frames)

    video, person, action, second = (
        pd.factorize(rows["video"], sort=True)[0],
        rows["person"].to_numpy(np.int64),
        rows["action"].to_numpy(np.int64),
        rows["timestamp"].to_numpy(np.int64),
    )
    # A second box of one person, action and second is counted by the official evaluation, so it is a tube of its own.
    keys = pd.DataFrame({"video": video, "person": person, "action": action, "second": second})
    turn = keys.groupby(["video", "person", "action", "second"], sort=False).cumcount().to_numpy()
    order = np.lexsort((second, turn, action, person, video))
    same = np.ones(max(len(order) - 1, 0), bool)
    for values in (video, person, action, turn):
        same &= np.diff(values[order]) == 0
    same &= np.diff(second[order]) == 1
    starts = np.flatnonzero(np.append(True, ~same)[: len(order)])
    labels = _labels(rows, class_names)
    tubes: dict[str, list[Tube]] = {name: [] for name in names}
    for first, end in zip(starts, np.append(starts[1:], len(order))):
        run = order[first:end]
        found = tubes[rows["video"].iloc[run[0]]]
        found.append(Tube(labels[run[0]], frames[run], boxes[run], id=len(found)))
    return [VideoAnnotation(name, found, **_known_size(size, name)) for name, found in tubes.items()]


def read_ava_detections(
    path: str | os.PathLike[str],
    *,
    class_names: Mapping[int, str] | None = None,
    excluded: Collection[tuple[str, int]] = (),
    size: Size | Mapping[str, Size] | None = None,
    fps: float | None = None,
    start: float = 0.0,
) -> pd.DataFrame:
    """Detections as a tube table without tubes, in the order of the file; arguments as of read_ava.

    A file of 7 columns has no scores: they are 1, as in the official evaluation code. Raises AvaError.
    """
    path = Path(path)
    check_clock(fps, start)
    _check_size(size)
    rows = _read_rows(path)
    known = {name: _known_size(size, name) for name in sorted(rows["video"].unique())}
    rows["score"] = pd.to_numeric(rows["last"].replace("", "1"), errors="coerce").to_numpy(np.float32)
    bad = ~np.isfinite(rows["score"].to_numpy())
    refuse(rows, bad, path, "the score must be a number, got {last!r:.40}", AvaError)
    rows = _usable(rows, path, class_names, excluded)
    frames = _frames(rows, path, fps, start)
    boxes, rows, frames = _boxes(rows, path, size, frames)
    table = table_of_loose_boxes(rows["video"].array, _labels(rows, class_names), frames, boxes, rows["score"])
    table.attrs["videos"] = known
    return table


def _read_rows(path: Path) -> pd.DataFrame:
    """Rows of a csv with their values checked one by one; x1 to last are empty in a key frame without boxes."""
    rows = read_number_rows(path, COLUMNS, ("video", "last"), AvaError)
    good = {name for name in rows["video"].unique() if is_video_name(name)}
    bad = ~rows["video"].isin(good).to_numpy()
    refuse(rows, bad, path, "{video!r:.60} cannot be the name of a video", AvaError)
    second = rows["timestamp"].to_numpy()
    bad = ~((second >= 0) & (second <= MAX_FRAME) & (second == np.floor(second)))
    refuse(rows, bad, path, "timestamp must be a whole second, got {timestamp:.15g}", AvaError)
    missing = rows[[*BOX, "action"]].isna().to_numpy()
    empty = missing.all(axis=1) & (rows["last"] == "").to_numpy()
    text = "expected video, timestamp, x1, y1, x2, y2, action and person or score"
    refuse(rows, missing.any(axis=1) & ~empty, path, text, AvaError)
    boxes, action = rows[[*BOX]].to_numpy(), rows["action"].to_numpy()
    bad = ~empty & ~((boxes >= -1) & (boxes <= 2)).all(axis=1)
    text = "a box is in fractions of the picture, 0 to 1, got {x1:.6g}, {y1:.6g}, {x2:.6g}, {y2:.6g}"
    refuse(rows, bad, path, text, AvaError)
    bad = (boxes[:, 2] < boxes[:, 0]) | (boxes[:, 3] < boxes[:, 1])
    refuse(rows, bad, path, "the corners of the box are swapped: x1 > x2 or y1 > y2", AvaError)
    bad = ~empty & ~((action >= 0) & (action < 10**6) & (action == np.floor(action)))
    refuse(rows, bad, path, "action must be a whole number, got {action:.15g}", AvaError)
    return rows


def _usable(
    rows: pd.DataFrame, path: Path, class_names: Mapping[int, str] | None, excluded: Collection[tuple[str, int]]
) -> pd.DataFrame:
    """The rows with a box of a known action at a second that is not excluded."""
    rows = rows[rows["action"].notna()]
    if excluded:
        keys = pd.MultiIndex.from_arrays([rows["video"], rows["timestamp"].astype(np.int64)])
        rows = rows[~keys.isin(list(excluded))]
    if class_names is not None:
        listed = rows["action"].isin(list(class_names)).to_numpy()
        if not listed.all():
            first = rows[~listed].iloc[0]
            warnings.warn(
                f"{path}: {int((~listed).sum())} rows of actions that are not in the list were left out, first line "
                f"{first.name}: action {first['action']:.0f}",
                stacklevel=3,
            )
        rows = rows[listed]
    return rows


def _frames(rows: pd.DataFrame, path: Path, fps: float | None, start: float) -> np.ndarray:
    second = rows["timestamp"].to_numpy(np.int64)
    frames = frame_of_second(second, fps, start)
    bad = (frames < 0) | (frames > MAX_FRAME)
    refuse(rows, bad, path, f"second {{timestamp:.0f}} is no frame of a video that starts at {start:.15g}", AvaError)
    return frames.astype(np.int64)


def check_clock(fps: float | None, start: float) -> None:
    """AvaError unless seconds can be turned into frames, no two seconds into one."""
    if fps is not None and not (1 <= fps <= 1000 and math.isfinite(start)):
        raise AvaError(f"fps must be 1 to 1000 and start a number of seconds, got fps {fps} and start {start}")


def frame_of_second(second: np.ndarray, fps: float | None, start: float) -> np.ndarray:
    """Frame numbers, not yet whole numbers by type; negative before ``start``."""
    if fps is None:
        return second
    return np.floor((second - start) * fps + 0.5)


def _boxes(
    rows: pd.DataFrame, path: Path, size: Size | Mapping[str, Size] | None, frames: np.ndarray
) -> tuple[np.ndarray, pd.DataFrame, np.ndarray]:
    """(n, 4) float32 boxes, scaled to pixels if there is a size, of the rows whose box has an area; those rows."""
    scale = np.ones((len(rows), 2))
    if isinstance(size, Mapping):
        missing = sorted(set(rows["video"]) - set(size))
        if missing:
            raise AvaError(f"{path}: no size is given for video {missing[0][:80]!r}")
        scale[:, 0] = rows["video"].map({name: pair[0] for name, pair in size.items()})
        scale[:, 1] = rows["video"].map({name: pair[1] for name, pair in size.items()})
    elif size is not None:
        scale[:] = size
    boxes = (rows[[*BOX]].to_numpy() * np.tile(scale, 2)).astype(np.float32)
    empty = (boxes[:, 2] <= boxes[:, 0]) | (boxes[:, 3] <= boxes[:, 1])
    if empty.any():
        line = rows.index[empty][0]
        warnings.warn(f"{path}: {int(empty.sum())} boxes without area were left out, first line {line}", stacklevel=3)
    return boxes[~empty], rows[~empty], frames[~empty]


def _labels(rows: pd.DataFrame, class_names: Mapping[int, str] | None) -> list[str]:
    actions = rows["action"].astype(np.int64)
    return actions.astype(str).tolist() if class_names is None else actions.map(dict(class_names)).tolist()


def _check_size(size: Size | Mapping[str, Size] | None) -> None:
    pairs = list(size.values()) if isinstance(size, Mapping) else [] if size is None else [size]
    for width, height in pairs:
        if not (0 < width < 2**16 and 0 < height < 2**16):
            raise AvaError(f"the size of a picture must be its width and height in pixels, got {width} x {height}")


def _known_size(size: Size | Mapping[str, Size] | None, video: str) -> dict[str, int]:
    pair = size.get(video) if isinstance(size, Mapping) else size
    return {} if pair is None else {"width": int(pair[0]), "height": int(pair[1])}


_ITEM = re.compile(r"(?:item|label)\s*\{([^{}]*)\}")
_NAME = re.compile(r"\bname\s*:\s*(?:\"([^\"\n]*)\"|'([^'\n]*)')")
_ID = re.compile(r"\b(?:id|label_id)\s*:\s*(\d{1,6})\b")
_LINE = re.compile(r"\s*(\d{1,6})\s*[:,]?\s+(\S.*?)\s*")


def read_action_list(path: str | os.PathLike[str]) -> dict[int, str]:
    """Name by action id, ascending, from AVA's ``.pbtxt`` or a plain list.

    That is ``item { name: "..." id: 1 }`` or ``label { name: "..." label_id: 1 ... }``, whatever the suffix, or a
    line ``1: name`` for each action. Raises AvaError.
    """
    path = Path(path)
    try:
        text = read_text_bytes(path, AvaError, 2**22).decode("utf-8")
    except UnicodeDecodeError as problem:
        raise AvaError(f"{path}: not UTF-8 text (byte {problem.start})") from None
    names: dict[int, str] = {}

    def add(number: str, name: str, line: int) -> None:
        if not name or not name.isprintable():
            raise AvaError(f"{path}, line {line}: the name of action {number} is empty or not text")
        if names.setdefault(int(number), name) != name:
            raise AvaError(f"{path}, line {line}: action {number} is listed twice")

    if "{" in text:
        for item in _ITEM.finditer(text):
            name, number = _NAME.search(item[1]), _ID.search(item[1])
            line = text.count("\n", 0, item.start()) + 1
            if name is None or number is None:
                raise AvaError(f"{path}, line {line}: an item needs a name and an id")
            add(number[1], name[1] if name[1] is not None else name[2], line)
    else:
        for line, row in enumerate(text.splitlines(), start=1):
            if row.strip():
                found = _LINE.fullmatch(row)
                if found is None:
                    raise AvaError(f"{path}, line {line}: expected '1: name', got {row[:60]!r}")
                add(found[1], found[2], line)
    if not names:
        raise AvaError(f"{path}: no actions in this list")
    return dict(sorted(names.items()))


def read_excluded_timestamps(path: str | os.PathLike[str]) -> frozenset[tuple[str, int]]:
    """The (video, timestamp) pairs of AVA's excluded_timestamps csv, which no evaluation counts. Raises AvaError."""
    rows = read_number_rows(Path(path), ("video", "timestamp"), ("video",), AvaError)
    second = rows["timestamp"].to_numpy()
    bad = ~((second >= 0) & (second <= MAX_FRAME) & (second == np.floor(second))) | (rows["video"] == "").to_numpy()
    refuse(rows, bad, Path(path), "expected a video and a whole second", AvaError)
    return frozenset(zip(rows["video"], second.astype(np.int64).tolist()))
