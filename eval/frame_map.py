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
from eval.inputs import class_list, detected_in_annotations, detected_in_table, frame_warnings, video_index
from eval.matching import Pairs, claim, passes
from eval.protocols import FrameProtocol, frame_protocol
from eval.results import MapResult
from eval.thresholds import parse_ious
from eval.tubes import protocol_box_iou
from linking.records import VideoAnnotation

_CHUNK = 2**20
"""Pairs of boxes compared at a time."""


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
    else:
        found = boxes_of_annotations(detections, index, classes)
        warnings += frame_warnings(ground_truth, detections)
    if np.isnan(found.scores).any():
        raise EvaluationError("a detected box has neither a score of its own nor one of its tube")
    truth = boxes_of_annotations(ground_truth, index, classes)
    ap, recall, detected = judge_boxes(truth, found, len(classes), ious.values, rules)
    counts = np.bincount(truth.label, minlength=len(classes))
    every = (*warnings, *label_warnings)
    return MapResult(rules, ious, classes, ap, recall, counts, detected, len(index), every)


def judge_boxes(
    truth: FrameBoxes,
    found: FrameBoxes,
    num_classes: int,
    thresholds: tuple[float, ...],
    protocol: FrameProtocol,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(classes, thresholds) AP, the same of recall, and (classes,) number of detections that were judged.

    AP is NaN for a class without ground truth where the protocol leaves it out; recall is NaN there always.
    """
    if protocol.frames == "annotated":
        found = found.select(_frame_numbers(truth, found)[1] >= 0)
    if protocol.box_nms is not None:
        found = found.select(_keep_after_nms(found, num_classes, protocol))
    truth = truth.select(np.lexsort((*truth.boxes.T[::-1], truth.frame, truth.video, truth.label)))
    pairs = _pairs(truth, found, num_classes, protocol, thresholds[0])
    hits = _hits(pairs, found, truth, thresholds, protocol)
    keys = np.sort(_keys(found.label, found.scores))
    counts = np.bincount(truth.label, minlength=num_classes)
    ends = np.searchsorted(keys, np.arange(1, num_classes + 1).astype(np.uint64) << np.uint64(32))
    starts = np.append(0, ends)[:-1]
    ap = np.zeros((num_classes, len(thresholds)))
    recall = np.full(ap.shape, np.nan)
    everything = np.unique(np.concatenate(hits)) if hits else np.zeros(0, np.int64)
    positions = _positions(everything, found, keys)
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


def _frame_numbers(truth: FrameBoxes, found: FrameBoxes) -> tuple[np.ndarray, np.ndarray, int]:
    """Running numbers of the frames that hold ground truth: of each true box, of each detection (-1 where its
    frame holds none), and how many there are."""
    videos = int(max(truth.video.max(initial=-1), found.video.max(initial=-1))) + 1
    length = np.zeros(videos, np.int64)
    np.maximum.at(length, truth.video, truth.frame.astype(np.int64) + 1)
    start = np.cumsum(length) - length
    number = np.full(int(length.sum()) + 1, -1, np.int32)
    at = start[truth.video] + truth.frame
    number[at] = 0
    annotated = np.flatnonzero(number == 0)
    number[annotated] = np.arange(len(annotated))
    # frames beyond the last one with ground truth are looked up in the spare cell at the end, which holds -1
    beyond = found.frame >= length[found.video]
    return number[at], number[np.where(beyond, -1, start[found.video] + found.frame)], len(annotated)


def _pairs(truth: FrameBoxes, found: FrameBoxes, num_classes: int, protocol: FrameProtocol, lowest: float) -> Pairs:
    """Overlaps of at least ``lowest`` between boxes of one video, frame and class."""
    truth_frame, found_frame, num_frames = _frame_numbers(truth, found)
    # a table with a cell per annotated frame and class: where its ground truth begins, once that is sorted by cell
    at = truth_frame.astype(np.int64) * num_classes + truth.label
    by_cell = np.argsort(at, kind="stable")
    begin = np.zeros(num_frames * num_classes + 1, np.int32)
    np.cumsum(np.bincount(at, minlength=num_frames * num_classes), out=begin[1:])
    inside = np.flatnonzero(found_frame >= 0)
    cell = found_frame[inside].astype(np.int64) * num_classes + found.label[inside]
    first = begin[cell]
    number = begin[cell + 1] - first
    some = np.flatnonzero(number)
    inside, first, number = inside[some], first[some], number[some]
    parts = []
    for piece in np.array_split(np.arange(len(inside)), len(inside) // _CHUNK + 1):
        detection = np.repeat(inside[piece], number[piece])
        within = np.arange(len(detection)) - np.repeat(np.cumsum(number[piece]) - number[piece], number[piece])
        candidate = by_cell[np.repeat(first[piece], number[piece]) + within]
        overlap = protocol_box_iou(truth.boxes[candidate], found.boxes[detection], protocol.inclusive_pixels)
        near = overlap >= lowest
        parts.append((detection[near], candidate[near], overlap[near]))
    return Pairs(*(np.concatenate(columns) for columns in zip(*parts)))


def _hits(
    pairs: Pairs, found: FrameBoxes, truth: FrameBoxes, thresholds: tuple[float, ...], protocol: FrameProtocol
) -> list[np.ndarray]:
    """Per threshold, the indices of detections that claim a ground truth."""
    some, compact = np.unique(pairs.detection, return_inverse=True)
    pairs = Pairs(compact, pairs.ground_truth, pairs.overlap)
    rank = np.empty(len(some), np.int64)
    rank[_tie_order(found, some)] = np.arange(len(some))
    claimed = claim(pairs, rank, len(truth), thresholds, protocol.hit, protocol.match)
    return [some[row >= 0] for row in claimed]


def _keys(label: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """(n,) uint64 numbers that ascend by class, and within a class by falling score."""
    bits = (scores + np.float32(0)).view(np.uint32)  # adding 0 makes -0.0 equal to 0.0
    falling = np.where(bits >> 31, bits, ~bits & np.uint32(0x7FFFFFFF))
    return (label.astype(np.uint64) << np.uint64(32)) | falling


def _tie_order(found: FrameBoxes, index: np.ndarray) -> np.ndarray:
    """Order of detections ``index`` by class, falling score, video, frame, coordinates."""
    some = found.select(index)
    return np.lexsort((*some.boxes.T[::-1], some.frame, some.video, _keys(some.label, some.scores)))


def _positions(index: np.ndarray, found: FrameBoxes, keys: np.ndarray) -> np.ndarray:
    """Position of detections ``index`` among all, in the order of _tie_order; ``keys``: everybody's, sorted."""
    wanted = _keys(found.label[index], found.scores[index])
    position = np.searchsorted(keys, wanted, side="left")
    tied = np.searchsorted(keys, wanted, side="right") - position > 1
    if tied.any():
        # only here do the detections that hit nothing need more than their scores
        shared = np.unique(wanted[tied])
        every = _keys(found.label, found.scores)
        at = np.minimum(np.searchsorted(shared, every), len(shared) - 1)
        rivals = np.flatnonzero(shared[at] == every)
        rivals = rivals[_tie_order(found, rivals)]
        rival_keys = every[rivals]
        turn = np.arange(len(rivals)) - np.searchsorted(rival_keys, rival_keys, side="left")
        turns = np.zeros(len(found), np.int64)
        turns[rivals] = turn
        position = position + np.where(tied, turns[index], 0)
    return position


def _keep_after_nms(found: FrameBoxes, num_classes: int, protocol: FrameProtocol) -> np.ndarray:
    """Ascending indices of boxes that no better kept box of their frame and class overlaps too much."""
    pairs = _pairs(found, found, num_classes, protocol, protocol.box_nms or 0.0)
    above = passes(pairs.overlap, protocol.box_nms or 0.0, ">")
    rank = np.empty(len(found), np.int64)
    rank[_tie_order(found, np.arange(len(found)))] = np.arange(len(found))
    above &= rank[pairs.ground_truth] < rank[pairs.detection]
    worse, better = pairs.detection[above], pairs.ground_truth[above]
    dropped = np.zeros(len(found), bool)
    # in order of the better box: when its turn comes, whether it is dropped itself is already known
    order = np.argsort(rank[better], kind="stable")
    for strong, weak in zip(better[order].tolist(), worse[order].tolist()):
        if not dropped[strong]:
            dropped[weak] = True
    return np.flatnonzero(~dropped)
