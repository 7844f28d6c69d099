"""The best paths through a graph of boxes, path after path, for all classes at once.

The value of a path is the sum over its edges of ``s_i + s_j + overlap_weight * IoU_ij`` (Saha et al. 2016, section
4.1): Viterbi gives the best path, its boxes are taken away, and the search is repeated. This module does the same
without a pass over the video for every path. A pass (``_reach``) gives the value of the best path that ends in each
box. The chains of best predecessors form trees; the best path of one tree is not changed by taking away that of
another, unless boxes left over there can turn to it. Where they could (``_certain``), the tree waits for the next pass.

All of it works on *nodes*: a node is a box in use by a class. No edge joins two classes, so many of them share a pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from linking.candidates import Candidates, stable_order
from linking.link_graph import LinkGraph, class_words

EDGES_AT_ONCE = 2**20
"""Classes share a pass up to this many edges, which bounds the memory."""


@dataclass(frozen=True)
class PathRules:
    """What a path is; see ``link.LinkConfig``."""

    overlap_weight: float
    max_paths: int
    min_boxes: int
    whole_video: bool


@dataclass(frozen=True, eq=False)
class _Nodes:
    """Nodes and edges; put ``in_levels``, nodes ascend in level and edges in the node they lead to."""

    box: np.ndarray
    label: np.ndarray
    time: np.ndarray
    level: np.ndarray
    """Frames since the last one of its class that no edge crosses: what lies between two such frames is linked by
    itself, so the search need not go through a video frame by frame but through all of these pieces side by side."""
    score: np.ndarray
    source: np.ndarray
    target: np.ndarray
    gain: np.ndarray
    """Worth of the overlap of the two boxes of an edge."""

    def only(self, kept: np.ndarray) -> _Nodes:
        number = np.cumsum(kept) - 1
        edges = kept[self.source] & kept[self.target]
        return _Nodes(
            self.box[kept],
            self.label[kept],
            self.time[kept],
            self.level[kept],
            self.score[kept],
            number[self.source[edges]],
            number[self.target[edges]],
            self.gain[edges],
        )

    def in_levels(self, *, alone: bool) -> _Nodes:
        """The same nodes and edges with levels, in the order of these; nodes without an edge only if ``alone``."""
        level = _levels(self.label, self.time, self.source, self.target)
        order = stable_order(level)
        if not alone:
            order = order[self.linked()[order]]
        number = np.zeros(len(level), np.int64)
        number[order] = np.arange(len(order))
        source, target = number[self.source], number[self.target]
        by_target = stable_order(target)
        return _Nodes(
            self.box[order],
            self.label[order],
            self.time[order],
            level[order],
            self.score[order],
            source[by_target],
            target[by_target],
            self.gain[by_target],
        )

    def linked(self) -> np.ndarray:
        """(nodes,) bool: those with an edge."""
        linked = np.zeros(len(self.box), bool)
        linked[self.source] = linked[self.target] = True
        return linked

    def turned_round(self) -> _Nodes:
        """The same with time running backwards: node ``k`` becomes the k-th from the end."""
        last = len(self.box) - 1
        order = stable_order(last - self.source)
        return _Nodes(
            self.box[::-1],
            self.label[::-1],
            -self.time[::-1],
            -self.level[::-1],
            self.score[::-1],
            last - self.target[order],
            last - self.source[order],
            self.gain[order],
        )


def best_paths(
    candidates: Candidates, graph: LinkGraph, usable: np.ndarray, rules: PathRules
) -> list[list[np.ndarray]]:
    """For every class its paths as ascending box indices; ``usable`` (n, classes) says which boxes it may use.

    Of the paths that compete for boxes the better comes first.
    """
    paths: list[list[np.ndarray]] = [[] for _ in range(usable.shape[1])]
    alive_paths = np.zeros((usable.shape[1], candidates.num_frames), np.int64)
    for group in _groups(graph, usable):
        nodes = _nodes(candidates, graph, usable, group, rules)
        while len(nodes.box):
            nodes = nodes.in_levels(alone=rules.min_boxes == 1)
            found, left = _take_paths(nodes, alive_paths, rules)
            for path in found:
                paths[nodes.label[path[0]]].append(nodes.box[path])
            nodes = nodes.only(left)
    return paths


def _groups(graph: LinkGraph, usable: np.ndarray) -> Iterator[np.ndarray]:
    """Classes, so many together that their edges stay within bounds and their bits fit into a word."""
    words = class_words(usable)
    if len(words) == 1 and _shared_bits(graph, words[0]) <= EDGES_AT_ONCE:
        yield np.flatnonzero(usable.any(axis=0))
        return
    edges = np.zeros(usable.shape[1], np.int64)
    for first in range(0, len(graph.source), 2**16):
        block = slice(first, first + 2**16)
        edges += np.count_nonzero(usable[graph.source[block]] & usable[graph.target[block]], axis=0)
    group: list[int] = []
    total = 0
    for label in np.flatnonzero(usable.any(axis=0)).tolist():
        if group and (total + edges[label] > EDGES_AT_ONCE or len(group) == 64):
            yield np.array(group)
            group, total = [], 0
        group.append(label)
        total += int(edges[label])
    if group:
        yield np.array(group)


def _shared_bits(graph: LinkGraph, word: np.ndarray) -> int:
    return int(np.bitwise_count(word[graph.source] & word[graph.target]).sum(dtype=np.int64))


def _edges_of_classes(graph: LinkGraph, usable: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of an edge and a class, of at most 64, that may use both of its boxes: (pairs,) each, edges ascending."""
    word = class_words(usable)[0]
    shared = word[graph.source] & word[graph.target]
    edge = np.flatnonzero(shared)
    shared = shared[edge]
    edges, columns = [edge[:0]], [edge[:0]]
    while len(edge):  # once for the first class of each edge, once for the second of those that have one, ...
        lowest = shared & (~shared + np.uint64(1))
        edges.append(edge)
        columns.append(np.bitwise_count(lowest - np.uint64(1)).astype(np.int64))
        shared = shared ^ lowest
        more = shared != 0
        edge, shared = edge[more], shared[more]
    edge, column = np.concatenate(edges), np.concatenate(columns)
    order = stable_order(edge)
    return edge[order], column[order]


def _nodes(candidates: Candidates, graph: LinkGraph, usable: np.ndarray, group: np.ndarray, rules: PathRules) -> _Nodes:
    own = usable[:, group]
    box, column = np.nonzero(own)
    number = np.zeros(own.shape, np.int32)
    number[box, column] = np.arange(len(box))
    edge, edge_column = _edges_of_classes(graph, own)
    time = candidates.time[box]
    source, target = (number[side[edge], edge_column].astype(np.int64) for side in (graph.source, graph.target))
    # An edge across a gap counts its overlap once for every frame it bridges. Otherwise a detour through boxes that
    # happen to lie near would win by its number of edges.
    gain = rules.overlap_weight * graph.overlap[edge].astype(np.float64) * (time[target] - time[source])
    scores = candidates.scores[box, group[column]].astype(np.float64)
    return _Nodes(box, group[column], time, np.zeros_like(time), scores, source, target, gain)


def _levels(column: np.ndarray, time: np.ndarray, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(nodes,) frames since the last that no edge of the class crosses; see ``_Nodes.level``."""
    if len(time) == 0:
        return time
    frames = int(time.max()) + 2
    slots = (int(column.max()) + 1) * frames
    crossing = np.bincount(column[source] * frames + time[source] + 1, minlength=slots)
    crossing -= np.bincount(column[target] * frames + time[target] + 1, minlength=slots)
    starts = np.where(np.cumsum(crossing) == 0, np.arange(slots), 0)
    return time - (np.maximum.accumulate(starts)[column * frames + time] - column * frames)


def _reach(nodes: _Nodes, *, from_first_frame: bool) -> np.ndarray:
    """(nodes,) value of the best path that ends in each node, plus the score of the node; -inf where none can end.

    The own score is added because every edge onwards counts it once more.
    """
    reach = nodes.score.copy()
    if from_first_frame:
        reach[nodes.time > 0] = -np.inf
    if len(nodes.target) == 0:
        return reach
    first_edge = np.flatnonzero(np.diff(nodes.target, prepend=-1))
    led_to = nodes.target[first_edge]
    level = nodes.level[led_to]
    frame_at = np.flatnonzero(np.r_[True, level[1:] != level[:-1]]).tolist()
    edge_at = first_edge[frame_at].tolist()
    own = nodes.score[led_to]
    floor = -np.inf if from_first_frame else 0.0  # beginning here is better than coming from a dead end
    for k0, k1, e0, e1 in zip(frame_at, [*frame_at[1:], len(led_to)], edge_at, [*edge_at[1:], len(nodes.target)]):
        values = reach[nodes.source[e0:e1]]
        values += nodes.gain[e0:e1]
        best = np.maximum.reduceat(values, first_edge[k0:k1] - e0)
        best += own[k0:k1]
        np.maximum(best, floor, out=best)
        best += own[k0:k1]
        reach[led_to[k0:k1]] = best
    return reach


def _take_paths(nodes: _Nodes, alive_paths: np.ndarray, rules: PathRules) -> tuple[list[np.ndarray], np.ndarray]:
    """One pass: paths that are certain (node indices, best first), and (nodes,) which nodes go on to the next pass.

    ``alive_paths`` (classes, frames) counts the paths and is brought up to date.
    """
    num_frames = alive_paths.shape[1]
    reach = _reach(nodes, from_first_frame=rules.whole_video)
    before = _best_before(nodes, reach, rules)
    root, length = _roots(before)
    value = reach - nodes.score
    ends = length >= (num_frames if rules.whole_video else rules.min_boxes)
    if rules.whole_video:
        ends &= (nodes.time == num_frames - 1) & (reach > -np.inf)
    best_ends = _best_of_each_tree(np.flatnonzero(ends), root, value)
    paths = _walk_back(best_ends, before)

    on_path = np.zeros(len(nodes.box), bool)
    for path in paths:
        on_path[path] = True
    best = np.full(len(nodes.box), -np.inf)  # value of the best path of the tree of each root
    best[root[best_ends]] = value[best_ends]
    over = (best[root] > -np.inf) & ~on_path
    certain = _certain(nodes, reach, root, best, over)

    left = np.zeros(len(nodes.box), bool)
    left[over] = True
    gone = np.zeros(len(nodes.box), bool)
    full_labels: set[int] = set()
    found = []
    for end, path in zip(best_ends, paths):
        label = int(nodes.label[end])
        if not certain[root[end]] or label in full_labels:
            left[path] = True
            continue
        found.append(path)
        gone[path] = True
        span = slice(nodes.time[path[0]], nodes.time[end] + 1)
        alive_paths[label, span] += 1
        if alive_paths[label, span].max() >= rules.max_paths:
            full = np.flatnonzero(alive_paths[label, span] >= rules.max_paths) + span.start
            full_labels.add(label)  # what goes with these frames may be part of the paths that would come next
            gone |= (nodes.label == label) & np.isin(nodes.time, full)
    # boxes outside all trees of use may still carry a path once the trees are cut, but only in the same piece
    piece = nodes.label * num_frames + nodes.time - nodes.level
    waiting = np.zeros(alive_paths.size, bool)
    waiting[piece[left & ~gone]] = True
    return found, waiting[piece] & ~gone


def _certain(nodes: _Nodes, reach: np.ndarray, root: np.ndarray, best: np.ndarray, over: np.ndarray) -> np.ndarray:
    """(nodes,) for each root, whether nothing can come before the best path of its tree.

    What is left ``over`` of a better tree once its best path is taken can turn to another predecessor, here into tree
    R, and go on through other leftovers. The value of any such path is at most that of the way to the predecessor
    plus the best way onwards through leftovers; if no more than ``best[R]``, the best path of R is the next one.
    """
    threat = np.full(len(root), -np.inf)
    if over.any():
        onwards = np.full(len(root), -np.inf)
        onwards[over] = _reach(nodes.only(over).turned_round(), from_first_frame=False)[::-1]
        here, there = root[nodes.source], root[nodes.target]
        edges = np.flatnonzero(over[nodes.target] & (here != there) & (best[there] >= best[here]))
        by_edge = reach[nodes.source[edges]] + nodes.gain[edges] + onwards[nodes.target[edges]]
        np.maximum.at(threat, here[edges], by_edge)
    return threat <= best


def _best_of_each_tree(ends: np.ndarray, root: np.ndarray, value: np.ndarray) -> np.ndarray:
    """The end of highest value in each tree, best tree first; of equals the earlier end."""
    by_value = ends[np.argsort(-value[ends], kind="stable")]
    _, first = np.unique(root[by_value], return_index=True)
    return by_value[np.sort(first)]


def _walk_back(ends: np.ndarray, before: np.ndarray) -> list[np.ndarray]:
    """The path to each end, ascending; all paths go back side by side."""
    if len(ends) == 0:
        return []
    path, node = np.arange(len(ends)), ends
    paths, nodes = [], []
    while len(node):
        paths.append(path)
        nodes.append(node)
        node = before[node]
        path, node = path[node >= 0], node[node >= 0]
    path, node = np.concatenate(paths[::-1]), np.concatenate(nodes[::-1])
    return np.split(node[stable_order(path)], np.cumsum(np.bincount(path))[:-1])


def _best_before(nodes: _Nodes, reach: np.ndarray, rules: PathRules) -> np.ndarray:
    """(nodes,) the node before each on its best path, -1 where the path begins."""
    before = np.full(len(nodes.box), -1)
    if len(nodes.target) == 0:
        return before
    through = reach[nodes.source] + nodes.gain
    first_edge = np.flatnonzero(np.diff(nodes.target, prepend=-1))
    best = np.full(len(nodes.box), -np.inf)
    best[nodes.target[first_edge]] = np.maximum.reduceat(through, first_edge)
    chosen = np.flatnonzero((through == best[nodes.target]) & (through > -np.inf))[::-1]
    before[nodes.target[chosen]] = nodes.source[chosen]  # the last write, so the first of equals, stays
    if not rules.whole_video:
        before[best + nodes.score <= 0] = -1
    return before


def _roots(before: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First node of the path that ends in each node, and the number of nodes on it, by pointer doubling."""
    root = np.where(before < 0, np.arange(len(before)), before)
    length = np.where(before < 0, 0, 1)
    while True:
        further = root[root]
        if (further == root).all():
            return root, length + 1
        length = length + length[root]
        root = further
