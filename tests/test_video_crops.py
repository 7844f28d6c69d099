"""Crops of a tube: which pixels, in which frames."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from video.crops import tube_crops
from video.source import VideoError


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Four pictures of 8 x 6; a pixel is (column, row, frame)."""
    rows, columns = np.mgrid[:6, :8]
    for frame in range(4):
        picture = np.stack([columns, rows, np.full_like(rows, frame)], axis=2).astype(np.uint8)
        Image.fromarray(picture).save(tmp_path / f"{frame}.png")
    return tmp_path


def rows(*boxes: tuple[int, float, float, float, float]) -> pd.DataFrame:
    return pd.DataFrame(boxes, columns=["frame", "x1", "y1", "x2", "y2"])


def test_a_crop_is_the_box_and_nothing_else(pictures: Path) -> None:
    ((frame, crop),) = tube_crops(pictures, rows((2, 1, 2, 4, 5)))
    assert frame == 2
    assert crop.shape == (5 - 2, 4 - 1, 3)
    assert crop[0, 0].tolist() == [1, 2, 2]
    assert crop[-1, -1].tolist() == [3, 4, 2]


def test_crops_come_in_the_order_of_frames_rounded_outwards_and_cut_at_the_edges(pictures: Path) -> None:
    found = list(tube_crops(pictures, rows((3, 6.2, 0, 20, 2), (0, -5, -5, 1.5, 1.5), (1, -9, 0, -2, 5))))
    assert [frame for frame, _ in found] == [0, 3]  # the box of frame 1 lies outside
    assert [crop.shape[:2] for _, crop in found] == [(2, 2), (2, 8 - 6)]


def test_the_margin_is_a_share_of_the_box(pictures: Path) -> None:
    ((_, crop),) = tube_crops(pictures, rows((0, 2, 2, 6, 4)), margin=0.5)
    assert crop.shape[:2] == (1 + 2 + 1, 2 + 4 + 2)


def test_no_rows_no_crops_and_wrong_rows_are_told(pictures: Path) -> None:
    assert list(tube_crops(pictures, rows())) == []
    with pytest.raises(VideoError, match="4 frames, the tube goes on to frame 9"):
        list(tube_crops(pictures, rows((9, 0, 0, 1, 1))))
    with pytest.raises(VideoError, match="two boxes in frame 1; give the rows of one tube"):
        list(tube_crops(pictures, rows((1, 0, 0, 1, 1), (1, 1, 1, 2, 2))))
