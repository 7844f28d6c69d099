"""How puppets move: a function from a moment to a pose for each action.

Motions that repeat read the moment's phase, those that are done once its progress. Angles are in degrees.
"""

from __future__ import annotations

from dataclasses import replace
from math import cos, pi, sin
from typing import Any

import numpy as np

from video.puppet_poses import Limb, Moment, Pose, between, smooth
from video.puppet_props import RELEASE, STAIR_SLOPE

STANDING = Pose()
LEGS_APART = replace(
    STANDING, left_thigh=(8.0, 9.0), right_thigh=(-4.0, 9.0), left_shin=(0.0, 6.0), right_shin=(-8.0, 6.0)
)


def _leg(angle: float, bend: float) -> tuple[Limb, Limb]:
    """Thigh swung forward by ``angle`` with the knee bent by ``bend``."""
    return (angle, 3.0), (angle - bend, 1.0)


# ---- motions that repeat


def wave(m: Moment) -> Pose:
    swing = 38.0 * m.amount * sin(m.phase)
    return replace(STANDING, right_upper_arm=(15.0, 105.0), right_forearm=(8.0, 172.0 + swing), nod=3.0)


def brush_hair(m: Moment) -> Pose:
    # the hand goes down beside the head and comes back up
    stroke = 0.5 + 0.5 * sin(m.phase)
    upper = (25.0, 118.0 - 38.0 * stroke * m.amount)
    return replace(STANDING, right_upper_arm=upper, right_forearm=(25.0, 215.0 - 18.0 * stroke), nod=-4.0 + 8 * stroke)


def clap(m: Moment) -> Pose:
    opening = (0.5 + 0.5 * sin(m.phase)) * m.amount
    upper, fore = (42.0, 4.0 + 42.0 * opening), (88.0, -42.0 + 60.0 * opening)
    return replace(STANDING, left_upper_arm=upper, right_upper_arm=upper, left_forearm=fore, right_forearm=fore)


def jump(m: Moment) -> Pose:
    cycle = (m.phase / (2 * pi)) % 1.0
    crouch = max(0.0, sin(pi * cycle / 0.42)) if cycle < 0.42 else 0.0
    flight = sin(pi * (cycle - 0.42) / 0.58) if cycle >= 0.42 else 0.0
    thigh, shin = (58.0 * crouch + 14.0 * flight, 6.0), (-48.0 * crouch - 22.0 * flight, 3.0)
    arm = (-35.0 * crouch + 165.0 * smooth(flight * 1.3), 12.0)
    return replace(
        STANDING,
        lean=4.0 + 26.0 * crouch,
        left_thigh=thigh,
        right_thigh=thigh,
        left_shin=shin,
        right_shin=shin,
        left_upper_arm=arm,
        right_upper_arm=arm,
        left_forearm=(arm[0] + 18.0, 5.0),
        right_forearm=(arm[0] + 18.0, 5.0),
        air=0.24 * flight * m.amount,
    )


def _gait(m: Moment, stride: float, knee: float, arms: float, elbow: float, lean: float) -> Pose:
    left_swing, right_swing = sin(m.phase), sin(m.phase + pi)
    left_thigh, left_shin = _leg(stride * left_swing + knee / 9, 6.0 + knee * max(0.0, cos(m.phase)))
    right_thigh, right_shin = _leg(stride * right_swing + knee / 9, 6.0 + knee * max(0.0, cos(m.phase + pi)))
    return replace(
        STANDING,
        lean=lean,
        twist=-6.0 * left_swing,
        left_thigh=left_thigh,
        left_shin=left_shin,
        right_thigh=right_thigh,
        right_shin=right_shin,
        left_upper_arm=(arms * right_swing, 7.0),
        right_upper_arm=(arms * left_swing, 7.0),
        left_forearm=(arms * right_swing + elbow, 2.0),
        right_forearm=(arms * left_swing + elbow, 2.0),
        forward=m.travel * m.progress,
    )


def walk(m: Moment) -> Pose:
    return _gait(m, 27.0 * m.amount, 38.0, 24.0 * m.amount, 14.0, 4.0)


def run(m: Moment) -> Pose:
    pose = _gait(m, 46.0 * m.amount, 92.0, 48.0 * m.amount, 85.0, 15.0)
    return replace(pose, air=0.05 * abs(cos(m.phase)))


def push(m: Moment) -> Pose:
    pose = _gait(m, 24.0 * m.amount, 34.0, 0.0, 0.0, 30.0)
    straight: Limb = (76.0, 2.0)
    bent = (70.0 + 8.0 * sin(2 * m.phase), 2.0)
    return replace(
        pose,
        twist=0.0,
        left_upper_arm=bent,
        right_upper_arm=bent,
        left_forearm=straight,
        right_forearm=straight,
    )


def climb_stairs(m: Moment) -> Pose:
    pose = _gait(m, 30.0 * m.amount, 62.0, 20.0, 25.0, 12.0)
    # the thigh is lifted further than it swings back
    lifted: dict[str, Any] = {
        f"{side}_{part}": (getattr(pose, f"{side}_{part}")[0] + 16.0, 3.0)
        for side in ("left", "right")
        for part in ("thigh", "shin")
    }
    return replace(pose, air=STAIR_SLOPE * pose.forward, **lifted)


def pullup(m: Moment) -> Pose:
    up = 0.5 - 0.5 * cos(m.phase)
    distance = 0.31 - 0.2 * up * min(m.amount, 1.0)
    # two bones between the shoulder and a hand straight above it; the elbow goes outwards
    upper, fore = 0.165, 0.155
    at_shoulder = np.degrees(np.arccos((upper**2 + distance**2 - fore**2) / (2 * upper * distance)))
    at_hand = np.degrees(np.arccos((fore**2 + distance**2 - upper**2) / (2 * fore * distance)))
    arm, hand = (0.0, 180.0 - at_shoulder), (0.0, 180.0 + at_hand)
    return replace(
        STANDING,
        left_upper_arm=arm,
        right_upper_arm=arm,
        left_forearm=hand,
        right_forearm=hand,
        left_thigh=(12.0, 3.0),
        right_thigh=(12.0, 3.0),
        left_shin=(-35.0, 1.0),
        right_shin=(-35.0, 1.0),
        # the hands stay at the bar, so the body rises by what the arms shorten
        air=0.12 + 0.31 - distance,
    )


def shoot_gun(m: Moment) -> Pose:
    since_shot = (m.phase / (2 * pi)) % 1.0
    kick = 26.0 * m.amount * np.exp(-6.0 * since_shot)
    left, right = (84.0 + kick, -22.0), (84.0 + kick, -20.0)
    return replace(
        LEGS_APART,
        lean=4.0 - 0.12 * kick,
        left_upper_arm=left,
        left_forearm=left,
        right_upper_arm=right,
        right_forearm=right,
    )


# ---- motions that are done once

SEATED = replace(
    STANDING,
    lean=4.0,
    left_thigh=(88.0, 8.0),
    right_thigh=(88.0, 8.0),
    left_shin=(4.0, 3.0),
    right_shin=(4.0, 3.0),
    left_upper_arm=(18.0, 8.0),
    right_upper_arm=(18.0, 8.0),
    left_forearm=(75.0, 0.0),
    right_forearm=(75.0, 0.0),
    forward=-0.25,
)
_HALF_SEATED = replace(
    SEATED,
    lean=42.0,
    left_thigh=(58.0, 6.0),
    right_thigh=(58.0, 6.0),
    left_shin=(-16.0, 2.0),
    right_shin=(-16.0, 2.0),
    left_upper_arm=(48.0, 8.0),
    right_upper_arm=(48.0, 8.0),
    left_forearm=(60.0, 0.0),
    right_forearm=(60.0, 0.0),
    forward=-0.15,
)


def sit(m: Moment) -> Pose:
    return between([(0.1, STANDING), (0.5, _HALF_SEATED), (0.9, SEATED)], m.progress)


def stand(m: Moment) -> Pose:
    return sit(replace(m, progress=1.0 - m.progress))


def _arms(pose: Pose, upper: Limb, fore: Limb, **changes: Any) -> Pose:
    """Both arms alike."""
    return replace(pose, left_upper_arm=upper, right_upper_arm=upper, left_forearm=fore, right_forearm=fore, **changes)


def _legs(pose: Pose, thigh: float, shin: float) -> Pose:
    """Both legs alike."""
    return replace(
        pose, left_thigh=(thigh, 7.0), right_thigh=(thigh, 7.0), left_shin=(shin, 3.0), right_shin=(shin, 3.0)
    )


def throw(m: Moment) -> Pose:
    holding = _arms(LEGS_APART, (25.0, 6.0), (100.0, -18.0))
    crouching = _arms(_legs(STANDING, 42.0, -34.0), (35.0, 6.0), (120.0, -18.0), lean=14.0)
    cocked = _arms(STANDING, (150.0, 8.0), (205.0, -12.0), lean=-6.0)
    released = _arms(_legs(STANDING, 6.0, -10.0), (142.0, 4.0), (128.0, -4.0), lean=8.0, air=0.03)
    after = _arms(LEGS_APART, (75.0, 6.0), (62.0, 0.0), lean=14.0)
    keys = [
        (0.0, holding),
        (0.18, crouching),
        (0.36, cocked),
        (RELEASE, released),
        (0.7, after),
        (0.95, STANDING),
    ]
    return between(keys, m.progress)


shoot_ball = throw


def catch(m: Moment) -> Pose:
    ready = _arms(_legs(STANDING, 18.0, -14.0), (30.0, 10.0), (70.0, -5.0), lean=8.0)
    stretched = _arms(_legs(STANDING, 14.0, -12.0), (100.0, 4.0), (104.0, -14.0), lean=6.0)
    hugged = _arms(_legs(STANDING, 30.0, -24.0), (18.0, 8.0), (98.0, -26.0), lean=16.0)
    return between([(0.0, ready), (RELEASE, stretched), (0.7, hugged), (1.0, hugged)], m.progress)


def kick_ball(m: Moment) -> Pose:
    back = replace(
        STANDING,
        lean=8.0,
        right_thigh=(-38.0, 4.0),
        right_shin=(-105.0, 2.0),
        left_thigh=(10.0, 4.0),
        left_shin=(-8.0, 2.0),
        left_upper_arm=(45.0, 30.0),
        right_upper_arm=(-40.0, 30.0),
    )
    hit = replace(
        STANDING,
        lean=-6.0,
        right_thigh=(40.0, 4.0),
        right_shin=(34.0, 2.0),
        left_thigh=(-4.0, 4.0),
        left_shin=(-10.0, 2.0),
        left_upper_arm=(-25.0, 35.0),
        right_upper_arm=(30.0, 35.0),
    )
    high = replace(hit, lean=-12.0, right_thigh=(78.0 * m.amount, 4.0), right_shin=(72.0 * m.amount, 2.0))
    return between([(0.05, STANDING), (0.32, back), (RELEASE, hit), (0.62, high), (0.92, STANDING)], m.progress)


def pick(m: Moment) -> Pose:
    down = replace(
        STANDING,
        lean=84.0,
        nod=-15.0,
        left_thigh=(34.0, 6.0),
        right_thigh=(34.0, 6.0),
        left_shin=(-30.0, 2.0),
        right_shin=(-30.0, 2.0),
        left_upper_arm=(30.0, 4.0),
        right_upper_arm=(12.0, 4.0),
        left_forearm=(30.0, 2.0),
        right_forearm=(8.0, 2.0),
        forward=-0.06,
    )
    lifted = replace(STANDING, right_upper_arm=(20.0, 5.0), right_forearm=(95.0, -10.0))
    return between([(0.02, STANDING), (0.42, down), (0.55, down), (0.95, lifted)], m.progress)


def pour(m: Moment) -> Pose:
    tilt = smooth((m.progress - 0.2) / 0.2) - smooth((m.progress - 0.85) / 0.15)
    return replace(
        STANDING,
        nod=14.0,
        left_upper_arm=(14.0, 8.0),
        left_forearm=(78.0, -22.0),
        right_upper_arm=(38.0 + 22.0 * tilt, 22.0 + 18.0 * tilt),
        right_forearm=(92.0 + 14.0 * tilt, -28.0),
    )


def golf(m: Moment) -> Pose:
    swing = _golf_angle(m.progress) * m.amount
    return replace(
        LEGS_APART,
        lean=26.0,
        nod=8.0,
        twist=0.25 * swing,
        left_upper_arm=(26.0, 0.75 * swing - 18.0),
        right_upper_arm=(26.0, -0.75 * swing - 18.0),
        left_forearm=(26.0, swing - 18.0),
        right_forearm=(26.0, -swing - 18.0),
    )


def _golf_angle(progress: float) -> float:
    """Degrees of arms and club to the puppet's left: addressed, back, through."""
    back = -125.0 * smooth((progress - 0.1) / 0.35)
    through = 250.0 * smooth((progress - 0.5) / 0.22)
    return back + through


def swing_baseball(m: Moment) -> Pose:
    turn = (-80.0 + 170.0 * smooth((m.progress - 0.35) / 0.3)) * m.amount
    return replace(
        LEGS_APART,
        lean=8.0,
        twist=turn,
        left_upper_arm=(72.0, -30.0),
        left_forearm=(92.0, -35.0),
        right_upper_arm=(66.0, -14.0),
        right_forearm=(96.0, -28.0),
    )


def shoot_bow(m: Moment) -> Pose:
    aiming = replace(LEGS_APART, left_upper_arm=(88.0, 6.0), left_forearm=(90.0, 0.0), twist=-35.0)
    nocked = replace(aiming, right_upper_arm=(76.0, -28.0), right_forearm=(92.0, -40.0))
    drawn = replace(aiming, right_upper_arm=(70.0, 62.0), right_forearm=(98.0, -78.0), twist=-55.0)
    loosed = replace(drawn, right_upper_arm=(60.0, 85.0), right_forearm=(120.0, -30.0))
    return between([(0.05, nocked), (0.55, drawn), (0.75, drawn), (0.82, loosed), (1.0, loosed)], m.progress)
