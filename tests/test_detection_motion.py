"""Stacks of flow pictures: which ones, without the camera, and of a video that goes by."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from detection.motion import MotionBuffer, flip_stack, frames_around, motion_stack, stack_preprocessing
from video.flow import NO_MOTION, flip

OFFSETS = (-3, 0, 3)


def flow_pictures(count: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return list(rng.integers(60, 200, (count, 6, 8, 2)).astype(np.uint8))


def test_frames_around_stay_inside() -> None:
    assert frames_around(5, OFFSETS, 0, 9) == [2, 5, 8]
    assert frames_around(1, OFFSETS, 0, 3) == [0, 1, 3]
    assert frames_around(4, OFFSETS, 4, 4) == [4, 4, 4]


def test_a_camera_that_turns_leaves_no_motion_but_the_actors() -> None:
    picture = np.full((10, 10, 2), (150, 100), np.uint8)  # everything moves right and up
    picture[:2, :5] = (200, 100)  # but one who goes faster
    stack = motion_stack([picture, picture])
    assert stack.shape == (10, 10, 4)
    assert stack.mean(axis=(0, 1)) == pytest.approx([NO_MOTION] * 4, abs=0.5)
    assert (stack[:2, :5, 0] == 173).all()  # the mean is 155
    assert (stack[..., 1] == NO_MOTION).all()


def test_the_mirrored_stack_is_that_of_the_mirrored_video() -> None:
    pictures = flow_pictures(2)
    stacked = torch.from_numpy(np.concatenate(pictures, axis=-1)).permute(2, 0, 1)
    mirrored = np.concatenate([flip(picture) for picture in pictures], axis=-1)
    np.testing.assert_array_equal(flip_stack(stacked).permute(1, 2, 0).numpy(), mirrored)


def test_no_motion_is_zero_to_the_network() -> None:
    preprocessing = stack_preprocessing(3)
    assert len(preprocessing.mean) == 6
    assert pytest.approx(preprocessing.mean[0]) == NO_MOTION / 255


@pytest.mark.parametrize("at_once", [1, 4, 50])
@pytest.mark.parametrize("cuts", [[], [11], [11, 12, 20]])
def test_the_buffer_gives_the_stacks_of_the_whole_video(at_once: int, cuts: list[int]) -> None:
    pictures = flow_pictures(30)
    buffer, held = MotionBuffer(OFFSETS), []
    found: dict[int, np.ndarray] = {}
    for start in range(0, 30, at_once):
        for cut in cuts:  # the flow of a frame needs the next one, so a cut is known with the flow before it
            if start < cut <= start + at_once:
                buffer.cut(cut)
        buffer.add(pictures[start : start + at_once])
        for frame in range(0, 30, 2):
            if frame not in found and buffer.is_ready(frame):
                found[frame] = buffer.stack(frame)
        held.append(len(buffer._pictures))
    assert 28 not in found  # 31 is not here
    buffer.finish()
    found[28] = buffer.stack(28)
    assert max(held) <= at_once + 2 * 3 + 2
    bounds = [0, *cuts, 30]
    for frame, stack in found.items():
        first, end = next((a, b) for a, b in pairwise(bounds) if a <= frame < b)
        # the flow of a shot's last frame leads into the next shot
        last = end - 1 if end == 30 else max(first, end - 2)
        np.testing.assert_array_equal(
            stack, motion_stack([pictures[k] for k in frames_around(frame, OFFSETS, first, last)])
        )
