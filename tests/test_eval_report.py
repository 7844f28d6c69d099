"""The page about an evaluation."""

import re
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser

import numpy as np

from eval.examine import PARTS, examine
from eval.judge import judge
from eval.report import ReportParts, html_report, worst_videos
from eval.video_map import judge_tubes
from linking.records import Tube, VideoAnnotation
from linking.tables import table_from_annotations

ONE = Tube("run", np.arange(4), np.tile(np.float32([0, 0, 10, 10]), (4, 1)))
NASTY = "<script>alert('x')</script> & co"


def scored(label: str = "run", shift: float = 0, score: float = 0.5, id: int = 0) -> Tube:
    return replace(ONE, label=label, boxes=ONE.boxes + np.float32(shift), score=score, scores=np.full(4, score), id=id)


TRUTH = [VideoAnnotation("good", [ONE]), VideoAnnotation(NASTY, [replace(ONE, label=NASTY), replace(ONE, id=1)])]
FOUND = [VideoAnnotation("good", [scored()]), VideoAnnotation(NASTY, [scored(shift=50), scored(shift=60, id=1)])]


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.sources: list[str] = []

    def handle_starttag(self, tag, attributes) -> None:
        self.seen.append(tag)
        self.sources += [value for name, value in attributes if name in ("src", "href") and value]


@cache
def page() -> str:
    judgements = judge(TRUTH, table_from_annotations(FOUND), protocols=["saha", "ava"], ious=["0.5", "0.5:0.95"])
    details = examine(TRUTH, FOUND, PARTS, ious=["0.5"])
    return html_report(
        ReportParts(
            f"Tubes of {NASTY}",
            judgements,
            {"file": NASTY},
            0.5,
            details.verdicts,
            details.intervals,
            details.breakdown,
            details.ceilings,
            details.tracking,
            details.diagnosis.text() if details.diagnosis else "",
        )
    )


def test_the_page_has_every_part_and_needs_nothing_else() -> None:
    text = page()
    tags = Tags()
    tags.feed(text)
    for heading in ("mAP in percent", "Per class", "Precision and recall", "Where the points are lost", "Tracking",
                    "How good it could be", "Videos that went worst", "Diagnosis", "Provenance"):  # fmt: skip
        assert heading in text
    assert tags.seen.count("svg") == 3
    assert all(source.startswith("#") for source in tags.sources)
    assert not re.search(r"url\((?!#)", text)


def test_only_rows_that_sum_up_stand_out() -> None:
    rows = re.findall(r"<tr class=sum><th>(\w+)", page())
    assert rows == ["spread", "mean", "mean"]  # of the protocols, of the tubes, of the boxes


def test_warnings_stand_at_the_top_each_once() -> None:
    judgements = judge(TRUTH, table_from_annotations(FOUND[:1]), ious=["0.5"], protocols=["saha", "yowo"])
    text = html_report(ReportParts("Tubes", judgements, {}, warnings=["a & b", *judgements[0].warnings]))
    assert re.findall(r"<p class=warning>(.*?)</p>", text)[1:] == ["a &amp; b"]
    assert "1 of 2 ground-truth videos have no detections" in text
    assert text.index("class=warning") < text.index("<h2>")


def test_the_page_follows_the_colours_of_the_reader() -> None:
    assert "color-scheme: light dark" in page()
    assert "@media (prefers-color-scheme: dark)" in page()


def test_names_from_the_data_cannot_become_markup() -> None:
    text = page()
    tags = Tags()
    tags.feed(text)
    assert "script" not in tags.seen
    assert "&lt;script&gt;" in text


def test_parts_that_were_not_asked_for_are_left_out() -> None:
    judgements = judge(TRUTH, table_from_annotations(FOUND), ious=["0.5"])
    text = html_report(ReportParts("Tubes", judgements, {}))
    assert "Tracking" not in text
    assert "<svg" not in text


def test_the_worst_video_comes_first() -> None:
    result, verdicts = judge_tubes(TRUTH, FOUND, thresholds=[0.5])
    table = worst_videos(result, verdicts, 0.5)
    assert table.index.tolist() == [NASTY, "good"]
    assert table.loc[NASTY].to_dict() == {"true": 2, "found": 0, "missed": 2, "false": 2}
    assert table.loc["good"].to_dict() == {"true": 1, "found": 1, "missed": 0, "false": 0}
