"""Which classes does a video show? The scores of clips at equal distances, averaged (CVPR 2019, section 5.2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from eval.class_scores import ClassScores
from recognition.clip_sampling import uniform_frames
from recognition.clip_views import whole_size, whole_view
from recognition.preprocessing import normalise_clips
from recognition.sound_clips import NetworkInput, SoundInput, uniform_pictures
from video.class_datasets import ClassDataset, ClassifiedVideo
from video.clip_store import ClipStore
from video.source import VideoError

_MEMORY = 0.5
"""Gigabytes of one video that are decoded in one go; longer ones are read clip by clip."""


@dataclass(frozen=True)
class ClassifyConfig:
    """How a video is classified; of what it is fed, ``ClipInput`` or ``SoundInput`` says the rest."""

    batch_clips: int = 4
    """Clips that go through the network together."""
    paths: Literal["first", "mean"] = "first"
    """Scores are those of the first head, or the mean of all heads' (Eq. 6 trains two)."""
    precision: Literal["fp32", "bf16"] = "fp32"
    flow_folder: Path | None = None
    """Where tools/extract_flow.py put the flow of the videos; None computes it, which takes long."""


@dataclass(frozen=True)
class VideoClips:
    """The test clips of one video."""

    clips: Tensor
    """(n, T, H, W, C) uint8."""
    frames: np.ndarray
    """(n, T) index of each frame within the (labelled part of the) video; of sound there are no frames, (n, 0)."""


def clips_of(video: ClassifiedVideo, clip: NetworkInput, flow_folder: Path | None = None) -> VideoClips:
    """The clips that ``clip`` names, whole or cropped as it says; VideoError where the video cannot be read."""
    if isinstance(clip, SoundInput):
        pictures, _ = uniform_pictures(video, clip)
        return VideoClips(torch.from_numpy(pictures), np.empty((len(pictures), 0), np.int64))
    store = ClipStore(
        lambda height, width: whole_size(height, width, clip),
        gigabytes=_MEMORY,
        flow=clip.flow_settings,
        flow_folder=flow_folder,
    )
    source = store.open(video)
    indices = uniform_frames(source.num_frames, clip)
    # each frame is read once, however many clips it is in
    needed, places = np.unique(indices, return_inverse=True)
    frames = whole_view(source.read(needed), clip)
    return VideoClips(frames[torch.from_numpy(places.reshape(indices.shape))], indices)


def clip_scores(
    network: nn.Module, clips: Tensor, clip: NetworkInput, config: ClassifyConfig, device: str
) -> np.ndarray:
    """(n, T, H, W, C) uint8 clips -> (n, classes) float32 probabilities."""
    kind = torch.device(device).type
    found = []
    with torch.inference_mode():
        for batch in clips.split(config.batch_clips):
            with torch.autocast(kind, torch.bfloat16, enabled=config.precision == "bf16"):
                logits = network(normalise_clips(batch, clip.preprocessing, device=device))
            heads = logits if config.paths == "mean" else logits[:1]
            found.append(torch.stack([member.float().softmax(dim=1) for member in heads]).mean(dim=0).cpu())
    return torch.cat(found).numpy()


def classify_video(
    network: nn.Module, video: ClassifiedVideo, clip: NetworkInput, config: ClassifyConfig, device: str = "cpu"
) -> np.ndarray:
    """(classes,) float32 mean probabilities of the video's clips; VideoError where it cannot be read."""
    return clip_scores(network, clips_of(video, clip, config.flow_folder).clips, clip, config, device).mean(axis=0)


def classify_dataset(
    network: nn.Module,
    dataset: ClassDataset,
    class_names: tuple[str, ...],
    clip: NetworkInput,
    config: ClassifyConfig,
    device: str = "cpu",
    *,
    workers: int = 0,
    on_video: Callable[[int], None] | None = None,
) -> tuple[ClassScores, list[str]]:
    """Scores of every video that can be read, and a line for each of the others.

    Args:
        class_names: of the network, in the order of its outputs; the dataset's labels may be others.
        workers: processes that decode videos; 0 decodes them in this one.
        on_video: called with the number of videos done.
    """
    videos, labels, rows, failures = [], [], [], []
    loader = DataLoader(_TestVideos(dataset, clip, config.flow_folder), batch_size=None, num_workers=workers)
    for number, (video, clips) in enumerate(zip(dataset.videos, loader), 1):
        if isinstance(clips, str):
            failures.append(clips)
        else:
            rows.append(clip_scores(network, clips, clip, config, device).mean(axis=0))
            videos.append(video.name)
            labels.append(video.label)
        if on_video is not None:
            on_video(number)
    scores = np.array(rows, np.float32).reshape(len(rows), len(class_names))
    return ClassScores(class_names, tuple(videos), tuple(labels), scores), failures


class _TestVideos(TorchDataset[Tensor | str]):
    """The test clips of each video, (n, T, H, W, C) uint8, or why there are none."""

    def __init__(self, dataset: ClassDataset, clip: NetworkInput, flow_folder: Path | None) -> None:
        self.dataset, self.clip, self.flow_folder = dataset, clip, flow_folder

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Tensor | str:
        try:
            return clips_of(self.dataset.videos[index], self.clip, self.flow_folder).clips
        except VideoError as error:
            return str(error)
