"""Small videos with a sound track, for tests."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

FPS = 25


def tone(hertz: float, seconds: float = 1.0, rate: int = 16000) -> np.ndarray:
    """(n,) float32 sine of amplitude 0.5."""
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def write_video_with_sound(
    path: Path,
    samples: np.ndarray,
    *,
    rate: int = 16000,
    codec: str = "pcm_s16le",
    seconds: float | None = None,
    delay: float = 0.0,
    pause: tuple[float, float] | None = None,
) -> Path:
    """Grey pictures with ``samples``, (n,) or (channels, n) within -1..1.

    ``seconds`` is the length of the pictures, that of the sound by default. The sound begins ``delay`` seconds after
    the pictures; ``pause`` = (second, length) leaves a hole in its time stamps without leaving out a sample.
    """
    channels = np.atleast_2d(samples)
    length = channels.shape[1] / rate if seconds is None else seconds
    with av.open(str(path), "w") as output:
        pictures = output.add_stream("mpeg4", rate=FPS)
        pictures.width, pictures.height, pictures.pix_fmt = 32, 32, "yuv420p"
        sound = output.add_stream(codec, rate=rate, layout="mono" if len(channels) == 1 else "stereo")
        for number in range(max(1, round(length * FPS))):
            picture = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 128, np.uint8), format="rgb24")
            picture.pts = number
            output.mux(pictures.encode(picture))
        output.mux(pictures.encode(None))
        block = sound.codec_context.frame_size or 1024
        for first in range(0, channels.shape[1], block):
            piece = channels[:, first : first + block]
            levels = np.ascontiguousarray((piece * 32767).round().astype(np.int16).T.reshape(1, -1))
            frame = av.AudioFrame.from_ndarray(levels, format="s16", layout=sound.layout.name)
            moved = delay + (pause[1] if pause is not None and first / rate >= pause[0] else 0)
            frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
            frame.pts = first + round(moved * rate)
            if sound.codec_context.format.name != "s16":
                (frame,) = av.AudioResampler(format=sound.codec_context.format.name).resample(frame)
            output.mux(sound.encode(frame))
        output.mux(sound.encode(None))
    return path
