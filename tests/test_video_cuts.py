import numpy as np

from video.cuts import CutFinder


def scene(seed: int, shift: int = 0) -> np.ndarray:
    """A textured picture of one dominant colour, scrolled sideways."""
    rng = np.random.default_rng(seed)
    base = rng.integers(0, 200, 3)
    picture = base + rng.integers(0, 50, (60, 80, 3))
    return np.roll(picture, shift, axis=1).astype(np.uint8)


def test_the_first_frame_of_a_new_shot_is_a_cut_and_motion_is_none() -> None:
    finder = CutFinder()
    frames = [scene(1, shift) for shift in range(6)] + [scene(2, shift) for shift in range(6)]
    assert [k for k, frame in enumerate(frames) if finder.is_cut(frame)] == [6]


def test_a_large_object_that_enters_is_no_cut() -> None:
    finder = CutFinder()
    empty, entered = scene(3), scene(3)
    entered[:, :30] = (250, 10, 10)  # 3 / 8 of the picture, wholly in the left quarters
    assert [finder.is_cut(frame) for frame in (empty, entered)] == [False, False]


def test_tiny_pictures_do_not_fail() -> None:
    finder = CutFinder()
    assert [finder.is_cut(np.zeros((1, 1, 3), np.uint8)) for _ in range(2)] == [False, False]
