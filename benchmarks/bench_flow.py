"""Speed and agreement of our TV-L1 flow with OpenCV's (opencv-contrib-python-headless).

    python benchmarks/bench_flow.py --videos data/jhmdb/videos --clips 30
    python benchmarks/bench_flow.py --videos data/ucf24/videos data/kinetics --apart 4 --json fast.json
    pip install --target cv opencv-contrib-python-headless && PYTHONPATH=cv python benchmarks/bench_flow.py

On real pairs, drawn from the videos of folders, evenly over their subfolders, at their own size and at half of it: CPU
milliseconds a pair, both sides in turns so that a busy machine slows both alike, the ratio as the median over pairs,
and the distance between the two flows in pixels, over all pairs and over the quarter of them with the largest motion.
With ``--apart`` the two pictures are not neighbours, so that everything moves farther. On generated pairs, a texture
under known motion: the end-point error of both. Without OpenCV, or without videos, that side is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# A spinning thread pool counts its waiting as CPU time; must be set before torch starts its threads.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import torch

from linking.files import replace_when_whole
from video.clips import ClipReader
from video.datasets import VIDEO_SUFFIXES
from video.flow import grey, quantise
from video.tvl1 import TVL1Config, tvl1_flow

Flow = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Two (H, W) uint8 pictures -> (2, H, W) flow."""

MOTIONS = {  # translation in pixels, rotation in degrees, zoom, all about the middle
    "small": (1.3, -0.7, 0.5, 1.004),
    "middle": (4.0, 2.5, 1.5, 1.015),
    "large": (14.0, -9.0, 4.0, 1.05),
}


def our_flow(config: TVL1Config) -> Flow:
    def solve(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return tvl1_flow(torch.from_numpy(first)[None], torch.from_numpy(second)[None], config)[0].numpy()

    return solve


def opencv_flow() -> Flow | None:
    """OpenCV's with its defaults on one thread, or None where it is not there."""
    try:
        import cv2

        solver = cv2.optflow.DualTVL1OpticalFlow_create()
    except (ImportError, AttributeError):
        return None
    cv2.setNumThreads(1)
    return lambda first, second: solver.calc(first, second, None).transpose(2, 0, 1)


def real_pairs(
    folders: list[Path], clips: int, seed: int, share: float, apart: int = 1
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Two grey pairs, frames k and k + ``apart``, of each of ``clips`` videos, the subfolders taking turns."""
    files = sorted(path for folder in folders for path in folder.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES)
    chance = random.Random(seed)
    chance.shuffle(files)
    turns = {path: sum(other.parent == path.parent for other in files[:k]) for k, path in enumerate(files)}
    pairs = []
    for path in sorted(files, key=lambda path: (turns[path], str(path)))[:clips]:
        reader = ClipReader(path)
        size = (round(reader.height * share), round(reader.width * share))
        for k in sorted(chance.sample(range(reader.num_frames - apart), 2)):
            pictures = grey(torch.from_numpy(reader.read([k, k + apart], size=size))).round().to(torch.uint8).numpy()
            pairs.append((pictures[0], pictures[1]))
    return pairs


def generated_pair(motion: tuple[float, float, float, float], seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(120, 160) pictures and the (2, 120, 160) true flow from the first to the second."""
    height, width = 120, 160
    dx, dy, degrees, zoom = motion
    angle = np.deg2rad(degrees)
    matrix = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    y, x = np.mgrid[:height, :width].astype(np.float64)
    centred = np.stack([x - width / 2, y - height / 2])
    moved = np.einsum("ij,jhw->ihw", matrix, centred) + np.array([dx, dy])[:, None, None]
    origin = np.einsum("ij,jhw->ihw", np.linalg.inv(matrix), centred - np.array([dx, dy])[:, None, None])
    return _texture(centred, seed), _texture(origin, seed), moved - centred


def _texture(places: np.ndarray, seed: int) -> np.ndarray:
    """(H, W) uint8 waves of 6 to 60 pixels at (2, H, W) real coordinates."""
    rng = np.random.default_rng(seed)
    picture = np.full(places.shape[1:], 128.0)
    for _ in range(24):
        angle, length, phase = rng.uniform(0, 2 * np.pi), np.exp(rng.uniform(np.log(6), np.log(60))), rng.uniform(0, 7)
        picture += 14 * np.sin(2 * np.pi / length * (np.cos(angle) * places[0] + np.sin(angle) * places[1]) + phase)
    return picture.round().clip(0, 255).astype(np.uint8)


def timed(flow: Flow, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, float]:
    """The flow and CPU milliseconds."""
    start = time.process_time()
    result = flow(first, second)
    return result, 1e3 * (time.process_time() - start)


def compare(pairs: list[tuple[np.ndarray, np.ndarray]], ours: Flow, opencv: Flow | None) -> dict[str, Any]:
    our_times, times, distances, levels, motions = [], [], [], [], []
    for first, second in pairs:
        flow, milliseconds = timed(ours, first, second)
        our_times.append(milliseconds)
        if opencv is not None:
            other, milliseconds = timed(opencv, first, second)
            times.append(milliseconds)
            distances.append(np.hypot(*(flow - other)))
            motions.append(float(np.hypot(*other).mean()))
            grey_values = [quantise(torch.from_numpy(np.ascontiguousarray(f))).int() for f in (flow, other)]
            levels.append(float((grey_values[0] - grey_values[1]).abs().float().mean()))
    row: dict[str, Any] = {
        "pairs": len(pairs),
        "sizes": sorted({f"{first.shape[1]}x{first.shape[0]}" for first, _ in pairs}),
        "ours_cpu_ms": {"median": statistics.median(our_times), "mean": statistics.fmean(our_times)},
    }
    if opencv is not None:
        means = [float(d.mean()) for d in distances]
        fastest = sorted(range(len(pairs)), key=motions.__getitem__)[-max(1, len(pairs) // 4) :]
        row |= {
            "opencv_cpu_ms": {"median": statistics.median(times), "mean": statistics.fmean(times)},
            "speed_up": statistics.median(b / a for a, b in zip(our_times, times)),
            "distance_px": {
                "mean": statistics.fmean(means),
                "median_pair": statistics.median(means),
                "worst_pair": max(means),
                "pairs": means,
                "share_above_1": float(np.mean([(d > 1).mean() for d in distances])),
            },
            "motion_px": {"mean": statistics.fmean(motions), "largest_pair": max(motions)},
            "quarter_with_most_motion": {
                "motion_px": statistics.fmean(motions[k] for k in fastest),
                "distance_px": statistics.fmean(means[k] for k in fastest),
            },
            "grey_levels": statistics.fmean(levels),
        }
    return row


def end_point_errors(ours: Flow, opencv: Flow | None, count: int = 5) -> dict[str, dict[str, float]]:
    """Mean distance from the truth in the inner part of generated pairs."""
    inner = np.s_[20:-20, 20:-20]
    rows = {}
    for name, motion in MOTIONS.items():
        pairs = [generated_pair(motion, seed) for seed in range(count)]
        solvers = {"ours": ours} | ({"opencv": opencv} if opencv is not None else {})
        rows[name] = {
            solver: float(np.mean([np.hypot(*(flow(a, b) - truth))[inner].mean() for a, b, truth in pairs]))
            for solver, flow in solvers.items()
        }
    return rows


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=Path, nargs="+", help="folders of videos for the real pairs")
    parser.add_argument("--apart", type=int, default=1, help="frames from the first picture to the second (default 1)")
    parser.add_argument("--clips", type=int, default=30, help="videos to draw two pairs from each (default 30)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", help="write the figures here too")
    args = parser.parse_args(argv)

    torch.set_num_threads(1)
    config = TVL1Config()
    ours, opencv = our_flow(config), opencv_flow()
    if opencv is None:
        print("OpenCV with TV-L1 is not installed (opencv-contrib-python-headless): ours only", file=sys.stderr)
    result: dict[str, Any] = {
        "torch": torch.__version__,
        "apart": args.apart,
        "end_point_error_px": end_point_errors(ours, opencv),
    }
    for name, errors in result["end_point_error_px"].items():
        print(f"{name:8} motion, error in px: " + ", ".join(f"{who} {error:.3f}" for who, error in errors.items()))
    if args.videos:
        result["real"] = [
            compare(real_pairs(args.videos, args.clips, args.seed, share, args.apart), ours, opencv)
            for share in (1.0, 0.5)
        ]
        for row in result["real"]:
            line = f"{', '.join(row['sizes'])}, {row['pairs']} pairs: ours {row['ours_cpu_ms']['median']:.0f} CPU ms"
            if opencv is not None:
                line += (
                    f", OpenCV {row['opencv_cpu_ms']['median']:.0f}, {row['speed_up']:.1f} x; distance "
                    f"{row['distance_px']['mean']:.3f} px (median pair {row['distance_px']['median_pair']:.3f}, worst "
                    f"{row['distance_px']['worst_pair']:.3f}), {row['grey_levels']:.2f} grey levels; motion "
                    f"{row['motion_px']['mean']:.2f} px, of the fastest quarter "
                    f"{row['quarter_with_most_motion']['motion_px']:.2f} and there "
                    f"{row['quarter_with_most_motion']['distance_px']:.3f} apart"
                )
            print(line)
    if args.json:
        with replace_when_whole(args.json) as temporary:
            temporary.write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
