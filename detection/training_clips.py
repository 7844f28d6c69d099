"""Clips with labelled regions, cut at random from annotated videos, to train the action scorer on."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from detection.geometry import network_size
from detection.regions import RegionConfig, sample_regions
from linking.records import Tube
from linking.tables import read_tubes
from recognition.clip_views import change_colour
from video.clips import read_video
from video.datasets import Dataset, LabelledVideo, resized_annotation
from video.flow import FlowSettings, flip
from video.flow_cache import flow_path, open_flow
from video.frames import open_video

CACHE_MARGIN = 1.2
"""Videos are cached this much larger than the clip, so that random crops still hold real detail."""


@dataclass(frozen=True)
class AugmentConfig:
    """How a training clip differs from the video it is cut from."""

    min_crop: float = 0.7
    """Smallest side of the random crop, as a share of the frame's; 1 switches cropping off."""
    aspect: float = 0.1
    """Standard deviation of the logarithm of the crop's aspect ratio."""
    flip: float = 0.5
    """Probability of mirroring left and right."""
    colour: float = 0.3
    """Largest relative change of brightness, contrast and saturation."""
    max_frame_step: int = 1
    """Clips take every n-th frame, n drawn from 1 to this; more than 1 also shows actions faster than they are."""


@dataclass(frozen=True)
class ClipConfig:
    """What one training clip looks like."""

    frames: int = 16
    height: int = 120
    width: int = 160
    key_frames: int = 8
    """Regions are taken from this many frames in the middle of the clip: those it scores at inference."""
    positive: float = 0.75
    """Share of the clips centred on an annotated frame; the others lie anywhere in the video."""
    regions: RegionConfig = field(default_factory=RegionConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)


@dataclass(frozen=True)
class ClipSample:
    """One training clip and its regions."""

    clip: Tensor
    """(T, H, W, 3) uint8, or 2 channels of flow."""
    regions: Tensor
    """(n, 5) float32: frame within the clip, x1 y1 x2 y2 in pixels of the clip."""
    labels: Tensor
    """(n,) int64 class of each region, the number of classes for background."""
    clip_target: Tensor
    """(classes,) float32, sums to 1 over the labels of the clip's actors, all 0 if it has none."""


class TrainingClips(TorchDataset[ClipSample]):
    """Random clips, ``clips_per_video`` of each video an epoch; item ``i`` of epoch ``e`` depends on (seed, e, i) only.

    Decoded videos are kept, slightly larger than the clips need them, until ``cache_gigabytes`` are used.
    """

    def __init__(
        self,
        dataset: Dataset,
        config: ClipConfig,
        *,
        seed: int,
        clips_per_video: int = 1,
        proposals: Mapping[str, dict[int, np.ndarray]] | None = None,
        flow: FlowSettings | None = None,
        flow_folder: Path | None = None,
        cache_gigabytes: float = 4.0,
    ) -> None:
        """With ``flow``, clips are flow pictures instead of frames, read from ``flow_folder`` or else computed."""
        self.dataset, self.config, self.seed = dataset, config, seed
        self.clips_per_video = clips_per_video
        self.proposals = proposals or {}
        self.flow, self.flow_folder = flow, flow_folder
        self.class_index = {name: index for index, name in enumerate(dataset.class_names)}
        self.epoch = 0
        self._cache: dict[int, tuple[np.ndarray, tuple[int, int]]] = {}
        self._cache_bytes_left = int(cache_gigabytes * 1e9)

    def __len__(self) -> int:
        return len(self.dataset.videos) * self.clips_per_video

    def __getitem__(self, index: int) -> ClipSample:
        rng = np.random.default_rng((self.seed, self.epoch, index))
        number = index % len(self.dataset.videos)
        item = self.dataset.videos[number]
        video, size = self._video(number)
        return cut_clip(
            video,
            size,
            item,
            self.class_index,
            self.config,
            rng,
            self.proposals.get(item.annotation.video),
        )

    def _video(self, number: int) -> tuple[np.ndarray, tuple[int, int]]:
        """(T, h, w, channels) uint8 frames or flow at cache size, and the (height, width) of the original."""
        if number in self._cache:
            return self._cache[number]
        item = self.dataset.videos[number]
        with open_video(item.path) as source:
            size = (source.height, source.width)
        short = round(min(self.config.height, self.config.width) * CACHE_MARGIN)
        cache_size = network_size(*size, min(short, min(size)))
        if self.flow is None:
            frames = read_video(item.path, size=cache_size)
        else:
            cached = None if self.flow_folder is None else flow_path(self.flow_folder, item.annotation.video)
            flow = open_flow(item.path, self.flow, cached=cached)
            frames = flow.read(range(flow.num_frames), size=cache_size)
        entry = frames, size
        if entry[0].nbytes <= self._cache_bytes_left:
            self._cache_bytes_left -= entry[0].nbytes
            self._cache[number] = entry
        return entry


def cut_clip(
    video: np.ndarray,
    size: tuple[int, int],
    item: LabelledVideo,
    class_index: dict[str, int],
    config: ClipConfig,
    rng: np.random.Generator,
    proposals: dict[int, np.ndarray] | None = None,
) -> ClipSample:
    """One random clip of ``video``, (T, h, w, 3) uint8 RGB or (T, h, w, 2) uint8 flow, a scaled copy of a video of
    ``size`` = (height, width)."""
    annotation = item.annotation
    if annotation.width is not None:
        annotation = resized_annotation(annotation, size[1], size[0])
    num_frames = len(video)
    last = max((tube.end_frame for tube in annotation.tubes), default=0)
    if last > num_frames:
        warnings.warn(
            f"{item.path}: annotated to frame {last - 1} but only {num_frames} frames can be decoded; "
            "the rest is not used",
            stacklevel=2,
        )
    step = int(rng.integers(1, config.augment.max_frame_step + 1))
    centre = _centre(annotation.tubes, num_frames, config, rng)
    offsets = (np.arange(config.frames) - config.frames // 2) * step
    frames = np.clip(centre + offsets, 0, num_frames - 1)
    middle = slice((config.frames - config.key_frames) // 2, (config.frames + config.key_frames) // 2)
    where, boxes, labels = sample_regions(annotation, class_index, frames[middle], size, config.regions, rng, proposals)
    crop = _random_crop(size, config, rng)
    clip = _crop_and_resize(video, frames, crop, size, config)
    x1, y1, x2, y2 = crop
    scale = np.array([config.width / (x2 - x1), config.height / (y2 - y1)] * 2)
    boxes = (boxes - [x1, y1, x1, y1]) * scale
    visible = _visible_share(boxes, config) >= 0.5
    boxes, labels, where = boxes[visible], labels[visible], where[visible]
    is_flow = clip.shape[-1] == 2
    if rng.random() < config.augment.flip:
        clip = torch.from_numpy(flip(clip.numpy())) if is_flow else clip.flip(2)
        boxes = np.stack([config.width - boxes[:, 2], boxes[:, 1], config.width - boxes[:, 0], boxes[:, 3]], axis=1)
    if not is_flow:
        clip = change_colour(clip, config.augment.colour, rng)
    boxes = np.clip(boxes, 0, [config.width, config.height] * 2)
    position = np.searchsorted(frames, where)
    target = np.zeros(len(class_index), np.float32)
    actions = labels[labels < len(class_index)]
    if len(actions):
        np.add.at(target, actions, 1 / len(actions))
    regions = np.concatenate([position[:, None], boxes], axis=1).astype(np.float32)
    return ClipSample(
        clip, torch.from_numpy(regions), torch.from_numpy(labels.astype(np.int64)), torch.from_numpy(target)
    )


def proposals_of_table(path: str | Path) -> dict[str, dict[int, np.ndarray]]:
    """Boxes of a tube table by video and frame, (n, 4) float32 each, for :class:`TrainingClips`."""
    table = read_tubes(path)
    found: dict[str, dict[int, np.ndarray]] = {}
    for (video, frame), rows in table.groupby(["video", "frame"], sort=False):
        boxes = rows[["x1", "y1", "x2", "y2"]].to_numpy(np.float32)
        found.setdefault(str(video), {})[int(frame)] = boxes
    return found


def collate(samples: list[ClipSample]) -> tuple[Tensor, list[Tensor], Tensor, Tensor]:
    """(B, T, H, W, channels) uint8 clips, regions a clip, all region labels, (B, classes) clip targets."""
    return (
        torch.stack([sample.clip for sample in samples]),
        [sample.regions for sample in samples],
        torch.cat([sample.labels for sample in samples]),
        torch.stack([sample.clip_target for sample in samples]),
    )


def _centre(tubes: Sequence[Tube], num_frames: int, config: ClipConfig, rng: np.random.Generator) -> int:
    annotated = np.unique(np.concatenate([tube.frames for tube in tubes])) if tubes else np.zeros(0, int)
    annotated = annotated[annotated < num_frames]
    if len(annotated) and rng.random() < config.positive:
        return int(rng.choice(annotated))
    return int(rng.integers(num_frames))


def _random_crop(
    size: tuple[int, int], config: ClipConfig, rng: np.random.Generator
) -> tuple[float, float, float, float]:
    """x1 y1 x2 y2 in pixels of the video, about as wide for its height as the clip is."""
    height, width = size
    aspect = config.width / config.height * np.exp(rng.normal(0, config.augment.aspect))
    share = rng.uniform(config.augment.min_crop, 1)
    crop_height = share * min(height, width / aspect)
    crop_width = crop_height * aspect
    x1 = rng.uniform(0, max(0.0, width - crop_width))
    y1 = rng.uniform(0, max(0.0, height - crop_height))
    return x1, y1, x1 + crop_width, y1 + crop_height


def _crop_and_resize(
    video: np.ndarray,
    frames: np.ndarray,
    crop: tuple[float, float, float, float],
    size: tuple[int, int],
    config: ClipConfig,
) -> Tensor:
    """(T, H, W, channels) uint8: the crop, given in pixels of the original, of these frames."""
    rows, columns = video.shape[1] / size[0], video.shape[2] / size[1]
    x1, x2 = round(crop[0] * columns), max(round(crop[2] * columns), round(crop[0] * columns) + 2)
    y1, y2 = round(crop[1] * rows), max(round(crop[3] * rows), round(crop[1] * rows) + 2)
    part = torch.from_numpy(np.ascontiguousarray(video[frames, y1:y2, x1:x2]))
    planes = part.permute(0, 3, 1, 2)  # stays uint8: interpolation rounds by itself
    resized = F.interpolate(planes, (config.height, config.width), mode="bilinear", align_corners=False, antialias=True)
    return resized.permute(0, 2, 3, 1).contiguous()


def _visible_share(boxes: np.ndarray, config: ClipConfig) -> np.ndarray:
    """Share of each box's area inside the clip."""
    inside = np.clip(boxes, 0, [config.width, config.height] * 2)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return (inside[:, 2] - inside[:, 0]) * (inside[:, 3] - inside[:, 1]) / np.maximum(area, 1e-6)
