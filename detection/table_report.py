"""Reports of tubes that lie in a table: no network runs, and what nobody recorded is left out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from detection.report_lanes import beside_predictions, lanes_of
from detection.report_records import VideoReport
from linking.actors import Actor
from linking.build import TubeConfig
from linking.link import LinkConfig
from linking.online import OnlineConfig
from linking.records import Tube, VideoAnnotation
from linking.scores import ScoredVideo, ScoresError
from linking.settings import SettingsError, with_settings
from video.source import UNKNOWN_FPS
from video.thumbnails import Thumbnails


def table_video_report(
    annotation: VideoAnnotation,
    actors: Sequence[Actor],
    record: Mapping[str, Any],
    *,
    fps: float | None = None,
    scored: ScoredVideo | None = None,
    truth: Sequence[Tube] | None = None,
    thumbnails: Thumbnails | None = None,
    annotated: Path | None = None,
) -> VideoReport:
    """The report of one video of a tube table.

    Args:
        annotation: its tubes, and its length and size where they are known.
        actors: those of its tubes that are shown, as ``group_by_actor`` gives them.
        record: what ``record_beside`` the table says; has the rest where ``annotation`` and ``fps`` do not.
        fps: frames a second, from the file.
        scored: the scores the tubes were made from; ScoresError if it has fewer frames than the tubes.
        truth: its ground truth, set beside the tubes of ``actors``; None where none was given.
        thumbnails: pictures of the tubes.
        annotated: the video with its tubes drawn in.
    """
    known = _of_video(record, annotation.video)
    end = max([tube.end_frame for tube in (*annotation.tubes, *(truth or ()))], default=1)
    if scored is not None:
        if scored.num_frames < max([tube.end_frame for tube in annotation.tubes], default=0):
            raise ScoresError(f"{annotation.video}: tubes go on after the {scored.num_frames} frames of its scores")
        fps = fps or scored.fps
    fps = fps or _positive(known.get("fps"))
    warnings = [str(text) for text in known.get("warnings") or ()]
    if fps is None:
        fps = UNKNOWN_FPS
        warnings.append(f"How many frames a second the video has is not known; times are those of {UNKNOWN_FPS:g}.")
    stated = annotation.num_frames or _positive(known.get("num_frames"))
    return VideoReport(
        annotation.video,
        max(end, int(stated or 0)),
        fps,
        int(annotation.width or _positive(known.get("width")) or 0),
        int(annotation.height or _positive(known.get("height")) or 0),
        lanes_of(actors, scored, link_settings(record), thumbnails),
        truth=None if truth is None else beside_predictions(truth, [tube for actor in actors for tube in actor.tubes]),
        annotated=annotated,
        seconds=_stage_seconds(known),
        warnings=warnings,
    )


def record_beside(table: Path) -> dict[str, Any]:
    """What the record of the run that made ``table`` says: ``NAME.settings.json`` beside ``NAME.csv``, or ``run.json``
    beside ``tubes.csv``. Empty where there is none that can be read."""
    paths = [table.with_suffix(".settings.json")]
    if table.stem == "tubes":
        paths.append(table.with_name("run.json"))
    for path in paths:
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(record, dict):
            return record
    return {}


def link_settings(record: Mapping[str, Any]) -> LinkConfig | OnlineConfig | None:
    """The settings that tubes were linked with; None where the record does not say it in words of this version."""
    settings = record.get("settings")
    if not isinstance(settings, dict) or not isinstance(settings.get("link"), dict):
        return None
    try:
        config = with_settings(
            TubeConfig(), {name: settings[name] for name in ("link", "online", "linker") if name in settings}
        )
    except SettingsError:
        return None
    return config.online if config.linker == "online" else config.link


def _of_video(record: Mapping[str, Any], video: str) -> dict[str, Any]:
    rows = record.get("videos")
    rows = rows if isinstance(rows, list) else []
    return next((row for row in rows if isinstance(row, dict) and row.get("video") == video), {})


def _stage_seconds(of_video: Mapping[str, Any]) -> dict[str, float]:
    """By stage; counts of frames and boxes, which stand beside them, are whole numbers."""
    timings = of_video.get("timings")
    rows = timings.items() if isinstance(timings, dict) else ()
    return {str(stage): seconds for stage, seconds in rows if isinstance(seconds, float)}


def _positive(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and value > 0 else None
