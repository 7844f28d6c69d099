import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.video_samples import HEIGHT, WIDTH, number_of, numbered_frame, write_numbered
from video.clips import ClipReader, read_video
from video.frames import VideoError

LENGTH = 80  # several groups of pictures

KINDS = {
    "h264.mp4": {"options": {"g": "12"}},
    "open_gop.mp4": {"options": {"x264-params": "open-gop=1:bframes=3:keyint=16:scenecut=0"}},
    "intra_refresh.mp4": {"options": {"g": "24", "x264-params": "intra-refresh=1"}},
    "transport.ts": {"options": {"g": "12"}},
    "mpeg4_b_frames.avi": {"codec": "mpeg4", "options": {"bf": "2", "g": "12"}},
    "mpeg2.mpg": {"codec": "mpeg2video", "options": {"bf": "2", "g": "12"}},
    "no_time_stamps.h264": {"options": {"g": "12"}, "container": "h264"},
    "raw_stream_named.mp4": {"codec": "mpeg4", "container": "m4v", "options": {"g": "12", "bf": "2"}},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"g": "24", "deadline": "realtime", "cpu-used": "8"}},
    "motion_jpeg.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
}


@pytest.mark.parametrize("name", KINDS)
def test_any_clip_equals_the_frames_read_from_the_start(tmp_path: Path, name: str) -> None:
    path = write_numbered(tmp_path / name, frames=LENGTH, **KINDS[name])
    everything = read_video(path)
    assert [number_of(frame) for frame in everything] == list(range(LENGTH))
    reader = ClipReader(path)
    assert reader.num_frames == LENGTH
    random = np.random.default_rng(1)
    for _ in range(8):
        start, stride = int(random.integers(0, LENGTH - 24)), int(random.integers(1, 4))
        indices = start + stride * np.arange(8)
        assert np.array_equal(reader.read(indices), everything[indices])
    scattered = [70, 3, 41, 41, 0, 79]
    assert np.array_equal(reader.read(scattered), everything[scattered])


def test_a_wrong_list_of_key_frames_costs_time_only(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "x.mp4", frames=LENGTH, options={"g": "40"})
    reader = ClipReader(path)
    reader._index = replace(reader.index, keys=np.ones(LENGTH, bool))  # decoding may not start at every frame
    assert [number_of(frame) for frame in reader.read([30, 50, 79])] == [30, 50, 79]


def test_a_frame_that_is_not_the_one_of_the_index_is_never_given(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "x.mp4", frames=LENGTH, options={"g": "12"})
    reader = ClipReader(path)
    times = np.roll(reader.index.times, 1)  # the labels lie: each frame carries that of its neighbour
    reader._index = replace(reader.index, times=times)
    assert [number_of(frame) for frame in reader.read([30, 50])] == [30, 50]


def test_a_reader_travels_with_its_index_and_opens_nothing_before_use(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "x.mp4", frames=12)
    untouched = pickle.dumps(ClipReader(path))
    reader = ClipReader(path)
    assert reader.num_frames == 12
    travelled = pickle.loads(pickle.dumps(reader))
    assert travelled._index is not None
    assert number_of(travelled.read([7])[0]) == 7
    path.unlink()
    assert travelled.num_frames == 12
    with pytest.raises(VideoError, match="no such file"):
        pickle.loads(untouched).read([0])


def test_size_and_rate_are_those_of_the_upright_picture(tmp_path: Path) -> None:
    reader = ClipReader(write_numbered(tmp_path / "x.mp4", frames=3, rotation=90, fps=30))
    assert (reader.width, reader.height, reader.fps) == (HEIGHT, WIDTH, 30)
    assert reader.read([0]).shape == (1, WIDTH, HEIGHT, 3)


def test_no_index_is_an_empty_clip(tmp_path: Path) -> None:
    assert ClipReader(write_numbered(tmp_path / "x.mp4", frames=3)).read([]).shape == (0, HEIGHT, WIDTH, 3)


@pytest.mark.parametrize("index", [-1, 3])
def test_an_index_outside_the_video_is_an_error(tmp_path: Path, index: int) -> None:
    reader = ClipReader(write_numbered(tmp_path / "x.mp4", frames=3))
    with pytest.raises(VideoError, match=f"there is no frame {index}; it has frames 0 to 2"):
        reader.read([0, index])


def test_folders_of_pictures_are_read_in_place(tmp_path: Path) -> None:
    for number in range(11):
        Image.fromarray(numbered_frame(number)).save(tmp_path / f"{number}.png")
    reader = ClipReader(tmp_path)
    assert (reader.num_frames, reader.width, reader.height) == (11, WIDTH, HEIGHT)
    clip = reader.read([10, 2, 2])
    assert np.array_equal(clip, np.stack([numbered_frame(10), numbered_frame(2), numbered_frame(2)]))


def test_frames_are_scaled_on_request(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "x.mp4", frames=3)
    whole = read_video(path, size=(32, 48))
    assert whole.shape == (3, 32, 48, 3)
    assert np.array_equal(ClipReader(path).read([2, 0], size=(32, 48)), whole[[2, 0]])
    assert np.abs(whole[0].mean(axis=(0, 1)) - read_video(path)[0].mean(axis=(0, 1))).max() < 2


def test_what_a_damaged_video_lost_is_told(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "x.mp4", frames=48, container_options={"movflags": "+faststart"})
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 3 // 4])
    reader = ClipReader(path)
    assert reader.num_frames == len(read_video(path)) < 48
    assert "cut off" in reader.index.warnings[0]
    last = reader.num_frames - 1
    assert np.array_equal(reader.read([last])[0], read_video(path)[last])
