"""What the report page of a run shows; ``report_lanes`` makes these records, ``report_page`` turns them into HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from linking.records import Tube
from video.thumbnails import Thumbnail

Classes = tuple[tuple[str, float], ...]


@dataclass(frozen=True, eq=False)
class Curve:
    """The score of one class along an actor."""

    label: str
    frames: np.ndarray
    """(n,) ascending frame indices."""
    scores: np.ndarray
    """(n,) one score a frame; NaN where the box has none."""


@dataclass(frozen=True, eq=False)
class Run:
    """One tube of an actor: an action with its beginning and end."""

    tube: Tube
    classes: Classes
    """(label, score) of the three best classes, best first."""
    tubes: tuple[Tube, ...]
    """``tube`` and those of weaker classes on the same boxes, best first."""
    thumbnails: tuple[Thumbnail, ...] = ()


@dataclass(frozen=True, eq=False)
class Lane:
    """One actor on the timeline."""

    runs: tuple[Run, ...]
    """By time; they do not overlap."""
    frames: np.ndarray
    """(n,) ascending: where the actor was followed before tubes were cut in time."""
    curves: tuple[Curve, ...]

    @property
    def cut(self) -> np.ndarray:
        """Frames that were trimmed away: the actor was there, but in none of the runs."""
        return np.setdiff1d(self.frames, np.concatenate([run.tube.frames for run in self.runs]))


@dataclass(frozen=True, eq=False)
class TrueTube:
    """A tube of the ground truth, and the predictions that come nearest (spatio-temporal IoU above 0)."""

    tube: Tube
    found: Tube | None
    """The prediction of its class that overlaps it most."""
    iou: float
    """With ``found``; 0 without."""
    other: Tube | None
    """The prediction of any other class that overlaps it most."""
    other_iou: float
    """With ``other``; 0 without."""


@dataclass(frozen=True, eq=False)
class VideoReport:
    """One video of a run."""

    video: str
    """Its name in the results."""
    num_frames: int
    fps: float
    width: int
    """Pixels."""
    height: int
    """Pixels."""
    lanes: tuple[Lane, ...]
    """Best actor first."""
    truth: tuple[TrueTube, ...] | None = None
    """None where there is no ground truth."""
    annotated: Path | None = None
    """The video with its tubes drawn in, where it was written."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Time each stage took, in the order of the stages."""
    warnings: Sequence[str] = ()

    @property
    def tubes(self) -> list[Tube]:
        """All tubes by id."""
        return sorted((tube for lane in self.lanes for run in lane.runs for tube in run.tubes), key=lambda t: t.id)


@dataclass(frozen=True, eq=False)
class RunReport:
    """Everything on the page."""

    title: str
    videos: Sequence[VideoReport]
    provenance: Mapping[str, Any]
    """What made the results; plain values for JSON."""
    failed: Mapping[str, str] = field(default_factory=dict)
    """Videos that could not be done, and why."""


def run_report(
    videos: Sequence[VideoReport], made_by: Mapping[str, Any], failed: Mapping[str, str] | None = None
) -> RunReport:
    """The report of ``videos`` under a title that names them."""
    title = f"Action tubes of {videos[0].video if len(videos) == 1 else f'{len(videos)} videos'}"
    return RunReport(title, videos, made_by, failed or {})
