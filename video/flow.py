"""Optical flow as pictures of two channels: between frames, over a whole video, and clip by clip as ``ClipReader``.

The flow picture of frame k holds the motion from frame k to frame k + 1: displacement in x and in y as grey values, for
"two-direction" flow means these two channels in LGD's line of work (the P3D networks' "x & y direction grey-level flow
image"). Grey values are those of dense_flow as TSN calls it: -20 pixels and less become 0, 20 and more 255, no motion
128. A video of T frames has T - 1 motions; its last flow picture repeats the one before, so that each frame has one.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from video.clips import ClipReader, resize_frame, size_with_short_side
from video.source import VideoError
from video.tvl1 import TVL1Config, pairs_at_once, tvl1_flow

BOUND = 20.0
"""Displacement in pixels that becomes 255."""
NO_MOTION = 128
"""Grey value of a displacement of 0."""
_LUMA = (0.299, 0.587, 0.114)
"""Weights of R, G and B in a grey picture (ITU-R BT.601)."""


class FlowError(VideoError):
    """Optical flow that cannot be computed or read; one line: which, why, what to do."""


@dataclass(frozen=True)
class FlowSettings:
    """What flow pictures depend on. A network must see flow of the settings it was trained with."""

    short_side: int = 240
    """Pixels; larger frames are scaled down to it before the flow is computed, smaller ones stay. 0: all stay."""
    bound: float = BOUND
    """Displacement that becomes 255, in pixels of the frame as scaled: flow at half the size is half as long."""
    quality: int = 95
    """Of the JPEG pictures on disk, 1 to 100."""
    tvl1: TVL1Config = field(default_factory=TVL1Config)

    def __post_init__(self) -> None:
        if self.short_side < 0:
            raise ValueError(f"short_side must be 0 or more pixels, got {self.short_side}")
        if not 0 < self.bound <= 1000:
            raise ValueError(f"bound must be above 0 and at most 1000 pixels, got {self.bound}")
        if not 1 <= self.quality <= 100:
            raise ValueError(f"quality must be 1 to 100, got {self.quality}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for files; :meth:`from_dict` is the way back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FlowSettings:
        """Raises ValueError for an unknown key or a value it cannot mean."""
        try:
            return cls(**{**values, "tvl1": TVL1Config(**values["tvl1"])})
        except (TypeError, KeyError) as error:
            raise ValueError(f"no settings of optical flow: {error}") from None

    def size_of(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of the flow of a video of that size."""
        if not 0 < self.short_side < min(height, width):
            return height, width
        return size_with_short_side(height, width, self.short_side)


QUICK_FLOW = FlowSettings(
    short_side=112,
    bound=8,
    tvl1=TVL1Config(scales=3, scale_step=0.5, warps=3, outer_iterations=2, inner_iterations=10, epsilon=0.05),
)
"""Flow of small pictures by few iterations: a sixth of the time of the defaults, 0.1 pixels away from theirs."""


class FlowSource(Protocol):
    """Flow pictures of one video by index, wherever they come from: ``FlowReader`` or ``CachedFlow``."""

    @property
    def num_frames(self) -> int: ...

    @property
    def width(self) -> int: ...

    @property
    def height(self) -> int: ...

    @property
    def fps(self) -> float: ...

    def read(self, indices: Sequence[int] | np.ndarray, *, size: tuple[int, int] | None = None) -> np.ndarray:
        """(n, H, W, 2) uint8, x and y; ``size=(height, width)`` scales the pictures and leaves their values."""
        ...


def quantise(flow: Tensor, bound: float = BOUND) -> Tensor:
    """uint8 grey values of displacements in pixels: 255 (v + bound) / (2 bound), rounded to even and clipped."""
    return ((flow + bound) * (255 / (2 * bound))).round_().clamp_(0, 255).to(torch.uint8)


def dequantise(pictures: np.ndarray, bound: float = BOUND) -> np.ndarray:
    """Float32 displacements in pixels. No motion comes back as 0.002 ``bound``, for 0 lies between two grey values."""
    return pictures.astype(np.float32) * np.float32(2 * bound / 255) - np.float32(bound)


def flip(pictures: np.ndarray) -> np.ndarray:
    """(..., H, W, 2) uint8 flow of the mirrored video: left and right exchanged, and motion in x turned round.

    x becomes 255 - x, so no motion, 128, becomes 127; the published networks were trained with that.
    """
    mirrored = pictures[..., ::-1, :].copy()
    np.subtract(255, mirrored[..., 0], out=mirrored[..., 0])
    return mirrored


def grey(frames: Tensor) -> Tensor:
    """(..., 3) uint8 RGB -> (...) float32 brightness, 0..255."""
    # no matrix product: on a GPU that may run with ten bits
    red, green, blue = frames.float().unbind(-1)
    return red.mul(_LUMA[0]).add_(green, alpha=_LUMA[1]).add_(blue, alpha=_LUMA[2])


def flow_between(
    first: np.ndarray, second: np.ndarray, settings: FlowSettings | None = None, *, device: str = "cpu"
) -> np.ndarray:
    """(n, H, W, 2) uint8 flow from each of ``first`` to each of ``second``, (n, H, W, 3) uint8 RGB of the same size.

    The frames are taken as they are, ``settings.short_side`` is not applied. ValueError for frames below 8 px a side.
    """
    settings = settings or FlowSettings()
    before, after = (grey(torch.from_numpy(np.ascontiguousarray(frames)).to(device)) for frames in (first, second))
    flow = quantise(tvl1_flow(before, after, settings.tvl1), settings.bound)
    return flow.permute(0, 2, 3, 1).contiguous().cpu().numpy()


def flow_of_frames(
    frames: Iterable[np.ndarray], settings: FlowSettings | None = None, *, device: str = "cpu"
) -> Iterator[np.ndarray]:
    """One (H, W, 2) uint8 flow picture for each (H, W, 3) uint8 RGB frame of a video, in their order.

    Every pair is computed once; frames are asked for as they are needed, so a video of any length fits into memory. The
    last picture repeats the one before; a single frame does not move.
    """
    settings = settings or FlowSettings()
    waiting: list[np.ndarray] = []  # frames whose flow is not computed; the first begins the next pair
    last: np.ndarray | None = None
    for frame in frames:
        waiting.append(resize_frame(frame, settings.size_of(*frame.shape[:2])))
        if len(waiting) > pairs_at_once(waiting[0].shape[0], waiting[0].shape[1], device):
            pictures = flow_between(np.stack(waiting[:-1]), np.stack(waiting[1:]), settings, device=device)
            yield from pictures
            waiting, last = waiting[-1:], pictures[-1]
    if len(waiting) > 1:
        pictures = flow_between(np.stack(waiting[:-1]), np.stack(waiting[1:]), settings, device=device)
        yield from pictures
        last = pictures[-1]
    if waiting:
        yield last if last is not None else np.full((*waiting[0].shape[:2], 2), NO_MOTION, np.uint8)


class FlowReader:
    """Flow pictures of any frames of a video, computed when they are asked for; reads as ``ClipReader`` does.

    Nothing is kept between two calls: ask for all frames of overlapping clips at once, or compute the flow once with
    tools/extract_flow.py and read it with ``CachedFlow``.
    """

    def __init__(
        self, path: str | os.PathLike[str], settings: FlowSettings | None = None, *, device: str = "cpu"
    ) -> None:
        self.frames = ClipReader(path)
        self.settings = settings or FlowSettings()
        self.device = device

    @property
    def num_frames(self) -> int:
        return self.frames.num_frames

    @property
    def height(self) -> int:
        """Of the flow pictures; see ``FlowSettings.short_side``."""
        return self.settings.size_of(self.frames.height, self.frames.width)[0]

    @property
    def width(self) -> int:
        return self.settings.size_of(self.frames.height, self.frames.width)[1]

    @property
    def fps(self) -> float:
        return self.frames.fps

    def read(self, indices: Sequence[int] | np.ndarray, *, size: tuple[int, int] | None = None) -> np.ndarray:
        """(n, H, W, 2) uint8: flow from each frame named to the next, in that order, repeats allowed.

        ``size=(height, width)`` scales the pictures and leaves their values. VideoError for an index outside the video.
        """
        wanted = [int(index) for index in indices]
        check_indices(wanted, self.num_frames, self.frames.path)
        pairs = sorted({pair_of(index, self.num_frames) for index in wanted} - {NO_PAIR})
        pictures: dict[int, np.ndarray] = {NO_PAIR: np.full((self.height, self.width, 2), NO_MOTION, np.uint8)}
        if pairs:
            needed = sorted({*pairs, *(pair + 1 for pair in pairs)})
            frames = self.frames.read(needed, size=(self.height, self.width))
            position = {frame: place for place, frame in enumerate(needed)}
            first = frames[[position[pair] for pair in pairs]]
            second = frames[[position[pair + 1] for pair in pairs]]
            try:
                pictures |= zip(pairs, flow_between(first, second, self.settings, device=self.device))
            except ValueError as error:
                raise FlowError(f"{self.frames.path}: {error}") from None
        return stack([pictures[pair_of(index, self.num_frames)] for index in wanted], size or (self.height, self.width))


# ---- shared with the reader of cached flow

NO_PAIR = -1
"""The pair of a frame that is alone in its video."""


def pair_of(frame: int, num_frames: int) -> int:
    """The first frame of the pair whose motion is frame ``frame``'s: itself, but for the last frame the one before."""
    return min(frame, num_frames - 2)


def check_indices(indices: Sequence[int], num_frames: int, path: str) -> None:
    """FlowError for an index outside the video."""
    outside = [index for index in indices if not 0 <= index < num_frames]
    if outside:
        raise FlowError(f"{path}: there is no frame {outside[0]}; it has frames 0 to {num_frames - 1}")


def stack(pictures: Sequence[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """(n, height, width, 2) from (H, W, 2) pictures, scaled channel by channel where they have another size."""
    if not pictures:
        return np.empty((0, *size, 2), np.uint8)
    scaled: dict[int, np.ndarray] = {}  # repeated frames are scaled once
    for picture in pictures:
        if id(picture) not in scaled:
            channels = [resize_frame(np.ascontiguousarray(picture[..., c]), size) for c in range(2)]
            scaled[id(picture)] = np.stack(channels, axis=-1)
    return np.stack([scaled[id(picture)] for picture in pictures])
