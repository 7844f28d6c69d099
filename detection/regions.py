"""Regions to train the action scorer on: boxes near an actor are its action, boxes elsewhere are background."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from linking.geometry import box_iou, interpolate_boxes
from linking.records import VideoAnnotation


@dataclass(frozen=True)
class RegionConfig:
    """How many regions a clip gives and what counts as which (Saha et al. 2016, after Fast R-CNN)."""

    per_actor: int = 4
    """Boxes an actor, the annotated one first, the others moved around it."""
    background: int = 4
    """Boxes a clip that show no action."""
    foreground_iou: float = 0.5
    """A moved box must overlap its actor at least so much."""
    background_iou: float = 0.3
    """A background box overlaps every actor at most so much (Saha: 0.5; 0.3 spares half-hit actors)."""
    shift: float = 0.15
    """Standard deviation of a moved box's centre, in box sizes."""
    scale: float = 0.15
    """Standard deviation of the logarithm of a moved box's width and height."""


def sample_regions(
    annotation: VideoAnnotation,
    class_index: dict[str, int],
    frames: np.ndarray,
    size: tuple[int, int],
    config: RegionConfig,
    rng: np.random.Generator,
    proposals: dict[int, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw regions for one clip.

    Args:
        annotation: the video's tubes.
        class_index: class name -> index; the background is ``len(class_index)``.
        frames: frame indices, of the middle of the clip, that regions may be taken from.
        size: (height, width) of the video in pixels.
        proposals: frame -> (n, 4) boxes of the proposal network; where given, they take part as background
            or, where they overlap an actor enough, as further boxes of that actor.

    Returns:
        (n,) frames, (n, 4) float32 boxes in pixels of the video and (n,) class indices.
    """
    rows: list[tuple[int, np.ndarray, int]] = []
    background = len(class_index)
    actors_at = {int(frame): _boxes_at(annotation, int(frame)) for frame in np.unique(frames)}
    for tube in annotation.tubes:
        visible = frames[np.isin(frames, tube.frames)]
        for k in range(config.per_actor if len(visible) else 0):
            frame = int(rng.choice(visible))
            actor = tube.boxes[np.searchsorted(tube.frames, frame)]
            box = actor if k == 0 else _move(actor, config, rng)
            rows.append((frame, box, class_index[tube.label]))
    for _ in range(config.background):
        frame = int(rng.choice(frames))
        candidates = _background_candidates(annotation, frame, size, rng, proposals)
        overlap = box_iou(candidates, actors_at[frame])
        free = np.flatnonzero(overlap.max(axis=1, initial=0.0) <= config.background_iou)
        if len(free):
            rows.append((frame, candidates[free[0]], background))
    if proposals:
        rows += _proposed_actors(annotation, class_index, frames, proposals, config, rng)
    if not rows:
        return np.zeros(0, np.int64), np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
    where, boxes, labels = zip(*rows)
    return np.array(where), np.stack(boxes).astype(np.float32), np.array(labels)


def _boxes_at(annotation: VideoAnnotation, frame: int) -> np.ndarray:
    boxes = [tube.boxes[np.searchsorted(tube.frames, frame)] for tube in annotation.tubes if frame in tube.frames]
    return np.stack(boxes) if boxes else np.zeros((0, 4), np.float32)


def _move(box: np.ndarray, config: RegionConfig, rng: np.random.Generator) -> np.ndarray:
    """``box`` shifted and resized at random, still overlapping itself by ``foreground_iou``."""
    centre, extent = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
    for _ in range(10):
        moved_centre = centre + rng.normal(0, config.shift, 2) * extent
        half = extent * np.exp(rng.normal(0, config.scale, 2)) / 2
        moved = np.concatenate([moved_centre - half, moved_centre + half]).astype(np.float32)
        if box_iou(moved[None], box[None])[0, 0] >= config.foreground_iou:
            return moved
    return box


def _background_candidates(
    annotation: VideoAnnotation,
    frame: int,
    size: tuple[int, int],
    rng: np.random.Generator,
    proposals: dict[int, np.ndarray] | None,
) -> np.ndarray:
    """Boxes in the order they should be tried: hard ones first, half of the time."""
    height, width = size
    extent = rng.uniform(0.15, 0.9, (16, 2)) * (width, height)
    corner = rng.uniform(0, 1, (16, 2)) * ((width, height) - extent)
    candidates = np.concatenate([corner, corner + extent], axis=1).astype(np.float32)
    hard = [
        # where a tube was last, or will be: the same actor, not acting
        interpolate_boxes(tube.frames, tube.boxes, np.clip([frame], tube.frames[0], tube.frames[-1]))
        for tube in annotation.tubes
        if frame not in tube.frames
    ]
    if proposals is not None and frame in proposals:
        hard.append(proposals[frame])
    if hard and rng.random() < 0.5:
        return np.concatenate([rng.permutation(np.concatenate(hard)), candidates])
    return candidates


def _proposed_actors(
    annotation: VideoAnnotation,
    class_index: dict[str, int],
    frames: np.ndarray,
    proposals: dict[int, np.ndarray],
    config: RegionConfig,
    rng: np.random.Generator,
) -> list[tuple[int, np.ndarray, int]]:
    """One proposal an actor that overlaps it enough, so that training sees boxes as inference will."""
    rows = []
    for tube in annotation.tubes:
        visible = [int(f) for f in frames if f in tube.frames and len(proposals.get(int(f), ()))]
        if not visible:
            continue
        frame = int(rng.choice(visible))
        actor = tube.boxes[np.searchsorted(tube.frames, frame)]
        hits = np.flatnonzero(box_iou(proposals[frame], actor[None])[:, 0] >= config.foreground_iou)
        if len(hits):
            rows.append((frame, proposals[frame][rng.choice(hits)], class_index[tube.label]))
    return rows
