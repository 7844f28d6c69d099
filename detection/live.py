"""A camera or stream to action tubes while it goes on: seen with little delay, written down as it ends."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from detection.detect import DetectConfig
from detection.live_effort import Effort, Governor, steps_down
from detection.live_files import LiveTable
from detection.live_scores import LiveScorer, ScoredFrame
from detection.live_show import LiveShow
from detection.live_tubes import EndedTube, LiveTubes
from detection.live_view import LiveView, Picture, Status
from detection.pipeline import Timings
from detection.proposals import Proposer
from detection.scorer import LoadedScorer
from video.live_frames import LiveFrame, LiveReader
from video.writing import VideoWriter

_PACE_OF_TRAINING = 30.0  # pictures a second of the videos the scorers were trained on


@dataclass
class LiveOutcome:
    """What is known at the end of a live run."""

    num_tubes: int = 0
    decoded: int = 0
    failure: str | None = None
    """Why the source was lost; None where it ended or was ended."""
    timings: Timings = field(default_factory=Timings)
    facts: dict[str, Any] = field(default_factory=dict)
    """For ``run.json``: latency, pictures dropped, steps of effort."""


def watch(
    reader: LiveReader,
    video: str,
    proposer: Proposer,
    scorers: Sequence[LoadedScorer],
    config: DetectConfig,
    *,
    output: Path,
    annotated: Path | None = None,
    show: LiveShow | None = None,
    labels: Sequence[str] | None = None,
    may_drop_streams: bool = False,
    until: Callable[[], bool] = lambda: False,
    on_ended: Callable[[Sequence[EndedTube]], None] = lambda ended: None,
    tell: Callable[[str], None] = lambda line: None,
) -> LiveOutcome:
    """Follow ``reader`` until it ends or ``until`` is true.

    Args:
        video: the name under which results are kept.
        output: folder of ``tubes.csv`` and ``tubes.json``.
        annotated: where to write what was shown, as a video whose pictures have their true times.
        show: where it can be seen while it goes on.
        labels: only these classes.
        may_drop_streams: whether the scorers after the first may be left out where all of them are too slow.
        on_ended: told the tubes that ended, as they are written down.
        tell: given lines for the user.
    """
    check_live(config)
    started, clock = datetime.now(UTC), time.monotonic()
    run = _Run(reader, proposer, scorers, config, labels=labels, may_drop_streams=may_drop_streams, tell=tell)
    outcome = LiveOutcome(timings=run.timings)
    view = LiveView(reader.width, reader.height)
    with ExitStack() as files:
        files.callback(reader.close)
        table = files.enter_context(LiveTable(output, video, width=reader.full_width, height=reader.full_height))

        def keep(ended: list[EndedTube]) -> None:
            table.add(ended)
            if show is not None:
                show.add_ended(ended)
            if ended:
                on_ended(ended)

        if show is not None:
            view.show = lambda drawn, picture, latency: show.show(drawn, picture, latency, view.latencies.summary())
        with view:
            for scored in run.scored(lambda: until() or (show is not None and show.window_was_closed())):
                if annotated is not None and view.writer is None:
                    fps = min(max(reader.stated_fps, 1.0), 60.0)
                    writer = VideoWriter(annotated, width=view.size[0], height=view.size[1], fps=fps, live=True)
                    view.writer = files.enter_context(writer)
                for one in scored:
                    run.tubes.update(one)
                actors, status = run.tubes.now(), run.status()
                view.put([Picture(one.frame, one.detections.frame, actors, status) for one in scored])
                keep(run.tubes.ended())
            keep(run.tubes.finish())
        table.num_frames = reader.decoded
    outcome.num_tubes, outcome.decoded, outcome.failure = table.num_tubes, reader.decoded, reader.failure
    outcome.facts = {
        "started": started.isoformat(timespec="seconds"),
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        **run.facts(time.monotonic() - clock),
        "latency_seconds": view.latencies.summary(),
        "undrawn": view.undrawn,
    }
    return outcome


def check_live(config: DetectConfig) -> None:
    """ValueError for settings that live input has no use for."""
    if config.trim_labels != "own":
        raise ValueError("live input trims tubes by their own class; set trim_labels=own")
    if config.online.class_agnostic:
        raise ValueError("live input links class by class; set online.class_agnostic=false")


class _Run:
    """The networks of a run and the account of what they did."""

    def __init__(
        self,
        reader: LiveReader,
        proposer: Proposer,
        scorers: Sequence[LoadedScorer],
        config: DetectConfig,
        *,
        labels: Sequence[str] | None,
        may_drop_streams: bool,
        tell: Callable[[str], None],
    ) -> None:
        live, pipeline = config.live, config.pipeline
        stride = live.frame_stride or max(1, round(reader.stated_fps / _PACE_OF_TRAINING))
        full = Effort(len(scorers), pipeline.proposal_stride, pipeline.clip_stride, stride)
        clip_frames = min(scorer.network.config.clip_frames for scorer in scorers)
        may_drop_streams = may_drop_streams and not pipeline.stream_weights
        steps = steps_down(full, clip_frames=clip_frames, may_drop_streams=may_drop_streams) if live.adapt else [full]
        self.reader, self.tell = reader, tell
        self.timings = Timings()
        self.governor = Governor(steps)
        size = (reader.height, reader.width)
        self.scorer = LiveScorer(proposer, scorers, size, pipeline, self.timings, longest_hole=live.longest_hole)
        names = self.scorer.class_names
        self._columns = None if labels is None else [names.index(label) for label in labels]
        online = replace(config.online, max_frames=config.online.max_frames or live.max_tube_frames)
        self.tubes = LiveTubes(
            names if labels is None else labels,
            online,
            config.trim if config.trimmed else None,
            config.select,
            show_score=live.show_score,
            scale=reader.full_height / reader.height,
        )
        reader.stride = full.frame_stride
        self._looked_at = 0
        self._rate = 0.0
        self._efforts: deque[dict[str, Any]] = deque([{"from_seconds": 0.0, "effort": str(full)}], maxlen=100)

    def scored(self, until: Callable[[], bool]) -> Iterator[list[ScoredFrame]]:
        """Pictures with their boxes, several at a time, as they become known."""
        is_warm = False  # the first clips take longer than all others
        begun, idle, dropped, looked_at = time.monotonic(), 0.0, 0, 0
        for frame, waited in _with_waiting(self.reader.frames(until)):
            idle += waited
            found = self.scorer.add(frame, self.governor.effort)
            self._looked_at += 1
            if found:
                yield [self._only_labels(one) for one in found]
            now = time.monotonic()
            if not is_warm and found:
                is_warm, begun, idle = True, now, 0.0
                dropped, looked_at = self.reader.dropped, self._looked_at
            elif is_warm and now - begun > Governor.PERIOD:
                self._rate = (self._looked_at - looked_at) / (now - begun)
                busy, lost = 1 - idle / (now - begun), self.reader.dropped - dropped
                if change := self.governor.judge(now, busy, lost):
                    self._change_effort(frame, "less" if change > 0 else "more")
                begun, idle, dropped, looked_at = time.monotonic(), 0.0, self.reader.dropped, self._looked_at
        self.reader.close()  # what comes while the rest is finished is not of this run
        found = self.scorer.finish()
        if found:
            yield [self._only_labels(one) for one in found]

    def status(self) -> Status:
        effort = self.governor.effort
        return Status(
            source_fps=round(self.reader.fps, 2),
            frames_per_second=round(self._rate or self.reader.fps / effort.frame_stride, 2),
            decoded=self.reader.decoded,
            dropped=self.reader.dropped,
            reconnects=self.reader.reconnects,
            effort=str(effort),
            reduced=self.governor.step > 0,
        )

    def facts(self, seconds: float) -> dict[str, Any]:
        reader = self.reader
        taken = self._looked_at + reader.dropped + reader.hurried
        return {
            "seconds": round(seconds, 1),
            "decoded": reader.decoded,
            "looked_at": self._looked_at,
            "dropped": reader.dropped,
            "dropped_at_connecting": reader.hurried,
            "skipped": max(0, reader.decoded - taken),
            "frames_per_second": round(self._looked_at / max(seconds, 1e-9), 2),
            "source_fps": round(reader.fps, 2),
            "reconnects": reader.reconnects,
            "holes": self.scorer.holes,
            "efforts": list(self._efforts),
        }

    def _change_effort(self, frame: LiveFrame, change: str) -> None:
        effort = self.governor.effort
        self.reader.stride = effort.frame_stride
        self._efforts.append({"from_seconds": round(frame.seconds, 1), "effort": str(effort)})
        self.tell(f"{change} is done from second {frame.seconds:.0f} on: {effort}")

    def _only_labels(self, scored: ScoredFrame) -> ScoredFrame:
        if self._columns is None or scored.detections.class_scores is None:
            return scored
        chosen = scored.detections.class_scores[:, self._columns]
        return replace(scored, detections=replace(scored.detections, class_scores=chosen))


def _with_waiting(frames: Iterator[LiveFrame]) -> Iterator[tuple[LiveFrame, float]]:
    """Each picture and the seconds for which it was waited for."""
    asked = time.monotonic()
    for frame in frames:
        yield frame, time.monotonic() - asked
        asked = time.monotonic()
