"""Who does what now, and the tubes that ended: ids, times, trimming, bounded memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from detection.live_tubes import LiveTubes
from linking.build import SelectConfig
from linking.online import OnlineConfig
from linking.trim import TrimConfig
from tests.live_samples import CLASSES, scored_frame

ONLINE = OnlineConfig(min_boxes=4, max_gap=3, max_frames=1000)
SELECT = SelectConfig(min_score=0.05)
RUN = [0.0, 0.8, 0.0]  # scores of jump, run, wave


def tubes(online: OnlineConfig = ONLINE, trim: TrimConfig | None = None, **changes: float) -> LiveTubes:
    return LiveTubes(CLASSES, online, trim, SELECT, show_score=changes.pop("show_score", 0.1), **changes)


def still(x: float) -> list[float]:
    return [x, 10, x + 20, 40]


def test_an_actor_is_told_as_soon_as_it_lasts_and_when_it_began() -> None:
    live = tubes()
    counts = []
    for number in range(6):
        live.update(scored_frame(number, [still(5)], [RUN]))
        counts.append(len(live.now()))
    assert counts == [0, 0, 0, 1, 1, 1]  # four boxes make a tube
    (actor,) = live.now()
    assert (actor.id, actor.label, actor.since_index, actor.since_seconds) == (0, "run", 0, 0.0)
    assert actor.score == pytest.approx(0.8)
    assert actor.recent.end_frame == 6
    assert live.ended() == []
    (ended,) = live.finish()
    assert (ended.tube.id, ended.tube.label, ended.was_shown) == (0, "run", True)
    np.testing.assert_array_equal(ended.tube.frames, range(6))


def test_an_actor_who_has_gone_is_not_told_and_is_handed_out() -> None:
    live = tubes()
    for number in range(5):
        live.update(scored_frame(number, [still(5)], [RUN]))
    for number in range(5, 9):
        live.update(scored_frame(number, [], []))
    assert live.now() == []
    (ended,) = live.ended()
    np.testing.assert_array_equal(ended.tube.frames, range(5))
    np.testing.assert_allclose(ended.seconds, [0, 0.04, 0.08, 0.12, 0.16])
    assert not ended.was_shown  # nobody asked while it lived
    assert live.ended() == live.finish() == []


def test_frames_of_the_table_are_decoded_pictures_with_boxes_between_those_looked_at() -> None:
    """Every other picture is looked at, and one more is dropped; the actor moves two pixels a picture."""
    live = tubes()
    for number, index in enumerate([10, 12, 14, 18, 20]):
        live.update(scored_frame(number, [still(2 * index)], [RUN], index=index))
    (ended,) = live.finish()
    np.testing.assert_array_equal(ended.tube.frames, range(10, 21))
    np.testing.assert_allclose(ended.tube.boxes[:, 0], 2 * np.arange(10, 21))
    scored = ~np.isnan(np.asarray(ended.tube.scores))
    np.testing.assert_array_equal(ended.tube.frames[scored], [10, 12, 14, 18, 20])
    np.testing.assert_allclose(ended.seconds, np.arange(10, 21) / 25)


def test_a_new_shot_ends_all_tubes() -> None:
    live = tubes()
    for number in range(10):
        live.update(scored_frame(number, [still(5)], [RUN], is_new_shot=number == 5))
    assert [actor.since_index for actor in live.now()] == [5]
    assert [one.tube.end_frame for one in live.ended()] == [5]
    assert [one.tube.first_frame for one in live.finish()] == [5]


def test_one_actor_is_shown_once_with_its_other_classes() -> None:
    live = tubes()
    for number in range(6):
        live.update(scored_frame(number, [still(5), still(40)], [[0.3, 0.8, 0.16], [0.0, 0.0, 0.5]]))
    first, second = live.now()
    assert [label for label, _ in first.classes] == ["run", "jump", "wave"]
    assert [label for label, _ in second.classes] == ["wave"]
    ended = live.finish()
    assert sorted((one.tube.label, one.was_shown) for one in ended) == [
        ("jump", False), ("run", True), ("wave", False), ("wave", True),
    ]  # fmt: skip
    assert {one.tube.id for one in ended if one.was_shown} == {first.id, second.id}
    assert len({one.tube.id for one in ended}) == 4


def test_weak_tubes_are_neither_shown_nor_kept() -> None:
    live = tubes(show_score=0.3)
    for number in range(6):
        live.update(scored_frame(number, [still(5), still(40)], [[0.2, 0, 0], [0.055, 0, 0]]))
    assert live.now() == []
    assert [one.tube.score for one in live.finish()] == pytest.approx([0.2, 0.055])


def test_an_action_ends_while_its_actor_stays_and_begins_again_under_another_number() -> None:
    """20 pictures of waving, 20 of standing about, 20 of waving."""
    live = tubes(trim=TrimConfig(alpha=1.0, min_frames=4))
    seen = []
    for number in range(60):
        score = 0.1 if 20 <= number < 40 else 0.9
        live.update(scored_frame(number, [still(5)], [[0, 0, score]]))
        seen.append([(actor.id, actor.since_index) for actor in live.now()])
    assert seen[15] == [(0, 0)]
    assert seen[38] == []
    assert seen[55] == [(1, 40)]
    assert [(one.tube.id, one.tube.first_frame, one.tube.end_frame) for one in live.finish()] == [
        (0, 0, 20),
        (1, 40, 60),
    ]


def test_a_long_tube_is_handed_out_in_pieces() -> None:
    live = tubes(OnlineConfig(min_boxes=4, max_frames=50))
    lengths = []
    for number in range(175):
        live.update(scored_frame(number, [still(5)], [RUN]))
        lengths += [len(one.tube) for one in live.ended()]
    assert lengths == [50, 50, 50]
    assert [len(one.tube) for one in live.finish()] == [25]


def test_a_duplicate_is_not_handed_out() -> None:
    """Two tubes of one class on nearly the same boxes: the one that ended first stays."""
    live = LiveTubes(
        CLASSES, OnlineConfig(min_boxes=4, max_gap=3, max_frames=100, nms_iou=1.0), None, SELECT, show_score=0
    )
    for number in range(8):
        boxes = [still(5), still(6)] if number < 7 else [still(6)]
        live.update(scored_frame(number, boxes, [RUN] * len(boxes)))
    assert len(live.finish()) == 1


def test_boxes_are_handed_out_in_pixels_of_the_source() -> None:
    live = tubes(scale=3.0)
    for number in range(4):
        live.update(scored_frame(number, [still(5)], [RUN]))
    assert live.now()[0].recent.boxes[0].tolist() == [5, 10, 25, 40]  # on the picture
    assert live.finish()[0].tube.boxes[0].tolist() == [15, 30, 75, 120]


def test_memory_does_not_grow_with_the_stream() -> None:
    """Noise everywhere, an actor who never leaves; what is kept after 150 pictures and after 600 is alike."""
    rng = np.random.default_rng(0)
    live = tubes(OnlineConfig(min_boxes=4, max_frames=40), TrimConfig())

    def go_on(first: int, last: int) -> int:
        for number in range(first, last):
            x, y = rng.uniform(0, 40, 2)
            live.update(scored_frame(number, [still(5), [x, y, x + 8, y + 8]], [RUN, rng.uniform(0, 0.6, 3)]))
            if number % 8 == 0:
                live.now()
                live.ended()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        early = go_on(0, 150)
        late = go_on(150, 600)
    finally:
        tracemalloc.stop()
    assert late < early + 60_000
    assert live._num_ids >= 15  # tubes came and went: 600 / 40


def test_a_class_taken_for_another_for_a_moment_does_not_cut_a_live_tube() -> None:
    other = [0.7, 0.1, 0.0]
    cut = {}
    for share_frames in (1, 33):
        live = tubes(trim=TrimConfig(share_frames=share_frames))
        for number in range(64):
            live.update(scored_frame(number, [still(5)], [other if 24 <= number < 40 else RUN]))
        ended = [one.tube for one in live.finish() if one.tube.label == "run"]
        cut[share_frames] = [(tube.first_frame, tube.end_frame) for tube in ended]
    assert cut == {1: [(0, 24), (40, 64)], 33: [(0, 64)]}
