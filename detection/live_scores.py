"""Scored boxes of live pictures: the pipeline of videos, begun anew wherever time is missing or the effort changes."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

from detection.live_effort import Effort
from detection.pipeline import FrameScorer, PipelineConfig, Timings
from detection.proposals import Proposer
from detection.scorer import LoadedScorer
from linking.records import Detections
from video.live_frames import LiveFrame


@dataclass(frozen=True, eq=False)
class ScoredFrame:
    """A picture with its boxes."""

    frame: LiveFrame
    detections: Detections
    """Their ``frame`` counts the pictures that were looked at."""
    is_new_shot: bool
    """Nothing is linked from before: a cut, a new connection, a long hole."""


class LiveScorer:
    """Takes pictures, gives each back with its scored boxes some pictures later.

    A hole of up to ``longest_hole`` seconds (pictures that the buffer dropped) is passed over: its clip has one leap in
    it. After more, and when the effort changes, which changes the pace, what is on the way is finished and the
    pipeline begins anew, so that no clip is of two moments or two paces.
    """

    def __init__(
        self,
        proposer: Proposer,
        scorers: Sequence[LoadedScorer],
        size: tuple[int, int],
        config: PipelineConfig,
        timings: Timings,
        *,
        longest_hole: float,
    ) -> None:
        """``size`` is height and width of the pictures."""
        self.class_names = scorers[0].class_names
        self.holes = 0
        """Long ones, after which tubes begin anew; breaks of the connection count too."""
        self._proposer, self._scorers, self._size = proposer, scorers, size
        self._config, self._timings, self._longest_hole = config, timings, longest_hole
        self._effort: Effort | None = None
        self._pipeline: FrameScorer | None = None
        self._waiting: deque[LiveFrame] = deque()  # pictures without boxes yet
        self._last: LiveFrame | None = None
        self._interval = 0.0  # seconds between decoded pictures, lately
        self._given = 0  # pictures that went into the pipeline
        self._begun = 0  # its first picture, in this count
        self._is_new_shot = False  # the first picture of the pipeline

    def add(self, frame: LiveFrame, effort: Effort) -> list[ScoredFrame]:
        """Take the next picture, which was taken with the stride of ``effort`` or of the effort before."""
        found: list[ScoredFrame] = []
        hole = self._last is not None and self._is_hole(self._last, frame)
        changed = self._last is not None and (effort != self._effort or frame.stride != self._last.stride)
        if self._pipeline is None or hole or changed:
            found = self.finish()
            self._begin(effort, is_new_shot=hole)
            self.holes += hole
        assert self._pipeline is not None
        self._waiting.append(frame)
        self._last = frame
        self._given += 1
        return found + self._out(self._pipeline.add(frame.image))

    def finish(self) -> list[ScoredFrame]:
        """What is left of the pictures so far."""
        if self._pipeline is None:
            return []
        found = self._out(self._pipeline.finish())
        self._pipeline = None
        return found

    def _is_hole(self, last: LiveFrame, frame: LiveFrame) -> bool:
        """Whether too much time is missing; of a slow source the time between its pictures is not."""
        if frame.connection != last.connection:
            return True
        passed = frame.seconds - last.seconds
        is_hole = passed > max(self._longest_hole, 3 * frame.stride * self._interval)
        self._interval += 0.1 * (passed / (frame.index - last.index) - self._interval)
        return is_hole

    def _begin(self, effort: Effort, *, is_new_shot: bool) -> None:
        # one clip and one key frame at a time: company would make each of them wait
        config = replace(
            self._config,
            proposal_stride=effort.proposal_stride,
            clip_stride=effort.clip_stride,
            batch_frames=1,
            batch_clips=1,
            stream_weights=self._config.stream_weights[: effort.streams],
        )
        scorers = self._scorers[: effort.streams]
        self._pipeline = FrameScorer(self._proposer, scorers, self._size, config, self._timings)
        self._effort, self._begun, self._is_new_shot = effort, self._given, is_new_shot

    def _out(self, found: Sequence[Detections]) -> list[ScoredFrame]:
        assert self._pipeline is not None
        cuts = self._pipeline.cuts
        scored = []
        for detections in found:
            is_new_shot = detections.frame in cuts or (self._is_new_shot and detections.frame == 0)
            del cuts[: sum(cut <= detections.frame for cut in cuts)]
            numbered = replace(detections, frame=self._begun + detections.frame)
            scored.append(ScoredFrame(self._waiting.popleft(), numbered, is_new_shot))
        return scored
