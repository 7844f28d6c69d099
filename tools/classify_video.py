"""Name what videos show: the likeliest classes, and where in the picture the evidence lies.

    python tools/classify_video.py my.mp4 --weights runs/lgd/classifier.safetensors
    python tools/classify_video.py my.mp4 --weights runs/lgd/classifier.safetensors --maps maps.png
    python tools/classify_video.py my.mp4 --weights runs/lgd/classifier.safetensors --maps maps.mp4 --map-class wave
    python tools/classify_video.py --dataset data/jhmdb --weights runs/lgd/classifier.safetensors --json out.json

Several clips of each video are scored and averaged, as the model file says.

reads   video files or folders of pictures, or the videos of a dataset
writes  --json FILE          the probabilities of all classes
        --maps FILE.png      six frames of the (only) video with the class activation maps of its best classes
        --maps FILE.mp4      the video with the map of one class, the best or --map-class
prints  the best classes of each video
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from recognition.classifier_files import LoadedClassifier
    from recognition.classify import ClassifyConfig
    from video.class_datasets import ClassifiedVideo


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    from recognition.weights_location import add_fetch_options

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="*", metavar="VIDEO", help="video files or folders of pictures")
    parser.add_argument("--dataset", help="dataset folder, instead of videos")
    parser.add_argument("--part", choices=("train", "val", "test", "all"), default="test", help="default: test")
    parser.add_argument("--split", type=int, default=1, help="split of UCF101, HMDB51 or J-HMDB (default 1)")
    parser.add_argument(
        "--weights",
        required=True,
        metavar="WHERE",
        help="classifier of train_recognition.py: a file, https://...#sha256=... or hf://owner/repository/file",
    )
    add_fetch_options(parser)
    parser.add_argument("--top", type=int, default=5, metavar="N", help="classes to print (default 5)")
    parser.add_argument("--maps", type=Path, metavar="FILE", help=".png or .mp4; for one video")
    parser.add_argument("--map-class", metavar="NAME", help="the class whose map is shown, instead of the best")
    parser.add_argument("--json", type=Path, metavar="FILE", help="probabilities of all classes")
    parser.add_argument("--batch", type=int, default=4, help="clips that go through the network together (default 4)")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="default: fp32")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--threads", type=int, help="CPU threads")
    args = parser.parse_args(argv)
    if bool(args.videos) == bool(args.dataset):
        parser.error("name videos, or a dataset with --dataset")
    if args.maps and (len(args.videos) != 1 or args.maps.suffix not in (".png", ".mp4")):
        parser.error("--maps takes a .png or .mp4 file, and one video")
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda text, *_: print(f"warning: {text}", file=sys.stderr)
            return run(args)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def run(args: argparse.Namespace) -> int:
    """Everything after parsing; imports torch."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    import torch

    from linking.files import replace_when_whole
    from recognition.classifier_files import load_classifier
    from recognition.classify import ClassifyConfig, clip_scores, clips_of
    from recognition.memory import reuse_large_blocks
    from recognition.weights_location import fetch_of, locate_weights
    from video.class_datasets import ClassifiedVideo, open_classes
    from video.source import VideoError

    reuse_large_blocks()
    if args.threads:
        torch.set_num_threads(args.threads)
    model = load_classifier(locate_weights(args.weights, fetch_of(args)).path, args.device)
    config = ClassifyConfig(args.batch, precision=args.precision)
    if args.map_class is not None and args.map_class not in model.class_names:
        raise ValueError(f"unknown class {args.map_class!r}; the model knows {', '.join(model.class_names)}"[:300])
    if args.dataset:
        videos = list(open_classes(args.dataset, split=args.split, part=args.part).videos)
    else:
        videos = [ClassifiedVideo(Path(name), "", name) for name in args.videos]
    results: dict[str, dict[str, float]] = {}
    failed = 0
    for video in videos:
        try:
            clips = clips_of(video, model.clip)
        except VideoError as error:
            print(f"error: {error}", file=sys.stderr)
            failed += 1
            continue
        scores = clip_scores(model.network, clips.clips, model.clip, config, args.device).mean(axis=0)
        results[video.name] = {name: float(score) for name, score in zip(model.class_names, scores)}
        show(video, scores, model, args.top)
        if args.maps:
            write_maps(args, video, scores, model, config)
    if args.json:
        with replace_when_whole(args.json) as temporary:
            temporary.write_text(json.dumps({"model": model.file.sha256, "videos": results}, indent=1) + "\n")
    return 2 if failed else 0


def show(video: ClassifiedVideo, scores: np.ndarray, model: LoadedClassifier, top: int) -> None:
    """The best classes of one video, the true one marked where it is known."""
    print(video.name)
    for column in (-scores).argsort(kind="stable")[:top]:
        mark = "  *" if model.class_names[column] == video.label else ""
        print(f"  {100 * scores[column]:5.1f} %  {model.class_names[column]}{mark}")


def write_maps(
    args: argparse.Namespace,
    video: ClassifiedVideo,
    scores: np.ndarray,
    model: LoadedClassifier,
    config: ClassifyConfig,
) -> None:
    """The class activation maps of one video, as a sheet or as a video."""
    import dataclasses

    from recognition.class_maps import video_maps
    from recognition.classify import clips_of
    from video.frames import open_video
    from video.heat import HeatRow, write_heat_sheet, write_heat_video

    best = (-scores).argsort(kind="stable")[: min(3, args.top)].tolist()
    classes = [model.class_names.index(args.map_class)] if args.map_class else best
    if args.maps.suffix == ".mp4":
        classes = classes[:1]
    with open_video(video.path) as source:
        size = source.height, source.width
    # more clips than for the scores, so that a map is never far from a frame
    clip = dataclasses.replace(model.clip, test_clips=max(model.clip.test_clips, 15))
    found = video_maps(model.network, clips_of(video, clip), classes, clip, config, size=size, device=args.device)
    rows = [
        HeatRow(f"{model.class_names[column]}  {100 * scores[column]:.1f} %", maps)
        for column, maps in zip(classes, found.maps)
    ]
    if args.maps.suffix == ".mp4":
        write_heat_video(video.path, args.maps, found.frames, rows[0], area=found.area)
    else:
        write_heat_sheet(video.path, args.maps, found.frames, rows, area=found.area)


if __name__ == "__main__":
    sys.exit(main())
