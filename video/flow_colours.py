"""Pictures of optical flow for people: direction as hue, speed as saturation, no motion white."""

from __future__ import annotations

import os

import numpy as np
from matplotlib.colors import hsv_to_rgb

from video.clips import resize_frame
from video.flow import FlowSource, dequantise
from video.frames import open_video
from video.writing import VideoWriter

_WHEEL_SHARE = 0.2
"""Diameter of the wheel over the height of the picture."""
_MIN_SPEED = 1.0
"""Pixels a frame that are drawn in full colour at least: below that, noise would fill a quiet picture."""
_MIN_HEIGHT = 240
_PIECE = 32
"""Frames read at once."""


def flow_colours(flow: np.ndarray, fastest: float) -> np.ndarray:
    """(..., H, W, 3) uint8 RGB of (..., H, W, 2) displacements in pixels.

    Right is red, down yellow-green, left cyan, up violet; ``fastest`` pixels and more have full colour.
    """
    x, y = flow[..., 0].astype(np.float32), flow[..., 1].astype(np.float32)
    hue = np.arctan2(y, x) / (2 * np.pi) % 1.0
    saturation = np.minimum(np.hypot(x, y) / fastest, 1.0)
    colours = hsv_to_rgb(np.stack([hue, saturation, np.ones_like(hue)], axis=-1))
    return np.rint(255 * colours).astype(np.uint8)


def colour_wheel(size: int) -> np.ndarray:
    """(size, size, 3) uint8: the colour of each direction and speed, no motion in the middle, full speed at the rim."""
    ticks = (np.arange(size, dtype=np.float32) + 0.5) * 2 / size - 1
    x, y = np.meshgrid(ticks, ticks)
    wheel = flow_colours(np.stack([x, y], axis=-1), 1.0)
    wheel[np.hypot(x, y) > 1] = 255
    return wheel


def typical_speed(flow: np.ndarray) -> float:
    """Pixels that all but one in a hundred displacements stay below, and at least 1: a scale to draw with."""
    return max(_MIN_SPEED, float(np.percentile(np.hypot(flow[..., 0], flow[..., 1]), 99)))


def write_flow_video(
    video: str | os.PathLike[str], flow: FlowSource, path: str | os.PathLike[str], *, bound: float
) -> None:
    """Write a video for looking: the frames at the left, their flow at the right, and the colour wheel in a corner.

    ``bound`` is that of the settings the flow was made with. One scale holds for the whole video (typical_speed of 64
    frames spread over it). VideoError when something cannot be read or written.
    """
    spread = np.unique(np.linspace(0, flow.num_frames - 1, 64).round().astype(int))
    fastest = typical_speed(dequantise(flow.read(spread), bound))
    scale = max(1, -(-_MIN_HEIGHT // flow.height))
    height, width = flow.height * scale, flow.width * scale
    wheel = colour_wheel(round(_WHEEL_SHARE * height))
    with (
        open_video(video) as source,
        VideoWriter(path, width=2 * width, height=height, fps=flow.fps) as writer,
    ):
        pictures = np.empty((0, flow.height, flow.width, 2), np.uint8)
        for index, frame in enumerate(source):
            if index >= flow.num_frames:
                break
            if index % _PIECE == 0:
                pictures = flow.read(range(index, min(index + _PIECE, flow.num_frames)))
            colours = flow_colours(dequantise(pictures[index % _PIECE], bound), fastest)
            right = resize_frame(colours, (height, width)).copy()
            right[-len(wheel) :, -len(wheel) :] = wheel
            writer.write(np.concatenate([resize_frame(frame, (height, width)), right], axis=1))
