"""The puppet's body: a pose in joint angles, and where that puts the joints in space.

Body coordinates are in body heights: x forward, y up from the ground, z to the puppet's left. A limb's direction
is given by two angles in degrees measured from hanging straight down, independent of the limb above it:
``flex`` swings it forward (90 is horizontal, 180 straight up), ``abd`` (abduction) away from the body's middle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

Limb = tuple[float, float]
"""(flex, abd) in degrees."""

HIP_HALF_WIDTH, SHOULDER_HALF_WIDTH = 0.055, 0.11
THIGH, SHIN, FOOT = 0.245, 0.23, 0.075
TORSO, NECK_TO_HEAD = 0.30, 0.105
UPPER_ARM, FOREARM = 0.165, 0.155
ANKLE_HEIGHT = 0.03


@dataclass(frozen=True)
class Pose:
    """Joint angles in degrees and displacements in body heights; the default stands upright."""

    lean: float = 2.0
    """Torso, forward from vertical."""
    twist: float = 0.0
    """Shoulders and arms, about the vertical, towards the left."""
    nod: float = 0.0
    """Head, forward from the torso's direction."""
    left_upper_arm: Limb = (4.0, 9.0)
    left_forearm: Limb = (14.0, 4.0)
    right_upper_arm: Limb = (4.0, 9.0)
    right_forearm: Limb = (14.0, 4.0)
    left_thigh: Limb = (2.0, 4.0)
    left_shin: Limb = (-2.0, 2.0)
    right_thigh: Limb = (2.0, 4.0)
    right_shin: Limb = (-2.0, 2.0)
    air: float = 0.0
    """Height of the lower foot above the ground."""
    forward: float = 0.0
    """Displacement along the direction in which the puppet faces."""


@dataclass(frozen=True)
class Moment:
    """When in an action, and how this puppet does it."""

    progress: float
    """0 at the action's first frame, 1 at its last."""
    phase: float
    """Radians; grows with time, for motions that repeat."""
    amount: float = 1.0
    """How wide the motion is; 1 is usual."""
    travel: float = 0.0
    """Body heights covered from progress 0 to 1."""
    reach: float = 1.5
    """Body heights to the far object that a ball flies to or comes from."""


@dataclass(frozen=True)
class Joints:
    """(3,) float64 body coordinates of every joint of a posed puppet."""

    pelvis: np.ndarray
    chest: np.ndarray
    head: np.ndarray
    left_hip: np.ndarray
    left_knee: np.ndarray
    left_ankle: np.ndarray
    left_toe: np.ndarray
    right_hip: np.ndarray
    right_knee: np.ndarray
    right_ankle: np.ndarray
    right_toe: np.ndarray
    left_shoulder: np.ndarray
    left_elbow: np.ndarray
    left_hand: np.ndarray
    right_shoulder: np.ndarray
    right_elbow: np.ndarray
    right_hand: np.ndarray
    forward: np.ndarray
    """Unit vector in which the shoulders face."""


def direction(limb: Limb, side: int) -> np.ndarray:
    """Unit vector of a limb; ``side`` is 1 on the left, -1 on the right."""
    flex, abd = np.radians(limb)
    return np.array([np.sin(flex) * np.cos(abd), -np.cos(flex) * np.cos(abd), side * np.sin(abd)])


def turned(vector: np.ndarray, degrees: float) -> np.ndarray:
    """The vector turned about the vertical, towards the puppet's left."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    x, y, z = vector
    return np.array([c * x - s * z, y, s * x + c * z])


def joints_of(pose: Pose) -> Joints:
    """Forward kinematics; the lower foot stands ``pose.air`` above the ground."""
    joints: dict[str, np.ndarray] = {}
    for name, side in (("left", 1), ("right", -1)):
        hip = np.array([0.0, 0.0, side * HIP_HALF_WIDTH])
        knee = hip + THIGH * direction(getattr(pose, f"{name}_thigh"), side)
        shin = getattr(pose, f"{name}_shin")
        ankle = knee + SHIN * direction(shin, side)
        # The foot is at right angles to the shin, but never steeper than 45 degrees.
        flex = np.radians(np.clip(shin[0] + 90.0, 45.0, 135.0))
        toe = ankle + FOOT * np.array([np.sin(flex), -np.cos(flex), 0.0])
        joints |= {f"{name}_hip": hip, f"{name}_knee": knee, f"{name}_ankle": ankle, f"{name}_toe": toe}
    lowest = min(joint[1] for joint in joints.values())
    pelvis = np.array([pose.forward, pose.air + ANKLE_HEIGHT - lowest, 0.0])
    joints = {name: pelvis + joint for name, joint in joints.items()}
    lean, head_lean = np.radians(pose.lean), np.radians(pose.lean + pose.nod)
    chest = pelvis + TORSO * np.array([np.sin(lean), np.cos(lean), 0.0])
    head = chest + NECK_TO_HEAD * np.array([np.sin(head_lean), np.cos(head_lean), 0.0])
    for name, side in (("left", 1), ("right", -1)):
        shoulder = chest + turned(np.array([0.0, -0.02, side * SHOULDER_HALF_WIDTH]), pose.twist)
        elbow = shoulder + UPPER_ARM * turned(direction(getattr(pose, f"{name}_upper_arm"), side), pose.twist)
        hand = elbow + FOREARM * turned(direction(getattr(pose, f"{name}_forearm"), side), pose.twist)
        joints |= {f"{name}_shoulder": shoulder, f"{name}_elbow": elbow, f"{name}_hand": hand}
    forward = turned(np.array([1.0, 0.0, 0.0]), pose.twist)
    return Joints(pelvis=pelvis, chest=chest, head=head, forward=forward, **joints)


def blend(a: Pose, b: Pose, weight: float) -> Pose:
    """The pose between ``a`` (weight 0) and ``b`` (weight 1), angle by angle."""
    mixed: dict[str, Any] = {}
    for field in fields(Pose):
        before, after = getattr(a, field.name), getattr(b, field.name)
        if isinstance(before, tuple):
            mixed[field.name] = tuple(x + (y - x) * weight for x, y in zip(before, after))
        else:
            mixed[field.name] = before + (after - before) * weight
    return Pose(**mixed)


def smooth(x: float) -> float:
    """0 up to x = 0, 1 from x = 1, with a soft start and end between."""
    x = min(max(x, 0.0), 1.0)
    return x * x * (3.0 - 2.0 * x)


def between(keys: Sequence[tuple[float, Pose]], progress: float) -> Pose:
    """The pose at ``progress`` along key poses at ascending positions; held before the first and after the last."""
    (at, pose), *rest = keys
    for next_at, next_pose in rest:
        if progress < next_at:
            return blend(pose, next_pose, smooth((progress - at) / (next_at - at)))
        at, pose = next_at, next_pose
    return pose
