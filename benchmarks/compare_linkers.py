"""The same boxes, every linker, with some frames missed: the tables of docs/decisions/021-online-linking.md.

    python benchmarks/compare_linkers.py pyannot.pkl --test-list testlist01.txt --videos 200
    python benchmarks/compare_linkers.py JHMDB-GT.pkl --no-trim

Scored boxes are simulated frame by frame from the ground truth: each actor has a jittered box and often a near-copy,
its class scores follow the action (low before and after it, now and then another class is taken for it), and every
frame holds boxes on nothing. In a missed frame the actor has neither box. Read the differences, not the levels.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from pathlib import Path

import numpy as np
from simulate_detections import read_truth

from eval.video_map import video_map
from linking.build import PRESETS, TubeConfig
from linking.geometry import nms
from linking.records import Detections, Tube, VideoAnnotation
from linking.scores import ScoredVideo

LINKERS = ("default", "online", "singh", "paper")
IOUS = ("0.2", "0.5", "0.75", "0.5:0.95")
JITTER = 0.05  # standard deviation of a corner, as a share of the side of the box; twice that for the copy
COPIES = 0.5  # probability of a near-copy
MISTAKEN = 0.15  # probability that an actor's action is taken for another
NOISE = 3  # mean number of boxes on nothing beyond the one that every frame has


def simulate_scores(truth: VideoAnnotation, classes: tuple[str, ...], missed: float, seed: int) -> ScoredVideo:
    """Every frame of ``truth`` with scored boxes; the same but for the missed frames at any ``missed``."""
    rng = np.random.default_rng([seed, *truth.video.encode()])
    size = np.array([truth.width or 320, truth.height or 240], float)
    num_frames = truth.num_frames or max(tube.end_frame for tube in truth.tubes)
    parts = [_noise(num_frames, len(classes), size, rng)]
    for tube in truth.tubes:
        frames, boxes, scores = _actor(tube, classes, num_frames, rng)
        seen = rng.random(num_frames) >= missed
        parts.append((frames[seen[frames]], boxes[seen[frames]], scores[seen[frames]]))
    frames, boxes, scores = (np.concatenate(part) for part in zip(*parts))
    boxes[:, :2] = np.clip(boxes[:, :2], 0, size - 4)
    boxes[:, 2:] = np.clip(np.maximum(boxes[:, 2:], boxes[:, :2] + 4), 4, size)
    detections = []
    for frame in range(num_frames):
        at = np.flatnonzero(frames == frame)
        at = at[nms(boxes[at], scores[at].sum(axis=1), 0.7)]  # as a detector does
        detections.append(Detections(frame, boxes[at], np.minimum(scores[at].sum(axis=1), 1), scores[at]))
    return ScoredVideo(truth.video, classes, tuple(detections), int(size[0]), int(size[1]), 25.0)


def _actor(
    tube: Tube, classes: tuple[str, ...], num_frames: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frames, boxes and class scores of an actor, who stands still before and after the action."""
    frames = np.arange(num_frames)
    nearest = np.clip(np.searchsorted(tube.frames, frames), 0, len(tube) - 1)
    acting = tube.frames[nearest] == frames
    truth = tube.boxes[nearest].astype(float)
    sides = np.tile(truth[:, 2:] - truth[:, :2], 2)
    own = classes.index(tube.label)
    other = int(rng.choice([c for c in range(len(classes)) if c != own]))
    level, doubt = np.clip(rng.normal(0.6, 0.15), 0.2, 0.9), rng.uniform(0, 0.3)
    if rng.random() < MISTAKEN:
        level, doubt = doubt, level
    parts = []
    for number in range(2):
        boxes = truth + sides * rng.normal(0, JITTER * (1 + number), truth.shape)
        action = np.clip(rng.normal(np.where(acting, level, 0.1), 0.12), 0.01, 0.95) * (1 - 0.15 * number)
        scores = rng.dirichlet(np.full(len(classes) + 1, 0.15), num_frames)[:, 1:] * (1 - action)[:, None] * 0.5
        scores[:, own] = action
        scores[:, other] += np.minimum(np.where(acting, doubt, 0), 0.95 - action)
        there = np.ones(num_frames, bool) if number == 0 else rng.random(num_frames) < COPIES
        parts.append((frames[there], boxes[there], scores[there]))
    frames, boxes, scores = (np.concatenate(part) for part in zip(*parts))
    return frames, boxes, scores


def _noise(
    num_frames: int, classes: int, size: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes on nothing, at least one a frame: the published offline linker needs one."""
    frames = np.repeat(np.arange(num_frames), 1 + rng.poisson(NOISE, num_frames))
    corner, sides = rng.random((len(frames), 2)) * size * 0.8, rng.uniform(20, 100, (len(frames), 2))
    scores = rng.dirichlet(np.full(classes, 0.1), len(frames)) * rng.beta(1, 6, len(frames))[:, None]
    return frames, np.concatenate([corner, corner + sides], axis=1), scores


def measure(truth: list[VideoAnnotation], configs: dict[str, TubeConfig], missed: float, seed: int) -> None:
    """Print a row of the table for each of ``configs``."""
    classes = tuple(sorted({tube.label for video in truth for tube in video.tubes}))
    found: dict[str, list[VideoAnnotation]] = {name: [] for name in configs}
    seconds = dict.fromkeys(configs, 0.0)
    frames = 0
    for video in truth:
        scored = simulate_scores(video, classes, missed, seed)
        frames += scored.num_frames
        for name, config in configs.items():
            start = time.process_time()
            tubes = config.build(scored)
            seconds[name] += time.process_time() - start
            found[name].append(VideoAnnotation(video.video, tubes, scored.num_frames, scored.width, scored.height))
    for name, videos in found.items():
        means = video_map(truth, videos, thresholds=IOUS).mean.values()
        number = sum(len(video.tubes) for video in videos)
        cells = [f"{100 * value:.1f}" for value in means]
        ms = 1000 * seconds[name] / frames
        print(f"| {name} | {100 * missed:g} % | {' | '.join(cells)} | {number} | {ms:.2f} |", flush=True)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ground_truth", type=Path, help="J-HMDB or UCF101-24 pickle, or a tube table")
    parser.add_argument("--test-list", type=Path, help="only these videos, a name a line")
    parser.add_argument("--videos", type=int, metavar="N", help="only so many of them, drawn by chance")
    parser.add_argument("--missed", type=float, nargs="+", default=[0.0, 0.02, 0.1], help="shares of frames")
    parser.add_argument("--no-trim", action="store_true", help="tubes keep their whole length")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    try:
        truth = read_truth(args.ground_truth, args.test_list)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if args.videos is not None and args.videos < len(truth):
        drawn = np.random.default_rng(args.seed).permutation(len(truth))[: args.videos]
        truth = [truth[k] for k in sorted(drawn)]
    configs = {name: dataclasses.replace(PRESETS[name], trimmed=not args.no_trim) for name in LINKERS}
    print(f"{args.ground_truth.name}: {len(truth)} videos, {sum(len(v.tubes) for v in truth)} tubes\n")
    print(f"| linker | missed | {' | '.join(IOUS)} | tubes | CPU ms a frame |")
    print(f"|---|--:|{'--:|' * (len(IOUS) + 2)}")
    for missed in args.missed:
        measure(truth, configs, missed, args.seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
