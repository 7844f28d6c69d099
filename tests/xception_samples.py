"""Xception under the published names, from a table of its layers: made-up weights, and what they compute."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

WIDTHS = (4, 6, 8, 10, 12, 16, 18, 20)
MIDDLE = 2


def blocks(widths: tuple[int, ...] = WIDTHS, middle: int = MIDDLE) -> list[tuple[int, tuple[int, ...], int, int]]:
    """(input, outputs of the separable convolutions, stride, place of the first of them in ``rep``)."""
    _, conv2, first, second, third, last, _, _ = widths
    return [
        (conv2, (first, first), 2, 0),
        (first, (second, second), 2, 1),
        (second, (third, third), 2, 1),
        *[(third, (third, third, third), 1, 1)] * middle,
        (third, (third, last), 2, 1),
    ]


def published_state(
    widths: tuple[int, ...] = WIDTHS, middle: int = MIDDLE, num_classes: int = 5, seed: int = 0
) -> dict[str, Tensor]:
    """Random tensors under the names of timm's legacy_xception."""
    generator = torch.Generator().manual_seed(seed)
    state: dict[str, Tensor] = {}

    def conv(name: str, out: int, inputs: int, side: int) -> None:
        kernel = torch.randn(out, inputs, side, side, generator=generator)
        state[f"{name}.weight"] = kernel / (inputs * side * side) ** 0.5

    def separable(name: str, inputs: int, out: int) -> None:
        conv(f"{name}.conv1", inputs, 1, 3)
        conv(f"{name}.pointwise", out, inputs, 1)

    def norm(name: str, width: int) -> None:
        state[f"{name}.weight"] = 1 + torch.rand(width, generator=generator)
        state[f"{name}.bias"] = torch.randn(width, generator=generator) / 4
        state[f"{name}.running_mean"] = torch.randn(width, generator=generator) / 4
        state[f"{name}.running_var"] = 0.5 + torch.rand(width, generator=generator)
        state[f"{name}.num_batches_tracked"] = torch.tensor(7)

    conv1, conv2, *_, last, conv3, conv4 = widths
    conv("conv1", conv1, 3, 3)
    norm("bn1", conv1)
    conv("conv2", conv2, conv1, 3)
    norm("bn2", conv2)
    for number, (inputs, outputs, stride, place) in enumerate(blocks(widths, middle), 1):
        if stride != 1:
            conv(f"block{number}.skip", outputs[-1], inputs, 1)
            norm(f"block{number}.skipbn", outputs[-1])
        for i, (before, out) in enumerate(zip((inputs, *outputs), outputs)):
            separable(f"block{number}.rep.{place + 3 * i}", before, out)
            norm(f"block{number}.rep.{place + 3 * i + 1}", out)
    separable("conv3", last, conv3)
    norm("bn3", conv3)
    separable("conv4", conv3, conv4)
    norm("bn4", conv4)
    state["fc.weight"] = torch.randn(num_classes, conv4, generator=generator)
    state["fc.bias"] = torch.randn(num_classes, generator=generator)
    return state


def published_map(state: dict[str, Tensor], pictures: Tensor, middle: int = MIDDLE) -> Tensor:
    """(B, 3, H, W) -> the last map, in evaluation mode."""

    def conv(name: str, x: Tensor, **options: int) -> Tensor:
        return F.conv2d(x, state[f"{name}.weight"], **options)

    def separable(name: str, x: Tensor) -> Tensor:
        return conv(f"{name}.pointwise", conv(f"{name}.conv1", x, padding=1, groups=x.shape[1]))

    def norm(name: str, x: Tensor) -> Tensor:
        names = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(x, *(state[f"{name}.{part}"] for part in names))

    x = torch.relu(norm("bn1", conv("conv1", pictures, stride=2)))
    x = torch.relu(norm("bn2", conv("conv2", x)))
    for number, (_, outputs, stride, place) in enumerate(blocks(middle=middle), 1):
        branch = shortcut = x
        for i in range(len(outputs)):
            if number > 1 or i > 0:
                branch = torch.relu(branch)
            name = f"block{number}.rep.{place + 3 * i}"
            branch = norm(f"block{number}.rep.{place + 3 * i + 1}", separable(name, branch))
        if stride != 1:
            branch = F.max_pool2d(branch, 3, stride=stride, padding=1)
            shortcut = norm(f"block{number}.skipbn", conv(f"block{number}.skip", x, stride=stride))
        x = branch + shortcut
    x = torch.relu(norm("bn3", separable("conv3", x)))
    return torch.relu(norm("bn4", separable("conv4", x)))
