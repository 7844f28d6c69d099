"""Results as pandas, for notebooks: the tubes of one or many runs with seconds, and the usual questions to them.

Everything here takes and gives the table of :func:`read_results`, so that pandas does the rest (docs/results.md).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from linking.geometry import paired_box_iou
from linking.table_checks import BOX_COLUMNS, TableError, one_line
from linking.tables import SUFFIXES, read_tubes

__all__ = ["action_seconds", "at_second", "read_results", "tube_overlap", "tube_summary"]


def read_results(*paths: str | os.PathLike[str], fps: float | Mapping[str, float] | None = None) -> pd.DataFrame:
    """The tube tables of files and folders as one table, with seconds.

    A folder stands for its ``tubes.csv`` (or ``.parquet``, ``.json``) or, without one, for those of all folders
    below it. ``fps`` is frames a second, one number or one a video; without it that of the ``run.json`` beside a
    table is taken.

    Returns:
        The columns and dtypes of ``read_tubes`` and two more, float64, NaN where no rate is known: ``second``, at
        which the frame begins, and ``fps``. What is known of the videos (num_frames, width, height, fps, path) is
        in ``attrs["videos"]``.

    TableError for what is no tube table, a folder without one, a video that two tables hold, or an fps that is not
    above 0.
    """
    files = [file for path in paths for file in _tables_of(Path(path))]
    if not files:
        raise TableError("no results named; give the folder of a run or its tubes.csv")
    parts: list[pd.DataFrame] = []
    holder: dict[str, Path] = {}
    videos: dict[str, dict[str, Any]] = {}
    for file in files:
        part = read_tubes(file)
        known = {name: dict(facts) for name, facts in part.attrs.get("videos", {}).items()}
        for name, facts in _facts_of_run(file.parent / "run.json").items():
            known[name] = {**facts, **known.get(name, {})}
        for name in dict.fromkeys([*part["video"].unique(), *known]):
            if name in holder:
                raise TableError(f"{file}: video {name!r} is in {holder[name]} already; read the two apart")
            holder[name] = file
            videos[name] = known.get(name, {})
        parts.append(part)
    table = pd.concat(parts, ignore_index=True) if len(parts) > 1 else parts[0]
    for name, facts in videos.items():
        rate = fps.get(name, facts.get("fps")) if isinstance(fps, Mapping) else fps or facts.get("fps")
        if rate is not None:
            if not 0 < float(rate) < float("inf"):
                raise TableError(f"video {name!r}: fps must be above 0, got {rate}")
            facts["fps"] = float(rate)
    rates = table["video"].map({name: facts.get("fps", np.nan) for name, facts in videos.items()}).astype(np.float64)
    table["second"] = table["frame"] / rates
    table["fps"] = rates
    table.attrs["videos"] = videos
    return table


def tube_summary(table: pd.DataFrame) -> pd.DataFrame:
    """A row a tube, by video and number: label, score, frames ``first_frame`` to before ``end_frame``, their seconds.

    ``boxes`` counts the frames in which it has one; ``start``, ``end`` and ``seconds`` are NaN without a rate.
    Boxes in no tube are left out.
    """
    groups = table[table["tube"].notna()].groupby(["video", "tube"], sort=True)
    summary = groups.agg(
        label=("label", "first"),
        score=("tube_score", "first"),
        first_frame=("frame", "min"),
        end_frame=("frame", "max"),
        boxes=("frame", "size"),
        fps=("fps", "first"),
    ).reset_index()
    summary["end_frame"] += 1
    fps = summary.pop("fps")
    summary["start"] = summary["first_frame"] / fps
    summary["end"] = summary["end_frame"] / fps
    summary["seconds"] = summary["end"] - summary["start"]
    return summary


def at_second(table: pd.DataFrame, second: float) -> pd.DataFrame:
    """Who is where at ``second`` of each video: the rows of the frame that is shown then."""
    # frame k is shown from k / fps on; the small number forgives the rounding of k / fps * fps
    shown = np.floor(second * table["fps"] + 1e-6)
    return table[table["frame"] == shown]


def action_seconds(table: pd.DataFrame) -> pd.DataFrame:
    """Total time of each action in each video: videos down, labels across, in seconds; 0 where it does not occur.

    A frame counts once, however many actors do the action in it. Videos without a rate are NaN.
    """
    once = table[table["tube"].notna()].drop_duplicates(["video", "label", "frame"])
    frames = once.groupby(["video", "label"]).size().unstack(fill_value=0)
    return frames.div(once.groupby("video")["fps"].first(), axis=0)


def tube_overlap(table: pd.DataFrame, video: str, first: int, second: int) -> pd.DataFrame:
    """Frames in which two tubes of a video both have a box: ``frame``, ``second`` and ``iou`` of the boxes, 0..1."""
    rows = table[table["video"] == video]
    for tube in (first, second):
        if not (rows["tube"] == tube).any():
            there = ", ".join(str(number) for number in rows["tube"].dropna().unique()[:12])
            raise ValueError(f"video {video!r} has no tube {tube}; it has {there or 'none'}")
    columns = ["frame", "second", *BOX_COLUMNS]
    both = pd.merge(
        rows.loc[rows["tube"] == first, columns],
        rows.loc[rows["tube"] == second, ["frame", *BOX_COLUMNS]],
        on="frame", suffixes=("", "_other"),
    )  # fmt: skip
    boxes = both[list(BOX_COLUMNS)].to_numpy(np.float32)
    others = both[[f"{side}_other" for side in BOX_COLUMNS]].to_numpy(np.float32)
    both["iou"] = paired_box_iou(boxes, others)
    return both[["frame", "second", "iou"]].sort_values("frame", ignore_index=True)


def _tables_of(path: Path) -> list[Path]:
    """The file itself, or the tables of the run, or runs, in a folder."""
    if not path.is_dir():
        return [path]
    names = [f"tubes{suffix}" for suffix in SUFFIXES]
    for folders in ([path], sorted({table.parent for name in names for table in path.rglob(name)})):
        found = [
            next(folder / name for name in names if (folder / name).is_file())
            for folder in folders
            if any((folder / name).is_file() for name in names)
        ]
        if found:
            return found
    raise TableError(f"{path}: no tubes.csv in it nor below; give the --output folder of detect_video.py")


def _facts_of_run(path: Path) -> dict[str, dict[str, Any]]:
    """What ``run.json`` knows of each video; nothing where there is none."""
    if not path.is_file():
        return {}
    try:
        entries = json.loads(path.read_bytes())["videos"]
        names = ("num_frames", "width", "height", "fps", "path")
        return {str(entry["video"]): {name: entry[name] for name in names if name in entry} for entry in entries}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise TableError(f"{path}: not the record of a run ({one_line(error, 80)}); delete it or give fps") from error
