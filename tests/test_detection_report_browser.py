"""The report page in a real browser: clicks, keys, themes, a phone's width, no script, no video."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from detection.report_page import write_report
from tests.headless_browser import Browser, find_chromium
from tests.report_samples import FPS, NASTY, run, video_report

CHROMIUM = find_chromium()
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on the path")
TIME = "document.querySelector('video').currentTime"
LOADED = "document.querySelector('video').readyState >= 2"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert CHROMIUM is not None
    with Browser(CHROMIUM) as opened:
        if not opened.value("document.createElement('video').canPlayType('video/mp4; codecs=\"avc1.64001E\"')"):
            pytest.skip("this browser was built without H.264")
        yield opened


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two videos, the first with markup as its name; both are part of the page."""
    folder = tmp_path_factory.mktemp("page")
    first = video_report(NASTY, folder, warnings=[NASTY])
    write_report(
        folder / "report.html", run(first, video_report("second", annotated=first.annotated), **{NASTY: NASTY})
    )
    return folder / "report.html"


@pytest.fixture(scope="module")
def beside(page: Path) -> Path:
    """The same, with the video beside the page."""
    path = page.with_name("beside.html")
    annotated = page.with_name("clip #1%20?.mp4")
    write_report(path, run(video_report("clip", annotated=annotated)), embed_bytes=0)
    return path


@pytest.mark.parametrize("where", ["page", "beside"])
def test_a_click_on_a_tube_plays_its_video_from_there(
    browser: Browser, where: str, request: pytest.FixtureRequest
) -> None:
    browser.open(request.getfixturevalue(where))
    browser.wait_for(LOADED)
    assert browser.value(TIME) == 0
    browser.click("a.tube[data-tube='0']")
    # the tube begins with frame 10
    browser.wait_for(f"{TIME} > {10 / FPS}")
    assert browser.value(TIME) < 20 / FPS
    browser.wait_for("!document.querySelector('video').paused")
    browser.wait_for(f"{TIME} > {12 / FPS}", seconds=30)
    # the line on the timeline follows
    browser.value("document.querySelector('video').pause()")
    browser.wait_for(
        f"Math.abs(document.querySelector('.timeline').style.getPropertyValue('--now') - 100 * {TIME} / 4) < 3"
    )
    assert browser.complaints() == []


def test_a_click_on_a_picture_stops_at_its_frame(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.wait_for(LOADED)
    browser.click("#video-1-tube-0 .thumbnail:last-child")
    browser.wait_for(f"!document.querySelector('video').seeking && {TIME} > 0")
    assert browser.value(TIME) == pytest.approx(29.5 / FPS)
    assert browser.value("document.querySelector('video').paused")
    # the source is 60 + 3 * 29 bright in frame 29, in a corner where nothing is drawn
    bright = browser.value(
        "(() => { const video = document.querySelector('video'), canvas = document.createElement('canvas');"
        " canvas.width = video.videoWidth; canvas.height = video.videoHeight;"
        " const ink = canvas.getContext('2d'); ink.drawImage(video, 0, 0);"
        " return ink.getImageData(4, video.videoHeight - 4, 1, 1).data[0] })()"
    )
    assert abs(bright - (60 + 3 * 29)) <= 1


def test_a_click_on_the_timeline_goes_there(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.wait_for(LOADED)
    browser.value("document.querySelector('#video-1 .track').scrollIntoView({block: 'center'})")
    track = "document.querySelector('#video-1 .track').getBoundingClientRect()"
    left, top, width = browser.value(f"[{track}.x, {track}.y, {track}.width]")
    for kind in ("mousePressed", "mouseReleased"):
        browser.call(
            "Input.dispatchMouseEvent", type=kind, x=left + 0.9 * width, y=top + 5, button="left", clickCount=1
        )
    # nine tenths of 4 s, where no tube is
    browser.wait_for(f"Math.abs({TIME} - 3.6) < 0.05")
    assert browser.value("document.querySelector('video').paused")


def test_tubes_are_reached_and_played_by_keyboard(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.wait_for(LOADED)
    browser.value("document.querySelector('.lane .name').focus()")
    browser.press("Tab")
    assert browser.value("document.activeElement.className") == "tube"
    assert browser.value("document.activeElement.getAttribute('aria-label')").startswith("Play tube #0 run 0.80")
    assert browser.value("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    browser.press("Enter")
    browser.wait_for(f"{TIME} > {10 / FPS}")
    assert browser.value("document.querySelectorAll('video')[1].currentTime") == 0, "the other video stays"


def test_names_that_are_markup_run_nothing(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.wait_for(LOADED)
    assert browser.value("document.title") == "Action tubes"
    assert browser.value("document.querySelector('h2:not(nav h2)').textContent") == NASTY
    assert browser.value("document.querySelectorAll('script').length") == 1
    # and if a name ever got through, the policy of the page would stop it
    browser.value("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"document.title=1\">')")
    browser.wait_for("document.images[document.images.length - 1].complete")
    assert browser.value("document.title") == "Action tubes"


def test_nothing_is_asked_of_any_network(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.wait_for(LOADED)
    assert all(url.startswith(("file:", "data:", "blob:")) for url in browser.requests())
    assert len([url for url in browser.requests() if url.startswith("file:")]) == 1
    assert browser.complaints() == []


@pytest.mark.parametrize("dark", [False, True])
def test_the_page_follows_the_theme(browser: Browser, page: Path, dark: bool) -> None:
    browser.open(page, dark=dark)
    paper, ink = browser.value(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )
    assert (paper, ink) == (
        ("rgb(22, 24, 28)", "rgb(232, 232, 234)") if dark else ("rgb(255, 255, 255)", "rgb(34, 34, 34)")
    )


def test_a_phone_needs_no_scrolling_sideways(browser: Browser, page: Path) -> None:
    browser.open(page, width=360, height=740)
    browser.wait_for(LOADED)
    assert browser.value("document.documentElement.scrollWidth") == 360
    assert browser.value("document.querySelector('.track').getBoundingClientRect().width") > 300
    assert browser.value("document.querySelector('a.tube').getBoundingClientRect().height") >= 44, "a finger's size"


def test_without_javascript_everything_can_be_read(browser: Browser, page: Path) -> None:
    browser.open(page, script=False)
    text = browser.value("document.body.innerText")
    for words in ("#0 run 0.80", "frames 10–29", "Ground truth beside predictions", "All tubes as a table (3)"):
        assert words in text
    assert "Click a tube" not in text
    browser.wait_for(LOADED)
    assert browser.value("document.querySelector('video').controls")


def test_a_video_that_is_gone_is_said_to_be(browser: Browser, beside: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone.html"
    alone.write_bytes(beside.read_bytes())
    browser.open(alone)
    browser.wait_for("!document.querySelector('.player .warning').hidden")
    assert "is clip #1%20?.mp4 still beside this page?" in browser.value("document.body.innerText")
