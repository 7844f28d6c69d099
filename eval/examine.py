"""Everything beyond the mAP itself that can be asked of one evaluation, each part on request."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from eval.bootstrap import confidence_intervals
from eval.breakdown import Breakdown, break_down
from eval.explain import Diagnosis, diagnose
from eval.oracles import ceilings
from eval.results import MapResult
from eval.tracking import tracking_metrics
from eval.tube_confusion import TubeConfusion, tube_confusion
from eval.video_map import TubeVerdicts, judge_tubes
from linking.records import VideoAnnotation

PARTS = ("diagnosis", "confidence", "errors", "ceilings", "tracking", "curves", "confusion")


@dataclass(frozen=True, eq=False)
class Details:
    """What was asked for; the rest is None or empty."""

    iou: float
    diagnosis: Diagnosis | None = None
    intervals: pd.DataFrame | None = None
    breakdown: Breakdown | None = None
    ceilings: pd.DataFrame | None = None
    tracking: dict[str, pd.Series] = field(default_factory=dict)
    verdicts: tuple[MapResult, TubeVerdicts] | None = None
    confusion: TubeConfusion | None = None

    def text(self) -> str:
        """Tables for a terminal, in percent, one below the other."""
        pieces = []
        if self.intervals is not None:
            pieces += ["AP with 95 % confidence over videos, in percent:", (100 * self.intervals).round(1).to_string()]
        if self.breakdown is not None:
            points = (100 * self.breakdown.points).round(1)
            pieces += [f"errors at IoU {self.iou:g}, numbers of tubes:", self.breakdown.counts.to_string()]
            pieces += ["AP won by mending each reason alone, in percent:", points.to_string()]
        if self.ceilings is not None:
            pieces += ["video-mAP with one step perfect, in percent:", (100 * self.ceilings).round(1).to_string()]
        if self.confusion is not None:
            pieces.append(self.confusion.text())
        if self.tracking:
            pieces += ["tracking:", pd.DataFrame(self.tracking).round(4).to_string()]
        if self.diagnosis is not None:
            pieces.append(self.diagnosis.text())
        return "\n\n".join(pieces)

    def as_json(self) -> dict[str, Any]:
        """Plain numbers, 0..1, by the names of the tables."""
        result: dict[str, Any] = {}
        if self.intervals is not None:
            result["confidence"] = {
                column: _nested(self.intervals[column])
                for column in self.intervals.columns.get_level_values(0).unique()
            }
        if self.breakdown is not None:
            result["errors"] = {
                "iou": self.iou,
                "counts": {name: dict(row) for name, row in self.breakdown.counts.astype(object).iterrows()},
                "points": _nested(self.breakdown.points),
            }
        if self.ceilings is not None:
            result["ceilings"] = _nested(self.ceilings)
        if self.confusion is not None:
            result["confusion"] = {
                "iou": self.iou,
                "classes": list(self.confusion.class_names),
                "counts": self.confusion.counts.tolist(),
            }
        if self.tracking:
            result["tracking"] = _nested(pd.DataFrame(self.tracking).T)
        if self.diagnosis is not None:
            result["diagnosis"] = {"verdict": self.diagnosis.verdict, "overlap": self.diagnosis.overlap}
        return result


def examine(
    ground_truth: Sequence[VideoAnnotation],
    detections: Sequence[VideoAnnotation],
    parts: Collection[str],
    *,
    ious: Sequence[float | str],
    iou: float = 0.5,
    protocol: str = "saha",
    class_names: Sequence[str] | None = None,
    ignore_unknown_videos: bool = False,
) -> Details:
    """The parts (some of PARTS) of one evaluation; errors, curves and confusions are at ``iou``."""
    options: dict[str, Any] = {
        "protocol": protocol,
        "class_names": class_names,
        "ignore_unknown_videos": ignore_unknown_videos,
    }
    tracking = {}
    if "tracking" in parts:
        for name, labelled in (("with labels", True), ("without labels", False)):
            tracking[name] = tracking_metrics(
                ground_truth, detections, with_labels=labelled, ignore_unknown_videos=ignore_unknown_videos
            )
    return Details(
        iou,
        diagnose(ground_truth, detections, class_names=class_names) if "diagnosis" in parts else None,
        confidence_intervals(ground_truth, detections, thresholds=ious, **options) if "confidence" in parts else None,
        break_down(ground_truth, detections, iou=iou, **options) if "errors" in parts else None,
        ceilings(ground_truth, detections, thresholds=ious, **options) if "ceilings" in parts else None,
        tracking,
        judge_tubes(ground_truth, detections, thresholds=[iou], **options) if "curves" in parts else None,
        tube_confusion(ground_truth, detections, iou=iou, **options) if "confusion" in parts else None,
    )


def _nested(table: pd.DataFrame) -> dict[str, dict[str, float | None]]:
    """Row, then column; None where there is no number."""
    return {
        str(name): {str(column): None if pd.isna(value) else float(value) for column, value in row.items()}
        for name, row in table.iterrows()
    }
