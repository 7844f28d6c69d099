"""Detectors from files: our own model files, and torchvision's with the weights it publishes."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torchvision.models import WeightsEnum, get_model, get_model_weights
from torchvision.models.detection import FasterRCNN

from detection.detectors import IMAGENET_MEAN, IMAGENET_STD, DetectorConfig, build_detector
from recognition.model_files import ModelFileError, load_model, load_state_, load_state_strictly_, save_model
from recognition.preprocessing import Preprocessing

Result = TypeVar("Result")

KIND = "proposals"
COCO_DETECTORS = {
    "fasterrcnn_resnet50_fpn": 800,
    "fasterrcnn_resnet50_fpn_v2": 800,
    "fasterrcnn_mobilenet_v3_large_fpn": 800,
    "fasterrcnn_mobilenet_v3_large_320_fpn": 320,
}
"""torchvision's Faster R-CNNs with COCO weights and the short side they were trained for. There are none for
ResNet-101."""


@dataclass(frozen=True)
class TrainedDetector:
    """One of our own detectors, as read from its file."""

    model: FasterRCNN
    config: DetectorConfig
    preprocessing: Preprocessing
    provenance: dict[str, Any]
    sha256: str


@dataclass(frozen=True)
class CocoDetector:
    """A detector of torchvision; COCO's class 1 is "person"."""

    model: FasterRCNN
    short_side: int
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD


def save_detector(path: str | Path, model: FasterRCNN, config: DetectorConfig, provenance: Mapping[str, Any]) -> None:
    """Write a model file with weights in half precision."""
    save_model(
        path,
        model.state_dict(),
        kind=KIND,
        config=dataclasses.asdict(config),
        class_names=["actor"],
        preprocessing=Preprocessing(IMAGENET_MEAN, IMAGENET_STD).to_dict(),
        provenance=provenance,
        store="float16",
    )


def load_detector(path: str | Path) -> TrainedDetector:
    """Read a file of :func:`save_detector`; ModelFileError unless it is whole and fits."""
    file = load_model(path, KIND)
    known = {field.name for field in dataclasses.fields(DetectorConfig)}
    unknown = sorted(set(file.config) - known)
    if unknown:
        raise ModelFileError(f"{path}: unknown network option {unknown[0]!r}: written by a newer version?")
    try:
        config = DetectorConfig(**file.config)
        model = build_detector(config)
        preprocessing = Preprocessing.from_dict(file.preprocessing)
    except (ValueError, TypeError) as error:
        raise ModelFileError(f"{path}: its header describes no network we can build: {error}"[:300]) from None
    load_state_(model, file)
    return TrainedDetector(model.eval(), config, preprocessing, file.provenance, file.sha256)


def coco_detector(name: str, *, proposals: int = 300) -> CocoDetector:
    """A torchvision detector with the COCO weights that torchvision downloads (and keeps for the next time).

    ``proposals`` is the number the box head judges; 300 instead of torchvision's 1000 saves about half of the
    time at 240 pixels. Raises ModelFileError, where there is no network, with the place where the file belongs.
    """
    if name not in COCO_DETECTORS:
        raise ModelFileError(f"torchvision:{name}: no such detector; there are {', '.join(COCO_DETECTORS)}")
    weights = get_model_weights(name).DEFAULT
    model = _fetched(
        name,
        weights,
        lambda: get_model(name, weights=weights, progress=False, rpn_post_nms_top_n_test=proposals),
    )
    return CocoDetector(model.eval(), COCO_DETECTORS[name])


def load_body_(model: FasterRCNN, body: str, source: str) -> None:
    """Copy ImageNet weights into the torchvision ``body`` of a detector.

    ``source`` is "imagenet" (torchvision's own weights, downloaded and kept) or a ``.pth`` file with the
    state_dict of that ResNet. Raises ModelFileError where they cannot be had or do not fit.
    """
    if source == "imagenet":
        weights = get_model_weights(body).DEFAULT
        state = _fetched(body, weights, lambda: weights.get_state_dict(progress=False, check_hash=True))
    else:
        try:
            state = torch.load(source, map_location="cpu", weights_only=True)
        except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
            cause = " ".join(str(error).split())[:100]
            raise ModelFileError(f"{source}: not a readable file of ImageNet weights ({cause})") from None
    own = model.backbone.body.state_dict()
    # The classifier of ImageNet's 1000 classes has no place here; FrozenBatchNorm2d counts no batches.
    fitting = {name: value for name, value in state.items() if not name.startswith("fc.")}
    if "bn1.num_batches_tracked" not in own:
        fitting = {name: value for name, value in fitting.items() if not name.endswith("num_batches_tracked")}
    load_state_strictly_(model.backbone.body, fitting, source)


def _fetched(name: str, weights: WeightsEnum, fetch: Callable[[], Result]) -> Result:
    """What ``fetch`` downloads; where it cannot, one line that says which file belongs where."""
    try:
        return fetch()
    except (OSError, RuntimeError) as error:  # no network; a file that is not what its hash says
        cause = " ".join(str(error).split())[:100]
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        raise ModelFileError(
            f"torchvision:{name}: cannot fetch the weights ({cause}); put {Path(weights.url).name} into {folder}"
        ) from None
