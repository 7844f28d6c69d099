"""Judging a table of detections by one or several protocols, and putting the outcome into text and JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from eval.errors import EvaluationError
from eval.frame_map import frame_map
from eval.protocols import FRAME_PROTOCOL_OF, FRAME_PROTOCOLS, VIDEO_PROTOCOLS, FrameProtocol, VideoProtocol
from eval.results import MapResult
from eval.video_map import video_map
from linking.records import VideoAnnotation
from linking.tables import annotations_from_table

PROTOCOL_NAMES = (*VIDEO_PROTOCOLS, "ava")
"""Names for ``judge``: the video protocols, each with its frame-mAP, and ``ava``, which has only a frame-mAP."""


@dataclass(frozen=True, eq=False)
class Judgement:
    """What one protocol says."""

    name: str
    video: MapResult | None
    """None where the protocol or the detections have no tubes."""
    frame: MapResult

    def as_json(self) -> dict[str, Any]:
        """``{"video_map": {...}, "frame_map": {...}}``, each as in MapResult.as_json, values in 0..1."""
        video = {} if self.video is None else {"video_map": self.video.as_json()}
        return {**video, "frame_map": self.frame.as_json()}

    @property
    def warnings(self) -> tuple[str, ...]:
        """Those of both parts, each once; frame-mAP counts boxes where video-mAP counts tubes."""
        return self.frame.warnings if self.video is None else self.video.warnings


def protocols_of(name: str) -> tuple[VideoProtocol | None, FrameProtocol]:
    """The video and the frame protocol that go by one name; EvaluationError lists the names."""
    if name not in PROTOCOL_NAMES:
        raise EvaluationError(f"unknown protocol {name!r}; known: {', '.join(PROTOCOL_NAMES)}")
    return VIDEO_PROTOCOLS.get(name), FRAME_PROTOCOLS[FRAME_PROTOCOL_OF.get(name, name)]


def judge(
    ground_truth: Sequence[VideoAnnotation],
    detections: pd.DataFrame,
    *,
    protocols: Sequence[str] = ("saha",),
    ious: Iterable[float | str],
    frame_ious: Iterable[float | str] | None = None,
    class_names: Sequence[str] | None = None,
    ignore_unknown_videos: bool = False,
    annotated_frames_only: bool = False,
) -> list[Judgement]:
    """Video-mAP and frame-mAP of a tube table by each protocol.

    ``frame_ious``: by default the same as ``ious``. A table whose boxes are in no tubes (detections of single
    frames) gets frame-mAP only; one that mixes both is a TableError. ``annotated_frames_only``: whatever the
    protocol, boxes count only in frames where the ground truth has one, as it must be where only key frames are
    annotated and tubes run through all. Errors otherwise as in video_map.
    """
    ious = tuple(ious)
    frame_ious = ious if frame_ious is None else tuple(frame_ious)
    has_tubes = not detections["tube"].isna().all() or len(detections) == 0
    tubes = annotations_from_table(detections) if has_tubes else []
    options: dict[str, Any] = {"class_names": class_names, "ignore_unknown_videos": ignore_unknown_videos}
    judgements = []
    frame_results: dict[FrameProtocol, MapResult] = {}
    for name in protocols:
        video_rules, frame_rules = protocols_of(name)
        if annotated_frames_only:
            frame_rules = replace(frame_rules, frames="annotated")
        video = None
        if video_rules is not None and has_tubes:
            video = video_map(ground_truth, tubes, thresholds=ious, protocol=video_rules, **options)
        if frame_rules not in frame_results:
            frame_results[frame_rules] = frame_map(
                ground_truth, detections, thresholds=frame_ious, protocol=frame_rules, **options
            )
        judgements.append(Judgement(name, video, frame_results[frame_rules]))
    return judgements


def mean_over_splits(by_split: Sequence[Sequence[Judgement]]) -> list[Judgement]:
    """The mean of what each protocol says of several splits of one dataset; counts are added."""
    return [
        Judgement(
            same[0].name,
            None if same[0].video is None else _mean([j.video for j in same if j.video is not None]),
            _mean([j.frame for j in same]),
        )
        for same in zip(*by_split)
    ]


def _mean(results: Sequence[MapResult]) -> MapResult:
    if len({result.class_names for result in results}) > 1:
        raise EvaluationError("the splits do not have the same classes, so there is no mean over them")
    return replace(
        results[0],
        ap_by_threshold=np.mean([result.ap_by_threshold for result in results], axis=0),
        recall_by_threshold=np.mean([result.recall_by_threshold for result in results], axis=0),
        num_ground_truth=np.sum([result.num_ground_truth for result in results], axis=0),
        num_detections=np.sum([result.num_detections for result in results], axis=0),
        num_videos=sum(result.num_videos for result in results),
        warnings=tuple(dict.fromkeys(w for result in results for w in result.warnings)),
    )


def class_table(judgement: Judgement) -> str:
    """Text: a row per class with AP in percent, video-mAP columns first."""
    parts = []
    for kind, result in (("video", judgement.video), ("frame", judgement.frame)):
        if result is not None:
            table = result.table()
            unit = {"ground_truth": "tubes" if kind == "video" else "boxes", "detections": "found"}
            columns = list(result.ious.columns)
            table[columns] *= 100
            parts.append(table.rename(columns={**{c: f"{kind} {c}" for c in columns}, **unit}))
    return pd.concat(parts, axis=1).to_string(float_format=lambda value: f"{value:.2f}", na_rep="-")


def summary_table(judgements: Sequence[Judgement]) -> pd.DataFrame:
    """A row per protocol with mAP in percent; of several, the spread (largest minus smallest) below."""
    rows = {}
    for judgement in judgements:
        video = {} if judgement.video is None else judgement.video.mean
        rows[judgement.name] = {
            **{f"video {column}": 100 * value for column, value in video.items()},
            **{f"frame {column}": 100 * value for column, value in judgement.frame.mean.items()},
        }
    table = pd.DataFrame.from_dict(rows, orient="index")
    if len(table) > 1:
        table.loc["spread"] = table.max() - table.min()
    table.index.name = "protocol"
    return table


def protocol_table(judgements: Sequence[Judgement]) -> str:
    """Text: the summary table."""
    return summary_table(judgements).to_string(float_format=lambda value: f"{value:.2f}", na_rep="-")
