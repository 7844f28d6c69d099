"""The best paths through a graph of boxes, path after path, for all classes at once.

The value of a path is the sum over its edges of ``s_i + s_j + overlap_weight * IoU_ij`` (Saha et al. 2016,
Eq. 2): Viterbi gives the best path, its boxes are taken away, and the search is repeated. This module does
that without a pass over the video for every path. One pass (``_values``) gives the best value of a path that
ends in each box; several paths are then read off it, best first, as long as taking one away cannot have
changed the next (``_read_paths``); what is left undecided waits for the next pass.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from linking.candidates import Candidates
from linking.geometry import paired_box_iou
from linking.link_graph import LinkGraph

FREE, TAKEN, UNDECIDED, GONE = range(4)


@dataclass(frozen=True)
class PathRules:
    """What a path is; see ``link.LinkConfig``."""

    overlap_weight: float
    max_paths: int
    min_boxes: int
    suppress_iou: float
    whole_video: bool


def best_paths(
    candidates: Candidates, graph: LinkGraph, usable: np.ndarray, rules: PathRules
) -> list[list[np.ndarray]]:
    """For every class its paths, best first in each part of the video: ascending box indices.

    ``usable`` (n, classes) says which box a class may use.
    """
    usable = usable.copy()
    paths: list[list[np.ndarray]] = [[] for _ in range(usable.shape[1])]
    alive_paths = np.zeros((usable.shape[1], candidates.num_frames), np.int64)
    waiting = np.flatnonzero(usable.any(axis=0))
    while len(waiting):
        scores = np.where(usable[:, waiting], candidates.scores[:, waiting], -np.inf)
        reach = _values(candidates.start, graph, scores, rules)
        again = []
        for column, number in enumerate(waiting):
            reader = _PathReader(candidates, graph, scores[:, column], reach[:, column], rules)
            found, undecided = reader.read(alive_paths[number])
            paths[number] += found
            usable[reader.boxes[reader.state_of(TAKEN, GONE)], number] = False
            if undecided and found:
                again.append(number)
        waiting = np.array(again, np.int64)
    return paths


def _values(start: np.ndarray, graph: LinkGraph, scores: np.ndarray, rules: PathRules) -> np.ndarray:
    """(n, classes) value of the best path that ends in each box, plus the score of the box.

    The own score is added because every edge onwards counts it once more; -inf marks boxes out of use.
    """
    reach = scores.astype(np.float64)
    if rules.whole_video:
        reach[start[1] :] = -np.inf  # a path begins in the first frame
    gain = (rules.overlap_weight * graph.overlap.astype(np.float64))[:, None]
    edges_before = graph.first_edge[start]
    for t in np.flatnonzero(np.diff(edges_before)):
        edges = slice(edges_before[t], edges_before[t + 1])
        first = graph.first_edge[start[t] : start[t + 1] + 1] - edges.start
        # reduceat takes no empty runs, so boxes that nothing leads to are left out
        led_to = np.flatnonzero(np.diff(first))
        values = reach[graph.source[edges]]
        values += gain[edges]
        best = np.maximum.reduceat(values, first[led_to], axis=0)
        led_to += start[t]
        own = scores[led_to]
        best += own
        if not rules.whole_video:
            np.maximum(best, 0, out=best)  # beginning here is better than coming from a dead end
        best += own
        reach[led_to] = best
    return reach


class _PathReader:
    """Reads the paths of one class off the values of one pass."""

    def __init__(
        self, candidates: Candidates, graph: LinkGraph, scores: np.ndarray, reach: np.ndarray, rules: PathRules
    ):
        self.rules = rules
        self.boxes = np.flatnonzero(reach > -np.inf)
        """Indices of the boxes in use; everything below counts within them."""
        number = np.full(len(scores), -1)
        number[self.boxes] = np.arange(len(self.boxes))
        self.corners = candidates.boxes[self.boxes]
        self.start = np.searchsorted(self.boxes, candidates.start)
        self.time = np.repeat(np.arange(candidates.num_frames), np.diff(self.start))
        self.value = reach[self.boxes] - scores[self.boxes]

        counts = graph.first_edge[self.boxes + 1] - graph.first_edge[self.boxes]
        edges = np.repeat(graph.first_edge[self.boxes] - (np.cumsum(counts) - counts), counts)
        edges += np.arange(len(edges))
        source, target = number[graph.source[edges]], np.repeat(np.arange(len(self.boxes)), counts)
        edges, source, target = edges[source >= 0], source[source >= 0], target[source >= 0]
        self.source, self.first_edge = source, np.searchsorted(target, np.arange(len(self.boxes) + 1))
        through = reach[self.boxes][source] + rules.overlap_weight * graph.overlap[edges].astype(np.float64)
        self.before = self._best_before(through, source, target, scores[self.boxes])
        self.root, self.length = _roots(self.before)
        self.state = np.full(len(self.boxes), FREE, np.uint8)

    def _best_before(
        self, through: np.ndarray, source: np.ndarray, target: np.ndarray, scores: np.ndarray
    ) -> np.ndarray:
        """Index of the box before each box on its best path, -1 where the path begins."""
        before = np.full(len(self.boxes), -1)
        best = np.full(len(self.boxes), -np.inf)
        led_to = np.flatnonzero(np.diff(self.first_edge))
        if len(led_to):
            best[led_to] = np.maximum.reduceat(through, self.first_edge[led_to])
        chosen = np.flatnonzero(through == best[target])[::-1]
        before[target[chosen]] = source[chosen]  # the last write, so the first of equals, stays
        if not self.rules.whole_video:
            before[best + scores <= 0] = -1
        return before

    def state_of(self, *states: int) -> np.ndarray:
        return np.isin(self.state, states)

    def read(self, alive_paths: np.ndarray) -> tuple[list[np.ndarray], bool]:
        """Paths that are certain, and whether others wait for another pass.

        Ends are taken by falling value. A path is certain when none of its boxes is taken, and when no
        undecided path can come to share boxes with it: an undecided path may turn to another predecessor
        once its own is gone, so the trees of all its possible predecessors are reserved for the next pass.
        """
        rules, state = self.rules, self.state
        shortest = len(alive_paths) if rules.whole_video else rules.min_boxes
        ends = np.flatnonzero(self.length >= shortest)
        if rules.whole_video:
            ends = ends[self.time[ends] == len(alive_paths) - 1]
        ends = ends[np.argsort(-self.value[ends], kind="stable")]
        before = self.before.tolist()
        reserved = np.zeros(len(self.boxes), bool)
        found, undecided = [], False
        for end in ends.tolist():
            if state[end] != FREE:
                continue
            path, box = [], end
            while box >= 0 and state[box] == FREE:
                path.append(box)
                box = before[box]
            if box >= 0 and len(path) < rules.min_boxes:
                state[path] = UNDECIDED
                continue
            members = np.array(path[::-1])
            if box < 0 and not reserved[self.root[end]]:
                state[members] = TAKEN
                found.append(self.boxes[members])
                self._clear_beside(members, alive_paths)
            else:
                undecided = True
                state[members] = UNDECIDED
                rivals = self.source[_ranges(self.first_edge[members], self.first_edge[members + 1])]
                reserved[self.root[rivals]] = True
        return found, undecided

    def _clear_beside(self, path: np.ndarray, alive_paths: np.ndarray) -> None:
        """Take away the near-copies of the boxes of ``path``, and everything in frames that are full."""
        rules, times = self.rules, self.time[path]
        if rules.suppress_iou < 1:
            first, last = self.start[times], self.start[times + 1]
            beside = _ranges(first, last)
            owner = np.repeat(path, last - first)
            same = paired_box_iou(self.corners[beside], self.corners[owner]) > rules.suppress_iou
            gone = beside[same]
            self.state[gone[self.state[gone] != TAKEN]] = GONE
        alive_paths[times[0] : times[-1] + 1] += 1
        full = np.flatnonzero(alive_paths[times[0] : times[-1] + 1] >= rules.max_paths) + times[0]
        if len(full):
            gone = _ranges(self.start[full], self.start[full + 1])
            self.state[gone[self.state[gone] != TAKEN]] = GONE


def _roots(before: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First box of the path that ends in each box, and the number of boxes on it, by pointer doubling."""
    root = np.where(before < 0, np.arange(len(before)), before)
    length = np.where(before < 0, 0, 1)
    while True:
        further = root[root]
        if (further == root).all():
            return root, length + 1
        length = length + length[root]
        root = further


def _ranges(first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """The numbers ``first[k] .. last[k]`` of every k in a row."""
    counts = last - first
    return np.repeat(first - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
