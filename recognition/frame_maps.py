"""Feature maps of clips as frames: (B*T, C, H, W) in channels_last memory.

How the kernels run. A map of B clips of T frames is kept as (B*T, C, H, W) in channels_last memory. The
factored kernels of P3D then are plain conv2d calls on views of the same memory: 1x3x3 and 1x1x1 on the
frames, 3x1x1 as a (3, 1) kernel on (B, C, T, H*W). On CPU that avoids the slow path conv3d takes for a batch
of one, and batch norm over B*T frames sees exactly the positions a 3-D batch norm would.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def to_frames(clips: Tensor) -> Tensor:
    """(B, C, T, H, W) -> (B*T, C, H, W) in channels_last memory; a view where the memory is already so."""
    frames = clips.transpose(1, 2).flatten(0, 1)
    return frames.contiguous(memory_format=torch.channels_last)


def to_clips(frames: Tensor, num_clips: int) -> Tensor:
    """(B*T, C, H, W) -> (B, C, T, H, W), a view."""
    return frames.unflatten(0, (num_clips, -1)).transpose(1, 2)


def mean_of_clip(frames: Tensor, num_clips: int) -> Tensor:
    """P of Eq. 3: (B*T, C, H, W) -> (B, C), the mean over time, height and width of each clip."""
    if frames.dtype == torch.bfloat16 and frames.device.type == "cpu":
        # mean() would first copy the whole map to float32, at eight times the cost of the sum
        per_frame = frames.sum(dim=(2, 3)) / frames[0, 0].numel()
    else:
        per_frame = frames.mean(dim=(2, 3))
    return per_frame.unflatten(0, (num_clips, -1)).mean(dim=1)


def up_sample(vectors: Tensor, frames: Tensor) -> Tensor:
    """US of Eq. 2: (B, C) -> (B*T, C, 1, 1), which broadcasts over ``frames`` (B*T, C, H, W)."""
    return vectors.repeat_interleave(frames.shape[0] // vectors.shape[0], dim=0)[:, :, None, None]


def max_pool_time(frames: Tensor, num_clips: int, stride: int) -> Tensor:
    """2x1x1 max pooling with a temporal stride: (B*T, C, H, W) -> (B*T', C, H, W), T' = (T - 2) // stride + 1."""
    clips = frames.unflatten(0, (num_clips, -1))
    count = (clips.shape[1] - 2) // stride + 1
    first, second = clips[:, ::stride][:, :count], clips[:, 1::stride][:, :count]
    # Ten times faster than max_pool2d, which also notes where the maximum was.
    larger = _Larger.apply(first, second) if frames.requires_grad else torch.maximum(first, second)
    return larger.flatten(0, 1)


class _Larger(torch.autograd.Function):
    """torch.maximum with a backward pass in two instead of eight passes over memory; the first of two equals wins."""

    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor) -> Tensor:
        ctx.save_for_backward(first >= second)
        return torch.maximum(first, second)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        (is_first,) = ctx.saved_tensors
        of_first = gradient * is_first
        return of_first, gradient - of_first


def rows_of_time(frames: Tensor, num_clips: int) -> Tensor:
    """(B*T, C, H, W) -> (B, C, T, H*W); a view, and channels_last again, if ``frames`` is channels_last."""
    positions = frames.permute(0, 2, 3, 1).flatten(1, 2)  # (B*T, H*W, C)
    return positions.unflatten(0, (num_clips, -1)).permute(0, 3, 1, 2)


def frames_of_rows(rows: Tensor, height: int) -> Tensor:
    """(B, C, T, H*W) -> (B*T, C, H, W), the way back."""
    positions = rows.permute(0, 2, 3, 1).flatten(0, 1)  # (B*T, H*W, C)
    return positions.unflatten(1, (height, -1)).permute(0, 3, 1, 2)
