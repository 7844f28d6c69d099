"""A few seconds that show whether detection works here: the demo's first frames, all the way to files and back."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import TypeVar

import numpy as np
import torch

from detection.detect import DetectConfig, bundled_scorers, detect_video
from detection.health import Finding
from detection.proposals import Proposer, open_proposer
from detection.scorer import LoadedScorer, load_scorer
from linking.records import Tube, VideoAnnotation
from linking.tables import annotations_from_table, read_tubes, table_from_annotations, write_tubes
from video.frames import open_video
from video.writing import VideoWriter

Result = TypeVar("Result")
_SECTION = "self-test"


def run_self_test(demo: Path, *, frames: int) -> Iterator[Finding]:
    """One finding a part: decoding, bundled networks on ``frames`` frames, a video and a tube table there and back.

    A part that cannot run because an earlier one failed is left out. Runs on CUDA where it is usable.
    """
    where = "cuda" if torch.cuda.is_available() else "cpu"
    pictures, finding = _tried("decoding", lambda: _decode(demo, frames))
    yield finding
    networks, finding = _tried("weights", lambda: _load(where))
    yield finding
    if pictures is None or networks is None:
        return
    tubes, finding = _tried("detection", lambda: _detect(demo, networks, frames))
    yield finding
    with tempfile.TemporaryDirectory() as folder:
        yield _tried("a video there and back", lambda: _video(pictures, Path(folder) / "tiny.mp4"))[1]
        yield _tried("a tube table there and back", lambda: _table(tubes or [], Path(folder)))[1]


def _tried(name: str, part: Callable[[], tuple[Result, str]]) -> tuple[Result | None, Finding]:
    """What ``part`` gives, and the finding: ok with its words, or broken with the error."""
    try:
        result, words = part()
        return result, Finding(_SECTION, name, "ok", words)
    except Exception as error:  # whatever breaks here is what the test is for
        detail = f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]
        return None, Finding(_SECTION, name, "broken", detail, "see the lines above; if all are ok, report this page")


def _decode(demo: Path, frames: int) -> tuple[list[np.ndarray], str]:
    with open_video(demo) as source:
        pictures = [picture for _, picture in zip(range(frames), source)]
        size = f"{source.width}x{source.height}"
    if len(pictures) < frames:
        raise ValueError(f"{len(pictures)} of {frames} frames came out of the decoder")
    if not any(picture.std() > 5 for picture in pictures):
        raise ValueError("the decoder gives empty pictures")
    return pictures, f"{frames} frames of {size}"


def _load(where: str) -> tuple[tuple[Proposer, list[LoadedScorer]], str]:
    proposer = open_proposer("bundled", config=DetectConfig().proposals, device=where)
    scorers = [load_scorer(path, where) for path in bundled_scorers(None)]
    return (proposer, scorers), f"proposals and {len(scorers)} scorers on {where}"


def _detect(demo: Path, networks: tuple[Proposer, list[LoadedScorer]], frames: int) -> tuple[list[Tube], str]:
    """ValueError if the networks ran and still gave nothing that can be right."""
    started = perf_counter()
    found = detect_video(demo, "demo", *networks, DetectConfig(), max_frames=frames)
    speed = frames / (perf_counter() - started)
    if found.scored.num_frames != frames:
        raise ValueError(f"{found.scored.num_frames} of {frames} frames were scored")
    if not all(np.isfinite(np.asarray(boxes.class_scores)).all() for boxes in found.scored.detections):
        raise ValueError("the networks give numbers that are none (NaN); try --device cpu")
    best = max(float(boxes.scores.max(initial=0)) for boxes in found.scored.detections)
    if best < 0.5:
        raise ValueError(f"the proposal network sees nobody in the demo clip (best score {best:.2f})")
    return found.tubes, f"{found.timings.boxes} boxes in {frames} frames, {speed:.1f} frames a second"


def _video(pictures: list[np.ndarray], path: Path) -> tuple[None, str]:
    height, width, _ = pictures[0].shape
    with VideoWriter(path, width=width, height=height, fps=25) as writer:
        for picture in pictures:
            writer.write(picture)
    with open_video(path) as source:
        back = list(source)
    if len(back) != len(pictures):
        raise ValueError(f"{len(pictures)} frames were written, {len(back)} came back")
    difference = float(np.mean([np.abs(a.astype(int) - b).mean() for a, b in zip(pictures, back)]))
    if difference > 16:
        raise ValueError(f"the pictures came back {difference:.0f} grey values different")
    return None, f"{path.stat().st_size:,} bytes for {len(back)} frames"


def _table(tubes: list[Tube], folder: Path) -> tuple[None, str]:
    # also without a tube of the demo there is something to write
    tubes = tubes or [Tube("wave", np.arange(3), np.array([[1, 2, 30, 40]] * 3, np.float32), None, 0.5, 0)]
    table = table_from_annotations([VideoAnnotation("demo", tubes)])
    for suffix in (".csv", ".json"):
        path = folder / f"tubes{suffix}"
        write_tubes(table, path)
        (back,) = annotations_from_table(read_tubes(path))
        if sorted(len(tube) for tube in back.tubes) != sorted(len(tube) for tube in tubes):
            raise ValueError(f"the tubes came back different from {suffix}")
    return None, f"{len(tubes)} tubes, {len(table)} rows"
