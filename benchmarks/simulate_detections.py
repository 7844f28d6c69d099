"""Detections made up from a ground truth: misplaced, mistimed, mislabelled, doubled, missed and invented tubes.

    python benchmarks/simulate_detections.py JHMDB-GT.pkl simulated.csv --level medium
    python benchmarks/simulate_detections.py pyannot.pkl simulated.parquet --test-list testlist01.txt

For comparing protocols and timing the evaluator on real ground truth; the levels say nothing of any real detector.
The same seed gives the same detections everywhere.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from linking.records import Tube, VideoAnnotation
from linking.tables import annotations_from_table, read_tubes, table_from_annotations, write_tubes
from video.jhmdb import is_jhmdb, parse_jhmdb
from video.pickles import load_pickle
from video.ucf24 import parse_ucf24, read_test_list


@dataclass(frozen=True)
class Level:
    """How far the simulated detector is off."""

    found: float  # probability that a true tube is detected
    misplaced: float  # standard deviation of a detected corner, as a share of the box's width or height
    mistimed: float  # standard deviation of the first and last frame, as a share of the tube's length
    mislabelled: float  # probability of a wrong class
    doubled: float  # probability of a second tube on the same actor
    invented: float  # mean number of tubes on nothing, a video


LEVELS = {
    "easy": Level(0.97, 0.04, 0.05, 0.03, 0.2, 0.5),
    "medium": Level(0.9, 0.1, 0.15, 0.15, 0.5, 2.0),
    "hard": Level(0.8, 0.18, 0.35, 0.35, 0.8, 5.0),
}


def simulate(truth: list[VideoAnnotation], level: Level, seed: int) -> list[VideoAnnotation]:
    """Scored tubes for each video; a tube nearer to the truth tends to score higher."""
    rng = np.random.default_rng(seed)
    labels = sorted({tube.label for video in truth for tube in video.tubes})
    result = []
    for video in truth:
        width, height = video.width or 320, video.height or 240
        last = video.num_frames or max((tube.end_frame for tube in video.tubes), default=1)
        tubes: list[Tube] = []
        for tube in video.tubes:
            copies = int(rng.random() < level.found) * (1 + int(rng.random() < level.doubled))
            for _ in range(copies):
                wrong = rng.random() < level.mislabelled
                label = str(rng.choice(labels)) if wrong else tube.label
                tubes.append(_detected(tube, label, level, rng, (width, height), last, len(tubes)))
        for _ in range(rng.poisson(level.invented)):
            tubes.append(_invented(str(rng.choice(labels)), rng, (width, height), last, len(tubes)))
        result.append(VideoAnnotation(video.video, tubes, video.num_frames, video.width, video.height))
    return result


def _detected(
    tube: Tube, label: str, level: Level, rng: np.random.Generator, size: tuple[int, int], last: int, number: int
) -> Tube:
    error = rng.gamma(2.0, 0.5)  # the quality of a whole tube: mean 1, now and then much worse
    off = rng.normal(0, level.mistimed * error * len(tube), 2).round().astype(int)
    first = int(np.clip(tube.first_frame + off[0], 0, last - 1))
    end = int(np.clip(tube.end_frame + off[1], first + 1, last))
    frames = np.arange(first, end)
    at = np.clip(np.searchsorted(tube.frames, frames), 0, len(tube) - 1)  # beyond its ends the box stands still
    boxes = tube.boxes[at].astype(np.float64)
    sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    steady, trembling = rng.normal(0, level.misplaced * error, 4), rng.normal(0, level.misplaced / 3, boxes.shape)
    boxes = _inside(boxes + sides * (steady + trembling), size)
    score, scores = _scores(1.5 - 0.8 * error - 1.0 * (label != tube.label), rng, len(frames))
    return Tube(label, frames, boxes, scores, score, number)


def _invented(label: str, rng: np.random.Generator, size: tuple[int, int], last: int, number: int) -> Tube:
    first, end = np.sort(rng.choice(last + 1, 2, replace=False))
    centre, half = rng.random(2) * size, rng.uniform(0.05, 0.3, 2) * size
    boxes = np.tile(np.concatenate([centre - half, centre + half]), (end - first, 1))
    score, scores = _scores(-1.2, rng, end - first)
    return Tube(label, np.arange(first, end), _inside(boxes, size), scores, score, number)


def _scores(logit: float, rng: np.random.Generator, n: int) -> tuple[float, np.ndarray]:
    """A score for a tube and one for each of its boxes, around a logistic of ``logit``."""
    whole = rng.normal(logit, 0.8)
    return float(1 / (1 + np.exp(-whole))), 1 / (1 + np.exp(-rng.normal(whole, 0.3, n)))


def _inside(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Within the picture and at least two pixels wide and high."""
    limit = np.array(size, np.float64)
    low = np.clip(boxes[:, :2], 0, limit - 2)
    return np.concatenate([low, np.clip(np.maximum(boxes[:, 2:], low + 2), 2, limit)], axis=1)


def read_truth(path: Path, test_list: Path | None) -> list[VideoAnnotation]:
    if path.suffix.lower() in (".csv", ".parquet", ".json"):
        videos = annotations_from_table(read_tubes(path))
    else:
        data = load_pickle(path)
        videos = list((parse_jhmdb if is_jhmdb(data) else parse_ucf24)(data, path).videos)
    if test_list is None:
        return videos
    names = set(read_test_list(test_list))
    return [video for video in videos if video.video in names]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ground_truth", type=Path, help="J-HMDB or UCF101-24 pickle, or a tube table")
    parser.add_argument("output", type=Path, help="tube table to write (csv, parquet, json)")
    parser.add_argument("--test-list", type=Path, help="only these videos, a name a line")
    parser.add_argument("--level", choices=LEVELS, default="medium")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    try:
        truth = read_truth(args.ground_truth, args.test_list)
        found = simulate(truth, LEVELS[args.level], args.seed)
        write_tubes(table_from_annotations(found), args.output)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{args.output}: {sum(len(video.tubes) for video in found)} tubes in {len(found)} videos")
    return 0


if __name__ == "__main__":
    sys.exit(main())
