"""How fast training clips come from a video file, from a bundle of pictures, and from memory.

    python benchmarks/bench_clip_store.py [VIDEO] [--clips 60] [--repeats 5] [--json FILE]

Prints clips of 16 frames at 120 x 160 per CPU second, from the frames alone and as training sees them (random crop
of 112, mirror, colours left alone), and how many times the rate of the file that is. The default video has
340 x 256 pixels, 10 seconds and a key frame every 250, as Kinetics is kept in many places; it is made first. Runs are
interleaved; medians are shown. The index of the file (a pass over the video) is made before. The last line is the
loader of training on bundles, batches of 32 from two worker processes, all CPU time counted.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from torch.utils.data import DataLoader

from linking.files import replace_when_whole
from recognition.class_clips import ClassClips, MicroBatches, collate
from recognition.clip_sampling import ClipInput, random_frames
from recognition.clip_views import ClipAugment, crop_size, random_view
from video.class_datasets import ClassDataset, ClassifiedVideo
from video.clip_store import ClipStore, Frames
from video.writing import VideoWriter

CLIP = ClipInput()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", nargs="?", type=Path)
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", help="write the figures here too")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = args.video or made_video(Path(folder) / "made.mp4")
        video = ClassifiedVideo(path, "", "video")
        ways = {
            "file": ClipStore(size_of, gigabytes=0),
            "bundle": ClipStore(size_of, folder=Path(folder) / "bundles"),
            "memory": ClipStore(size_of, gigabytes=4),
        }
        opened = {name: store.open(video) for name, store in ways.items()}
        rates: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        loaded: list[float] = []
        for repeat in range(args.repeats):
            for name, frames in opened.items():
                rates[name].append((rate(frames, args.clips, repeat), rate(frames, args.clips, repeat, viewed=True)))
            loaded.append(loader_rate(video, ways["bundle"], 32 * max(1, args.clips // 4), repeat))
    medians = {name: [statistics.median(values) for values in zip(*found)] for name, found in rates.items()}
    print(f"{'':<8}{'frames':>10}{'clips':>10}   per CPU second")
    for name, (frames_rate, clips_rate) in medians.items():
        times = clips_rate / medians["file"][1]
        print(f"{name:<8}{frames_rate:>10.0f}{clips_rate:>10.0f}   {times:6.1f}x")
    by_loader = statistics.median(loaded)
    print(f"{'loader':<8}{'':>10}{by_loader:>10.0f}   {by_loader / medians['file'][1]:6.1f}x")
    if args.json:
        result = {
            "machine": platform.machine(),
            "clips": args.clips,
            "repeats": args.repeats,
            "video": str(args.video) if args.video else "made: 340x256, 300 frames, a key frame every 250",
            "clips_per_cpu_second": {
                name: {"frames_alone": values[0], "as_trained": values[1]} for name, values in medians.items()
            }
            | {"loader": {"as_trained": by_loader}},
        }
        with replace_when_whole(args.json) as temporary:
            temporary.write_text(json.dumps(result, indent=1) + "\n")
    return 0


def size_of(height: int, width: int) -> tuple[int, int]:
    return crop_size(height, width, CLIP)


def rate(frames: Frames, count: int, seed: int, *, viewed: bool = False) -> float:
    """Random clips per CPU second."""
    rng = np.random.default_rng(seed)
    augment = ClipAugment()
    started = time.process_time()
    for _ in range(count):
        clip = frames.read(random_frames(frames.num_frames, CLIP, rng))
        if viewed:
            random_view(clip, CLIP, augment, rng)
    return count / (time.process_time() - started)


def loader_rate(video: ClassifiedVideo, store: ClipStore, count: int, seed: int, *, workers: int = 2) -> float:
    """Clips of the training loader per CPU second of all its processes."""
    clips = ClassClips(
        ClassDataset("one", ("",), (video,)), CLIP, ClipAugment(), store, seed=seed, clips_per_video=count
    )
    batches = MicroBatches(count, batch=32, seed=seed, end=count // 32)
    started = time.process_time() + children_seconds()
    for _ in DataLoader(clips, batch_sampler=batches, collate_fn=collate, num_workers=workers):
        pass
    return count / (time.process_time() + children_seconds() - started)


def children_seconds() -> float:
    """CPU seconds of the processes that were started and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def made_video(path: Path) -> Path:
    """Smooth moving texture, so that it compresses as pictures of the world do."""
    rng = np.random.default_rng(0)
    wide = np.kron(rng.integers(0, 256, (40, 80, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    with VideoWriter(path, width=340, height=256, fps=30) as writer:
        for frame in range(300):
            writer.write(np.ascontiguousarray(wide[frame // 6 : frame // 6 + 256, frame : frame + 340]))
    return path


if __name__ == "__main__":
    sys.exit(main())
