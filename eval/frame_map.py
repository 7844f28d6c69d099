"""Frame-mAP: how many boxes are right, frame by frame, however they are linked.

Conventions: a box counts in its frame with its own score; a box that was interpolated into a gap of a tube has
none and takes the score of its tube. Scores are ranked in single precision. Equal scores are ordered by video
name, frame, then coordinates, so the order of input never matters. Protocols: eval.protocols.

Recall changes only at hits, so AP needs the ranks of the hits alone (eval.average_precision): of the many
detections without any ground truth in their frame and class only the scores matter, and they are sorted as plain
numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from eval.average_precision import average_precision
from eval.boxes import FrameBoxes, boxes_of_annotations, boxes_of_table
from eval.errors import EvaluationError
from eval.inputs import (
    class_list,
    detected_in_annotations,
    detected_in_table,
    pixel_warnings,
    table_warnings,
    tube_warnings,
    video_index,
)
from eval.matching import Pairs, claim, passes
from eval.protocols import FrameProtocol, frame_protocol
from eval.results import MapResult
from eval.thresholds import parse_ious
from eval.tubes import protocol_box_iou, tube_set
from linking.records import VideoAnnotation

_CHUNK = 2**17
"""Detections looked at together: few enough for the temporary arrays to stay in the processor's cache."""
_NOBODY = np.uint64(2**64 - 1)


def frame_map(
    ground_truth: Sequence[VideoAnnotation],
    detections: Sequence[VideoAnnotation] | pd.DataFrame,
    *,
    thresholds: Iterable[float | str] = ("0.5",),
    class_names: Sequence[str] | None = None,
    protocol: str | FrameProtocol = "voc",
    ignore_unknown_videos: bool = False,
) -> MapResult:
    """Average precision of boxes per class and IoU, and its mean.

    ``detections``: annotations, or a tube table, whose boxes need not belong to tubes. Everything else as in
    video_map.
    """
    rules = frame_protocol(protocol)
    ious = parse_ious(thresholds)
    is_table = isinstance(detections, pd.DataFrame)
    seen = detected_in_table(detections) if is_table else detected_in_annotations(detections)
    index, warnings = video_index(ground_truth, seen, ignore_unknown_videos)
    classes, label_warnings = class_list(ground_truth, seen, class_names)
    if is_table:
        found = boxes_of_table(detections, index, classes, scored=True)
        warnings += table_warnings(ground_truth, index, detections, found.scores)
    else:
        found = boxes_of_annotations(detections, index, classes)
        warnings += tube_warnings(ground_truth, index, tube_set(detections, index, classes))
    if np.isnan(found.scores).any():
        raise EvaluationError("a detected box has neither a score of its own nor one of its tube")
    truth = boxes_of_annotations(ground_truth, index, classes)
    ap, recall, detected = judge_boxes(truth, found, len(classes), ious.values, rules)
    counts = np.bincount(truth.label, minlength=len(classes))
    every = (*warnings, *label_warnings, *pixel_warnings(ground_truth, rules))
    return MapResult(rules, ious, classes, ap, recall, counts, detected, len(index), every)


def judge_boxes(
    truth: FrameBoxes, found: FrameBoxes, num_classes: int, thresholds: tuple[float, ...], protocol: FrameProtocol
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(classes, thresholds) AP, the same of recall, and (classes,) number of detections that were judged.

    AP is NaN for a class without ground truth where the protocol leaves it out; recall is NaN there always.
    """
    if protocol.box_nms is not None:
        found = found.select(_keep_after_nms(found, num_classes, protocol))
    truth = truth.select(np.lexsort((*truth.boxes.T[::-1], truth.frame, truth.video, truth.label)))
    pairs = _pairs(truth, found, num_classes, protocol.inclusive_pixels, thresholds[0])
    keys = _keys(found.label, found.scores)
    hits = _hits(pairs, found, keys, len(truth), thresholds, protocol)
    if protocol.frames == "annotated":
        # no detection that is left out here can have hit anything
        judged = _annotated(truth, found)
        keys[~judged] = _NOBODY
        ranked = np.sort(keys[judged])
    else:
        ranked = np.sort(keys)
    counts = np.bincount(truth.label, minlength=num_classes)
    ends = np.searchsorted(ranked, np.arange(1, num_classes + 1).astype(np.uint64) << np.uint64(32))
    starts = np.append(0, ends)[:-1]
    ap = np.zeros((num_classes, len(thresholds)))
    recall = np.full(ap.shape, np.nan)
    everything = np.unique(np.concatenate(hits))
    positions = _positions(everything, found, keys, ranked)
    for t, hit in enumerate(hits):
        position, label = positions[np.searchsorted(everything, hit)], found.label[hit]
        for c in range(num_classes):
            if counts[c]:
                ranks = np.sort(position[label == c]) - starts[c] + 1
                ap[c, t] = average_precision(ranks, int(counts[c]), protocol.precision)
                recall[c, t] = len(ranks) / counts[c]
            elif protocol.empty_class == "skip":
                ap[c, t] = np.nan
    return ap, recall, ends - starts


class _AnnotatedFrames:
    """Running numbers of the frames that hold boxes, for looking up the frames of other boxes."""

    def __init__(self, truth: FrameBoxes, num_videos: int) -> None:
        self.length = np.zeros(num_videos, np.int64)
        np.maximum.at(self.length, truth.video, truth.frame.astype(np.int64) + 1)
        self.start = np.cumsum(self.length) - self.length
        total = int(self.length.sum())
        annotated = np.zeros(total + 1, bool)
        annotated[self.start[truth.video] + truth.frame] = True
        self.count = int(annotated.sum())
        self.number = np.full(total + 1, self.count, np.int32)
        self.number[annotated] = np.arange(self.count)

    def __call__(self, video: np.ndarray, frame: np.ndarray) -> np.ndarray:
        """(n,) numbers from 0; ``count`` for frames that hold none."""
        # frames beyond the last annotated one are looked up in the spare cell at the end
        beyond = frame >= self.length[video]
        return self.number[np.where(beyond, -1, self.start[video] + frame)]


def _numbering(truth: FrameBoxes, found: FrameBoxes) -> _AnnotatedFrames:
    return _AnnotatedFrames(truth, int(max(truth.video.max(initial=-1), found.video.max(initial=-1))) + 1)


def _chunks(n: int) -> list[slice]:
    return [slice(i, min(i + _CHUNK, n)) for i in range(0, n, _CHUNK)]


def _annotated(truth: FrameBoxes, found: FrameBoxes) -> np.ndarray:
    """(n,) bool: detections in frames where the ground truth has a box of any class."""
    numbering = _numbering(truth, found)
    judged = np.empty(len(found), bool)
    for part in _chunks(len(found)):
        judged[part] = numbering(found.video[part], found.frame[part]) < numbering.count
    return judged


def _pairs(truth: FrameBoxes, found: FrameBoxes, num_classes: int, inclusive: bool, lowest: float) -> Pairs:
    """Overlaps of at least ``lowest`` between boxes of one video, frame and class, by ascending detection."""
    numbering = _numbering(truth, found)
    # a table with a cell per annotated frame and class: where its ground truth begins, once that is sorted by cell
    at = numbering(truth.video, truth.frame).astype(np.int64) * num_classes + truth.label
    by_cell = np.argsort(at, kind="stable")
    cells = (numbering.count + 1) * num_classes
    begin = np.zeros(cells + 1, np.int32)
    np.cumsum(np.bincount(at, minlength=cells), out=begin[1:])
    occupied = np.diff(begin) > 0
    parts = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))]
    for part in _chunks(len(found)):
        cell = numbering(found.video[part], found.frame[part]).astype(np.int64) * num_classes + found.label[part]
        some = np.flatnonzero(occupied[cell])
        first, number = begin[cell[some]], begin[cell[some] + 1] - begin[cell[some]]
        detection = np.repeat(some + part.start, number)
        within = np.arange(len(detection)) - np.repeat(np.cumsum(number) - number, number)
        candidate = by_cell[np.repeat(first, number) + within]
        overlap = protocol_box_iou(truth.boxes[candidate], found.boxes[detection], inclusive)
        near = overlap >= lowest
        parts.append((detection[near], candidate[near], overlap[near]))
    return Pairs(*(np.concatenate(columns) for columns in zip(*parts)))


def _hits(
    pairs: Pairs,
    found: FrameBoxes,
    keys: np.ndarray,
    num_truths: int,
    thresholds: tuple[float, ...],
    protocol: FrameProtocol,
) -> list[np.ndarray]:
    """Per threshold, the indices of detections that claim a ground truth."""
    fresh = np.diff(pairs.detection, prepend=-1) > 0
    some = pairs.detection[fresh]
    compact = Pairs(np.cumsum(fresh) - 1, pairs.ground_truth, pairs.overlap)
    rank = np.empty(len(some), np.int64)
    rank[_rank_order(found, keys, some)] = np.arange(len(some))
    claimed = claim(compact, rank, num_truths, thresholds, protocol.hit, protocol.match)
    return [some[row >= 0] for row in claimed]


def _keys(label: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """(n,) uint64 numbers that ascend by class, and within a class by falling score."""
    keys = np.empty(len(scores), np.uint64)
    for part in _chunks(len(scores)):
        bits = (scores[part] + np.float32(0)).view(np.uint32)  # adding 0 makes -0.0 equal to 0.0
        falling = np.where(bits >> 31, bits, ~bits & np.uint32(0x7FFFFFFF))
        keys[part] = (label[part].astype(np.uint64) << np.uint64(32)) | falling
    return keys


def _rank_order(found: FrameBoxes, keys: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Order of detections ``index`` by class, falling score, video, frame, coordinates."""
    own = keys[index]
    order = np.argsort(own, kind="stable")
    same = own[order[1:]] == own[order[:-1]]
    tied = np.flatnonzero(np.append(same, False) | np.append(False, same)[: len(order)])
    if len(tied):
        rivals = order[tied]
        some = found.select(index[rivals])
        order[tied] = rivals[np.lexsort((*some.boxes.T[::-1], some.frame, some.video, own[rivals]))]
    return order


def _positions(index: np.ndarray, found: FrameBoxes, keys: np.ndarray, ranked: np.ndarray) -> np.ndarray:
    """Position of detections ``index`` (ascending) among all; ``ranked``: the keys of all, sorted."""
    own = keys[index]
    position = np.searchsorted(ranked, own, side="left")
    tied = np.searchsorted(ranked, own, side="right") - position > 1
    if tied.any():
        # only here do detections that hit nothing need more than their score
        rivals = _having(keys, np.unique(own[tied]))
        rivals = rivals[_rank_order(found, keys, rivals)]
        turn = np.arange(len(rivals)) - np.searchsorted(keys[rivals], keys[rivals], side="left")
        by_index = np.argsort(rivals)
        position[tied] += turn[by_index[np.searchsorted(rivals, index[tied], sorter=by_index)]]
    return position


def _having(keys: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Ascending indices of the keys that are among ``wanted`` (sorted), by way of a small table of hashes."""

    def hashed(some: np.ndarray) -> np.ndarray:
        return (some * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(64 - 20)

    maybe = np.zeros(2**20, bool)
    maybe[hashed(wanted)] = True
    found = [np.flatnonzero(maybe[hashed(keys[part])]) + part.start for part in _chunks(len(keys))]
    index = np.concatenate(found) if found else np.zeros(0, np.int64)
    return index[np.isin(keys[index], wanted)]


def _keep_after_nms(found: FrameBoxes, num_classes: int, protocol: FrameProtocol) -> np.ndarray:
    """Ascending indices of boxes that no better kept box of their frame and class overlaps too much."""
    threshold = protocol.box_nms or 0.0
    pairs = _pairs(found, found, num_classes, protocol.inclusive_pixels, threshold)
    above = passes(pairs.overlap, threshold, ">")
    rank = np.empty(len(found), np.int64)
    rank[_rank_order(found, _keys(found.label, found.scores), np.arange(len(found)))] = np.arange(len(found))
    above &= rank[pairs.ground_truth] < rank[pairs.detection]
    worse, better = pairs.detection[above], pairs.ground_truth[above]
    dropped = np.zeros(len(found), bool)
    # in order of the better box: when its turn comes, whether it is dropped itself is already known
    order = np.argsort(rank[better], kind="stable")
    for strong, weak in zip(better[order].tolist(), worse[order].tolist()):
        if not dropped[strong]:
            dropped[weak] = True
    return np.flatnonzero(~dropped)
