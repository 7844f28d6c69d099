"""One vector a box from a local map whose cells lie somewhere in the picture (docs/decisions/003).

``stride`` is the distance of two cells in pixels, ``offset`` that of the middle of cell 0 from the edge of the picture.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import roi_align


def align_regions(maps: Tensor, regions: Tensor, cells: int, stride: int, offset: float) -> Tensor:
    """RoIAlign to ``cells`` a side, then their mean: (n, C) float32.

    ``maps`` (N, C, H', W'); ``regions`` (n, 5) are the number of a map and x1 y1 x2 y2 in pixels.
    """
    shift = torch.tensor([0.0, *[stride / 2 - offset] * 4], device=regions.device)
    pooled = roi_align(
        # In float32: RoIAlign has no bfloat16 kernel on CPUs.
        maps.float(),
        # aligned=True takes cell i for the square from i to i + 1 strides, whose middle is half a stride further on.
        regions.float() + shift,
        output_size=cells,
        spatial_scale=1 / stride,
        sampling_ratio=2,
        aligned=True,
    )
    return pooled.mean(dim=(2, 3))


def average_regions(maps: Tensor, regions: Tensor, size: tuple[int, int], stride: int, offset: float) -> Tensor:
    """Mean of the cells, each weighted by the share of it that the box covers: (n, C) float32.

    Every pixel of the picture of ``size`` (height, width) belongs to the cell next to it, so a box around the whole
    picture gives the mean of the map, whatever the size and wherever the cells lie: what a network that ends in
    average pooling classifies by. RoIAlign would count the cells at the edges more or less than the others.
    """
    regions = regions.float()
    rows = _shares(regions[:, 2], regions[:, 4], maps.shape[2], size[0], stride, offset)  # (n, H')
    columns = _shares(regions[:, 1], regions[:, 3], maps.shape[3], size[1], stride, offset)  # (n, W')
    return torch.einsum("nchw,nh,nw->nc", maps.float()[regions[:, 0].long()], rows, columns)


def _shares(low: Tensor, high: Tensor, cells: int, length: int, stride: int, offset: float) -> Tensor:
    """(n, cells) weights that sum to 1 along one side of the picture."""
    borders = offset + stride * (torch.arange(cells + 1, device=low.device) - 0.5)
    borders[0], borders[-1] = 0, length
    low = low.clamp(0, length - 1e-2)[:, None]
    high = torch.maximum(high.clamp(max=length)[:, None], low + 1e-2)  # a line is a thin box
    covered = (torch.minimum(high, borders[1:]) - torch.maximum(low, borders[:-1])).clamp(min=0)
    shares = covered / (borders[1:] - borders[:-1])
    return shares / shares.sum(dim=1, keepdim=True)
