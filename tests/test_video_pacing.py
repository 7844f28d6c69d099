"""Releasing pictures at their own pace, with a clock that the test moves."""

from __future__ import annotations

import pytest

from video.pacing import CATCH_UP, LATE, PATIENCE, Pacer


class Clock:
    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def pacer(*, catch_up: bool = True) -> tuple[Pacer, Clock]:
    clock = Clock()
    return Pacer(catch_up=catch_up, clock=lambda: clock.now, sleep=clock.sleep), clock


def test_pictures_that_come_at_once_are_released_at_their_own_pace() -> None:
    released, clock = pacer(catch_up=False)
    assert [released.wait(k * 0.25) for k in range(5)] == [100.0, 100.25, 100.5, 100.75, 101.0]
    assert clock.slept == [0.25] * 4


def test_what_comes_late_is_released_at_once_and_the_next_one_in_time() -> None:
    released, clock = pacer()
    released.wait(0.0)
    clock.now = 100.75
    assert released.wait(0.25) == 100.75
    assert released.wait(1.0) == 101.0
    assert clock.slept == [0.25]


def test_after_a_stall_the_clock_is_set_anew() -> None:
    released, clock = pacer()
    released.wait(0.0)
    clock.now = 100.5 + LATE + 3
    assert released.wait(0.5) == clock.now
    assert released.wait(1.0) == 100.5 + LATE + 3 + 0.5


def test_what_has_piled_up_is_released_a_little_faster_after_some_patience() -> None:
    """Here every picture is there before its time."""
    released, _ = pacer()
    times = [released.wait(k * 0.5) for k in range(60)]
    patient = int(PATIENCE / 0.5)
    assert times[patient] == 100 + PATIENCE
    steps = [after - before for before, after in zip(times[patient + 1 :], times[patient + 2 :])]
    assert steps == pytest.approx([0.5 / (1 + CATCH_UP)] * len(steps))


def test_a_picture_that_was_waited_for_ends_the_hurry() -> None:
    released, clock = pacer()
    for k in range(20):
        released.wait(k * 0.5)
    clock.now += 0.6  # the network had nothing; the picture was due after 0.5
    assert released.wait(10.0) == clock.now
    now = clock.now
    assert [released.wait(10.5) - now, released.wait(11.0) - now] == pytest.approx([0.4, 0.9])


def test_a_file_is_never_hurried() -> None:
    released, _ = pacer(catch_up=False)
    assert released.wait(0.0) == 100
    assert [released.wait(k * 1.0) for k in range(1, 30)] == [100.0 + k for k in range(1, 30)]
