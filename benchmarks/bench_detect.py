"""What the two speed settings of the pipeline buy: proposals on every k-th frame, a clip for every s frames.

    python benchmarks/bench_detect.py [VIDEO] [--repeats 3]

Prints CPU seconds a frame (all threads) of the bundled networks for several settings, decoding included, linking and
drawing not, and how many times less that is than the paper read literally (k = 1, s = 1, float32). Runs are
interleaved; medians are shown.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

from detection.detect import BUNDLED_SCORERS
from detection.pipeline import PipelineConfig, score_video
from detection.proposals import ProposalConfig, open_proposer
from detection.scorer import load_scorer
from recognition.memory import reuse_large_blocks
from video.frames import open_video

DEMO = Path(__file__).resolve().parents[1] / "assets" / "demo.mp4"
SETTINGS = {
    "k=1 s=1 fp32 (literal)": PipelineConfig(1, 1, precision="fp32"),
    "k=1 s=8 fp32": PipelineConfig(1, 8, precision="fp32"),
    "k=4 s=8 fp32": PipelineConfig(4, 8, precision="fp32"),
    "k=4 s=8 auto (default)": PipelineConfig(),
    "k=8 s=16 auto": PipelineConfig(8, 16),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", nargs="?", type=Path, default=DEMO)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    reuse_large_blocks()
    scorer = load_scorer(BUNDLED_SCORERS["rgb"])
    proposer = open_proposer("bundled", config=ProposalConfig())
    spent: dict[str, list[float]] = {name: [] for name in SETTINGS}
    for _ in range(args.repeats):
        for name, config in SETTINGS.items():
            started = time.process_time()
            with open_video(args.video) as source:
                frames = score_video(source, "v", proposer, scorer, config).num_frames
            spent[name].append((time.process_time() - started) / frames)
    literal = statistics.median(spent["k=1 s=1 fp32 (literal)"])
    for name, seconds in spent.items():
        median = statistics.median(seconds)
        print(f"{name:<24} {1000 * median:7.1f} CPU ms a frame  {literal / median:5.1f}x")
    return 0


if __name__ == "__main__":
    sys.exit(main())
