"""Film strips: what stands in a row, and where the score curve lies below it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from eval.film_strip import Strip, film_strip_figure, ious, plot_film_strip
from linking.looks import Look, Looks
from linking.records import Tube

NAN = float("nan")


@dataclass(frozen=True, eq=False)
class Crop:
    frame: int
    picture: np.ndarray
    window: tuple[float, float, float, float] = (0, 0, 40, 50)


def tube(number: int = 1, count: int = 9, *, score: float = 0.75, label: str = "run", box=(10, 10, 30, 40)) -> Tube:
    scores = None if np.isnan(score) else np.linspace(0, 1, count)
    return Tube(label, np.arange(20, 20 + count), np.tile(np.float32(box), (count, 1)), scores, score, number)


def strip(shown: Tube, crops: int = 5, *, is_true: bool = False) -> Strip:
    places = np.unique(np.linspace(0, len(shown) - 1, crops).round().astype(int))
    picture = np.zeros((50, 40, 3), np.uint8)
    return Strip(shown, [Crop(int(shown.frames[place]), picture) for place in places], is_true)


def said(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def curves(figure: Figure) -> list:
    return [axes for axes in figure.axes if axes.get_ylabel() == "score"]


def test_a_row_says_who_when_and_what_was_judged() -> None:
    looks = Looks({1: Look((0, 0, 255), "wrong time, IoU 0.40")})
    texts = said(film_strip_figure([strip(tube())], 5, fps=10, title="clip", looks=looks))
    assert texts[0] == "clip"
    assert {"#1  run  0.75", "wrong time, IoU 0.40", "2.00–2.90 s, frames 20–28"} <= set(texts)
    # nine frames, five crops: every second one
    assert [text for text in texts if text.endswith(" s")] == ["2.00 s", "2.20 s", "2.40 s", "2.60 s", "2.80 s"]


def test_without_a_rate_times_are_frames() -> None:
    texts = said(film_strip_figure([strip(tube())], 5))
    assert [text for text in texts if text.startswith("frame ")] == [f"frame {k}" for k in (20, 22, 24, 26, 28)]


def test_a_score_stands_below_the_crop_of_its_frame() -> None:
    figure = film_strip_figure([strip(tube())], 5)
    (axes,) = curves(figure)
    x, y = axes.lines[-1].get_data()
    assert y[[0, 4, 8]].tolist() == [0, 0.5, 1]
    inches = figure.get_figwidth()
    crops = [a.get_position() for a in figure.axes if a.images]
    middles = [inches * (place.x0 + place.x1) / 2 for place in crops]
    np.testing.assert_allclose(x[::2], middles)
    # the axes count inches of the page
    assert axes.get_xlim()[0] == pytest.approx(inches * axes.get_position().x0)


def test_the_overlap_with_the_truth_is_drawn_beside_the_score() -> None:
    true = Tube("run", np.arange(20, 25), np.tile(np.float32([10, 10, 30, 25]), (5, 1)), None)
    figure = film_strip_figure([strip(tube())], 5, [true], looks=Looks(about={1: true}))
    values = curves(figure)[0].lines[-1].get_ydata()
    # half of the box in five frames, nothing in the four after them
    assert values.tolist() == [0.5] * 5 + [0] * 4
    assert ious(tube(), true).tolist() == values.tolist()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["score", "IoU with the truth", "true box"]


def test_missed_truth_has_a_row_without_a_curve() -> None:
    true = tube(0, score=NAN)
    looks = Looks(truth={0: Look((255, 0, 0), "missed")})
    figure = film_strip_figure([strip(true, is_true=True)], 5, [true], looks=looks)
    assert {"truth: run", "missed"} <= set(said(figure))
    assert curves(figure) == []


def test_boxes_are_drawn_where_they_are() -> None:
    figure = film_strip_figure([strip(tube(), 2)], 2)
    crop = next(axes for axes in figure.axes if axes.images)
    assert (crop.get_xlim(), crop.get_ylim()) == ((0, 40), (50, 0))
    assert [patch.get_bbox().bounds for patch in crop.patches] == [(10, 10, 20, 30)] * 2  # a rim and the line


def test_one_frame_no_tubes_and_too_many(tmp_path: Path) -> None:
    plot_film_strip(tmp_path / "one.png", [strip(tube(count=1))], columns=8, fps=25)
    plot_film_strip(tmp_path / "none.png", [], columns=8)
    assert "no tubes" in said(film_strip_figure([], 8))
    assert "and 5 more tubes with lower scores" in said(film_strip_figure([strip(tube())], 8, left_out=5))
    widths = [Image.open(tmp_path / name).width for name in ("one.png", "none.png")]
    assert widths == [1440, 1440]


@pytest.mark.filterwarnings("error")
def test_labels_of_any_length_and_alphabet_and_every_format(tmp_path: Path) -> None:
    shown = [strip(tube(1, label="$x_1$ " * 30)), strip(tube(2, label="бежит 走る"))]
    for name in ("a.svg", "b.svg", "c.pdf"):
        plot_film_strip(tmp_path / name, shown, columns=5, fps=25, title="é" * 300)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert (tmp_path / "c.pdf").read_bytes().startswith(b"%PDF")
    with pytest.raises(ValueError, match=r"x\.gif: figures are written as"):
        plot_film_strip(tmp_path / "x.gif", shown, columns=5)
