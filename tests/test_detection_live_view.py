"""Drawing and showing live pictures: at an even pace, never waited for, latency counted."""

from __future__ import annotations

import time

import numpy as np
import pytest

from detection.live_tubes import LiveActor
from detection.live_view import Latencies, LiveView, Picture, Status, clock_text, picture_size
from linking.colours import tube_colour
from linking.records import Tube
from tests.live_samples import HEIGHT, WIDTH, live_frame

STATUS = Status(25.0, 25.0, 100, 3, 0, "every picture", False)


def picture(index: int, actors: tuple[LiveActor, ...] = ()) -> Picture:
    return Picture(live_frame(index), index, actors, STATUS)


def test_latencies_are_exact_to_a_hundredth() -> None:
    latencies = Latencies()
    assert latencies.summary() == {"median": None, "p95": None, "max": None}
    for hundredths in range(1, 101):  # 0.01 to 1.00
        latencies.add(hundredths / 100)
    assert latencies.summary() == {"median": 0.5, "p95": 0.95, "max": 1.0}
    latencies.add(1000.0)
    assert latencies.summary()["max"] == 1000.0


@pytest.mark.parametrize(
    ("size", "drawn"),
    [((160, 120), (640, 480, 4.0)), ((640, 480), (640, 480, 1.0)), ((1280, 720), (1280, 720, 1.0))],
)
def test_small_pictures_are_enlarged(size: tuple[int, int], drawn: tuple[int, int, float]) -> None:
    assert picture_size(*size) == drawn


def test_a_clock_text() -> None:
    assert [clock_text(t) for t in (0, 59.94, 3723.26)] == ["0:00:00.0", "0:00:59.9", "1:02:03.3"]


def test_the_boxes_of_the_picture_are_drawn_and_a_strip_tells_how_it_goes() -> None:
    view = LiveView(WIDTH, HEIGHT)
    tube = Tube("wave", np.array([6, 7]), np.float32([[0, 0, 9, 9], [16, 12, 48, 36]]), np.float32([0.5, 0.5]), 0.5, 1)
    actor = LiveActor(1, "wave", 0.5, 6, 0.24, (("wave", 0.5),), tube)
    drawn, empty = view.draw(picture(7, (actor,)), 0.6), view.draw(picture(7), 0.6)
    assert drawn.shape == (view.size[1], view.size[0], 3)
    assert view.size[1] > view.height == 480
    scale = 480 / HEIGHT
    corner = drawn[round(12 * scale) + 1, round(16 * scale) + 1]
    assert tuple(corner) == tube_colour(1)
    assert (drawn[view.height :] == empty[view.height :]).all()
    other = view.draw(picture(7), 1.7)
    assert (other[: view.height] == empty[: view.height]).all()
    assert (other[view.height :] != empty[view.height :]).any()  # another latency


def test_pictures_known_together_are_shown_one_after_the_other() -> None:
    """Five pictures that arrived every 0.1 s are given at once, 0.5 s after the first: each is shown 0.5 s after its
    arrival, or later where this machine is busy, and none before that."""
    view = LiveView(WIDTH, HEIGHT)
    shown: list[tuple[int, float]] = []
    view.show = lambda drawn, picture, latency: shown.append((picture.number, time.monotonic()))
    view.draw(picture(0), 0.0)  # the font is loaded
    now = time.monotonic()
    pictures = [picture(k) for k in range(5)]
    for k, one in enumerate(pictures):
        object.__setattr__(one.frame, "arrived", now - 0.5 + 0.1 * k)
    with view:
        view.put(pictures)
        deadline = now + 20
        while len(shown) < 5 and time.monotonic() < deadline:
            time.sleep(0.02)
    assert [number for number, _ in shown] == list(range(5))
    assert all(at - (now + 0.1 * number) > 0 for number, at in shown)
    assert 0.5 < view.delay < 1.5
    median = view.latencies.summary()["median"]
    assert median is not None
    assert median >= 0.5


def test_who_gives_pictures_never_waits_for_drawing() -> None:
    view = LiveView(WIDTH, HEIGHT)
    view.show = lambda drawn, picture, latency: time.sleep(0.3)
    with view:
        started = time.monotonic()
        view.put([picture(k) for k in range(20)])
        view.put([picture(k) for k in range(20, 120)])
        assert time.monotonic() - started < 0.3
        assert view.undrawn >= 120 - 50
        view._waiting.clear()


def test_a_display_that_broke_is_told_to_the_caller() -> None:
    def fail(*words: object) -> None:
        raise OSError("no space left on device")

    view = LiveView(WIDTH, HEIGHT)
    view.show = fail

    def go() -> None:
        with view:
            view.put([picture(0)])

    with pytest.raises(OSError, match="no space left"):
        go()
