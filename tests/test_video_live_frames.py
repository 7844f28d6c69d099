"""Live pictures from real streams: which come, when, which are dropped, and what happens when the stream breaks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tests.rtsp_server import RtspServer
from tests.stream_server import StreamServer
from tests.video_samples import number_of, write_numbered
from video.live_frames import LiveFrame, LiveReader
from video.source import VideoError

FAST = {"g": "10", "tune": "zerolatency", "preset": "ultrafast"}
FRAMES = 40  # at 25 a second


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("live") / "camera.ts"
    return write_numbered(path, frames=FRAMES, container="mpegts", options=FAST)


def numbers(frames: list[LiveFrame]) -> list[int]:
    return [number_of(frame.image) for frame in frames]


def test_a_stream_gives_all_pictures_in_order_at_their_times(stream: Path) -> None:
    with StreamServer(stream, seconds=[FRAMES / 25]) as server:
        reader = LiveReader(server.url, max_reconnects=0)
        assert (reader.width, reader.height, reader.stated_fps, reader.is_endless) == (96, 64, 25, True)
        frames = list(reader.frames())
    assert numbers(frames) == list(range(FRAMES))
    assert [frame.index for frame in frames] == list(range(FRAMES))
    assert [frame.seconds for frame in frames] == pytest.approx([k / 25 for k in range(FRAMES)])
    assert (reader.dropped, reader.reconnects, reader.failure) == (0, 0, None)
    # analysing the stream takes up to a second of it, the rest comes as the camera takes it
    assert 0.5 < frames[-1].arrived - frames[0].arrived < 4
    assert reader.fps == pytest.approx(25)


def test_a_broken_stream_is_connected_again_and_time_goes_on(stream: Path) -> None:
    """The second attempt is refused, the third connection is cut off too, and then nobody answers."""
    said: list[str] = []
    with StreamServer(stream, seconds=[1.0, 0, 1.0, 0], cut_after=[0.5]) as server:
        reader = LiveReader(server.url, max_reconnects=3, first_wait=0.1, tell=said.append)
        frames = list(reader.frames())
    first = [frame for frame in frames if frame.connection == 0]
    second = [frame for frame in frames if frame.connection == 1]
    assert len(first) + len(second) == len(frames) == reader.decoded
    assert 10 < len(first) < 30
    # the decoder makes up what is missing of the picture in which the connection broke off
    assert numbers(first)[:-1] == list(range(len(first) - 1))
    assert numbers(second)[:-1] == list(range(len(second) - 1))
    assert [frame.index for frame in frames] == list(range(len(frames)))  # frames are counted on
    gap = second[0].seconds - first[-1].seconds
    assert gap == pytest.approx(second[0].arrived - first[-1].arrived)
    assert gap > 0.1 + 0.2  # the pauses before the second and the third attempt
    assert all(before.seconds < after.seconds for before, after in pairwise(frames))
    assert reader.reconnects == 1
    assert server.connections == 4  # the server refused two of them
    assert [line.split(";")[0] for line in said] == [
        "the connection has ended",
        "Server returned 5XX Server Error reply",
        f"connected again after {len(first)} pictures",
        "the connection has ended",
    ]
    assert "connecting again in 0.2 s (2 of 3)" in said[1]
    assert reader.failure is not None
    assert "lost, and not back after 3 attempts" in reader.failure


def test_without_reconnects_the_end_of_a_stream_is_the_end(stream: Path) -> None:
    with StreamServer(stream, seconds=[0.4]) as server:
        reader = LiveReader(server.url, max_reconnects=0)
        assert len(list(reader.frames())) <= FRAMES
    assert reader.failure is None
    assert reader.decoded == FRAMES


def slowly(frames: Iterator[LiveFrame], seconds: float) -> list[LiveFrame]:
    taken = []
    for frame in frames:
        taken.append(frame)
        time.sleep(seconds)
    return taken


def test_a_slow_reader_loses_the_oldest_pictures_and_never_the_count(stream: Path) -> None:
    """A buffer of four, a reader three times as slow as the source: it gets runs of four pictures, and the delay is
    bounded by the buffer and the time it takes for a run."""
    reader = LiveReader(str(stream), buffer_frames=4)
    taken, delays = [], []
    for frame in reader.frames():
        delays.append(time.monotonic() - frame.arrived)
        taken.append(frame)
        time.sleep(3 / 25)
    assert numbers(taken) == [frame.index for frame in taken]  # the index is that of the picture
    assert [frame.seconds for frame in taken] == pytest.approx([frame.index / 25 for frame in taken])
    assert reader.decoded == FRAMES
    assert reader.dropped == FRAMES - len(taken) > FRAMES / 3
    assert taken[-1].index == FRAMES - 1  # the newest is there, the oldest went
    assert max(delays) < 4 / 25 + 4 * 3 / 25 + 0.5
    steps = [after.index - before.index for before, after in pairwise(taken)]
    assert steps.count(1) >= 0.6 * len(steps)  # three of four


def test_with_a_stride_every_so_many_pictures_are_taken_and_fewer_may_wait(stream: Path) -> None:
    reader = LiveReader(str(stream))
    reader.stride = 3
    frames = list(reader.frames())
    assert [frame.index for frame in frames] == list(range(0, FRAMES, 3)) == numbers(frames)
    assert {frame.stride for frame in frames} == {3}
    assert (reader.decoded, reader.dropped) == (FRAMES, 0)
    # a file plays at its own speed
    assert frames[-1].arrived - frames[0].arrived == pytest.approx(39 / 25, abs=0.3)


def test_pictures_that_lay_waiting_when_the_connection_was_made_are_hurried_through(stream: Path) -> None:
    """Four fifths come at once; the buffer takes eight."""
    with StreamServer(stream, seconds=[FRAMES / 25], at_once=0.8) as server:
        reader = LiveReader(server.url, max_reconnects=0, buffer_frames=8)
        frames = slowly(reader.frames(), 0.01)
    assert reader.hurried > 15
    assert reader.dropped == 0  # none of them for want of speed
    assert reader.hurried + len(frames) == FRAMES
    assert numbers(frames)[-10:] == list(range(FRAMES - 10, FRAMES))


def test_a_camera_without_time_stamps_has_the_times_of_arrival(tmp_path: Path) -> None:
    """FFmpeg makes 25 pictures a second of it; twelve come."""
    path = write_numbered(tmp_path / "camera.mjpg", "mjpeg", frames=18, container="mpjpeg", pix_fmt="yuvj420p")
    with StreamServer(path, seconds=[1.5]) as server:
        reader = LiveReader(server.url, max_reconnects=0)
        frames = list(reader.frames())
    assert numbers(frames) == list(range(18))
    times = [frame.arrived - frames[0].arrived for frame in frames]
    assert [frame.seconds for frame in frames] == pytest.approx(times, abs=0.01)
    assert times[-1] == pytest.approx(17 / 12, abs=0.3)


def test_rtsp() -> None:
    with RtspServer(25) as server:
        reader = LiveReader(server.url, max_reconnects=0)
        frames = list(reader.frames())
    assert "secret" not in reader.name
    assert numbers(frames) == list(range(25))
    assert [frame.seconds for frame in frames] == pytest.approx([k / 25 for k in range(25)], abs=0.005)


def test_large_pictures_are_scaled_down_as_they_are_decoded(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "large.mp4", frames=2, width=400, height=300)
    reader = LiveReader(str(path), max_height=150)
    assert (reader.full_width, reader.full_height, reader.width, reader.height) == (400, 300, 200, 150)
    assert [frame.image.shape for frame in reader.frames()] == [(150, 200, 3)] * 2


def test_a_connection_with_another_size_is_scaled_to_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = write_numbered(tmp_path / "small.ts", frames=5, container="mpegts", options=FAST)
    large = write_numbered(tmp_path / "large.ts", frames=5, container="mpegts", options=FAST, width=192, height=96)
    with StreamServer(small, seconds=[0.2]) as first, StreamServer(large, seconds=[0.2]) as second:
        reader = LiveReader(first.url, max_reconnects=1, first_wait=0.05)
        reader._path = second.url
        shapes = {frame.connection: frame.image.shape for frame in reader.frames()}
    assert shapes == {0: (64, 96, 3), 1: (64, 96, 3)}


def test_a_folder_of_pictures_plays_at_the_usual_rate(tmp_path: Path) -> None:
    from PIL import Image

    for k in range(6):
        Image.fromarray(np.full((20, 30, 3), 40 * k, np.uint8)).save(tmp_path / f"{k}.png")
    frames = list(LiveReader(str(tmp_path)).frames())
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [0, 40, 80, 120, 160, 200]
    assert [frame.seconds for frame in frames] == pytest.approx([k / 25 for k in range(6)])


def test_it_ends_after_so_many_pictures_and_when_asked(stream: Path) -> None:
    reader = LiveReader(str(stream), max_frames=7)
    assert len(list(reader.frames())) == reader.decoded == 7
    asked = iter([False, False, True])
    assert len(list(LiveReader(str(stream)).frames(lambda: next(asked)))) <= 2
    reader = LiveReader(str(stream))
    frames = reader.frames()
    next(frames)
    reader.close()
    assert len(list(frames)) < FRAMES - 1
    assert not reader._thread.is_alive()


def test_what_cannot_be_opened_says_why() -> None:
    with pytest.raises(VideoError, match="camera 97: there is no /dev/video97; is the camera plugged in"):
        LiveReader("97")
    with pytest.raises(VideoError, match="refused"):
        LiveReader("http://127.0.0.1:9/camera.ts")
