"""From the frames of a video to scored boxes in every frame, in one pass and with bounded memory.

Two settings trade accuracy for speed: proposals on every k-th frame (between them boxes are interpolated along
matched boxes) and one LGD-3D clip for every s frames. k = 1, s = 1 is the paper read literally.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from time import perf_counter
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from detection.between import boxes_between
from detection.geometry import network_size, scale_boxes
from detection.proposals import Proposer
from detection.scorer import ActionScorer, LoadedScorer
from linking.records import Detections
from linking.scores import ScoredVideo
from recognition.fold import fold_batch_norm
from recognition.preprocessing import normalise_clips
from video.cuts import CutFinder
from video.frames import VideoSource


@dataclass(frozen=True)
class PipelineConfig:
    """Speed and thoroughness of the pass over the frames."""

    proposal_stride: int = 4
    """Proposals on every k-th frame (and on the last); 1 is every frame."""
    clip_stride: int = 8
    """Frames scored by one clip, centred on them; 1 is a clip for every frame. At most the frames of a clip."""
    max_boxes: int = 10
    """Most likely boxes of a frame that are scored."""
    min_actor_score: float = 0.05
    """Boxes the proposal network believes in less are not scored."""
    actor_weight: float = 1.0
    """A class score is multiplied by the actor score to this power: 1 is the probability of an actor doing the action,
    0 leaves the scorer alone (the paper)."""
    batch_frames: int = 4
    """Frames per call of the proposal network."""
    batch_clips: int = 2
    """Clips per call of LGD-3D; two are faster than one by more than half on a CPU."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto: bf16 autocast where the processor has instructions for it."""

    def __post_init__(self) -> None:
        for name in ("proposal_stride", "clip_stride", "max_boxes", "batch_frames", "batch_clips"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, got {getattr(self, name)}")


@dataclass
class Timings:
    """Seconds spent in each stage, and how much work it was."""

    decode: float = 0.0
    propose: float = 0.0
    score: float = 0.0
    link: float = 0.0
    draw: float = 0.0
    frames: int = 0
    key_frames: int = 0
    clips: int = 0
    boxes: int = 0


def score_video(
    source: VideoSource,
    video: str,
    proposer: Proposer,
    scorer: LoadedScorer,
    config: PipelineConfig,
    *,
    timings: Timings | None = None,
    on_frame: Callable[[int], None] | None = None,
    until: Callable[[], bool] | None = None,
    max_frames: int | None = None,
) -> ScoredVideo:
    """Propose and score boxes in every frame of ``source``.

    Args:
        source: an opened video; read once.
        video: the name under which results are kept.
        on_frame: called with the number of frames read so far.
        until: asked before every frame; a true answer ends the video there (live sources, Ctrl-C).
        max_frames: most frames to read.

    Returns:
        Detections of every frame with class scores 0..1, in pixels of the original frame.
    """
    timings = timings if timings is not None else Timings()
    size = (source.height, source.width)
    proposals = _Proposals(proposer, config, timings)
    scores = _Scores(scorer, size, config, timings)
    cuts: list[int] = []
    cut_finder = CutFinder()
    found: list[Detections] = []
    frames = iter(source)
    while timings.frames != max_frames and (until is None or not until()):
        started = perf_counter()
        frame = next(frames, None)
        if frame is None:
            break
        small = scores.shrink(frame)
        if cut_finder.is_cut(small):
            cuts.append(timings.frames)
        timings.decode += perf_counter() - started
        scores.add_frame(small)
        found += scores.add_boxes(
            proposals.add(timings.frames, frame, is_cut=bool(cuts) and cuts[-1] == timings.frames)
        )
        timings.frames += 1
        if on_frame is not None:
            on_frame(timings.frames)
    found += scores.add_boxes(proposals.finish())
    found += scores.finish()
    timings.boxes += sum(len(detections) for detections in found)
    return ScoredVideo(video, scorer.class_names, tuple(found), source.width, source.height, source.fps, tuple(cuts))


class _Proposals:
    """Takes frames one at a time, gives back the boxes of every frame, in order, some frames later."""

    def __init__(self, proposer: Proposer, config: PipelineConfig, timings: Timings) -> None:
        self.proposer, self.config, self.timings = proposer, config, timings
        self.waiting: list[tuple[int, np.ndarray, bool]] = []
        self.previous: tuple[int, np.ndarray] | None = None
        self.last_key: Detections | None = None
        self.last_asked = -1
        self.next_key = 0

    def add(self, index: int, frame: np.ndarray, *, is_cut: bool) -> list[Detections]:
        if is_cut and self.previous is not None and self.previous[0] > self.last_asked:
            # boxes are not carried across a cut: both sides of it become key frames
            self._ask(*self.previous, is_cut=False)
        if index == self.next_key or is_cut:
            self._ask(index, frame, is_cut=is_cut)
            self.next_key = index + self.config.proposal_stride
        self.previous = (index, frame)
        return self._propose() if len(self.waiting) >= self.config.batch_frames else []

    def finish(self) -> list[Detections]:
        if self.previous is not None and self.previous[0] > self.last_asked:
            self._ask(*self.previous, is_cut=False)
        return self._propose()

    def _ask(self, index: int, frame: np.ndarray, *, is_cut: bool) -> None:
        self.waiting.append((index, frame, is_cut))
        self.last_asked = index

    def _propose(self) -> list[Detections]:
        if not self.waiting:
            return []
        started = perf_counter()
        keys = self.proposer.propose([frame for _, frame, _ in self.waiting], [index for index, _, _ in self.waiting])
        self.timings.propose += perf_counter() - started
        self.timings.key_frames += len(keys)
        found: list[Detections] = []
        for key, (_, _, is_cut) in zip(keys, self.waiting):
            key = self._best(key)
            if self.last_key is not None and not is_cut:
                found += [self._best(between) for between in boxes_between(self.last_key, key)]
            found.append(key)
            self.last_key = key
        self.waiting = []
        return found

    def _best(self, detections: Detections) -> Detections:
        kept = np.argsort(-detections.scores, kind="stable")[: self.config.max_boxes]
        kept = kept[detections.scores[kept] >= self.config.min_actor_score]
        return Detections(detections.frame, detections.boxes[kept], detections.scores[kept])


class _Scores:
    """Takes shrunk frames and boxes, runs a clip for every ``clip_stride`` frames, gives back scored boxes in order."""

    def __init__(self, scorer: LoadedScorer, size: tuple[int, int], config: PipelineConfig, timings: Timings) -> None:
        network = scorer.network
        self.length = network.config.clip_frames
        if config.clip_stride > self.length:
            raise ValueError(
                f"clip_stride must be at most {self.length}, the frames of a clip; got {config.clip_stride}"
            )
        self.device = next(network.parameters()).device
        self.network: ActionScorer = fold_batch_norm(network).to(memory_format=torch.channels_last)
        self.preprocessing = scorer.preprocessing
        self.config, self.timings, self.size = config, timings, size
        self.small_size = network_size(*size, network.config.short_side)
        self.amp = _use_bfloat16(config.precision, self.device)
        self.frames: deque[np.ndarray] = deque()
        self.first_frame = 0  # index of frames[0]
        self.boxes: deque[Detections] = deque()
        self.first_box = 0  # frame of boxes[0]
        self.groups: list[tuple[Tensor, int, list[Detections]]] = []
        self.store = _Store()

    def shrink(self, frame: np.ndarray) -> np.ndarray:
        """The frame at the size of the clips, (h, w, 3) uint8."""
        if frame.shape[:2] == self.small_size:
            return frame
        planes = torch.from_numpy(frame).permute(2, 0, 1)[None]
        small = F.interpolate(planes, self.small_size, mode="bilinear", align_corners=False, antialias=True)
        return small[0].permute(1, 2, 0).contiguous().numpy()

    def add_frame(self, small: np.ndarray) -> None:
        self.frames.append(small)

    def add_boxes(self, detections: Iterable[Detections]) -> list[Detections]:
        self.boxes.extend(detections)
        found: list[Detections] = []
        while len(self.boxes) >= self.config.clip_stride and self._clip_end() < self._num_frames():
            found += self._start_clip(self.config.clip_stride)
        return found

    def finish(self) -> list[Detections]:
        found: list[Detections] = []
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

    def _start_clip(self, count: int) -> list[Detections]:
        """Queue the clip of the next ``count`` frames' boxes; run the queue when it is full."""
        group = [self.boxes.popleft() for _ in range(count)]
        start = self._clip_start()
        if any(len(detections) for detections in group):
            # before the first and after the last frame of the video the nearest one is repeated
            wanted = np.clip(np.arange(start, start + self.length), self.first_frame, self._num_frames() - 1)
            clip = np.stack([self.frames[frame - self.first_frame] for frame in wanted.tolist()])
            self.groups.append((torch.from_numpy(clip), start, group))
        else:
            self.groups.append((torch.empty(0), start, group))
        self.first_box += count
        while self.frames and self.first_frame < self._clip_start():
            self.frames.popleft()
            self.first_frame += 1
        return self._run() if sum(len(clip) > 0 for clip, _, _ in self.groups) >= self.config.batch_clips else []

    @torch.inference_mode()
    def _run(self) -> list[Detections]:
        """Score everything in the queue."""
        started = perf_counter()
        busy = [(clip, start, group) for clip, start, group in self.groups if len(clip)]
        everything = [detections for _, _, group in self.groups for detections in group]
        self.groups = []
        probabilities = np.zeros((0, self.network.config.num_classes), np.float32)
        if busy:
            clips = normalise_clips(torch.stack([clip for clip, _, _ in busy]), self.preprocessing, device=self.device)
            regions = [self._regions(start, group) for _, start, group in busy]
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
                logits, _ = self.network(clips, regions)
            probabilities = self.network.class_probabilities(logits).cpu().numpy()
            self.timings.clips += len(busy)
        found, row = [], 0
        for detections in everything:
            share = probabilities[row : row + len(detections)]
            row += len(detections)
            scores = share * (detections.scores[:, None] ** self.config.actor_weight)
            kept = (self.store.keep(values) for values in (detections.boxes, detections.scores, scores))
            found.append(Detections(detections.frame, *kept))
        self.timings.score += perf_counter() - started
        return found

    def _regions(self, start: int, group: list[Detections]) -> Tensor:
        """(n, 5): frame within the clip and box in pixels of the clip, of all boxes of the group."""
        rows = [
            np.concatenate(
                [
                    np.full((len(detections), 1), detections.frame - start, np.float32),
                    scale_boxes(detections.boxes, self.size, self.small_size),
                ],
                axis=1,
            )
            for detections in group
        ]
        return torch.from_numpy(np.concatenate(rows)).to(self.device)


class _Store:
    """Memory for what is kept until the end of the video, in blocks of 4 MB.

    Small arrays that stay, allocated between the large ones of the networks that go, would leave holes in the heap
    that fit neither, and the process would grow by gigabytes in half an hour of video.
    """

    def __init__(self) -> None:
        self.block = np.empty(0, np.float32)
        self.used = 0

    def keep(self, values: np.ndarray) -> np.ndarray:
        """A float32 copy of ``values`` in the current block."""
        if self.used + values.size > len(self.block):
            self.block, self.used = np.empty(max(2**20, values.size), np.float32), 0
        view = self.block[self.used : self.used + values.size].reshape(values.shape)
        view[...] = values
        self.used += values.size
        return view


def _use_bfloat16(precision: str, device: torch.device) -> bool:
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    # a private name of torch: where it is gone, float32 is the safe answer
    has_instructions = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return device.type == "cpu" and bool(has_instructions())
