"""Which box may follow which: the graph in which paths are searched, shared by all classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from linking.candidates import PAIRS_AT_ONCE, Candidates, corners_of, overlaps, padded, stable_order, with_last_pixel

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
    corners = corners_of(with_last_pixel(candidates.boxes) if inclusive_pixels else candidates.boxes)
    classes = class_words(usable)
    shot = np.searchsorted(np.asarray(cuts), candidates.first_frame + np.arange(candidates.num_frames), side="right")
    parts = [(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.float32))]
    for step in range(1, max_gap + 2):
        for frames in _alike(np.diff(start), step):
            to, back = padded(start, frames), padded(start, frames - step)
            with np.errstate(invalid="ignore"):
                overlap = overlaps(corners[:, to], corners[:, back])
                near = overlap >= min_overlap
            if len(cuts):
                near &= (shot[frames] == shot[frames - step])[:, None, None]
            found = np.flatnonzero(near)
            row = found // back.shape[1]
            target = to.ravel()[row]
            source = back[row // to.shape[1], found - row * back.shape[1]]
            value = overlap.ravel()[found]
            shared = classes[0][source] & classes[0][target] != 0
            for word in classes[1:]:
                shared |= word[source] & word[target] != 0
            if nearest is not None:
                shared[shared] = _best_of_each(target[shared], value[shared], nearest)
            parts.append((source[shared].astype(np.int32), target[shared].astype(np.int32), value[shared]))
    source, target, overlap = (np.concatenate(part) for part in zip(*parts))
    order = stable_order(target)  # nearer frames stay first
    return LinkGraph(source[order], target[order], overlap[order])


def _alike(counts: np.ndarray, step: int) -> Iterator[np.ndarray]:
    """Frames ``t`` with boxes in ``t`` and in ``t - step``, in groups of like counts, so that little is padding."""
    fewer, more = np.minimum(counts[step:], counts[:-step]), np.maximum(counts[step:], counts[:-step])
    for widest in np.unique(more[fewer > 0]).tolist():
        frames = np.flatnonzero((more == widest) & (fewer > 0)) + step
        size = max(1, PAIRS_AT_ONCE // widest**2)
        for first in range(0, len(frames), size):
            yield frames[first : first + size]


def class_words(usable: np.ndarray) -> np.ndarray:
    """(words, n) uint64: bit ``c`` of a column's words, counted through, is ``usable[column, c]``."""
    packed = np.packbits(usable, axis=1, bitorder="little")
    words = np.zeros((len(packed), -(-packed.shape[1] // 8) * 8), np.uint8)
    words[:, : packed.shape[1]] = packed
    return np.ascontiguousarray(words.view("<u8").T)


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
