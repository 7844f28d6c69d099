"""Other ways to read a table of boxes: the mistakes that are made in writing one, undone.

A reading changes one side, and overlaps tell whether it was meant so. Most mistakes cost so much that the right reading
stands out by its mean overlap. A shift by one frame or one pixel costs little, but undoing it helps nearly every tube.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from linking.records import Tube, VideoAnnotation

TRUTH, FOUND = 0, 1
"""The side that a reading changes."""

_ENOUGH_TUBES = 8
"""From fewer than this many tubes a side no scale is guessed."""
_OTHER_SIZE, _OTHER_RATE = 1.03, 1.1
"""Factors nearer to 1 are no other resolution and no other frame rate."""


@dataclass(frozen=True)
class Reading:
    """How boxes could be meant."""

    said: str
    """As it is put into a sentence: ``with the detections one frame later``."""
    side: int
    change: Callable[[Tube], Tube]
    question: str = ""
    """What to ask whoever made the table, where that is not plain."""
    subtle: bool = False
    """Moves overlaps little, so it counts whether nearly all tubes overlap more."""


def readings(truth: Sequence[VideoAnnotation], found: Sequence[VideoAnnotation]) -> list[Reading]:
    """The readings worth trying; ``truth[i]`` and ``found[i]`` are of one video."""
    from_1 = "Is a frame counted from 1?"
    last_pixel = "Do x2 and y2 name the last pixel?"
    result = [
        Reading("with x and y of the detections swapped", FOUND, _swapped),
        Reading("with the detections read as x, y, width, height", FOUND, _from_width_and_height),
        Reading("with the detections read as centre x, y, width, height", FOUND, _from_centre),
        Reading("with the ground truth read as x, y, width, height", TRUTH, _from_width_and_height),
        Reading("with the detections one frame later", FOUND, _one_later, from_1, True),
        Reading("with the detections one frame earlier", TRUTH, _one_later, from_1, True),
    ]
    for side, boxes, name in ((FOUND, found, "detections"), (TRUTH, truth, "ground truth")):
        if _all_whole(boxes):
            said = f"with x2 and y2 of the {name} one pixel further"
            result.append(Reading(said, side, _one_pixel_larger, last_pixel, True))
    size, said = _resolution(truth, found)
    if np.abs(np.log(size)).max() > np.log(_OTHER_SIZE):
        result.append(Reading(f"with the detections {said}", FOUND, _scaled(size)))
    rate = _rate(truth, found)
    if abs(np.log(rate)) > np.log(_OTHER_RATE):
        said = f"with the frame numbers of the detections times {rate:.3g}"
        result.append(Reading(said, FOUND, _stretched(rate), "Is that another frame rate?"))
    return result


def read_so(reading: Reading, annotations: Sequence[VideoAnnotation]) -> list[VideoAnnotation] | None:
    """``annotations`` changed; None where some box would have no area or some frame be negative."""
    try:
        return [replace(a, tubes=[reading.change(tube) for tube in a.tubes]) for a in annotations]
    except ValueError:
        return None


def _swapped(tube: Tube) -> Tube:
    return replace(tube, boxes=tube.boxes[:, [1, 0, 3, 2]])


def _from_width_and_height(tube: Tube) -> Tube:
    return replace(tube, boxes=np.concatenate([tube.boxes[:, :2], tube.boxes[:, :2] + tube.boxes[:, 2:]], axis=1))


def _from_centre(tube: Tube) -> Tube:
    centre, half = tube.boxes[:, :2], np.maximum(tube.boxes[:, 2:], 1e-3) / 2
    return replace(tube, boxes=np.concatenate([centre - half, centre + half], axis=1))


def _one_later(tube: Tube) -> Tube:
    return replace(tube, frames=tube.frames + 1)


def _one_pixel_larger(tube: Tube) -> Tube:
    return replace(tube, boxes=tube.boxes + np.array([0, 0, 1, 1], np.float32))


def _scaled(factors: np.ndarray) -> Callable[[Tube], Tube]:
    return lambda tube: replace(tube, boxes=tube.boxes * np.tile(factors, 2).astype(np.float32))


def _stretched(rate: float) -> Callable[[Tube], Tube]:
    def change(tube: Tube) -> Tube:
        first, end = round(tube.first_frame * rate), round(tube.end_frame * rate)
        frames = np.arange(first, max(end, first + 1))
        nearest = np.clip(np.searchsorted(tube.frames, frames / rate), 0, len(tube) - 1)
        return Tube(tube.label, frames, tube.boxes[nearest], None, tube.score, tube.id)

    return change


def _all_whole(annotations: Sequence[VideoAnnotation]) -> bool:
    return all(bool((tube.boxes == np.floor(tube.boxes)).all()) for a in annotations for tube in a.tubes)


def _resolution(truth: Sequence[VideoAnnotation], found: Sequence[VideoAnnotation]) -> tuple[np.ndarray, str]:
    """(2,) factors in x and y that bring the detections to the size of the ground truth, and how that is said.

    From the sizes of the videos where both sides know them, else from where boxes lie on the average; 1 where there
    are so few that any factor would fit. Coordinates from 0 to 1 are shares of the picture.
    """
    both = [(a, b) for a, b in zip(truth, found) if a.width and a.height and b.width and b.height]
    if both:
        factors = np.median([(a.width / b.width, a.height / b.height) for a, b in both], axis=0)  # type: ignore[operator]
        return factors, _said(factors)
    sized = [a for a in truth if a.width and a.height]
    if sized and _largest(found) <= 1.05 and _largest(truth) > 2:
        width, height = np.median([(a.width, a.height) for a in sized], axis=0)
        return np.array([width, height]), f"multiplied by the size of the video, {width:g} x {height:g}"
    centres = [
        np.concatenate([(t.boxes[:, :2] + t.boxes[:, 2:]).mean(axis=0, keepdims=True) for a in side for t in a.tubes])
        for side in (truth, found)
    ]
    if min(len(side) for side in centres) < _ENOUGH_TUBES:
        return np.ones(2), ""
    one, other = (np.median(np.maximum(side, 1e-6), axis=0) for side in centres)
    return one / other, _said(one / other)


def _said(factors: np.ndarray) -> str:
    return f"scaled by {factors[0]:.4g} in x and {factors[1]:.4g} in y"


def _largest(annotations: Sequence[VideoAnnotation]) -> float:
    return max(float(tube.boxes.max()) for a in annotations for tube in a.tubes)


def _rate(truth: Sequence[VideoAnnotation], found: Sequence[VideoAnnotation]) -> float:
    """Frames of the ground truth for each frame of the detections, by the lengths of videos or by where tubes end."""
    known = [(a.num_frames, b.num_frames) for a, b in zip(truth, found) if a.num_frames and b.num_frames]
    ends = [tuple(max(tube.end_frame for tube in a.tubes) for a in pair) for pair in zip(truth, found)]
    if not known and sum(len(a.tubes) for a in found) < _ENOUGH_TUBES:
        return 1.0
    return float(np.median([a / b for a, b in known or ends]))
