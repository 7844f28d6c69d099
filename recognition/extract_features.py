"""Features of the clips of videos by a trained classifier, a file a video, for temporal pooling."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from recognition.classifier_files import LoadedClassifier
from recognition.classify import ClassifyConfig, clips_of
from recognition.feature_files import FeatureError, VideoFeatures, feature_path, read_features, write_features
from recognition.preprocessing import normalise_clips
from recognition.sound_clips import NetworkInput, SoundInput, seconds_of_frames, uniform_pictures
from video.class_datasets import ClassDataset, ClassifiedVideo
from video.frames import open_video
from video.source import VideoError

CLIPS = 20
"""A video, as in the challenge report."""


@dataclass(frozen=True)
class Extracted:
    """What :func:`extract_features` did with one video."""

    video: str
    error: str = ""
    """Why there are no features of it."""


def extract_features(
    model: LoadedClassifier,
    dataset: ClassDataset,
    folder: Path,
    config: ClassifyConfig,
    device: str = "cpu",
    *,
    clips: int = CLIPS,
    workers: int = 0,
) -> Iterator[Extracted]:
    """Write the features of every video of ``dataset`` below ``folder``; yields when each is done.

    A video whose file is there and was made by the same model from the same clips is passed over, so a run that was
    stopped goes on where it was.

    Args:
        model: whose ``features`` are taken.
        dataset: the videos.
        folder: for ``<video>.npz``.
        config: clips that go through the network together, precision, folder of flow.
        device: of the network.
        clips: a video, at equal distances.
        workers: processes that decode videos; 0 decodes them in this one.

    Raises:
        FeatureError: a file is there that another model made, or one from other clips.
    """
    clip = dataclasses.replace(model.clip, test_clips=clips)
    # as JSON gives it back, to compare with what files say
    about: dict[str, Any] = json.loads(json.dumps({"model": model.file.sha256, "clip": clip.to_dict()}))
    todo = []
    for video in dataset.videos:
        path = feature_path(folder, video.name)
        if not path.is_file():
            todo.append(video)
        elif read_features(path).about != about:
            raise FeatureError(f"{path}: made by another model, or from other clips; take another folder")
        else:
            yield Extracted(video.name)
    loader = DataLoader(_VideosToRead(todo, clip, config.flow_folder), batch_size=None, num_workers=workers)
    for video, read in zip(todo, loader):
        if isinstance(read, str):
            yield Extracted(video.name, read)
            continue
        pixels, seconds = read
        features = features_of(model, pixels, config, device)
        write_features(feature_path(folder, video.name), VideoFeatures(features, video.label, seconds, about))
        yield Extracted(video.name)


def features_of(model: LoadedClassifier, clips: Tensor, config: ClassifyConfig, device: str) -> np.ndarray:
    """(n, T, H, W, C) uint8 clips -> (n, D) float32, what the classifier's last layer sees."""
    features: Any = model.network.features
    found = []
    with torch.inference_mode():
        for batch in clips.split(config.batch_clips):
            with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=config.precision == "bf16"):
                found.append(features(normalise_clips(batch, model.clip.preprocessing, device=device)).float().cpu())
    return torch.cat(found).numpy()


class _VideosToRead(TorchDataset[tuple[Tensor, np.ndarray] | str]):
    """The clips of each video and the seconds of their middles, or why there are none."""

    def __init__(self, videos: list[ClassifiedVideo], clip: NetworkInput, flow_folder: Path | None) -> None:
        self.videos, self.clip, self.flow_folder = videos, clip, flow_folder

    def __len__(self) -> int:
        return len(self.videos)

    def __getitem__(self, index: int) -> tuple[Tensor, np.ndarray] | str:
        video = self.videos[index]
        try:
            if isinstance(self.clip, SoundInput):
                pictures, seconds = uniform_pictures(video, self.clip)
                return torch.from_numpy(pictures), seconds
            clips = clips_of(video, self.clip, self.flow_folder)
            with open_video(video.path) as source:
                return clips.clips, seconds_of_frames(clips.frames, source.fps)
        except VideoError as error:
            return str(error)
