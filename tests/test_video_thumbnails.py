import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from linking.colours import tube_colour
from linking.records import Tube
from tests.video_samples import HEIGHT, WIDTH, number_of, write_numbered
from video.drawing import annotate_video
from video.thumbnails import HEIGHT as TALL
from video.thumbnails import MAX_WIDTH, Thumbnails, spread_frames, thumbnails_for

BOX = np.float32([100, 100, 300, 300])


def tube(frames: int, *, first: int = 0, number: int = 0) -> Tube:
    return Tube("run", np.arange(first, first + frames), np.tile(BOX, (frames, 1)), id=number)


@pytest.mark.parametrize(
    ("frames", "count", "expected"),
    [
        pytest.param(11, 6, [5, 7, 9, 11, 13, 15], id="first and last among them"),
        pytest.param(2, 6, [5, 6], id="each once"),
        pytest.param(1, 3, [5], id="one frame"),
        pytest.param(11, 1, [10], id="one picture is the middle"),
    ],
)
def test_frames_are_spread_over_the_tube(frames: int, count: int, expected: list[int]) -> None:
    assert spread_frames(tube(frames, first=5), count) == expected


def test_each_tube_gets_pictures_with_its_own_box_only() -> None:
    tubes = [tube(3, number=0), tube(3, first=2, number=1)]
    thumbnails = Thumbnails(tubes, count=2)
    for number in range(4):
        thumbnails.see(number, np.full((400, 600, 3), 128, np.uint8))
    assert [picture.frame for picture in thumbnails.of(tubes[0])] == [0, 2]
    assert [picture.frame for picture in thumbnails.of(tubes[1])] == [2], "frame 4 was not seen"
    for number in (0, 1):
        picture = thumbnails.of(tubes[number])[0]
        assert (picture.width, picture.height) == (600 * TALL // 400, TALL)
        image = np.asarray(Image.open(io.BytesIO(picture.jpeg)))
        assert image.shape == (picture.height, picture.width, 3)
        # the line of the box, three pixels wide: its left edge lies at 100 * 132 / 400
        line = image[TALL // 2, 33:36].astype(int)
        assert np.abs(line - tube_colour(number)).max(axis=1).min() < 60


def test_wide_pictures_keep_their_shape() -> None:
    thumbnails = Thumbnails([tube(1)])
    thumbnails.see(0, np.zeros((100, 1000, 3), np.uint8))
    (picture,) = thumbnails.of(tube(1))
    assert (picture.width, picture.height) == (MAX_WIDTH, round(MAX_WIDTH / 10))


def test_pages_of_many_videos_get_fewer_pictures() -> None:
    tubes = [tube(100, number=k) for k in range(30)]
    frame = np.zeros((40, 60, 3), np.uint8)
    for videos, each in [(1, 6), (20, 6), (21, 3), (101, 1)]:
        thumbnails = thumbnails_for(tubes, videos)
        for number in range(100):
            thumbnails.see(number, frame)
        assert [len(thumbnails.of(one)) for one in tubes] == [each] * 12 + [0] * 18


def test_they_are_taken_while_a_video_is_annotated(tmp_path: Path) -> None:
    seen: dict[int, int] = {}
    source = write_numbered(tmp_path / "numbers.mp4", frames=5)

    def watch(number: int, frame: np.ndarray) -> None:
        assert frame.shape == (HEIGHT, WIDTH, 3)
        seen[number] = number_of(frame)

    annotate_video(source, tmp_path / "out.mp4", [], watch=watch)
    assert seen == {k: k for k in range(5)}
