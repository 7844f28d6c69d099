from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from PIL import Image

from eval.plots import plot_tubes, tube_figure
from eval.tube_pieces import pieces
from eval.tube_view import TubeView
from linking.colours import tube_colour
from linking.looks import Look, Looks
from linking.records import Tube

NAN = float("nan")


def tube(first: int, count: int, *, number: int = 1, label: str = "run", scores=None) -> Tube:
    """A box of 10 x 20 that moves 2 pixels a frame to the right."""
    left = 2 * np.arange(count)
    boxes = np.stack([left, np.full(count, 5), left + 10, np.full(count, 25)], axis=1).astype(np.float32)
    return Tube(label, np.arange(first, first + count), boxes, scores, 0.75, number)


def walls(figure: Figure) -> list[PolyCollection]:
    """The bodies: a collection of four walls for each piece of a tube."""
    found = [child for child in figure.axes[0].get_children() if isinstance(child, PolyCollection)]
    return [collection for collection in found if len(collection.get_paths()) == 4]


def wires(figure: Figure) -> list[LineCollection]:
    """Dashed lines."""
    found = [child for child in figure.axes[0].get_children() if isinstance(child, LineCollection)]
    return [collection for collection in found if collection.get_linestyle()[0][1] is not None]


def planes(figure: Figure) -> list[AxesImage]:
    return [child for child in figure.axes[0].get_children() if isinstance(child, AxesImage)]


def legend_of(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def words(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


@pytest.mark.parametrize(("suffix", "start"), [(".png", b"\x89PNG"), (".pdf", b"%PDF"), (".SVG", b"<?xml")])
def test_the_suffix_chooses_the_format_and_the_bytes_do_not_change(tmp_path: Path, suffix: str, start: bytes) -> None:
    for name in ("a", "b"):
        plot_tubes(tmp_path / f"{name}{suffix}", [tube(0, 5)], ground_truth=[tube(1, 5)], fps=25, title="a video")
    data = (tmp_path / f"a{suffix}").read_bytes()
    assert data.startswith(start)
    assert data == (tmp_path / f"b{suffix}").read_bytes()


def test_another_suffix_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"x\.gif: figures are written as \.png, \.pdf, \.svg"):
        plot_tubes(tmp_path / "x.gif", [tube(0, 5)])
    assert list(tmp_path.iterdir()) == []


def test_a_tube_has_four_walls_in_its_colour_and_its_number_at_its_beginning() -> None:
    figure = tube_figure([tube(0, 6, number=3)])
    (body,) = walls(figure)
    # one wall is lighter, for it is the upper one
    colours = body.get_facecolors()[:, :3]
    assert sum(np.allclose(colour, np.array(tube_colour(3)) / 255) for colour in colours) == 3
    assert "#3" in words(figure)


def test_looks_replace_the_colours_and_say_what_they_mean() -> None:
    looks = Looks({3: Look((0, 0, 255), "wrong")}, {0: Look((255, 0, 0), "missed")}, (("wrong", (0, 0, 255)),))
    figure = tube_figure([tube(0, 6, number=3)], ground_truth=[tube(0, 6, number=0)], looks=looks)
    (body,), (wire,) = walls(figure), wires(figure)
    assert body.get_facecolors()[0, :3].tolist() == [0, 0, 1]
    assert wire.get_colors()[0, :3].tolist() == [1, 0, 0]
    assert legend_of(figure) == ["wrong", "#3 run 0.75", "missed: run"]


def test_interpolated_parts_are_paler() -> None:
    scores = np.array([0.9, 0.9, NAN, 0.9, 0.9, 0.9])
    bodies = walls(tube_figure([tube(0, 6, scores=scores)]))
    # frames 0-1 were seen, the steps to frame 2 and away from it are guesses, 3-5 were seen again
    near = [body.get_facecolors()[:, 3].max() for body in bodies]
    assert near[0] == near[2] > near[1]


def test_a_hole_in_time_stays_a_hole() -> None:
    whole = tube(0, 9)
    keep = np.array([0, 1, 2, 6, 7, 8])
    broken = Tube("run", whole.frames[keep], whole.boxes[keep], None, 0.5, 1)
    parts = [piece.times for piece in pieces(broken, [], 60)]
    assert [times.tolist() for times in parts] == [[0, 1, 2], [6, 7, 8]]
    assert len(walls(tube_figure([broken]))) == 2


def test_pieces_end_at_planes_with_the_box_that_lies_between() -> None:
    first, second = pieces(tube(0, 5), [1.5], 60)
    assert (first.times.tolist(), second.times.tolist()) == ([0, 1, 1.5], [1.5, 2, 3, 4])
    assert first.boxes[-1].tolist() == second.boxes[0].tolist() == [3, 5, 13, 25]  # 2 pixels a frame
    assert (first.begins, first.ends, second.begins, second.ends) == (True, False, False, True)


def test_long_tubes_are_thinned_out() -> None:
    (piece,) = pieces(tube(0, 5000), [], 60)
    assert len(piece.times) == 60
    assert piece.times[[0, -1]].tolist() == [0, 4999]


def test_a_single_frame_lasts_one_frame() -> None:
    (piece,) = pieces(tube(7, 1), [], 60)
    assert piece.times.tolist() == [7, 8]
    assert len(walls(tube_figure([tube(7, 1)]))) == 1


def test_ground_truth_is_dashed_wire() -> None:
    figure = tube_figure([], ground_truth=[tube(0, 6)])
    assert walls(figure) == []
    (wire,) = wires(figure)
    assert len(wire.get_segments()) == 4 + 2  # edges along the time, and both ends
    assert legend_of(figure) == ["truth: run"]


def test_frames_stand_at_their_times_and_later_things_cover_earlier_ones() -> None:
    pictures = {4: np.full((24, 32, 3), 200, np.uint8), 2: np.full((12, 16, 3), 100, np.uint8)}
    figure = tube_figure([tube(0, 6)], width=320, height=240, num_frames=10, pictures=pictures)
    early, late = sorted(planes(figure), key=lambda plane: plane.get_zorder())
    assert (early.get_array().max(), late.get_array().max()) == (100, 200)
    # a piece before, between and behind the planes; what was covered is drawn again, faintly, in two walls
    before, between, behind = walls(figure)
    order = [artist.get_zorder() for artist in (before, early, between, late, behind)]
    assert order == sorted(order)
    # corners of the plane of frame 2 on paper, whatever its picture's size
    corners = early.get_transform() - figure.axes[0].transData
    view = TubeView(10, 320, 240)
    np.testing.assert_allclose(corners.transform([[0, 0], [16, 0], [16, 12], [0, 12]]), view.rectangle(2), atol=1e-9)


def test_a_parallel_projection_keeps_equal_lengths_equal() -> None:
    view = TubeView(100, 320, 240)
    a, b, c = view.points([0, 50, 100], 0, 0)
    np.testing.assert_allclose(b - a, c - b)
    assert b[0] > a[0], "time runs to the right"
    left, right = view.points(0, [0, 320], 0)
    assert right[0] > left[0]
    upper, lower = view.points(0, 0, [0, 240])
    assert lower[1] < upper[1], "y grows downwards in pictures"


def test_axes_count_pixels_and_seconds_of_the_whole_video() -> None:
    said = words(tube_figure([tube(0, 6)], width=320, height=240, num_frames=100, fps=25))
    assert {"x (pixels)", "y (pixels)", "time (seconds)"} <= set(said)
    assert [text for text in said if text in "01234"].count("4") == 1  # 100 frames are 4 s
    assert "300" in said


def test_axes_count_frames_where_nobody_knows_seconds_and_minutes_where_there_are_many() -> None:
    assert "frame" in words(tube_figure([tube(3, 6)]))
    said = words(tube_figure([tube(0, 6)], num_frames=25 * 3600, fps=25))
    assert "time (min:s)" in said
    assert [text for text in said if ":" in text and "(" not in text] == [
        "0:00",
        "10:00",
        "20:00",
        "30:00",
        "40:00",
        "50:00",
        "60:00",
    ]


def test_the_legend_names_tubes_with_their_scores() -> None:
    labels = ["run", "a label that is far too long for a legend", "$x_1$"]
    figure = tube_figure([tube(0, 5, number=k, label=label) for k, label in enumerate(labels)])
    first, second, third = legend_of(figure)
    assert (first, third) == ("#0 run 0.75", "#2 $x_1$ 0.75")
    assert second.startswith("#1 a label that")
    assert second.endswith("… 0.75")
    figure.savefig(Path("/dev/null"), format="png")  # a dollar sign is no formula


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("label", ["W" * 60, "i" * 200, "跑" * 60, "a label that is far too long for a legend"])
def test_no_label_leaves_the_page(label: str) -> None:
    figure = tube_figure([tube(0, 5, number=12, label=label)], ground_truth=[tube(0, 5, label=label)], title=label)
    FigureCanvasAgg(figure).draw()
    (legend,) = figure.legends
    assert legend.get_window_extent().x1 <= figure.bbox.x1
    assert figure.texts[0].get_window_extent().x1 <= legend.get_window_extent().x0


def test_the_legend_of_a_crowd_is_cut() -> None:
    crowd = [Tube("run", np.arange(5), tube(0, 5).boxes, None, 0.01 * k, k) for k in range(40)]
    figure = tube_figure(crowd)
    assert len(legend_of(figure)) == 15
    assert legend_of(figure)[0] == "#39 run 0.39", "best first"
    assert legend_of(figure)[-1] == "and 26 more"


@pytest.mark.parametrize(("width", "height"), [(100, 400), (1000, 20), (31, 17)])
def test_any_shape_of_picture_fits_the_page(tmp_path: Path, width: int, height: int) -> None:
    picture = np.zeros((height, width, 3), np.uint8)
    plot_tubes(tmp_path / "x.png", [tube(0, 5)], width=width, height=height, num_frames=5, pictures={1: picture})
    with Image.open(tmp_path / "x.png") as image:
        assert image.width == 1440
        assert 480 <= image.height <= 1200


def test_fonts_are_embedded_and_frames_are_pictures_in_vector_files(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    for suffix in (".pdf", ".svg"):
        plot_tubes(tmp_path / f"x{suffix}", [tube(0, 5, label="läuft")], num_frames=5, pictures={1: picture})
    pdf = (tmp_path / "x.pdf").read_bytes()
    assert b"/FontFile2" in pdf, "TrueType"
    assert pdf.count(b"/Subtype /Image") == 1
    svg = (tmp_path / "x.svg").read_text(encoding="utf-8")
    assert svg.count("<image ") == 1
    assert "#1 läuft 0.75" in svg, "text as text"


@pytest.mark.filterwarnings("error")
def test_letters_that_no_font_has_are_no_reason_to_complain(tmp_path: Path) -> None:
    plot_tubes(tmp_path / "x.png", [tube(0, 5, label="跑步 \U0001f3c3")], title="视频")
    assert (tmp_path / "x.png").stat().st_size > 1000


def test_nothing_is_an_empty_box(tmp_path: Path) -> None:
    plot_tubes(tmp_path / "x.png", [], width=320, height=240, num_frames=10)
    assert (tmp_path / "x.png").stat().st_size > 1000
