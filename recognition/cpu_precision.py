"""Where half precision cannot be trusted: networks of Conv3d while they are trained on a CPU."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def float32_on_cpu(clips: Tensor) -> AbstractContextManager[object]:
    """No autocast while ``clips`` on a CPU go through a network of Conv3d and gradients will be asked for.

    In PyTorch 2.15 the bf16 gradient of a 3x1x1 Conv3d weight on maps of two time steps holds numbers from memory that
    nobody wrote: NaN in a fifth of the steps, something worse to find in the others. Half precision without gradients
    is right, and so are CUDA and the networks of this project's own, which have no Conv3d.
    """
    if clips.device.type == "cpu" and torch.is_grad_enabled():
        return torch.autocast("cpu", enabled=False)
    return nullcontext()
