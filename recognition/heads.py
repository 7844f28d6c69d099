"""Classifiers on the two paths of LGD and their loss (CVPR 2019, section 4.3, Eq. 6)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class TwoPathHead(nn.Module):
    """One fully connected layer on the mean of the local map, another on the global vector.

    ``forward(local (B, C, T, H, W), global_ (B, C'))`` gives two (B, num_classes) tensors of logits.
    ``dropout`` is the share of features zeroed before each layer in training; ``global_channels`` is C', None for C.
    """

    def __init__(
        self, channels: int, num_classes: int, dropout: float = 0.0, *, global_channels: int | None = None
    ) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.local = nn.Linear(channels, num_classes)
        self.global_ = nn.Linear(channels if global_channels is None else global_channels, num_classes)

    def forward(self, local: Tensor, global_: Tensor) -> tuple[Tensor, Tensor]:
        pooled = local.mean(dim=(2, 3, 4))  # P(x_L)
        return self.local(self.dropout(pooled)), self.global_(self.dropout(global_))


class LocalHead(nn.Module):
    """The one layer of a network without a global path: (B, C, T, H, W) -> (B, num_classes) logits."""

    def __init__(self, channels: int, num_classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.local = nn.Linear(channels, num_classes)

    def forward(self, local: Tensor) -> Tensor:
        return self.local(self.dropout(local.mean(dim=(2, 3, 4))))


def two_path_loss(
    local_logits: Tensor, global_logits: Tensor, labels: Tensor, *, label_smoothing: float = 0.0
) -> Tensor:
    """Eq. 6: the cross entropies of both paths, each the mean over the batch, added with equal weight.

    Both are needed: under the local loss alone the last block's W^{gx} and W^{gg} never get a gradient.
    """
    local = F.cross_entropy(local_logits, labels, label_smoothing=label_smoothing)
    return local + F.cross_entropy(global_logits, labels, label_smoothing=label_smoothing)


def class_scores(
    local_logits: Tensor, global_logits: Tensor | None = None, *, paths: Literal["local", "mean"] = "local"
) -> Tensor:
    """(B, num_classes) float32 probabilities: softmax of the local path, or the mean of both softmaxes.

    The paper does not say which one its tables without the kernel classifier show; the authors' later code
    scores the local path only.
    """
    local = torch.softmax(local_logits.float(), dim=1)
    if paths == "local":
        return local
    if paths != "mean":
        raise ValueError(f"paths must be 'local' or 'mean', got {paths!r}")
    if global_logits is None:
        raise ValueError("paths='mean' needs the logits of the global path")
    return (local + torch.softmax(global_logits.float(), dim=1)) / 2
