"""Writing AVA's csv from tubes and from detections; the format is described in video.ava."""

from __future__ import annotations

import math
import os
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from linking.files import replace_when_whole
from linking.records import Tube, VideoAnnotation
from linking.table_checks import BOX_COLUMNS, checked
from linking.tables import table_from_annotations
from video.ava import AvaError, check_clock, frame_of_second
from video.names import is_video_name
from video.number_rows import shortest_decimals


def write_ava(
    annotations: Sequence[VideoAnnotation],
    path: str | os.PathLike[str],
    *,
    class_names: Mapping[int, str] | None = None,
    fps: float | None = None,
    start: float = 0.0,
) -> None:
    """Write tubes as AVA ground truth; arguments as of read_ava, which gives the same tubes again.

    Pixels become fractions where the annotation knows its size; otherwise boxes must be fractions. With ``fps`` only
    frames that lie on a whole second are written, since the format has no others. Tubes that share a box belong
    to one person; apart from that persons are numbered anew. Lost are videos and tubes without a key frame (with a
    warning), scores, and the limit between two tubes of a person and label that touch. Raises AvaError.
    """
    path = Path(path)
    if len({one.video for one in annotations}) < len(annotations):
        raise AvaError(f"{path}: a video occurs twice; put its tubes together")
    table = table_from_annotations(annotations)
    gap = 1 if fps is None else math.ceil(fps)
    persons = [str(person) for one in annotations for person in _persons(one.tubes, gap)]
    lengths = [len(tube) for one in annotations for tube in one.tubes]
    kept = _write_rows(table, np.repeat(np.array(persons, object), lengths), path, class_names, fps, start)
    silent = len(lengths) - len(np.unique(np.repeat(np.arange(len(lengths)), lengths)[kept]))
    if silent:
        warnings.warn(f"{path}: {silent} tubes have no frame on a whole second and were left out", stacklevel=2)


def write_ava_detections(
    table: pd.DataFrame,
    path: str | os.PathLike[str],
    *,
    class_names: Mapping[int, str] | None = None,
    fps: float | None = None,
    start: float = 0.0,
) -> None:
    """Write the boxes of a tube table as AVA detections; arguments as of read_ava.

    A box without a score takes that of its tube; one that has neither is refused, as is one without a label. Sizes
    come from ``table.attrs["videos"]``. See write_ava for frames and boxes. Raises AvaError.
    """
    path = Path(path)
    table = checked(table, lambda row: f"row {row + 1}", "tube table")
    scores = table["score"].fillna(table["tube_score"]).to_numpy(np.float32)
    if np.isnan(scores).any():
        raise AvaError(f"{path}: row {np.flatnonzero(np.isnan(scores))[0] + 1} has no score")
    _write_rows(table, np.array([str(score) for score in scores], object), path, class_names, fps, start)


def _write_rows(
    table: pd.DataFrame,
    last: np.ndarray,
    path: Path,
    class_names: Mapping[int, str] | None,
    fps: float | None,
    start: float,
) -> np.ndarray:
    """Write the rows of a tube table that lie on a whole second, with ``last`` (n,) at their end; which those are."""
    check_clock(fps, start)
    for video in table["video"].unique():
        if not is_video_name(video) or "," in video or video != video.strip():
            raise AvaError(f"{path}: {video[:80]!r} cannot be the name of a video in AVA's csv")
    frames = table["frame"].to_numpy()
    seconds = frames if fps is None else np.floor(frames / fps + start + 0.5).astype(np.int64)
    kept = np.flatnonzero((frame_of_second(seconds, fps, start) == frames) & (seconds >= 0))
    if len(kept) == 0:
        raise AvaError(f"{path}: there is nothing to write: no box lies on a whole second")
    known = table.attrs.get("videos", {})
    table, last, seconds = table.iloc[kept], last[kept], seconds[kept]
    order, names = pd.factorize(table["video"], sort=True)
    sizes = [[known.get(name, {}).get(side) or 1 for side in ("width", "height")] * 2 for name in names]
    factors = np.array(sizes, np.float64)[order]
    pixels = table[list(BOX_COLUMNS)].to_numpy(np.float32)
    fractions = pixels / factors
    outside = ~((fractions >= -1) & (fractions <= 2)).all(axis=1)
    if outside.any():
        k = int(np.flatnonzero(outside)[0])
        raise AvaError(
            f"{path}: {table['video'].iloc[k][:80]!r}, frame {table['frame'].iloc[k]}: the box {pixels[k].tolist()} "
            "is no fraction of the picture; boxes in pixels can be written if the size of the picture is known"
        )
    actions = _action_ids(table["label"], class_names, path)
    texts = shortest_decimals(fractions, lambda rounded: ((rounded * factors).astype(np.float32) == pixels).all(axis=1))
    with replace_when_whole(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        for k in np.lexsort((actions, seconds, order)):
            file.write(f"{names[order[k]]},{seconds[k]:04d},{','.join(texts[k])},{actions[k]},{last[k]}\n")
    return kept


def _action_ids(labels: pd.Series, class_names: Mapping[int, str] | None, path: Path) -> np.ndarray:
    """(n,) action id of each label: its number in the list, or, without a list, the number that it is."""
    ids: dict[str, int] = {}
    for number, name in sorted((class_names or {}).items(), reverse=True):
        ids[name] = number
    for label in labels.unique():
        if class_names is None and re.fullmatch(r"0|[1-9][0-9]{0,5}", label):
            ids[label] = int(label)
        elif label not in ids:
            where = (
                "the list of actions does not have" if class_names is not None else "AVA needs a list of actions for"
            )
            raise AvaError(f"{path}: {where} the label {label[:80]!r}")
    return labels.map(ids).to_numpy(np.int64)


def _persons(tubes: Sequence[Tube], gap: int) -> list[int]:
    """A person number for each tube: tubes that share a box in a frame are one person's.

    Two tubes of one label less than ``gap`` frames apart never are: a reader would join them.
    """
    owner: dict[tuple[int, bytes], list[int]] = {}
    theirs: list[list[Tube]] = []
    persons = []
    for tube in tubes:
        keys = [(frame, box.tobytes()) for frame, box in zip(tube.frames.tolist(), tube.boxes)]
        candidates = sorted({person for key in keys for person in owner.get(key, ())})
        for person in candidates:
            if not any(_would_join(tube, other, gap) for other in theirs[person]):
                break
        else:
            person = len(theirs)
            theirs.append([])
        theirs[person].append(tube)
        persons.append(person)
        for key in keys:
            owner.setdefault(key, []).append(person)
    return persons


def _would_join(one: Tube, other: Tube, gap: int) -> bool:
    apart = max(one.first_frame - other.end_frame, other.first_frame - one.end_frame) + 1
    return one.label == other.label and apart <= gap
