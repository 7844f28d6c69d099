"""Scoring boxes clip by clip: one network, RGB or flow, over a video that goes by once."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from detection.geometry import network_size, scale_boxes
from detection.pipeline_settings import PipelineConfig, Timings
from detection.scorer import ActionScorer, LoadedScorer
from linking.records import Detections
from recognition.fold import fold_batch_norm
from recognition.preprocessing import normalise_clips
from video.flow import flip
from video.flow import stack as stack_flow


class ClipScores:
    """One stream: takes frames and boxes, runs a clip for every ``clip_stride`` frames, gives back the probabilities of
    each frame's boxes, (n, classes) float32, in order."""

    def __init__(
        self,
        scorer: LoadedScorer,
        size: tuple[int, int],
        config: PipelineConfig,
        timings: Timings,
        *,
        fps: float | None = None,
    ) -> None:
        """``fps`` of the frames, for networks that want clips of a certain pace; None takes consecutive frames."""
        network = scorer.network
        self.step = 1 if fps is None else network.config.frame_step(fps)
        self.length = (network.config.clip_frames - 1) * self.step + 1  # from its first frame to its last
        if config.clip_stride > self.length:
            raise ValueError(
                f"clip_stride must be at most {self.length}, the frames of a clip; got {config.clip_stride}"
            )
        self.device = next(network.parameters()).device
        self.network: ActionScorer = fold_batch_norm(network)
        self.preprocessing = scorer.preprocessing
        self.config, self.timings, self.size = config, timings, size
        self.small_size = network_size(*size, network.config.short_side)
        self.flow = network.config.flow
        self.mirror = network.config.mirror and config.mirror
        self.amp = _use_bfloat16(config.precision, self.device)
        self.frames: deque[np.ndarray] = deque()
        self.first_frame = 0  # index of frames[0]
        self.boxes: deque[Detections] = deque()
        self.first_box = 0  # frame of boxes[0]
        self.groups: list[_Group] = []

    def add_frame(self, frame: np.ndarray) -> None:
        """Take the next frame, (H, W, 3) uint8 as decoded or of ``small_size`` already; not for a flow network."""
        self.frames.append(shrink(frame, self.small_size))

    def add_flow(self, pictures: Sequence[np.ndarray]) -> None:
        """Take the next (H, W, 2) uint8 flow pictures; for a flow network."""
        self.frames.extend(stack_flow(pictures, self.small_size))

    def add_boxes(self, detections: Iterable[Detections]) -> list[np.ndarray]:
        """Take the boxes of the next frames; they may run ahead of the frames or lag behind."""
        self.boxes.extend(detections)
        found: list[np.ndarray] = []
        while len(self.boxes) >= self.config.clip_stride and self._clip_end() < self._num_frames():
            found += self._start_clip(self.config.clip_stride)
        return found

    def finish(self) -> list[np.ndarray]:
        """What is left after the last frame and its boxes."""
        found: list[np.ndarray] = []
        while self.boxes:
            found += self._start_clip(min(self.config.clip_stride, len(self.boxes)))
        return found + self._run()

    def _num_frames(self) -> int:
        return self.first_frame + len(self.frames)

    def _clip_start(self) -> int:
        return self.first_box + self.config.clip_stride // 2 - self.length // 2

    def _clip_end(self) -> int:
        """Last frame of the clip for the next boxes."""
        return self._clip_start() + self.length - 1

    def _start_clip(self, count: int) -> list[np.ndarray]:
        """Queue the clip of the next ``count`` frames' boxes; run the queue when it is full."""
        boxes = [self.boxes.popleft() for _ in range(count)]
        start = self._clip_start()
        clip = None
        if any(len(detections) for detections in boxes):
            # before the first and after the last frame of the video the nearest one is repeated
            wanted = np.arange(start, start + self.length, self.step).clip(self.first_frame, self._num_frames() - 1)
            clip = torch.from_numpy(np.stack([self.frames[frame - self.first_frame] for frame in wanted.tolist()]))
        self.groups.append(_Group(clip, start, boxes))
        self.first_box += count
        while self.frames and self.first_frame < self._clip_start():
            self.frames.popleft()
            self.first_frame += 1
        return self._run() if sum(group.clip is not None for group in self.groups) >= self.config.batch_clips else []

    @torch.inference_mode()
    def _run(self) -> list[np.ndarray]:
        """Score everything in the queue."""
        started = perf_counter()
        clips = [group.clip for group in self.groups if group.clip is not None]
        regions = [self._regions(group) for group in self.groups if group.clip is not None]
        counts = [len(detections) for group in self.groups for detections in group.boxes]
        self.groups = []
        probabilities = np.zeros((0, self.network.config.num_classes), np.float32)
        if clips:
            batch = torch.stack(clips)
            probabilities = self._probabilities(batch, regions)
            if self.mirror:
                probabilities = (probabilities + self._probabilities(*self._mirrored(batch, regions))) / 2
            self.timings.clips += len(clips)
        self.timings.score += perf_counter() - started
        return np.split(probabilities, np.cumsum(counts)[:-1]) if counts else []

    def _probabilities(self, clips: Tensor, regions: list[Tensor]) -> np.ndarray:
        batch = normalise_clips(clips, self.preprocessing, device=self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
            logits, _ = self.network(batch, regions)
        return self.network.class_probabilities(logits).cpu().numpy()

    def _mirrored(self, clips: Tensor, regions: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Clips (B, T, h, w, channels) uint8 and regions of the mirrored video."""
        clips = clips.flip(3) if self.flow is None else torch.from_numpy(flip(clips.numpy()))
        sides = regions[0].new_tensor([0, clips.shape[3], 0, clips.shape[3], 0])
        order, sign = [0, 3, 2, 1, 4], regions[0].new_tensor([1, -1, 1, -1, 1])
        return clips, [sides + sign * region[:, order] for region in regions]

    def _regions(self, group: _Group) -> Tensor:
        """(n, 5): frame within the clip and box in pixels of the clip, of all boxes of the group."""
        rows = [
            np.concatenate(
                [
                    np.full((len(detections), 1), (detections.frame - group.start) / self.step, np.float32),
                    scale_boxes(detections.boxes, self.size, self.small_size),
                ],
                axis=1,
            )
            for detections in group.boxes
        ]
        return torch.from_numpy(np.concatenate(rows)).to(self.device)


@dataclass(frozen=True, eq=False)
class _Group:
    """Boxes that wait to be scored by one clip."""

    clip: Tensor | None
    """(T, h, w, channels) uint8; None where there is no box to score."""
    start: int
    """Its first frame; below 0 where it begins before the video."""
    boxes: list[Detections]


def shrink(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The (H, W, 3) uint8 frame at another size, (h, w, 3) uint8."""
    if frame.shape[:2] == size:
        return frame
    planes = torch.from_numpy(frame).permute(2, 0, 1)[None]
    small = F.interpolate(planes, size, mode="bilinear", align_corners=False, antialias=True)
    return small[0].permute(1, 2, 0).contiguous().numpy()


def _use_bfloat16(precision: str, device: torch.device) -> bool:
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    # a private name of torch: where it is gone, float32 is the safe answer
    has_instructions = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return device.type == "cpu" and bool(has_instructions())
