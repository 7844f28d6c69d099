"""Making up scenes: a place, someone who acts, others who act too or only stand there, a camera.

Every choice comes from the generators that are handed in, so a scene is the same whenever it is made again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import cos, pi, radians

import numpy as np
from PIL import Image

from video.puppet_actions import ACTIONS
from video.puppet_figures import Look, Placement, random_look
from video.puppet_places import Camera, random_background, random_camera, still_camera
from video.puppet_poses import Moment
from video.puppet_scenes import Actor, Scene, extent, placed


@dataclass(frozen=True)
class Style:
    """What scenes are like, whatever happens in them."""

    width: int = 160
    """Pixels."""
    height: int = 120
    fps: float = 25.0
    min_person: float = 0.42
    """Height of a person as a share of the picture's height."""
    max_person: float = 0.78
    camera: float = 1.0
    """0 is a tripod, 1 a hand-held camera that also follows who moves."""
    bystanders: int = 2
    """At most, in a scene with one actor."""
    frozen_bystanders: bool = True
    """Whether some bystanders hold a pose of an action, so that a single picture does not tell who acts."""
    noise: float = 4.0
    """Sensor noise of the worst camera, grey levels."""


@dataclass(frozen=True)
class Source:
    """What the clips of one source have in common: the place, the people, the light."""

    background: Image.Image
    looks: tuple[Look, ...]
    noise: float


def random_source(rng: np.random.Generator, style: Style, people: int = 4) -> Source:
    size = style.width, style.height
    background = random_background(rng, size)
    mean = np.asarray(background, np.float32).reshape(-1, 3).mean(axis=0)
    return Source(background, tuple(random_look(rng, mean) for _ in range(people)), rng.uniform(0, style.noise))


def trimmed_scene(rng: np.random.Generator, source: Source, style: Style, label: str, num_frames: int) -> Scene:
    """One puppet acts from the first frame to the last; others may stand around."""
    bystanders = int(rng.integers(style.bystanders + 1))
    actor = _actor(rng, source.looks[0], style, label, (0, num_frames), num_frames, (0.0, 1.0))
    camera, actor = _filmed(rng, actor, style, num_frames)
    others = [_bystander(rng, look, style, num_frames, actor) for look in source.looks[1 : 1 + bystanders]]
    return _scene(rng, source, style, camera, [*others, actor], num_frames)


def untrimmed_scene(
    rng: np.random.Generator, source: Source, style: Style, label: str, num_frames: int, max_actors: int
) -> Scene:
    """Up to ``max_actors`` puppets side by side, each acting in its own time and waiting before and after."""
    # A ball's flight needs the whole picture, and who moves needs room.
    room = 1 if ACTIONS[label].reach else 2 if ACTIONS[label].speed else max_actors
    count = int(rng.integers(1, min(room, max_actors) + 1))
    actors = []
    for index in range(count):
        length = int(rng.integers(round(0.4 * num_frames), round(0.75 * num_frames) + 1))
        first = int(rng.integers(num_frames - length + 1))
        columns = index / count, (index + 1) / count
        span = first, first + length
        actors.append(_actor(rng, source.looks[index], style, label, span, num_frames, columns))
    camera, alone = random_camera(rng, num_frames, (style.width, style.height), style.camera), []
    if count == 1:
        camera, only = _filmed(rng, actors[0], style, num_frames)
        actors = [only]
        if style.bystanders and rng.random() < 0.4:
            alone = [_bystander(rng, source.looks[1], style, num_frames, only)]
    return _scene(rng, source, style, camera, [*alone, *actors], num_frames)


def told_scene(
    rng: np.random.Generator,
    source: Source,
    style: Style,
    parts: Sequence[tuple[str, int, int]],
    num_frames: int,
) -> Scene:
    """Puppets side by side, one for each (label, first frame, end frame) of ``parts``, filmed from a tripod."""
    actors = [
        _actor(rng, look, style, label, (first, end), num_frames, (index / len(parts), (index + 1) / len(parts)))
        for index, (look, (label, first, end)) in enumerate(zip(source.looks, parts, strict=True))
    ]
    return _scene(rng, source, style, still_camera(num_frames), actors, num_frames)


def _scene(
    rng: np.random.Generator,
    source: Source,
    style: Style,
    camera: Camera,
    actors: list[Actor],
    num_frames: int,
) -> Scene:
    near_last = sorted(actors, key=lambda actor: actor.placement.ground)
    seed = int(rng.integers(2**32))
    return Scene(
        style.width,
        style.height,
        num_frames,
        style.fps,
        source.background,
        camera,
        tuple(near_last),
        noise=source.noise,
        noise_seed=seed,
    )


def _actor(
    rng: np.random.Generator,
    look: Look,
    style: Style,
    label: str,
    span: tuple[int, int],
    num_frames: int,
    columns: tuple[float, float],
) -> Actor:
    action = ACTIONS[label]
    low, high = action.views[rng.integers(len(action.views))]
    first, end = span
    slowest, fastest = action.frequency or (1.0, 1.0)
    actor = Actor(
        look,
        _somewhere(rng, style, rng.uniform(low, high)),
        label,
        first,
        end,
        frequency=rng.uniform(slowest, fastest),
        phase=rng.uniform(0, 2 * pi),
        amount=rng.uniform(0.85, 1.15),
        travel=action.speed * (end - first) / style.fps * rng.uniform(0.85, 1.15),
    )
    return placed(actor, rng, (style.width, style.height), (num_frames, style.fps), columns)


def _somewhere(rng: np.random.Generator, style: Style, yaw: float) -> Placement:
    scale = style.height * rng.uniform(style.min_person, style.max_person)
    return Placement(0.0, 0.0, scale, yaw, mirrored=bool(rng.random() < 0.5))


def _bystander(rng: np.random.Generator, look: Look, style: Style, num_frames: int, actor: Actor) -> Actor:
    """Someone who only stands there, never before ``actor`` and beside it where there is room."""
    frames, size = (num_frames, style.fps), (style.width, style.height)
    bystander = Actor(look, _somewhere(rng, style, rng.uniform(0, 360)), phase=rng.uniform(0, 2 * pi))
    if style.frozen_bystanders and rng.random() < 0.5:
        label = sorted(ACTIONS)[rng.integers(len(ACTIONS))]
        moment = Moment(rng.uniform(0.2, 0.8), rng.uniform(0, 2 * pi))
        bystander = replace(bystander, frozen=moment, frozen_label=label)
    taken = extent(actor, *frames)[[0, 2]] + actor.placement.x

    def hidden(candidate: Actor) -> float:
        x1, x2 = extent(candidate, 1, style.fps)[[0, 2]] + candidate.placement.x
        return float(min(x2, taken[1]) - max(x1, taken[0]))

    candidates = [placed(bystander, rng, size, (1, style.fps), (0.0, 1.0)) for _ in range(4)]
    chosen = min(candidates, key=hidden)
    ground = min(chosen.placement.ground, actor.placement.ground - 1)
    return replace(chosen, placement=replace(chosen.placement, ground=ground))


def _filmed(rng: np.random.Generator, actor: Actor, style: Style, num_frames: int) -> tuple[Camera, Actor]:
    """A camera for a scene with one actor; it may follow one who moves, who then covers the whole way."""
    camera = random_camera(rng, num_frames, (style.width, style.height), style.camera)
    action = ACTIONS[actor.label] if actor.label else None
    if action is None or not action.speed or rng.random() > style.camera * 0.6:
        return camera, actor
    wanted = action.speed * (actor.end_frame - actor.first_frame) / style.fps
    more = min(wanted - actor.travel, 0.6 * style.width / actor.placement.scale)
    if more <= 0:
        return camera, actor
    progress = np.array([actor.moment(frame, style.fps).progress for frame in range(num_frames)])
    scale = actor.placement.scale
    across = scale * more * cos(radians(actor.placement.yaw))
    follow = np.stack([-across * progress, scale * action.climb * more * progress], axis=1)
    return Camera(camera.pan + follow, camera.zoom), replace(actor, travel=actor.travel + more)
