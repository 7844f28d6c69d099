"""Boxes that may hold an actor, for the frames of a video: one small interface, several sources.

A detector (:class:`DetectorProposer`: the Faster R-CNN family of detection/detectors.py), two of which one sees optical
flow (detection/two_streams.py), detectron2 where it is installed (detection/detectron2_backend.py), or a tube table
of boxes that were made elsewhere (:class:`TableProposer`). :func:`open_proposer` chooses by one word. Whatever the
source:

- one :class:`~linking.records.Detections` for each frame, in the order of the frames, also where nothing is found;
- boxes in pixels of the frame as it was given, inside the picture, best first, at most ``max_boxes``;
- actors only, ``scores`` in 0..1 how sure the source is of an actor, ``class_scores`` None;
- the answer for a frame does not depend on the frames it is asked with.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torchvision.models.detection import FasterRCNN

from detection.detector_files import COCO_DETECTORS, TrainedDetector, coco_detector, load_detector
from detection.detectors import STRIDE, DetectorConfig, detect_boxes, propose_boxes, to_batch, with_mirrored
from detection.detectron2_networks import Detectron2Config
from detection.proposal_batches import (
    ProposalConfig,
    ProposalError,
    check_frames,
    clipped,
    has_area,
    network_size,
    propose_by_size,
    scaled_frames,
)
from detection.two_streams import TwoStreamProposer
from linking.records import Detections
from linking.tables import detections_from_table, read_tubes
from recognition.weights_location import CACHE_ONLY, Fetch, locate_weights

BUNDLED = Path(__file__).resolve().parents[1] / "assets" / "proposals-small.safetensors"
BUNDLED_FLOW = BUNDLED.with_name("proposals-small-flow.safetensors")
TABLE_SUFFIXES = (".csv", ".parquet", ".json")
_DEFAULT = ProposalConfig()


class Proposer(Protocol):
    """What the pipeline asks for boxes."""

    def propose(self, frames: Sequence[np.ndarray], indices: Sequence[int]) -> list[Detections]:
        """Boxes of some frames of one video.

        Args:
            frames: (H, W, 3) uint8 RGB each; sizes may differ.
            indices: 0-based index of each frame in its video; any order.
        """
        ...


class DetectorProposer:
    """Boxes from a Faster R-CNN."""

    def __init__(
        self,
        model: FasterRCNN,
        config: ProposalConfig = _DEFAULT,
        *,
        trained_short_side: int,
        trained_long_side: int | None = None,
        mean: Sequence[float],
        std: Sequence[float],
        padding: int = STRIDE,
        as_detectron2: bool = False,
        label: int = 1,
        mirror: bool = False,
        device: str = "cpu",
    ) -> None:
        """
        Args:
            trained_short_side, trained_long_side: larger frames are scaled down to these.
            mean, std: of pixels in 0..1.
            padding: sides of pictures are padded to a multiple of this.
            as_detectron2: Pillow scales the frames, and boxes thinner than a pixel take part in the NMS.
            label: of the boxes that are asked for; 0 is the background.
            mirror: mirrored frames are looked at as well, where ``config`` does not forbid it.
        """
        self._model = model.eval().to(device, memory_format=torch.channels_last)
        self._config = config
        self._trained_short_side, self._trained_long_side = trained_short_side, trained_long_side
        self._padding, self._as_detectron2 = padding, as_detectron2
        self._mean, self._std = tuple(mean), tuple(std)
        self._label = label
        self._mirror = mirror and config.mirror and config.mode == "actor"
        self._device = torch.device(device)

    def propose(self, frames: Sequence[np.ndarray], indices: Sequence[int]) -> list[Detections]:
        return propose_by_size(frames, indices, self._config, self._propose_batch)

    @torch.inference_mode()
    def _propose_batch(self, frames: np.ndarray) -> list[tuple[Tensor, Tensor]]:
        """(B, H, W, 3) uint8 to boxes and scores of each, in pixels of the frames."""
        height, width = frames.shape[1:3]
        size = self._network_size(height, width)
        pictures = scaled_frames(frames, size, self._device, pillow=self._as_detectron2)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._config.precision == "bf16"):
            boxes, scores = self._boxes_of(pictures)
            if self._mirror:
                mirrored = self._boxes_of(pictures.flip(-1))
                boxes, scores = with_mirrored(boxes, scores, *mirrored, size[1], self._config.nms_iou)
        scale = torch.tensor([width / size[1], height / size[0]] * 2, device=self._device)
        return [(b * scale, s) for b, s in zip(boxes, scores)]

    def _boxes_of(self, pictures: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        config = self._config
        batch = to_batch(pictures, self._mean, self._std, self._padding)
        if config.mode == "objectness":
            return propose_boxes(self._model, batch)
        return detect_boxes(
            self._model,
            batch,
            label=self._label if config.classes == "person" else None,
            min_score=config.min_score,
            min_side=0 if self._as_detectron2 else 1,
            nms_iou=config.nms_iou,
            # one thing with two names is two boxes here
            max_boxes=config.max_boxes if config.classes == "person" else 100 * config.max_boxes,
        )

    def _network_size(self, height: int, width: int) -> tuple[int, int]:
        return network_size(
            height, width, self._config, short_side=self._trained_short_side, long_side=self._trained_long_side
        )


class TableProposer:
    """Boxes of one video from a tube table: other detectors' boxes, tracks, or the annotation itself.

    Tubes and labels of the table do not matter here: every row is a box. A row without a score counts as sure
    (1.0); none is dropped for a low one, whose scale is not ours; ``max_boxes`` holds. Frames without a row have no
    boxes. Boxes that reach over the edge of the picture are cut; a box that lies outside altogether is an error,
    since such a table was made for another size.
    """

    def __init__(self, path: str | Path, video: str, config: ProposalConfig = _DEFAULT) -> None:
        """Read the rows of ``video``: its name in the table, or the last part of it where that is unique.

        Raises ProposalError where the table has no such video, TableError where it is no tube table.
        """
        self._path, self._config = Path(path), config
        table = read_table_once(path)
        names = sorted({*table["video"], *table.attrs.get("videos", {})})
        self.video = name_in_table(self._path, video, names)
        self._found = {found.frame: found for found in detections_from_table(table, self.video)}

    def propose(self, frames: Sequence[np.ndarray], indices: Sequence[int]) -> list[Detections]:
        check_frames(frames, indices)
        return [self._of_frame(int(index), *frame.shape[:2]) for frame, index in zip(frames, indices)]

    def _of_frame(self, index: int, height: int, width: int) -> Detections:
        found = self._found.get(index)
        if found is None:
            return Detections(index, np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
        order = np.argsort(-found.scores, kind="stable")  # equal scores keep the order of the table
        boxes, scores = found.boxes[order], found.scores[order]
        inside = clipped(boxes, height, width)
        outside = ~has_area(inside)
        if outside.any():
            bad = [round(float(value), 1) for value in boxes[np.flatnonzero(outside)[0]]]
            raise ProposalError(
                f"{self._path}: box {bad} of video {self.video!r}, frame {index} lies outside of the picture of "
                f"{width}x{height} pixels; was the table made for another size?"
            )
        # One actor with two labels is one box; the first of equal boxes has the highest score.
        _, first = np.unique(inside, axis=0, return_index=True)
        best = np.sort(first)[: self._config.max_boxes]
        return Detections(index, inside[best], scores[best])


def read_table_once(path: str | Path) -> pd.DataFrame:
    """The tube table at ``path``, kept while the file stays the same: every video of a run asks for it."""
    stat = Path(path).stat() if Path(path).is_file() else None
    return _read_table(str(path), stat.st_mtime_ns if stat else 0, stat.st_size if stat else 0)


@lru_cache(maxsize=1)
def _read_table(path: str, changed: int, size: int) -> pd.DataFrame:
    return read_tubes(path)


def open_proposer(
    source: str | Path,
    *,
    video_name: str | None = None,
    config: ProposalConfig = _DEFAULT,
    device: str = "cpu",
    fetch: Fetch = CACHE_ONLY,
) -> Proposer:
    """The source of boxes that a word of the command line names.

    Args:
        source: "bundled" (the two small detectors that come with the program, for RGB and for flow), "bundled-rgb" (the
            first of them), a ``.safetensors`` file written by train_proposals.py or convert_detectron2.py, two of them
            with a comma between (RGB,flow), "torchvision:NAME" (a detector with COCO weights, see
            COCO_DETECTORS), "detectron2:CONFIG[:WEIGHTS]" (detection/detectron2_backend.py), or a tube table
            (``.csv``, ``.parquet``, ``.json``). Files of networks may lie elsewhere: https://...#sha256=..., hf://owner/repository/file.
        video_name: as the table names it, or the file's name; needed for a table only.
        fetch: whether weights that are not here may be fetched.

    Raises ProposalError, ModelFileError, DownloadError or TableError: one line with the cause and what to do.
    """
    word = str(source)
    files = _words_of_files(word)
    if len(files) == 2:
        rgb, flow = (str(locate_weights(file, fetch).path) for file in files)
        return _two_streams(rgb, flow, config, device)
    if files:
        word = files[0]
    if "://" in word and not word.startswith("detectron2:"):
        word = str(locate_weights(word, fetch).path)
    if word.startswith("torchvision:"):
        coco = coco_detector(word.removeprefix("torchvision:"), fetch=fetch)
        return DetectorProposer(
            coco.model,
            config,
            trained_short_side=coco.short_side,
            mean=coco.mean,
            std=coco.std,
            device=device,
        )
    if word.startswith("detectron2:"):
        from detection.detectron2_backend import Detectron2Proposer

        return Detectron2Proposer(word.removeprefix("detectron2:"), config, device=device, fetch=fetch)
    if word.endswith(".safetensors"):
        return _proposer_of(load_detector(word), Path(word), config, device)
    if word.endswith(TABLE_SUFFIXES):
        if video_name is None:
            raise ProposalError(f"{word}: boxes of a table belong to a video; its name is needed")
        return TableProposer(word, video_name, config)
    known = f"torchvision: and one of {', '.join(COCO_DETECTORS)}"
    raise ProposalError(
        f"{word[:60]}: unknown source of boxes: bundled, bundled-rgb, .safetensors, tube tables "
        f"(.csv, .parquet, .json), detectron2:CONFIG, {known}"
    )


def _two_streams(rgb_file: str, flow_file: str, config: ProposalConfig, device: str) -> Proposer:
    rgb = load_detector(rgb_file)
    alone = _proposer_of(rgb, Path(rgb_file), config, device)
    if config.mode == "objectness":  # the stage that the two do not share
        return alone
    return TwoStreamProposer(rgb, load_detector(flow_file), config, alone=alone, device=device)


def _proposer_of(trained: TrainedDetector, path: Path, config: ProposalConfig, device: str) -> DetectorProposer:
    names, network = trained.class_names, trained.config
    if config.mode == "actor" and not names:
        raise ProposalError(
            f"{path}: a region proposal network finds no actors, only objects: set proposals.mode to objectness"
        )
    if config.classes == "person" and config.mode == "actor" and len(names) > 1 and "person" not in names:
        raise ProposalError(f"{path}: none of its {len(names)} classes is person: set proposals.classes to all")
    if isinstance(network, DetectorConfig) and network.flow is not None:
        raise ProposalError(f"{path}: sees optical flow and goes with a network that sees frames: RGB_FILE,{path}")
    shapes: dict[str, Any] = {}
    if isinstance(network, Detectron2Config):
        shapes = {"trained_long_side": network.trained_long_side, "padding": network.padding, "as_detectron2": True}
    return DetectorProposer(
        trained.model,
        config,
        trained_short_side=network.trained_short_side,
        mean=trained.preprocessing.mean,
        std=trained.preprocessing.std,
        label=names.index("person") + 1 if "person" in names else 1,
        mirror=isinstance(network, DetectorConfig) and network.mirror,
        device=device,
        **shapes,
    )


def files_of(source: str) -> list[Path]:
    """The local files that a word of :func:`open_proposer` names; none for what lies elsewhere."""
    files = [Path(word) for word in _words_of_files(source)]
    return files if all(file.is_file() for file in files) else []


def _words_of_files(source: str) -> list[str]:
    """One or two words for files of networks; none for another kind of source."""
    if source == "bundled":
        return [str(BUNDLED), str(BUNDLED_FLOW)]
    if source == "bundled-rgb":
        return [str(BUNDLED)]
    words = source.split(",")
    if len(words) == 2 and all(word.endswith(".safetensors") or "://" in word for word in words):
        return words
    return [source] if source.endswith(".safetensors") else []


def name_in_table(path: Path, video: str, names: list[str]) -> str:
    """The name of ``video`` in a table with ``names``: itself, or the only one that ends alike.

    Files are ``clip.avi`` where tables say ``class/clip``. ProposalError with the nearest names if there is none.
    """
    if video in names:
        return video
    last = _last_part(video)
    alike = [name for name in names if _last_part(name) == last]
    if len(alike) == 1:
        return alike[0]
    near = alike or difflib.get_close_matches(video, names, 3, cutoff=0.3) or names[:3]
    problem = "is there more than once" if alike else "is not in the table"
    shown = ", ".join(repr(name[:60]) for name in near[:3])
    raise ProposalError(f"{path}: video {video[:80]!r} {problem}; it has {shown or 'no videos'}")


def _last_part(name: str) -> str:
    last = PurePosixPath(name).name
    stem, dot, suffix = last.rpartition(".")
    return stem if dot and suffix.lower() in ("avi", "mp4", "mkv", "mov", "webm", "m4v", "mpg", "mpeg") else last
