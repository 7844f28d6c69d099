"""What one video's paths become under every trimming at once: the runs, and which trimmings keep each of them.

The same run of boxes comes out of many trimmings, so its score and its overlaps are computed once. What remains of
a video is small enough to keep that of thousands in memory.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eval.protocols import VIDEO_PROTOCOLS
from eval.tubes import overlap_parts, tube_overlaps, tube_set
from linking.build import LinkedPath, TubeConfig, linked_paths
from linking.geometry import paired_box_iou
from linking.records import Tube, VideoAnnotation
from linking.scores import ScoredVideo
from linking.trim import TrimConfig, action_gain, action_labels, best_mean, box_scores

_CELLS = 2**22
"""Frames times paths times trimmings looked at together: bounds the temporary arrays at some 100 MB."""


@dataclass(frozen=True)
class Trimming:
    """The two values that are chosen for a class."""

    alpha: float
    threshold: float
    """0 does not trim: every box is action."""


@dataclass(frozen=True, eq=False)
class TrimmedRuns:
    """All runs of a video that come out of any of the trimmings."""

    video: str
    label: np.ndarray
    """(n,) int64 index into the class names."""
    score: np.ndarray
    """(n,) float64."""
    kept: np.ndarray
    """(n, trimmings) bool: whether a trimming yields the run and its selection keeps it."""
    run: np.ndarray
    """(pairs,) int64 run of each pair of overlapping run and true tube of one class."""
    truth: np.ndarray
    """(pairs,) int64 position of the true tube among those of the video."""
    overlap: np.ndarray
    """(pairs,) float64 spatio-temporal IoU."""
    truth_label: np.ndarray
    """(true tubes,) int64 class of each true tube of the video, by ascending id; -1 for a class that is not fitted."""


def trimmed_runs(
    scored: ScoredVideo,
    truth: VideoAnnotation,
    class_names: Sequence[str],
    trimmings: Sequence[Trimming],
    config: TubeConfig,
) -> TrimmedRuns:
    """Link ``scored`` once and trim its paths in every way of ``trimmings``.

    Only paths of ``class_names`` take part. Every trimming gives what ``linking.build.build_tubes`` gives with it,
    before ``select.max_tubes``. Overlaps are those of the protocol ``saha``.
    """
    link = config.online if config.linker == "online" else config.link
    linked = [one for one in linked_paths(scored, link) if one.tube.label in class_names]
    paths = [one.tube for one in linked]
    trim = dataclasses.replace(config.trim, min_frames=min(config.trim.min_frames, max(1, scored.num_frames)))
    path, start, end, kept = _every_run(linked, trimmings, trim)
    runs = [_cut(paths[p], s, e, number, trim) for number, (p, s, e) in enumerate(zip(path, start, end))]
    score = np.array([run.score for run in runs], np.float64)
    kept &= (score >= config.select.min_score)[:, None]
    _suppress(runs, path, paths, kept, config.select.nms_iou)

    rules = VIDEO_PROTOCOLS["saha"]
    true_set = tube_set([truth], {truth.video: 0}, class_names)
    run_set = tube_set([VideoAnnotation(truth.video, runs)], {truth.video: 0}, class_names)
    pairs = tube_overlaps(true_set, run_set, rules)
    some = np.logical_or.reduce(kept, axis=1)
    number = np.cumsum(some) - 1
    pair = some[pairs.detection]
    return TrimmedRuns(
        truth.video,
        run_set.label[some],
        score[some],
        kept[some],
        number[pairs.detection[pair]],
        pairs.ground_truth[pair],
        pairs.overlap[pair],
        true_set.label,
    )


def _every_run(
    paths: Sequence[LinkedPath], trimmings: Sequence[Trimming], trim: TrimConfig
) -> tuple[list[int], list[int], list[int], np.ndarray]:
    """Path, first row and end (one past the last) of every run that any trimming gives, and (runs, trimmings) which."""
    alpha = np.array([trimming.alpha for trimming in trimmings])
    # the threshold enters the gain of a box as 2 (level - threshold), so the gain at 0 holds all of them
    zero = dataclasses.replace(trim, threshold=0.0, class_threshold={})
    threshold = np.array([trimming.threshold for trimming in trimmings])
    lengths = np.array([len(path.tube) for path in paths], np.int64)
    found: list[np.ndarray] = [np.zeros((4, 0), np.int64)]
    for group in _of_like_length(lengths, len(trimmings)):
        longest = int(lengths[group].max())
        gain = np.full((longest, len(group), len(trimmings)), -np.inf)
        for column, p in enumerate(group.tolist()):
            at_zero = action_gain(paths[p].tube, zero, paths[p].any_class) / 2
            gain[: lengths[p], column] = 2 * (at_zero[:, None] - threshold)
        labels = action_labels(gain.reshape(longest, -1), np.tile(alpha, len(group)))
        edges = np.diff(np.pad(labels.astype(np.int8), ((1, 1), (0, 0))).T, axis=1)
        cell, begin = np.nonzero(edges == 1)
        last = np.nonzero(edges == -1)[1]
        owner, way = group[cell // len(trimmings)], cell % len(trimmings)
        long_enough = last - begin >= np.minimum(trim.min_frames, lengths[owner])
        found.append(np.stack([owner, begin, last, way])[:, long_enough])
    owner, begin, last, way = np.concatenate(found, axis=1)
    runs, number = np.unique(np.stack([owner, begin, last]), axis=1, return_inverse=True)
    kept = np.zeros((runs.shape[1], len(trimmings)), bool)
    kept[number.ravel(), way] = True
    return runs[0].tolist(), runs[1].tolist(), runs[2].tolist(), kept


def _of_like_length(lengths: np.ndarray, trimmings: int) -> list[np.ndarray]:
    """Indices in groups of similar lengths, each within the bound on temporary arrays."""
    groups: list[np.ndarray] = []
    order = np.argsort(-lengths, kind="stable")
    while len(order):
        longest = int(lengths[order[0]])
        room = max(1, _CELLS // (longest * trimmings))
        alike = int(np.count_nonzero(2 * lengths[order] > longest))
        size = min(room, alike)
        groups.append(order[:size])
        order = order[size:]
    return groups


def _cut(path: Tube, start: int, end: int, number: int, trim: TrimConfig) -> Tube:
    scores = box_scores(path)[start:end]
    score = best_mean(scores, trim.top_frames)
    return Tube(path.label, path.frames[start:end], path.boxes[start:end], scores, score, number)


def _suppress(
    runs: Sequence[Tube], path: Sequence[int], paths: Sequence[Tube], kept: np.ndarray, nms_iou: float
) -> None:
    """Take out of ``kept`` (runs, trimmings) what overlaps a better kept run of its class too much.

    Runs of one path under one trimming never overlap, so only runs of two paths can be in each other's way, and only
    where some box of the one overlaps the other's by more than the limit.
    """
    if nms_iou >= 1:
        return
    runs_of: dict[int, list[int]] = {}
    for number, p in enumerate(path):
        runs_of.setdefault(p, []).append(number)
    near = [(a, b) for a, b in _same_class_pairs(paths) if _touch(paths[a], paths[b], nms_iou)]
    pairs = [(u, v) for a, b in near for u in runs_of.get(a, ()) for v in runs_of.get(b, ())]
    if not pairs:
        return
    every = tube_set([VideoAnnotation("", runs)], {"": 0}, sorted({run.label for run in runs}))
    one, other = np.array(pairs).T
    plain = dataclasses.replace(VIDEO_PROTOCOLS["saha"], lone_frame_counts=True)
    temporal, mean_box = overlap_parts(every, every, one, other, plain)
    close = temporal * mean_box > nms_iou
    rank = np.empty(len(runs), np.int64)
    rank[np.lexsort((np.arange(len(runs)), every.first, -every.score))] = np.arange(len(runs))
    swap = rank[one] > rank[other]
    better, worse = np.where(swap, other, one)[close], np.where(swap, one, other)[close]
    for at in np.argsort(rank[better], kind="stable").tolist():
        kept[worse[at]] &= ~kept[better[at]]


def _same_class_pairs(paths: Sequence[Tube]) -> list[tuple[int, int]]:
    """Pairs of paths of one class that share frames and whose boxes stay in rectangles that share pixels."""
    if not paths:
        return []
    label = np.unique([path.label for path in paths], return_inverse=True)[1]
    low = np.array([[path.first_frame, *path.boxes[:, :2].min(axis=0)] for path in paths])
    high = np.array([[path.end_frame, *path.boxes[:, 2:].max(axis=0)] for path in paths])
    share = (label[:, None] == label) & ((low[:, None] < high) & (low < high[:, None])).all(axis=2)
    a, b = np.nonzero(np.triu(share, 1))
    return list(zip(a.tolist(), b.tolist()))


def _touch(a: Tube, b: Tube, iou: float) -> bool:
    """Whether any two boxes of a frame overlap by more than ``iou``."""
    first, end = max(a.first_frame, b.first_frame), min(a.end_frame, b.end_frame)
    here = a.boxes[first - a.first_frame : end - a.first_frame]
    there = b.boxes[first - b.first_frame : end - b.first_frame]
    return bool((paired_box_iou(here, there) > iou).any())
