"""Boxes that may hold an actor, for the frames of a video: one small interface, two sources.

A detector (:class:`DetectorProposer`: the Faster R-CNN family of detection/detectors.py) or a tube table of boxes that
were made elsewhere (:class:`TableProposer`). :func:`open_proposer` chooses by one word. Whatever the source:

- one :class:`~linking.records.Detections` for each frame, in the order of the frames, also where nothing is found;
- boxes in pixels of the frame as it was given, inside the picture, best first, at most ``max_boxes``;
- actors only, ``scores`` in 0..1 how sure the source is of an actor, ``class_scores`` None;
- the answer for a frame does not depend on the frames it is asked with.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Literal, Protocol

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN

from detection.detector_files import COCO_DETECTORS, coco_detector, load_detector
from detection.detectors import detect_boxes, propose_boxes, to_batch
from linking.records import Detections
from linking.tables import detections_from_table, read_tubes

BUNDLED = Path(__file__).resolve().parents[1] / "assets" / "proposals-small.safetensors"
TABLE_SUFFIXES = (".csv", ".parquet", ".json")


class ProposalError(ValueError):
    """Proposals that cannot be had as asked; the text is one line with the cause and what to do."""


class Proposer(Protocol):
    """What the pipeline asks for boxes."""

    def propose(self, frames: Sequence[np.ndarray], indices: Sequence[int]) -> list[Detections]:
        """Boxes of some frames of one video.

        Args:
            frames: (H, W, 3) uint8 RGB each; sizes may differ.
            indices: 0-based index of each frame in its video; any order.
        """
        ...


@dataclass(frozen=True)
class ProposalConfig:
    """What is asked of a source of boxes."""

    mode: Literal["actor", "objectness"] = "actor"
    """"objectness" stops after the region proposal network, the literal reading of the LGD paper (section 5.6)."""
    max_boxes: int = 10
    """Kept in each frame."""
    min_score: float = 0.02
    """Boxes with a lower score are dropped; low, since linking finds actors by weak boxes too."""
    nms_iou: float = 0.5
    """Of two boxes that overlap more the surer one stays ("objectness": 0.7, inside the network)."""
    short_side: int | None = None
    """Frames are scaled to this short side in pixels; None: down to the network's own, never up."""
    batch_size: int = 4
    """Frames that go through the network together; bounds the memory."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16 is up to 1.8 times as fast on CPUs that have it and moves boxes by fractions of a pixel."""

    def __post_init__(self) -> None:
        if self.max_boxes < 1 or self.batch_size < 1:
            raise ValueError(f"max_boxes and batch_size must be 1 or more, got {self.max_boxes}, {self.batch_size}")
        if self.short_side is not None and self.short_side < 32:
            raise ValueError(f"short_side must be 32 or more, got {self.short_side}")


class DetectorProposer:
    """Boxes from a Faster R-CNN."""

    def __init__(
        self,
        model: FasterRCNN,
        config: ProposalConfig = ProposalConfig(),
        *,
        trained_short_side: int,
        mean: Sequence[float],
        std: Sequence[float],
        label: int = 1,
        device: str = "cpu",
    ) -> None:
        self._model = model.eval().to(device, memory_format=torch.channels_last)
        self._config = config
        self._trained_short_side = trained_short_side
        self._mean, self._std = tuple(mean), tuple(std)
        self._label = label
        self._device = torch.device(device)

    def propose(self, frames: Sequence[np.ndarray], indices: Sequence[int]) -> list[Detections]:
        _check(frames, indices)
        # Frames of one size share a batch: padding to a common size would change what is found.
        by_size: dict[tuple[int, ...], list[int]] = {}
        for place, frame in enumerate(frames):
            by_size.setdefault(frame.shape[:2], []).append(place)
        found: dict[int, Detections] = {}
        for places in by_size.values():
            for start in range(0, len(places), self._config.batch_size):
                batch = places[start : start + self._config.batch_size]
                answers = self._propose_batch(np.stack([frames[place] for place in batch]))
                for place, (boxes, scores) in zip(batch, answers):
                    found[place] = Detections(int(indices[place]), boxes, scores)
        return [found[place] for place in range(len(frames))]

    @torch.inference_mode()
    def _propose_batch(self, frames: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """(B, H, W, 3) uint8 to boxes and scores of each, in pixels of the frames."""
        height, width = frames.shape[1:3]
        size = self._network_size(height, width)
        pictures = torch.from_numpy(frames).to(self._device).permute(0, 3, 1, 2)
        if size != (height, width):
            pictures = nn.functional.interpolate(
                pictures.float(), size, mode="bilinear", antialias=True, align_corners=False
            )
        batch = to_batch(pictures, self._mean, self._std)
        config = self._config
        with torch.autocast(self._device.type, torch.bfloat16, enabled=config.precision == "bf16"):
            if config.mode == "objectness":
                boxes, scores = propose_boxes(self._model, batch)
            else:
                boxes, scores = detect_boxes(
                    self._model,
                    batch,
                    label=self._label,
                    min_score=config.min_score,
                    nms_iou=config.nms_iou,
                    max_boxes=config.max_boxes,
                )
        scale = torch.tensor([width / size[1], height / size[0]] * 2, device=self._device)
        return [self._finish(b * scale, s, height, width) for b, s in zip(boxes, scores)]

    def _network_size(self, height: int, width: int) -> tuple[int, int]:
        wanted = self._config.short_side or min(self._trained_short_side, min(height, width))
        scale = wanted / min(height, width)
        return max(1, round(height * scale)), max(1, round(width * scale))

    def _finish(self, boxes: Tensor, scores: Tensor, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        inside = _clipped(boxes.cpu().numpy(), height, width)
        kept = _has_area(inside) & (scores.cpu().numpy() >= self._config.min_score)
        best = np.flatnonzero(kept)[: self._config.max_boxes]
        return inside[best], scores.cpu().numpy()[best]


class TableProposer:
    """Boxes of one video from a tube table: other detectors' boxes, tracks, or the annotation itself.

    Tubes and labels of the table do not matter here: every row is a box. A row without a score counts as sure
    (1.0); none is dropped for a low one, whose scale is not ours; ``max_boxes`` holds. Frames without a row have no
    boxes. Boxes that reach over the edge of the picture are cut; a box that lies outside altogether is an error,
    since such a table was made for another size.
    """

    def __init__(self, path: str | Path, video: str, config: ProposalConfig = ProposalConfig()) -> None:
        """Read the rows of ``video``: its name in the table, or the last part of it where that is unique.

        Raises ProposalError where the table has no such video, TableError where it is no tube table.
        """
        self._path, self._config = Path(path), config
        table = read_table_once(path)
        names = sorted({*table["video"], *table.attrs.get("videos", {})})
        self.video = name_in_table(self._path, video, names)
        self._found = {found.frame: found for found in detections_from_table(table, self.video)}

    def propose(self, frames: Sequence[np.ndarray], indices: Sequence[int]) -> list[Detections]:
        _check(frames, indices)
        return [self._of_frame(int(index), *frame.shape[:2]) for frame, index in zip(frames, indices)]

    def _of_frame(self, index: int, height: int, width: int) -> Detections:
        found = self._found.get(index)
        if found is None:
            return Detections(index, np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
        order = np.argsort(-found.scores, kind="stable")  # equal scores keep the order of the table
        boxes, scores = found.boxes[order], found.scores[order]
        inside = _clipped(boxes, height, width)
        outside = ~_has_area(inside)
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
    config: ProposalConfig = ProposalConfig(),
    device: str = "cpu",
) -> Proposer:
    """The source of boxes that a word of the command line names.

    Args:
        source: "bundled" (the small detector that comes with the program), a ``.safetensors`` file written by
            train_proposals.py, "torchvision:NAME" (a detector with COCO weights, see COCO_DETECTORS), or a tube
            table (``.csv``, ``.parquet``, ``.json``).
        video_name: as the table names it, or the file's name; needed for a table only.

    Raises ProposalError, ModelFileError or TableError: one line with the cause and what to do.
    """
    word = str(source)
    if word.startswith("torchvision:"):
        coco = coco_detector(word.removeprefix("torchvision:"))
        return DetectorProposer(
            coco.model,
            config,
            trained_short_side=coco.short_side,
            mean=coco.mean,
            std=coco.std,
            device=device,
        )
    if word == "bundled" or word.endswith(".safetensors"):
        trained = load_detector(BUNDLED if word == "bundled" else word)
        return DetectorProposer(
            trained.model,
            config,
            trained_short_side=trained.config.trained_short_side,
            mean=trained.preprocessing.mean,
            std=trained.preprocessing.std,
            device=device,
        )
    if word.endswith(TABLE_SUFFIXES):
        if video_name is None:
            raise ProposalError(f"{word}: boxes of a table belong to a video; its name is needed")
        return TableProposer(word, video_name, config)
    known = ", ".join(f"torchvision:{name}" for name in COCO_DETECTORS)
    raise ProposalError(
        f"{word}: unknown source of boxes: bundled, a .safetensors file, a tube table (.csv, .parquet, .json), {known}"
    )


def _check(frames: Sequence[np.ndarray], indices: Sequence[int]) -> None:
    if len(frames) != len(indices):
        raise ValueError(f"every frame needs its index, got {len(frames)} frames and {len(indices)} indices")
    for frame in frames:
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape:
            raise ValueError(f"a frame must be (H, W, 3) uint8, got {frame.shape} {frame.dtype}")


def _clipped(boxes: np.ndarray, height: int, width: int) -> np.ndarray:
    return np.clip(boxes, 0, np.array([width, height, width, height], np.float32))


def _has_area(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])


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
