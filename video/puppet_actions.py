"""What puppets can do: 21 motions under the class names of J-HMDB.

A motion is a function from a moment to a pose. Some classes are told apart only by the motion (the poses of
``wave`` and ``brush_hair`` or ``walk`` and ``push`` overlap), ``sit`` and ``stand`` only by the order of time
(each is the other played backwards), ``throw`` and ``shoot_ball`` only by what stands far away from the puppet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import pi, sin

from video import puppet_motions as motions
from video.puppet_poses import Joints, Moment, Pose
from video.puppet_props import (
    STAIR_SLOPE,
    Stick,
    arriving_ball,
    arrow_and_bow,
    bar,
    bat,
    box_in_front,
    brush,
    chair,
    club,
    flag,
    gun,
    hoop,
    jug_and_cup,
    leaving_ball,
    rolling_ball,
    small_box,
    stairs,
)

Props = Callable[[Joints, Moment], list[Stick]]

OBLIQUE = ((30.0, 60.0), (120.0, 150.0))
FRONT = ((60.0, 120.0),)
SIDE = ((-25.0, 25.0), (155.0, 205.0))
ANY = ((-30.0, 210.0),)


@dataclass(frozen=True)
class Action:
    """A motion with what belongs to it."""

    motion: Callable[[Moment], Pose]
    views: tuple[tuple[float, float], ...]
    """Ranges of the direction in which the puppet faces, degrees: 0 to the right, 90 towards the camera."""
    frequency: tuple[float, float] | None = None
    """Repetitions a second, slowest and fastest; None for what is done once."""
    speed: float = 0.0
    """Body heights a second over the ground."""
    props: tuple[Props, ...] = ()
    reach: bool = False
    """Whether something far away belongs to it; ``Moment.reach`` then says how far."""
    climb: float = 0.0
    """Body heights gained per body height covered."""
    rest_phase: float | None = None
    """Phase held by someone who has not begun or has finished; None stands idle instead."""


ACTIONS: dict[str, Action] = {
    "brush_hair": Action(motions.brush_hair, FRONT, (0.9, 1.4), props=(brush,)),
    "catch": Action(motions.catch, SIDE, props=(arriving_ball,), reach=True),
    "clap": Action(motions.clap, FRONT, (2.0, 3.0)),
    "climb_stairs": Action(motions.climb_stairs, SIDE, (1.0, 1.5), speed=0.5, props=(stairs,), climb=STAIR_SLOPE),
    "golf": Action(motions.golf, FRONT, props=(club,)),
    "jump": Action(motions.jump, ANY, (1.1, 1.6)),
    "kick_ball": Action(motions.kick_ball, SIDE, props=(rolling_ball,), reach=True),
    "pick": Action(motions.pick, SIDE, props=(small_box,)),
    "pour": Action(motions.pour, OBLIQUE, props=(jug_and_cup,)),
    "pullup": Action(motions.pullup, FRONT, (0.6, 1.0), props=(bar,), rest_phase=0.0),
    "push": Action(motions.push, SIDE, (0.9, 1.3), speed=0.4, props=(box_in_front,), rest_phase=0.0),
    "run": Action(motions.run, SIDE, (1.5, 2.0), speed=1.3),
    "shoot_ball": Action(motions.shoot_ball, SIDE, props=(leaving_ball, hoop), reach=True),
    "shoot_bow": Action(motions.shoot_bow, SIDE, props=(arrow_and_bow,)),
    "shoot_gun": Action(motions.shoot_gun, SIDE, (1.2, 2.0), props=(gun,), rest_phase=1.9 * pi),
    "sit": Action(motions.sit, SIDE, props=(chair,)),
    "stand": Action(motions.stand, SIDE, props=(chair,)),
    "swing_baseball": Action(motions.swing_baseball, ANY, props=(bat,)),
    "throw": Action(motions.throw, SIDE, props=(leaving_ball, flag), reach=True),
    "walk": Action(motions.walk, SIDE, (0.85, 1.2), speed=0.75),
    "wave": Action(motions.wave, FRONT, (1.4, 2.4)),
}
"""By class name, in the order of J-HMDB's labels."""


def resting_pose(action: Action | None, moment: Moment, sway: float) -> Pose:
    """The pose of someone who waits: before the action (progress 0), after it (progress 1), or all the time (None).

    What is done once begins and ends in its own poses; who sits stays seated. ``sway`` is a phase in radians of the
    small movements of a waiting body.
    """
    if action is None:
        pose = motions.STANDING
    elif action.frequency is None:
        pose = action.motion(moment)
    elif action.rest_phase is not None:
        pose = action.motion(replace(moment, phase=action.rest_phase))
    else:
        forward = moment.travel * moment.progress
        pose = replace(motions.STANDING, forward=forward, air=action.climb * forward)
    return replace(pose, lean=pose.lean + 1.2 * sin(sway), nod=pose.nod + 4.0 * sin(0.7 * sway + 1.0))
