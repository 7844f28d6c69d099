"""Putting puppets into places: who does what, when and where in the picture, and drawing it frame by frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import cos, pi, radians

import numpy as np
from PIL import Image

from video.puppet_actions import ACTIONS, Action, resting_pose
from video.puppet_figures import Look, Placement, body_sticks, draw_sticks
from video.puppet_places import Camera, background_at
from video.puppet_poses import Joints, Moment, Pose, blend, joints_of

_BLEND_FRAMES = 4  # from waiting into a repeated motion and back
_EDGE = 0.03  # share of the picture kept free around a puppet, camera movement aside


@dataclass(frozen=True)
class Actor:
    """One puppet of a scene. ``label`` None is a bystander."""

    look: Look
    placement: Placement
    """In world coordinates; the camera comes on top."""
    label: str | None = None
    first_frame: int = 0
    """Where the action begins."""
    end_frame: int = 0
    """One past the action's last frame."""
    frequency: float = 1.0
    """Repetitions a second."""
    phase: float = 0.0
    """Radians at the first frame; of the waiting movements too."""
    amount: float = 1.0
    travel: float = 0.0
    """Body heights from the first frame of the action to its last."""
    reach: float = 1.5
    frozen: Moment | None = None
    """A bystander who holds the pose of ``frozen_label`` at this moment instead of standing."""
    frozen_label: str | None = None

    def moment(self, frame: int, fps: float) -> Moment:
        done = frame - self.first_frame
        length = max(self.end_frame - self.first_frame - 1, 1)
        progress = min(max(done / length, 0.0), 1.0)
        phase = self.phase + 2 * pi * self.frequency * done / fps
        return Moment(progress, phase, self.amount, self.travel, self.reach)

    def pose(self, frame: int, fps: float) -> Pose:
        moment = self.moment(frame, fps)
        sway = self.phase + 2 * pi * 0.35 * frame / fps
        if self.label is None:
            if self.frozen is not None and self.frozen_label is not None:
                return ACTIONS[self.frozen_label].motion(self.frozen)
            return resting_pose(None, moment, sway)
        action = ACTIONS[self.label]
        resting = resting_pose(action, moment, sway)
        if not self.first_frame <= frame < self.end_frame:
            return resting
        acting = action.motion(moment)
        if action.frequency is None:
            return acting
        # A puppet that acts from the first picture on was at it before; otherwise it passes over from its rest.
        begun = frame - self.first_frame + 1 if self.first_frame > 0 else _BLEND_FRAMES
        return blend(resting, acting, min(begun / _BLEND_FRAMES, 1.0))


@dataclass(frozen=True)
class Scene:
    """Everything that is needed to draw a video; drawing has no randomness but ``noise_seed``."""

    width: int
    height: int
    num_frames: int
    fps: float
    background: Image.Image
    camera: Camera
    actors: tuple[Actor, ...]
    """Drawn in this order, so far ones come first."""
    noise: float = 0.0
    """Standard deviation of the sensor noise, grey levels."""
    noise_seed: int = 0

    @property
    def centre(self) -> tuple[float, float]:
        return self.width / 2, self.height / 2


def render(scene: Scene) -> Iterator[tuple[np.ndarray, list[np.ndarray | None]]]:
    """Each frame as (H, W, 3) uint8 with the box of every actor: (4,) int64 x1 y1 x2 y2, None where out of sight.

    A box holds all of a puppet that lies within the picture, also where another puppet or a thing hides it;
    what the puppet holds or uses is not part of it.
    """
    rng = np.random.default_rng(scene.noise_seed)
    for frame in range(scene.num_frames):
        image = background_at(scene.background, scene.camera, frame, (scene.width, scene.height))
        boxes = []
        for actor in scene.actors:
            boxes.append(_draw_actor(image, scene, actor, frame))
        if scene.noise:
            image += rng.normal(0.0, scene.noise, (*image.shape[:2], 1)).astype(np.float32)
        yield np.clip(image + 0.5, 0, 255).astype(np.uint8), boxes


def _draw_actor(image: np.ndarray, scene: Scene, actor: Actor, frame: int) -> np.ndarray | None:
    x, ground = scene.camera.to_picture(frame, actor.placement.x, actor.placement.ground, scene.centre)
    zoom = float(scene.camera.zoom[frame])
    seen = replace(actor.placement, x=x, ground=ground, scale=actor.placement.scale * zoom)
    joints = joints_of(actor.pose(frame, scene.fps))
    props = []
    if actor.label is not None:
        moment = actor.moment(frame, scene.fps)
        props = [stick for make in ACTIONS[actor.label].props for stick in make(joints, moment)]
    body = body_sticks(joints, actor.look)
    draw_sticks(image, [stick for stick in props if stick.behind], seen)
    return draw_sticks(image, body + [stick for stick in props if not stick.behind], seen, masked=len(body))


def extent(actor: Actor, num_frames: int, fps: float) -> np.ndarray:
    """x1, y1, x2, y2 (4,) around the puppet over all frames, pixels relative to its placement, camera unmoved."""
    poses = [joints_of(actor.pose(frame, fps)) for frame in range(0, num_frames, 2)]
    points = np.concatenate([_outline(joints) for joints in poses])
    at, _ = replace(actor.placement, x=0.0, ground=0.0).project(points)
    # Joints lie inside the body; the head is its thickest part beyond a joint.
    thickness = 0.075 * actor.placement.scale
    return np.concatenate([at.min(axis=0) - thickness, at.max(axis=0) + thickness])


def _outline(joints: Joints) -> np.ndarray:
    names = (
        "head",
        "left_hand",
        "right_hand",
        "left_elbow",
        "right_elbow",
        "left_toe",
        "right_toe",
        "left_ankle",
    )
    return np.array([getattr(joints, name) for name in (*names, "right_ankle", "pelvis", "left_knee", "right_knee")])


def placed(
    actor: Actor,
    rng: np.random.Generator,
    size: tuple[int, int],
    frames: tuple[int, float],
    columns: tuple[float, float],
) -> Actor:
    """The actor moved, and shrunk where need be, so that it stays in the picture.

    ``size`` is (width, height), ``frames`` (number, fps), ``columns`` the range of the picture's width, 0..1, that
    the puppet may use. An actor with something far away stands at the near side and gets its ``reach``.
    """
    width, height = size
    action = ACTIONS[actor.label] if actor.label else None
    left, right = columns[0] + _EDGE, columns[1] - _EDGE
    faces_right = cos(radians(actor.placement.yaw)) > 0
    if action is not None and action.reach:
        # the nearest 45 % are for the puppet, the rest for the way to the far object
        middle = left + 0.45 * (right - left) if faces_right else right - 0.45 * (right - left)
        left, right = (left, middle) if faces_right else (middle, right)
    for _ in range(8):
        x1, y1, x2, y2 = extent(actor, *frames)
        fits = min((right - left) * width / (x2 - x1), (1 - 2 * _EDGE) * height / (y2 - y1))
        if fits >= 1.0:
            break
        actor = _shrunk(actor, action, fits)
    x = rng.uniform(left * width - x1, max(left * width - x1, right * width - x2))
    lowest, highest = height * (1 - _EDGE) - y2, height * _EDGE - y1
    ground = rng.uniform(max(highest, lowest - 0.22 * height), max(highest, lowest))
    placement = replace(actor.placement, x=x, ground=ground)
    actor = replace(actor, placement=placement)
    if action is not None and action.reach:
        target = rng.uniform(0.86, 0.93) if faces_right else rng.uniform(0.07, 0.14)
        along = placement.scale * abs(cos(radians(placement.yaw)))
        actor = replace(actor, reach=abs(target * width - x) / along)
    return actor


def _shrunk(actor: Actor, action: Action | None, fits: float) -> Actor:
    """Less way first, then a smaller puppet, until it fits."""
    if action is not None and actor.travel > 0.35:
        return replace(actor, travel=max(0.3, actor.travel * max(fits - 0.05, 0.3)))
    return replace(actor, placement=replace(actor.placement, scale=actor.placement.scale * max(fits, 0.5) * 0.98))
