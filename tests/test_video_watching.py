"""One pass over a video: everybody sees every frame, some keep a few."""

from pathlib import Path

import numpy as np
import pytest

from linking.records import Tube
from tests.video_samples import number_of, numbered_frame, write_numbered
from video.frames import VideoError
from video.watching import Crops, SpreadFrames, together, watch_video


def tube(first: int, count: int, box=(10, 10, 50, 60)) -> Tube:
    return Tube("run", np.arange(first, first + count), np.tile(np.float32(box), (count, 1)))


def test_every_frame_is_shown_once_to_everybody(tmp_path: Path) -> None:
    video = write_numbered(tmp_path / "x.mp4", frames=9)
    seen: list[tuple[str, int, int]] = []
    done: list[int] = []
    watch = together([lambda k, frame, who=who: seen.append((who, k, number_of(frame))) for who in "ab"])
    assert watch_video(video, watch, [tube(0, 9)], progress=done.append) == 9
    assert seen == [(who, k, k) for k in range(9) for who in "ab"]
    assert done == list(range(1, 10))


def test_tubes_of_another_video_are_refused(tmp_path: Path) -> None:
    video = write_numbered(tmp_path / "x.mp4", frames=9)
    with pytest.raises(VideoError, match="has a box in frame 9, but the video has 9 frames"):
        watch_video(video, lambda *_: None, [tube(0, 10)])
    with pytest.raises(VideoError, match="lies outside the picture of 96x64"):
        watch_video(video, lambda *_: None, [tube(0, 1, (100, 0, 120, 9))])


@pytest.mark.parametrize(("length", "frames"), [(5, [0, 1, 2, 4]), (20, [0, 5, 10, 15]), (1000, [0, 256, 496, 752])])
def test_pictures_are_spread_over_a_video_of_unknown_length(length: int, frames: list[int]) -> None:
    spread = SpreadFrames(4)
    for number in range(length):
        spread.see(number, np.full((4, 6, 3), number % 256, np.uint8))
        assert len(spread._kept) <= 16 * 4, "memory does not grow"
    found = spread.pictures(length)
    assert sorted(found) == frames
    assert {number: picture[0, 0, 0] for number, picture in found.items()} == {k: k % 256 for k in frames}


def test_pictures_of_large_videos_are_small_and_none_are_kept_in_vain() -> None:
    spread, none = SpreadFrames(2, height=10), SpreadFrames(0)
    for each in (spread, none):
        each.see(0, np.zeros((40, 60, 3), np.uint8))
    assert spread.pictures(1)[0].shape == (10, 15, 3)
    assert none.pictures(1) == {}
    assert SpreadFrames(3).pictures(0) == {}


def test_crops_are_centred_on_the_box_at_the_scale_of_the_largest() -> None:
    boxes = np.float32([[100, 100, 140, 160], [100, 100, 180, 180]])
    crops = Crops([Tube("run", np.array([3, 5]), boxes)], 2, width=80, height=100)
    for number in range(8):
        crops.see(number, np.full((400, 400, 3), number, np.uint8))
    first, second = crops.of(0)
    assert (first.frame, second.frame) == (3, 5)
    # the largest box is 80 x 80; in a window of 4 : 5 its width asks for 100 pixels of height, and a quarter of room
    assert first.window == (120 - 50, 130 - 62.5, 120 + 50, 130 + 62.5)
    assert second.window == (140 - 50, 140 - 62.5, 140 + 50, 140 + 62.5)
    assert first.picture.shape == (100, 80, 3)
    assert (first.picture == 3).all()


def test_crops_at_the_border_are_moved_into_the_picture() -> None:
    crops = Crops([tube(0, 1, (0, 0, 40, 50))], 1)
    crops.see(0, np.zeros((200, 200, 3), np.uint8))
    assert crops.of(0)[0].window == (0, 0, 50, 62.5)


def test_crops_larger_than_the_picture_are_padded() -> None:
    frame = numbered_frame(5, width=30, height=64)
    crops = Crops([tube(0, 1, (0, 0, 30, 64))], 1, width=80, height=100)
    crops.see(0, frame)
    (crop,) = crops.of(0)
    # 64 x 5/4 = 80 high and 64 wide: 17 empty columns at each side of 30 pixels, 8 rows above and below
    assert crop.window == (-17, -8, 47, 72)
    assert (crop.picture[:, :20] == 232).all()
    assert (crop.picture[:9] == 232).all()
    assert not (crop.picture[12:88, 25:55] == 232).all(axis=2).all()


def test_boxes_that_stand_out_of_the_picture_are_cut_out_all_the_same() -> None:
    crops = Crops([tube(0, 1, (-50, -70, 20, 30)), tube(0, 1, (29.5, 30, 500, 700))], 1)
    crops.see(0, np.zeros((33, 31, 3), np.uint8))
    assert [crops.of(k)[0].picture.shape for k in range(2)] == [(200, 160, 3)] * 2
