"""What helps a scorer, and what does not? A narrow one, true boxes given, one thing changed at a time.

    python benchmarks/study_recipe.py --dataset data/jhmdb --flow data/flow --puppets data/puppets \\
        --output runs/recipe --jobs 2

Folds of J-HMDB's training part by source film, each with a seed of its own; the rows of a fold learn from the same
clips, so differences are taken fold by fold: docs/models/recipe.md.

Everything goes through the tools, so each step can be run by hand. What is done is not done again: stop it when you
like and start it again. ``--list`` prints the commands and runs none; ``--table`` prints the table of what is done.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from study_runs import (
    Job,
    add_fold_options,
    add_run_options,
    is_finished,
    list_commands,
    mean_and_interval,
    run_jobs,
    settings,
    tool,
    true_boxes,
)

from video.clips import read_video
from video.datasets import open_dataset
from video.writing import VideoWriter

BACKBONE, CLIPS = "scorer.backbone", "train.clips"
AUGMENT, REGIONS = f"{CLIPS}.augment", f"{CLIPS}.regions"
NARROW = {"depths": "[1,1,1,1]", "widths": "[32,64,128,256]", "stem_width": 8}
BASE: dict[str, object] = {
    **{f"{BACKBONE}.{name}": value for name, value in NARROW.items()},
    **{f"{CLIPS}.height": 64, f"{CLIPS}.width": 88, "scorer.short_side": 76, "scorer.mirror": "false"},
}
"""The bundled networks' presets, but a narrow network and pictures of two thirds of their size."""
FOR_BOTH: dict[str, dict[str, object]] = {
    "as it is": {},
    "P3D instead of LGD": {f"{BACKBONE}.block": "none"},
    "local and global vector at the head": {"scorer.head": "local+global"},
    "mixup 0.2": {"train.mixup": 0.2},
    "pictures of 96x128 instead of 64x88": {f"{CLIPS}.height": 96, f"{CLIPS}.width": 128, "scorer.short_side": 112},
    "half as wide again": {f"{BACKBONE}.widths": "[48,96,192,384]", f"{BACKBONE}.stem_width": 12},
    "no random crops": {f"{AUGMENT}.min_crop": 1, f"{AUGMENT}.aspect": 0},
    "no mirroring": {f"{AUGMENT}.flip": 0},
    "every frame or every second one": {f"{AUGMENT}.max_frame_step": 2},
    "boxes not moved": {f"{REGIONS}.shift": 0, f"{REGIONS}.scale": 0},
    "dropout 0.5 instead of 0.2": {"scorer.dropout": 0.5},
    "start from puppets": {},
}
ROWS: dict[str, dict[str, dict[str, object]]] = {
    "rgb": {
        **FOR_BOTH,
        "start from the order of time": {},
        "start from shuffled films": {},
        "twice as deep": {f"{BACKBONE}.depths": "[1,2,2,2]"},
        "crops from half of the frame": {f"{AUGMENT}.min_crop": 0.5},
        "no change of colour": {f"{AUGMENT}.colour": 0},
        "boxes moved twice as far": {f"{REGIONS}.shift": 0.3, f"{REGIONS}.scale": 0.3},
        "boxes of all 16 frames instead of 8": {f"{CLIPS}.key_frames": 16},
        "no label smoothing": {"train.label_smoothing": 0},
    },
    "flow": {**FOR_BOTH, "motion of the camera left in": {"scorer.steady_flow": "false"}},
}
"""What is changed of the base, as settings of train_detection.py; the starts change none."""


def puppets_start(args: argparse.Namespace, fold: int, stream: str) -> tuple[list[str], list[object]]:
    """A scorer of puppets of the same classes, and how another one starts from it."""
    output = args.output / f"fold{fold}" / f"{stream}-puppets"
    arguments = ["--dataset", args.puppets]
    if stream == "flow":
        arguments += ["--flow", args.flow / args.puppets.name]
    return training(args, fold, stream, arguments, output), ["--weights", output / "scorer.safetensors"]


def pretext_start(args: argparse.Namespace, fold: int, stream: str, *, pretext: str) -> tuple[list[str], list[object]]:
    """A classifier that tells films from what PRETEXTS does to them, and how a scorer starts from it."""
    output = args.output / f"fold{fold}" / f"{stream}-{pretext}"
    clip: dict[str, object] = {"clip.short_side": 76, "clip.crop": 64, "clip.test_short_side": 76, "train.batch": 8}
    clip |= {"train.optimizer": "adamw", "train.learning_rate": 0.003, "train.schedule": "cosine"}
    network = {f"network.backbone.{name}": value for name, value in NARROW.items()}
    step = tool(
        "train_recognition",
        *("--dataset", args.output / pretext, "--preset", "lgd3d-small", *settings(network | clip)),
        *("--seed", fold, "--threads", 1, "--device", args.device, "--epochs", args.epochs // 2),
        *("--output", output),
    )
    return step, ["--body-weights", output / "classifier.safetensors"]


def backward(frames: np.ndarray) -> np.ndarray:
    return frames[::-1]


def shuffled(frames: np.ndarray) -> np.ndarray:
    """The same way whenever it is the same film."""
    return np.random.default_rng(int(frames.sum())).permutation(frames)


PRETEXTS = {"order": backward, "shuffle": shuffled}
"""What makes the second class of films, by folder: nobody has to label them."""

Start = Callable[[argparse.Namespace, int, str], tuple[list[str], list[object]]]
STARTS: dict[str, Start] = {
    "start from puppets": puppets_start,
    "start from the order of time": partial(pretext_start, pretext="order"),
    "start from shuffled films": partial(pretext_start, pretext="shuffle"),
}


def every_job(args: argparse.Namespace, folds: range) -> list[Job]:
    """A row in all folds, of RGB and of flow, then the next: a study that is stopped has whole rows."""
    names = dict.fromkeys(name for rows in ROWS.values() for name in rows)
    return [
        row_job(args, fold, stream, name)
        for name in names
        for stream, rows in ROWS.items()
        for fold in folds
        if name in rows
    ]


def row_job(args: argparse.Namespace, fold: int, stream: str, name: str) -> Job:
    output = args.output / f"fold{fold}" / f"{stream}-{slug(name)}"
    arguments = ["--dataset", args.dataset, "--fold", f"{fold}/{args.folds}", *settings(ROWS[stream][name])]
    steps = []
    if name in STARTS:
        step, start = STARTS[name](args, fold, stream)
        steps, arguments = [step], arguments + start
    return Job([*steps, training(args, fold, stream, arguments, output)], output / "scorer.safetensors")


def training(args: argparse.Namespace, fold: int, stream: str, arguments: list[object], output: Path) -> list[str]:
    preset = ["--preset", "small"] if stream == "rgb" else ["--preset", "small-flow", "--flow", args.flow]
    every = [*preset, *settings(BASE), "--seed", fold, "--threads", 1, "--device", args.device, "--epochs", args.epochs]
    return tool("train_detection", *every, *arguments, "--output", output)


def slug(name: str) -> str:
    return re.sub(r"\W+", "-", name)


def write_films(dataset: Path, output: Path) -> None:
    """The training part's films as they are, and changed: what each of PRETEXTS is learnt from."""
    for video in open_dataset(dataset).videos:
        frames = read_video(video.path, size=(120, 160))
        name = f"{video.path.parent.name}-{video.path.stem}.mp4"
        for pretext, change in PRETEXTS.items():
            write_film(frames, output / pretext / "forward" / name)
            write_film(change(frames), output / pretext / change.__name__ / name)


def write_film(frames: np.ndarray, path: Path) -> None:
    if not path.exists():
        with VideoWriter(path, width=160, height=120, fps=25) as writer:
            for frame in frames:
                writer.write(frame)


def recipe_table(args: argparse.Namespace) -> str:
    """Each row, and what it is ahead of the base of its fold, by folds."""
    lines = ["| | changed | folds | clips named correctly | points more | in each fold |", "|---|---|---|---|---|---|"]
    for stream, rows in ROWS.items():
        named = {name: row_numbers(args, stream, slug(name)) for name in rows}
        base = named["as it is"]
        for name, values in named.items():
            gains = [values[fold] - base[fold] for fold in values if fold in base]
            level = mean_and_interval(list(values.values()))
            each = " ".join(f"{gain:+.1f}" for gain in gains)
            more = mean_and_interval(gains, sign=True)
            lines.append(f"| {stream} | {name} | {len(values)} | {level} | {more} | {each} |")
    return "\n".join(lines)


def row_numbers(args: argparse.Namespace, stream: str, name: str) -> dict[int, float]:
    """Percent by fold, of the folds that are done."""
    folders = {fold: args.output / f"fold{fold}" / f"{stream}-{name}" for fold in range(args.folds)}
    return {fold: 100 * true_boxes(path) for fold, path in folders.items() if is_finished(path / "scorer.safetensors")}


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_run_options(parser)
    add_fold_options(parser)
    whose = "puppets of all classes, by make_puppets.py; their flow in FLOW/NAME"
    parser.add_argument("--puppets", type=Path, required=True, help=whose)
    parser.add_argument("--epochs", type=int, default=20, help="of each training (default 20)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    args.output.mkdir(parents=True, exist_ok=True)
    jobs = every_job(args, range(args.first or args.folds))
    if args.list:
        print(list_commands(jobs))
        return 0
    if not args.table:
        write_films(args.dataset, args.output)
        run_jobs(jobs, args.output, args.jobs)
    print(recipe_table(args))
    return 0


if __name__ == "__main__":
    sys.exit(main())
