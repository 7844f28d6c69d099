"""Training clips of labelled videos, and the order in which they are drawn."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import Sampler

from recognition.clip_sampling import ClipInput, random_frames
from recognition.clip_views import ClipAugment, random_view
from recognition.preprocessing import normalise_clips
from video.class_datasets import ClassDataset
from video.clip_store import ClipStore
from video.source import VideoError

_MAX_UNREADABLE = 20
"""Videos in a row that cannot be read before the run stops: then it is not the videos that are wrong."""

Key = tuple[int, int]
"""Epoch and index of a clip."""


class TrainingClips(TorchDataset[tuple[Tensor, int]]):
    """What a classifier is trained on: item ``(epoch, i)`` is an example and the number of its class."""

    def __len__(self) -> int:
        raise NotImplementedError

    def network_input(self, batch: Tensor, device: torch.device | str) -> Tensor:
        """A batch of examples as the network wants it, float, on that device."""
        raise NotImplementedError


class ClassClips(TrainingClips):
    """Random clips, ``clips_per_video`` of each video an epoch: (T, crop, crop, C) uint8 and the number of the class.

    Item ``(epoch, i)`` depends on the seed, the epoch and i only. A video that cannot be read is told once a process
    and stands back for the next one that can.
    """

    def __init__(
        self,
        dataset: ClassDataset,
        clip: ClipInput,
        augment: ClipAugment,
        store: ClipStore,
        *,
        seed: int,
        clips_per_video: int = 1,
    ) -> None:
        self.dataset, self.clip, self.augment, self.store = dataset, clip, augment, store
        self.seed, self.clips_per_video = seed, clips_per_video
        self.class_index = {name: index for index, name in enumerate(dataset.class_names)}
        self._unreadable: set[Path] = set()

    def __len__(self) -> int:
        return len(self.dataset.videos) * self.clips_per_video

    def __getitem__(self, key: Key) -> tuple[Tensor, int]:
        epoch, index = key
        for number in range(index, index + min(_MAX_UNREADABLE, len(self.dataset))):
            video = self.dataset.videos[number % len(self.dataset)]
            if video.path in self._unreadable:
                continue
            try:
                frames = self.store.open(video)
                rng = np.random.default_rng((self.seed, epoch, index))
                indices = random_frames(frames.num_frames, self.clip, rng)
                view = random_view(frames.read(indices), self.clip, self.augment, rng)
            except VideoError as error:
                self._unreadable.add(video.path)
                warnings.warn(f"left out of training: {error}", stacklevel=2)
                continue
            return view, self.class_index[video.label]
        raise VideoError(f"{self.dataset.name}: {_MAX_UNREADABLE} videos in a row cannot be read; is the disk there?")

    def network_input(self, batch: Tensor, device: torch.device | str) -> Tensor:
        return normalise_clips(batch, self.clip.preprocessing, device=device)


def collate(samples: list[tuple[Tensor, int]]) -> tuple[Tensor, Tensor]:
    """(B, ...) examples, (B, T, H, W, C) uint8 for clips, and (B,) int64 classes."""
    return torch.stack([view for view, _ in samples]), torch.tensor([label for _, label in samples])


class MicroBatches(Sampler[list[Key]]):
    """The batches that one process works through, from step ``first`` to step ``end``, as lists of keys.

    A step takes ``batch`` clips in the shuffled order of its epoch; what is left over at the end of an epoch is not
    used, and a dataset smaller than a batch is gone through several times. The clips of a step are cut into
    ``processes`` x ``accumulate`` equal parts, and this process has those of its ``rank``, one after the other. So the
    clips of a step do not depend on the number of processes, nor on where a run was interrupted.
    """

    def __init__(
        self,
        num_clips: int,
        *,
        batch: int,
        seed: int,
        first: int = 0,
        end: int,
        rank: int = 0,
        processes: int = 1,
        accumulate: int = 1,
    ) -> None:
        if batch % (processes * accumulate):
            raise ValueError(
                f"a batch of {batch} clips cannot be cut into {processes} (processes) x {accumulate} (accumulate) parts"
            )
        self.num_clips, self.batch, self.seed = num_clips, batch, seed
        self.first, self.end, self.rank, self.accumulate = first, end, rank, accumulate
        self.part = batch // (processes * accumulate)

    @property
    def steps_per_epoch(self) -> int:
        return max(1, self.num_clips // self.batch)

    def __len__(self) -> int:
        return (self.end - self.first) * self.accumulate

    def __iter__(self) -> Iterator[list[Key]]:
        epoch, order = -1, np.empty(0, int)
        for step in range(self.first, self.end):
            if step // self.steps_per_epoch != epoch:
                epoch = step // self.steps_per_epoch
                order = self._order(epoch)
            begin = step % self.steps_per_epoch * self.batch + self.rank * self.accumulate * self.part
            for start in range(begin, begin + self.accumulate * self.part, self.part):
                yield [(epoch, index) for index in order[start : start + self.part].tolist()]

    def _order(self, epoch: int) -> np.ndarray:
        rng = np.random.default_rng((self.seed, epoch))
        times = -(-self.batch // self.num_clips)
        return np.concatenate([rng.permutation(self.num_clips) for _ in range(times)])
