"""Features of the clips of videos by a trained classifier, for temporal pooling (train_temporal_pooling.py).

    python tools/extract_features.py --weights runs/rgb/classifier.safetensors --dataset data/ucf101 --part all \\
        --output features/rgb

A run that was stopped goes on where it was: videos whose file is there are passed over.

reads   a model file of train_recognition.py; a dataset (Kinetics, UCF101, HMDB51, folders by class, for detection)
writes  OUTPUT/<video>.npz   features (clips, D), label, seconds; docs/formats.md
prints  a line for each video that cannot be read, and how many there are
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from pathlib import Path


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    from recognition.weights_location import add_fetch_options

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--weights", required=True, metavar="WHERE", help="classifier: a file, https://...#sha256=..., hf://"
    )
    parser.add_argument("--dataset", required=True, help="dataset folder")
    add_fetch_options(parser)
    parser.add_argument("--part", choices=("train", "val", "test", "all"), default="all", help="default: all")
    parser.add_argument("--split", type=int, default=1, help="split of UCF101, HMDB51 or J-HMDB (default 1)")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder of the features")
    parser.add_argument("--clips", type=int, default=20, help="a video, at equal distances (default 20)")
    parser.add_argument("--flow", type=Path, metavar="DIR", help="flow by extract_flow.py; else it is computed")
    parser.add_argument("--batch", type=int, default=4, help="clips that go through the network together (default 4)")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="default: fp32")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--workers", type=int, default=0, help="processes that read videos (default 0: this one)")
    parser.add_argument("--threads", type=int, help="CPU threads")
    return parser.parse_args(argv)


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
        print("interrupted; the same command goes on", file=sys.stderr)
        return 130


def run(args: argparse.Namespace) -> int:
    """Everything after parsing; imports torch."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    import torch
    from tqdm import tqdm

    from recognition.classifier_files import load_classifier
    from recognition.classify import ClassifyConfig
    from recognition.extract_features import extract_features
    from recognition.memory import reuse_large_blocks
    from recognition.weights_location import fetch_of, locate_weights
    from video.class_datasets import open_classes

    reuse_large_blocks()
    if args.threads:
        torch.set_num_threads(args.threads)
    model = load_classifier(locate_weights(args.weights, fetch_of(args)).path, args.device)
    dataset = open_classes(args.dataset, split=args.split, part=args.part)
    config = ClassifyConfig(args.batch, precision=args.precision, flow_folder=args.flow)
    done = failed = 0
    videos = extract_features(model, dataset, args.output, config, args.device, clips=args.clips, workers=args.workers)
    for video in tqdm(videos, total=len(dataset), unit="video", file=sys.stderr, disable=None):
        if video.error:
            print(f"left out: {video.error}", file=sys.stderr)
            failed += 1
        else:
            done += 1
    print(f"{done} videos in {args.output}, {failed} could not be read")
    return 0 if done else 2


if __name__ == "__main__":
    sys.exit(main())
