"""Train the network that finds actors: a Faster R-CNN with one class.

    python tools/train_proposals.py --dataset data/jhmdb --fold 0/5 --output runs/proposals
    python tools/train_proposals.py --dataset data/jhmdb,data/puppets --output runs/proposals --resume
    python tools/train_proposals.py --dataset data/jhmdb --fold 0/5 --preset small-flow --flow flow --output runs/motion

reads   dataset folders (J-HMDB, UCF101-24), or a .toml about videos of one's own; their training part
writes  OUTPUT/proposals.safetensors   the network, for detect_video.py --proposals
        OUTPUT/settings.json           all settings of the run
        OUTPUT/log.jsonl               losses and validation, a JSON object a line
        OUTPUT/state.pt                what --resume goes on from
        OUTPUT/frames/                 decoded frames; can be deleted afterwards
prints  the validation numbers, as JSON
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from pathlib import Path
from typing import Any


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    from recognition.weights_location import add_fetch_options

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True, help="dataset folder or .toml, or several with commas between them")
    parser.add_argument("--output", required=True, type=Path, help="folder of the results")
    parser.add_argument("--split", type=int, default=1, help="split whose training part is used (default 1)")
    parser.add_argument("--fold", metavar="I/N", help="hold fold I of N out for validation, by source video")
    parser.add_argument("--preset", default="small", help="network: small (default), small-flow, tiny, resnet101")
    parser.add_argument("--flow", type=Path, metavar="DIR", help="flow of extract_flow.py (default: computed here)")
    parser.add_argument("--config", type=Path, help="TOML file of settings")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one setting")
    parser.add_argument("--iterations", type=int, help="optimizer steps; short for --set iterations=")
    parser.add_argument("--seed", type=int, help="short for --set seed=")
    parser.add_argument(
        "--weights",
        metavar="WHERE",
        help="model to go on from, with its network; also one of convert_detectron2.py: a file, "
        "https://...#sha256=..., hf://...",
    )
    add_fetch_options(parser)
    parser.add_argument("--body-weights", metavar="WHERE", help="ImageNet weights of a ResNet: 'imagenet' or a file")
    parser.add_argument("--cache", type=Path, help="folder of decoded frames (default: OUTPUT/frames)")
    parser.add_argument("--max-minutes", type=float, default=math.inf, help="stop then; go on with --resume")
    parser.add_argument("--resume", action="store_true", help="go on from OUTPUT/state.pt")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--threads", type=int, help="CPU threads; equal numbers give equal bits")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    try:
        report = run(args)
    except KeyboardInterrupt:
        print("interrupted; --resume goes on from the last saved state", file=sys.stderr)
        return 130
    except (ValueError, ArithmeticError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(json.dumps(report, indent=1))
    return 0


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Everything after parsing; imports torch."""
    # Threads that wait without spinning: on a busy machine spinning costs several times the work itself.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    import dataclasses

    import torch
    from tqdm import tqdm

    from detection.actor_frames import ActorFrames, MotionConfig, load_actor_frames
    from detection.detector_files import (
        as_actor_detector,
        batch_maker,
        load_body_,
        load_detector,
        preprocessing_of,
        save_detector,
    )
    from detection.detectors import PRESETS, DetectorConfig, build_detector
    from detection.train_proposals import ProposalTraining, evaluate, flow_short_side, resolved, spread_frames, train
    from linking.files import replace_when_whole
    from linking.settings import SettingsError, read_settings, with_settings
    from recognition.weights_location import fetch_of, locate_weights
    from video.datasets import Dataset
    from video.mixing import open_for_training

    def say(line: str) -> None:
        print(line, file=sys.stderr)

    if args.threads:
        torch.set_num_threads(args.threads)
    if args.preset not in PRESETS:
        raise SettingsError(f"unknown preset {args.preset!r}; known are {', '.join(PRESETS)}")
    if args.resume and not (args.output / "state.pt").is_file():
        raise SettingsError(f"{args.output / 'state.pt'}: nothing to resume; leave --resume out to start")
    start = None
    if args.weights:
        path = locate_weights(args.weights, fetch_of(args)).path
        start = as_actor_detector(load_detector(path), path)
    if args.body_weights:
        args.set.insert(0, "detector.frozen_norm=true")
    config = ProposalTraining(detector=start.config if start else PRESETS[args.preset]())
    short = [f"{name}={getattr(args, name)}" for name in ("iterations", "seed") if getattr(args, name) is not None]
    config = with_settings(config, read_settings(args.config, args.set + short))
    mirror = isinstance(config.detector, DetectorConfig) and config.detector.mirror
    if start:
        fixed = start.config
        if isinstance(fixed, DetectorConfig):  # how the network is used is no part of its weights
            fixed = dataclasses.replace(fixed, mirror=mirror)
        if config.detector != fixed:
            raise SettingsError(f"{args.weights}: its network is fixed; of detector.* only mirror can be set")

    network = config.detector
    if args.flow and flow_short_side(network) is None:
        raise SettingsError("--flow is for networks that see flow, --preset small-flow for one")

    def decoded(number: int, dataset: Dataset) -> ActorFrames:
        motion = None
        if isinstance(network, DetectorConfig) and network.flow is not None:
            # where train_detection.py looks for it too: that of second and later datasets lies under their names
            folder = args.flow / dataset.name if args.flow and number else args.flow
            motion = MotionConfig(network.flow, network.flow_frames, folder)
        return load_actor_frames(
            dataset.videos,
            args.cache or args.output / "frames",
            step=config.frame_step,
            short_side=config.detector.trained_short_side,
            motion=motion,
            report=say,
        )

    kept, held_out = open_for_training(args.dataset.split(","), split=args.split, fold_name=args.fold)
    training = [decoded(*numbered) for numbered in enumerate(kept)]
    validation = [decoded(*numbered) for numbered in enumerate(held_out)]

    torch.manual_seed(config.seed)
    if start:
        model = start.model
    else:
        assert isinstance(config.detector, DetectorConfig), "networks of other layouts come with their weights"
        model = build_detector(config.detector)
        if args.body_weights:
            load_body_(model, config.detector.body, args.body_weights)
    with replace_when_whole(args.output / "settings.json") as temporary:
        temporary.write_text(json.dumps(resolved(config), indent=1) + "\n")
    preprocessing = start.preprocessing if start else preprocessing_of(config.detector)
    batch_of = batch_maker(config.detector, preprocessing)
    result = train(
        model,
        training,
        validation,
        config,
        args.output,
        resume=args.resume,
        device=args.device,
        batch_of=batch_of,
        max_seconds=60 * args.max_minutes,
        progress=lambda steps: tqdm(steps, initial=steps.start, total=steps.stop, mininterval=1, disable=None),
    )
    # Names only: where they lie is no fact about the weights.
    names = [dataset.name for dataset in kept]
    numbers = [
        {
            "dataset": name,
            **evaluate(
                model,
                frames,
                spread_frames(frames, 8),
                device=args.device,
                batch_of=batch_of,
                mirror=mirror,
                short_side=flow_short_side(config.detector),
            ),
        }
        for name, frames in zip(names, validation)
    ]
    report = {
        "finished": result.finished,
        "iterations": result.iterations,
        "seconds": round(result.seconds),
        "validation": numbers,
    }
    provenance = {
        "datasets": names,
        "split": args.split,
        "fold": args.fold,
        "started_from": start.sha256 if start else Path(args.body_weights).name if args.body_weights else None,
        "settings": resolved(config),
        **report,
    }
    save_detector(
        args.output / "proposals.safetensors",
        model,
        config.detector,
        provenance,
        preprocessing=preprocessing,
    )
    return report


if __name__ == "__main__":
    sys.exit(main())
