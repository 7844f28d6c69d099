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
    """(edges,) int32."""
    target: np.ndarray
    """(edges,) int32, ascending."""
    overlap: np.ndarray
    """(edges,) float32, IoU of the two boxes."""


def link_graph(
    candidates: Candidates,
    usable: np.ndarray,
    *,
    max_gap: int,
    min_overlap: float,
    inclusive_pixels: bool = False,
    nearest: int | None = NEAREST,
    cuts: Sequence[int] = (),
) -> LinkGraph:
    """Edges between boxes at most ``max_gap`` frames apart (0: neighbouring frames) and of one shot.

    An edge needs an IoU of at least ``min_overlap``, with one pixel added to each side if ``inclusive_pixels``, and
    a class that may use both boxes: ``usable`` (n, classes). ``cuts`` are the first frames of new shots.
    """
    start = candidates.start
    boxes = with_last_pixel(candidates.boxes) if inclusive_pixels else candidates.boxes
    classes = class_words(usable)
    shot = np.searchsorted(np.asarray(cuts), candidates.first_frame + np.arange(candidates.num_frames), side="right")
    parts = [(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.float32))]
    for step in range(1, max_gap + 2):
        for t0, t1 in frame_blocks(start, step):
            t0 = max(t0, step)
            if t0 >= t1:
                continue
            to, back = padded(start, t0, t1), padded(start, t0 - step, t1 - step)
            with np.errstate(invalid="ignore"):
                overlap = overlaps(boxes_in(boxes, to), boxes_in(boxes, back))
                near = overlap >= min_overlap
            if len(cuts):
                near &= (shot[t0:t1] == shot[t0 - step : t1 - step])[:, None, None]
            found = np.flatnonzero(near)
            frame, pair = np.divmod(found, to.shape[1] * back.shape[1])
            target = to[frame, pair // back.shape[1]]
            source = back[frame, pair % back.shape[1]]
            value = overlap.ravel()[found]
            shared = (classes[source] & classes[target]).any(axis=1)
            if nearest is not None:
                shared[shared] = _best_of_each(target[shared], value[shared], nearest)
            parts.append((source[shared].astype(np.int32), target[shared].astype(np.int32), value[shared]))
    source, target, overlap = (np.concatenate(part) for part in zip(*parts))
    order = np.argsort(target, kind="stable")  # a merge of few ascending runs, and nearer frames stay first
    return LinkGraph(source[order], target[order], overlap[order])


def class_words(usable: np.ndarray) -> np.ndarray:
    """(n, words) uint64: bit ``c`` of a row's words, counted through, is ``usable[row, c]``."""
    packed = np.packbits(usable, axis=1, bitorder="little")
    words = np.zeros((len(packed), -(-packed.shape[1] // 8) * 8), np.uint8)
    words[:, : packed.shape[1]] = packed
    return words.view("<u8")


def _best_of_each(target: np.ndarray, value: np.ndarray, most: int) -> np.ndarray:
    """(edges,) bool: the ``most`` edges of highest value that lead to each target; ``target`` ascends."""
    kept = np.ones(len(target), bool)
    counts = np.bincount(target - target[0]) if len(target) else np.zeros(0, np.int64)
    if counts.max(initial=0) > most:
        crowded = np.flatnonzero(counts[target - target[0]] > most)
        by_value = crowded[np.lexsort((-value[crowded], target[crowded]))]
        sizes = counts[counts > most]
        rank = np.arange(len(by_value)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        kept[by_value[rank >= most]] = False
    return kept
