"""Write a classifier, a pooling of features or an action scorer as ONNX, and say how near its results are.

    python tools/export_model.py runs/lgd/classifier.safetensors --output lgd.onnx
    python tools/export_model.py assets/scorer-small.safetensors --output scorer.onnx --size 112x148
    python tools/export_model.py runs/tcp/pooling.safetensors --output tcp.onnx

Classifiers and scorers take pixels; normalisation and softmax are inside. Fixed are the size of pictures, and of a
pooling the number of clips of a video; any number of clips (classifier), boxes (scorer) or videos (pooling) works.

classifier  clips (n, T, H, W, C) uint8                                    -> probabilities (n, classes)
scorer      clips (1, T, H, W, C) uint8, regions (n, 5) float32: frame     -> probabilities (n, classes)
            within the clip, x1 y1 x2 y2 in pixels of the clip
pooling     features (n, clips, D) float32, all streams of a clip one      -> probabilities (n, classes)
            behind the other
Class names and preprocessing are in the metadata of the file, as JSON. Needs the extra "export": onnx, onnxscript,
onnxruntime.

prints  the inputs, and the largest difference between ONNX Runtime and PyTorch on random inputs, and on black clips
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from recognition.export import Example


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "model", type=Path, help="model file of train_recognition.py, train_temporal_pooling.py or train_detection.py"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FILE.onnx")
    parser.add_argument("--size", metavar="HxW", help="of the pictures; default: 4:3 at the model's short side")
    parser.add_argument("--frames", type=int, help="of a clip; default: the model's")
    parser.add_argument("--threads", type=int, help="CPU threads")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    try:
        run(args)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def run(args: argparse.Namespace) -> None:
    """Everything after parsing; imports torch."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    import torch

    from recognition.export import export_onnx
    from recognition.model_files import kind_of

    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    kind = kind_of(args.model)
    if kind == "classifier":
        module, example, others, about = classifier(args)
    elif kind == "action-scorer":
        module, example, others, about = scorer(args)
    elif kind == "temporal_pooling":
        module, example, others, about = pooling(args)
    else:
        raise ValueError(f"{args.model}: models of kind {kind!r} are not exported; classifiers, poolings, scorers are")
    worst = export_onnx(module, args.output, example, others, output="probabilities", about=about)
    for name, tensor in example.tensors.items():
        print(f"{name:<10}{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}")
    print(f"largest difference of a probability from PyTorch's: {worst:.1e}")


def classifier(args: argparse.Namespace) -> tuple[nn.Module, Example, list[Example], dict[str, Any]]:
    """The module, an input of two clips, one of three and two black ones, and the metadata."""
    from recognition.classifier_files import load_classifier
    from recognition.export import ClassifierOnPixels
    from recognition.sound_clips import SoundInput

    model = load_classifier(args.model)
    clip = model.clip
    if isinstance(clip, SoundInput):
        shape = (1, clip.mel.bands, clip.columns, 1)
    else:
        frames = args.frames or clip.frames * (clip.test_segments if clip.sampling == "segments" else 1)
        side = clip.test_crop
        size = (side, side) if side and not args.size else size_of(args, clip.test_short_side)
        shape = (frames, *size, clip.channels)
    examples = [pixels(2, *shape), pixels(3, *shape), black(2, *shape)]
    about = {"class_names": model.class_names, "clip": clip.to_dict(), "sha256": model.file.sha256}
    return ClassifierOnPixels(model.network, clip.preprocessing), examples[0], examples[1:], about


def scorer(args: argparse.Namespace) -> tuple[nn.Module, Example, list[Example], dict[str, Any]]:
    """The module, an input with three boxes and one with five, and the metadata."""
    from detection.export import ScorerOnPixels
    from detection.scorer import load_scorer

    model = load_scorer(args.model)
    config = model.network.config
    height, width = size_of(args, config.short_side)
    frames = args.frames or config.clip_frames
    examples = []
    for boxes in (3, 5):
        clips = pixels(1, frames, height, width, config.backbone.in_channels)
        examples.append(with_boxes(clips, boxes, frames, height, width))
    about = {"class_names": model.class_names, "scorer": config.to_dict(), "sha256": model.file.sha256}
    return ScorerOnPixels(model), examples[0], examples[1:], about


def pooling(args: argparse.Namespace) -> tuple[nn.Module, Example, list[Example], dict[str, Any]]:
    """The module, the features of two videos and of three, and the metadata."""
    import torch

    from recognition.export import Example, PoolingOnFeatures
    from recognition.temporal_pooling import load_pooling

    network, file = load_pooling(args.model)
    config = network.config
    if args.size or args.frames:
        raise ValueError(f"{args.model}: pools features; --size and --frames are for what takes pictures")
    examples = [Example({"features": torch.rand(number, config.clips, config.in_features)}) for number in (2, 3)]
    about = {
        "class_names": file.class_names,
        "pooling": config.to_dict(),
        "streams": file.preprocessing.get("streams", []),
        "sha256": file.sha256,
    }
    return PoolingOnFeatures(network), examples[0], examples[1:], about


def pixels(number: int, frames: int, height: int, width: int, channels: int) -> Example:
    """Random clips."""
    import torch

    from recognition.export import Example

    return Example({"clips": torch.randint(0, 256, (number, frames, height, width, channels), dtype=torch.uint8)})


def black(number: int, *shape: int) -> Example:
    """Clips that show nothing: what is zero in a network is then often zero exactly."""
    import torch

    from recognition.export import Example

    return Example({"clips": torch.zeros(number, *shape, dtype=torch.uint8)})


def with_boxes(example: Example, count: int, frames: int, height: int, width: int) -> Example:
    """The same with random boxes."""
    import torch

    from recognition.export import Example

    corner = torch.rand(count, 2) * torch.tensor([width / 2, height / 2])
    far = corner + 1 + torch.rand(count, 2) * torch.tensor([width / 2 - 1, height / 2 - 1])
    frame = torch.randint(0, frames, (count, 1)).float()
    return Example({**example.tensors, "regions": torch.cat([frame, corner, far], dim=1)})


def size_of(args: argparse.Namespace, short_side: int) -> tuple[int, int]:
    """(height, width) that was asked for, or 4:3 at the short side of the model."""
    if not args.size:
        return short_side, round(short_side * 4 / 3)
    height, _, width = args.size.partition("x")
    if not (height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise ValueError(f"--size {args.size}: expected height and width as in 112x148")
    return int(height), int(width)


if __name__ == "__main__":
    sys.exit(main())
