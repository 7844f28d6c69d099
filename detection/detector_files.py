"""Detectors from files: our own model files, and torchvision's with the weights it publishes.

A model file holds a network of detection/detectors.py or, where its config has ``layout: detectron2``, one of
detection/detectron2_networks.py.
"""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor
from torchvision.models import get_model, get_model_weights
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.image_list import ImageList

from detection.detectors import IMAGENET_MEAN, IMAGENET_STD, STRIDE, DetectorConfig, build_detector, to_batch
from detection.detectron2_networks import Detectron2Config, unfilled_detectron2_network
from detection.motion import stack_preprocessing
from recognition.model_files import ModelFileError, load_model, load_state_, load_state_strictly_, save_model
from recognition.preprocessing import Preprocessing
from recognition.weights_location import CACHE_ONLY, Fetch, published_state

Result = TypeVar("Result")

KIND = "proposals"
_DETECTRON2 = "detectron2"
_IMAGENET = Preprocessing(IMAGENET_MEAN, IMAGENET_STD)
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
    """A detector as read from its file."""

    model: FasterRCNN
    config: DetectorConfig | Detectron2Config
    preprocessing: Preprocessing
    class_names: tuple[str, ...]
    """Of outputs 1, 2, ... of the box head; ("actor",) for our own."""
    provenance: dict[str, Any]
    sha256: str


@dataclass(frozen=True)
class CocoDetector:
    """A detector of torchvision; COCO's class 1 is "person"."""

    model: FasterRCNN
    short_side: int
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD


def save_detector(
    path: str | Path,
    model: FasterRCNN,
    config: DetectorConfig | Detectron2Config,
    provenance: Mapping[str, Any],
    *,
    preprocessing: Preprocessing = _IMAGENET,
    class_names: Sequence[str] = ("actor",),
    store: Literal["float32", "float16"] = "float16",
) -> None:
    """Write a model file, by default with weights in half precision."""
    layout = {"layout": _DETECTRON2} if isinstance(config, Detectron2Config) else {}
    save_model(
        path,
        model.state_dict(),
        kind=KIND,
        config=layout | dataclasses.asdict(config),
        class_names=class_names,
        preprocessing=preprocessing.to_dict(),
        provenance=provenance,
        store=store,
    )


def load_detector(path: str | Path) -> TrainedDetector:
    """Read a file of :func:`save_detector`; ModelFileError unless it is whole and fits."""
    file = load_model(path, KIND)
    options = dict(file.config)
    layout = options.pop("layout", None)
    kind = Detectron2Config if layout == _DETECTRON2 else DetectorConfig
    known = {field.name for field in dataclasses.fields(kind)}
    unknown = sorted(set(options) - known)
    if layout not in (None, _DETECTRON2) or unknown:
        what = f"option {unknown[0]!r}" if unknown else f"layout {layout!r}"
        raise ModelFileError(f"{path}: unknown network {what}: written by a newer version?")
    try:
        config = kind(**options)
        model = unfilled_detectron2_network(config) if isinstance(config, Detectron2Config) else build_detector(config)
        preprocessing = Preprocessing.from_dict(file.preprocessing)
    except (ValueError, TypeError) as error:
        raise ModelFileError(f"{path}: its header describes no network we can build: {error}"[:300]) from None
    load_state_(model, file)
    return TrainedDetector(model.eval(), config, preprocessing, file.class_names, file.provenance, file.sha256)


def as_actor_detector(trained: TrainedDetector, path: str | Path) -> TrainedDetector:
    """The network with one class, actor, to begin a training with: as the person of its classes, if there is one.

    Its own networks have that one class already. Raises ModelFileError for a region proposal network alone.
    """
    names, config = trained.class_names, trained.config
    if not isinstance(config, Detectron2Config) or len(names) == 1:
        return trained
    if not names:
        raise ModelFileError(f"{path}: a region proposal network alone is not trained here: take a Faster R-CNN")
    person = names.index("person") + 1 if "person" in names else 1
    config = dataclasses.replace(config, classes=1)
    model = unfilled_detectron2_network(config)
    weights = trained.model.state_dict()
    for kind in ("weight", "bias"):
        scores, boxes = (f"roi_heads.box_predictor.{part}.{kind}" for part in ("cls_score", "bbox_pred"))
        weights[scores] = weights[scores][[0, person]]
        weights[boxes] = torch.cat([weights[boxes][:4], weights[boxes][4 * person : 4 * person + 4]])
    load_state_strictly_(model, weights, str(path))
    return dataclasses.replace(trained, model=model, config=config, class_names=("actor",))


def preprocessing_of(config: DetectorConfig | Detectron2Config) -> Preprocessing:
    """Normalisation of a network that begins with random weights, or with those of ImageNet."""
    if isinstance(config, DetectorConfig) and config.flow is not None:
        return stack_preprocessing(len(config.flow_frames))
    return _IMAGENET


def batch_maker(
    config: DetectorConfig | Detectron2Config, preprocessing: Preprocessing
) -> Callable[[Tensor], ImageList]:
    """What turns (B, channels, H, W) pictures in 0..255 into the input of the network."""
    padding = config.padding if isinstance(config, Detectron2Config) else STRIDE
    return partial(to_batch, mean=preprocessing.mean, std=preprocessing.std, padding=padding)


def coco_detector(name: str, *, proposals: int = 300, fetch: Fetch = CACHE_ONLY) -> CocoDetector:
    """A torchvision detector with the COCO weights that torchvision publishes, fetched if ``fetch`` allows it.

    ``proposals`` is the number the box head judges; 300 instead of torchvision's 1000 saves about half of the
    time at 240 pixels. Raises ModelFileError or DownloadError, one line, where the weights cannot be had.
    """
    if name not in COCO_DETECTORS:
        raise ModelFileError(f"torchvision:{name}: no such detector; there are {', '.join(COCO_DETECTORS)}")
    weights = get_model_weights(name).DEFAULT
    published_state(weights, fetch)  # refuses a file that holds more than tensors, which get_model would run
    try:
        # torchvision's own way: its networks with weights differ from those without (batch norms, their epsilon)
        model = get_model(name, weights=weights, progress=False, rpn_post_nms_top_n_test=proposals)
    except RuntimeError as error:
        cause = " ".join(str(error).split())[:100]
        raise ModelFileError(f"torchvision:{name}: the weights do not fit the network ({cause})") from None
    return CocoDetector(model.eval(), COCO_DETECTORS[name])


def load_body_(model: FasterRCNN, body: str, source: str) -> None:
    """Copy ImageNet weights into the torchvision ``body`` of a detector.

    ``source`` is "imagenet" (torchvision's own weights, downloaded and kept) or a ``.pth`` file with the
    state_dict of that ResNet. Raises ModelFileError where they cannot be had or do not fit.
    """
    if source == "imagenet":
        weights = get_model_weights(body).DEFAULT
        state = published_state(weights)
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
