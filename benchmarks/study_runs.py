"""What the studies share: commands of the tools that run once, and what became of them."""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from detection.scorer import load_scorer

TOOLS = Path(__file__).resolve().parents[1] / "tools"
QUICK_FLOW = shlex.split(
    "--short-side 112 --set bound=8 --set tvl1.scales=3 --set tvl1.scale_step=0.5 --set tvl1.warps=3 "
    "--set tvl1.outer_iterations=2 --set tvl1.inner_iterations=10 --set tvl1.epsilon=0.05"
)
"""Arguments of extract_flow.py: the flow of the small presets."""

Steps = list[list[str]]
"""Commands that follow each other: a tool and its arguments."""


@dataclass(frozen=True)
class Job:
    """Commands one after the other, and a file that they write; a mark beside it says that all have run."""

    steps: Steps
    done: Path | None
    """None: run them every time; they pass over what is there."""


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """What every study can be told about its running."""
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=1, help="trainings side by side")
    parser.add_argument("--list", action="store_true", help="print the commands and run none")
    parser.add_argument("--table", action="store_true", help="only print the tables")


def add_fold_options(parser: argparse.ArgumentParser) -> None:
    """Of the studies that train detection on J-HMDB."""
    parser.add_argument("--dataset", type=Path, required=True, help="J-HMDB")
    parser.add_argument("--flow", type=Path, required=True, help="its flow (docs/models/scorer-small-flow.md)")
    parser.add_argument("--folds", type=int, default=3, help="folds to cut the training part into (default 3)")
    parser.add_argument("--first", type=int, metavar="N", help="only the first N of them (default: all)")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")


def tool(name: str, *arguments: object) -> list[str]:
    return [f"{name}.py", *map(str, arguments)]


def settings(changes: dict[str, object]) -> list[object]:
    """Changed settings as arguments of a tool."""
    return [word for name, value in changes.items() for word in ("--set", f"{name}={value}")]


def list_commands(jobs: Sequence[Job]) -> str:
    return "\n".join(f"tools/{shlex.join(step)}" for job in jobs for step in job.steps)


def run_jobs(jobs: Sequence[Job], folder: Path, side_by_side: int = 1) -> None:
    """Run what is not done yet; SystemExit where a command fails, with the log that says why."""
    with ThreadPoolExecutor(side_by_side) as pool:
        for _ in pool.map(lambda job: _run(job, folder), jobs):
            pass


def is_finished(done: Path) -> bool:
    """The file alone does not say so: train_detection.py writes its network before it validates it."""
    return _mark(done).exists()


def mean_and_interval(values: list[float], *, sign: bool = False) -> str:
    """Mean and 95 % interval of the mean by Student's t, over seeds."""
    if not values:
        return "-"
    form = "+.1f" if sign else ".1f"
    mean = float(np.mean(values))
    if len(values) < 2:
        return f"{mean:{form}}"
    half = float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5)
    return f"{mean:{form}} ± {half:.1f}"


def true_boxes(folder: Path) -> float:
    """Share of the held-out clips that the scorer names when the boxes are given, 0..1."""
    (validation,) = load_scorer(folder / "scorer.safetensors").file.provenance["validation"].values()
    return float(validation["top1"])


def _mark(done: Path) -> Path:
    return done.with_name(f"{done.name}.finished")


def _run(job: Job, folder: Path) -> None:
    if job.done is not None and is_finished(job.done):
        return
    name = "-".join(job.done.relative_to(folder).parent.parts) if job.done is not None else "data"
    for step in job.steps:
        with (folder / f"{name}.log").open("a") as log:
            log.write(shlex.join(step) + "\n")
            log.flush()
            command = [sys.executable, str(TOOLS / step[0]), *step[1:]]
            ended = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=log, check=False)
        if ended.returncode:
            raise SystemExit(f"error: {shlex.join(step)} ended with {ended.returncode}; see {folder / name}.log")
    if job.done is not None:
        _mark(job.done).touch()
