"""How sure are the numbers of the whole way? Folds by source film, each with a seed of its own.

    python benchmarks/study_folds.py --dataset data/jhmdb --flow data/flow --output runs/folds --jobs 2

Both proposal networks and both scorers learn from nothing on the other folds of J-HMDB's training part, then the
held-out clips are detected and judged: docs/models/recipe.md. ``--longer 3`` takes three times the epochs and
iterations.

Everything goes through the tools, so each step can be run by hand. What is done is not done again: stop it when you
like and start it again. ``--list`` prints the commands and runs none; ``--table`` prints the tables of what is done.
"""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from study_runs import (
    Job,
    Steps,
    add_fold_options,
    add_run_options,
    is_finished,
    list_commands,
    run_jobs,
    settings,
    tool,
    true_boxes,
)

from detection.actor_frames import actors_by_frame
from detection.detector_files import load_detector
from detection.evaluate_proposals import JudgedFrames
from linking.scores import read_scores
from linking.tables import (
    annotations_from_table,
    detections_from_table,
    read_tubes,
    table_from_detections,
    write_tubes,
)

STREAMS = ("rgb", "flow", "both")
IOUS = ("0.2", "0.5", "0.75", "0.5:0.95")
AUGMENT = "train.clips.augment"
LATER: dict[str, object] = {"train.batch_clips": 8, "train.learning_rate": 0.002}
STRONGER: dict[str, object] = {
    "scorer.dropout": 0.3,
    **{f"{AUGMENT}.{name}": value for name, value in (("min_crop", 0.55), ("aspect", 0.15), ("colour", 0.4))},
    f"{AUGMENT}.max_frame_step": 2,
}
"""RGB learns its clips by heart with less."""
EVERY_TUBE = ["--score-threshold", "0.001", "--set", "link.score_threshold=0.001", "--no-trim"]


def training_jobs(args: argparse.Namespace, fold: int) -> list[Job]:
    """The proposal networks and the scorers of both streams, each scorer in two runs (the bundled ones had four)."""
    folder = args.output / f"fold{fold}"
    every = ["--dataset", args.dataset, "--fold", f"{fold}/{args.folds}", "--device", args.device, "--threads", 1]
    boxes = ["--seed", fold, "--set", "learning_rate=0.03", "--set", "warm_up=200", "--set", "augment.empty=0.1"]
    boxes += ["--cache", args.output / "frames"]
    flow = ["--preset", "small-flow", "--flow", args.flow]

    def proposals(name: str, iterations: int, *arguments: object) -> Job:
        length = ["--iterations", round(args.longer * iterations)]
        step = tool("train_proposals", *every, *boxes, *arguments, *length, "--output", folder / name)
        return Job([step], folder / name / "proposals.safetensors")

    def scorer(name: str, epochs: tuple[int, int], stream: list[object], later: dict[str, object]) -> Job:
        first, second = (round(args.longer * length) for length in epochs)
        begun = folder / f"{name}-begun"
        again = ["--weights", begun / "scorer.safetensors", "--seed", 100 + fold, "--epochs", second]
        steps = [
            tool("train_detection", *every, *stream, "--seed", fold, "--epochs", first, "--output", begun),
            tool("train_detection", *every, *stream, *again, *settings(later), "--output", folder / name),
        ]
        return Job(steps, folder / name / "scorer.safetensors")

    return [
        proposals("motion", 1800, *flow),
        proposals("boxes", 1600, "--set", "detector.mirror=true"),
        scorer("flow", (50, 140), flow, LATER | {f"{AUGMENT}.min_crop": 0.6}),
        scorer("rgb", (40, 140), [], LATER | STRONGER),
    ]


def first_detection(args: argparse.Namespace, fold: int) -> Job:
    """RGB on the boxes of both proposal networks."""
    folder = args.output / f"fold{fold}"
    pair = f"{folder}/boxes/proposals.safetensors,{folder}/motion/proposals.safetensors"
    # half the time, and a point of recall at most (docs/models/recipe.md)
    return detection(args, fold, "rgb", pair, "--set", "proposals.mirror=false")


def second_detection(args: argparse.Namespace, fold: int) -> list[Job]:
    """Flow on the same boxes, both streams fused, and what all three are worth."""
    folder = args.output / f"fold{fold}"
    found = {stream: folder / f"found-{stream}" for stream in STREAMS}
    again = detection(args, fold, "flow", str(folder / "boxes.parquet"))
    both = tool(
        "link_tubes", found["rgb"], "--fuse-with", found["flow"], *EVERY_TUBE, "--output", found["both"] / "tubes.csv"
    )
    truth = ["--ground-truth", found["rgb"] / "ground_truth.csv", "--iou", *IOUS, "--frame-iou", 0.5]
    judge: Steps = [
        tool("evaluate_tubes", *truth, "--detections", found[stream] / "tubes.csv", "--json", folder / f"{stream}.json")
        for stream in STREAMS
    ]
    return [again, Job([both, *judge], folder / "both.json")]


def detection(args: argparse.Namespace, fold: int, stream: str, proposals: str, *more: str) -> Job:
    folder = args.output / f"fold{fold}"
    output = folder / f"found-{stream}"
    where = ["--dataset", args.dataset, "--fold", f"{fold}/{args.folds}", "--device", args.device, "--output", output]
    weights = ["--weights", folder / stream / "scorer.safetensors", "--proposals", proposals]
    return Job(
        [tool("detect_video", *where, *weights, *more, "--no-video", "--no-report", *EVERY_TUBE)], output / "tubes.csv"
    )


def keep_boxes(folder: Path) -> None:
    """The scored boxes of RGB as a tube table, so that flow scores the same ones."""
    table = folder / "boxes.parquet"
    if not table.exists():
        scored = [read_scores(path) for path in sorted((folder / "found-rgb").rglob("*.npz"))]
        write_tubes(pd.concat([table_from_detections(one.video, one.detections) for one in scored]), table)


def run_fold(args: argparse.Namespace, fold: int) -> None:
    """What follows the trainings of a fold."""
    run_jobs([first_detection(args, fold)], args.output)
    keep_boxes(args.output / f"fold{fold}")
    run_jobs(second_detection(args, fold), args.output)


def folds_tables(args: argparse.Namespace) -> str:
    done = [fold for fold in range(args.folds) if is_finished(args.output / f"fold{fold}" / "both.json")]
    if not done:
        return "no fold is complete"
    head = ["0.2", "0.5", "0.75", "0.5:0.95", "frame-mAP 0.5", "clips named correctly, true boxes given"]
    lines = [f"folds {done} of {args.folds}", "", "| | | " + " | ".join(head) + " |", "|---|---|" + "---|" * len(head)]
    for stream in STREAMS:
        rows = [fold_numbers(args.output / f"fold{fold}", stream) for fold in done]
        named = [f"{fold}" for fold in done] + ["mean ± standard deviation"]
        for name, values in zip(named, [*rows, spread(rows)]):
            lines.append(f"| {stream} | {name} | " + " | ".join(values) + " |")
    boxes = ["recall, 1 box", "10 boxes", "100 boxes", "AP"]
    lines += ["", "| proposals | | " + " | ".join(boxes) + " |", "|---|---|" + "---|" * len(boxes)]
    for network in ("boxes", "motion", "pair"):
        of = pair_numbers if network == "pair" else proposal_numbers
        rows = [of(args.output / f"fold{fold}" / network) for fold in done]
        for name, values in zip(named, [*rows, spread(rows)]):
            lines.append(f"| {network} | {name} | " + " | ".join(values) + " |")
    return "\n".join(lines)


def fold_numbers(folder: Path, stream: str) -> list[str]:
    judged = json.loads((folder / f"{stream}.json").read_text())["protocols"]["saha"]
    values = [judged["video_map"][iou]["overall"] for iou in IOUS] + [judged["frame_map"]["0.5"]["overall"]]
    if stream == "both":  # no network of its own
        return [f"{100 * value:.1f}" for value in values] + [""]
    return [f"{100 * value:.1f}" for value in (*values, true_boxes(folder / stream))]


def proposal_numbers(folder: Path) -> list[str]:
    (validation,) = load_detector(folder / "proposals.safetensors").provenance["validation"]
    names = ("recall@1", "recall@10", "recall@100", "average_precision")
    return [f"{100 * validation[name]:.1f}" for name in names]


def pair_numbers(folder: Path) -> list[str]:
    """Of the boxes that the scorers saw, in all frames: ten a frame from both networks, and those between."""
    table = read_tubes(folder.with_name("boxes.parquet"))
    judged = JudgedFrames([], [])
    for truth in annotations_from_table(read_tubes(folder.with_name("found-rgb") / "ground_truth.csv")):
        actors = actors_by_frame(truth)
        found = {one.frame: (one.boxes, one.scores) for one in detections_from_table(table, truth.video)}
        for frame, boxes in actors.items():
            judged.found.append(found.get(frame, (np.zeros((0, 4), np.float32), np.zeros(0, np.float32))))
            judged.actors.append(boxes)
    quality = judged.quality(0.5, (1, 10))
    values = [f"{100 * quality[name]:.1f}" for name in ("recall@1", "recall@10", "average_precision")]
    return [*values[:2], "", values[2]]


def spread(rows: list[list[str]]) -> list[str]:
    """Mean and sample standard deviation of each column."""
    cells = []
    for column in zip(*rows):
        values = [float(cell) for cell in column if cell]
        sigma = f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
        cells.append(f"{np.mean(values):.1f}{sigma}" if values else "")
    return cells


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_run_options(parser)
    add_fold_options(parser)
    parser.add_argument("--longer", type=float, default=1.0, help="times the epochs and iterations (default 1)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    args.output.mkdir(parents=True, exist_ok=True)
    folds = range(args.first or args.folds)
    trainings = [job for fold in folds for job in training_jobs(args, fold)]
    if args.list:
        detections = [job for fold in folds for job in (first_detection(args, fold), *second_detection(args, fold))]
        print(list_commands(trainings + detections))
        return 0
    if not args.table:
        run_jobs(trainings, args.output, args.jobs)
        with ThreadPoolExecutor(args.jobs) as pool:
            list(pool.map(lambda fold: run_fold(args, fold), folds))
    print(folds_tables(args))
    return 0


if __name__ == "__main__":
    sys.exit(main())
