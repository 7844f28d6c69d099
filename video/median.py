"""Median filter of pictures as a network of minima and maxima, which runs as plain tensor operations.

Columns are sorted once for all windows, neighbouring columns are merged once for all windows that share them, and what
does not lead to the median is left out (after Adams, "Fast median filters using separable sorting networks", 2021).
The networks are Batcher's odd-even merges, which take lists of any lengths (Knuth, TAOCP 3, 5.3.4).
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

_Step = tuple[str, int, int]
"""("row", k, 0): k rows below; ("shift", a, k): step a, k columns right; ("min" or "max", a, b): of two steps."""


def median_filter(pictures: Tensor, size: int) -> Tensor:
    """Median over ``size`` x ``size`` windows (odd) of ``pictures`` (..., H, W); the border is repeated outwards."""
    if size < 1 or size % 2 == 0:
        raise ValueError(f"the window of a median filter must have an odd size, got {size}")
    if size == 1 or pictures.numel() == 0:
        return pictures.clone()
    height, width = pictures.shape[-2:]
    radius = size // 2
    padded = F.pad(pictures.reshape(1, -1, height, width), (radius,) * 4, mode="replicate")[0]
    # Rows and pictures lie one behind the other, so that a step is one run over contiguous memory. What a window
    # that crosses a border gives is computed too, and left out at the end.
    flat, row = padded.view(-1), width + 2 * radius
    steps, last_use = _program(size)
    values: dict[int, Tensor] = {}
    for number, (kind, a, b) in enumerate(steps):
        if kind == "row":
            values[number] = flat[a * row :]
        elif kind == "shift":
            values[number] = values[a][b:]
        else:
            left, right = values[a], values[b]
            if len(left) != len(right):
                shared = min(len(left), len(right))
                left, right = left[:shared], right[:shared]
            values[number] = torch.minimum(left, right) if kind == "min" else torch.maximum(left, right)
        for used in last_use[number]:
            del values[used]  # its memory serves the next steps, still in the cache
    strides = ((height + 2 * radius) * row, row, 1)
    return values[len(steps) - 1].as_strided((len(padded), height, width), strides).reshape(pictures.shape)


class _Network:
    """Steps in the order in which they can be computed; equal steps are one. A wire is the number of a step."""

    def __init__(self) -> None:
        self.steps: dict[_Step, int] = {}

    def add(self, kind: str, a: int, b: int = 0) -> int:
        return self.steps.setdefault((kind, a, b), len(self.steps))

    def merge(self, a: list[int], b: list[int]) -> list[int]:
        """Two ascending lists as one: Batcher's merge."""
        if not a or not b:
            return a or b
        if len(a) == len(b) == 1:
            return [self.add("min", a[0], b[0]), self.add("max", a[0], b[0])]
        even, odd = self.merge(a[::2], b[::2]), self.merge(a[1::2], b[1::2])
        merged = [even[0]]
        for low, high in zip(odd, even[1:]):
            merged += [self.add("min", low, high), self.add("max", low, high)]
        paired = min(len(odd), len(even) - 1)
        return merged + odd[paired:] + even[paired + 1 :]

    def sort(self, wires: list[int]) -> list[int]:
        middle = len(wires) // 2
        return self.merge(self.sort(wires[:middle]), self.sort(wires[middle:])) if middle else wires

    def smallest(self, rank: int, a: list[int], b: list[int]) -> int:
        """Value number ``rank``, counted from 0, of two ascending lists together.

        The rank + 1 smallest are the first i of ``a`` and the first j of ``b`` for some i + j = rank + 1; for any other
        i and j the larger of the two last ones is no smaller. So the value is the minimum of these maxima.
        """
        largest = []
        for i in range(max(0, rank + 1 - len(b)), min(len(a), rank + 1) + 1):
            j = rank + 1 - i
            largest.append(self.add("max", a[i - 1], b[j - 1]) if i and j else a[i - 1] if i else b[j - 1])
        found = largest[0]
        for wire in largest[1:]:
            found = self.add("min", found, wire)
        return found

    def columns(self, column: list[int], count: int) -> list[int]:
        """All values of ``count`` columns side by side, ascending; what neighbouring windows share is computed once."""
        if count == 1:
            return column
        left, right = self.halves(column, count)
        return self.merge(left, right)

    def halves(self, column: list[int], count: int) -> tuple[list[int], list[int]]:
        """The values of the first columns, a power of two, and those of the others."""
        first = 1 << ((count - 1).bit_length() - 1)
        others = self.columns(column, count - first)
        return self.columns(column, first), [self.add("shift", wire, first) for wire in others]


@lru_cache
def _program(size: int) -> tuple[list[_Step], list[list[int]]]:
    """The steps that lead to the median, which is the last, and for each the earlier ones that no later one uses."""
    network = _Network()
    column = network.sort([network.add("row", k) for k in range(size)])
    median = network.smallest(size * size // 2, *network.halves(column, size))
    steps = list(network.steps)
    needed = {median}
    for number in range(median, -1, -1):
        if number in needed:
            needed.update(_inputs(steps[number]))
    new = {old: number for number, old in enumerate(sorted(needed))}
    kept = []
    for old in new:
        kind, a, b = steps[old]
        kept.append((kind, new[a] if kind != "row" else a, new[b] if kind in ("min", "max") else b))
    last_use = {used: number for number, step in enumerate(kept) for used in _inputs(step)}
    return kept, [[used for used, last in last_use.items() if last == number] for number in range(len(kept))]


def _inputs(step: _Step) -> tuple[int, ...]:
    """The earlier steps that a step takes."""
    kind, a, b = step
    return {"row": (), "shift": (a,)}.get(kind, (a, b))
