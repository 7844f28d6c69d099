"""Small videos for tests: each frame carries its own number, so a wrong frame is seen at once."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from av.stream import Disposition

WIDTH, HEIGHT = 96, 64
BITS, CELL = 8, 12  # the number stands in binary in cells along the upper edge


def numbered_frame(number: int, *, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """(height, width, 3) uint8: black and white cells above, a coloured pattern that moves below."""
    coarse = np.random.default_rng(7).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
    frame = np.roll(coarse.repeat(8, axis=0).repeat(8, axis=1)[:height, :width], 2 * number, axis=1)
    for bit in range(BITS):
        frame[:CELL, bit * CELL : (bit + 1) * CELL] = 255 * (number >> bit & 1)
    return frame


def number_of(frame: np.ndarray) -> int:
    """The number that a decoded ``numbered_frame`` carries."""
    middles = [bit * CELL + CELL // 2 for bit in range(BITS)]
    return sum(1 << bit for bit, x in enumerate(middles) if frame[CELL // 2, x].mean() > 127)


def write_numbered(
    path: Path,
    codec: str = "libx264",
    *,
    frames: int = 20,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    pix_fmt: str = "yuv420p",
    fps: int = 25,
    container: str | None = None,
    title: str | None = None,
    width: int = WIDTH,
    height: int = HEIGHT,
    rotation: int = 0,
) -> Path:
    """Encode ``frames`` numbered frames with PyAV; ``rotation`` in degrees is stored, not applied."""
    with av.open(str(path), "w", format=container, options=container_options or {}) as output:
        if title is not None:
            output.metadata["title"] = title
        stream = output.add_stream(codec, rate=fps, options=options or {})
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        if rotation:
            stream.set_display_rotation(rotation)
        for number in range(frames):
            picture = av.VideoFrame.from_ndarray(
                numbered_frame(number, width=width, height=height), format="rgb24"
            )
            picture.pts = number
            output.mux(stream.encode(picture))
        output.mux(stream.encode(None))
    return path


def write_sound(path: Path, codec: str, *, cover: bytes | None = None) -> Path:
    """A second of silence; ``cover`` is a JPEG picture that goes with it."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=44100)
        if cover is not None:
            picture = output.add_stream("mjpeg", rate=1)
            picture.width, picture.height, picture.pix_fmt = WIDTH, HEIGHT, "yuvj420p"
            picture.disposition = Disposition.attached_pic
        silence = av.AudioFrame.from_ndarray(np.zeros((2, 44100), np.float32), format="fltp", layout="stereo")
        silence.rate, silence.pts = 44100, 0
        context = stream.codec_context
        resampler = av.AudioResampler(
            format=context.format.name, layout="stereo", rate=44100, frame_size=context.frame_size or 1152
        )
        for piece in resampler.resample(silence):
            output.mux(stream.encode(piece))
        output.mux(stream.encode(None))
        if cover is not None:
            packet = av.Packet(cover)
            packet.stream, packet.pts, packet.dts = picture, 0, 0
            output.mux(packet)
    return path
