"""Boxes of detectron2 itself, recorded for the tests that run without it.

    python benchmarks/record_detectron2.py tests/detectron2_recorded.json --commit 02b5c4e
    python benchmarks/record_detectron2.py --compare --depth 101 [--double]

Needs an installed detectron2. Weights are made up by tests/detectron2_checkpoints.py, whose names and shapes are
checked against the networks of detectron2, written as its model zoo's files are, and run by its DefaultPredictor.
With --compare nothing is written: the boxes of a converted file are compared with those of detectron2. --double
computes both in float64, also where detectron2 itself goes back to float32: what is left is no rounding.
"""

from __future__ import annotations

import argparse
import datetime
import json
import pickle
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from detection.detector_files import save_detector
from detection.detectron2_backend import find_config
from detection.detectron2_weights import convert_checkpoint
from detection.proposals import ProposalConfig, open_proposer
from tests.detectron2_checkpoints import checkpoint, names_and_shapes, picture

SHORT_SIDE = 128
SIZES = [(96, 128), (97, 131)]
KEPT = 25  # recorded of each picture
PROPOSALS = {True: 100, False: 20}
RESIZED = [(240, 320), (1080, 1920), (720, 1280), (333, 500), (97, 131), (128, 4000), (480, 481)]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", nargs="?", type=Path)
    parser.add_argument("--commit", help="of detectron2")
    parser.add_argument("--compare", action="store_true")
    parser.add_argument("--depth", type=int, default=50, choices=(50, 101))
    parser.add_argument("--double", action="store_true", help="compare in float64")
    args = parser.parse_args(argv)
    if not args.compare and not (args.output and args.commit):
        parser.error("give the file to write and the commit of detectron2, or --compare")
    check_names()
    if args.double:
        compute_in_double()
    if args.compare:
        for line in compared(args.depth):
            print(json.dumps(line))
        return 0
    from detectron2.data.transforms import ResizeShortestEdge

    record = {
        "by": "benchmarks/record_detectron2.py",
        "detectron2": args.commit,
        "torch": torch.__version__,
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "resized": [[h, w, *ResizeShortestEdge.get_output_shape(h, w, 800, 1333)] for h, w in RESIZED],
        "boxes": [
            {"pyramid": pyramid, "mode": mode, "proposals": PROPOSALS[pyramid], "pictures": pictures}
            for pyramid in (True, False)
            for mode, pictures in recorded(pyramid)
        ],
    }
    args.output.write_text(json.dumps(record, separators=(",", ":")) + "\n")
    return 0


def compute_in_double() -> None:
    """From now on detectron2 and converted files compute in float64 from the picture to the box."""
    import detectron2.modeling.proposal_generator.proposal_utils as theirs_rpn
    import detectron2.modeling.roi_heads.fast_rcnn as theirs_boxes
    from detectron2.engine import DefaultPredictor
    from detectron2.structures import Boxes
    from torchvision.models.detection.image_list import ImageList
    from torchvision.ops import boxes as torchvision_boxes

    from detection import proposals

    def keep_boxes(self: Any, tensor: Any) -> None:
        self.tensor = torch.as_tensor(tensor).reshape(-1, 4)

    def batched_nms(boxes: torch.Tensor, scores: torch.Tensor, of: torch.Tensor, iou: float) -> torch.Tensor:
        return torchvision_boxes.batched_nms(boxes.double(), scores.double(), of, iou)

    def double(init: Any, attribute: str) -> Any:
        def and_double(self: Any, *args: Any, **options: Any) -> None:
            init(self, *args, **options)
            getattr(self, attribute).double()

        return and_double

    def to_batch(pictures: torch.Tensor, mean: Any, std: Any, padding: int) -> ImageList:
        shift, scale = (torch.tensor(v, dtype=torch.float64).view(1, 3, 1, 1) * 255 for v in (mean, std))
        height, width = pictures.shape[-2:]
        padded = torch.nn.functional.pad(
            (pictures.double() - shift) / scale, (0, -width % padding, 0, -height % padding)
        )
        return ImageList(padded, [(height, width)] * len(pictures))

    Boxes.__init__ = keep_boxes  # type: ignore[method-assign, unused-ignore]
    theirs_rpn.batched_nms = theirs_boxes.batched_nms = batched_nms
    DefaultPredictor.__init__ = double(DefaultPredictor.__init__, "model")
    proposals.DetectorProposer.__init__ = double(proposals.DetectorProposer.__init__, "_model")  # type: ignore[method-assign]
    proposals.to_batch = to_batch  # type: ignore[assignment]


def check_names() -> None:
    """The made-up checkpoints have exactly the names and shapes of detectron2's networks."""
    from detectron2.config import LazyConfig, instantiate
    from detectron2.modeling import build_model

    for depth in (50, 101):
        for pyramid, kind in ((True, "FPN"), (False, "C4")):
            name = f"COCO-Detection/faster_rcnn_R_{depth}_{kind}_3x"
            _same(build_model(_config(name)), dict(names_and_shapes(depth, pyramid, 80, False)), name)
    for pyramid, kind in ((True, "FPN"), (False, "C4")):
        name = f"COCO-Detection/rpn_R_50_{kind}_1x"
        _same(build_model(_config(name)), dict(names_and_shapes(50, pyramid, 0, False)), name)
    name = "new_baselines/mask_rcnn_R_50_FPN_100ep_LSJ"
    model = instantiate(LazyConfig.load(str(find_config(name))).model)
    _same(model, dict(names_and_shapes(50, True, 80, True)), name)


def _same(model: torch.nn.Module, ours: dict[str, tuple[int, ...]], name: str) -> None:
    theirs = {
        key: tuple(value.shape)
        for key, value in model.state_dict().items()
        if not key.endswith("num_batches_tracked") and ".mask_head." not in key
    }
    if ours != theirs:
        raise SystemExit(f"{name}: names or shapes differ: {sorted(set(ours.items()) ^ set(theirs.items()))[:4]}")


def _config(name: str, mode: str = "actor", proposals: int = 1000, weights: str = "") -> Any:
    from detectron2.config import get_cfg

    config = get_cfg()
    config.merge_from_file(str(find_config(name)))
    config.MODEL.DEVICE = "cpu"
    config.MODEL.WEIGHTS = weights
    config.MODEL.RPN.POST_NMS_TOPK_TEST = proposals
    config.MODEL.ROI_HEADS.SCORE_THRESH_TEST = 0.02
    config.TEST.DETECTIONS_PER_IMAGE = -1
    config.INPUT.MIN_SIZE_TEST = SHORT_SIDE
    if mode == "objectness":
        config.MODEL.META_ARCHITECTURE = "ProposalNetwork"
    return config


def predicted(config: Any, frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Boxes and scores of persons, or of objects, by detectron2's own DefaultPredictor, best first."""
    from detectron2.engine import DefaultPredictor

    with torch.no_grad():
        answer = DefaultPredictor(config)(frame[:, :, ::-1])
    if "proposals" in answer:
        found = answer["proposals"]
        return found.proposal_boxes.tensor.numpy(), found.objectness_logits.sigmoid().numpy()
    found = answer["instances"][answer["instances"].pred_classes == 0]
    return found.pred_boxes.tensor.numpy(), found.scores.numpy()


def recorded(pyramid: bool, depth: int = 50) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Mode, and of each picture the best boxes of detectron2."""
    with tempfile.TemporaryDirectory() as folder:
        path = _zoo_file(Path(folder), depth, pyramid)
        for mode in ("actor", "objectness"):
            pictures = []
            for number, size in enumerate(SIZES):
                config = _config(_name(depth, pyramid), mode, PROPOSALS[pyramid], str(path))
                boxes, scores = predicted(config, picture(*size, seed=number))
                pictures.append(
                    {
                        "size": size,
                        "seed": number,
                        "boxes": boxes[:KEPT].astype(float).round(4).tolist(),
                        "scores": scores[:KEPT].astype(float).round(6).tolist(),
                    }
                )
            yield mode, pictures


def compared(depth: int) -> Iterator[dict[str, Any]]:
    """Largest differences between detectron2 and the converted file over all boxes of all pictures."""
    with tempfile.TemporaryDirectory() as folder:
        for pyramid in (True, False):
            path, proposals = _zoo_file(Path(folder), depth, pyramid), 1000 if pyramid else 100
            converted = convert_checkpoint(path, proposals=proposals)
            file = path.with_suffix(".safetensors")
            save_detector(
                file,
                converted.model,
                converted.config,
                {},
                preprocessing=converted.preprocessing,
                class_names=converted.class_names,
                store="float32",
            )
            for mode in ("actor", "objectness"):
                settings = ProposalConfig(mode=mode, max_boxes=1000, min_score=0.02, short_side=SHORT_SIDE)
                source = open_proposer(file, config=settings)
                for size in SIZES:
                    theirs, their_scores = predicted(
                        _config(_name(depth, pyramid), mode, proposals, str(path)), picture(*size)
                    )
                    theirs, their_scores = theirs[their_scores >= 0.02], their_scores[their_scores >= 0.02]
                    (ours,) = source.propose([picture(*size)], [0])
                    apart = np.abs(ours.boxes[:, None] - theirs[None]).max(-1)
                    # Two anchors may end as one box at the edges of the picture: their scores tell them apart.
                    scores_apart = np.abs(ours.scores[:, None] - their_scores[None])
                    nearest = np.arange(len(ours)), (apart + scores_apart).argmin(1)
                    yield {
                        "network": _name(depth, pyramid),
                        "mode": mode,
                        "size": size,
                        "boxes": [len(theirs), len(ours)],
                        "pixels": float(apart[nearest].max()),
                        "scores": float(scores_apart[nearest].max()),
                    }


def _name(depth: int, pyramid: bool) -> str:
    return f"COCO-Detection/faster_rcnn_R_{depth}_{'FPN' if pyramid else 'C4'}_3x"


def _zoo_file(folder: Path, depth: int, pyramid: bool) -> Path:
    path = folder / f"{depth}-{pyramid}.pkl"
    content = {"model": checkpoint(depth, pyramid=pyramid), "__author__": "Detectron2 Model Zoo"}
    path.write_bytes(pickle.dumps(content, protocol=4))
    return path


if __name__ == "__main__":
    sys.exit(main())
