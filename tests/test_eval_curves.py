"""Figures of an evaluation."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from eval.breakdown import REASONS
from eval.curves import as_svg, error_figure, interval_figure, precision_recall, precision_recall_figure, save_figure
from eval.video_map import judge_tubes
from linking.records import Tube, VideoAnnotation

ONE = Tube("run", np.arange(4), np.tile(np.float32([0, 0, 10, 10]), (4, 1)))


def test_curves_follow_the_ranked_detections() -> None:
    truth = [VideoAnnotation("a", [ONE, replace(ONE, id=1, boxes=ONE.boxes + 50)])]
    scores = (0.9, 0.8, 0.7)  # hit, duplicate, hit
    places = (0, 0, 50)
    found = [
        VideoAnnotation(
            "a", [replace(ONE, id=i, boxes=ONE.boxes + x, score=s) for i, (s, x) in enumerate(zip(scores, places))]
        )
    ]
    result, verdicts = judge_tubes(truth, found, thresholds=[0.5, 0.9], class_names=["run", "jump"])
    curves = precision_recall(result, verdicts, 0.5)
    np.testing.assert_allclose(curves["run"], [(1 / 2, 1), (1 / 2, 1 / 2), (1, 2 / 3)])
    assert curves["jump"].shape == (0, 2)


def test_every_class_has_a_panel_with_its_ap() -> None:
    curves = {f"class {i}": np.array([(0.5, 1.0), (1.0, 0.5)]) for i in range(7)} | {"empty": np.zeros((0, 2))}
    figure = precision_recall_figure(curves, {"class 3": 0.755})
    titles = [panel.get_title() for panel in figure.axes if panel.get_visible()]
    assert len(titles) == 8
    assert titles[3] == "class 3  75.5"


def test_figures_become_files_and_text(tmp_path: Path) -> None:
    index = pd.Index(["run", "a < b & c", "mean"], name="class")
    intervals = pd.DataFrame({"low": [0.1, np.nan, 0.2], "value": [0.5] * 3, "high": [0.9] * 3}, index=index)
    figure = interval_figure(intervals)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["run", "mean"]
    points = pd.DataFrame(0.1, index=index, columns=list(REASONS))
    svg = as_svg(error_figure(points))
    assert svg.startswith("<svg")
    assert "a &lt; b &amp; c" in svg
    for name in ("a.png", "b.svg", "c.pdf"):
        save_figure(figure, tmp_path / name)
        assert (tmp_path / name).stat().st_size > 1000
    for name in ("d.svg", "e.svg"):
        save_figure(interval_figure(intervals), tmp_path / name)
    assert (tmp_path / "d.svg").read_bytes() == (tmp_path / "e.svg").read_bytes()
