"""Tensor sketch: short vectors whose inner product is, on average, the squared inner product of long ones.

Pham and Pagh, "Fast and Scalable Polynomial Kernels via Explicit Feature Maps" (KDD 2013), as LGD (CVPR 2019,
section 4.3) uses it for the kernel k(x, y) = <x, y>^2 of Eq. 4. Two count sketches of x, each a random sign and a
random bin for every entry, are convolved circularly:

    phi(x) = FFT^{-1}(FFT(C1 x) * FFT(C2 x)),      E <phi(x), phi(y)> = <x, y>^2

Over the draw of the hashes, the error of the inner product over |x|^2 |y|^2 has a standard deviation near
1 / sqrt(sketch size), or 2.5 / sqrt(sketch size) for x = y.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from recognition.lgd_block import check_counts


class TensorSketch(nn.Module):
    """phi of Eq. 5, un-normalised: (..., ``in_features``) to (..., ``size``).

    The hashes are drawn once, from ``seed``, and are buffers: they are saved with the weights, so that a loaded
    network computes the same whatever seed it was built with. Half-precision input is computed in float32, also
    under autocast, since FFTs of other precisions do not exist everywhere.
    """

    bins: Tensor
    signs: Tensor

    def __init__(self, in_features: int, size: int, *, seed: int = 0) -> None:
        super().__init__()
        check_counts("in_features", in_features)
        check_counts("sketch size", size)
        self.in_features = in_features
        self.size = size
        draw = np.random.default_rng(seed)
        self.register_buffer("bins", torch.tensor(draw.integers(size, size=(2, in_features))))
        self.register_buffer("signs", torch.tensor(2 * draw.integers(2, size=(2, in_features)) - 1, dtype=torch.int8))

    def forward(self, x: Tensor) -> Tensor:
        return self._inverse(self._spectrum(x))

    def mean(self, x: Tensor) -> Tensor:
        """(B, N, in_features) -> (B, size): the mean of phi over N positions, with one inverse FFT for all."""
        return self._inverse(self._spectrum(x).mean(dim=1))

    def _spectrum(self, x: Tensor) -> Tensor:
        """FFT of phi(x): (..., size // 2 + 1), complex."""
        if x.dtype in (torch.float16, torch.bfloat16):
            x = x.float()
        first, second = (
            x.new_zeros(*x.shape[:-1], self.size).index_add(-1, bins, x * signs)
            for bins, signs in zip(self.bins, self.signs)
        )
        return torch.fft.rfft(first) * torch.fft.rfft(second)

    def _inverse(self, spectrum: Tensor) -> Tensor:
        return torch.fft.irfft(spectrum, n=self.size)  # n: by default an odd size would lose one bin
