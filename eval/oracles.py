"""How good could these detections be if one step were perfect?

``ceilings`` judges altered copies of the detections:

- **perfect labels**: a tube that lies best on a true tube of another class gets that class; of several that lie on
  one true tube only those that had the class already and else the best-scored one stay;
- **perfect trimming**: a tube loses its frames before and after the true tube of its class that it overlaps best
  (it gains none: it has no boxes there);
- **perfect scores**: a tube's score is its overlap with the best true tube of its class;
- **perfect linking**: for every true tube, the best box of its class in every frame, from whatever tube or none;
- **perfect linking and labels**: the best box of any class.

The last two are what these proposals allow with perfect linking, trimming and scores: the recall of such tubes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from eval.boxes import FrameBoxes, boxes_of_annotations, boxes_of_table
from eval.protocols import VIDEO_PROTOCOLS, VideoProtocol
from eval.thresholds import DEFAULT_IOUS
from eval.tubes import candidate_pairs, overlap_parts, protocol_box_iou, tube_set
from eval.video_map import video_map
from linking.records import Tube, VideoAnnotation


def ceilings(
    ground_truth: Sequence[VideoAnnotation],
    detections: Sequence[VideoAnnotation],
    *,
    thresholds: Iterable[float | str] = DEFAULT_IOUS,
    protocol: str | VideoProtocol = "saha",
    class_names: Sequence[str] | None = None,
    ignore_unknown_videos: bool = False,
) -> pd.DataFrame:
    """Video-mAP by IoU (columns), a row ``as it is`` and one for each perfect step. Arguments as in video_map."""
    thresholds = tuple(thresholds)
    classes = sorted({t.label for a in ground_truth for t in a.tubes}) if class_names is None else list(class_names)
    boxes = boxes_of_annotations(detections, {a.video: i for i, a in enumerate(ground_truth)}, classes)
    altered = {
        "as it is": detections,
        "perfect labels": with_perfect_labels(ground_truth, detections),
        "perfect trimming": with_perfect_trimming(ground_truth, detections),
        "perfect scores": with_perfect_scores(ground_truth, detections),
        "perfect linking": with_perfect_linking(ground_truth, boxes, classes),
        "perfect linking and labels": with_perfect_linking(ground_truth, boxes, classes, any_label=True),
    }
    rows = {
        name: video_map(
            ground_truth,
            found,
            thresholds=thresholds,
            protocol=protocol,
            class_names=class_names,
            ignore_unknown_videos=ignore_unknown_videos,
        ).mean
        for name, found in altered.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def linking_ceilings(
    ground_truth: Sequence[VideoAnnotation],
    table: pd.DataFrame,
    *,
    thresholds: Iterable[float | str] = DEFAULT_IOUS,
    protocol: str | VideoProtocol = "saha",
) -> pd.DataFrame:
    """The two ceilings of linking for a table of boxes that need be in no tube, nor (the second) have a label."""
    thresholds = tuple(thresholds)
    classes = sorted({t.label for a in ground_truth for t in a.tubes})
    index = {a.video: i for i, a in enumerate(ground_truth)}
    anyhow = boxes_of_table(table.assign(label=classes[0]), index, classes, scored=False)
    labelled = boxes_of_table(table, index, classes, scored=False)
    rows = {
        "perfect linking": with_perfect_linking(ground_truth, labelled, classes),
        "perfect linking and labels": with_perfect_linking(ground_truth, anyhow, classes, any_label=True),
    }
    means = {
        name: video_map(ground_truth, found, thresholds=thresholds, protocol=protocol).mean
        for name, found in rows.items()
    }
    return pd.DataFrame.from_dict(means, orient="index")


def with_perfect_labels(
    ground_truth: Sequence[VideoAnnotation], detections: Sequence[VideoAnnotation]
) -> list[VideoAnnotation]:
    """The detections with the labels of the true tubes they lie on; what that doubles is dropped."""
    result = []
    for annotation, truth in _paired(ground_truth, detections):
        about = _best_truth(truth, annotation, same_class=False)
        right = {i for i, tube in zip(about, annotation.tubes) if i >= 0 and truth.tubes[i].label == tube.label}
        renamed: dict[int, Tube] = {}
        tubes = []
        for i, tube in zip(about, annotation.tubes):
            if i < 0 or truth.tubes[i].label == tube.label:
                tubes.append(tube)
            elif i not in right and (i not in renamed or tube.score > renamed[i].score):
                renamed[i] = replace(tube, label=truth.tubes[i].label)
        result.append(replace(annotation, tubes=[*tubes, *renamed.values()]))
    return result


def with_perfect_trimming(
    ground_truth: Sequence[VideoAnnotation], detections: Sequence[VideoAnnotation]
) -> list[VideoAnnotation]:
    """The detections without their frames outside the true tube of their class that they overlap best."""
    result = []
    for annotation, truth in _paired(ground_truth, detections):
        tubes = []
        for i, tube in zip(_best_truth(truth, annotation, same_class=True), annotation.tubes):
            if i >= 0:
                within = truth.tubes[i]
                keep = (tube.frames >= within.frames[0]) & (tube.frames <= within.frames[-1])
                tube = replace(tube, frames=tube.frames[keep], boxes=tube.boxes[keep], scores=tube.scores[keep])  # type: ignore[index]
            tubes.append(tube)
        result.append(replace(annotation, tubes=tubes))
    return result


def with_perfect_scores(
    ground_truth: Sequence[VideoAnnotation], detections: Sequence[VideoAnnotation]
) -> list[VideoAnnotation]:
    """The detections, each scored by its overlap with the best true tube of its class."""
    result = []
    for annotation, truth in _paired(ground_truth, detections):
        overlap = _overlaps(truth, annotation, same_class=True).max(axis=0, initial=0)
        tubes = [replace(tube, score=float(score)) for tube, score in zip(annotation.tubes, overlap)]
        result.append(replace(annotation, tubes=tubes))
    return result


def with_perfect_linking(
    ground_truth: Sequence[VideoAnnotation], boxes: FrameBoxes, class_names: Sequence[str], *, any_label: bool = False
) -> list[VideoAnnotation]:
    """A tube for every true one, of the best box in every frame that overlaps at all, scored by its overlap.

    ``boxes.video`` counts the videos of ``ground_truth`` in their order.
    """
    order = np.argsort(boxes.video, kind="stable")
    ends = np.searchsorted(boxes.video[order], np.arange(len(ground_truth) + 1))
    result = []
    for v, annotation in enumerate(ground_truth):
        mine = boxes.select(order[ends[v] : ends[v + 1]])
        tubes = []
        for tube in annotation.tubes:
            eligible = np.ones(len(mine), bool) if any_label else mine.label == class_names.index(tube.label)
            linked = _linked(tube, mine.frame[eligible], mine.boxes[eligible])
            if linked is not None:
                tubes.append(linked)
        result.append(replace(annotation, tubes=tubes))
    return result


def _linked(tube: Tube, frames: np.ndarray, boxes: np.ndarray) -> Tube | None:
    at = np.minimum(np.searchsorted(tube.frames, frames), len(tube) - 1)
    here = np.flatnonzero(tube.frames[at] == frames)
    iou = protocol_box_iou(tube.boxes[at[here]], boxes[here], inclusive=False)
    order = np.lexsort((-iou, frames[here]))
    best = order[np.flatnonzero(np.diff(frames[here][order], prepend=-1))]
    best = best[iou[best] > 0]
    if len(best) == 0:
        return None
    overlap = float(iou[best].sum() / len(tube))
    return Tube(tube.label, frames[here][best].astype(np.int64), boxes[here][best], None, overlap, tube.id)


def _paired(
    ground_truth: Sequence[VideoAnnotation], detections: Sequence[VideoAnnotation]
) -> list[tuple[VideoAnnotation, VideoAnnotation]]:
    """(detections, ground truth) of every video with detections; an empty truth where there is none."""
    by_name = {annotation.video: annotation for annotation in ground_truth}
    return [(found, by_name.get(found.video, VideoAnnotation(found.video))) for found in detections]


def _overlaps(truth: VideoAnnotation, found: VideoAnnotation, *, same_class: bool) -> np.ndarray:
    """(true tubes, detections) overlaps in the order of the two annotations."""
    labels = sorted({*truth.labels, *found.labels})
    true_set, found_set = (tube_set([side], {side.video: 0}, labels) for side in (truth, found))
    detection, of = candidate_pairs(true_set, found_set, same_class=same_class)
    temporal, mean_box = overlap_parts(true_set, found_set, detection, of, VIDEO_PROTOCOLS["saha"])
    by_id = np.zeros((len(true_set), len(found_set)))
    by_id[of, detection] = temporal * mean_box
    # tube sets are sorted by id; undo that
    places = [np.argsort(np.argsort([tube.id for tube in side.tubes])) for side in (truth, found)]
    return by_id[np.ix_(*places)] if by_id.size else by_id


def _best_truth(truth: VideoAnnotation, found: VideoAnnotation, *, same_class: bool) -> list[int]:
    """Of each detection the position of the true tube it overlaps best, -1 where it overlaps none."""
    overlap = _overlaps(truth, found, same_class=same_class)
    if overlap.shape[0] == 0:
        return [-1] * len(found.tubes)
    return np.where(overlap.max(axis=0, initial=0) > 0, overlap.argmax(axis=0), -1).tolist()
