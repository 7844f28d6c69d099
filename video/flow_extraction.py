"""The flow of many videos: which ones, in several processes, skipping what is done."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from video.class_datasets import open_all_splits
from video.datasets import DatasetError, open_dataset
from video.flow import FlowError, FlowSettings
from video.flow_cache import flow_path, is_done, write_flow
from video.pictures import PICTURE_SUFFIXES


@dataclass(frozen=True)
class FlowJob:
    """One video whose flow is wanted."""

    name: str
    """Name of its flow file; may contain slashes, as the names of datasets do."""
    video: str
    """A video file or a folder of pictures."""


@dataclass(frozen=True)
class FlowOutcome:
    """What became of one job."""

    job: FlowJob
    frames: int = 0
    """Of the video, if its flow was computed now; 0 if it was done before."""
    error: str | None = None
    """Why there is no flow; one line."""
    warnings: tuple[str, ...] = ()


def flow_jobs(paths: Sequence[str]) -> list[FlowJob]:
    """The videos meant by ``paths``: video files, folders of pictures, and all videos of dataset folders.

    A single video is named after its file, one of a dataset as in its annotation. FlowError for two videos of one name;
    DatasetError for a folder that is neither; the reader's own error for damaged annotation.
    """
    jobs: dict[str, FlowJob] = {}
    for path in paths:
        for job in _jobs_of(Path(path)):
            if jobs.setdefault(job.name, job) != job:
                raise FlowError(
                    f"{job.video}: its flow would have the name of that of {jobs[job.name].video}; "
                    "use another --output for one of them"
                )
    return list(jobs.values())


def extract(
    jobs: Sequence[FlowJob],
    output: str | os.PathLike[str],
    settings: FlowSettings,
    *,
    device: str = "cpu",
    workers: int = 0,
    on_open: Callable[[int | None], None] = lambda stated_frames: None,
    on_frame: Callable[[int], None] = lambda count: None,
) -> Iterator[FlowOutcome]:
    """Write the flow of each job under ``output`` (see flow_path) unless it is done; outcomes as they come.

    A video that cannot be read has an outcome with an error and does not stop the others. ``workers`` processes work
    through the videos side by side, one CPU thread each; 0 is this process, and only then ``on_open`` and
    ``on_frame`` are called (see write_flow).
    """
    if workers == 0:
        for job in jobs:
            yield _extract_one(job, output, settings, device, on_open, on_frame)
        return
    # "spawn": a forked process can use neither CUDA nor the threads of its parent
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(workers, context, initializer=_prepare_worker) as pool:
        futures = [pool.submit(_extract_one, job, output, settings, device) for job in jobs]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in set(multiprocessing.active_children()) - others:
                if process.pid is not None:
                    os.kill(process.pid, signal.SIGINT)
            raise


def _jobs_of(path: Path) -> list[FlowJob]:
    if path.is_dir() and not _has_pictures(path):
        try:
            annotations = open_dataset(path, part="all").videos
            return [FlowJob(video.annotation.video, str(video.path)) for video in annotations]
        except DatasetError:
            return [FlowJob(video.name, str(video.path)) for video in open_all_splits(path)]
    if path.suffix == ".toml":
        return [FlowJob(video.annotation.video, str(video.path)) for video in open_dataset(path, part="all").videos]
    return [FlowJob((path.name if path.is_dir() else path.stem) or path.resolve().name, str(path))]


def _has_pictures(folder: Path) -> bool:
    return any(file.suffix.lower() in PICTURE_SUFFIXES for file in islice(folder.iterdir(), 10))


_stopping = False


def _prepare_worker() -> None:
    """One thread; Ctrl-C ends the work at hand without a word and without half a file; no life after the parent's."""
    import torch

    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, _stop)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _stop(number: int, frame: object) -> None:
    global _stopping
    if not _stopping:  # a second signal must not disturb the clearing up after the first
        _stopping = True
        raise SystemExit


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _extract_one(
    job: FlowJob,
    output: str | os.PathLike[str],
    settings: FlowSettings,
    device: str,
    on_open: Callable[[int | None], None] = lambda stated_frames: None,
    on_frame: Callable[[int], None] = lambda count: None,
) -> FlowOutcome:
    if _stopping:
        raise SystemExit
    path = flow_path(output, job.name)
    if is_done(path, job.video, settings):
        return FlowOutcome(job)
    try:
        about = write_flow(job.video, path, settings, device=device, on_open=on_open, on_frame=on_frame)
    except (ValueError, OSError) as error:
        return FlowOutcome(job, error=" ".join(str(error).split()))
    return FlowOutcome(job, about.frames, warnings=about.warnings)
