"""Draw the curves of training runs: losses, accuracies, validation.

    python tools/plot_training.py runs/rgb --output curves.png
    python tools/plot_training.py runs/seed0 runs/seed1 runs/seed2 --output curves.pdf

A run is the folder of train_detection.py, train_proposals.py, train_recognition.py or train_temporal_pooling.py, or the
log.jsonl in it. Every number of the logs has a panel, every run a line, also while it is still training.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folders of trainings, or their logs")
    parser.add_argument("--names", nargs="+", default=[], metavar="NAME", help="for the legend (default: the folders')")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help=".png, .pdf or .svg")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    from eval.training_plot import plot_training

    try:
        plot_training(args.output, args.runs, args.names)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(args.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
