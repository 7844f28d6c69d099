"""Boxes from detectron2 itself, where it is installed: ``detectron2:CONFIG[:WEIGHTS]``.

CONFIG is a name of its model zoo (``COCO-Detection/faster_rcnn_R_101_FPN_3x``) or a file, ``.yaml`` or LazyConfig
``.py`` (whose code is run). WEIGHTS is a file or an address that detectron2 knows; without it those of the zoo are
taken, which --download fetches, or the file that the config names. Checkpoints are read by
detection/detectron2_weights.py, which runs nothing of them, and no weight may be missing: detectron2's own loader only
logs what does not fit, and then detects with random weights.

``detectron2.model_zoo`` is never imported, since it fails with setuptools 82 and later; its files are read instead.
"""

from __future__ import annotations

import ast
import importlib.util
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import torch
from torch import Tensor, nn

from detection.detectron2_weights import OTHER_HEADS, read_checkpoint
from detection.proposal_batches import ProposalConfig, ProposalError, network_size, propose_by_size, scaled_frames
from linking.records import Detections
from recognition.weights_location import CACHE_ONLY, Fetch

PREFIX = "detectron2:"
COCO_CLASSES = 80
PERSON = 0
"""detectron2 counts classes from 0 and has the background last."""
NOT_INSTALLED = (
    "detectron2 is not installed, and pip knows no such package: see "
    "https://detectron2.readthedocs.io/tutorials/install.html, or convert its weights with "
    "tools/convert_detectron2.py, which needs no detectron2"
)


@dataclass(frozen=True, eq=False)
class _Network:
    model: nn.Module
    channels: str
    """"BGR" or "RGB"."""
    short_side: int
    long_side: int
    classes: int
    """0 for a region proposal network."""


class Detectron2Proposer:
    """Boxes from a Faster R-CNN or a region proposal network of detectron2."""

    def __init__(self, word: str, config: ProposalConfig, *, device: str = "cpu", fetch: Fetch = CACHE_ONLY) -> None:
        """Build the network that ``CONFIG[:WEIGHTS]`` names.

        Raises ProposalError, ModelFileError or DownloadError, one line, where detectron2 is missing, where it has no
        such config, and where the weights cannot be had or do not fit.
        """
        if importlib.util.find_spec("detectron2") is None:
            raise ProposalError(f"{PREFIX}{word[:80]}: {NOT_INSTALLED}")
        name, _, weights = word.partition(":")
        path = find_config(name)
        self._config, self._device = config, torch.device(device)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of its own use of torch.jit
            build = _build_lazy if path.suffix == ".py" else _build
            self._network, own_weights = build(path, config, device)
        classes = self._network.classes
        if config.mode == "actor" and config.classes == "person" and classes not in (1, COCO_CLASSES):
            raise ProposalError(f"{path}: which of its {classes} classes is a person? set proposals.classes to all")
        weights = weights or zoo_weights(name) or own_weights
        if not weights:
            raise ProposalError(f"{path}: names no weights: detectron2:CONFIG:WEIGHTS names them")
        _load_(self._network.model, weights, _located(weights, fetch), all_heads=config.mode == "actor")
        self._network.model.eval().to(self._device)

    def propose(self, frames: Sequence[np.ndarray], indices: Sequence[int]) -> list[Detections]:
        return propose_by_size(frames, indices, self._config, self._propose_batch)

    @torch.inference_mode()
    def _propose_batch(self, frames: np.ndarray) -> list[tuple[Tensor, Tensor]]:
        """(B, H, W, 3) uint8 to boxes and scores of each, in pixels of the frames."""
        height, width = frames.shape[1:3]
        network, config = self._network, self._config
        size = network_size(height, width, config, short_side=network.short_side, long_side=network.long_side)
        pictures = scaled_frames(frames, size, self._device, pillow=True).float()
        if network.channels == "BGR":
            pictures = pictures.flip(1)
        asked = [{"image": picture, "height": height, "width": width} for picture in pictures]
        with (
            torch.autocast(self._device.type, torch.bfloat16, enabled=config.precision == "bf16"),
            warnings.catch_warnings(),
        ):
            warnings.filterwarnings("ignore", "torch.meshgrid")
            answers = network.model(asked)
        if config.mode == "objectness":
            found = [answer["proposals"] for answer in answers]
            return [(one.proposal_boxes.tensor, one.objectness_logits.float().sigmoid()) for one in found]
        found = [answer["instances"] for answer in answers]
        if config.classes == "person":
            found = [one[one.pred_classes == PERSON] for one in found]
        return [(one.pred_boxes.tensor, one.scores.float()) for one in found]


def find_config(name: str) -> Path:
    """The config of this name: a file, or one of the model zoo in the installed package; ProposalError if neither."""
    zoo = _package() / "model_zoo" / "configs"
    for path in (Path(name), *(zoo / f"{name}{suffix}" for suffix in ("", ".yaml", ".py"))):
        if path.is_file() and path.suffix in (".yaml", ".yml", ".py"):
            return path
    if not zoo.is_dir():
        raise ProposalError(f"{PREFIX}{name[:80]}: no such file, and this detectron2 came without {zoo}")
    raise ProposalError(
        f"{PREFIX}{name[:80]}: no such .yaml or .py file, and no config of the model zoo, such as "
        "COCO-Detection/faster_rcnn_R_101_FPN_3x"
    )


def zoo_weights(name: str) -> str | None:
    """Where the trained weights of a config of the zoo lie, None for other configs.

    Read from the table in ``model_zoo/model_zoo.py``, which is not run.
    """
    source = _package() / "model_zoo" / "model_zoo.py"
    if not source.is_file():
        return None
    constants: dict[str, Any] = {}
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                constants[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:
                continue
    stem = name.removesuffix(".yaml").removesuffix(".py")
    suffix = constants.get("CONFIG_PATH_TO_URL_SUFFIX", {}).get(stem)
    prefix = constants.get("S3_PREFIX")
    return f"{prefix}{stem}/{suffix}" if suffix and prefix else None


def _package() -> Path:
    spec = importlib.util.find_spec("detectron2")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def _build(path: Path, config: ProposalConfig, device: str) -> tuple[_Network, str]:
    """A network with random weights, and the weights that its config names."""
    from detectron2.config import get_cfg
    from detectron2.modeling import build_model

    settings = get_cfg()
    try:
        settings.merge_from_file(str(path))
    except (KeyError, ValueError, AssertionError) as error:
        raise ProposalError(f"{path}: detectron2 cannot use this config ({_line(error)})") from None
    model = settings.MODEL
    if model.META_ARCHITECTURE not in ("GeneralizedRCNN", "ProposalNetwork"):
        raise ProposalError(f"{path}: a {model.META_ARCHITECTURE}; a GeneralizedRCNN or ProposalNetwork is needed")
    has_boxes = model.META_ARCHITECTURE == "GeneralizedRCNN"
    if config.mode == "actor" and not has_boxes:
        raise ProposalError(f"{path}: a region proposal network finds no actors: set proposals.mode to objectness")
    if config.mode == "objectness":
        model.META_ARCHITECTURE = "ProposalNetwork"
    model.DEVICE = device
    model.MASK_ON = model.KEYPOINT_ON = False
    for part in (model.RESNETS, model.FPN, model.ROI_BOX_HEAD):
        part.NORM = part.NORM.replace("SyncBN", "BN")  # SyncBN needs a GPU
    model.ROI_HEADS.SCORE_THRESH_TEST = config.min_score
    model.ROI_HEADS.NMS_THRESH_TEST = config.nms_iou
    settings.TEST.DETECTIONS_PER_IMAGE = -1  # all: other classes shall take no places
    network = _Network(
        build_model(settings),
        settings.INPUT.FORMAT,
        settings.INPUT.MIN_SIZE_TEST,
        settings.INPUT.MAX_SIZE_TEST,
        model.ROI_HEADS.NUM_CLASSES if has_boxes else 0,
    )
    return network, settings.MODEL.WEIGHTS


def _build_lazy(path: Path, config: ProposalConfig, device: str) -> tuple[_Network, str]:
    """:func:`_build` for configs that are Python code."""
    from detectron2.config import LazyConfig, instantiate
    from detectron2.modeling.meta_arch import GeneralizedRCNN, ProposalNetwork

    try:
        settings = LazyConfig.load(str(path))
        model = settings.model
    except Exception as error:  # the config is code
        raise ProposalError(f"{path}: detectron2 cannot use this config ({_line(error)})") from None
    kind = model.get("_target_")
    if kind is ProposalNetwork and config.mode == "actor":
        raise ProposalError(f"{path}: a region proposal network finds no actors: set proposals.mode to objectness")
    if kind not in (GeneralizedRCNN, ProposalNetwork):
        raise ProposalError(f"{path}: its model is no GeneralizedRCNN or ProposalNetwork")
    channels, classes = model.get("input_format", "BGR"), 0
    if config.mode == "objectness":
        model._target_ = ProposalNetwork
        for name in ("roi_heads", "input_format", "vis_period"):
            model.pop(name, None)
    else:
        heads = model.roi_heads
        for name in list(heads):
            if name.startswith(("mask_", "keypoint_")):
                heads.pop(name)
        classes = heads.num_classes
        heads.box_predictor.test_score_thresh = config.min_score
        heads.box_predictor.test_nms_thresh = config.nms_iou
        heads.box_predictor.test_topk_per_image = -1
    _replace_sync_norm(model)
    short_side, long_side = _test_size(settings)
    network = _Network(instantiate(model).to(device), channels, short_side, long_side, classes)
    return network, str((settings.get("train") or {}).get("init_checkpoint") or "")


def _replace_sync_norm(settings: Any) -> None:
    """SyncBN needs a GPU and, once trained, computes what BN does."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            _replace_sync_norm(value)
        elif isinstance(value, str) and value == "SyncBN":
            settings[name] = "BN"


def _test_size(settings: Any) -> tuple[int, int]:
    """Short and long side of the pictures when testing, as in the config or as in detectron2's COCO networks."""
    try:
        (scaling,) = settings.dataloader.test.mapper.augmentations
        return int(scaling.short_edge_length), int(scaling.max_size)
    except (AttributeError, KeyError, TypeError, ValueError):
        return 800, 1333


def _located(weights: str, fetch: Fetch) -> Path:
    """Where a file or an address lies on this machine; what detectron2 fetched once is found in its cache.

    Raises DownloadError where it would have to be fetched and may not, ProposalError where that fails.
    """
    if "://" not in weights:
        return Path(weights)
    from detectron2.utils.file_io import Detectron2Handler, PathManager
    from iopath.common.file_io import get_cache_dir

    address = weights.replace(Detectron2Handler.PREFIX, Detectron2Handler.S3_DETECTRON2_PREFIX, 1)
    cached = Path(get_cache_dir()) / urlsplit(address).path.lstrip("/")
    if cached.is_file():
        return cached
    fetch.check(weights, cached)
    try:
        return Path(PathManager.get_local_path(address))
    except Exception as error:  # whatever a download can end with
        raise ProposalError(f"{weights}: cannot be fetched ({_line(error)})") from None


def _load_(model: nn.Module, weights: str, path: Path, *, all_heads: bool) -> None:
    """Copy the checkpoint at ``path`` into ``model``; ProposalError unless every weight is there and fits."""
    state = read_checkpoint(path)
    own = model.state_dict()
    optional = OTHER_HEADS if all_heads else ("roi_heads.",)
    unexpected = [
        name
        for name in state
        if name not in own
        and not name.startswith(optional)
        and not name.endswith("num_batches_tracked")
        and "anchor_generator." not in name  # old files hold anchors, mean and deviation, which the config decides
        and name not in ("pixel_mean", "pixel_std")
    ]
    # detectron2 itself fills in a frozen batch norm that has been folded into weight and bias.
    statistics = (".norm.running_mean", ".norm.running_var")
    missing = [name for name in own if name not in state and not name.endswith((*statistics, "num_batches_tracked"))]
    misshapen = [name for name in own if name in state and own[name].shape != state[name].shape]
    kinds = (("missing", missing), ("unexpected", unexpected), ("of another shape", misshapen))
    complaints = [
        f"{len(names)} {kind} ({names[0]}{', ...' if len(names) > 1 else ''})" for kind, names in kinds if names
    ]
    if complaints:
        raise ProposalError(f"{weights}: weights do not fit the config: {'; '.join(complaints)}"[:299])
    remaining = model.load_state_dict({name: state[name] for name in own if name in state}, strict=False)
    lost = [name for name in remaining.missing_keys if not name.endswith("num_batches_tracked")]
    if lost:
        raise ProposalError(f"{weights}: weights do not fit the config: {len(lost)} missing ({lost[0]}, ...)")


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:120]
