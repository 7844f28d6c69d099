"""Exponential moving average of a network's weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MovingAverage:
    """``average = decay * average + (1 - decay) * weights`` after every step, for parameters and running statistics.

    In the first steps the decay is (1 + step) / (10 + step) where that is less, so that the random start is soon
    forgotten. Integer buffers, such as the hashes of a tensor sketch, are copied as they are (torch's AveragedModel
    would average them and round).
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state = {name: value.detach().clone() for name, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """After step ``step``, counted from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                self.state[name].lerp_(value, 1 - decay)
            else:
                self.state[name].copy_(value)

    def load(self, state: dict[str, Tensor]) -> None:
        """Go on from the ``state`` of another average."""
        for name, value in state.items():
            self.state[name].copy_(value)
