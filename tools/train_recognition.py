"""Train a video classifier: LGD-2D or LGD-3D, their baselines, StNet, or LGD inside torchvision's video networks.

    python tools/train_recognition.py --dataset data/puppets --fold 0/5 --output runs/lgd
    python tools/train_recognition.py --dataset data/ucf101 --preset lgd3d-resnet50 --body-weights imagenet \\
        --device cuda --workers 12 --cache data/cache --kernel --output runs/ucf101
    torchrun --nproc-per-node 8 tools/train_recognition.py --dataset data/k400 --preset lgd3d-resnet101 --device cuda

With --kernel or --long there are two stages (section 4.3 and 5.4 of the paper): the second starts from the first, with
the kernel head, and with --long on clips of 128 frames. The number of processes, of workers, and interruptions do
not change what is learnt. docs/recognition.md says more.

reads   dataset folders (Kinetics, UCF101, HMDB51, folders of videos by class, or a dataset for detection)
writes  OUTPUT/classifier.safetensors   the network, for classify_video.py and evaluate_recognition.py
        OUTPUT/settings.json            all settings of the run
        OUTPUT/log.jsonl                loss, accuracy, clips a second, share of waiting, a JSON object an epoch
        OUTPUT/state.pt                 what --resume goes on from
        OUTPUT/scores.npz               scores of the validation videos, with --fold or --validate
        OUTPUT/stage1/                  the same of the first stage, where there are two
prints  the validation numbers, as JSON
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    from recognition.weights_location import add_fetch_options

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True, help="dataset folder, or several with commas between them")
    parser.add_argument("--output", required=True, type=Path, help="folder of the results")
    parser.add_argument("--split", type=int, default=1, help="split of UCF101, HMDB51 or J-HMDB (default 1)")
    held_out = parser.add_mutually_exclusive_group()
    held_out.add_argument("--fold", metavar="I/N", help="hold fold I of N out for validation, by source video")
    held_out.add_argument("--validate", choices=("val", "test"), help="validate on this part of the datasets")
    parser.add_argument("--preset", default="lgd3d-small", help="recipe (default lgd3d-small); see docs/recognition.md")
    parser.add_argument("--stream", choices=("rgb", "flow"), default="rgb", help="what the network sees (default rgb)")
    parser.add_argument("--flow", type=Path, metavar="DIR", help="flow by extract_flow.py; else it is computed")
    parser.add_argument("--kernel", action="store_true", help="a second stage with the kernel head")
    parser.add_argument("--long", action="store_true", help="the second stage sees 128 frames; implies --kernel")
    parser.add_argument("--config", type=Path, help="TOML file of settings")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one setting")
    parser.add_argument("--epochs", type=float, help="short for --set train.epochs=")
    parser.add_argument("--seed", type=int, help="short for --set train.seed=")
    start = parser.add_mutually_exclusive_group()
    start.add_argument(
        "--weights",
        metavar="WHERE",
        help="classifier to start from: a file, https://...#sha256=..., hf://...; other classes get a new last layer",
    )
    start.add_argument("--body-weights", metavar="WHERE", help="'imagenet', 'kinetics', or a file of such weights")
    add_fetch_options(parser)
    parser.add_argument("--cache", type=Path, metavar="DIR", help="folder for small copies of the videos, read fast")
    parser.add_argument("--cache-gigabytes", type=float, default=4.0, help="memory for decoded videos (default 4)")
    parser.add_argument("--max-minutes", type=float, help="stop after that, in each stage; go on with --resume")
    parser.add_argument("--save-minutes", type=float, default=10.0, help="save at least that often (default 10)")
    parser.add_argument("--resume", action="store_true", help="go on from OUTPUT")
    parser.add_argument("--tensorboard", action="store_true", help="also log to OUTPUT/tensorboard")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--workers", type=int, default=0, help="processes that prepare clips (default 0: this one)")
    parser.add_argument("--threads", type=int, help="CPU threads; equal numbers give equal bits")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda text, *_: print(f"warning: {text}", file=sys.stderr)
            report = run(args)
    except (ValueError, ArithmeticError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"stopped; go on with --resume --output {args.output}", file=sys.stderr)
        return 130
    if int(os.environ.get("RANK", "0")) == 0:
        print(json.dumps(report, indent=1))
    return 0


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Everything after parsing; imports torch."""
    # Threads that wait without spinning: on a busy machine spinning costs several times the work itself.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    import torch

    from linking.settings import SettingsError, read_settings
    from recognition.classifier_files import load_classifier
    from recognition.classifier_presets import PRESETS, for_flow, second_stage, settled
    from recognition.classifier_stages import TrainingData, is_finished, second_stage_start, train_stage
    from recognition.classifier_start import build_classifier, build_from
    from recognition.memory import reuse_large_blocks
    from recognition.processes import join_processes
    from recognition.train_classifier import Run
    from recognition.weights_location import fetch_of, locate_weights
    from video.class_datasets import mix_classes, open_for_training

    reuse_large_blocks()
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.preset not in PRESETS:
        raise SettingsError(f"unknown preset {args.preset!r}; known are {', '.join(PRESETS)}")
    first_folder = args.output / "stage1" if args.kernel or args.long else args.output
    if args.resume and not (first_folder / "state.pt").is_file():
        raise SettingsError(f"{first_folder / 'state.pt'}: nothing to resume; leave --resume out to start")
    training, validation = open_for_training(
        args.dataset.split(","), split=args.split, fold_name=args.fold, part=args.validate
    )
    dataset = mix_classes(training)
    start = load_classifier(locate_weights(args.weights, fetch_of(args)).path) if args.weights else None

    recipe = PRESETS[args.preset]()
    if start:
        recipe = dataclasses.replace(recipe, network=start.config, clip=start.clip)
    elif args.stream == "flow":
        recipe = for_flow(recipe)
    short = [f"train.{name}={getattr(args, name)}" for name in ("epochs", "seed") if getattr(args, name) is not None]
    settings = read_settings(args.config, args.set + short)
    for_second = settings.pop("second", {})
    recipe = settled(recipe, settings, num_classes=len(dataset.class_names))
    second = None
    if args.kernel or args.long:
        second = settled(second_stage(recipe, long=args.long), for_second, num_classes=len(dataset.class_names))
    elif for_second:
        raise SettingsError("settings of a second stage are given; ask for it with --kernel or --long")

    processes = join_processes(args.device)
    data = TrainingData(
        dataset,
        mix_classes(validation) if validation else None,
        {
            "datasets": [part.name for part in training],
            "videos": [len(part) for part in training],
            "missing": [part.missing for part in training],
            "split": args.split,
            "fold": args.fold,
            "started_from": start.file.sha256 if start else args.body_weights,
        },
        cache=args.cache,
        cache_gigabytes=args.cache_gigabytes,
        flow_folder=args.flow,
    )

    def first_network() -> torch.nn.Module:
        if start is None:
            return build_classifier(recipe.network, seed=recipe.train.seed, body_weights=args.body_weights)
        same = start.class_names == dataset.class_names
        return build_from(start, len(dataset.class_names), same_classes=same, seed=recipe.train.seed)

    def stage_run(folder: Path, number: int) -> Run:
        show = Progress(args, folder, number) if processes.is_first else None
        return Run(
            folder,
            processes,
            resume=args.resume and (folder / "state.pt").is_file(),
            workers=args.workers,
            save_minutes=args.save_minutes,
            max_minutes=args.max_minutes,
            on_step=None if show is None else show.step,
            on_epoch=None if show is None else show.epoch,
        )

    try:
        if second is None:
            return train_stage(recipe, first_network, data, stage_run(args.output, 1))
        report: dict[str, Any] = {}
        if not (args.resume and is_finished(first_folder)):
            report["stage1"] = train_stage(recipe, first_network, data, stage_run(first_folder, 1))
            if not report["stage1"]["finished"]:
                return {"finished": False, **report}
        last = second
        report |= train_stage(last, lambda: second_stage_start(first_folder, last), data, stage_run(args.output, 2))
        return report
    finally:
        processes.close()


class Progress:
    """A bar on a terminal, else a line an epoch; and TensorBoard where it is asked for."""

    def __init__(self, args: argparse.Namespace, folder: Path, stage: int) -> None:
        from tqdm import tqdm

        self.stage = stage
        self.bar = tqdm(unit="step", desc=f"stage {stage}", file=sys.stderr, disable=None)
        self.board = tensorboard(folder / "tensorboard") if args.tensorboard else None

    def step(self, step: int, end: int) -> None:
        self.bar.total = end
        self.bar.update(step - self.bar.n)

    def epoch(self, line: dict[str, Any]) -> None:
        self.bar.set_postfix(loss=line["loss"], top1=line["top1"], clips_per_second=line["clips_per_second"])
        if self.bar.disable:
            print(json.dumps({"stage": self.stage, **line}), file=sys.stderr, flush=True)
        if self.board is not None:
            for name, value in line.items():
                if name not in ("epoch", "step"):
                    self.board.add_scalar(name, value, line["step"])
            self.board.flush()


def tensorboard(folder: Path) -> Any:
    """A writer of event files; ValueError where the package is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ValueError("--tensorboard needs the package tensorboard: pip install tensorboard") from None
    return SummaryWriter(str(folder))


if __name__ == "__main__":
    sys.exit(main())
