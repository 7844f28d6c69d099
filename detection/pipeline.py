"""From the frames of a video to scored boxes in every frame, in one pass and with bounded memory.

Two settings trade accuracy for speed: proposals on every k-th frame (between them boxes are interpolated along
matched boxes) and one LGD-3D clip for every s frames. k = 1, s = 1 is the paper read literally.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from time import perf_counter

import numpy as np

from detection.between import boxes_between
from detection.clip_scores import ClipScores, shrink
from detection.flow_pictures import FlowPictures
from detection.motion import MotionBuffer
from detection.pipeline_settings import PipelineConfig, Timings
from detection.proposals import Proposer
from detection.scorer import LoadedScorer
from detection.two_streams import TwoStreamProposer
from linking.fuse import mean_of_streams, product_of_streams
from linking.records import Detections
from linking.scores import ScoredVideo
from video.cuts import CutFinder
from video.flow import FlowSettings
from video.frames import VideoSource

__all__ = ["FrameScorer", "PipelineConfig", "Timings", "score_video"]


def score_video(
    source: VideoSource,
    video: str,
    proposer: Proposer,
    scorers: LoadedScorer | Sequence[LoadedScorer],
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
        scorers: one, or one a stream (RGB, flow), whose probabilities are fused.
        video: the name under which results are kept.
        on_frame: called with the number of frames read so far.
        until: asked before every frame; a true answer ends the video there (live sources, Ctrl-C).
        max_frames: most frames to read.

    Returns:
        Detections of every frame with class scores 0..1, in pixels of the original frame.

    ValueError where scorers name other classes, or stream_weights are not one a scorer.
    """
    timings = timings if timings is not None else Timings()
    size = (source.height, source.width)
    scorer = FrameScorer(proposer, scorers, size, config, timings, fps=source.fps)
    found: list[Detections] = []
    frames = iter(source)
    while timings.frames != max_frames and (until is None or not until()):
        started = perf_counter()
        frame = next(frames, None)
        if frame is None:
            break
        timings.decode += perf_counter() - started
        found += scorer.add(frame)
        if on_frame is not None:
            on_frame(timings.frames)
    found += scorer.finish()
    return ScoredVideo(
        video, scorer.class_names, tuple(found), source.width, source.height, source.fps, tuple(scorer.cuts)
    )


class FrameScorer:
    """Takes the frames of one video one at a time, gives back the scored boxes of every frame, in order, some frames
    later. What it keeps does not grow with the video, but for ``cuts``.

    ValueError where scorers name other classes, or stream_weights are not one a scorer.
    """

    cuts: list[int]
    """First frames of new shots, as far as frames were given."""

    def __init__(
        self,
        proposer: Proposer,
        scorers: LoadedScorer | Sequence[LoadedScorer],
        size: tuple[int, int],
        config: PipelineConfig,
        timings: Timings,
        *,
        fps: float | None = None,
    ) -> None:
        """``size`` is height and width of the frames; ``fps`` as in ``ClipScores``."""
        self._proposals = _Proposals(proposer, config, timings)
        scorers = [scorers] if isinstance(scorers, LoadedScorer) else scorers
        self._scores = _Streams(scorers, size, config, timings, fps)
        # the same flow serves every network that wants it
        wanted = {settings for settings in (*self._scores.flow, self._proposals.flow) if settings is not None}
        self._flow = {settings: FlowPictures(settings, size, self._scores.device) for settings in wanted}
        self._cut_finder = CutFinder()
        self._timings = timings
        self._frames = 0
        self.class_names = self._scores.class_names
        self.cuts = []

    def add(self, frame: np.ndarray) -> list[Detections]:
        """Take the next frame, (H, W, 3) uint8; the detections that are known now and were not before."""
        started = perf_counter()
        small = shrink(frame, self._scores.small_size)
        is_cut = self._cut_finder.is_cut(small)
        if is_cut:
            self.cuts.append(self._frames)
        self._timings.decode += perf_counter() - started
        self._scores.add_frame(frame, small)
        started = perf_counter()
        for settings, flow in self._flow.items():
            self._add_flow(settings, flow.add(small if flow.frame_size == small.shape[:2] else frame))
        self._timings.flow += perf_counter() - started
        found = self._scores.add_boxes(self._proposals.add(self._frames, frame, is_cut=is_cut))
        self._frames += 1
        self._timings.frames += 1
        return self._counted(found)

    def finish(self) -> list[Detections]:
        """What is left after the last frame."""
        for settings, flow in self._flow.items():
            self._add_flow(settings, flow.finish())
        return self._counted(self._scores.add_boxes(self._proposals.finish()) + self._scores.finish())

    def _add_flow(self, settings: FlowSettings, pictures: list[np.ndarray]) -> None:
        self._scores.add_flow(settings, pictures)
        if settings == self._proposals.flow:
            self._proposals.add_flow(pictures)

    def _counted(self, found: list[Detections]) -> list[Detections]:
        self._timings.boxes += sum(len(detections) for detections in found)
        return found


class _Proposals:
    """Takes frames one at a time, gives back the boxes of every frame, in order, some frames later."""

    def __init__(self, proposer: Proposer, config: PipelineConfig, timings: Timings) -> None:
        self.proposer, self.config, self.timings = proposer, config, timings
        self.waiting: list[tuple[int, np.ndarray, bool]] = []
        self.previous: tuple[int, np.ndarray] | None = None
        self.last_key: Detections | None = None
        self.last_asked = -1
        self.next_key = 0
        self.moving = proposer if isinstance(proposer, TwoStreamProposer) else None
        self.flow = None if self.moving is None else self.moving.flow
        """Of the flow it has to be given with ``add_flow``."""
        self.motion = MotionBuffer((0,) if self.moving is None else self.moving.flow_frames)

    def add_flow(self, pictures: Sequence[np.ndarray]) -> None:
        self.motion.add(pictures)

    def add(self, index: int, frame: np.ndarray, *, is_cut: bool) -> list[Detections]:
        if is_cut and self.moving is not None:
            self.motion.cut(index)
        if is_cut and self.previous is not None and self.previous[0] > self.last_asked:
            # boxes are not carried across a cut: both sides of it become key frames
            self._ask(*self.previous, is_cut=False)
        if index == self.next_key or is_cut:
            self._ask(index, frame, is_cut=is_cut)
            self.next_key = index + self.config.proposal_stride
        self.previous = (index, frame)
        ready = self._ready()
        return self._propose(ready) if ready >= self.config.batch_frames else []

    def finish(self) -> list[Detections]:
        self.motion.finish()
        if self.previous is not None and self.previous[0] > self.last_asked:
            self._ask(*self.previous, is_cut=False)
        return self._propose(len(self.waiting))

    def _ready(self) -> int:
        """How many of those that wait can be looked at now."""
        if self.moving is None:
            return len(self.waiting)
        return sum(self.motion.is_ready(index) for index, _, _ in self.waiting)

    def _ask(self, index: int, frame: np.ndarray, *, is_cut: bool) -> None:
        self.waiting.append((index, frame, is_cut))
        self.last_asked = index

    def _propose(self, count: int) -> list[Detections]:
        if not count:
            return []
        started = perf_counter()
        asked, self.waiting = self.waiting[:count], self.waiting[count:]
        frames, indices = [frame for _, frame, _ in asked], [index for index, _, _ in asked]
        if self.moving is None:
            keys = self.proposer.propose(frames, indices)
        else:
            keys = self.moving.propose_moving(frames, [self.motion.stack(index) for index in indices], indices)
        self.timings.propose += perf_counter() - started
        self.timings.key_frames += len(keys)
        found: list[Detections] = []
        for key, (_, _, is_cut) in zip(keys, asked):
            key = self._best(key)
            if self.last_key is not None and not is_cut:
                found += [self._best(between) for between in boxes_between(self.last_key, key)]
            found.append(key)
            self.last_key = key
        return found

    def _best(self, detections: Detections) -> Detections:
        kept = np.argsort(-detections.scores, kind="stable")[: self.config.max_boxes]
        kept = kept[detections.scores[kept] >= self.config.min_actor_score]
        return Detections(detections.frame, detections.boxes[kept], detections.scores[kept])


class _Streams:
    """Scores the same boxes by every scorer and fuses what they say."""

    def __init__(
        self,
        scorers: Sequence[LoadedScorer],
        size: tuple[int, int],
        config: PipelineConfig,
        timings: Timings,
        fps: float | None = None,
    ) -> None:
        self.class_names = scorers[0].class_names
        for other in scorers[1:]:
            if other.class_names != self.class_names:
                raise ValueError(f"{other.file.path}: its classes are not those of {scorers[0].file.path}")
        weights = config.stream_weights or (1.0,) * len(scorers)
        if len(weights) != len(scorers):
            raise ValueError(f"stream_weights has {len(weights)} numbers for {len(scorers)} scorers")
        self.weights = np.array(weights, np.float32) / sum(weights)
        self.streams = [ClipScores(scorer, size, config, timings, fps=fps) for scorer in scorers]
        self.small_size = self.streams[0].small_size
        self.flow = [stream.flow for stream in self.streams]
        self.device = str(self.streams[0].device)
        exclusive = not any(scorer.network.config.multi_label for scorer in scorers)
        by_product = config.fusion == "product" and exclusive and len(scorers) > 1
        self.fuse = product_of_streams if by_product else mean_of_streams
        self.actor_weight = config.actor_weight
        self.boxes: deque[Detections] = deque()
        self.scored: list[deque[np.ndarray]] = [deque() for _ in scorers]
        self.store = _Store()

    def add_frame(self, frame: np.ndarray, small: np.ndarray) -> None:
        """``small`` is the frame at ``small_size``."""
        for stream in self.streams:
            if stream.flow is None:
                stream.add_frame(small if stream.small_size == self.small_size else frame)

    def add_flow(self, settings: FlowSettings, pictures: Sequence[np.ndarray]) -> None:
        """The next flow pictures of these settings."""
        for stream in self.streams:
            if stream.flow == settings:
                stream.add_flow(pictures)

    def add_boxes(self, detections: list[Detections]) -> list[Detections]:
        self.boxes.extend(detections)
        for stream, scored in zip(self.streams, self.scored):
            scored.extend(stream.add_boxes(detections))
        return self._fused()

    def finish(self) -> list[Detections]:
        for stream, scored in zip(self.streams, self.scored):
            scored.extend(stream.finish())
        return self._fused()

    def _fused(self) -> list[Detections]:
        """Boxes that every stream has scored: the fused probability of each class, times the actor score."""
        found = []
        for _ in range(min(len(scored) for scored in self.scored)):
            detections = self.boxes.popleft()
            shares = [scored.popleft() for scored in self.scored]
            scores = self.fuse(shares, self.weights)
            scores = scores * (detections.scores[:, None] ** self.actor_weight)
            kept = (self.store.keep(values) for values in (detections.boxes, detections.scores, scores))
            found.append(Detections(detections.frame, *kept))
        return found


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
