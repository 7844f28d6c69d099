"""Make a file of proposals from a checkpoint of detectron2; running it needs no detectron2, nor does using the file.

    python tools/convert_detectron2.py model_final_f6e8b1.pkl --output coco-r101-fpn.safetensors
    python tools/convert_detectron2.py output/model_final.pth --output actors.safetensors --class-names actor
    python tools/detect_video.py my.mp4 --proposals coco-r101-fpn.safetensors
    python tools/train_proposals.py --weights coco-r101-fpn.safetensors --dataset data/jhmdb --output runs/actors

reads   a .pkl of detectron2's model zoo (nothing in it is run) or a .pth of its trainer: Faster, Mask or Keypoint R-CNN
        or RPN on ResNet-50, 101 or 152, with a feature pyramid or without (C4)
writes  a proposals file for detect_video.py and train_proposals.py
prints  what network it is, as JSON

The boxes are those of detectron2 up to rounding. The weights keep their licence: those of the zoo are CC BY-SA 3.0.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help=".pkl or .pth file")
    parser.add_argument("--output", "-o", required=True, type=Path, help=".safetensors file to write")
    parser.add_argument("--class-names", help="names of the classes, with commas between them (default: COCO's, actor)")
    parser.add_argument(
        "--proposals",
        type=int,
        default=1000,
        help="boxes that the second stage judges (default 1000, as detectron2; 300 take less than half of the time)",
    )
    parser.add_argument("--short-side", type=int, default=800, help="INPUT.MIN_SIZE_TEST of its config (default 800)")
    parser.add_argument("--long-side", type=int, default=1333, help="INPUT.MAX_SIZE_TEST of its config (default 1333)")
    parser.add_argument(
        "--torchvision-body",
        action="store_true",
        help="trained from torchvision's ImageNet weights (RGB, STRIDE_IN_1X1 False), not from MSRA's as in the zoo",
    )
    parser.add_argument("--half", action="store_true", help="store half precision: half the file, boxes move a little")
    parser.add_argument("--licence", default="", help="licence of the weights, to be kept in the file")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    try:
        print(json.dumps(run(args), indent=1))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    return 0


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Everything after parsing; imports torch."""
    import dataclasses

    from detection.detector_files import save_detector
    from detection.detectron2_weights import convert_checkpoint
    from recognition.model_files import ModelFileError, file_sha256

    if args.output.suffix != ".safetensors":
        raise ModelFileError(f"{args.output}: the name must end in .safetensors")
    names = [name.strip() for name in args.class_names.split(",")] if args.class_names else None
    converted = convert_checkpoint(
        args.checkpoint, torchvision_body=args.torchvision_body, class_names=names, proposals=args.proposals
    )
    config = dataclasses.replace(converted.config, trained_short_side=args.short_side, trained_long_side=args.long_side)
    provenance = {
        "converted_from": args.checkpoint.name,
        "sha256": file_sha256(args.checkpoint),
        "licence": args.licence or "that of the checkpoint; detectron2's model zoo: CC BY-SA 3.0",
    }
    save_detector(
        args.output,
        converted.model,
        config,
        provenance,
        preprocessing=converted.preprocessing,
        class_names=converted.class_names,
        store="float16" if args.half else "float32",
    )
    kinds = converted.class_names
    shown = ", ".join(kinds[:3]) + (f", ... ({len(kinds)})" if len(kinds) > 3 else "")
    return {
        "file": str(args.output),
        **dataclasses.asdict(config),
        "classes": shown or "none: a region proposal network, for proposals.mode=objectness",
        **provenance,
    }


if __name__ == "__main__":
    sys.exit(main())
