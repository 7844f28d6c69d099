"""The things puppets use: balls, bats, chairs, stairs, and what stands far away, all made of rounded sticks.

Everything is in the body coordinates of the puppet that uses it (see puppet_poses), so a chair stays where it is
while the puppet's joints move. Props are no part of a puppet's box.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, sin

import numpy as np

from video.puppet_poses import Joints, Moment, smooth

Colour = tuple[int, int, int]

RELEASE = 0.5
"""Progress at which a thrown, shot or kicked ball leaves, and at which a caught one arrives."""
STAIR_SLOPE = 0.62
"""Rise over run of the stairs."""
TARGET_HEIGHT = 0.84
"""Of the hoop and the flag, in body heights: both stand at the same place and have about the same size."""

ORANGE: Colour = (214, 108, 34)
WOOD: Colour = (139, 98, 60)
DARK: Colour = (38, 38, 42)
STEEL: Colour = (150, 155, 162)
WHITE: Colour = (236, 236, 230)
RED: Colour = (196, 36, 40)
BLUE: Colour = (70, 120, 200)
YELLOW: Colour = (250, 225, 110)


@dataclass(frozen=True)
class Stick:
    """A rod with round ends; a ball where both ends are one point."""

    start: np.ndarray
    """(3,) in the coordinates of its owner."""
    end: np.ndarray
    start_radius: float
    end_radius: float
    colour: Colour
    behind: bool = False
    """Drawn before every puppet, whatever its depth: furniture and what is far away."""


def _stick(start: np.ndarray, end: np.ndarray, radius: float, colour: Colour, behind: bool = False) -> Stick:
    return Stick(np.asarray(start, float), np.asarray(end, float), radius, radius, colour, behind)


def _at(x: float, y: float, z: float = 0.0) -> np.ndarray:
    return np.array([x, y, z])


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


# ---- balls and what they fly to

_BALL_RADIUS = 0.06


def _ball(at: np.ndarray, colour: Colour = ORANGE) -> list[Stick]:
    return [_stick(at, at, _BALL_RADIUS, colour)]


def _between_hands(joints: Joints) -> np.ndarray:
    return (joints.left_hand + joints.right_hand) / 2 + 0.05 * joints.forward


def leaving_ball(joints: Joints, m: Moment) -> list[Stick]:
    """In the hands until the release, then in an arc to the far target."""
    if m.progress <= RELEASE:
        return _ball(_between_hands(joints))
    flown = (m.progress - RELEASE) / (0.95 - RELEASE)
    if flown > 1.0:
        return []
    start, target = _at(0.25, 1.15), _at(m.reach, TARGET_HEIGHT)
    return _ball(start + (target - start) * flown + _at(0, 0.35 * m.reach / 1.5 * sin(pi * flown)))


def arriving_ball(joints: Joints, m: Moment) -> list[Stick]:
    """Comes in an arc from far away, then stays in the hands."""
    if m.progress >= RELEASE:
        return _ball(_between_hands(joints))
    flown = m.progress / RELEASE
    start, target = _at(m.reach, 0.9), _at(0.38, 0.86)
    return _ball(start + (target - start) * flown + _at(0, 0.3 * sin(pi * flown)))


def rolling_ball(joints: Joints, m: Moment) -> list[Stick]:
    """On the ground before the foot until it is kicked away."""
    flown = max(0.0, (m.progress - RELEASE) / (0.95 - RELEASE))
    if flown > 1.0:
        return []
    return _ball(_at(0.26 + (m.reach - 0.26) * flown, _BALL_RADIUS + 0.25 * sin(pi * flown)), WHITE)


def hoop(joints: Joints, m: Moment) -> list[Stick]:
    """A basketball hoop on a pole, at the distance ``reach``."""
    x, y = m.reach, TARGET_HEIGHT
    return [
        _stick(_at(x + 0.16, 0), _at(x + 0.16, y + 0.3), 0.022, STEEL, True),
        _stick(_at(x + 0.13, y + 0.08), _at(x + 0.13, y + 0.32), 0.03, WHITE, True),
        _stick(_at(x - 0.1, y), _at(x + 0.1, y), 0.018, ORANGE, True),
        _stick(_at(x - 0.08, y), _at(x - 0.04, y - 0.15), 0.01, WHITE, True),
        _stick(_at(x + 0.08, y), _at(x + 0.04, y - 0.15), 0.01, WHITE, True),
    ]


def flag(joints: Joints, m: Moment) -> list[Stick]:
    """A red flag on a pole, at the distance ``reach``."""
    x, y = m.reach, TARGET_HEIGHT
    cloth = [
        _stick(_at(x - 0.14, y + height), _at(x + 0.12, y + height), 0.035, RED, True) for height in (0.1, 0.16, 0.22)
    ]
    return [_stick(_at(x + 0.16, 0), _at(x + 0.16, y + 0.3), 0.022, STEEL, True), *cloth]


# ---- what stands on the ground


def chair(joints: Joints, m: Moment) -> list[Stick]:
    """Seat, back and legs behind the standing puppet."""
    seat, front, back = 0.225, -0.1, -0.4
    return [
        _stick(_at(back, seat), _at(front, seat), 0.03, WOOD, True),
        _stick(_at(back, 0.02), _at(back - 0.04, 0.56), 0.022, WOOD, True),
        _stick(_at(front, 0.02), _at(front, seat), 0.022, WOOD, True),
        _stick(_at(back - 0.03, 0.45), _at(back - 0.04, 0.56), 0.035, WOOD, True),
    ]


def stairs(joints: Joints, m: Moment) -> list[Stick]:
    """Steps under the whole way that is climbed."""
    run = 0.2
    steps = range(-1, int((m.travel + 0.4) / run) + 1)
    sticks = []
    for step in steps:
        x, y = step * run, STAIR_SLOPE * step * run - 0.03
        sticks.append(_stick(_at(x, y), _at(x + run, y), 0.022, STEEL, True))
        sticks.append(_stick(_at(x + run, y), _at(x + run, y + STAIR_SLOPE * run), 0.022, STEEL, True))
    return sticks


def bar(joints: Joints, m: Moment) -> list[Stick]:
    """A bar between two posts, in the hands."""
    y = (joints.left_hand[1] + joints.right_hand[1]) / 2
    posts = [_stick(_at(0, 0, z), _at(0, y, z), 0.02, STEEL, True) for z in (-0.42, 0.42)]
    return [*posts, _stick(_at(0, y, -0.42), _at(0, y, 0.42), 0.02, STEEL, True)]


def box_in_front(joints: Joints, m: Moment) -> list[Stick]:
    """A crate that the hands push along."""
    x = max(joints.left_hand[0], joints.right_hand[0]) + 0.05
    heights = np.arange(0.05, 0.75, 0.07)
    return [_stick(_at(x + 0.04, y), _at(x + 0.4, y), 0.045, WOOD) for y in heights]


def small_box(joints: Joints, m: Moment) -> list[Stick]:
    """A parcel on the ground, in the right hand once it has been reached."""
    at = _at(0.42, 0.05) if m.progress < 0.5 else joints.right_hand + _at(0.02, -0.04)
    return [_stick(at + _at(-0.05, 0.0), at + _at(0.05, 0.0), 0.05, RED)]


# ---- what is held


def _forearm(joints: Joints) -> np.ndarray:
    return _unit(joints.right_hand - joints.right_elbow)


def brush(joints: Joints, m: Moment) -> list[Stick]:
    """In the right hand, towards the head."""
    hand = joints.right_hand
    return [_stick(hand, hand + 0.1 * _unit(joints.head - hand), 0.018, DARK)]


def club(joints: Joints, m: Moment) -> list[Stick]:
    """A golf club that continues both arms."""
    hands = (joints.left_hand + joints.right_hand) / 2
    shoulders = (joints.left_shoulder + joints.right_shoulder) / 2
    end = hands + 0.42 * _unit(hands - shoulders)
    return [_stick(hands, end, 0.014, STEEL), _stick(end, end, 0.03, DARK)]


def bat(joints: Joints, m: Moment) -> list[Stick]:
    """Upright before the swing, level with the arms in it."""
    hands = (joints.left_hand + joints.right_hand) / 2
    level = smooth((m.progress - 0.32) / 0.16)
    along = _unit(level * joints.forward + (1.0 - level) * _at(0, 1, 0) + 0.12 * _at(0, 1, 0))
    return [Stick(hands, hands + 0.42 * along, 0.016, 0.036, WOOD)]


def gun(joints: Joints, m: Moment) -> list[Stick]:
    """A pistol in both hands; it flashes at every shot."""
    along = _forearm(joints)
    muzzle = joints.right_hand + 0.12 * along
    flash = [_stick(muzzle + 0.04 * along, muzzle + 0.1 * along, 0.04, YELLOW)]
    since_shot = (m.phase / (2 * pi)) % 1.0
    return [_stick(joints.right_hand, muzzle, 0.02, DARK), *(flash if since_shot < 0.12 else [])]


def jug_and_cup(joints: Joints, m: Moment) -> list[Stick]:
    """A jug in the right hand, tilted over a cup in the left one."""
    tilt = smooth((m.progress - 0.2) / 0.2) - smooth((m.progress - 0.85) / 0.15)
    hand, cup = joints.right_hand + 0.03 * joints.forward, joints.left_hand + 0.03 * joints.forward
    over = _unit(_at(0, 1.0 - tilt, 0) + 0.9 * tilt * _unit(cup - hand))
    spout = hand + 0.1 * over
    stream = [_stick(spout, cup + _at(0, 0.03), 0.012, BLUE)] if tilt > 0.8 else []
    return [
        Stick(hand - 0.05 * over, spout, 0.05, 0.03, BLUE),
        _stick(cup - _at(0, 0.02), cup + _at(0, 0.03), 0.035, WHITE),
        *stream,
    ]


def arrow_and_bow(joints: Joints, m: Moment) -> list[Stick]:
    """A bow in the left hand; the string follows the right hand until it is let go."""
    grip = joints.left_hand
    aim = _unit(grip - joints.left_shoulder)
    tips = [grip - 0.1 * aim + _at(0, y) for y in (-0.3, 0.3)]
    middles = [grip - 0.03 * aim + _at(0, y) for y in (-0.17, 0.17)]
    sticks = [_stick(a, b, 0.014, WOOD) for a, b in zip([*middles, grip, grip], [*tips, *middles])]
    loosed = m.progress > 0.78
    nock = (tips[0] + tips[1]) / 2 if loosed else joints.right_hand
    sticks += [_stick(nock, tip, 0.005, WHITE) for tip in tips]
    flown = 3.5 * (m.progress - 0.78) / 0.22 if loosed else 0.0
    return [*sticks, _stick(nock + flown * aim, nock + (flown + 0.4) * aim, 0.009, DARK)]
