"""What an evaluation found: average precision per class and threshold, and what it was made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from eval.protocols import FrameProtocol, VideoProtocol
from eval.thresholds import IouList


@dataclass(frozen=True, eq=False)
class MapResult:
    """Average precision of every class at every overlap."""

    protocol: VideoProtocol | FrameProtocol
    ious: IouList
    class_names: tuple[str, ...]
    ap_by_threshold: np.ndarray
    """(classes, thresholds) float64 in [0, 1], at ``ious.values``; NaN for a class the protocol leaves out."""
    recall_by_threshold: np.ndarray
    """(classes, thresholds) float64: share of the ground truth that was found; NaN without ground truth."""
    num_ground_truth: np.ndarray
    """(classes,) int64 ground-truth tubes, or boxes for frame-mAP."""
    num_detections: np.ndarray
    """(classes,) int64 detections that were judged (after the protocol's own suppression)."""
    num_videos: int
    """Videos in the ground truth."""
    warnings: tuple[str, ...] = ()
    """What a reader of the numbers should know."""

    @property
    def ap(self) -> np.ndarray:
        """(classes, columns) AP, a column for each entry of the IoU list; a range is the mean over it."""
        return self.ious.reduce(self.ap_by_threshold)

    @property
    def mean(self) -> dict[str, float]:
        """mAP by column: ``{"0.5": 0.31, "0.5:0.95": 0.14}``."""
        return {name: float(value) for name, value in zip(self.ious.columns, np.nanmean(self.ap, axis=0))}

    def table(self) -> pd.DataFrame:
        """A row per class (AP by IoU, counts) and a last row ``mean``."""
        table = pd.DataFrame(self.ap, columns=list(self.ious.columns), index=pd.Index(self.class_names, name="class"))
        table["ground_truth"] = self.num_ground_truth
        table["detections"] = self.num_detections
        totals = [*self.mean.values(), self.num_ground_truth.sum(), self.num_detections.sum()]
        mean = pd.DataFrame([totals], columns=table.columns, index=pd.Index(["mean"], name="class"))
        return pd.concat([table, mean.astype(table.dtypes.to_dict())])

    def as_json(self) -> dict[str, Any]:
        """``{"0.5": {"overall": ..., "per_class": {...}}, ...}``; None for a class that is left out."""
        return {
            column: {
                "overall": self.mean[column],
                "per_class": {
                    name: None if np.isnan(value) else float(value)
                    for name, value in zip(self.class_names, self.ap[:, position])
                },
            }
            for position, column in enumerate(self.ious.columns)
        }
