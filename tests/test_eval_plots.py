from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d.art3d import Line3DCollection, Poly3DCollection

from eval.plots import plot_tubes, tube_figure
from linking.colours import tube_colour
from linking.records import Tube

NAN = float("nan")


def tube(first: int, count: int, *, number: int = 1, label: str = "run", scores=None) -> Tube:
    """A box of 10 x 20 that moves 2 pixels a frame to the right."""
    left = 2 * np.arange(count)
    boxes = np.stack([left, np.full(count, 5), left + 10, np.full(count, 25)], axis=1).astype(np.float32)
    return Tube(label, np.arange(first, first + count), boxes, scores, 0.75, number)


def bodies(figure: Figure) -> list[Poly3DCollection]:
    """Walls and ends: two collections for each unbroken tube."""
    FigureCanvasAgg(figure).draw()  # sorts the faces by depth
    return [child for child in figure.axes[0].get_children() if isinstance(child, Poly3DCollection)]


def wires(figure: Figure) -> list[Line3DCollection]:
    FigureCanvasAgg(figure).draw()
    return [child for child in figure.axes[0].get_children() if isinstance(child, Line3DCollection)]


def legend_of(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


@pytest.mark.parametrize(("suffix", "start"), [(".png", b"\x89PNG"), (".pdf", b"%PDF"), (".SVG", b"<?xml")])
def test_the_suffix_chooses_the_format_and_the_bytes_do_not_change(
    tmp_path: Path, suffix: str, start: bytes
) -> None:
    for name in ("a", "b"):
        plot_tubes(
            tmp_path / f"{name}{suffix}", [tube(0, 5)], ground_truth=[tube(1, 5)], fps=25, title="a video"
        )
    data = (tmp_path / f"a{suffix}").read_bytes()
    assert data.startswith(start)
    assert data == (tmp_path / f"b{suffix}").read_bytes()


def test_another_suffix_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"x\.gif: figures are written as \.png, \.pdf, \.svg"):
        plot_tubes(tmp_path / "x.gif", [tube(0, 5)])
    assert list(tmp_path.iterdir()) == []


def test_a_tube_has_four_walls_a_step_in_its_colour() -> None:
    figure = tube_figure([tube(0, 6, number=3)])
    walls, ends = bodies(figure)
    assert len(walls.get_facecolors()) == 5 * 4  # 6 frames, 5 steps between them
    assert len(ends.get_facecolors()) == 2
    np.testing.assert_allclose(
        walls.get_facecolors()[:, :3], np.tile(np.array(tube_colour(3)) / 255, (20, 1))
    )


def test_long_tubes_are_thinned_out() -> None:
    walls, _ = bodies(tube_figure([tube(0, 5000)]))
    assert len(walls.get_facecolors()) <= 4 * 48


def test_interpolated_steps_are_paler() -> None:
    scores = np.array([0.9, 0.9, NAN, 0.9, 0.9, 0.9])
    walls, _ = bodies(tube_figure([tube(0, 6, scores=scores)]))
    alpha = walls.get_facecolors()[:, 3]
    assert (alpha < alpha.max()).sum() == 2 * 4  # the steps to the third frame and away from it


def test_a_hole_in_time_stays_a_hole() -> None:
    whole = tube(0, 9)
    keep = np.array([0, 1, 2, 6, 7, 8])
    broken = Tube("run", whole.frames[keep], whole.boxes[keep], None, 0.5, 1)
    figure = tube_figure([broken])
    assert len(bodies(figure)) == 2 * 2
    assert (
        sum(len(walls.get_facecolors()) for walls in bodies(figure)[::2]) == 2 * 2 * 4
    )  # two steps in each part


def test_ground_truth_is_dashed_wire() -> None:
    figure = tube_figure([], ground_truth=[tube(0, 6)])
    assert bodies(figure) == []
    (wire,) = wires(figure)
    assert len(wire.get_segments()) == 4 + 2  # edges along the time, and both ends
    assert wire.get_linestyle()[0][1] is not None
    assert legend_of(figure) == ["ground truth:\nrun"]


def test_a_single_frame_lasts_one_frame() -> None:
    walls, _ = bodies(tube_figure([tube(7, 1)]))
    assert len(walls.get_facecolors()) == 4


def test_axes_cover_the_whole_video_when_it_is_known() -> None:
    axes = tube_figure([tube(0, 6)], width=320, height=240, num_frames=100, fps=25).axes[0]
    assert axes.get_xlim() == (0, 100)
    assert axes.get_ylim() == (0, 320)
    assert axes.get_zlim() == (240, 0), "y grows downwards in pictures"
    assert axes.xaxis.get_major_formatter()(50, None) == "50\n2.0 s"


def test_axes_cover_the_boxes_otherwise() -> None:
    axes = tube_figure([tube(3, 6)]).axes[0]
    assert axes.get_xlim() == (0, 9)
    assert axes.get_ylim() == (0, 20)  # 5 steps of 2 pixels, and the width of 10
    assert axes.get_zlim() == (25, 0)


def test_the_legend_names_tubes_with_their_scores() -> None:
    labels = ["run", "a label that is far too long for a legend", "$x_1$"]
    figure = tube_figure([tube(0, 5, number=k, label=label) for k, label in enumerate(labels)])
    assert legend_of(figure) == ["#0 run 0.75", "#1 a label that is far… 0.75", "#2 $x_1$ 0.75"]
    figure.savefig(Path("/dev/null"), format="png")  # a dollar sign is no formula


def test_the_legend_of_a_crowd_is_cut() -> None:
    figure = tube_figure([tube(0, 5, number=k) for k in range(40)])
    assert len(legend_of(figure)) == 15
    assert legend_of(figure)[-1] == "and 26 more"


def test_nothing_is_an_empty_box(tmp_path: Path) -> None:
    plot_tubes(tmp_path / "x.png", [], width=320, height=240, num_frames=10)
    assert (tmp_path / "x.png").stat().st_size > 1000
