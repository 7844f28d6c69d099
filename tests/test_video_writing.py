import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from tests.video_samples import HEIGHT, WIDTH, number_of, numbered_frame
from video import writing
from video.clips import read_video
from video.frames import VideoError, open_video
from video.writing import VideoWriter


def write(path: Path, count: int = 5, *, width: int = WIDTH, height: int = HEIGHT, fps: float = 25) -> Path:
    with VideoWriter(path, width=width, height=height, fps=fps) as writer:
        for number in range(count):
            writer.write(numbered_frame(number, width=width, height=height))
    return path


def test_frames_and_colours_come_back(tmp_path: Path) -> None:
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [120, 60, 200]], np.uint8)
    frame = np.repeat(np.repeat(colours[None], 32, axis=1), 32, axis=0)  # four upright stripes
    with VideoWriter(tmp_path / "x.mp4", width=128, height=32, fps=25) as writer:
        for _ in range(3):
            writer.write(frame)
    back = read_video(tmp_path / "x.mp4")
    assert back.shape == (3, 32, 128, 3)
    assert np.abs(back[:, 16, 16::32].astype(int) - colours).max() <= 8


def test_every_browser_can_play_it(tmp_path: Path) -> None:
    path = write(tmp_path / "x.mp4")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert next(container.decode(stream)).colorspace == 1  # BT.709, stated
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat"), (
        "the index must stand in front for playing while loading"
    )


def test_the_same_frames_give_the_same_file(tmp_path: Path) -> None:
    files = {write(tmp_path / f"{k}.mp4", 20).read_bytes() for k in range(3)}
    assert len(files) == 1


@pytest.mark.parametrize(("width", "height"), [(95, 63), (95, 64), (96, 63), (1, 1)])
def test_odd_pictures_are_extended_to_even_ones(tmp_path: Path, width: int, height: int) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (1, 1, 3), np.uint8).repeat(height, 0).repeat(width, 1)
    with VideoWriter(tmp_path / "x.mp4", width=width, height=height, fps=25) as writer:
        writer.write(frame)
    (back,) = read_video(tmp_path / "x.mp4")
    assert back.shape == (height + height % 2, width + width % 2, 3)
    assert np.abs(back.astype(int) - frame[0, 0]).max() <= 8  # no black edge


@pytest.mark.parametrize("fps", [29.97, 30000 / 1001, 23.976, 12.5, 1 / 3, 240])
def test_fractions_of_frames_a_second_are_kept(tmp_path: Path, fps: float) -> None:
    with open_video(write(tmp_path / "x.mp4", fps=fps)) as source:
        assert source.fps == pytest.approx(fps, rel=1e-6)
        assert [number_of(frame) for frame in source] == [0, 1, 2, 3, 4]


def write_and_stop(path: Path, after: int) -> None:
    with VideoWriter(path, width=WIDTH, height=HEIGHT, fps=25) as writer:
        for number in range(after):
            writer.write(numbered_frame(number))
        raise KeyboardInterrupt


@pytest.mark.parametrize("after", [0, 3])
def test_an_error_leaves_nothing_behind(tmp_path: Path, after: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        write_and_stop(tmp_path / "x.mp4", after)
    assert list(tmp_path.iterdir()) == []


def test_an_error_leaves_the_file_that_was_there(tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    path.write_text("precious")
    with (
        pytest.raises(VideoError, match="at least one frame"),
        VideoWriter(path, width=64, height=64, fps=25),
    ):
        pass
    assert path.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((HEIGHT, WIDTH + 2, 3), np.uint8),
        np.zeros((HEIGHT, WIDTH, 3)),
        np.zeros((HEIGHT, WIDTH), np.uint8),
    ],
)
def test_a_frame_of_another_kind_is_an_error(tmp_path: Path, frame: np.ndarray) -> None:
    with (
        pytest.raises(VideoError, match="expected frames of"),
        VideoWriter(tmp_path / "x.mp4", width=WIDTH, height=HEIGHT, fps=25) as writer,
    ):
        writer.write(frame)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", [{"width": 0}, {"height": -2}, {"fps": 0}, {"fps": float("nan")}])
def test_impossible_sizes_and_rates_are_errors(tmp_path: Path, wrong: dict) -> None:
    with pytest.raises(VideoError, match="cannot write"):
        VideoWriter(tmp_path / "x.mp4", **{"width": 64, "height": 64, "fps": 25, **wrong})


def test_places_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "x.mp4", tmp_path / "x.unknown"):
        with pytest.raises(VideoError, match="cannot be written") as caught:
            write(path)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize(("without", "codec"), [({"libx264"}, "vp9"), ({"libx264", "libvpx-vp9"}, "mpeg4")])
def test_builds_without_an_encoder_use_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without: set, codec: str
) -> None:
    monkeypatch.setattr(writing.av, "codecs_available", set(av.codecs_available) - without)
    path = write(tmp_path / "x.mp4")
    with av.open(str(path)) as container:
        assert codec in container.streams.video[0].codec_context.name
    assert [number_of(frame) for frame in read_video(path)] == [0, 1, 2, 3, 4]


def test_webm_gets_a_codec_that_it_takes(tmp_path: Path) -> None:
    assert [number_of(frame) for frame in read_video(write(tmp_path / "x.webm"))] == [0, 1, 2, 3, 4]


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    program = f"""
import resource, numpy as np
from video.writing import VideoWriter
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
noise = np.random.default_rng(0)
try:
    with VideoWriter({str(tmp_path / "x.mp4")!r}, width=320, height=240, fps=25) as writer:
        for _ in range(100):
            writer.write(noise.integers(0, 256, (240, 320, 3), np.uint8))
except ValueError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"{tmp_path / 'x.mp4'}: cannot be written (File too large)"
    assert list(tmp_path.iterdir()) == []
