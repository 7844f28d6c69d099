"""The papers' claims at small scale: trains every network of docs/claims.md and prints its tables.

    python benchmarks/study_claims.py puppets --output runs/claims --seeds 5 --jobs 2
    python benchmarks/study_claims.py jhmdb --dataset data/jhmdb --flow data/flow --output runs/claims-jhmdb --folds 3

Everything goes through the tools, so each row can be run by hand. What is done is not done again: stop it when you
like and start it again. ``--list`` prints the commands and runs none; ``--table`` prints the tables of what is done.

The puppets do six actions. ``throw`` and ``shoot_ball`` are one motion, towards a flag or a hoop at the other side of
the picture; ``sit`` and ``stand`` are each other played backwards; ``walk`` and ``wave`` are neither. The networks of
one seed see the same clips in the same order, so differences are taken seed by seed.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

import numpy as np
from study_runs import QUICK_FLOW, Job, Steps, add_run_options, list_commands, mean_and_interval, run_jobs, tool

from eval.class_scores import ClassScores, read_scores
from eval.recognition import ranks

CLASSES = ("throw", "shoot_ball", "sit", "stand", "walk", "wave")
CONTEXT, ORDER = ("throw", "shoot_ball"), ("sit", "stand")
SMALL = shlex.split("--preset lgd3d-small --set network.backbone.depths=[2,2,2,2] --threads 1")
"""Two units a stage, 0.7 million parameters: a training of a minute or two on one core."""
SQUARE = shlex.split(
    "--set clip.aspect=keep --set clip.short_side=76 --set clip.crop=72 --set clip.test_short_side=76 "
    "--set train.augment.min_crop=0.9 --set clip.test_clips=3"
)
"""Square videos, crops of nearly all of them: what is far away must be seen in training."""
WIDE_CLIP = shlex.split("--set clip.frames=8 --set clip.frame_step=3")
SHORT_CLIP = ["--set", "clip.frames=8"]
"""Eight frames on end: a small part of the action, harder to learn, so it is trained for twice as long."""
CLIPS_TO_POOL = 10


def block(name: str) -> list[str]:
    return ["--set", f"network.backbone.block={name}"]


# ---- puppets


def puppets_data(folder: Path) -> list[Job]:
    data = folder / "puppets"
    size: list[object] = ["--size", "120x120", "--videos-per-class", 40, "--test-videos-per-class", 50, "--seed", 0]
    make = tool("make_puppets", data, "--classes", ",".join(CLASSES), *size)
    flow = tool("extract_flow", data, "--output", folder / "flow", *QUICK_FLOW)
    return [Job([make], data / "puppets.json"), Job([flow], None)]


def puppets_jobs(folder: Path, seed: int, epochs: int, *, only_blocks: bool) -> list[Job]:
    """All networks of one seed, or only those that differ in their block."""
    runs = folder / f"seed{seed}"
    every: list[object] = [
        "--dataset",
        folder / "puppets",
        "--validate",
        "test",
        *SMALL,
        *SQUARE,
        "--epochs",
        epochs,
        "--seed",
        seed,
    ]

    def train(name: str, *arguments: object) -> list[str]:
        return tool("train_recognition", *every, *arguments, "--output", runs / name)

    lgd = [*WIDE_CLIP, *block("lgd")]
    stage1 = runs / "kernel" / "stage1" / "classifier.safetensors"
    test: list[object] = ["--dataset", folder / "puppets", "--part", "test", "--threads", 1]
    stages = [
        train("kernel", *lgd, "--kernel"),
        tool("evaluate_recognition", "--weights", stage1, *test, "--save-scores", runs / "lgd" / "scores.npz"),
        train("local-again", *lgd, "--weights", stage1),
    ]
    short = [
        train("short", *SHORT_CLIP, *block("lgd"), "--epochs", 2 * epochs),
        *pooling_steps(folder / "puppets", runs, seed),
    ]
    singles = {name: [*WIDE_CLIP, *block(name)] for name in ("none", "v1", "v2")}
    if only_blocks:
        singles["lgd"] = lgd
        return [Job([train(name, *arguments)], runs / name / "scores.npz") for name, arguments in singles.items()]
    singles["flow"] = [*lgd, "--stream", "flow", "--flow", str(folder / "flow")]
    return [
        *(Job([train(name, *arguments)], runs / name / "scores.npz") for name, arguments in singles.items()),
        Job(stages, runs / "local-again" / "scores.npz"),
        Job(short, runs / "tcp" / "scores.npz"),
    ]


def pooling_steps(data: Path, runs: Path, seed: int) -> Steps:
    """Features of the clips of the network on short clips, and both ways to pool them."""
    net, features = runs / "short" / "classifier.safetensors", runs / "features"
    take = ["--weights", net, "--dataset", data, "--clips", CLIPS_TO_POOL, "--threads", 1]
    learn = ["--train", features / "train", "--validate", features / "test", "--seed", seed, "--threads", 1]
    learn += ["--set", f"network.clips={CLIPS_TO_POOL}", "--set", "network.width=128"]
    return [
        *(tool("extract_features", *take, "--part", part, "--output", features / part) for part in ("train", "test")),
        *(
            tool("train_temporal_pooling", *learn, "--set", f"network.pooling={pooling}", "--output", runs / pooling)
            for pooling in ("average", "tcp")
        ),
    ]


PUPPET_ROWS = {
    "P3D (no global path)": "none/scores.npz",
    "block_v1": "v1/scores.npz",
    "block_v2": "v2/scores.npz",
    "LGD": "lgd/scores.npz",
    "LGD, trained on with the local head": "local-again/scores.npz",
    "LGD, trained on with the kernel head": "kernel/scores.npz",
    "LGD on flow": "flow/scores.npz",
    "LGD, mean of RGB and flow": "lgd/scores.npz flow/scores.npz",
    "LGD, short clips: mean of their scores": "short/scores.npz",
    "the same, average pooling trained on features": "average/scores.npz",
    "the same, TCP": "tcp/scores.npz",
}
"""Row -> score files below the folder of a seed; of several the mean is taken."""
PUPPET_DIFFERENCES = (
    ("block_v1", "P3D (no global path)"),
    ("block_v2", "P3D (no global path)"),
    ("LGD", "P3D (no global path)"),
    ("LGD", "block_v1"),
    ("LGD", "block_v2"),
    ("LGD, trained on with the kernel head", "LGD, trained on with the local head"),
    ("LGD on flow", "LGD"),
    ("LGD, mean of RGB and flow", "LGD"),
    ("LGD, mean of RGB and flow", "LGD on flow"),
    ("the same, TCP", "the same, average pooling trained on features"),
    ("the same, TCP", "LGD, short clips: mean of their scores"),
)


def puppets_tables(folder: Path, seeds: range) -> str:
    folders = [path for path in (folder / f"seed{seed}" for seed in seeds) if path.is_dir()]
    columns = {"all six": CLASSES, "far-away context": CONTEXT, "order of time": ORDER}
    got: dict[str, dict[Path, dict[str, float]]] = {}
    for row, files in PUPPET_ROWS.items():
        found = {path: [path / name for name in files.split()] for path in folders}
        got[row] = {
            path: {column: top1(mean_scores(names), classes) for column, classes in columns.items()}
            for path, names in found.items()
            if all(name.exists() for name in names)
        }
    lines = ["| network | seeds | " + " | ".join(columns) + " |", "|---|---|" + "---|" * len(columns)]
    for row, values in got.items():
        cells = [mean_and_interval([value[column] for value in values.values()]) for column in columns]
        lines.append(f"| {row} | {len(values)} | " + " | ".join(cells) + " |")
    lines += ["", "| difference, points | seeds | " + " | ".join(columns) + " |", "|---|---|" + "---|" * len(columns)]
    for more, less in PUPPET_DIFFERENCES:
        both = [path for path in got[more] if path in got[less]]
        cells = [
            mean_and_interval([got[more][path][column] - got[less][path][column] for path in both], sign=True)
            for column in columns
        ]
        lines.append(f"| {more} minus {less} | {len(both)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


# ---- J-HMDB as a classification set


def jhmdb_jobs(dataset: Path, flow: Path, folder: Path, fold: int, epochs: int) -> list[Job]:
    every = ["--dataset", dataset, "--fold", f"{fold}/5", *SMALL, "--epochs", epochs, "--seed", 0]
    every += ["--set", "clip.frames=8", "--set", "clip.frame_step=2"]
    jobs = []
    for network in ("none", "lgd"):
        for stream, extra in (("rgb", []), ("flow", ["--stream", "flow", "--flow", flow])):
            output = folder / f"fold{fold}" / f"{network}-{stream}"
            jobs.append(
                Job(
                    [tool("train_recognition", *every, *block(network), *extra, "--output", output)],
                    output / "scores.npz",
                )
            )
    return jobs


JHMDB_ROWS = {
    f"{name}, {stream}": " ".join(f"{network}-{part}/scores.npz" for part in parts)
    for network, name in (("none", "P3D"), ("lgd", "LGD-3D"))
    for stream, parts in {"RGB": ("rgb",), "flow": ("flow",), "two-stream": ("rgb", "flow")}.items()
}


def jhmdb_tables(folder: Path, folds: range) -> str:
    """Videos of all folds together; intervals and differences by drawing the source folds' videos again."""
    done = [
        fold
        for fold in folds
        if all((folder / f"fold{fold}" / f).exists() for f in " ".join(JHMDB_ROWS.values()).split())
    ]
    if not done:
        return "no fold is complete"
    right = {
        row: np.concatenate(
            [ranks(mean_scores([folder / f"fold{fold}" / name for name in files.split()])) == 0 for fold in done]
        )
        for row, files in JHMDB_ROWS.items()
    }
    videos = len(right["P3D, RGB"])
    drawn = np.random.default_rng(0).integers(videos, size=(10_000, videos))
    lines = [f"folds {done} of 5, {videos} videos", "", "| network | top-1 | 95 % interval |", "|---|---|---|"]
    pairs = [(f"LGD-3D, {s}", f"P3D, {s}") for s in ("RGB", "flow", "two-stream")]
    pairs += [(f"{n}, two-stream", f"{n}, {s}") for n in ("P3D", "LGD-3D") for s in ("RGB", "flow")]
    for row, hit in right.items():
        low, high = np.percentile(hit[drawn].mean(axis=1), [2.5, 97.5])
        lines.append(f"| {row} | {100 * hit.mean():.1f} | {100 * low:.1f} to {100 * high:.1f} |")
    lines += ["", "| difference, points | | 95 % interval |", "|---|---|---|"]
    for more, less in pairs:
        gain = right[more].astype(float) - right[less]
        low, high = np.percentile(gain[drawn].mean(axis=1), [2.5, 97.5])
        lines.append(f"| {more} minus {less} | {100 * gain.mean():+.1f} | {100 * low:+.1f} to {100 * high:+.1f} |")
    return "\n".join(lines)


# ---- numbers


def mean_scores(files: list[Path]) -> ClassScores:
    """The mean of the scores of the same videos."""
    read = [read_scores(file) for file in files]
    if any(other.videos != read[0].videos or other.class_names != read[0].class_names for other in read):
        raise SystemExit(f"error: {', '.join(map(str, files))} hold different videos or classes")
    scores = np.mean([other.scores for other in read], axis=0)
    return ClassScores(read[0].class_names, read[0].videos, read[0].labels, scores)


def top1(scores: ClassScores, classes: tuple[str, ...]) -> float:
    """Top-1 among all classes, of the videos of ``classes``, in percent."""
    return 100 * float((ranks(scores)[np.isin(scores.labels, classes)] == 0).mean())


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=["puppets", "jhmdb"])
    add_run_options(parser)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--block-seeds", type=int, default=10, help="of P3D, v1, v2 and LGD")
    parser.add_argument("--folds", type=int, default=5, help="of J-HMDB, of five")
    parser.add_argument("--epochs", type=int, help="default 20 on puppets, 40 on J-HMDB")
    parser.add_argument("--dataset", type=Path, help="J-HMDB")
    parser.add_argument("--flow", type=Path, help="its flow, by extract_flow.py with the settings of QUICK_FLOW")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    folder: Path = args.output
    folder.mkdir(parents=True, exist_ok=True)
    data: list[Job] = []
    jobs: list[Job] = []
    if args.study == "puppets":
        data = puppets_data(folder)
        for seed in range(max(args.seeds, args.block_seeds)):
            jobs += puppets_jobs(folder, seed, args.epochs or 20, only_blocks=seed >= args.seeds)
    else:
        if args.dataset is None or args.flow is None:
            raise SystemExit("error: jhmdb needs --dataset and --flow")
        for fold in range(args.folds):
            jobs += jhmdb_jobs(args.dataset, args.flow, folder, fold, args.epochs or 40)
    if args.list:
        print(list_commands(data + jobs))
        return 0
    if not args.table:
        run_jobs(data, folder)
        run_jobs(jobs, folder, args.jobs)
    print(
        puppets_tables(folder, range(max(args.seeds, args.block_seeds)))
        if args.study == "puppets"
        else jhmdb_tables(folder, range(args.folds))
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
