"""Fuse the scores of several streams or models: the mean, or a mean with given or fitted weights.

    python tools/fuse_scores.py rgb.npz flow.npz --output both.npz
    python tools/fuse_scores.py rgb.npz flow.npz --weights 1,1.5 --output both.npz
    python tools/fuse_scores.py val/rgb.npz val/flow.npz --fit likelihood --save-weights weights.json
    python tools/fuse_scores.py test/rgb.npz test/flow.npz --weights weights.json --output both.npz

Fit weights on validation videos and apply them to others, as in the last two lines: an accuracy measured where the
weights were fitted is too good.

reads   score files (.npz or .csv) as train_recognition.py and evaluate_recognition.py write them: the same videos
        and classes, in any order
writes  --output FILE         the fused scores
        --save-weights FILE   the weights, as JSON
prints  the weights, and the accuracy of each file and of the fusion where labels are known, as JSON
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scores", nargs="+", type=Path, metavar="SCORES", help="score files, .npz or .csv")
    parser.add_argument("--output", type=Path, metavar="FILE", help="where the fused scores go, .npz or .csv")
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--weights", metavar="W,W,...|FILE", help="a number a file, or a file of --save-weights")
    chosen.add_argument("--fit", choices=("likelihood", "accuracy"), help="find the weights that are best on these")
    parser.add_argument("--save-weights", type=Path, metavar="FILE.json", help="keep the weights")
    parser.add_argument("--softmax", action="store_true", help="the files hold logits, not probabilities")
    args = parser.parse_args(argv)
    if args.output is None and args.save_weights is None:
        parser.error("say where the result goes: --output FILE or --save-weights FILE")
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    try:
        report = run(args)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(json.dumps(report, indent=1))
    return 0


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Everything after parsing."""
    from eval.class_scores import read_scores, write_scores
    from eval.recognition import accuracy
    from recognition.fusion import FusionWeights, align, fit_weights, fuse, read_weights, softmax, write_weights

    files = [read_scores(path) for path in args.scores]
    if args.softmax:
        files = [softmax(scores) for scores in files]
    if args.fit:
        weights = fit_weights(files, args.fit)
    elif args.weights and Path(args.weights).suffix == ".json":
        weights = read_weights(args.weights)
    else:
        weights = FusionWeights(numbers(args.weights) if args.weights else (1.0,) * len(files))
    fused = fuse(files, weights.weights)
    if args.save_weights:
        write_weights(args.save_weights, weights)
    if args.output:
        write_scores(args.output, fused)
    report: dict[str, Any] = {"weights": dict(zip(map(str, args.scores), weights.weights)), "videos": len(fused)}
    if any(fused.labels):
        shown = {str(path): accuracy(scores) for path, scores in zip(args.scores, align(files))}
        report["top1"] = {**{name: found.top1 for name, found in shown.items()}, "fused": accuracy(fused).top1}
        if args.fit:
            report["note"] = "measured on the videos that the weights were fitted to"
    return report


def numbers(text: str) -> tuple[float, ...]:
    """Weights by a text like 1,1.5."""
    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError:
        raise ValueError(f"--weights {text}: expected numbers as in 1,1.5 or a .json file") from None


if __name__ == "__main__":
    sys.exit(main())
