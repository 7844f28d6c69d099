"""The least network that training can be tried on: it fulfils the contract of the classifiers, in milliseconds."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recognition.class_clips import ClassClips
from recognition.clip_sampling import ClipInput
from recognition.clip_views import ClipAugment, crop_size
from recognition.train_classifier import ClassifierTraining
from video.class_datasets import ClassDataset
from video.clip_store import ClipStore

CLIP = ClipInput(frames=6, short_side=24, crop=20, test_short_side=24, test_clips=2)
TRAINING = ClassifierTraining(
    epochs=5,
    batch=4,
    optimizer="adamw",
    learning_rate=0.02,
    schedule="cosine",
    precision="fp32",
    augment=ClipAugment(flip=0.0, colour=0.1),
)


class TinyClassifier(nn.Module):
    """Two heads on the mean of one convolution over space and time, with batch norm and dropout if wanted."""

    def __init__(self, num_classes: int = 2, *, norm: bool = True, dropout: float = 0.3) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, 8, (3, 5, 5), stride=(1, 2, 2))
        self.norm = nn.BatchNorm3d(8) if norm else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(8, num_classes)
        self.other = nn.Linear(8, num_classes)

    def features(self, clips: Tensor) -> Tensor:
        return torch.relu(self.norm(self.conv(clips))).mean(dim=(2, 3, 4))

    def forward(self, clips: Tensor) -> tuple[Tensor, ...]:
        features = self.dropout(self.features(clips))
        return self.head(features), self.other(features)


def tiny_network(seed: int = 0, **options: object) -> TinyClassifier:
    torch.manual_seed(seed)
    return TinyClassifier(**options)  # type: ignore[arg-type]


def tiny_clips(dataset: ClassDataset, seed: int = 0, clip: ClipInput = CLIP) -> ClassClips:
    store = ClipStore(lambda height, width: crop_size(height, width, clip))
    return ClassClips(dataset, clip, TRAINING.augment, store, seed=seed)
