"""Do the tubes follow their actors? Tracking metrics of tubes, counted by motmetrics.

CLEAR-MOT (Bernardin & Stiefelhagen 2008: MOTA, MOTP, switches, fragmentations) and identity metrics (Ristani et
al. 2016: IDF1). Distances are 1 - IoU of continuous boxes, computed here: the distance functions of motmetrics
1.4 fail under NumPy 2. Tracking knows no scores, so tubes below ``min_score`` are left out first; that choice
moves every number.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd

from eval.inputs import check_scores, detected_in_annotations, video_index
from linking.geometry import box_iou
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
    accumulators = []
    for truth in sorted(ground_truth, key=lambda annotation: index[annotation.video]):
        found = found_by_name.get(truth.video)
        tubes = [tube for tube in (found.tubes if found else ()) if tube.score >= min_score]
        if not with_labels:
            tubes = _once(tubes)
        accumulators.append(_accumulate(list(truth.tubes), tubes, min_iou, with_labels))
    # motmetrics still divides by zero where a video has no match, and says so
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        summary = motmetrics.metrics.create().compute_many(
            accumulators,
            names=[str(i) for i in range(len(accumulators))],
            metrics=[*METRICS, "num_detections"],
            generate_overall=True,
        )
    # its overall MOTP is NaN as soon as one video has no match; from the sums it is not
    overall = summary.loc["OVERALL"].copy()
    videos = summary.drop(index="OVERALL")
    matched = videos["num_detections"].to_numpy(np.float64)
    distance = np.nansum(videos["motp"].to_numpy(np.float64) * matched)
    overall["motp"] = 1 - distance / matched.sum() if matched.sum() else np.nan
    return overall[list(METRICS)].astype(np.float64).rename(METRICS)


def _accumulate(truth: list[Tube], found: list[Tube], min_iou: float, with_labels: bool):  # type: ignore[no-untyped-def]
    import motmetrics

    accumulator = motmetrics.MOTAccumulator(auto_id=False)
    frames = np.unique(np.concatenate([np.zeros(0, np.int64), *(tube.frames for tube in (*truth, *found))]))
    true_rows, found_rows = _rows_by_frame(truth, frames), _rows_by_frame(found, frames)
    for frame, here, there in zip(frames.tolist(), true_rows, found_rows):
        distance = np.full((len(here), len(there)), np.nan)
        if here and there:
            iou = box_iou(
                np.array([truth[i].boxes[row] for i, row in here]), np.array([found[j].boxes[row] for j, row in there])
            )
            allowed = iou >= min_iou
            if with_labels:
                allowed &= np.array([[truth[i].label == found[j].label for j, _ in there] for i, _ in here])
            distance = np.where(allowed, 1 - iou, np.nan)
        accumulator.update([i for i, _ in here], [j for j, _ in there], distance, frameid=frame)
    return accumulator


def _rows_by_frame(tubes: list[Tube], frames: np.ndarray) -> list[list[tuple[int, int]]]:
    """For each of ``frames``: (position of the tube, row in the tube) of every tube that is there."""
    rows: list[list[tuple[int, int]]] = [[] for _ in frames]
    for i, tube in enumerate(tubes):
        for row, at in enumerate(np.searchsorted(frames, tube.frames).tolist()):
            rows[at].append((i, row))
    return rows


def _once(tubes: list[Tube]) -> list[Tube]:
    """Of tubes with the same frames and boxes only the best-scored."""
    best: dict[bytes, Tube] = {}
    for tube in tubes:
        key = tube.frames.tobytes() + tube.boxes.tobytes()
        if key not in best or tube.score > best[key].score:
            best[key] = tube
    return list(best.values())
