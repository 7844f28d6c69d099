"""What a classifier of sound is fed: short log-mel pictures from the sound of a video, at random or at equal distances.

A picture goes through training and testing as a clip of one grey frame does: (1, bands, columns, 1) uint8.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from recognition.class_clips import TrainingClips
from recognition.clip_sampling import ClipInput
from recognition.preprocessing import Preprocessing, normalise_clips
from video.audio import read_sound
from video.class_datasets import ClassDataset, ClassifiedVideo, labelled_seconds
from video.log_mel import LogMel, as_picture, log_mel
from video.source import VideoError

_MAX_UNREADABLE = 20
"""Videos in a row that cannot be read before training stops: then it is not the videos that are wrong."""
_MAX_SILENT = 200
"""Videos without sound, and none with, before training stops."""


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


NetworkInput: TypeAlias = ClipInput | SoundInput
"""What a classifier is fed: pictures or flow, or sound."""


def input_from_dict(values: Mapping[str, Any]) -> NetworkInput:
    """A ClipInput or a SoundInput from its plain values; ValueError for an unknown key or a value it cannot mean."""
    return SoundInput.from_dict(values) if values.get("stream") == "audio" else ClipInput.from_dict(values)


def strip_of(video: ClassifiedVideo, sound: SoundInput) -> np.ndarray:
    """(bands, columns) uint8: the log-mel picture of all the sound of a video (or of its labelled part).

    Column k begins k * hop samples after the first picture of the part is shown. A video without sound gives silence,
    one picture long: it is trained and tested on as such. Raises VideoError where the file cannot be read.
    """
    mel = sound.mel
    track = read_sound(video.path, rate=mel.rate, end=video.end)
    samples = np.zeros(0, np.float32) if track is None else track.samples
    first, _ = labelled_seconds(video, len(samples) / mel.rate)
    samples = samples[round(first * mel.rate) :]
    columns = -(-len(samples) // mel.hop)
    if columns == 0:
        return np.zeros((mel.bands, sound.columns), np.uint8)
    padded = np.zeros(mel.samples_of(columns), np.float32)  # silence behind the end: a column for every hop
    count = min(len(samples), len(padded))
    padded[:count] = samples[:count]
    return as_picture(log_mel(padded, mel), mel)


def uniform_pictures(video: ClassifiedVideo, sound: SoundInput) -> tuple[np.ndarray, np.ndarray]:
    """The test pictures of a video, (n, 1, bands, columns, 1) uint8, and the seconds (n,) of their middles.

    Raises VideoError where the file cannot be read.
    """
    strip = strip_of(video, sound)
    seconds = uniform_seconds(strip, sound)
    return pictures_around(strip, seconds, sound), seconds


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


class SoundClips(TrainingClips):
    """Random log-mel pictures, ``clips_per_video`` of each video an epoch, and the number of the class.

    Item ``(epoch, i)`` depends on the seed, the epoch and i only. A video that cannot be read is told once a process
    and stands back for the next one that can; one without sound is silence, and the first such is told. The strips of
    as many videos as ``gigabytes`` hold are kept in memory, 13 kB a second.
    """

    def __init__(
        self, dataset: ClassDataset, clip: SoundInput, *, seed: int, clips_per_video: int = 1, gigabytes: float = 4.0
    ) -> None:
        self.dataset, self.clip, self.seed, self.clips_per_video = dataset, clip, seed, clips_per_video
        self.class_index = {name: index for index, name in enumerate(dataset.class_names)}
        self._bytes_left = int(gigabytes * 1e9)
        self._strips: dict[int, np.ndarray] = {}
        self._unreadable: set[int] = set()
        self._silent: set[int] = set()
        self._is_heard = False  # whether any video had sound so far

    def __len__(self) -> int:
        return len(self.dataset.videos) * self.clips_per_video

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int]:
        epoch, index = key
        for place in range(index, index + min(_MAX_UNREADABLE, len(self.dataset))):
            number = place % len(self.dataset)
            if number in self._unreadable:
                continue
            try:
                strip = self._strip(number)
            except VideoError as error:
                self._unreadable.add(number)
                warnings.warn(f"left out of training: {error}", stacklevel=2)
                continue
            rng = np.random.default_rng((self.seed, epoch, index))
            room = max(0, strip.shape[1] - self.clip.columns)
            start = int(rng.integers(room + 1)) * self.clip.mel.hop / self.clip.mel.rate
            picture = pictures_around(strip, np.array([start + self.clip.seconds / 2]), self.clip)[0]
            return torch.from_numpy(picture), self.class_index[self.dataset.videos[number].label]
        raise VideoError(f"{self.dataset.name}: {_MAX_UNREADABLE} videos in a row cannot be read; is the disk there?")

    def network_input(self, batch: Tensor, device: torch.device | str) -> Tensor:
        return normalise_clips(batch, self.clip.preprocessing, device=device)

    def _strip(self, number: int) -> np.ndarray:
        if number in self._strips:
            return self._strips[number]
        video = self.dataset.videos[number]
        strip = strip_of(video, self.clip)
        if strip.any():
            self._is_heard = True
        else:
            self._note_silence(number, video)
        if strip.nbytes <= self._bytes_left:
            self._bytes_left -= strip.nbytes
            self._strips[number] = strip
        return strip

    def _note_silence(self, number: int, video: ClassifiedVideo) -> None:
        """One warning for all; an error where it seems that no video has sound."""
        if not self._silent:
            warnings.warn(f"{video.path}: has no sound; it and others like it are learned as silence", stacklevel=4)
        self._silent.add(number)
        if not self._is_heard and len(self._silent) >= min(_MAX_SILENT, len(self.dataset)):
            raise SilentDatasetError(
                f"{self.dataset.name}: the first {len(self._silent)} videos have no sound; take a dataset with sound"
            )


class SilentDatasetError(ValueError):
    """There is nothing to hear in a dataset."""
