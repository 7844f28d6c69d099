"""Crops, mirror images and colours of training clips, and the frames seen at test."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from recognition.clip_sampling import FLOW_PREPROCESSING, ClipInput
from recognition.clip_views import ClipAugment, change_colour, crop_size, random_view, whole_size, whole_view

CLIP = ClipInput(short_side=6, crop=4, test_short_side=6)
FLOW = replace(CLIP, stream="flow", preprocessing=FLOW_PREPROCESSING)


def ramp(height: int = 6, width: int = 8, frames: int = 2) -> np.ndarray:
    """Pixel (row, column) of every frame is (row, column, frame)."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([np.stack([rows, columns, np.full_like(rows, t)], axis=-1) for t in range(frames)]).astype(np.uint8)


def test_training_frames_are_four_to_three_whatever_the_video_is() -> None:
    paper = ClipInput()
    assert crop_size(1080, 1920, paper) == (120, 160)
    assert crop_size(100, 50, paper) == (120, 160)
    assert crop_size(240, 426, replace(paper, aspect="keep")) == (120, 213)
    assert whole_size(240, 426, paper) == (120, 213)


def test_the_crop_is_the_same_in_all_frames_and_everywhere_in_turn() -> None:
    rng = np.random.default_rng(0)
    corners = set()
    for _ in range(300):
        view = random_view(ramp(), CLIP, ClipAugment(flip=0), rng)
        assert view.shape == (2, 4, 4, 3)
        assert torch.equal(view[0, ..., :2], view[1, ..., :2])
        top, left = view[0, 0, 0, :2].tolist()
        assert view[0, 3, 3, :2].tolist() == [top + 3, left + 3]
        corners.add((top, left))
    assert corners == {(top, left) for top in range(3) for left in range(5)}


def test_half_of_the_views_are_mirrored() -> None:
    rng = np.random.default_rng(0)
    views = [random_view(ramp(), CLIP, ClipAugment(), rng) for _ in range(200)]
    mirrored_views = sum(bool(view[0, 0, 0, 1] > view[0, 0, 1, 1]) for view in views)
    assert 75 < mirrored_views < 125


def test_mirrored_flow_moves_the_other_way() -> None:
    flow = np.zeros((1, 6, 8, 2), np.uint8)
    flow[..., 0], flow[..., 1] = np.arange(8) * 10, 7
    views = [random_view(flow, FLOW, ClipAugment(flip=share), np.random.default_rng(0)) for share in (0, 1)]
    assert torch.equal(views[1][..., 0], 255 - views[0][..., 0].flip(2))
    assert views[1][..., 1].unique().tolist() == [7]


def test_smaller_crops_are_enlarged() -> None:
    rng = np.random.default_rng(0)
    frames = np.full((2, 6, 8, 3), 77, np.uint8)
    view = random_view(frames, CLIP, ClipAugment(min_crop=0.5), rng)
    assert view.shape == (2, 4, 4, 3)
    assert view.unique().tolist() == [77]


def test_flow_has_no_colour_to_change() -> None:
    frames = np.full((1, 6, 8, 2), 128, np.uint8)
    view = random_view(frames, FLOW, ClipAugment(flip=0, colour=0.5), np.random.default_rng(0))
    assert view.unique().tolist() == [128]


def test_colour_changes_by_at_most_its_strength() -> None:
    grey = torch.full((2, 3, 3, 3), 100, dtype=torch.uint8)
    rng = np.random.default_rng(0)
    seen = {int(change_colour(grey, 0.2, rng)[0, 0, 0, 0]) for _ in range(100)}
    assert 80 <= min(seen) < 90  # contrast and saturation leave an even grey alone
    assert 110 < max(seen) <= 120
    assert change_colour(grey, 0, rng) is grey


def test_the_whole_frame_or_its_middle() -> None:
    assert whole_view(ramp(), CLIP).shape == (2, 6, 8, 3)
    middle = whole_view(ramp(), replace(CLIP, test_crop=4))
    assert middle[0, 0, 0].tolist() == [1, 2, 0]
    assert middle.shape == (2, 4, 4, 3)


def test_shares_must_be_shares() -> None:
    for wrong in ({"flip": 1.5}, {"min_crop": 0}, {"colour": 1}):
        with pytest.raises(ValueError, match="are shares"):
            ClipAugment(**wrong)  # type: ignore[arg-type]
