"""Log-mel spectrograms: how strong each band of pitch is at each time, as a picture.

The front end of VGGish (Hershey et al.: "CNN Architectures for Large-Scale Audio Classification", ICASSP 2017): the
magnitude of the short-time Fourier transform under a Hann window, summed in triangular bands that are equally wide on
the mel scale, m = 1127 ln(1 + f / 700), and the logarithm of the sum plus a small offset.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

_LOUDEST = 7.0
"""Logarithm that becomes white; with the default options a full-scale tone gives 5.2 to 6.5."""


@dataclass(frozen=True)
class LogMel:
    """Options of the spectrogram; but for the number of bands they are VGGish's."""

    rate: int = 16000
    """Samples a second of the sound."""
    window: int = 400
    """Samples that a column looks at, 25 ms."""
    hop: int = 160
    """Samples from a column to the next, 10 ms."""
    fft: int = 2048
    """Length of the transform, the window padded with zeros. VGGish has 512 for 64 bands; with more bands some of the
    lowest would lie between two of its frequencies."""
    bands: int = 128
    """Rows of the picture; VGGish has 64."""
    low: float = 125.0
    """Hz, lower end of the lowest band."""
    high: float = 7500.0
    """Hz, upper end of the highest band."""
    offset: float = 0.01
    """Added before the logarithm, so that silence is ``log(offset)``."""

    def __post_init__(self) -> None:
        for name in ("rate", "window", "hop", "bands"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, got {getattr(self, name)}")
        if not self.fft >= self.window:
            raise ValueError(f"fft must be at least the window's {self.window} samples, got {self.fft}")
        if not 0 <= self.low < self.high <= self.rate / 2:
            raise ValueError(f"low and high must be 0 <= low < high <= rate / 2, got {self.low} and {self.high} Hz")
        if not self.offset > 0:
            raise ValueError(f"offset must be above 0, got {self.offset}")
        empty = np.flatnonzero(~mel_weights(self).any(axis=1))
        if len(empty):
            raise ValueError(
                f"band {empty[0]} lies between two frequencies of the transform; take a larger fft than {self.fft} or "
                f"fewer bands than {self.bands}"
            )

    def samples_of(self, columns: int) -> int:
        """Samples that make exactly so many columns."""
        return (columns - 1) * self.hop + self.window


def log_mel(samples: np.ndarray, config: LogMel) -> np.ndarray:
    """(n,) samples -> (bands, columns) float32, low pitch first; columns = 1 + (n - window) // hop, none are padded.

    Fewer samples than a window give no column.
    """
    columns = 1 + (len(samples) - config.window) // config.hop if len(samples) >= config.window else 0
    if columns == 0:
        return np.zeros((config.bands, 0), np.float32)
    pieces = np.lib.stride_tricks.sliding_window_view(np.asarray(samples, np.float32), config.window)[:: config.hop]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(config.window) / config.window)
    magnitude = np.abs(np.fft.rfft(pieces * hann.astype(np.float32), config.fft))  # (columns, fft / 2 + 1)
    return np.log(mel_weights(config) @ magnitude.T + config.offset).astype(np.float32)


@lru_cache(maxsize=8)
def mel_weights(config: LogMel) -> np.ndarray:
    """(bands, fft / 2 + 1): the triangle of each band over the frequencies of the transform.

    Band k rises from edge k to 1 at edge k + 1 and falls to edge k + 2, straight on the mel scale, where the edges lie
    at equal distances from ``low`` to ``high``. The frequency zero has no weight.
    """
    edges = np.linspace(mel(config.low), mel(config.high), config.bands + 2)
    frequencies = mel(np.arange(config.fft // 2 + 1) * config.rate / config.fft)
    rising = (frequencies - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - frequencies) / (edges[2:] - edges[1:-1])[:, None]
    weights = np.maximum(0, np.minimum(rising, falling))
    weights[:, 0] = 0
    weights.flags.writeable = False
    return weights


def mel(hertz: float | np.ndarray) -> np.ndarray:
    """Frequency on the mel scale."""
    return 1127 * np.log1p(np.asarray(hertz) / 700)


def as_picture(spectrogram: np.ndarray, config: LogMel) -> np.ndarray:
    """(bands, columns) -> uint8 of that shape: 0 is silence, a step is about 0.4 dB, 255 the loudest there can be."""
    silence = math.log(config.offset)
    levels = (spectrogram - silence) * (255 / (_LOUDEST - silence))
    return np.clip(levels.round(), 0, 255).astype(np.uint8)
