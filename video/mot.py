"""Reading MOTChallenge text: ``frame, id, left, top, width, height, conf, ...`` a line.

The format of the MOT15 to MOT20 benchmarks (Leal-Taixe et al., arXiv 1504.01942; Milan et al., arXiv 1603.00831) and
of most trackers. Its frames, ids and pixel positions count from 1 (section "Data Format" of TrackEval, the official
evaluation code; py-motmetrics subtracts 1 too), so here x1 = left - 1, x2 = left - 1 + width, and frames are one less.
A width is a length, not a last pixel. Many programs, CVAT's MOT export and detectors among them, count positions from
0 nevertheless: ``as_published`` takes left and top as they stand.

Files lie as ``SEQUENCE/gt/gt.txt`` (ground truth), ``SEQUENCE/det/det.txt`` (boxes with id -1), with length and
size in ``SEQUENCE/seqinfo.ini``, or as ``SEQUENCE.txt`` (results of a tracker). In ground truth the column conf is a
flag, and boxes with 0 are to be ignored; elsewhere it is a score, -1 for none. The format has no class names: the
eighth column is a class number, from 1, where ``labels.txt`` (a name a line, as CVAT writes it) lies beside the file.
"""

from __future__ import annotations

import configparser
import os
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from linking.records import Tube, VideoAnnotation
from linking.table_checks import MAX_FRAME, MAX_TUBE
from linking.tables import table_of_loose_boxes
from video.names import is_video_name
from video.number_rows import read_number_rows, read_text_bytes, refuse

COLUMNS = ("frame", "id", "left", "top", "width", "height", "conf", "class", "visibility", "z")
NO_ID = -1
"""In the column id: a box of no track."""
NO_SCORE = -1
"""In the column conf of a tracker's result."""

_ROW = re.compile(
    rb"\s*\d{1,10}(\.0*)?\s*,\s*(-1|\d{1,10})(\.0*)?\s*(,\s*-?[\d.]+(e[+-]?\d+)?\s*){4,8},?\s*", re.IGNORECASE
)


class MotError(ValueError):
    """A MOTChallenge file that does not hold what it should; the text names file, line and cause."""


def looks_like_mot(head: bytes) -> bool:
    """Whether the first bytes of a file look like MOTChallenge: its first line is 6 to 10 numbers, frame and id first.

    An AVA file whose videos are called by a number looks so too: ask video.ava.looks_like_ava first.
    """
    lines = head.removeprefix(b"\xef\xbb\xbf").lstrip().splitlines()
    return bool(lines) and _ROW.fullmatch(lines[0][:500]) is not None


@dataclass(frozen=True)
class _Sequence:
    """A file of one video and what lies around it."""

    path: Path
    video: str
    num_frames: int | None
    width: int | None
    height: int | None
    labels: tuple[str, ...] | None
    may_be_empty: bool
    """One of several files, in which nothing was found."""


def read_mot(
    path: str | os.PathLike[str],
    *,
    label: str = "person",
    video: str | None = None,
    ground_truth: bool | None = None,
    as_published: bool = False,
) -> list[VideoAnnotation]:
    """The tracks of a file, or of every sequence below a folder, sorted by name; a track becomes a tube.

    ``video``: name for the one video there is; otherwise the folder of the sequence or the name of the file tells
    it. ``label``: class of all tubes where no labels.txt tells it. ``ground_truth``: whether conf is a flag instead
    of a score; by default it is in files called gt.txt. Boxes to be ignored (flag 0) and boxes without area are left
    out with a warning that counts them. A tracker's tube is scored with the mean of its boxes' scores; score -1 is
    none. ``as_published`` leaves left and top as they stand in the file. Raises MotError.
    """
    annotations = []
    for sequence in _sequences(Path(path), video, "gt"):
        rows = _read_rows(sequence.path, sequence.may_be_empty)
        flagged = sequence.path.name == "gt.txt" if ground_truth is None else ground_truth
        if flagged:
            rows = _without(rows, rows["conf"] == 0, "to be ignored", sequence.path)
        boxes = _boxes(rows, as_published)
        rows, boxes = _with_area(rows, boxes, sequence.path)
        annotations.append(
            VideoAnnotation(
                sequence.video,
                _tubes(rows, boxes, sequence, label, flagged),
                num_frames=sequence.num_frames,
                width=sequence.width,
                height=sequence.height,
            )
        )
    return annotations


def read_mot_detections(
    path: str | os.PathLike[str], *, label: str = "person", video: str | None = None, as_published: bool = False
) -> pd.DataFrame:
    """The boxes of det.txt files as a tube table without tubes; path, video and as_published as in read_mot.

    ``score`` is conf as it stands (detectors disagree about its range); ``label`` is that of every box unless
    labels.txt tells another. Raises MotError.
    """
    tables = []
    sizes = {}
    for sequence in _sequences(Path(path), video, "det"):
        rows = _read_rows(sequence.path, sequence.may_be_empty)
        rows, boxes = _with_area(rows, _boxes(rows, as_published), sequence.path)
        labels = _labels(rows, sequence, label)
        frames = rows["frame"].to_numpy(np.int64) - 1
        names = np.full(len(rows), sequence.video, object)
        tables.append(table_of_loose_boxes(names, labels, frames, boxes, rows["conf"].to_numpy(np.float32)))
        known = {"num_frames": sequence.num_frames, "width": sequence.width, "height": sequence.height}
        sizes[sequence.video] = {key: value for key, value in known.items() if value is not None}
    table = pd.concat(tables, ignore_index=True)
    table.attrs["videos"] = sizes
    return table


def holds_tracks(path: str | os.PathLike[str]) -> bool:
    """Whether any box of the file (or folder) belongs to a track: read_mot reads it; otherwise read_mot_detections."""
    return any((_read_rows(file, Path(path).is_dir())["id"] != NO_ID).any() for file in _files(Path(path), "gt"))


def _files(path: Path, kind: str) -> list[Path]:
    """The files below a folder: those called by ``kind``, gt.txt, det.txt, or else every SEQUENCE.txt."""
    if not path.is_dir():
        return [path]
    for pattern in (f"{kind}.txt", "gt.txt", "det.txt"):
        found = sorted(path.glob(f"**/{pattern}"))
        if found:
            return found
    found = [file for file in sorted(path.glob("**/*.txt")) if file.name != "labels.txt"]
    if not found:
        raise MotError(f"{path}: no SEQUENCE/gt/gt.txt, SEQUENCE/det/det.txt or SEQUENCE.txt in this folder")
    return found


def _sequences(path: Path, video: str | None, kind: str) -> Iterator[_Sequence]:
    files = _files(path, kind)
    if video is not None and len(files) > 1:
        raise MotError(f"{path}: one video name for {len(files)} files; leave it out, folders name the videos")
    for file in files:
        # SEQUENCE/gt/gt.txt, as published, or SEQUENCE/gt.txt
        in_sequence = file.name in ("gt.txt", "det.txt")
        home = file.with_suffix("") if not in_sequence else file.parent
        if in_sequence and home.name == file.stem:
            home = home.parent
        name = video
        if name is None:
            below = home != path and home.is_relative_to(path)
            name = home.relative_to(path).as_posix() if below else home.resolve().name
        if not is_video_name(name):
            raise MotError(f"{file}: {name[:80]!r} cannot be the name of a video; give another")
        length, width, height = _read_seqinfo(home / "seqinfo.ini") if in_sequence else (None, None, None)
        yield _Sequence(file, name, length, width, height, _read_labels(file.parent / "labels.txt"), path.is_dir())


def _read_seqinfo(path: Path) -> tuple[int | None, int | None, int | None]:
    """seqLength, imWidth, imHeight; None for what is not there."""
    if not path.is_file():
        return None, None, None
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(read_text_bytes(path, MotError, 2**16).decode("utf-8"))
        section = parser["Sequence"]
    except UnicodeDecodeError:
        raise MotError(f"{path}: not UTF-8 text") from None
    except (configparser.Error, KeyError):
        raise MotError(f"{path}: expected a section [Sequence] with lines like seqLength=71") from None
    values: list[int | None] = []
    for key in ("seqLength", "imWidth", "imHeight"):
        text = section.get(key)
        if text is not None and not re.fullmatch(r"[1-9][0-9]{0,8}", text.strip()):
            raise MotError(f"{path}: {key} must be a whole number above 0, got {text[:40]!r}")
        values.append(None if text is None else int(text))
    return values[0], values[1], values[2]


def _read_labels(path: Path) -> tuple[str, ...] | None:
    if not path.is_file():
        return None
    try:
        lines = read_text_bytes(path, MotError, 2**20).decode("utf-8").splitlines()
    except UnicodeDecodeError:
        raise MotError(f"{path}: not UTF-8 text") from None
    names = tuple(line.strip() for line in lines if line.strip())
    return names or None


def _read_rows(path: Path, may_be_empty: bool) -> pd.DataFrame:
    """The checked rows of a file; ``conf`` is 1 where the file has none."""
    if may_be_empty and not read_text_bytes(path, MotError).strip():
        return pd.DataFrame(columns=list(COLUMNS), dtype=np.float64)
    rows = read_number_rows(path, COLUMNS, (), MotError)
    if rows["conf"].isna().all():
        rows["conf"] = 1.0
    for column in COLUMNS[:7]:
        bad = ~np.isfinite(rows[column].to_numpy())
        refuse(rows, bad, path, f"{column} must be a finite number", MotError)
    for column, lowest, highest in (("frame", 1, MAX_FRAME), ("id", NO_ID, MAX_TUBE)):
        values = rows[column].to_numpy()
        bad = (values != np.floor(values)) | (values < lowest) | (values > highest)
        expected = f"{column} must be a whole number from {lowest}, got {{{column}:.15g}}"
        refuse(rows, bad, path, expected, MotError)
    # beyond 1e30, sums and products are not single-precision numbers
    refuse(rows, (rows["conf"].abs() > 1e30).to_numpy(), path, "conf is too large: {conf:.6g}", MotError)
    bad = (rows["width"].to_numpy() < 0) | (rows["height"].to_numpy() < 0)
    refuse(rows, bad, path, "the box is {width:.6g} x {height:.6g} pixels: below 0", MotError)
    return rows


def _boxes(rows: pd.DataFrame, as_published: bool) -> np.ndarray:
    """(n, 4) float32 corners; infinite where a number is too large for them."""
    return corners(rows[["left", "top", "width", "height"]].to_numpy(), as_published)


def corners(places: np.ndarray, as_published: bool) -> np.ndarray:
    """(n, 4) float32 x1, y1, x2, y2 from left, top, width, height as a file has them."""
    with np.errstate(all="ignore"):
        first = places[:, :2] - (0 if as_published else 1)
        return np.concatenate([first, first + places[:, 2:]], axis=1).astype(np.float32)


def _with_area(rows: pd.DataFrame, boxes: np.ndarray, path: Path) -> tuple[pd.DataFrame, np.ndarray]:
    refuse(rows, ~(np.abs(boxes) < 1e30).all(axis=1), path, "the numbers of the box are too large", MotError)
    empty = (boxes[:, 2] <= boxes[:, 0]) | (boxes[:, 3] <= boxes[:, 1])
    return _without(rows, empty, "without area", path), boxes[~empty]


def _without(rows: pd.DataFrame, unwanted: np.ndarray | pd.Series, which: str, path: Path) -> pd.DataFrame:
    """The other rows; a warning says how many were left out and which line is the first."""
    unwanted = np.asarray(unwanted, bool)
    if unwanted.any():
        line = rows.index[unwanted][0]
        warnings.warn(f"{path}: {unwanted.sum()} boxes {which} were left out, first line {line}", stacklevel=3)
    return rows[~unwanted]


def _labels(rows: pd.DataFrame, sequence: _Sequence, label: str) -> np.ndarray:
    """(n,) class name of each row."""
    if sequence.labels is None:
        return np.full(len(rows), label, object)
    number = rows["class"].to_numpy()
    bad = ~np.isin(number, np.arange(1, len(sequence.labels) + 1))
    count = len(sequence.labels)
    text = f"class must be 1 to {count}, a line of labels.txt, got {{class:.15g}}"
    refuse(rows, bad, sequence.path, text, MotError)
    return np.array(sequence.labels, object)[number.astype(np.int64) - 1]


def _tubes(rows: pd.DataFrame, boxes: np.ndarray, sequence: _Sequence, label: str, ground_truth: bool) -> list[Tube]:
    path = sequence.path
    loose = (rows["id"] == NO_ID).to_numpy()
    refuse(rows, loose, path, "id -1: boxes without tracks are detections, link them into tubes first", MotError)
    labels = _labels(rows, sequence, label)
    ids, frames = rows["id"].to_numpy(np.int64), rows["frame"].to_numpy(np.int64) - 1
    if sequence.num_frames is not None:
        text = f"frame {{frame:.0f}}, but seqinfo.ini says there are {sequence.num_frames}"
        refuse(rows, frames >= sequence.num_frames, path, text, MotError)
    again = pd.DataFrame({"id": ids, "frame": frames}).duplicated().to_numpy()
    refuse(rows, again, path, "a second box of id {id:.0f} in frame {frame:.0f}", MotError)
    order = np.lexsort((frames, ids))
    starts = np.flatnonzero(np.diff(ids[order], prepend=-2))
    scores = np.where(rows["conf"] == NO_SCORE, np.nan, rows["conf"]).astype(np.float32)
    tubes = []
    for start, end in zip(starts, np.append(starts[1:], len(order))):
        some = order[start:end]
        changes = labels[some] != labels[some[0]]
        if changes.any():
            line = rows.index[some[np.flatnonzero(changes)[0]]]
            raise MotError(f"{path}, line {line}: the class of id {ids[some[0]]} changes")
        own = None if ground_truth else scores[some]
        total = float("nan")
        if own is not None and not np.isnan(own).all():
            total = float(np.nanmean(own.astype(np.float64)))
        tubes.append(Tube(str(labels[some[0]]), frames[some], boxes[some], own, total, int(ids[some[0]])))
    return tubes
