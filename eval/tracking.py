"""Do the tubes follow their actors? Tracking metrics of tubes, counted by motmetrics.

CLEAR-MOT (Bernardin & Stiefelhagen 2008: MOTA, MOTP, switches, fragmentations) and identity metrics (Ristani et
al. 2016: IDF1). Distances are 1 - IoU of continuous boxes, computed here: the distance functions of motmetrics
1.4 fail under NumPy 2. Tracking knows no scores, so tubes below ``min_score`` are left out first; that choice
moves every number.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from eval.inputs import check_scores, detected_in_annotations, video_index
from linking.geometry import paired_box_iou
from linking.records import Tube, VideoAnnotation

METRICS = {
    "idf1": "IDF1",
    "idp": "IDP",
    "idr": "IDR",
    "mota": "MOTA",
    "motp": "MOTP",
    "num_switches": "switches",
    "num_fragmentations": "fragmentations",
    "mostly_tracked": "mostly tracked",
    "mostly_lost": "mostly lost",
    "num_false_positives": "false boxes",
    "num_misses": "missed boxes",
    "num_objects": "true boxes",
}
"""Names in motmetrics and ours."""
_TUBES_TOGETHER = 300
"""Videos are counted together up to so many tubes."""


def tracking_metrics(
    ground_truth: Sequence[VideoAnnotation],
    detections: Sequence[VideoAnnotation],
    *,
    min_score: float = 0.0,
    min_iou: float = 0.5,
    with_labels: bool = True,
    ignore_unknown_videos: bool = False,
) -> pd.Series:
    """IDF1, MOTA and their parts over all videos, named as the values of METRICS.

    ``with_labels``: a box can only match a true box of its own class; without, classes do not matter, and tubes that
    differ in their class alone (the same boxes in the same frames) count once, by the best score. ``min_iou``: boxes
    that overlap less do not match. MOTP is the mean IoU of matched boxes, NaN without any. Raises EvaluationError
    as video_map does.
    """
    import motmetrics

    index, _ = video_index(ground_truth, detected_in_annotations(detections), ignore_unknown_videos)
    check_scores(detections)
    found_by_name = {annotation.video: annotation for annotation in detections}
    pairs = []
    for truth in sorted(ground_truth, key=lambda annotation: index[annotation.video]):
        found = found_by_name.get(truth.video)
        tubes = [tube for tube in (found.tubes if found else ()) if tube.score >= min_score]
        pairs.append((list(truth.tubes), tubes if with_labels else _once(tubes)))
    accumulators = [_accumulate(group, min_iou, with_labels) for group in _groups(pairs)]
    # motmetrics still divides by zero where nothing matches, and says so
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        summary = motmetrics.metrics.create().compute_many(
            accumulators,
            names=[str(i) for i in range(len(accumulators))],
            metrics=[*METRICS, "num_detections"],
            generate_overall=True,
        )
    # its overall MOTP is NaN as soon as one part has no match; from the sums it is not
    overall = summary.loc["OVERALL"].copy()
    parts = summary.drop(index="OVERALL")
    matched = parts["num_detections"].to_numpy(np.float64)
    distance = np.nansum(parts["motp"].to_numpy(np.float64) * matched)
    overall["motp"] = 1 - distance / matched.sum() if matched.sum() else np.nan
    return overall[list(METRICS)].astype(np.float64).rename(METRICS)


_Pair = tuple[list[Tube], list[Tube]]
"""True and detected tubes of a video."""


def _groups(pairs: list[_Pair]) -> list[list[_Pair]]:
    """Videos that are counted together, as many as keep the numbers of tubes small.

    The cost of motmetrics lies in its calls, a frame each, and in its tables, one an accumulator. Tubes of two videos
    never match, so frame 7 of many videos can be one frame to it, and every number is what the videos add up to.
    """
    groups: list[list[_Pair]] = []
    room = 0
    for pair in pairs:
        tubes = len(pair[0]) + len(pair[1])
        if not groups or room < tubes:
            groups.append([])
            room = _TUBES_TOGETHER
        groups[-1].append(pair)
        room -= tubes
    return groups


def _accumulate(group: list[_Pair], min_iou: float, with_labels: bool):  # type: ignore[no-untyped-def]
    import motmetrics

    labels = {name: i for i, name in enumerate(sorted({t.label for pair in group for side in pair for t in side}))}
    truth, found = (_boxes([pair[side] for pair in group], labels) for side in (0, 1))
    there, here = _same_frame_and_video(truth, found)
    iou = paired_box_iou(truth.boxes[here], found.boxes[there])
    allowed = iou >= min_iou
    if with_labels:
        allowed &= truth.label[here] == found.label[there]
    there, here, iou = there[allowed], here[allowed], iou[allowed]

    accumulator = motmetrics.MOTAccumulator(auto_id=False)
    frames = np.union1d(truth.frame, found.frame)
    edges = [np.searchsorted(column, np.append(frames, np.iinfo(np.int64).max)).tolist()
             for column in (truth.frame, found.frame, found.frame[there])]  # fmt: skip
    for k, frame in enumerate(frames.tolist()):
        (t0, t1), (f0, f1), (p0, p1) = ((edge[k], edge[k + 1]) for edge in edges)
        distance = np.full((t1 - t0, f1 - f0), np.nan)
        distance[here[p0:p1] - t0, there[p0:p1] - f0] = 1 - iou[p0:p1]
        accumulator.update(truth.tube[t0:t1], found.tube[f0:f1], distance, frameid=frame)
    return accumulator


@dataclass(frozen=True, eq=False)
class _Boxes:
    """Boxes of a group by frame, then tube."""

    frame: np.ndarray
    video: np.ndarray
    tube: np.ndarray
    """(n,) int64 running number of the tube in the group."""
    label: np.ndarray
    boxes: np.ndarray


def _boxes(tubes_by_video: list[list[Tube]], labels: dict[str, int]) -> _Boxes:
    tubes = [(video, tube) for video, tubes in enumerate(tubes_by_video) for tube in tubes]
    lengths = [len(tube) for _, tube in tubes]
    frame = np.concatenate([np.zeros(0, np.int64), *(tube.frames for _, tube in tubes)])
    order = np.argsort(frame, kind="stable")

    def of_tubes(values: list[int]) -> np.ndarray:
        return np.repeat(np.array(values, np.int64), lengths)[order]

    return _Boxes(
        frame[order],
        of_tubes([video for video, _ in tubes]),
        of_tubes(list(range(len(tubes)))),
        of_tubes([labels[tube.label] for _, tube in tubes]),
        np.concatenate([np.zeros((0, 4), np.float32), *(tube.boxes for _, tube in tubes)])[order],
    )


def _same_frame_and_video(truth: _Boxes, found: _Boxes) -> tuple[np.ndarray, np.ndarray]:
    """Rows (of ``found``, ascending, and of ``truth``) of every pair of boxes in one frame of one video."""
    videos = int(max(truth.video.max(initial=0), found.video.max(initial=0))) + 1
    # tubes are numbered video after video, so boxes in order of frame and tube are in order of frame and video
    wanted, keys = found.frame * videos + found.video, truth.frame * videos + truth.video
    start = np.searchsorted(keys, wanted, side="left")
    number = np.searchsorted(keys, wanted, side="right") - start
    there = np.repeat(np.arange(len(wanted)), number)
    within = np.arange(len(there)) - np.repeat(np.cumsum(number) - number, number)
    return there, np.repeat(start, number) + within


def _once(tubes: list[Tube]) -> list[Tube]:
    """Of tubes with the same frames and boxes only the best-scored."""
    best: dict[bytes, Tube] = {}
    for tube in tubes:
        key = tube.frames.tobytes() + tube.boxes.tobytes()
        if key not in best or tube.score > best[key].score:
            best[key] = tube
    return list(best.values())
