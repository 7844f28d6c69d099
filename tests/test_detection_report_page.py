"""The text of the report page; that it works is tested in a browser by test_detection_report_browser.py."""

import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from detection.report_lanes import lanes_of
from detection.report_page import html_report, write_report
from detection.report_records import Curve, RunReport, VideoReport
from detection.report_text import clock, safe
from detection.report_timeline import curve_path, runs_of_frames
from linking.actors import group_by_actor
from tests.report_samples import FRAMES, NASTY, run, tube, video_report

VOID = {"meta", "img", "br", "path"}
OPTIONAL = {"th", "td", "tr", "thead", "tbody", "caption", "p", "li"}


class Page(HTMLParser):
    """Elements, attributes and text of a page; complains of elements that end where they should not."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.seen[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attributes]
        if tag not in VOID | OPTIONAL:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID | OPTIONAL:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("script", "style"):
            self.text.append(data)

    def values(self, name: str) -> list[str]:
        return [value for _, other, value in self.attributes if other == name]


def page_of(report: RunReport) -> Page:
    return Page(html_report(report, [None] * len(report.videos)))


def test_the_page_tells_who_does_what_when_without_javascript() -> None:
    page = page_of(run(video_report(), weights={"file": "w.safetensors", "sha256": "abc"}))
    text = " ".join(" ".join(page.text).split())
    for words in (
        "#0 run 0.80",
        "1.00 s to 3.00 s · frames 10–29 · 20 boxes",
        "Ground truth beside predictions",
        "missed",
        "All tubes as a table (3)",
        "96×64 pixels · 40 frames · 10 a second · 4.00 s · 2 actors",
        "decode, s",
        "w.safetensors",
    ):
        assert words in text
    # 20 frames of 25 were found, with the very box
    assert "#0 run 0.80" in text
    assert f"{20 / 25:.2f}" in text
    assert "flow" not in text, "a stage that took no time was not run"


def test_names_from_the_data_cannot_become_markup() -> None:
    report = video_report(NASTY, warnings=[NASTY])
    page = page_of(run(report, failed={NASTY: NASTY}, **{NASTY: {NASTY: NASTY}, "list": [NASTY], "text": NASTY}))
    assert page.seen["script"] == 1, "its own"
    assert page.seen["img"] == 0
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    text = "".join(page.text)
    assert text.count(NASTY) >= 8
    titles = page.values("title")
    assert any(NASTY in title for title in titles)
    assert safe("\"'<&\x00\ud800") == "&quot;&#x27;&lt;&amp;�?"


def test_the_page_allows_its_own_script_and_no_network() -> None:
    page = page_of(run(video_report()))
    (policy,) = [value for value in page.values("content") if "default-src" in value]
    assert "default-src 'none'" in policy
    assert re.search(r"script-src 'sha256-[\w+/]{43}='", policy)
    assert "http" not in policy
    links = page.values("src") + page.values("href")
    assert all(link.startswith("#") for link in links)
    identifiers = page.values("id")
    assert len(set(identifiers)) == len(identifiers)


def test_small_videos_are_part_of_the_page_and_others_lie_beside_it(tmp_path: Path) -> None:
    one = video_report("one", tmp_path)
    two = video_report("two", annotated=one.annotated)
    num_bytes = one.annotated.stat().st_size
    page = tmp_path / "pages" / "report.html"
    for room, embedded in [(num_bytes - 1, [False, False]), (num_bytes, [True, False]), (2 * num_bytes, [True, True])]:
        write_report(page, run(one, two), embed_bytes=room)
        parsed = Page(page.read_text(encoding="utf-8"))
        sources = [value for tag, name, value in parsed.attributes if (tag, name) == ("video", "src")]
        assert [source.startswith("data:video/mp4;base64,") for source in sources] == embedded
        beside = [source for source in sources if not source.startswith("data:")]
        assert beside == ["./../clip%20%231%2520%3F.mp4"] * embedded.count(False)
        text = "".join(parsed.text)
        assert text.count("The video is part of this page") == embedded.count(True)
        assert text.count("The video is not part of this page") == embedded.count(False)
        assert text.count("../clip #1%20?.mp4") == 2 * embedded.count(False), "named in the caption and where it fails"
    lost = video_report("lost", annotated=tmp_path / "moved away.mp4")
    write_report(page, run(lost))
    assert "<video" not in page.read_text(encoding="utf-8")
    # with a player every picture and tube is a link to it
    assert {"#video-1-player", "#video-2-player"} <= set(parsed.values("href"))
    assert parsed.seen["img"] == 6 * 2


def test_many_videos_have_an_index() -> None:
    reports = [video_report("a/first"), video_report("b/second", lanes=(), truth=())]
    page = page_of(run(*reports, failed={"third": "no such file"}))
    assert {"#video-1", "#video-2"} <= set(page.values("href"))
    assert {"video-1", "video-2"} <= set(page.values("id"))
    text = " ".join("".join(page.text).split())
    assert "third could not be done: no such file" in text
    assert "nothing found" in text
    assert "2 videos · 8.00 s · 2 actors · 3 tubes · 1 failed" in text
    row = re.search(r"all videos\s*80\s*1.00\s*3.00\s*4.00\s*20.0", " ".join(page.text))
    assert row, "2 x 0.5 s, 2 x 1.5 s, 80 frames in 4 s"
    assert "Videos" not in page_of(run(video_report())).text, "one video needs no index"


def test_a_run_of_nothing_is_a_page_too() -> None:
    page = page_of(run(VideoReport("empty", num_frames=1, fps=25.0, width=0, height=0, lanes=())))
    text = " ".join("".join(page.text).split())
    assert "No tubes." in text
    assert "0×0" not in text
    assert "Timings" not in text
    assert "Ground truth" not in text


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0.00 s"), (59.99, "59.99 s"), (59.999, "1:00.0"), (64.25, "1:04.2"), (3600 + 61.05, "1:01:01.0")],
)
def test_seconds_as_people_say_them(seconds: float, said: str) -> None:
    assert clock(seconds) == said


def test_frames_become_ranges() -> None:
    assert runs_of_frames(np.array([3, 4, 5, 8, 10, 11])) == [(3, 6), (8, 9), (10, 12)]
    assert runs_of_frames(np.array([], int)) == []


def test_a_curve_has_a_point_in_the_middle_of_each_frame() -> None:
    curve = Curve("run", np.array([2, 3, 6]), np.array([0.5, 1.0, 0.25]))
    assert curve_path(curve, 1.0) == "M2,50.0 2.5,50.0 3.5,0.0 4,0.0M6,75.0 6.5,75.0 7,75.0"
    assert curve_path(curve, 2.0).startswith("M2,75.0")
    assert curve_path(curve, 1.0, filled=True).startswith("M2,100.0 2,50.0")
    assert curve_path(curve, 1.0, filled=True).endswith("7,75.0 7,100.0Z")
    gap = Curve("run", np.array([0, 1, 2]), np.array([0.2, np.nan, 0.4]))
    assert curve_path(gap, 1.0) == "M0,80.0 0.5,80.0 1.5,70.0 2.5,60.0 3,60.0", "bridged"
    assert curve_path(Curve("run", np.arange(2), np.full(2, np.nan)), 1.0) == ""


def test_long_curves_are_averaged_to_what_a_screen_can_show() -> None:
    frames = np.arange(30_000)
    path = curve_path(Curve("run", frames, (frames % 2).astype(float)), 1.0)
    points = path[1:].split(" ")
    assert len(points) == 300 + 2
    assert {point.split(",")[1] for point in points} == {"50.0"}


def test_bars_lie_where_the_tubes_are() -> None:
    page = page_of(run(video_report()))
    styles = [style for style in page.values("style") if style.startswith("left")]
    share = 100 / FRAMES
    assert any(style.startswith(f"left:{10 * share:.3f}%;width:{20 * share:.3f}%") for style in styles)
    assert any(style.startswith("left:0.000%;width:100.000%") for style in styles)


def test_a_crowd_has_a_hundred_lanes_and_a_table_of_all() -> None:
    crowd = [tube("run", 0, 5, 0.5, number, x=50 * number) for number in range(120)]
    page = page_of(run(video_report("crowd", lanes=lanes_of(group_by_actor(crowd)))))
    assert page.values("class").count("actor") == 100
    text = "".join(page.text)
    assert "And 20 more actors" in text
    assert "All tubes as a table (120)" in text
