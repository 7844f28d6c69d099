"""Train a network that pools the features of a video's clips: temporal convolutional pooling (TCP) or another.

    python tools/train_temporal_pooling.py --train features/rgb --fold 0/5 --output runs/tcp
    python tools/train_temporal_pooling.py --train features/rgb features/flow features/audio \\
        --validate test/rgb test/flow test/audio --output runs/tcp3
    python tools/train_temporal_pooling.py --train features/rgb --fold 0/5 --output runs/txb \\
        --set network.pooling=xception
    python tools/train_temporal_pooling.py --weights runs/tcp/pooling.safetensors --validate test/rgb --output scores

network.pooling is tcp, average, xception (StNet's temporal Xception block), lstm or gru.

Several folders are the streams of the same videos, in the same order everywhere; clips are joined by their time.

reads   folders of features by extract_features.py
writes  OUTPUT/pooling.safetensors   the network
        OUTPUT/settings.json         all settings of the run
        OUTPUT/log.jsonl             loss and accuracy, a JSON object an epoch
        OUTPUT/state.pt              what --resume goes on from
        OUTPUT/scores.npz            scores of the validation videos, for evaluate_recognition.py and fuse_scores.py
prints  the validation numbers, as JSON
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--train", type=Path, nargs="+", metavar="DIR", help="features to train on, a folder a stream")
    source.add_argument("--weights", type=Path, metavar="FILE", help="a trained network instead, to score --validate")
    parser.add_argument("--output", type=Path, required=True, help="folder of the results")
    held_out = parser.add_mutually_exclusive_group()
    held_out.add_argument("--validate", type=Path, nargs="+", metavar="DIR", help="features to validate on")
    held_out.add_argument("--fold", metavar="I/N", help="hold fold I of N of --train out, by source video")
    parser.add_argument("--config", type=Path, help="TOML file of settings")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one setting")
    parser.add_argument("--epochs", type=float, help="short for --set train.epochs=")
    parser.add_argument("--seed", type=int, help="short for --set train.seed=")
    parser.add_argument("--resume", action="store_true", help="go on from OUTPUT")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--workers", type=int, default=0, help="processes that read features (default 0: this one)")
    parser.add_argument("--threads", type=int, help="CPU threads; equal numbers give equal bits")
    args = parser.parse_args(argv)
    if args.weights and not args.validate:
        parser.error("--weights needs --validate")
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    try:
        report = run(args)
    except (ValueError, ArithmeticError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"stopped; go on with --resume --output {args.output}", file=sys.stderr)
        return 130
    print(json.dumps(report, indent=1))
    return 0


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Everything after parsing; imports torch."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    import torch

    from linking.settings import read_settings, with_settings
    from recognition.feature_files import open_features
    from recognition.processes import Processes
    from recognition.train_classifier import Run
    from recognition.train_pooling import PoolingRecipe, held_out_features, train_pooling, validate_pooling

    if args.threads:
        torch.set_num_threads(args.threads)
    validation = open_features(args.validate) if args.validate else None
    if args.weights:
        assert validation is not None, "checked with the arguments"
        return validate_pooling(args.weights, validation, args.output, args.device)
    training = open_features(args.train)
    if args.fold:
        training, validation = held_out_features(training, args.fold)
    short = [f"train.{name}={getattr(args, name)}" for name in ("epochs", "seed") if getattr(args, name) is not None]
    recipe = with_settings(PoolingRecipe(), read_settings(args.config, args.set + short))
    show = None if sys.stderr.isatty() else lambda line: print(json.dumps(line), file=sys.stderr, flush=True)
    schedule = Run(args.output, Processes(device=args.device), resume=args.resume, workers=args.workers, on_epoch=show)
    return train_pooling(recipe, training, validation, schedule)


if __name__ == "__main__":
    sys.exit(main())
