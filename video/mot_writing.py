"""Writing MOTChallenge text from tubes and from detections; the format is described in video.mot."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from linking.files import replace_when_whole
from linking.records import Tube, VideoAnnotation
from linking.table_checks import BOX_COLUMNS, checked
from video.mot import NO_ID, NO_SCORE, MotError, corners
from video.names import is_video_name
from video.number_rows import shortest_decimals


def write_mot(
    annotations: Sequence[VideoAnnotation], folder: str | os.PathLike[str], *, as_published: bool = False
) -> list[Path]:
    """Write each video to a file of its own, and give the files.

    Ground truth becomes ``VIDEO/gt/gt.txt``, with ``VIDEO/seqinfo.ini`` for what is known of length and size; tubes
    with scores become ``VIDEO.txt``, as evaluation codes expect results. Labels are class numbers, sorted by
    name, with labels.txt beside each file. read_mot gives the same tubes again but for two things: the score of a
    tube becomes the mean of its boxes' (a tube whose boxes have none gives them its own), and ids grow by 1 in
    videos in which one is 0, since the format's begin with 1. Results do not keep length and size. Each file is
    written whole or not at all. Raises MotError.
    """
    folder = Path(folder)
    tubes = [tube for annotation in annotations for tube in annotation.tubes]
    results = any((_box_scores(tube) != NO_SCORE).any() for tube in tubes)
    names = sorted({tube.label for tube in tubes})
    _check_names([annotation.video for annotation in annotations], names, folder, results)
    written = []
    for annotation in annotations:
        home = folder / annotation.video
        path = home.with_name(f"{home.name}.txt") if results else home / "gt" / "gt.txt"
        rows = [np.zeros((0, 8))]
        shift = 1 if any(tube.id == 0 for tube in annotation.tubes) else 0
        for tube in annotation.tubes:
            conf = _box_scores(tube) if results else np.ones(len(tube))
            about = np.stack([tube.frames + 1, np.full(len(tube), tube.id + shift)], axis=1)
            number = np.full(len(tube), names.index(tube.label) + 1)
            rows.append(np.column_stack([about, tube.boxes, conf, number]))
        _write_rows(path, np.concatenate(rows), as_published, "-1,-1" if results else "1")
        _write_names(path.parent / "labels.txt", names)
        if not results:
            _write_seqinfo(home / "seqinfo.ini", annotation)
        written.append(path)
    return written


def write_mot_detections(
    table: pd.DataFrame, folder: str | os.PathLike[str], *, as_published: bool = False
) -> list[Path]:
    """Write the boxes of each video of a tube table, whatever their tubes, to ``VIDEO/det/det.txt``; gives the files.

    Labels, if there are any, are class numbers as write_mot makes them. A box without a score gets 1.
    """
    folder = Path(folder)
    table = checked(table, lambda row: f"row {row + 1}", "tube table")
    names = sorted(table["label"].unique())
    if "" in names and len(names) > 1:
        raise MotError(f"{folder}: some boxes have a label and some have none; give all of them one or none")
    numbers = table["label"].map({name: k if name else -1 for k, name in enumerate(names, start=1)})
    rows = np.column_stack(
        [
            table["frame"] + 1,
            np.full(len(table), NO_ID),
            table[list(BOX_COLUMNS)].to_numpy(),
            table["score"].fillna(1.0),
            numbers.to_numpy(np.float64),
        ]
    )
    videos = sorted({*table["video"], *table.attrs.get("videos", {})})
    _check_names(videos, [name for name in names if name], folder, results=False)
    written = []
    for video in videos:
        path = folder / video / "det" / "det.txt"
        _write_rows(path, rows[(table["video"] == video).to_numpy()], as_published, "-1,-1")
        if names != [""]:
            _write_names(path.parent / "labels.txt", names)
        written.append(path)
    return written


def _box_scores(tube: Tube) -> np.ndarray:
    """(n,) what stands in the column conf: the boxes' scores, or the tube's where no box has one."""
    scores = np.asarray(tube.scores)
    if np.isnan(scores).all():
        scores = np.full(len(tube), tube.score)
    return np.where(np.isnan(scores), NO_SCORE, scores)


def _check_names(videos: Sequence[str], labels: Sequence[str], folder: Path, results: bool) -> None:
    for video in videos:
        if not is_video_name(video) or (results and video.rsplit("/", 1)[-1] in ("labels", "gt", "det")):
            raise MotError(f"{folder}: {video[:80]!r} cannot be the name of a file here")
    if len(set(videos)) < len(videos):
        raise MotError(f"{folder}: a video occurs twice; put its tubes together")
    for label in labels:
        if not label.isprintable() or label != label.strip() or not label:
            raise MotError(f"{folder}: the label {label[:80]!r} cannot be a line of labels.txt")


def _write_rows(path: Path, rows: np.ndarray, as_published: bool, tail: str) -> None:
    """Rows of frame and id from 1, x1, y1, x2, y2 (float32), conf, class; ordered by frame, then id."""
    rows = rows[np.lexsort((rows[:, 1], rows[:, 0]))]
    boxes = rows[:, 2:6]
    exact = np.concatenate([boxes[:, :2] + (0 if as_published else 1), boxes[:, 2:] - boxes[:, :2]], axis=1)
    places = shortest_decimals(exact, lambda rounded: (corners(rounded, as_published) == boxes).all(axis=1))
    with replace_when_whole(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        for (frame, track, *_, conf, number), place in zip(rows.tolist(), places):
            score = str(np.float32(conf)).removesuffix(".0")
            file.write(f"{frame:.0f},{track:.0f},{','.join(place)},{score},{number:.0f},{tail}\n")


def _write_names(path: Path, names: Sequence[str]) -> None:
    with replace_when_whole(path) as temporary:
        temporary.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")


def _write_seqinfo(path: Path, annotation: VideoAnnotation) -> None:
    known = {"seqLength": annotation.num_frames, "imWidth": annotation.width, "imHeight": annotation.height}
    lines = [f"{key}={value}\n" for key, value in known.items() if value is not None]
    with replace_when_whole(path) as temporary:
        temporary.write_text(f"[Sequence]\nname={annotation.video}\n{''.join(lines)}", encoding="utf-8")
