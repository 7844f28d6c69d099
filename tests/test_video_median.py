import numpy as np
import pytest
import torch

from video.median import _program, median_filter


def by_sorting(pictures: np.ndarray, size: int) -> np.ndarray:
    """The definition: the middle one of the sorted values of each window."""
    radius = size // 2
    padded = np.pad(pictures, ((0, 0), (radius, radius), (radius, radius)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(1, 2))
    return np.sort(windows.reshape(*pictures.shape, -1))[..., size * size // 2]


@pytest.mark.parametrize("size", [1, 3, 5, 7])
@pytest.mark.parametrize("shape", [(2, 13, 17), (1, 1, 9), (3, 4, 2), (1, 1, 1)])
def test_it_is_the_middle_value_of_every_window(size: int, shape: tuple[int, int, int]) -> None:
    pictures = np.random.default_rng(size).normal(size=shape).astype(np.float32)
    assert np.array_equal(median_filter(torch.from_numpy(pictures), size).numpy(), by_sorting(pictures, size))


def test_any_arrangement_of_two_values_is_right() -> None:
    """A network of minima and maxima that is right for all zeros and ones is right for all numbers (0-1 principle).

    Here 60000 windows of each density; columns of equal sums are the same to a network that sorts them.
    """
    rng = np.random.default_rng(0)
    for share in (0.35, 0.42, 0.48, 0.5, 0.52, 0.58, 0.65):
        pictures = (rng.random((1, 240, 250)) < share).astype(np.float32)
        assert np.array_equal(median_filter(torch.from_numpy(pictures), 5).numpy(), by_sorting(pictures, 5))


def test_a_view_of_a_larger_picture_is_filtered_as_its_copy() -> None:
    large = torch.randn(2, 9, 14)
    view = large[:, 1:8, 2:13]
    before = large.clone()
    assert torch.equal(median_filter(view, 5), median_filter(view.contiguous(), 5))
    assert torch.equal(large, before)


def test_a_window_of_five_takes_ninety_comparisons() -> None:
    """Sorting 25 values by Batcher's network takes 138 exchanges, which are 276 minima and maxima."""
    steps, _ = _program(5)
    assert sum(kind in ("min", "max") for kind, _, _ in steps) == 90


@pytest.mark.parametrize("size", [0, 2, -3])
def test_a_window_without_a_middle_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="odd size"):
        median_filter(torch.zeros(1, 4, 4), size)
