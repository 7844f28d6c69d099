"""CPU seconds of video-mAP and frame-mAP on made-up sets of the size of UCF101-24.

    python benchmarks/bench_evaluation.py
    python benchmarks/bench_evaluation.py --videos 300 --repeats 3

Prints, for 24 classes, about 2 true and 40 detected tubes a video: video-mAP at 6 and at 19 thresholds, with every
protocol at 6, and frame-mAP in microseconds a detection, each the median of several runs in CPU time of this process.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from eval.boxes import FrameBoxes
from eval.frame_map import judge_boxes
from eval.protocols import FRAME_PROTOCOLS, VIDEO_PROTOCOLS
from eval.video_map import video_map
from linking.records import Tube, VideoAnnotation

CLASSES = [f"class {i:02d}" for i in range(24)]
SIX = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75)
NINETEEN = tuple(np.round(np.arange(1, 20) * 0.05, 2).tolist())


def make_tubes(videos: int, seed: int = 0) -> tuple[list[VideoAnnotation], list[VideoAnnotation]]:
    """Ground truth and detections; half of the detections lie near a true tube and have its class."""
    rng = np.random.default_rng(seed)
    truth, found = [], []
    for number in range(videos):
        length, label = int(rng.integers(80, 280)), rng.choice(CLASSES)
        true = [_tube(rng, length, label, 1.0, i) for i in range(int(rng.integers(1, 4)))]
        near = []
        for i in range(20):
            like = true[i % len(true)]
            start = int(rng.integers(0, max(len(like) // 3, 1)))
            boxes = like.boxes[start:] + rng.normal(0, 6, 4).astype(np.float32)
            near.append(Tube(label, like.frames[start:], np.sort(boxes.reshape(-1, 2, 2), axis=1).reshape(-1, 4), None,
                             float(rng.random()), i))  # fmt: skip
        far = [_tube(rng, length, rng.choice(CLASSES), float(rng.random()), i) for i in range(20, 40)]
        truth.append(VideoAnnotation(f"v{number:05d}", true, length))
        found.append(VideoAnnotation(f"v{number:05d}", near + far, length))
    return truth, found


def _tube(rng: np.random.Generator, length: int, label: str, score: float, number: int) -> Tube:
    first = int(rng.integers(0, length // 2))
    frames = np.arange(first, int(rng.integers(first + 10, length + 1)))
    corner, size = rng.uniform(0, 150, 2), rng.uniform(20, 80, 2)
    path = np.cumsum(rng.normal(0, 0.5, (len(frames), 2)), axis=0) + corner
    return Tube(label, frames, np.concatenate([path, path + size], axis=1), None, score, number)


def make_boxes(frames: int, per_class: int, seed: int = 0) -> tuple[FrameBoxes, FrameBoxes]:
    """One true box a frame, and ``per_class`` detections of each of 24 classes in every frame."""
    rng = np.random.default_rng(seed)
    videos = max(frames // 180, 1)
    frame = np.arange(frames, dtype=np.int32)
    of_video = frame % videos, frame // videos
    label = rng.integers(0, 24, videos).astype(np.int32)[of_video[0]]
    corner = rng.uniform(0, 200, (frames, 2)).astype(np.float32)
    boxes = np.concatenate([corner, corner + 60], axis=1)
    truth = FrameBoxes(*of_video, label, boxes, np.zeros(frames, np.float32))
    each = np.repeat(frame, 24 * per_class)
    shaken = boxes[each] + rng.normal(0, 8, (len(each), 1)).astype(np.float32)
    labels = np.tile(np.repeat(np.arange(24, dtype=np.int32), per_class), frames)
    scores = rng.random(len(each), dtype=np.float32)
    return truth, FrameBoxes(of_video[0][each], of_video[1][each], labels, shaken, scores)


def cpu(task: Callable[[], object], repeats: int) -> float:
    """Median CPU seconds."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        task()
        times.append(time.process_time() - start)
    return statistics.median(times)


def bench_tubes(videos: int, repeats: int) -> None:
    truth, found = make_tubes(videos)
    true, detected = (sum(len(video.tubes) for video in side) for side in (truth, found))
    boxes = sum(len(tube) for video in found for tube in video.tubes)
    print(f"video-mAP: {videos} videos, {true} true, {detected} detected tubes, {boxes} boxes")
    six = cpu(partial(video_map, truth, found, thresholds=SIX), repeats)
    nineteen = cpu(partial(video_map, truth, found, thresholds=NINETEEN), repeats)
    print(f"  6 thresholds {six:.3f} s, 19 thresholds {nineteen:.3f} s ({nineteen / six:.2f} times)")
    for name in VIDEO_PROTOCOLS:
        seconds = cpu(partial(video_map, truth, found, thresholds=SIX, protocol=name), repeats)
        print(f"  {name:14} {seconds:.3f} s")


def bench_boxes(frames: int, repeats: int) -> None:
    truth, found = make_boxes(frames, 10)
    print(f"frame-mAP: {frames} frames, {len(found)} detections")
    for name, protocol in FRAME_PROTOCOLS.items():
        if protocol.box_nms is None:
            seconds = cpu(partial(judge_boxes, truth, found, len(CLASSES), (0.5,), protocol), repeats)
            print(f"  {name:14} {seconds:.3f} s, {seconds / len(found) * 1e6:.3f} us a detection")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=914)
    parser.add_argument("--frames", type=int, default=40_000, help="of frame-mAP (240 detections in each)")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args(argv)
    bench_tubes(args.videos, args.repeats)
    bench_boxes(args.frames, args.repeats)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory with all data: {peak:.0f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
