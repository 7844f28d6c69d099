"""Where in the picture, and when, a classifier sees its evidence: class activation maps of a whole video.

StNet (AAAI 2019) Figure 4 shows such maps; what they are for each network is told at its ``class_maps``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from recognition.classify import ClassifyConfig, VideoClips
from recognition.clip_sampling import ClipInput
from recognition.clip_views import whole_size
from recognition.preprocessing import normalise_clips
from recognition.sound_clips import NetworkInput, SoundInput


@dataclass(frozen=True, eq=False)
class VideoMaps:
    """Class activation maps of a video."""

    frames: np.ndarray
    """(m,) ascending index of the frame that each map belongs to; each once."""
    maps: np.ndarray
    """(classes, m, H', W') float32: what each position adds to each class asked for, less the mean over all classes.

    What is added to all of them alike, softmax takes no account of. Not scaled, of any sign.
    """
    area: tuple[float, float, float, float]
    """x1 y1 x2 y2 of what the cells of a map cover together, as shares of the frame's width and height.

    May reach beyond the frame on one side and end before it on the other.
    """


def video_maps(
    network: nn.Module,
    clips: VideoClips,
    classes: Sequence[int],
    clip: NetworkInput,
    config: ClassifyConfig,
    *,
    size: tuple[int, int],
    device: str = "cpu",
) -> VideoMaps:
    """Maps of these classes for the test clips of one video of ``size`` (height, width); the network is in eval mode.

    The cell t of a map with T' cells stands for the frame in the middle of its T/T' frames. Where clips overlap, the
    maps of the same frame are averaged. Raises ValueError for a network without class maps.
    """
    if isinstance(clip, SoundInput):
        raise ValueError("a classifier of sound does not look at the picture, so there are no class maps")
    of_network: Callable[[Tensor], Tensor] | None = getattr(network, "class_maps", None)
    if of_network is None:
        raise ValueError(f"{type(network).__name__} has no map of the picture, so there are no class maps")
    places: dict[int, list[np.ndarray]] = {}
    for first in range(0, len(clips.clips), config.batch_clips):
        batch = normalise_clips(clips.clips[first : first + config.batch_clips], clip.preprocessing, device=device)
        with torch.no_grad():
            all_maps = of_network(batch).float()
        found = (all_maps - all_maps.mean(dim=1, keepdim=True))[:, list(classes)].cpu().numpy()  # (b, k, T', H', W')
        cells = found.shape[2]
        frames_of_clip = clips.frames.shape[1]
        middles = ((np.arange(cells) + 0.5) * frames_of_clip / cells).astype(int)
        for row, maps in enumerate(found):
            for cell, frame in enumerate(clips.frames[first + row][middles].tolist()):
                places.setdefault(frame, []).append(maps[:, cell])
    frames = sorted(places)
    maps = np.stack([np.mean(places[frame], axis=0) for frame in frames], axis=1)
    # The last cells are repeated, so that the maps reach the lower and right edge; see _span.
    area = _area(clip, size, (clips.clips.shape[2], clips.clips.shape[3]), maps.shape[2:])
    return VideoMaps(np.array(frames), np.pad(maps, ((0, 0), (0, 0), (0, 1), (0, 1)), mode="edge"), area)


def _area(
    clip: ClipInput, size: tuple[int, int], seen: tuple[int, int], cells: tuple[int, int]
) -> tuple[float, float, float, float]:
    """Where the cells of a map lie in the frame, given the sizes of frame, network input and map."""
    x1, y1, x2, y2 = 0.0, 0.0, 1.0, 1.0
    if clip.test_crop:
        height, width = whole_size(*size, clip)
        x1, y1 = (1 - clip.test_crop / width) / 2, (1 - clip.test_crop / height) / 2
        x2, y2 = 1 - x1, 1 - y1
    (top, bottom), (left, right) = (_span(pixels, count) for pixels, count in zip(seen, cells))
    return x1 + left * (x2 - x1), y1 + top * (y2 - y1), x1 + right * (x2 - x1), y1 + bottom * (y2 - y1)


def _span(pixels: int, cells: int) -> tuple[float, float]:
    """Begin of the first and end of the last cell, repeated once, as shares of the input's side.

    Where each of some layers of stride 2 with symmetric padding halves the size, rounded up, cell i has its centre at
    pixel stride * i (docs/decisions/003), half a cell further up and left than even parts of the picture would have it.
    """
    stride = 2 ** round(math.log2(pixels / cells))
    if -(-pixels // stride) != cells:
        return 0.0, 1 + 1 / cells
    return -stride / 2 / pixels, stride * (cells + 0.5) / pixels
