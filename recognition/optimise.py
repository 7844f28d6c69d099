"""Optimizers and learning rates as functions of the epoch."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Literal

import torch
from torch import nn


def build_optimizer(
    network: nn.Module,
    kind: Literal["sgd", "adamw"],
    *,
    learning_rate: float,
    weight_decay: float,
    momentum: float = 0.9,
    nesterov: bool = True,
    head: Collection[nn.Parameter] = (),
    head_rate: float = 1.0,
) -> torch.optim.Optimizer:
    """SGD with momentum, or AdamW, for every parameter of ``network``.

    Weight decay falls on matrices and kernels; biases and batch norms have none. The parameters in ``head`` learn
    ``head_rate`` times as fast. Every group keeps its peak rate as ``"peak"`` for :func:`set_rate`.
    """
    special = {id(parameter) for parameter in head} if head_rate != 1 else set()
    groups = []
    for is_head in (False, True):
        rate = learning_rate * (head_rate if is_head else 1)
        members = [p for p in network.parameters() if (id(p) in special) == is_head]
        kernels, vectors = [p for p in members if p.ndim > 1], [p for p in members if p.ndim <= 1]
        for chosen, decay in ((kernels, weight_decay), (vectors, 0.0)):
            if chosen:
                groups.append({"params": chosen, "weight_decay": decay, "lr": rate, "peak": rate})
    if kind == "adamw":
        return torch.optim.AdamW(groups, lr=learning_rate)
    return torch.optim.SGD(groups, lr=learning_rate, momentum=momentum, nesterov=nesterov and momentum > 0)


def set_rate(optimizer: torch.optim.Optimizer, share: float) -> None:
    """Let every group learn at ``share`` of its peak rate."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * share


def cosine_rate(epoch: float, warmup: float, epochs: float) -> float:
    """Learning rate as a share of its peak: linear warm-up, then a cosine down to zero at ``epochs``."""
    if epoch < warmup:
        return (epoch + 1e-3) / warmup
    return 0.5 * (1 + math.cos(math.pi * (epoch - warmup) / max(1e-9, epochs - warmup)))


def stepped_rate(epoch: float, warmup: float, every: float, factor: float) -> float:
    """Learning rate as a share of its peak: linear warm-up, then times ``factor`` after every ``every`` epochs."""
    if epoch < warmup:
        return (epoch + 1e-3) / warmup
    # an epoch that is a hair short of a step by rounding has taken it
    return float(factor ** math.floor(epoch / every + 1e-9))
