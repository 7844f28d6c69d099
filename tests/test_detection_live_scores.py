"""Scored boxes of live pictures: the same as those of a video, begun anew where time is missing; how much is done."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from detection.live_effort import Effort, Governor, steps_down
from detection.live_scores import LiveScorer, ScoredFrame
from detection.pipeline import PipelineConfig, Timings, score_video
from detection.scorer import LoadedScorer
from tests.live_samples import HEIGHT, WIDTH, OneBox, live_frame, small_scorer
from video.live_frames import LiveFrame
from video.source import VideoSource

CONFIG = PipelineConfig(proposal_stride=2, clip_stride=4, precision="fp32")
FULL = Effort(streams=1, proposal_stride=2, clip_stride=4, frame_stride=1)


@pytest.fixture(scope="module")
def scorer() -> LoadedScorer:
    return small_scorer()


def live_scorer(scorer: LoadedScorer, box: OneBox | None = None) -> LiveScorer:
    return LiveScorer(box or OneBox(), [scorer], (HEIGHT, WIDTH), CONFIG, Timings(), longest_hole=0.5)


def go(live: LiveScorer, frames: list[LiveFrame], effort: Effort = FULL) -> list[ScoredFrame]:
    found: list[ScoredFrame] = []
    for frame in frames:
        found += live.add(frame, effort)
    return found + live.finish()


class Pictures(VideoSource):
    width, height, fps = WIDTH, HEIGHT, 25.0

    def __init__(self, frames: list[LiveFrame]) -> None:
        super().__init__("pictures")
        self.frames = frames

    def _frames(self):
        return (frame.image for frame in self.frames)


def test_without_holes_the_scores_are_those_of_a_video(scorer: LoadedScorer) -> None:
    frames = [live_frame(k) for k in range(19)]
    found = go(live_scorer(scorer), frames)
    # one clip and one key frame at a time, as live
    config = replace(CONFIG, batch_frames=1, batch_clips=1)
    video = score_video(Pictures(frames), "v", OneBox(), scorer, config)
    assert [one.frame for one in found] == frames
    for one, same in zip(found, video.detections, strict=True):
        assert one.detections.frame == same.frame
        np.testing.assert_array_equal(one.detections.boxes, same.boxes)
        np.testing.assert_array_equal(one.detections.class_scores, same.class_scores)
    assert not any(one.is_new_shot for one in found)


def test_boxes_come_as_soon_as_their_clip_is_complete(scorer: LoadedScorer) -> None:
    """Clips of 8 pictures for 4: that for pictures 0 to 3 is of pictures -2 to 5."""
    live = live_scorer(scorer)
    counts = [len(live.add(live_frame(k), FULL)) for k in range(10)]
    assert counts == [0, 0, 0, 0, 0, 4, 0, 0, 0, 4]


def test_dropped_pictures_are_passed_over_and_numbers_go_on(scorer: LoadedScorer) -> None:
    indices = [0, 1, 2, 3, 8, 9, 10, 11, 12, 13]  # a hole of five: 0.2 s
    found = go(live_scorer(scorer), [live_frame(k) for k in indices])
    assert [one.frame.index for one in found] == indices
    assert [one.detections.frame for one in found] == list(range(10))
    assert not any(one.is_new_shot for one in found)


@pytest.mark.parametrize("kind", ["long hole", "new connection"])
def test_a_long_hole_or_a_new_connection_begins_anew(scorer: LoadedScorer, kind: str) -> None:
    """What was on the way is finished with the pictures before the hole, as at the end of a video."""
    before = [live_frame(k) for k in range(6)]
    if kind == "long hole":
        after = [live_frame(k) for k in range(30, 37)]
    else:
        after = [live_frame(k, connection=1) for k in range(6, 13)]
    live = live_scorer(scorer)
    found = go(live, before + after)
    assert [one.frame for one in found] == before + after
    assert [one.detections.frame for one in found] == list(range(13))
    assert [one.detections.frame for one in found if one.is_new_shot] == [6]
    assert live.holes == 1
    alone = go(live_scorer(scorer), before) + go(live_scorer(scorer), after)
    for one, same in zip(found, alone, strict=True):
        np.testing.assert_array_equal(one.detections.class_scores, same.detections.class_scores)


def test_the_time_between_pictures_of_a_slow_source_is_no_hole(scorer: LoadedScorer) -> None:
    """One picture in two seconds: after a few of them that is its pace."""
    live = live_scorer(scorer)
    found = go(live, [live_frame(k, seconds=2.0 * k) for k in range(8)])
    # the pace that is reckoned with follows by a tenth: 2 (1 - 0.9^n) after n steps, too little while 3 times it is < 2
    too_little = [n for n in range(7) if 3 * 2 * (1 - 0.9**n) < 2]
    assert [one.detections.frame for one in found if one.is_new_shot] == [n + 1 for n in too_little] == [1, 2, 3, 4]


def test_another_pace_begins_a_new_clip_but_no_new_shot(scorer: LoadedScorer) -> None:
    box = OneBox()
    live = live_scorer(scorer, box)
    found: list[ScoredFrame] = []
    for k in range(6):
        found += live.add(live_frame(k), FULL)
    half = replace(FULL, frame_stride=2, proposal_stride=4)
    for k in range(6, 20, 2):
        found += live.add(live_frame(k, stride=2), half)
    found += live.finish()
    assert [one.frame.index for one in found] == [*range(6), *range(6, 20, 2)]
    assert [one.detections.frame for one in found] == list(range(13))
    assert not any(one.is_new_shot for one in found)
    # key frames: every other picture and the last; then anew every fourth of those looked at, and the last
    assert box.asked == [0, 2, 4, 5, 6, 14, 18]


def test_a_cut_is_a_new_shot(scorer: LoadedScorer) -> None:
    frames = [live_frame(k) for k in range(10)]
    for frame in frames[6:]:
        frame.image[:] = 200 + frame.index
    found = go(live_scorer(scorer), frames)
    assert [one.detections.frame for one in found if one.is_new_shot] == [6]


def test_work_is_saved_step_by_step() -> None:
    full = Effort(streams=2, proposal_stride=4, clip_stride=8, frame_stride=1)
    steps = steps_down(full, clip_frames=16, may_drop_streams=True)
    assert steps[0] == full
    assert [(step.streams, step.frame_stride) for step in steps[1:]] == [(2, 1), (2, 2), (1, 1), (1, 2)]
    assert {(step.proposal_stride, step.clip_stride) for step in steps[1:]} == {(8, 16)}
    kept = steps_down(full, clip_frames=16, may_drop_streams=False)
    assert all(step.streams == 2 for step in kept)
    # clips of eight pictures score eight at most; a large stride of the user's own stays
    sparse = steps_down(replace(full, proposal_stride=10), clip_frames=8, may_drop_streams=False)
    assert {(step.proposal_stride, step.clip_stride) for step in sparse} == {(10, 8)}


def test_the_governor_saves_work_at_once_and_takes_it_back_with_patience() -> None:
    governor = Governor([FULL, replace(FULL, frame_stride=2), replace(FULL, frame_stride=3)])
    assert governor.judge(0, 0.5, 0) == 0
    assert governor.judge(2, 0.95, 0) == 1  # too busy
    assert governor.judge(4, 0.5, 3) == 1  # not busy on the whole, but pictures were dropped
    assert governor.judge(6, 1.0, 9) == 0  # there is nothing left to save
    assert governor.effort.frame_stride == 3
    assert [governor.judge(t, 0.3, 0) for t in (8, 12, 16)] == [0, 0, 0]
    assert governor.judge(18, 0.3, 0) == -1  # ten seconds of leisure
    assert [governor.judge(t, 0.6, 0) for t in (20, 40)] == [0, 0]  # neither idle nor too busy


def test_the_governor_waits_longer_each_time_a_step_up_was_too_much() -> None:
    governor = Governor([FULL, replace(FULL, frame_stride=2)])
    governor.judge(0, 1.0, 0)
    waits, now, idle_since = [], 0.0, 0.0
    while len(waits) < 4:
        now += 1
        if governor.judge(now, 0.1, 0) == -1:
            waits.append(now - idle_since)
            now += 2
            assert governor.judge(now, 1.0, 0) == 1  # too much again
            idle_since = now + 1
    assert waits == [11, 20, 40, 80]
