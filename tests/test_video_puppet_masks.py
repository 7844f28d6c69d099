"""Puppet masks: the box of a frame is the extent of the mask, pixel for pixel."""

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from video.mat_files import MatError
from video.puppet_masks import read_puppet_masks

HEIGHT, WIDTH = 12, 16


def write(folder: Path, clip: str, mask: np.ndarray, variable: str = "part_mask") -> Path:
    path = folder / clip / "puppet_mask.mat"
    path.parent.mkdir(parents=True)
    savemat(path, {variable: mask}, do_compression=True)
    return path


def three_frames() -> np.ndarray:
    """Frame 0: pixels 3..6 across and 2..9 down, in two pieces; frame 1: nothing; frame 2: the pixel in the corner."""
    mask = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    mask[2, 3:5, 0] = 1
    mask[9, 6, 0] = 1
    mask[HEIGHT - 1, WIDTH - 1, 2] = 1
    return mask


def test_boxes_hold_all_pixels_of_the_mask_and_empty_frames_are_left_out(tmp_path: Path) -> None:
    write(tmp_path, "wave/clip_1", three_frames())
    write(tmp_path, "jump/clip_2", np.zeros((HEIGHT, WIDTH, 2), np.uint8))
    jump, wave = read_puppet_masks(tmp_path)
    assert (wave.video, wave.num_frames, wave.width, wave.height) == ("wave/clip_1", 3, WIDTH, HEIGHT)
    (tube,) = wave.tubes
    assert tube.label == "wave"
    assert tube.frames.tolist() == [0, 2]
    assert tube.boxes.tolist() == [[3, 2, 6 + 1, 9 + 1], [15, 11, 15 + 1, 11 + 1]]
    assert (jump.video, jump.tubes, jump.num_frames) == ("jump/clip_2", (), 2)


def test_as_published_the_last_pixel_is_inclusive(tmp_path: Path) -> None:
    write(tmp_path, "wave/clip_1", three_frames()[:, :, :2])
    (video,) = read_puppet_masks(tmp_path / "wave", as_published=True)
    assert video.tubes[0].boxes.tolist() == [[3, 2, 6, 9]]


def test_a_single_file_and_a_single_frame(tmp_path: Path) -> None:
    path = write(tmp_path, "wave/clip_1", three_frames()[:, :, 0])  # MATLAB knows no third dimension of length 1
    (video,) = read_puppet_masks(path)
    assert (video.video, video.num_frames) == ("wave/clip_1", 1)


@pytest.mark.parametrize(
    ("mask", "variable", "text"),
    [
        (np.zeros((2, 2), np.uint8), "other", "no puppet mask"),
        (np.zeros((2, 2, 0), np.uint8), "part_mask", "no puppet mask"),
        (np.zeros((2, 2, 2, 2), np.uint8), "part_mask", "no puppet mask"),
        (np.array(["text"], object), "part_mask", "no puppet mask"),
    ],
)
def test_other_files_are_refused_by_name(tmp_path: Path, mask: np.ndarray, variable: str, text: str) -> None:
    path = write(tmp_path, "wave/clip_1", mask, variable)
    with pytest.raises(MatError, match=text) as caught:
        read_puppet_masks(tmp_path)
    assert str(path) in str(caught.value)


def test_a_folder_without_masks_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MatError, match=r"no puppet_mask\.mat"):
        read_puppet_masks(tmp_path)
