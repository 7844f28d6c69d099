"""Heat over frames: where it lies, how it is scaled, and the sheet and the video of it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.squares import FRAMES, HEIGHT, WIDTH, square_videos
from video.clips import read_video
from video.heat import HeatRow, heat_over, scaled_heat, write_heat_sheet, write_heat_video

GREY = np.full((40, 60, 3), 100, np.uint8)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return square_videos(tmp_path_factory.mktemp("squares"), count=1).videos[0].path


def test_without_heat_the_frame_stays_as_it_is() -> None:
    np.testing.assert_array_equal(heat_over(GREY, np.zeros((2, 3))), GREY)


def test_heat_lies_where_its_cell_is() -> None:
    heat = np.zeros((4, 6))
    heat[1, 4] = 1  # the cell of rows 10..20 and columns 40..50
    changed = (heat_over(GREY, heat) != GREY).any(axis=2)
    assert changed[15, 45]
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    assert (rows.min() + rows.max()) / 2 == pytest.approx(14.5, abs=1)
    assert (columns.min() + columns.max()) / 2 == pytest.approx(44.5, abs=1)
    hottest = heat_over(GREY, np.ones((1, 1)))[20, 30]
    # 0.65 of the hottest colour, 200 0 0, and 0.35 of grey 100
    assert hottest.tolist() == [round(0.65 * 200 + 35), 35, 35]


def test_an_area_may_be_a_part_of_the_frame_or_reach_beyond_it() -> None:
    part = (heat_over(GREY, np.ones((2, 2)), (0.5, 0.25, 1, 0.75)) != GREY).any(axis=2)
    assert part[10:30, 30:].all()
    assert part.sum() == 20 * 30
    beyond = (heat_over(GREY, np.array([[1.0, 0.0]]), (-0.5, 0, 0.5, 1)) != GREY).any(axis=2)
    assert not beyond[:, 15:].any()  # the hot cell lies left of the picture and reaches in a little only


def test_maps_are_scaled_by_their_greatest_value_and_nothing_is_negative() -> None:
    assert scaled_heat(np.array([[[-3.0, 1.0, 2.0]]])).tolist() == [[[0, 0.5, 1]]]
    assert scaled_heat(np.array([[[-3.0]]])).tolist() == [[[0]]]


def test_a_sheet_has_a_row_of_frames_and_one_for_each_class(video: Path, tmp_path: Path) -> None:
    frames, maps = np.arange(FRAMES), np.zeros((FRAMES, 2, 2))
    maps[:6] = 1
    sizes = []
    for rows in ([], [HeatRow("right 90 %", maps)]):
        write_heat_sheet(video, tmp_path / "sheet.png", frames, rows)
        with Image.open(tmp_path / "sheet.png") as sheet:
            sizes.append(sheet.size)
            pixels = np.asarray(sheet).astype(int)
    assert sizes[0][0] == sizes[1][0]
    row_height = sizes[1][1] - sizes[0][1]
    plain, warm = pixels[:row_height], pixels[row_height : 2 * row_height]
    difference = np.abs(warm - plain)[40:140].mean(axis=(0, 2))
    assert difference[: len(difference) // 3].mean() > 30
    assert difference[-len(difference) // 3 :].mean() == 0  # only the first half of the video is hot


def test_a_video_of_heat_is_as_long_as_the_video(video: Path, tmp_path: Path) -> None:
    seen: list[int] = []
    row = HeatRow("right", np.array([np.zeros((1, 1)), np.ones((1, 1))]))
    write_heat_video(video, tmp_path / "heat.mp4", np.array([2, 8]), row, on_frame=seen.append)
    original, warm = read_video(video).astype(int), read_video(tmp_path / "heat.mp4").astype(int)
    assert warm.shape == (FRAMES, HEIGHT, WIDTH, 3)
    assert seen == list(range(1, FRAMES + 1))
    below_the_title = (slice(None), slice(20, None))
    change = np.abs(warm - original)[below_the_title].mean(axis=(1, 2, 3))
    assert change[1] < 8  # before the first map: cold as it
    assert change[8] == pytest.approx(change[11], abs=8)  # after the last: hot as it
    assert change[5] > 2 * change[2]  # between them: half of each
    assert change[8] > 1.2 * change[5]
    red, blue = (warm - original)[below_the_title].mean(axis=(1, 2))[8, [0, 2]]
    assert red > blue + 50
