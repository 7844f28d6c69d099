"""Which box may follow which: the graph in which paths are searched, shared by all classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from linking.candidates import Candidates, boxes_in, frame_blocks, overlaps, padded, with_last_pixel

NEAREST = 8
"""Predecessors a box keeps in each earlier frame; more than this many overlapping boxes are near-copies."""


@dataclass(frozen=True, eq=False)
class LinkGraph:
    """Edges sorted by the box they lead to; edge ``e`` goes from box ``source[e]`` to box ``target[e]``."""

    source: np.ndarray
    """(edges,) int64."""
    target: np.ndarray
    """(edges,) int64, ascending."""
    overlap: np.ndarray
    """(edges,) float32, IoU of the two boxes."""
    first_edge: np.ndarray
    """(boxes + 1,) int64: edges ``first_edge[i]`` to ``first_edge[i + 1]`` lead to box ``i``."""


def link_graph(
    candidates: Candidates,
    *,
    max_gap: int,
    min_overlap: float,
    inclusive_pixels: bool = False,
    nearest: int | None = NEAREST,
    cuts: Sequence[int] = (),
) -> LinkGraph:
    """Edges between boxes at most ``max_gap`` frames apart (0: neighbouring frames) and of one shot.

    An edge needs an IoU of at least ``min_overlap``, with one pixel added to each side if ``inclusive_pixels``.
    ``cuts`` are the first frames of new shots.
    """
    start = candidates.start
    boxes = with_last_pixel(candidates.boxes) if inclusive_pixels else candidates.boxes
    shot = np.searchsorted(np.asarray(cuts), candidates.first_frame + np.arange(candidates.num_frames), side="right")
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for step in range(1, max_gap + 2):
        for t0, t1 in frame_blocks(start, step):
            t0 = max(t0, step)
            if t0 >= t1:
                continue
            to, back = padded(start, t0, t1), padded(start, t0 - step, t1 - step)
            with np.errstate(invalid="ignore"):
                overlap = overlaps(boxes_in(boxes, to), boxes_in(boxes, back))
                usable = overlap >= min_overlap
            usable &= (shot[t0:t1] == shot[t0 - step : t1 - step])[:, None, None]
            if nearest is not None and overlap.shape[2] > nearest:
                floor = np.partition(np.where(usable, overlap, -1), -nearest, axis=2)[:, :, -nearest]
                usable &= overlap >= floor[:, :, None]
            frame, target, source = np.nonzero(usable)
            parts.append((back[frame, source], to[frame, target], overlap[frame, target, source]))
    empty = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))
    source, target, overlap = (np.concatenate(part) for part in zip(empty, *parts))
    order = np.argsort(target, kind="stable")  # a merge of few ascending runs, and nearer frames stay first
    target = target[order]
    first_edge = np.searchsorted(target, np.arange(len(candidates.boxes) + 1))
    return LinkGraph(source[order], target, overlap[order], first_edge)
