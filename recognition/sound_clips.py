"""What a classifier of sound is fed: short log-mel pictures from the sound of a video, at random or at equal distances.

A picture goes through training and testing as a clip of one grey frame does: (1, bands, columns, 1) uint8.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from recognition.preprocessing import Preprocessing
from video.audio import read_sound
from video.class_datasets import ClassDataset, ClassifiedVideo, labelled_seconds
from video.log_mel import LogMel, as_picture, log_mel
from video.source import VideoError

_MAX_SILENT = 200
"""Videos in a row without a usable sound before training stops."""


@dataclass(frozen=True)
class SoundInput:
    """What a classifier of sound is fed, stored in its model file."""

    mel: LogMel = field(default_factory=LogMel)
    """The spectrogram; a mapping of its fields is taken too."""
    columns: int = 96
    """Of a picture: 0.96 s, as VGGish has it."""
    test_clips: int = 15
    """Pictures at equal distances whose scores are averaged at test; as many as clips of LGD-3D."""
    preprocessing: Preprocessing = field(default_factory=lambda: Preprocessing(mean=(0.5,), std=(0.5,)))
    """Of the grey values; these are those of Xception's ImageNet weights."""
    stream: str = "audio"

    def __post_init__(self) -> None:
        if isinstance(self.mel, Mapping):
            known = {f.name for f in dataclasses.fields(LogMel)}
            if unknown := sorted(set(self.mel) - known):
                raise ValueError(f"unknown option {unknown[0]!r}; LogMel has {', '.join(sorted(known))}")
            object.__setattr__(self, "mel", LogMel(**self.mel))
        for name in ("columns", "test_clips"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, got {getattr(self, name)}")
        if self.stream != "audio":
            raise ValueError(f"stream of a sound is audio, got {self.stream!r}")
        if len(self.preprocessing.mean) != 1:
            raise ValueError(f"sound has one channel, preprocessing {len(self.preprocessing.mean)}")

    @property
    def seconds(self) -> float:
        """That a picture looks at."""
        return self.mel.samples_of(self.columns) / self.mel.rate

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a model file; :meth:`from_dict` is the way back."""
        return {**dataclasses.asdict(self), "preprocessing": self.preprocessing.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SoundInput:
        """Raises ValueError for an unknown key or a value it cannot mean."""
        known = [f.name for f in dataclasses.fields(cls)]
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise ValueError(f"unknown option {unknown[0]!r}; SoundInput has {', '.join(known)}")
        return cls(**{**values, "preprocessing": Preprocessing.from_dict(values["preprocessing"])})


def strip_of(video: ClassifiedVideo, sound: SoundInput) -> np.ndarray | None:
    """(bands, columns) uint8: the log-mel picture of all the sound of a video (or of its labelled part).

    None where it has no sound. Column k begins k * hop samples after the first picture of the part is shown. Raises
    VideoError where the file cannot be read.
    """
    mel = sound.mel
    track = read_sound(video.path, rate=mel.rate, end=video.end)
    if track is None:
        return None
    first, _ = labelled_seconds(video, len(track.samples) / mel.rate)
    samples = track.samples[round(first * mel.rate) :]
    columns = -(-len(samples) // mel.hop)
    if columns == 0:
        return None
    padded = np.zeros(mel.samples_of(columns), np.float32)  # silence behind the end: a column for every hop
    count = min(len(samples), len(padded))
    padded[:count] = samples[:count]
    return as_picture(log_mel(padded, mel), mel)


def pictures_around(strip: np.ndarray, seconds: np.ndarray, sound: SoundInput) -> np.ndarray:
    """(n, 1, bands, sound.columns, 1) uint8: the pieces of a strip whose middles are nearest to these seconds.

    What reaches beyond the strip is silence.
    """
    mel = sound.mel
    starts = (np.asarray(seconds) * mel.rate - mel.samples_of(sound.columns) / 2) / mel.hop
    padded = np.pad(strip, ((0, 0), (sound.columns, sound.columns)))
    places = np.clip(starts.round().astype(int) + sound.columns, 0, strip.shape[1] + sound.columns)
    return np.stack([padded[:, place : place + sound.columns] for place in places])[:, None, ..., None]


def uniform_seconds(strip: np.ndarray, sound: SoundInput) -> np.ndarray:
    """(n,) middles of the test pictures: from the first to the last at equal distances, equal ones once."""
    room = max(0, strip.shape[1] - sound.columns)
    starts = np.linspace(0, room, sound.test_clips).round() if sound.test_clips > 1 else np.array([room // 2])
    return np.unique(starts) * sound.mel.hop / sound.mel.rate + sound.seconds / 2


def seconds_of_frames(frames: np.ndarray, fps: float) -> np.ndarray:
    """(n, T) frame indices of clips -> (n,) seconds at which their middles are shown; frame k from k/fps on."""
    return (np.asarray(frames).mean(axis=1) + 0.5) / fps


class SoundClips(TorchDataset[tuple[Tensor, int]]):
    """Random log-mel pictures, ``clips_per_video`` of each video an epoch, and the number of the class.

    Item ``(epoch, i)`` depends on the seed, the epoch and i only. A video without sound, or one that cannot be read,
    stands back for the next one that has some; the first time it is told. The pictures of ``gigabytes`` of videos are
    kept in memory, 13 kB a second.
    """

    def __init__(
        self, dataset: ClassDataset, clip: SoundInput, *, seed: int, clips_per_video: int = 1, gigabytes: float = 4.0
    ) -> None:
        self.dataset, self.clip, self.seed, self.clips_per_video = dataset, clip, seed, clips_per_video
        self.class_index = {name: index for index, name in enumerate(dataset.class_names)}
        self._bytes_left = int(gigabytes * 1e9)
        self._strips: dict[int, np.ndarray] = {}
        self._without: set[Path] = set()

    def __len__(self) -> int:
        return len(self.dataset.videos) * self.clips_per_video

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int]:
        epoch, index = key
        for number in range(index, index + min(_MAX_SILENT, len(self.dataset))):
            number %= len(self.dataset)
            strip = self._strip(number)
            if strip is None:
                continue
            rng = np.random.default_rng((self.seed, epoch, index))
            room = max(0, strip.shape[1] - self.clip.columns)
            start = int(rng.integers(room + 1)) * self.clip.mel.hop / self.clip.mel.rate
            picture = pictures_around(strip, np.array([start + self.clip.seconds / 2]), self.clip)[0]
            return torch.from_numpy(picture), self.class_index[self.dataset.videos[number].label]
        raise VideoError(f"{self.dataset.name}: {min(_MAX_SILENT, len(self.dataset))} videos in a row have no sound")

    def _strip(self, number: int) -> np.ndarray | None:
        video = self.dataset.videos[number]
        if number in self._strips or video.path in self._without:
            return self._strips.get(number)
        try:
            strip = strip_of(video, self.clip)
            reason = f"{video.path}: it has no sound"
        except VideoError as error:
            strip, reason = None, str(error)
        if strip is None:
            self._without.add(video.path)
            warnings.warn(f"left out of training: {reason}", stacklevel=3)
        elif strip.nbytes <= self._bytes_left:
            self._bytes_left -= strip.nbytes
            self._strips[number] = strip
        return strip
