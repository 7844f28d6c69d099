"""Drawing puppets: sticks with round ends, anti-aliased by their exact distance, painted from far to near.

A figure's mask is known to the pixel, so its box is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from video.puppet_poses import FOREARM, Joints
from video.puppet_props import Colour, Stick

SKINS: tuple[Colour, ...] = ((241, 203, 170), (224, 172, 132), (190, 134, 94), (141, 92, 62), (94, 60, 42))
HAIRS: tuple[Colour, ...] = ((32, 26, 24), (74, 48, 30), (140, 96, 50), (196, 160, 96), (120, 116, 112))


@dataclass(frozen=True)
class Look:
    """How one puppet looks; the same in all clips of a source."""

    skin: Colour
    hair: Colour
    shirt: Colour
    trousers: Colour
    shoes: Colour
    long_sleeves: bool
    shorts: bool
    girth: float
    """Thickness of body and limbs; 1 is usual."""


def random_look(rng: np.random.Generator, background: np.ndarray) -> Look:
    """Clothes that stand out from ``background``, the mean colour (3,) of the picture."""
    shirt, trousers = (_standing_out(rng, background) for _ in range(2))
    skin, hair = SKINS[rng.integers(len(SKINS))], HAIRS[rng.integers(len(HAIRS))]
    shoes = (40, 36, 36) if rng.random() < 0.6 else (210, 210, 205)
    return Look(
        skin,
        hair,
        shirt,
        trousers,
        shoes,
        bool(rng.random() < 0.5),
        bool(rng.random() < 0.3),
        rng.uniform(0.88, 1.18),
    )


def _standing_out(rng: np.random.Generator, background: np.ndarray) -> Colour:
    """The first of some random colours that differs clearly from the background."""
    colours = rng.integers(15, 240, (12, 3))
    distances = np.abs(colours - background).sum(axis=1)
    far = np.flatnonzero(distances > 150)
    chosen = colours[far[0] if len(far) else int(distances.argmax())]
    return int(chosen[0]), int(chosen[1]), int(chosen[2])


def body_sticks(joints: Joints, look: Look) -> list[Stick]:
    """The puppet's body in body coordinates; what is drawn of it is its mask."""
    g = look.girth
    sticks = [
        Stick(joints.pelvis, joints.chest - [0, 0.05, 0], 0.075 * g, 0.085 * g, look.shirt),
        Stick(joints.left_shoulder, joints.right_shoulder, 0.042 * g, 0.042 * g, look.shirt),
        Stick(joints.left_hip, joints.right_hip, 0.06 * g, 0.06 * g, look.trousers),
        Stick(joints.chest, joints.head, 0.035 * g, 0.035 * g, look.skin),
        Stick(joints.head, joints.head, 0.068, 0.068, look.skin),
    ]
    # Hair sits on the upper back of the head, so one sees which way a puppet looks.
    up = joints.head - joints.chest
    crown = joints.head + 0.022 * up / np.linalg.norm(up) - 0.016 * joints.forward
    sticks.append(Stick(crown, crown, 0.06, 0.06, look.hair))
    for side in ("left", "right"):
        hip, knee, ankle, toe, shoulder, elbow, hand = (
            getattr(joints, f"{side}_{name}") for name in ("hip", "knee", "ankle", "toe", "shoulder", "elbow", "hand")
        )
        shin = look.skin if look.shorts else look.trousers
        fore = look.shirt if look.long_sleeves else look.skin
        palm = hand + (hand - elbow) * 0.02 / FOREARM
        sticks += [
            Stick(hip, knee, 0.058 * g, 0.043 * g, look.trousers),
            Stick(knee, ankle, 0.041 * g, 0.029 * g, shin),
            Stick(ankle, toe, 0.031, 0.024, look.shoes),
            Stick(shoulder, elbow, 0.038 * g, 0.031 * g, look.shirt),
            Stick(elbow, hand, 0.03 * g, 0.024 * g, fore),
            Stick(palm, palm, 0.032, 0.032, look.skin),
        ]
    return sticks


@dataclass(frozen=True)
class Placement:
    """Where a puppet's body coordinates lie in the picture."""

    x: float
    """Pixel column of the body's origin."""
    ground: float
    """Pixel row of the ground under the origin."""
    scale: float
    """Pixels of one body height."""
    yaw: float
    """Degrees: 0 faces right, 90 the camera, 180 left."""
    mirrored: bool = False
    """Left and right exchanged."""

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n, 3) body coordinates to (n, 2) pixel coordinates and (n,) depth, larger farther away."""
        x, y, z = points.T
        if self.mirrored:
            z = -z
        c, s = np.cos(np.radians(self.yaw)), np.sin(np.radians(self.yaw))
        depth = z * c - x * s
        # a camera a little above the ground sees what is farther away a little higher
        rows = self.ground - self.scale * (y + 0.1 * depth)
        return np.stack([self.x + self.scale * (x * c + z * s), rows], axis=1), depth


def draw_sticks(
    image: np.ndarray, sticks: Sequence[Stick], placement: Placement, *, masked: int = 0
) -> np.ndarray | None:
    """Paint sticks on ``image`` (H, W, 3) float32 in place, far ones first.

    Returns x1, y1, x2, y2 (4,) int64 around the pixels of which the first ``masked`` sticks cover at least half,
    whatever is painted over them; None where there are none in the picture.
    """
    if not sticks:
        return None
    ends, depths = placement.project(np.array([[s.start, s.end] for s in sticks]).reshape(-1, 3))
    middles = depths.reshape(-1, 2).mean(axis=1)
    seen = []
    for index in np.argsort(-middles, kind="stable").tolist():
        (x1, y1), (x2, y2) = ends[2 * index : 2 * index + 2].tolist()
        stick = sticks[index]
        radii = placement.scale * stick.start_radius, placement.scale * stick.end_radius
        box = _paint(image, (x1, y1), (x2, y2), radii, stick.colour)
        if box is not None and index < masked:
            seen.append(box)
    if not seen:
        return None
    corners = np.array(seen)
    return np.concatenate([corners[:, :2].min(axis=0), corners[:, 2:].max(axis=0)])


def _paint(
    image: np.ndarray,
    start: tuple[float, float],
    end: tuple[float, float],
    radii: tuple[float, float],
    colour: Colour,
) -> tuple[int, int, int, int] | None:
    """Paint one stick given in pixels; x1, y1, x2, y2 around the pixels it covers by half or more, None without any."""
    height, width = image.shape[:2]
    (sx, sy), (ex, ey), (r1, r2) = start, end, radii
    x1, x2 = max(int(min(sx - r1, ex - r2)) - 1, 0), min(int(max(sx + r1, ex + r2)) + 2, width)
    y1, y2 = max(int(min(sy - r1, ey - r2)) - 1, 0), min(int(max(sy + r1, ey + r2)) + 2, height)
    if x1 >= x2 or y1 >= y2:
        return None
    dx = np.arange(x1, x2, dtype=np.float32)[None, :] + np.float32(0.5 - sx)
    dy = np.arange(y1, y2, dtype=np.float32)[:, None] + np.float32(0.5 - sy)
    ax, ay = ex - sx, ey - sy
    # how far along the stick the nearest point of its axis lies, 0..1
    t = np.clip((dx * ax + dy * ay) / max(ax * ax + ay * ay, 1e-6), 0.0, 1.0)
    below = dy - t * ay
    distance = np.hypot(dx - t * ax, below)
    radius = t * (r2 - r1) + r1
    # A rod thinner than a pixel covers as much of it as it is wide.
    cover = np.clip(radius - distance + 0.5, 0.0, min(1.0, 2.0 * max(r1, r2)))
    # brighter towards the middle and from above, as round things under a sky are
    across = 1.0 / np.maximum(radius, 1e-3)
    inside = np.minimum(distance * across, 1.0)
    shade = 1.06 - 0.3 * inside * inside - 0.08 * np.clip(below * across, -1.0, 1.0)
    window = image[y1:y2, x1:x2]
    window += cover[..., None] * (shade[..., None] * np.array(colour, np.float32) - window)
    mask = cover >= 0.5
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if len(rows) == 0:
        return None
    return x1 + int(columns[0]), y1 + int(rows[0]), x1 + int(columns[-1]) + 1, y1 + int(rows[-1]) + 1
