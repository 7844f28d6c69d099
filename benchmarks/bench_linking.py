"""Cost of linking and trimming, in CPU seconds, against a plain implementation of the same method.

    python benchmarks/bench_linking.py
    python benchmarks/bench_linking.py --frames 2000 --repeat 1

The generated video has 4 actors that come and go, the rest of the boxes is noise; every box has a score for every
class. "sure" scores are a softmax as a trained network gives it (few classes above the threshold of the default
settings), "flat" scores leave every box in play for every class, the worst case (on a fifth of the frames). The plain
alternative is a Viterbi search per class with a Python loop over frames, three paths a class: the published method,
written the obvious way with the helpers of linking.geometry. It cannot bridge gaps and is given a video without any.
"Live" is the online linker as an application uses it: after every frame the tubes alive are looked at (a second of
each) and finished ones taken out.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

# one thread, or the CPU seconds of idle threads are counted too; before numpy is imported
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from linking.build import build_tubes
from linking.files import replace_when_whole
from linking.geometry import box_iou, nms
from linking.link import PAPER, LinkConfig, link_classes
from linking.online import SINGH, OnlineConfig, OnlineLinker
from linking.records import Detections
from linking.scores import ScoredVideo
from linking.trim import TrimConfig


def generated(frames: int, boxes: int, classes: int, *, flat: bool, seed: int = 0) -> ScoredVideo:
    """A video of ``frames`` frames with ``boxes`` boxes each, of which up to 4 follow actors."""
    rng = np.random.default_rng(seed)
    detections = []
    lives = [(rng.uniform(20, 200), rng.uniform(20, 100), rng.integers(classes)) for _ in range(4)]
    for frame in range(frames):
        for number in range(4):
            if frame % 300 == 70 * number:  # another actor, elsewhere
                lives[number] = (rng.uniform(20, 200), rng.uniform(20, 100), rng.integers(classes))
        corner = rng.uniform(0, [260, 180], (boxes, 2))
        size = rng.uniform(20, 90, (boxes, 2))
        logits = rng.normal(0, 1.5, (boxes, classes + 1))
        logits[:, 0] += 5
        for number, (x, y, label) in enumerate(lives):
            corner[number] = np.array([x + 0.2 * (frame % 300), y]) + rng.normal(0, 1, 2)
            size[number] = np.array([45, 90]) + rng.normal(0, 1, 2)
            logits[number, [0, 1 + label]] = rng.normal((2, 4), 0.7)
        values = np.exp(logits)
        scores = rng.uniform(0.1, 1, (boxes, classes)) if flat else (values / values.sum(axis=1, keepdims=True))[:, 1:]
        corners = np.concatenate([corner, corner + size], axis=1)
        detections.append(Detections(frame, corners, scores.max(axis=1), scores))
    return ScoredVideo("generated", tuple(f"class {c}" for c in range(classes)), tuple(detections), 360, 280, 25.0)


def first_frames(scored: ScoredVideo, frames: int) -> ScoredVideo:
    return dataclasses.replace(scored, detections=scored.detections[:frames])


def plain_viterbi(scored: ScoredVideo, paths: int = 3, top: int = 5) -> list[list[list[int]]]:
    """Per class the best paths through all frames, as indices into the boxes kept per frame."""
    result = []
    for column in range(len(scored.class_names)):
        boxes, scores = [], []
        for found in scored.detections:
            own = found.class_scores[:, column]
            kept = nms(found.boxes, own, 0.3)[:top]
            boxes.append(found.boxes[kept])
            scores.append(own[kept].astype(np.float64))
        own_paths = []
        for _ in range(paths):
            if min(len(frame) for frame in scores) == 0:
                break
            value, back = np.zeros(len(scores[0])), []
            for t in range(1, len(scores)):
                edge = scores[t - 1][:, None] + scores[t][None, :] + box_iou(boxes[t - 1], boxes[t])
                total = value[:, None] + edge
                back.append(total.argmax(axis=0))
                value = total.max(axis=0)
            path = [int(value.argmax())]
            for step in reversed(back):
                path.append(int(step[path[-1]]))
            path.reverse()
            own_paths.append(path)
            boxes = [np.delete(frame, at, axis=0) for frame, at in zip(boxes, path)]
            scores = [np.delete(frame, at) for frame, at in zip(scores, path)]
        result.append(own_paths)
    return result


def link_live(scored: ScoredVideo, config: OnlineConfig, *, look: bool) -> None:
    """Feed the online linker frame by frame."""
    linker = OnlineLinker(scored.class_names, config)
    for found in scored.detections:
        linker.update(found)
        if look:
            linker.live(last=25)
            linker.finished()
    linker.finish()


def cpu_seconds(work: Callable[[], object], repeat: int) -> float:
    """Median CPU seconds of ``repeat`` runs."""
    taken = []
    for _ in range(repeat):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return statistics.median(taken)


def extra_memory(work: Callable[[], object]) -> int:
    """Peak bytes allocated by ``work``."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--boxes", type=int, default=20)
    parser.add_argument("--classes", type=int, default=24)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--plain-frames", type=int, default=300, help="frames of the plain alternative, which is slow")
    parser.add_argument("--online-frames", type=int, default=2000, help="frames of the online linker")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report")
    args = parser.parse_args(argv)

    report: dict[str, float | int] = {"frames": args.frames, "boxes": args.boxes, "classes": args.classes}
    # class by class; the default, all actors once and each path trimmed for every class, is timed beside it
    link, trim = LinkConfig(class_agnostic=False), TrimConfig()
    for name, flat in (("sure", False), ("flat", True)):
        frames = args.frames // 5 if flat else args.frames
        whole = generated(frames, args.boxes, args.classes, flat=flat)
        half = first_frames(whole, frames // 2)
        full_s = cpu_seconds(lambda scored=whole: build_tubes(scored, link, trim), args.repeat)
        half_s = cpu_seconds(lambda scored=half: build_tubes(scored, link, trim), args.repeat)
        link_s = cpu_seconds(
            lambda scored=whole: link_classes(scored.detections, scored.class_names, link), args.repeat
        )
        report[f"{name}_link_and_trim_cpu_s"] = round(full_s, 3)
        actors_s = cpu_seconds(lambda scored=whole: build_tubes(scored, LinkConfig(), trim), args.repeat)
        report[f"{name}_actors_first_cpu_s"] = round(actors_s, 3)
        report[f"{name}_link_only_cpu_s"] = round(link_s, 3)
        report[f"{name}_time_ratio_when_frames_double"] = round(full_s / half_s, 2)
        stored = sum(f.boxes.nbytes + f.scores.nbytes + f.class_scores.nbytes for f in whole.detections)
        peak = extra_memory(lambda scored=whole: build_tubes(scored, link, trim))
        report[f"{name}_peak_memory_over_detections"] = round(peak / stored, 2)
        some = first_frames(whole, args.online_frames)
        for kind, config, look in (
            ("online", OnlineConfig(), False),
            ("live", OnlineConfig(), True),
            ("singh", SINGH, False),
        ):
            online_s = cpu_seconds(
                lambda scored=some, c=config, look=look: link_live(scored, c, look=look), args.repeat
            )
            report[f"{name}_{kind}_cpu_ms_per_frame"] = round(1000 * online_s / some.num_frames, 3)
        few = first_frames(whole, args.plain_frames)
        plain_s = cpu_seconds(lambda scored=few: plain_viterbi(scored), 1)
        paper_s = cpu_seconds(lambda scored=few: link_classes(scored.detections, scored.class_names, PAPER), 3)
        report[f"{name}_plain_viterbi_cpu_ms_per_frame"] = round(1000 * plain_s / args.plain_frames, 3)
        report[f"{name}_same_method_here_cpu_ms_per_frame"] = round(1000 * paper_s / args.plain_frames, 3)
        report[f"{name}_default_with_trimming_cpu_ms_per_frame"] = round(1000 * full_s / frames, 3)
        report[f"{name}_times_faster_than_plain"] = round(plain_s / args.plain_frames / (full_s / frames), 1)
    text = json.dumps(report, indent=1)
    print(text)
    if args.json:
        with replace_when_whole(args.json) as temporary:
            temporary.write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
