"""Where puppets act: textured backgrounds, and a camera that pans, zooms and trembles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

MARGIN = 0.8
"""A background reaches this share of the picture's size beyond it on every side, so that the camera may move."""


@dataclass(frozen=True)
class Camera:
    """How the picture lies over the world, frame by frame; the world's origin is the unmoved picture's corner."""

    pan: np.ndarray
    """(frames, 2) pixels by which everything in the picture is displaced."""
    zoom: np.ndarray
    """(frames,) about the picture's centre."""

    def to_picture(self, frame: int, x: float, y: float, centre: tuple[float, float]) -> tuple[float, float]:
        """Picture coordinates of a world point."""
        zoom, (dx, dy) = self.zoom[frame], self.pan[frame]
        return (x - centre[0]) * zoom + centre[0] + dx, (y - centre[1]) * zoom + centre[1] + dy


def still_camera(num_frames: int) -> Camera:
    return Camera(np.zeros((num_frames, 2)), np.ones(num_frames))


def random_camera(rng: np.random.Generator, num_frames: int, size: tuple[int, int], strength: float) -> Camera:
    """A hand-held camera; ``strength`` 0 is a tripod, 1 moves by some hundredths of the picture's ``size`` (w, h)."""
    t = np.arange(num_frames)[:, None]
    slow = np.sin(2 * np.pi * (t / rng.uniform(40, 90, 2) + rng.random(2))) * rng.uniform(0.0, 0.035, 2)
    drift = (t / max(num_frames - 1, 1) - 0.5) * rng.uniform(-0.05, 0.05, 2)
    tremble = np.cumsum(rng.normal(0, 0.0012, (num_frames, 2)), axis=0)
    pan = strength * (slow + drift + tremble) * np.array(size)
    breath = np.sin(2 * np.pi * (t[:, 0] / rng.uniform(50, 100) + rng.random()))
    zoom = 1.0 + strength * (rng.uniform(0.0, 0.04) * breath + rng.uniform(-0.03, 0.03) * (t[:, 0] / num_frames))
    return Camera(pan, zoom)


def background_at(background: Image.Image, camera: Camera, frame: int, size: tuple[int, int]) -> np.ndarray:
    """What the camera sees of the background at a frame: (H, W, 3) float32 for a picture of ``size`` (w, h)."""
    width, height = size
    zoom, (dx, dy) = float(camera.zoom[frame]), camera.pan[frame]
    # picture (u, v) -> world -> background: x = (u - cx - dx) / zoom + cx + margin
    cx, cy = width / 2, height / 2
    offset_x = (background.width - width) / 2 + cx - (cx + dx) / zoom
    offset_y = (background.height - height) / 2 + cy - (cy + dy) / zoom
    seen = background.transform(
        size,
        Image.Transform.AFFINE,
        (1 / zoom, 0, offset_x, 0, 1 / zoom, offset_y),
        resample=Image.Resampling.BILINEAR,
    )
    return np.asarray(seen, np.float32)


def random_background(rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """A made-up place for a picture of ``size`` (w, h): two grounds that meet at a horizon, texture and things."""
    width, height = (round(side * (1 + 2 * MARGIN)) for side in size)
    horizon = round(height * rng.uniform(0.42, 0.62))
    upper, lower = (_gradient(rng, width, rows) for rows in (horizon, height - horizon))
    canvas = np.concatenate([upper, lower])
    image = Image.fromarray(canvas.clip(0, 255).astype(np.uint8))
    unit = size[1]
    style = rng.integers(3)
    if style == 0:
        _draw_rectangles(rng, image, unit, horizon)
    elif style == 1:
        _draw_blobs(rng, image, unit, horizon)
    else:
        _draw_stripes(rng, image, unit, horizon)
    texture = _noise(rng, width, height, unit) * rng.uniform(8, 26)
    tint = rng.uniform(0.75, 1.25, 3)
    textured = np.asarray(image, np.float32) + texture[..., None] * tint
    return Image.fromarray(textured.clip(0, 255).astype(np.uint8))


def _colour(rng: np.random.Generator) -> np.ndarray:
    """Rather pale, as most places are; (3,) float64."""
    grey = rng.uniform(50, 210)
    return np.clip(grey + rng.normal(0, 20, 3), 15, 240)


def _gradient(rng: np.random.Generator, width: int, rows: int) -> np.ndarray:
    top = _colour(rng)
    bottom = np.clip(top + rng.normal(0, 16, 3), 10, 245)
    blend = np.linspace(0, 1, max(rows, 1))[:, None, None]
    return np.broadcast_to(top + (bottom - top) * blend, (max(rows, 1), width, 3))


def _noise(rng: np.random.Generator, width: int, height: int, unit: int) -> np.ndarray:
    """(height, width) float32 of about unit spread: spots of several sizes over one another."""
    total = np.zeros((height, width), np.float32)
    for spot, weight in ((unit / 3, 0.8), (unit / 8, 0.6), (unit / 24, 0.5), (1.5, 0.35)):
        shape = max(2, round(height / spot)), max(2, round(width / spot))
        coarse = Image.fromarray(rng.normal(0, 1, shape).astype(np.float32))
        total += weight * np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
    return total


def _fill(rng: np.random.Generator) -> tuple[int, int, int]:
    r, g, b = _colour(rng)
    return int(r), int(g), int(b)


def _draw_rectangles(rng: np.random.Generator, image: Image.Image, unit: int, horizon: int) -> None:
    """Doors, windows, cupboards: upright boxes, some with a frame, above and across the horizon."""
    draw = ImageDraw.Draw(image)
    for _ in range(rng.integers(6, 16)):
        w, h = unit * rng.uniform(0.08, 0.5), unit * rng.uniform(0.1, 0.6)
        x, y = rng.uniform(-0.1, 1.0) * image.width, horizon + unit * rng.uniform(-0.9, 0.05) - h / 2
        outline = _fill(rng) if rng.random() < 0.5 else None
        draw.rectangle([x, y, x + w, y + h], fill=_fill(rng), outline=outline, width=max(1, unit // 60))


def _draw_blobs(rng: np.random.Generator, image: Image.Image, unit: int, horizon: int) -> None:
    """Trees, bushes, stones: ellipses, some on a trunk."""
    draw = ImageDraw.Draw(image)
    for _ in range(rng.integers(8, 22)):
        x, y = rng.uniform(0, 1.0) * image.width, horizon + unit * rng.uniform(-0.5, 0.25)
        w, h = unit * rng.uniform(0.06, 0.4), unit * rng.uniform(0.06, 0.35)
        if rng.random() < 0.4:
            trunk = unit * rng.uniform(0.01, 0.03)
            draw.rectangle([x - trunk, y, x + trunk, y + h + unit * 0.25], fill=_fill(rng))
        draw.ellipse([x - w / 2, y - h / 2, x + w / 2, y + h / 2], fill=_fill(rng))


def _draw_stripes(rng: np.random.Generator, image: Image.Image, unit: int, horizon: int) -> None:
    """Planks, tiles, fences: lines in one or two directions above, slanted ones below the horizon."""
    draw = ImageDraw.Draw(image)
    colour, thickness = _fill(rng), max(1, round(unit * rng.uniform(0.006, 0.03)))
    step = unit * rng.uniform(0.08, 0.3)
    for x in np.arange(0, image.width, step):
        draw.line([x, 0, x, horizon], fill=colour, width=thickness)
    if rng.random() < 0.6:
        for y in np.arange(0, horizon, step):
            draw.line([0, y, image.width, y], fill=colour, width=thickness)
    colour, slant = _fill(rng), rng.uniform(-1.0, 1.0)
    for x in np.arange(-image.width, 2 * image.width, step * 1.5):
        draw.line([x, horizon, x + slant * unit, image.height], fill=colour, width=thickness)
