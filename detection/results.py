"""The files a detection run leaves behind, and what it tells the person who waited for it."""

from __future__ import annotations

import importlib.metadata
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import torch

from detection.detect import DetectConfig, DetectedVideo
from detection.inputs import Input
from detection.pipeline import Timings
from detection.proposals import files_of
from detection.report_lanes import beside_predictions
from detection.report_page import write_report
from detection.report_records import Lane, VideoReport, run_report
from detection.scorer import LoadedScorer
from linking.actors import group_by_actor
from linking.files import replace_when_whole
from linking.records import Tube, VideoAnnotation
from linking.tables import table_from_annotations, write_tubes
from recognition.model_files import file_sha256
from video.datasets import resized_annotation

STAGES = ("decode", "propose", "flow", "score", "link", "draw")


@dataclass(frozen=True)
class DoneVideo:
    """A video whose tubes are known."""

    input: Input
    tubes: list[Tube]
    num_frames: int
    width: int
    height: int
    fps: float
    timings: Timings
    warnings: list[str]
    annotation: VideoAnnotation | None = None
    """The truth, where it is known, in pixels of the video."""
    report: VideoReport | None = None
    """What the report page shows of it; None where none was asked for."""


def done_video(
    item: Input, found: DetectedVideo, lanes: tuple[Lane, ...] | None = None, annotated: Path | None = None
) -> DoneVideo:
    """What is kept of a video while the others are done: not its scored boxes, which may be many.

    ``lanes`` are its actors for the report, None for no report; ``annotated`` is the video with its tubes drawn in.
    """
    scored, timings = found.scored, found.timings
    size = (scored.num_frames, scored.width, scored.height, scored.fps)
    annotation = item.annotation
    if annotation is not None and annotation.width is not None:
        # UCF101-24 is annotated at 320 x 240 whatever the size of the copy at hand
        annotation = resized_annotation(annotation, scored.width, scored.height)
    report = None
    if lanes is not None:
        truth = None if annotation is None else beside_predictions(annotation.tubes, found.tubes)
        seconds = {stage: getattr(timings, stage) for stage in STAGES}
        report = VideoReport(
            item.name, scored.num_frames, scored.fps, scored.width, scored.height, lanes,
            truth=truth, annotated=annotated, seconds=seconds, warnings=found.warnings,
        )  # fmt: skip
    return DoneVideo(item, found.tubes, *size, timings, found.warnings, annotation, report)


class ResultFiles:
    """Keeps ``tubes.csv``, ``tubes.json``, ``run.json``, ``report.html`` (where videos have a report) and
    ``ground_truth.csv`` (where annotations are known) up to date while ``done`` and ``failed`` grow, so that a long
    run can be looked at and a killed one was not for nothing.
    """

    def __init__(
        self,
        output: Path,
        done: Sequence[DoneVideo],
        failed: Mapping[str, str],
        *,
        scorers: Sequence[LoadedScorer],
        proposals: str,
        config: DetectConfig,
        picked: Mapping[str, Any] | None = None,
    ) -> None:
        self.output, self.done, self.failed = output, done, failed
        self.scorers, self.proposals, self.config, self.picked = scorers, proposals, config, picked
        self._due = 0.0

    def write_if_due(self) -> None:
        """Write unless that would take more than a tenth of the time: the files are written as a whole each time."""
        started = monotonic()
        if started >= self._due:
            self.write()
            self._due = monotonic() + 10 * (monotonic() - started)

    def write(self) -> dict[str, Any]:
        """Write all files; returns the contents of ``run.json``."""
        done = self.done
        table = table_from_annotations(
            [VideoAnnotation(v.input.name, v.tubes, v.num_frames, v.width, v.height) for v in done]
        )
        write_tubes(table, self.output / "tubes.csv")
        write_tubes(table, self.output / "tubes.json")
        annotations = [video.annotation for video in done if video.annotation is not None]
        if annotations:
            write_tubes(table_from_annotations(annotations), self.output / "ground_truth.csv")
        record = run_record(
            done, self.failed, scorers=self.scorers, proposals=self.proposals, config=self.config, picked=self.picked
        )
        with replace_when_whole(self.output / "run.json") as temporary:
            temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        reports = [video.report for video in done if video.report is not None]
        if reports:
            made_by = {name: value for name, value in record.items() if name not in ("videos", "failed")}
            write_report(self.output / "report.html", run_report(reports, made_by, self.failed))
        return record


def run_record(
    done: Sequence[DoneVideo],
    failed: Mapping[str, str],
    *,
    scorers: Sequence[LoadedScorer],
    proposals: str,
    config: DetectConfig,
    picked: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What made the results, and the results in short; plain values for JSON.

    ``picked`` says where the networks come from and under which terms (``detection.pick_weights.picked_record``).
    """
    proposal_files = files_of(proposals)
    return {
        "videos": [
            {
                "video": video.input.name,
                "path": video.input.path if not video.input.is_live else video.input.name,
                "num_frames": video.num_frames,
                "width": video.width,
                "height": video.height,
                "fps": video.fps,
                "tubes": [_tube_record(tube, video.fps) for tube in video.tubes],
                "timings": asdict(video.timings),
                "warnings": video.warnings,
            }
            for video in done
        ],
        "failed": dict(failed),
        "weights": [
            {
                "file": Path(scorer.file.path).name,
                "sha256": scorer.file.sha256,
                "stream": scorer.network.config.backbone.input,
            }
            for scorer in scorers
        ],
        "proposals": {
            "source": ",".join(file.name for file in proposal_files) or proposals,
            "sha256": ",".join(map(file_sha256, proposal_files)) or None,
        },
        **({} if picked is None else {"picked": dict(picked)}),
        "class_names": list(scorers[0].class_names),
        "settings": asdict(config),
        "versions": {
            "program": importlib.metadata.version("lgd-action-detection"),
            "python": sys.version.split()[0],
            "torch": torch.__version__,
        },
    }


def print_summary(done: Sequence[DoneVideo]) -> None:
    """Who does what and when, a line an actor, on standard output."""
    print(f"{'video':<24} {'tube':>4}  {'action':<16} {'score':>5}  {'from':>7}  {'to':>7}  {'frames':>11}  also")
    for video in done:
        for actor in group_by_actor(video.tubes):
            tube = actor.tube
            others = ", ".join(f"{label} {score:.2f}" for label, score in actor.classes[1:])
            print(
                f"{video.input.name[-24:]:<24} {tube.id:>4}  {tube.label:<16} {tube.score:>5.2f}  "
                f"{tube.first_frame / video.fps:>6.2f}s  {tube.end_frame / video.fps:>6.2f}s  "
                f"{f'{tube.first_frame}-{tube.end_frame - 1}':>11}  {others}"
            )
        if not video.tubes:
            print(f"{video.input.name[-24:]:<24}    -  nothing found")


def print_timings(done: Sequence[DoneVideo], output: Path) -> None:
    """Seconds of each stage, on standard error."""
    frames = sum(video.timings.frames for video in done)
    seconds = {stage: sum(getattr(video.timings, stage) for video in done) for stage in STAGES}
    if not seconds["flow"]:
        del seconds["flow"]
    total = sum(seconds.values())
    stages = "  ".join(f"{stage} {value:.1f} s" for stage, value in seconds.items())
    rate = frames / total if total else 0.0
    print(f"{frames} frames in {total:.1f} s ({rate:.1f} frames/s): {stages}", file=sys.stderr)
    report = any(video.report is not None for video in done)
    print(f"results are in {output}{'; look at report.html' if report else ''}", file=sys.stderr)


def _tube_record(tube: Tube, fps: float) -> dict[str, Any]:
    return {
        "tube": tube.id,
        "label": tube.label,
        "score": round(tube.score, 6),
        "first_frame": tube.first_frame,
        "last_frame": tube.end_frame - 1,
        "start_seconds": round(tube.first_frame / fps, 3),
        "end_seconds": round(tube.end_frame / fps, 3),
    }
