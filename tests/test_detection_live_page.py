"""The page of a live run: by plain requests, by viewers that are slow, in a real browser."""

from __future__ import annotations

import io
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detection.live_page import LivePage
from detection.live_show import LiveShow
from detection.live_tubes import EndedTube, LiveActor
from detection.live_view import Picture, Status
from linking.records import Tube
from tests.headless_browser import Browser, find_chromium
from tests.live_samples import live_frame

CHROMIUM = find_chromium()
RED, BLUE = np.full((48, 64, 3), (200, 30, 30), np.uint8), np.full((48, 64, 3), (30, 30, 200), np.uint8)


@pytest.fixture
def page() -> Iterator[LivePage]:
    page = LivePage()
    yield page
    page.close()


def get(page: LivePage, path: str, **headers: str) -> tuple[bytes, str]:
    request = urllib.request.Request(page.address + path, headers=headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.read(), answer.headers["Content-Type"]


def test_page_numbers_and_newest_picture_are_served(page: LivePage) -> None:
    page.show(RED, lambda: {"video": "camera0", "dropped": 3})
    body, kind = get(page, "")
    assert kind == "text/html; charset=utf-8"
    assert b'src="stream.mjpg"' in body
    assert json.loads(get(page, "tubes.json")[0]) == {"video": "camera0", "dropped": 3}
    page.show(BLUE, dict)
    picture = Image.open(io.BytesIO(get(page, "picture.jpg")[0]))
    assert picture.size == (64, 48)
    assert np.asarray(picture)[0, 0] == pytest.approx([30, 30, 200], abs=12)
    with pytest.raises(urllib.error.HTTPError, match="404"):
        get(page, "secret.txt")
    with pytest.raises(urllib.error.HTTPError, match="404"):
        get(page, "../setup.cfg")


def parts(stream: io.BufferedIOBase) -> Iterator[bytes]:
    while line := stream.readline():
        if line.startswith(b"Content-Length:"):
            length = int(line.split(b":")[1])
            stream.readline()
            yield stream.read(length)


def test_the_stream_gives_every_viewer_the_newest_pictures_until_the_page_closes(page: LivePage) -> None:
    page.show(RED, dict)
    with urllib.request.urlopen(page.address + "stream.mjpg", timeout=20) as stream:
        assert stream.headers["Content-Type"].startswith("multipart/x-mixed-replace; boundary=")
        pictures = parts(stream)
        assert np.asarray(Image.open(io.BytesIO(next(pictures))))[0, 0, 0] > 150
        assert page.viewers == 1
        page.show(BLUE, dict)
        assert np.asarray(Image.open(io.BytesIO(next(pictures))))[0, 0, 0] < 80
        page.close()
        assert list(pictures) == []


def test_a_viewer_that_takes_nothing_holds_nobody_up(page: LivePage) -> None:
    """It asks for the stream and never reads; pictures of noise, which fill any buffer soon."""
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (240, 320, 3), np.uint8) for _ in range(3)]
    address = urllib.request.urlparse(page.address)
    with socket.create_connection((address.hostname, address.port)) as stuck:
        stuck.sendall(b"GET /stream.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with urllib.request.urlopen(page.address + "stream.mjpg", timeout=20) as stream:
            pictures = parts(stream)
            for k in range(60):
                started = time.process_time()
                page.show(noise[k % 3], dict)
                assert time.process_time() - started < 1
                next(pictures)  # the other viewer gets each of them
        started = time.monotonic()
        page.close()
        assert time.monotonic() - started < 5


def test_a_site_that_pretends_to_be_this_machine_cannot_read_the_camera(page: LivePage) -> None:
    page.show(RED, dict)
    for path in ("", "tubes.json", "picture.jpg", "stream.mjpg"):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            get(page, path, Host="evil.example:8000")
    assert get(page, "tubes.json", Host="localhost:9000")[0] == b"{}"  # through a tunnel with another port


def test_no_more_viewers_than_there_is_room_for(page: LivePage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("detection.live_page._MAX_VIEWERS", 1)
    page.show(RED, dict)
    with urllib.request.urlopen(page.address + "stream.mjpg", timeout=20) as stream:
        next(parts(stream))
        with pytest.raises(urllib.error.HTTPError, match="503"):
            get(page, "stream.mjpg")


def test_a_port_that_is_taken_is_refused_by_name_or_replaced(page: LivePage, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = int(page.address.rstrip("/").rpartition(":")[2])
    with pytest.raises(ValueError, match=f"port {taken}: Address already in use; choose another --port"):
        LiveShow("v", where="page", host="127.0.0.1", port=taken, tell=print)
    with pytest.raises(ValueError, match="port 99999"):
        LiveShow("v", where="page", host="127.0.0.1", port=99999, tell=print)
    monkeypatch.setattr("detection.live_show.DEFAULT_PORT", taken)
    said: list[str] = []
    with LiveShow("v", where="page", host="127.0.0.1", port=None, tell=said.append) as show:
        assert show.page.address != page.address
    assert said == [f"watch at {show.page.address}"]


@pytest.fixture
def show() -> Iterator[LiveShow]:
    """Somebody waves since second 2 of 4; somebody else jumped before."""
    with LiveShow("camera <0>", where="page", host="127.0.0.1", port=0, tell=lambda line: None) as show:
        frames = np.arange(50, 101)
        tube = Tube("wave", frames, np.tile(np.float32([8, 8, 30, 40]), (51, 1)), score=0.62, id=4)
        actor = LiveActor(4, "wave", 0.62, 50, 2.0, (("wave", 0.62), ("clap", 0.2)), tube)
        jump = Tube("jump", np.arange(5, 20), np.tile(np.float32([8, 8, 30, 40]), (15, 1)), score=0.5, id=1)
        show.add_ended([EndedTube(jump, np.arange(5, 20) / 25, True)])
        status = Status(25.0, 12.5, 101, 7, 1, "1 of 2 pictures", True)
        picture = Picture(live_frame(100), 100, (actor,), status)
        show.show(RED, picture, 0.64, {"median": 0.6, "p95": 0.8, "max": 1.25})
        yield show


def test_the_numbers_of_the_page(show: LiveShow) -> None:
    state = json.loads(get(show.page, "tubes.json")[0])
    assert (state["video"], state["frame"], state["seconds"]) == ("camera <0>", 100, 4.0)
    assert (state["latency_seconds"], state["dropped"], state["reconnects"]) == (0.64, 7, 1)
    (tube,) = state["tubes"]
    assert (tube["id"], tube["label"], tube["since_frame"], tube["since_seconds"]) == (4, "wave", 50, 2.0)
    assert (tube["classes"], tube["box"]) == ([["wave", 0.62], ["clap", 0.2]], [8, 8, 30, 40])
    (ended,) = state["ended"]
    assert (ended["label"], ended["start_seconds"], ended["end_seconds"]) == ("jump", 0.2, 0.76)
    assert state["age_seconds"] >= 0


class Camera:
    """Shows one colour, again and again."""

    def __init__(self, page: LivePage) -> None:
        self.page, self.picture, state = page, RED, page.state()
        self.state = lambda: state
        self.ended = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while not self.ended.wait(0.05):
            self.page.show(self.picture, self.state)


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on the path")
def test_the_page_in_a_browser_shows_picture_tubes_and_how_it_goes(show: LiveShow, tmp_path: Path) -> None:
    assert CHROMIUM is not None
    text = "document.body.innerText"
    # the first value of a point of the picture as it is seen
    red = "(() => { const c = document.createElement('canvas').getContext('2d');"
    red += " c.drawImage(document.getElementById('picture'), 0, 0); return c.getImageData(9, 9, 1, 1).data[0] })()"
    camera = Camera(show.page)
    with Browser(CHROMIUM) as browser:
        browser.visit(show.page.address)
        browser.wait_for("document.getElementById('picture').naturalWidth === 64", seconds=60)
        browser.wait_for(f"{text}.includes('wave')")
        said = browser.value(text)
        for words in (
            "camera <0>",
            "0.64 s",
            "0.60 s / 0.80 s / 1.25 s",
            "12.5 of 25.0 pictures/s",
            "7 of 101 pictures",
        ):
            assert words in said
        assert "since 0:00:02, 2.0 s · clap 0.20" in said
        assert "1 of 2 pictures" in said
        assert said.index("Now") < said.index("wave") < said.index("Before") < said.index("jump")
        assert browser.value(red) > 150
        camera.picture = BLUE  # the picture moves on, and is that of the run
        browser.wait_for(f"{red} < 80")
        assert browser.complaints() == []
        assert all(address.startswith((show.page.address, "data:")) for address in browser.requests())
        browser.visit(show.page.address, width=390, height=800, dark=True)
        browser.wait_for(f"{text}.includes('wave')")
        assert browser.value("document.documentElement.scrollWidth") <= 390
        camera.ended.set()
        show.page.close()
        browser.wait_for(f"{text}.includes('the run has ended')")
