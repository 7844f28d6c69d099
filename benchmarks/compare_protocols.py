"""One set of detections, every protocol: the tables of docs/evaluation.md, in Markdown.

    python benchmarks/compare_protocols.py pyannot.pkl --test-list testlist01.txt
    python benchmarks/compare_protocols.py JHMDB-GT.pkl

Detections are simulated from the ground truth (simulate_detections.py); the first table is the ground truth against
itself, with random scores.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from simulate_detections import LEVELS, read_truth, simulate

from eval.frame_map import frame_map
from eval.judge import PROTOCOL_NAMES, protocols_of
from eval.thresholds import UCF24_IOUS
from eval.video_map import video_map
from linking.records import VideoAnnotation


def itself(truth: list[VideoAnnotation]) -> list[VideoAnnotation]:
    """The true tubes, each with a random score."""
    rng = np.random.default_rng(0)
    scores = iter(rng.random(sum(len(video.tubes) for video in truth)))
    return [replace(v, tubes=[replace(t, score=next(scores)) for t in v.tubes]) for v in truth]


def print_table(title: str, truth: list[VideoAnnotation], found: list[VideoAnnotation]) -> None:
    tubes = sum(len(video.tubes) for video in found)
    print(f"\n{title} ({tubes} tubes, {sum(len(t) for v in found for t in v.tubes)} boxes)\n")
    print(f"| protocol | {' | '.join(UCF24_IOUS)} | CPU s | frame 0.5 | CPU s |")
    print(f"|---|{'--:|' * (len(UCF24_IOUS) + 3)}")
    for name in PROTOCOL_NAMES:
        video_rules, frame_rules = protocols_of(name)
        cells = ["-"] * (len(UCF24_IOUS) + 1)
        if video_rules is not None:
            start = time.process_time()
            means = video_map(truth, found, thresholds=UCF24_IOUS, protocol=video_rules).mean.values()
            cells = [f"{100 * value:.2f}" for value in means] + [f"{time.process_time() - start:.2f}"]
        start = time.process_time()
        frame = frame_map(truth, found, thresholds=["0.5"], protocol=frame_rules).mean["0.5"]
        print(f"| {name} | {' | '.join(cells)} | {100 * frame:.2f} | {time.process_time() - start:.2f} |", flush=True)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ground_truth", type=Path, help="J-HMDB or UCF101-24 pickle, or a tube table")
    parser.add_argument("--test-list", type=Path, help="only these videos, a name a line")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    try:
        truth = read_truth(args.ground_truth, args.test_list)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{args.ground_truth.name}: {len(truth)} videos, {sum(len(v.tubes) for v in truth)} tubes")
    print_table("Ground truth against itself", truth, itself(truth))
    for name, level in LEVELS.items():
        print_table(f"Level {name}", truth, simulate(truth, level, args.seed))
    return 0


if __name__ == "__main__":
    sys.exit(main())
