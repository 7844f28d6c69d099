"""Which frames a classifier sees: expected indices are small enough to count."""

from dataclasses import replace

import numpy as np
import pytest

from recognition.clip_sampling import FLOW_PREPROCESSING, ClipInput, random_frames, uniform_frames
from recognition.preprocessing import Preprocessing

CLIP = ClipInput(frames=4, test_clips=3)
TRIPLE = ClipInput(sampling="segments", frames=1, segments=3, test_segments=3, test_clips=2)
STNET = ClipInput(sampling="segments", frames=2, segments=3, test_segments=4, test_clips=1)


def drawn(num_frames: int, clip: ClipInput, times: int = 400) -> list[tuple[int, ...]]:
    rng = np.random.default_rng(0)
    return [tuple(random_frames(num_frames, clip, rng).tolist()) for _ in range(times)]


def test_a_random_clip_starts_anywhere_it_fits_and_equally_often() -> None:
    clips = drawn(6, CLIP)
    assert set(clips) == {(0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5)}
    assert min(clips.count(clip) for clip in set(clips)) > 400 / 3 * 0.75


def test_every_nth_frame() -> None:
    assert set(drawn(8, replace(CLIP, frame_step=2))) == {(0, 2, 4, 6), (1, 3, 5, 7)}


def test_a_video_that_is_too_short_starts_again() -> None:
    assert set(drawn(3, CLIP)) == {(0, 1, 2, 0)}
    assert set(drawn(1, CLIP)) == {(0, 0, 0, 0)}
    assert uniform_frames(3, CLIP).tolist() == [[0, 1, 2, 0]]  # three equal clips are one


def test_a_random_triple_has_one_frame_of_each_third() -> None:
    triples = set(drawn(7, TRIPLE, 2000))
    # thirds of 7 frames: 0-1, 2-3, 4-6
    assert triples == {(a, b, c) for a in (0, 1) for b in (2, 3) for c in (4, 5, 6)}


def test_segments_give_runs_that_stay_inside_them() -> None:
    # thirds of 9: 0-2, 3-5, 6-8; runs of two
    starts = {clip[::2] for clip in drawn(9, STNET, 2000)}
    assert starts == {(a, b, c) for a in (0, 1) for b in (3, 4) for c in (6, 7)}
    assert all(clip[1::2] == tuple(start + 1 for start in clip[::2]) for clip in drawn(9, STNET, 50))


def test_segments_shorter_than_their_runs_reach_into_the_next_and_wrap() -> None:
    assert set(drawn(3, STNET)) == {(0, 1, 1, 2, 2, 0)}
    assert set(drawn(2, STNET)) == {(0, 1, 0, 1, 1, 0)}


def test_test_clips_lie_at_equal_distances_from_the_first_frame_to_the_last() -> None:
    # 12 frames leave room for starts 0..8
    assert uniform_frames(12, CLIP).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert uniform_frames(12, replace(CLIP, test_clips=1)).tolist() == [[4, 5, 6, 7]]
    assert uniform_frames(5, CLIP).tolist() == [[0, 1, 2, 3], [1, 2, 3, 4]]  # starts 0, 0.5, 1; 0.5 rounds to 0


def test_test_triples_spread_over_each_segment() -> None:
    # thirds of 12 are 4 long: a quarter and three quarters of the 4 possible starts, the first and the third of them
    assert uniform_frames(12, TRIPLE).tolist() == [[0, 4, 8], [2, 6, 10]]


def test_a_single_set_of_segments_takes_their_middles() -> None:
    # quarters of 16 are 4 long, 3 starts each, the middle one is 1
    assert uniform_frames(16, STNET).tolist() == [[1, 2, 5, 6, 9, 10, 13, 14]]
    # of 5 frames with 4 starts it is the one at (5 - 2) // 2 = 1, as in StNet's code
    assert uniform_frames(20, STNET).tolist() == [[1, 2, 6, 7, 11, 12, 16, 17]]


@pytest.mark.parametrize("clip", [CLIP, TRIPLE, STNET, ClipInput(), replace(STNET, test_segments=25, frames=5)])
@pytest.mark.parametrize("num_frames", [1, 2, 5, 16, 17, 300])
def test_no_index_is_ever_outside_the_video(clip: ClipInput, num_frames: int) -> None:
    rng = np.random.default_rng(1)
    for frames in (random_frames(num_frames, clip, rng), *uniform_frames(num_frames, clip)):
        assert frames.min() >= 0
        assert frames.max() < num_frames
    assert random_frames(num_frames, clip, rng).shape == (clip.clip_frames,)
    assert len(uniform_frames(num_frames, clip)) <= clip.test_clips


def test_the_input_survives_a_model_file() -> None:
    clip = replace(STNET, stream="flow", preprocessing=FLOW_PREPROCESSING)
    assert ClipInput.from_dict(clip.to_dict()) == clip
    with pytest.raises(ValueError, match="unknown option 'speed'; ClipInput has stream"):
        ClipInput.from_dict({**clip.to_dict(), "speed": 1})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"sampling": "dense"}, "sampling must be one of clip, segments"),
        ({"frames": 0}, "frames must be 1 or more"),
        ({"crop": 121}, "do not fit"),
        ({"test_crop": 121}, "do not fit"),
        ({"stream": "flow"}, "flow has 2 channels, preprocessing 3"),
        ({"preprocessing": Preprocessing((0.5,), (0.5,))}, "rgb has 3 channels, preprocessing 1"),
    ],
)
def test_an_input_that_cannot_be_is_refused(change: dict, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        replace(ClipInput(), **change)
