"""Frames with their actors' boxes, decoded once into a flat file, and the pictures a detector trains on.

Decoding a clip again for every picture would cost more than training the small network on it, so the frames lie as raw
bytes in one memory-mapped file that the operating system keeps in memory as far as it can. For networks that see
optical flow, a frame is the stack of flow pictures around it (detection/motion.py).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from detection.motion import flip_stack, frames_around, motion_stack
from linking.files import replace_when_whole
from linking.geometry import box_areas
from linking.records import VideoAnnotation
from video.datasets import LabelledVideo, resized_annotation
from video.flow import NO_MOTION, FlowSettings
from video.flow_cache import flow_path, open_flow
from video.frames import open_video

INVISIBLE = 0.02
"""Less than this share of an actor's box is too little to show that there is one."""
LAYOUT = 1
"""Version of the cache files; a cache of another version is made again."""


@dataclass(frozen=True)
class MotionConfig:
    """Flow instead of frames."""

    settings: FlowSettings
    offsets: tuple[int, ...]
    """Of the pictures that are stacked, from the frame."""
    folder: Path | None = None
    """Where tools/extract_flow.py has put the flow; None: it is computed."""


@dataclass(frozen=True, eq=False)
class ActorFrames:
    """Decoded frames of many videos; ``len()`` of them."""

    bytes: np.ndarray
    """uint8, all frames one after the other."""
    offsets: np.ndarray
    """(n,) int64, where each frame begins."""
    sizes: np.ndarray
    """(n, 2) int64, height and width."""
    videos: np.ndarray
    """(n,) int64, number of the video each frame comes from, ascending."""
    box_ends: np.ndarray
    """(n,) int64, running number of boxes up to and with each frame."""
    boxes: np.ndarray
    """(boxes, 4) float32, x1 y1 x2 y2 in pixels of the stored frame."""
    names: tuple[str, ...]
    """Name of each video."""
    channels: int = 3
    """Of a frame: RGB, or x and y of stacked flow pictures."""

    def __len__(self) -> int:
        return len(self.offsets)

    @cached_property
    def by_video(self) -> list[np.ndarray]:
        """Frame numbers of every video that has any."""
        return np.split(np.arange(len(self)), np.flatnonzero(np.diff(self.videos)) + 1)

    def picture(self, index: int) -> np.ndarray:
        """(H, W, channels) uint8."""
        shape = (*self.sizes[index].tolist(), self.channels)
        start = self.offsets[index]
        return self.bytes[start : start + math.prod(shape)].reshape(shape)

    def actors(self, index: int) -> np.ndarray:
        """(n, 4) float32."""
        return self.boxes[self.box_ends[index - 1] if index else 0 : self.box_ends[index]]


def load_actor_frames(
    videos: Sequence[LabelledVideo],
    cache: Path,
    *,
    step: int = 2,
    short_side: int = 240,
    motion: MotionConfig | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> ActorFrames:
    """Every ``step``-th frame that has an annotated actor, from ``cache`` or decoded into it.

    Larger videos are scaled to ``short_side``, flow is as large as its settings make it. Frames without a box are left
    out: in most datasets people may be visible there who do not do one of the annotated actions. ``cache`` is a
    folder; it is used again when videos, annotations and settings are the same.
    """
    key = _key(videos, step, short_side, motion)
    index_file, bytes_file = cache / f"{key}.npz", cache / f"{key}.u8"
    if not (index_file.exists() and bytes_file.exists()):
        report(f"decoding {len(videos)} videos into {bytes_file}")
        _decode_all(videos, index_file, bytes_file, step, short_side, motion)
    with np.load(index_file, allow_pickle=False) as index:
        arrays = {name: index[name] for name in ("offsets", "sizes", "videos", "box_ends", "boxes")}
        names = tuple(index["names"].tolist())
    if not len(arrays["offsets"]):
        raise ValueError(f"none of the {len(videos)} videos has a frame with an annotated box: nothing to train on")
    channels = 3 if motion is None else 2 * len(motion.offsets)
    return ActorFrames(bytes=np.memmap(bytes_file, np.uint8, "r"), names=names, channels=channels, **arrays)


def _key(videos: Sequence[LabelledVideo], step: int, short_side: int, motion: MotionConfig | None) -> str:
    settings: list[object] = [LAYOUT, step, short_side]
    if motion is not None:
        settings += [dataclasses.asdict(motion.settings), motion.offsets]
    digest = hashlib.sha256(json.dumps(settings).encode())
    for video in videos:
        stat = Path(video.path).stat()
        digest.update(f"{video.path}\0{stat.st_size}\0{stat.st_mtime_ns}\0".encode())
        for tube in video.annotation.tubes:
            digest.update(tube.frames.tobytes() + tube.boxes.tobytes())
    return digest.hexdigest()[:16]


def _decode_all(
    videos: Sequence[LabelledVideo],
    index_file: Path,
    bytes_file: Path,
    step: int,
    short_side: int,
    motion: MotionConfig | None,
) -> None:
    offsets, sizes, numbers, box_ends, boxes = [], [], [], [], []
    written = counted = 0
    with replace_when_whole(bytes_file) as temporary, temporary.open("wb") as out:
        for number, video in enumerate(videos):
            for picture, actors in _labelled_frames(video, step, short_side, motion):
                offsets.append(written)
                sizes.append(picture.shape[:2])
                numbers.append(number)
                counted += len(actors)
                box_ends.append(counted)
                boxes.append(actors)
                out.write(np.ascontiguousarray(picture).data)
                written += picture.size
        if not written:
            out.write(b"\0")  # an empty file cannot be mapped into memory
    with replace_when_whole(index_file) as temporary:
        np.savez(
            temporary,
            offsets=np.asarray(offsets, np.int64),
            sizes=np.asarray(sizes, np.int64).reshape(-1, 2),
            videos=np.asarray(numbers, np.int64),
            box_ends=np.asarray(box_ends, np.int64),
            boxes=np.concatenate([np.zeros((0, 4), np.float32), *boxes]),
            names=np.asarray([video.annotation.video for video in videos]),
        )


def _labelled_frames(
    video: LabelledVideo, step: int, short_side: int, motion: MotionConfig | None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    annotation = video.annotation
    wanted = set(sorted({frame for tube in annotation.tubes for frame in tube.frames.tolist()})[::step])
    if not wanted:
        return
    # An annotation may be longer than its video (three clips of J-HMDB): the common part is used.
    with open_video(video.path) as source:
        if annotation.width is not None:
            annotation = resized_annotation(annotation, source.width, source.height)
        by_frame = actors_by_frame(annotation)
        if motion is not None:
            yield from _stacks(video, sorted(wanted), by_frame, (source.height, source.width), motion)
            return
        for frame, picture in enumerate(source):
            if frame in wanted:
                yield _scaled_down(picture, by_frame[frame], short_side)
            if frame == max(wanted):
                return


def _stacks(
    video: LabelledVideo,
    wanted: Sequence[int],
    by_frame: dict[int, np.ndarray],
    size: tuple[int, int],
    motion: MotionConfig,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """As ``_labelled_frames``, of the flow; ``size`` is height and width of the video."""
    cached = None if motion.folder is None else flow_path(motion.folder, video.annotation.video)
    flow = open_flow(video.path, motion.settings, cached=cached)
    pictures = flow.read(range(flow.num_frames))
    height, width = pictures.shape[1:3]
    scale = np.array([width / size[1], height / size[0]] * 2, np.float32)
    for frame in wanted:
        if frame < len(pictures):
            around = frames_around(frame, motion.offsets, 0, len(pictures) - 1)
            yield motion_stack(list(pictures[around])), clip_boxes(by_frame[frame] * scale, height, width)


def actors_by_frame(annotation: VideoAnnotation) -> dict[int, np.ndarray]:
    """(n, 4) float32 boxes of every frame that has any."""
    boxes: dict[int, list[np.ndarray]] = {}
    for tube in annotation.tubes:
        for frame, box in zip(tube.frames.tolist(), tube.boxes):
            boxes.setdefault(frame, []).append(box)
    return {frame: np.stack(of_frame).astype(np.float32) for frame, of_frame in boxes.items()}


def _scaled_down(picture: np.ndarray, actors: np.ndarray, short_side: int) -> tuple[np.ndarray, np.ndarray]:
    height, width = picture.shape[:2]
    factor = short_side / min(height, width)
    if factor < 1:
        new = (round(height * factor), round(width * factor))
        picture = resized(torch.from_numpy(picture).permute(2, 0, 1), new).permute(1, 2, 0).numpy()
        actors = actors * np.array([new[1] / width, new[0] / height] * 2, np.float32)
    return picture, clip_boxes(actors, *picture.shape[:2])


def clip_boxes(boxes: np.ndarray, height: int, width: int) -> np.ndarray:
    """The parts of ``boxes`` inside the picture; boxes without a visible pixel are left out."""
    inside = np.clip(boxes, 0, np.array([width, height, width, height], np.float32))
    return inside[(inside[:, 2] - inside[:, 0] >= 1) & (inside[:, 3] - inside[:, 1] >= 1)]


def resized(picture: Tensor, size: tuple[int, int]) -> Tensor:
    """(channels, H, W) uint8 to (channels, *size) uint8, bilinear with antialiasing."""
    return functional.interpolate(picture[None], size, mode="bilinear", antialias=True, align_corners=False)[0]


@dataclass(frozen=True)
class AugmentConfig:
    """How a training picture differs from the frame it was taken from."""

    zoom: tuple[float, float] = (0.65, 1.8)
    """Magnification against the whole frame in the canvas, drawn evenly in its logarithm; 1 and up in mosaics."""
    aspect: float = 1.2
    """Widths are stretched by up to this factor, or shrunk by it."""
    mosaic: float = 0.25
    """Share of pictures put together from four frames: small actors, several of them."""
    flip: float = 0.5
    """Share mirrored left to right."""
    empty: float = 0.05
    """Share of windows placed beside the actors, so that background alone is seen as well."""
    brightness: float = 0.3
    """Colours are multiplied by 1 ± this; contrast and saturation likewise."""
    grey: float = 0.1
    """Share without colour."""
    speed: float = 1.4
    """Flow: displacements are multiplied by up to this factor, or divided by it; its pictures have no colours."""
    min_visible: float = 0.4
    """An actor of whom less than this share of the box is in the window is avoided: neither there nor absent."""


def training_picture(
    frames: ActorFrames,
    draw_frame: Callable[[], int],
    canvas: tuple[int, int],
    config: AugmentConfig,
    rng: np.random.Generator,
) -> tuple[Tensor, Tensor]:
    """One augmented picture: (channels, *canvas) uint8 and its actors (n, 4) float32."""
    height, width = canvas
    if rng.random() >= config.mosaic:
        picture, boxes = _window(frames, draw_frame(), canvas, config.zoom, config, rng)
    else:
        middle_y = int(height * rng.uniform(0.3, 0.7))
        middle_x = int(width * rng.uniform(0.3, 0.7))
        picture = torch.empty((frames.channels, height, width), dtype=torch.uint8)
        parts = []
        zoom = (max(1.0, config.zoom[0]), max(1.0, config.zoom[1]))
        for top, bottom in ((0, middle_y), (middle_y, height)):
            for left, right in ((0, middle_x), (middle_x, width)):
                part_canvas = (bottom - top, right - left)
                part, part_boxes = _window(frames, draw_frame(), part_canvas, zoom, config, rng)
                picture[:, top:bottom, left:right] = part
                parts.append(part_boxes + np.array([left, top, left, top], np.float32))
        boxes = np.concatenate(parts)
    if rng.random() < config.flip:
        picture = picture.flip(-1) if frames.channels == 3 else flip_stack(picture)
        boxes = np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], axis=1)
    changed = _recoloured if frames.channels == 3 else _faster
    return changed(picture, config, rng), torch.from_numpy(boxes)


def _window(
    frames: ActorFrames,
    index: int,
    canvas: tuple[int, int],
    zoom: tuple[float, float],
    config: AugmentConfig,
    rng: np.random.Generator,
) -> tuple[Tensor, np.ndarray]:
    """A window of the frame scaled to ``canvas``, (channels, *canvas) uint8, and its actors.

    Outside of the frame it is grey, or without motion."""
    picture, actors = frames.picture(index), frames.actors(index)
    height, width = picture.shape[:2]
    left, top, right, bottom = _choose_window((height, width), actors, canvas, zoom, config, rng)
    scale_y, scale_x = canvas[0] / (bottom - top), canvas[1] / (right - left)
    y1, x1 = max(0, round(top)), max(0, round(left))
    y2, x2 = min(height, round(bottom)), min(width, round(right))
    out_y1 = min(max(round((y1 - top) * scale_y), 0), canvas[0] - 1)
    out_x1 = min(max(round((x1 - left) * scale_x), 0), canvas[1] - 1)
    out_y2 = min(max(round((y2 - top) * scale_y), out_y1 + 1), canvas[0])
    out_x2 = min(max(round((x2 - left) * scale_x), out_x1 + 1), canvas[1])
    # .copy(): the memory map is read-only, which torch does not know how to express
    source = torch.from_numpy(picture[y1:y2, x1:x2].copy()).permute(2, 0, 1)
    outside = 114 if frames.channels == 3 else NO_MOTION
    out = torch.full((frames.channels, *canvas), outside, dtype=torch.uint8)
    out[:, out_y1:out_y2, out_x1:out_x2] = resized(source, (out_y2 - out_y1, out_x2 - out_x1))
    seen = actors[visible_share(actors, (left, top, right, bottom)) >= INVISIBLE]
    scale = np.array([scale_x, scale_y] * 2, np.float32)
    return out, clip_boxes((seen - np.array([left, top] * 2, np.float32)) * scale, *canvas)


def _choose_window(
    size: tuple[int, int],
    actors: np.ndarray,
    canvas: tuple[int, int],
    zoom: tuple[float, float],
    config: AugmentConfig,
    rng: np.random.Generator,
) -> tuple[float, float, float, float]:
    """x1 y1 x2 y2 of a window with the canvas' shape in a frame of ``size``; it may reach beyond the frame."""
    height, width = size
    fit = min(canvas[0] / height, canvas[1] / width)
    want_empty = rng.random() < config.empty
    for _ in range(11):
        magnification = fit * np.exp(rng.uniform(*np.log(zoom))) * (2 if want_empty else 1)
        stretch = np.exp(rng.uniform(-1, 1) * np.log(config.aspect))
        window_h, window_w = canvas[0] / magnification, canvas[1] / (magnification * stretch)
        # Any place where the smaller of the two, window and frame, lies inside the larger.
        top, left = (height - window_h) * rng.random(), (width - window_w) * rng.random()
        window = left, top, left + window_w, top + window_h
        share = visible_share(actors, window)
        hidden = share < INVISIBLE
        if want_empty and hidden.all():
            return window
        if not want_empty and not hidden.all() and (hidden | (share >= config.min_visible)).all():
            return window
    window_h, window_w = canvas[0] / fit, canvas[1] / fit  # no luck: the whole frame
    top, left = (height - window_h) * rng.random(), (width - window_w) * rng.random()
    return left, top, left + window_w, top + window_h


def visible_share(boxes: np.ndarray, window: tuple[float, float, float, float]) -> np.ndarray:
    """(n,) share of the area of each box (n, 4) that lies inside the window."""
    x1, y1, x2, y2 = window
    seen = np.clip(boxes, [x1, y1, x1, y1], [x2, y2, x2, y2])
    return box_areas(seen) / box_areas(boxes)


def _recoloured(picture: Tensor, config: AugmentConfig, rng: np.random.Generator) -> Tensor:
    spread = config.brightness
    brightness, contrast, saturation = 1 + rng.uniform(-spread, spread, 3)
    if rng.random() < config.grey:
        saturation = 0.0
    colours = picture.float() * float(brightness)
    grey = colours.mean(0, keepdim=True)
    colours = grey + (colours - grey) * float(saturation)
    middle = grey.mean()
    return (middle + (colours - middle) * float(contrast)).clamp(0, 255).to(torch.uint8)


def _faster(stack: Tensor, config: AugmentConfig, rng: np.random.Generator) -> Tensor:
    """The same motion, faster or slower."""
    factor = float(np.exp(rng.uniform(-1, 1) * np.log(config.speed)))
    return ((stack.float() - NO_MOTION) * factor + NO_MOTION).clamp(0, 255).to(torch.uint8)
