"""What can be wrong with boxes and tubes: beyond the picture or the end, tiny, jumping, full of holes, drawn twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from linking.geometry import box_iou, paired_box_iou
from linking.table_checks import BOX_COLUMNS
from video.dataset_findings import Findings, Severity, counted_as
from video.dataset_rows import DatasetRows

MARGIN = 1.5
"""Pixels by which a box may leave the picture: inclusive and continuous corners differ by one."""
TINY = 0.02
"""Sides below this share of the picture's shorter side are tiny: 2 pixels of the 112 that a network sees."""
SHORT = 3
"""Tubes of fewer frames are short, where most are longer."""
_USUALLY_LONG = 10
_TWICE_IOU, _TWICE_SHARE = 0.9, 0.5
"""Two tubes are one drawn twice where their boxes overlap so much, in this share of the frames of the shorter one."""
_JUMP = 2.0
"""Sizes of the box by which it must move from one frame to the next, without overlap, to have jumped."""


def check_boxes(
    rows: DatasetRows,
    sizes: Mapping[str, tuple[int, int]],
    lengths: Mapping[str, int],
    counted: Mapping[str, bool],
    findings: Findings,
) -> None:
    """``sizes``, width and height in which a video is annotated, and ``lengths`` in frames, as far as they are known.

    ``counted``: whether the length of a video is exact or by packets.
    """
    table = rows.table
    if not len(table):
        return
    _beyond_the_picture(rows, sizes, findings)
    _beyond_the_end(rows, lengths, counted, findings)
    _in_time(rows, findings)
    for _, indices in table.groupby(["video", "label"], sort=False).indices.items():
        _drawn_twice(rows, indices, findings)


def _by_tube(table: pd.DataFrame, wrong: np.ndarray) -> Iterator[np.ndarray]:
    """The wrong rows of each tube that has any."""
    at = np.flatnonzero(wrong)
    tubes = table.iloc[at]
    for _, places in tubes.groupby(["video", "tube"], sort=False).indices.items():
        yield at[places]


def _beyond_the_picture(rows: DatasetRows, sizes: Mapping[str, tuple[int, int]], findings: Findings) -> None:
    table = rows.table
    boxes = table[list(BOX_COLUMNS)].to_numpy()
    unknown = (np.inf, np.inf)
    codes, names = pd.factorize(table["video"])
    size = np.array([sizes.get(name, unknown) for name in names], float)[codes]
    beyond = (boxes[:, :2] < -MARGIN).any(axis=1) | (boxes[:, 2:] > size + MARGIN).any(axis=1)
    gone = (boxes[:, 2:] <= 0).any(axis=1) | (boxes[:, :2] >= size).any(axis=1)

    def tell(which: np.ndarray, severity: Severity, verb: str) -> None:
        for found in _by_tube(table, which):
            row = int(found[0])
            picture = sizes.get(table["video"].iloc[row])
            of = f", the picture is {picture[0]} x {picture[1]}" if picture else ""
            corners = " ".join(f"{value:g}" for value in boxes[row].round(1))
            findings.add(severity, "box-outside", f"{_boxes(len(found))} {verb}: {corners}{of}", **rows.place(row))

    tell(gone, "error", "outside the picture")
    tell(beyond & ~gone, "warning", "partly outside the picture")
    sides = boxes[:, 2:] - boxes[:, :2]
    limit = TINY * np.where(np.isfinite(size[:, 0]), size.min(axis=1), 240.0)
    for found in _by_tube(table, (sides.min(axis=1) < limit) & ~gone):
        row = int(found[0])
        text = f"{_boxes(len(found))} tiny: {sides[row, 0]:.3g} x {sides[row, 1]:.3g} pixels"
        findings.add("warning", "box-tiny", text, **rows.place(row))


def _beyond_the_end(
    rows: DatasetRows, lengths: Mapping[str, int], counted: Mapping[str, bool], findings: Findings
) -> None:
    table = rows.table
    codes, names = pd.factorize(table["video"])
    length = np.array([lengths.get(name, np.inf) for name in names], float)[codes]
    frames = table["frame"].to_numpy()
    for found in _by_tube(table, frames >= length):
        row = int(found[0])
        about = "" if counted.get(table["video"].iloc[row], True) else " by its packets"
        text = (
            f"frame {frames[row]}"
            + (f" to {frames[found].max()}" if len(found) > 1 else "")
            + f", but the video has {length[row]:.0f} frames{about}, the last is {length[row] - 1:.0f}"
        )
        findings.add("error", "frame-beyond-end", text, **rows.place(row))


def _in_time(rows: DatasetRows, findings: Findings) -> None:
    """Holes, jumps, and tubes that hardly begin; rows are sorted by video, tube and frame."""
    table = rows.table
    tube_codes = table.groupby(["video", "tube"], sort=False).ngroup().to_numpy()
    frames, boxes = table["frame"].to_numpy(), table[list(BOX_COLUMNS)].to_numpy()
    inside = tube_codes[1:] == tube_codes[:-1]
    steps = np.diff(frames)
    lengths = np.bincount(tube_codes)
    # annotation of key frames has the same step everywhere
    usual = int(np.median(steps[inside])) if inside.any() else 1
    holes = inside & (steps > max(usual, 1))
    for found in _by_tube(table, np.append(holes, False)):
        row = int(found[0])
        missing = int((steps[found] - 1).sum())
        text = f"{counted_as(missing, 'frame')} missing in {counted_as(len(found), 'hole')}, the first"
        text += f" between frames {frames[row]} and {frames[row + 1]}"
        findings.add("warning", "tube-gap", text, **rows.place(row))
    sides = np.maximum((boxes[:, 2:] - boxes[:, :2]).max(axis=1), 1e-6)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    moved = np.abs(np.diff(centres, axis=0)).max(axis=1) / np.minimum(sides[1:], sides[:-1])
    apart = paired_box_iou(boxes[1:], boxes[:-1]) == 0
    for found in _by_tube(table, np.insert(inside & (steps == 1) & apart & (moved > _JUMP), 0, False)):
        row = int(found[0])
        pixels = np.abs(centres[row] - centres[row - 1]).max()
        text = f"jumps by {pixels:.0f} pixels from the frame before, {counted_as(len(found), 'time')} in all"
        findings.add("warning", "box-jump", text, **rows.place(row))
    if np.median(lengths) >= _USUALLY_LONG:
        starts = np.flatnonzero(np.r_[True, ~inside])
        for row in starts[lengths < SHORT].tolist():
            count = counted_as(int(lengths[tube_codes[row]]), "frame")
            text = f"{count}; half of all have {np.median(lengths):.0f} or more"
            findings.add("warning", "tube-short", text, **rows.place(row))


def _drawn_twice(rows: DatasetRows, indices: np.ndarray, findings: Findings) -> None:
    """Pairs of tubes of one video and class that cover each other; ``indices`` are the rows of these."""
    table = rows.table
    ids = table["tube"].to_numpy()[indices]
    starts = np.flatnonzero(np.r_[True, np.diff(ids) != 0])
    if len(starts) < 2:
        return
    tubes = np.split(indices, starts[1:])
    frames, boxes = table["frame"].to_numpy(), table[list(BOX_COLUMNS)].to_numpy()
    label = table["label"].iloc[int(indices[0])]
    first, last = frames[[tube[0] for tube in tubes]], frames[[tube[-1] for tube in tubes]]
    around = np.array([[*boxes[tube, :2].min(axis=0), *boxes[tube, 2:].max(axis=0)] for tube in tubes])
    may = (box_iou(around, around) > 0) & (first[:, None] <= last) & (first <= last[:, None])
    for i, j in zip(*np.nonzero(np.triu(may, 1))):
        a, b = tubes[i], tubes[j]
        _, at_a, at_b = np.intersect1d(frames[a], frames[b], assume_unique=True, return_indices=True)
        if len(at_a) < _TWICE_SHARE * min(len(a), len(b)):
            continue
        overlap = paired_box_iou(boxes[a[at_a]], boxes[b[at_b]])
        if overlap.mean() < _TWICE_IOU:
            continue
        same = len(at_a) == len(a) == len(b) and bool((boxes[a] == boxes[b]).all())
        other = rows.place(int(a[0]))
        where = f" (line {other['line']})" if other["line"] else ""
        text = f"{'the same boxes as' if same else 'nearly'} tube {other['tube']}{where}, both {label!r}"
        findings.add("error" if same else "warning", "tube-twice", text, **rows.place(int(b[0])))


def _boxes(count: int) -> str:
    return "1 box is" if count == 1 else f"{count} boxes are"
