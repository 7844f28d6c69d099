from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from linking.colours import TRUTH, tube_colour
from linking.looks import Look, Looks
from linking.records import Tube
from tests.video_samples import write_numbered
from video.clips import read_video
from video.contact_sheet import write_contact_sheet
from video.drawing import MAX_HEIGHT, MIN_HEIGHT, Mark, annotate_video, draw_boxes, marks_at
from video.frames import VideoError
from video.marks import _free_place, font, shortened
from video.panel import Panel, PanelEntry
from video.writing import VideoWriter

NAN = float("nan")


def tube(
    first: int, count: int, *, number: int = 1, label: str = "run", scores=None, box=(20, 20, 60, 50)
) -> Tube:
    scores = np.full(count, 0.5) if scores is None else np.array(scores)
    boxes = np.tile(np.float32(box), (count, 1))
    return Tube(label, np.arange(first, first + count), boxes, scores, 0.5, number)


def is_near(pixels: np.ndarray, colour: tuple[int, int, int], *, within: int = 60) -> np.ndarray:
    """Where ``pixels`` (..., 3) show ``colour``, give or take what video coding changes."""
    return np.abs(pixels.astype(int) - colour).max(axis=-1) <= within


# one picture


def test_a_box_is_drawn_along_its_inner_edge_and_nowhere_else() -> None:
    frame = np.zeros((100, 100, 3), np.uint8)
    drawn = draw_boxes(frame, [Mark((20, 30, 60, 80), (255, 0, 0))])
    red = (drawn == (255, 0, 0)).all(axis=2)
    rows, columns = np.flatnonzero(red.any(axis=1)), np.flatnonzero(red.any(axis=0))
    # x2 and y2 bound the box: its last pixels are 59 and 79
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (30, 79, 20, 59)
    assert not red[34:75, 24:55].any()
    assert (frame == 0).all(), "the frame itself stays as it was"


def test_a_dashed_box_has_gaps() -> None:
    frame = np.zeros((200, 200, 3), np.uint8)
    whole, dashed = (
        (draw_boxes(frame, [Mark((20, 20, 180, 180), (255, 0, 0), dashed=dashed)]) == (255, 0, 0)).all(2)
        for dashed in (False, True)
    )
    assert 0.3 * whole.sum() < dashed.sum() < 0.7 * whole.sum()
    assert not (dashed & ~whole).any()


def test_boxes_are_cut_at_the_border_and_skipped_beyond_it() -> None:
    frame = np.zeros((100, 100, 3), np.uint8)
    drawn = draw_boxes(
        frame, [Mark((-50, -50, 500, 500), (0, 255, 0)), Mark((200, 200, 300, 300), (255, 0, 0))]
    )
    green = (drawn == (0, 255, 0)).all(axis=2)
    assert green[0].all()
    assert green[-1].all()
    assert green[:, 0].all()
    assert green[:, -1].all()
    assert not (drawn == (255, 0, 0)).all(axis=2).any()


side = st.floats(-50, 700)


@given(
    boxes=st.lists(st.tuples(side, side, st.floats(1, 400), st.floats(1, 400)), min_size=1, max_size=8),
    width=st.floats(10, 300),
    below=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_labels_never_leave_the_picture(boxes: list, width: float, below: bool) -> None:
    size, height, taken = (320, 240), 20.0, []
    for x, y, w, h in boxes:
        box = (max(x, 0), max(y, 0), min(x + w, size[0] - 1), min(y + h, size[1] - 1))
        left, top, right, bottom = _free_place(box, width, height, taken, size, below=below)
        assert left >= 0
        assert top >= 0
        assert right <= size[0]
        assert bottom <= size[1]
        taken.append((left, top, right, bottom))


def test_labels_of_people_side_by_side_do_not_cover_each_other() -> None:
    size, taken = (320, 240), []
    for x in (10, 40, 70, 100):  # boxes overlap, labels are wider than the steps between them
        taken.append(_free_place((x, 80, x + 60, 200), 90, 18, taken, size, below=False))
    for i, a in enumerate(taken):
        for b in taken[:i]:
            assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


def test_long_labels_are_shortened_to_fit() -> None:
    letters = font(16)
    text = shortened("playing squash or racquetball", letters, 120)
    assert text.endswith("…")
    assert letters.getlength(text) <= 120
    assert shortened("run", letters, 120) == "run"
    assert shortened("two\nlines", letters, 500) == "two lines"
    assert shortened("run", letters, 1) == ""


def test_a_box_shows_its_own_score_and_one_without_is_dashed() -> None:
    found = tube(5, 3, scores=[0.91, NAN, 0.4])
    assert [mark.text for frame in range(4, 9) for mark in marks_at([found], frame)] == [
        "#1 run 0.91",
        "#1 run",
        "#1 run 0.40",
    ]
    assert [mark.dashed for frame in range(5, 8) for mark in marks_at([found], frame)] == [False, True, False]


def test_tubes_that_were_never_scored_are_not_interpolated() -> None:
    (mark,) = marks_at([tube(0, 3, scores=[NAN, NAN, NAN])], 1)
    assert not mark.dashed


# the panel


def entry(number: int, classes: int = 3) -> PanelEntry:
    names = tuple((f"class {k}", 0.9 - 0.3 * k) for k in range(classes))
    return PanelEntry(tube_colour(number), f"#{number}", "frames 0–9", names)


def test_bars_are_as_long_as_the_scores() -> None:
    panel = Panel(480)
    full, half, none = (
        np.asarray(panel.draw([PanelEntry((0, 200, 0), "#1", "", (("", score),))], frame=0, seconds=0))
        for score in (1.0, 0.5, NAN)
    )
    bar = tuple(round(0.55 * part) for part in (0, 200, 0))
    lengths = [int((picture == bar).all(axis=2).sum(axis=1).max()) for picture in (full, half, none)]
    inner = panel.width - 2 * 15  # a margin of one letter at each side
    assert lengths[0] == pytest.approx(inner, abs=3)
    assert lengths[1] == pytest.approx(inner / 2, abs=3)
    assert lengths[2] <= 1


@pytest.mark.parametrize("height", [144, 480, 720])
@pytest.mark.parametrize("count", [0, 1, 5, 60])
def test_the_panel_holds_any_number_of_tubes(height: int, count: int) -> None:
    panel = Panel(height, legend=[("ground truth", TRUTH, False)])
    picture = panel.draw([entry(k) for k in range(count)], frame=7, seconds=0.28)
    assert picture.size == (panel.width, height)
    assert panel.width % 2 == 0


def test_crowded_panels_show_fewer_classes_and_say_how_many_tubes_are_left() -> None:
    few, many = (Panel(480).draw([entry(k) for k in range(n)], frame=0, seconds=0) for n in (3, 40))
    chips_few, chips_many = (
        sum(bool((np.asarray(picture) == tube_colour(k)).all(axis=2).any()) for k in range(10))
        for picture in (few, many)
    )
    assert chips_few == 3
    assert chips_many > 5


# whole videos


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """8 dark frames of 96 x 64."""
    path = tmp_path_factory.mktemp("video") / "x.mp4"
    with VideoWriter(path, width=96, height=64, fps=25) as writer:
        for _ in range(8):
            writer.write(np.full((64, 96, 3), 30, np.uint8))
    return path


def test_tubes_appear_in_their_frames_and_colours(tmp_path: Path, video: Path) -> None:
    tubes = [tube(2, 4), tube(4, 4, number=2, box=(4, 10, 30, 60))]
    seen: list[int] = []
    assert annotate_video(video, tmp_path / "out.mp4", tubes, progress=seen.append) == 8
    assert seen == list(range(1, 9))
    frames = read_video(tmp_path / "out.mp4")
    scale = MIN_HEIGHT / 64
    assert len(frames) == 8
    assert frames.shape[1] == MIN_HEIGHT
    width = 96 * scale
    assert frames.shape[2] > width, "there is a panel at the right"
    for shown in tubes:
        x1, _, x2, y2 = (scale * float(part) for part in shown.boxes[0])
        bottom = frames[:, int(y2) - 2, int(x1) + 10 : int(x2) - 10]  # the lower edge
        visible = is_near(bottom, tube_colour(shown.id)).mean(axis=1) > 0.8
        assert np.flatnonzero(visible).tolist() == shown.frames.tolist()
        panel = is_near(frames[:, 40:200, int(width) + 15 : int(width) + 30], tube_colour(shown.id)).any(
            axis=(1, 2)
        )
        assert np.flatnonzero(panel).tolist() == shown.frames.tolist()


def test_large_videos_are_scaled_down(tmp_path: Path) -> None:
    path = tmp_path / "large.mp4"
    with VideoWriter(path, width=32, height=2 * MAX_HEIGHT, fps=25) as writer:
        writer.write(np.zeros((2 * MAX_HEIGHT, 32, 3), np.uint8))
    annotate_video(path, tmp_path / "out.mp4", [])
    assert read_video(tmp_path / "out.mp4").shape[1] == MAX_HEIGHT


def test_ground_truth_is_drawn_and_named_only_where_it_was_missed(tmp_path: Path, video: Path) -> None:
    truth = [tube(0, 8, number=0, scores=[NAN] * 8, box=(21, 21, 61, 51))]
    annotate_video(video, tmp_path / "a.mp4", [tube(0, 8)], ground_truth=truth)
    annotate_video(video, tmp_path / "b.mp4", [tube(0, 8, label="walk")], ground_truth=truth)
    agreed, missed = (read_video(tmp_path / name)[4][:, :720] for name in ("a.mp4", "b.mp4"))
    light = [int(is_near(picture, TRUTH).sum()) for picture in (agreed, missed)]
    assert light[0] > 500, "the thin box"
    assert light[1] > light[0] + 100, "and the letters of its name"


def test_top_classes_fill_the_panel(tmp_path: Path, video: Path) -> None:
    classes = {1: [("run", 0.9), ("walk", 0.5), ("jump", 0.1), ("never shown", 0.99)]}
    annotate_video(video, tmp_path / "one.mp4", [tube(0, 8)])
    annotate_video(video, tmp_path / "three.mp4", [tube(0, 8)], top_classes=classes)
    dark = tuple(round(0.55 * part) for part in tube_colour(1))
    one, three = (
        is_near(read_video(tmp_path / name)[4][:, 730:], dark, within=30).sum()
        for name in ("one.mp4", "three.mp4")
    )
    assert three > 1.8 * one  # 0.9 + 0.5 + 0.1 against 0.5


def test_boxes_after_the_end_are_an_error_that_names_tube_and_frame(tmp_path: Path, video: Path) -> None:
    with pytest.raises(VideoError, match=r"tube 7 \(run\) has a box in frame 8, but the video has 8 frames"):
        annotate_video(video, tmp_path / "out.mp4", [tube(5, 6, number=7)])
    assert list(tmp_path.iterdir()) == []


def test_boxes_outside_the_picture_are_an_error(tmp_path: Path, video: Path) -> None:
    with pytest.raises(
        VideoError, match=r"tube 7 \(run\) in frame 3 \(100, 5, 110, 9\) lies outside .* 96x64"
    ):
        annotate_video(video, tmp_path / "out.mp4", [tube(3, 2, number=7, box=(100, 5, 110, 9))])
    assert list(tmp_path.iterdir()) == []


RED, BLUE = (230, 0, 0), (0, 0, 230)


def test_looks_replace_the_colours_of_boxes_and_panel(tmp_path: Path, video: Path) -> None:
    looks = Looks({1: Look(RED, "wrong")}, {0: Look(BLUE, "missed")}, (("wrong", RED), ("missed", BLUE)))
    truth = [tube(0, 8, number=0, scores=[NAN] * 8, box=(64, 21, 90, 51), label="jump")]
    annotate_video(video, tmp_path / "out.mp4", [tube(0, 8)], ground_truth=truth, looks=looks)
    frame = read_video(tmp_path / "out.mp4")[4]
    picture, panel = frame[:, :720], frame[:, 720:]
    for colour in (RED, BLUE):
        assert is_near(picture, colour).sum() > 500
        assert is_near(panel, colour).sum() > 10, "in the legend"
    assert not is_near(frame, tube_colour(1), within=20).any()


def test_trails_show_where_a_box_was_lately(tmp_path: Path) -> None:
    path = tmp_path / "long.mp4"
    with VideoWriter(path, width=96, height=64, fps=5) as writer:
        for _ in range(16):
            writer.write(np.full((64, 96, 3), 30, np.uint8))
    left = 4 + 6 * np.arange(10)
    boxes = np.stack([left, np.full(10, 20), left + 20, np.full(10, 40)], axis=1).astype(np.float32)
    moving = Tube("run", np.arange(10), boxes, None, 0.5, 1)
    annotate_video(path, tmp_path / "without.mp4", [moving])
    annotate_video(path, tmp_path / "with.mp4", [moving], trails=1.0)
    without, drawn = (read_video(tmp_path / name).astype(int)[:, :, :720] for name in ("without.mp4", "with.mp4"))
    changed = (np.abs(drawn - without).max(axis=-1) > 40).sum(axis=(1, 2))
    assert changed[0] == 0, "there is no path yet"
    assert changed[9] > 500
    # the second that ends with frame 9 begins with frame 4, whose box has its middle at 4 + 24 + 10 = 38, that is 285
    columns = np.flatnonzero((np.abs(drawn[9] - without[9]).max(axis=-1) > 40).any(axis=0))
    scale = MIN_HEIGHT / 64
    assert 38 * scale < columns[0] < 46 * scale, "the oldest step is the faintest"
    assert columns[-1] == pytest.approx((4 + 54 + 10) * scale, abs=10)
    # the tube ends with frame 9: its trail fades for a second and is gone
    assert 0 < changed[12] < changed[9]
    assert changed[15] == 0


# contact sheets


def test_a_contact_sheet_says_what_was_judged_and_shows_what_was_missed(tmp_path: Path, video: Path) -> None:
    looks = Looks({1: Look(RED, "wrong")}, {0: Look(BLUE, "missed")}, (("wrong", RED), ("missed", BLUE)))
    truth = [tube(0, 8, number=0, scores=[NAN] * 8, box=(64, 21, 90, 51), label="jump")]
    write_contact_sheet(video, tmp_path / "plain.png", [tube(0, 8)], ground_truth=truth)
    write_contact_sheet(video, tmp_path / "judged.png", [tube(0, 8)], ground_truth=truth, looks=looks)
    plain, judged = (np.asarray(Image.open(tmp_path / name)) for name in ("plain.png", "judged.png"))
    assert judged.shape[0] > 1.8 * plain.shape[0], "a row more"
    for colour in (RED, BLUE):
        assert (judged == colour).all(axis=2).any()
        assert not (plain == colour).all(axis=2).any()


def test_a_contact_sheet_has_a_row_a_tube(tmp_path: Path, video: Path) -> None:
    write_contact_sheet(video, tmp_path / "1.png", [tube(2, 5)])
    write_contact_sheet(video, tmp_path / "2.png", [tube(2, 6), tube(0, 1, number=2)])
    one, two = (Image.open(tmp_path / name) for name in ("1.png", "2.png"))
    assert one.width == two.width
    assert 1.8 * one.height < two.height <= 2 * one.height
    pixels = np.asarray(two)
    for number in (1, 2):
        assert (pixels == tube_colour(number)).all(axis=2).any()


def test_a_contact_sheet_shows_the_best_twelve_tubes(tmp_path: Path, video: Path) -> None:
    crowd = [Tube("run", np.arange(3), tube(0, 3).boxes, None, 0.1 * k, k) for k in range(30)]
    write_contact_sheet(video, tmp_path / "30.png", crowd)
    write_contact_sheet(video, tmp_path / "12.png", crowd[-12:])
    write_contact_sheet(video, tmp_path / "0.png", [])
    heights = [Image.open(tmp_path / name).height for name in ("30.png", "12.png", "0.png")]
    assert heights[1] < heights[0] < heights[1] + 40  # a line says that there are more
    assert heights[2] > 0


def test_a_contact_sheet_needs_every_frame_of_its_tubes(tmp_path: Path, video: Path) -> None:
    with pytest.raises(VideoError, match=r"tube 1 \(run\) has a box in frame 8"):
        write_contact_sheet(video, tmp_path / "x.png", [tube(0, 9)])
    assert list(tmp_path.iterdir()) == []


def test_portrait_and_tiny_videos_can_be_drawn(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "x.mp4", frames=2, width=96, height=192)
    annotate_video(
        path, tmp_path / "out.mp4", [tube(0, 2, label="a label that is much wider than the video is")]
    )
    assert read_video(tmp_path / "out.mp4").shape[1] == MIN_HEIGHT
