"""Reports to test the page with: two people, ground truth, names that try to be markup."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from detection.report_lanes import beside_predictions, lanes_of
from detection.report_records import RunReport, VideoReport
from linking.actors import group_by_actor
from linking.records import Tube
from video.drawing import annotate_video
from video.thumbnails import Thumbnails
from video.writing import VideoWriter

NASTY = (
    "</title></script></style><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">'&#"
)
FPS, FRAMES, WIDTH, HEIGHT = 10, 40, 96, 64


def tube(label: str, first: int, frames: int, score: float, number: int, *, x: float = 8) -> Tube:
    """A box of 24 x 40 that stays."""
    boxes = np.tile(np.float32([x, 10, x + 24, 50]), (frames, 1))
    return Tube(label, np.arange(first, first + frames), boxes, np.full(frames, score, np.float32), score, number)


TUBES = (
    tube("run", 10, 20, 0.8, 0),
    tube("jump", 10, 20, 0.4, 1),
    tube(NASTY, 0, 40, 0.3, 2, x=60),
)
TRUTH = (tube("run", 10, 25, np.nan, 0), tube("wave", 30, 10, np.nan, 1, x=40))


def write_source(path: Path) -> Path:
    """A grey video with a number of frames that the tubes know."""
    with VideoWriter(path, width=WIDTH, height=HEIGHT, fps=FPS) as writer:
        for number in range(FRAMES):
            writer.write(np.full((HEIGHT, WIDTH, 3), 60 + 3 * number, np.uint8))
    return path


def video_report(name: str = "clip", folder: Path | None = None, **changes: Any) -> VideoReport:
    """The tubes above; with ``folder`` also an annotated video in it and thumbnails."""
    actors = group_by_actor(TUBES)
    thumbnails = annotated = None
    if folder is not None:
        thumbnails = Thumbnails([actor.tube for actor in actors])
        annotated = folder / "clip #1%20?.mp4"
        source = write_source(folder / "source.mp4")
        annotate_video(source, annotated, [actor.tube for actor in actors], watch=thumbnails.see)
    values: dict[str, Any] = {
        "lanes": lanes_of(actors, thumbnails=thumbnails),
        "truth": beside_predictions(TRUTH, TUBES),
        "annotated": annotated,
        "seconds": {"decode": 0.5, "flow": 0.0, "score": 1.5},
    }
    return VideoReport(name, FRAMES, FPS, WIDTH, HEIGHT, **values | changes)


def run(*videos: VideoReport, failed: Mapping[str, str] | None = None, **made_by: Any) -> RunReport:
    return RunReport("Action tubes", videos, made_by, failed or {})
