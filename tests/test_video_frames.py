import os
import re
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tests.video_samples import HEIGHT, WIDTH, number_of, numbered_frame, write_numbered, write_sound
from video.frames import UNKNOWN_FPS, VideoError, open_video
from video.signatures import announced_bytes


def numbers_of(path) -> list[int]:
    with open_video(path) as source:
        return [number_of(frame) for frame in source]


KINDS = {
    "x.mp4": {},
    "x.mov": {},
    "x.mkv": {},
    "x.ts": {},
    "open_gop.mp4": {"options": {"x264-params": "open-gop=1:bframes=3:keyint=8"}},
    "x.webm": {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}},
    "b_frames.avi": {"codec": "mpeg4", "options": {"bf": "2", "g": "6"}},
    "raw_stream_named.mp4": {"codec": "mpeg4", "container": "m4v", "options": {"bf": "2"}},
    "x.gif": {"codec": "gif", "pix_fmt": "rgb8"},
    "motion_jpeg.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
}


@pytest.mark.parametrize("name", KINDS)
def test_every_container_gives_its_frames_in_order(tmp_path: Path, name: str) -> None:
    path = write_numbered(tmp_path / name, **KINDS[name])
    with open_video(path) as source:
        assert (source.width, source.height) == (WIDTH, HEIGHT)
        assert source.fps == pytest.approx(25)
        assert not source.is_live
        frames = list(source)
        assert source.num_damaged == 0
        assert source.warnings == []
    assert [number_of(frame) for frame in frames] == list(range(20))
    assert all(frame.shape == (HEIGHT, WIDTH, 3) and frame.dtype == np.uint8 for frame in frames)


def test_colours_survive(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "x.mp4", frames=1, options={"crf": "1"})
    with open_video(path) as source:
        (frame,) = source
    assert np.abs(frame.astype(int) - numbered_frame(0)).mean() < 6


def test_frames_come_one_at_a_time_and_once(tmp_path: Path) -> None:
    with open_video(write_numbered(tmp_path / "x.mp4")) as source:
        frames = iter(source)
        assert number_of(next(frames)) == 0
        assert number_of(next(frames)) == 1
        with pytest.raises(RuntimeError, match="read once"):
            iter(source)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_pictures_stand_upright(tmp_path: Path, degrees: int) -> None:
    path = write_numbered(tmp_path / "phone.mp4", frames=3, rotation=degrees)
    turned = degrees % 180 != 0
    with open_video(path) as source:
        assert (source.width, source.height) == ((HEIGHT, WIDTH) if turned else (WIDTH, HEIGHT))
        frames = list(source)
    with av.open(str(path)) as raw:
        stored = [frame.to_ndarray(format="rgb24") for frame in raw.decode(video=0)]
        asked = next(av.open(str(path)).decode(video=0)).rotation
    assert asked % 90 == 0
    assert asked % 360 != 0
    for frame, original in zip(frames, stored):
        assert np.array_equal(frame, np.rot90(original, asked // 90))


def test_a_title_that_is_not_utf8_does_no_harm(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "x.avi", "mpeg4", title="AAAATITLE")
    path.write_bytes(path.read_bytes().replace(b"AAAATITLE", b"\xd3AAATITLE"))
    assert numbers_of(path) == list(range(20))


def test_a_picture_that_changes_its_size_is_scaled_to_the_first(tmp_path: Path) -> None:
    small = write_numbered(tmp_path / "small.m4v", "mpeg4", frames=4, container="m4v")
    large = write_numbered(
        tmp_path / "large.m4v", "mpeg4", frames=4, container="m4v", width=2 * WIDTH, height=2 * HEIGHT
    )
    path = tmp_path / "both.m4v"
    path.write_bytes(small.read_bytes() + large.read_bytes())
    with open_video(path) as source:
        assert {frame.shape for frame in source} == {(HEIGHT, WIDTH, 3)}
        assert len(source.warnings) == 1
        assert f"changes to {2 * WIDTH}x{2 * HEIGHT}" in source.warnings[0]


@pytest.mark.parametrize("name", ["50%d.mp4", "a:b.mp4", "concat:x.mp4", "spaß [1] *.mp4", "-i.mp4", "0.mp4"])
def test_names_are_taken_literally(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_numbered(tmp_path / "x.mp4", frames=2).rename(tmp_path / name)
    assert numbers_of(name) == [0, 1]


# what cannot be used: one line that names the file and guesses the cause


def refusal(source) -> str:
    with pytest.raises(VideoError) as caught:
        open_video(source)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 300 + len(str(source))
    return message


PLAYLIST = "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:9.9,\ngood.mp4\n#EXT-X-ENDLIST\n"
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "empty"),
        (b"hello\n" * 50, "text file"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "web page"),
        (LFS.encode(), "git lfs pull"),
        (PLAYLIST.encode(), "playlist"),
        (b"ffconcat version 1.0\nfile good.mp4\n", "playlist"),
        (bytes(5000), "zeros"),
        (b"PK\x03\x04" + bytes(100), "zip"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "picture"),
        (np.random.default_rng(0).bytes(3000), "not a known video format"),
    ],
)
def test_files_that_are_no_video_say_what_they_are(tmp_path: Path, content: bytes, cause: str) -> None:
    write_numbered(tmp_path / "good.mp4", frames=2)  # what the playlists point at
    path = tmp_path / "bad.mp4"
    path.write_bytes(content)
    message = refusal(path)
    assert str(path) in message
    assert cause in message


def test_missing_things_are_named(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "nothing.mp4")
    assert "no pictures" in refusal(tmp_path)
    assert "is the camera plugged in" in refusal("/dev/video987")
    assert "not the name of a video" in refusal("")


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    assert "neither a file nor a folder" in refusal(tmp_path / "pipe.mp4")


@pytest.mark.parametrize(("name", "codec"), [("sound.mp3", "mp3"), ("sound.mp4", "aac")])
def test_sound_alone_is_no_video(tmp_path: Path, name: str, codec: str) -> None:
    assert re.search("sound only|only audio", refusal(write_sound(tmp_path / name, codec)))


def test_the_cover_of_a_song_is_no_video(tmp_path: Path) -> None:
    Image.fromarray(numbered_frame(0)).save(tmp_path / "cover.jpg")
    song = write_sound(tmp_path / "song.mp4", "aac", cover=(tmp_path / "cover.jpg").read_bytes())
    assert "only audio" in refusal(song)


def test_a_recording_without_its_index_is_named_so(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "x.mp4")
    path.write_bytes(path.read_bytes()[:-1500])
    assert "moov" in refusal(path)


def test_a_video_without_one_readable_frame_is_an_error(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "x.mp4")
    data = bytearray(path.read_bytes())
    start, end = data.index(b"mdat") + 4, data.index(b"moov") - 4
    data[start:end] = bytes(end - start)
    path.write_bytes(data)
    assert "not one frame can be decoded" in refusal(path)


def test_pictures_above_the_limit_are_refused_before_decoding(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "x.mp4", frames=2)
    with open_video(path, max_pixels=WIDTH * HEIGHT) as source:
        assert len(list(source)) == 2
    with pytest.raises(
        VideoError, match=f"{WIDTH}x{HEIGHT} pixels are more than the limit of {WIDTH * HEIGHT - 1}"
    ):
        open_video(path, max_pixels=WIDTH * HEIGHT - 1)


# damage: what can be read is read, what is lost is told


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("x.mp4", {"container_options": {"movflags": "+faststart"}}),
        ("x.mkv", {}),
        ("x.avi", {"codec": "mpeg4"}),
    ],
)
def test_a_file_that_is_cut_off_gives_its_beginning_and_a_warning(
    tmp_path: Path, name: str, arguments: dict
) -> None:
    path = write_numbered(tmp_path / name, frames=48, **arguments)
    data = path.read_bytes()
    assert announced_bytes(path) == len(data)
    path.write_bytes(data[: len(data) * 3 // 4])
    with open_video(path) as source:
        numbers = [number_of(frame) for frame in source]
        (warning,) = source.warnings
    assert 1 <= len(numbers) < 48
    # the very last frames may lack what they are predicted from
    assert numbers[:-4] == list(range(len(numbers) - 4))
    assert "cut off" in warning
    assert f"{len(numbers)} of 48 frames" in warning


def test_concealed_damage_is_told(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "x.mp4", frames=48, options={"bf": "0"})  # the same bytes every time
    data = bytearray(path.read_bytes())
    start, end = data.index(b"mdat") + 200, data.index(b"moov") - 100
    for place in np.random.default_rng(3).integers(start, end, 40):
        data[place] ^= 0x10
    path.write_bytes(data)
    with open_video(path) as source:
        count = sum(1 for _ in source)
        (warning,) = source.warnings
        lost = source.num_damaged
    assert f"lost packets: {lost}" in warning
    assert f"{count} of 48 frames" in warning
    assert "concealed errors: 0" not in warning


# folders of pictures


def save_pictures(folder: Path, names: list[str], *, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Path:
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        Image.fromarray(numbered_frame(number, width=size[0], height=size[1])).save(folder / name)
    return folder


@pytest.mark.parametrize("suffix", ["jpg", "JPEG", "png", "bmp", "webp"])
def test_a_folder_of_pictures_is_a_video_in_natural_order(tmp_path: Path, suffix: str) -> None:
    folder = save_pictures(tmp_path / "frames", [f"frame{k}.{suffix}" for k in range(12)])  # 2 before 10
    (folder / "notes.txt").write_text("not a picture")
    (folder / f"._frame0.{suffix}").write_bytes(b"what macOS leaves behind")
    with open_video(folder) as source:
        assert (source.width, source.height, source.fps) == (WIDTH, HEIGHT, UNKNOWN_FPS)
        assert [number_of(frame) for frame in source] == list(range(12))


def test_pictures_of_two_sizes_are_an_error_that_names_both(tmp_path: Path) -> None:
    folder = save_pictures(tmp_path / "frames", ["1.png", "2.png"])
    Image.new("RGB", (10, 20)).save(folder / "3.png")
    message = refusal(folder)
    assert f"1.png is {WIDTH}x{HEIGHT}" in message
    assert "3.png is 10x20" in message


def test_a_damaged_picture_is_an_error_because_a_skip_would_move_the_others(tmp_path: Path) -> None:
    folder = save_pictures(tmp_path / "frames", ["1.png", "2.png", "3.png"])
    data = (folder / "2.png").read_bytes()
    (folder / "2.png").write_bytes(data[: len(data) // 2])
    with open_video(folder) as source, pytest.raises(VideoError, match=r"2\.png: cannot read this picture"):
        list(source)


def test_a_picture_with_too_many_pixels_is_refused_by_its_header(tmp_path: Path) -> None:
    folder = save_pictures(tmp_path / "frames", ["1.png"])
    with pytest.raises(VideoError, match="more than the limit"):
        open_video(folder, max_pixels=WIDTH * HEIGHT - 1)


def test_photos_are_turned_as_their_exif_tag_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side: turn a quarter clockwise
    (tmp_path / "frames").mkdir()
    Image.fromarray(numbered_frame(5)).save(tmp_path / "frames" / "1.png", exif=exif)
    with open_video(tmp_path / "frames") as source:
        assert (source.width, source.height) == (HEIGHT, WIDTH)
        (frame,) = source
    assert np.array_equal(frame, np.rot90(numbered_frame(5), -1))


# streams


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path):
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(tmp_path))) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_a_video_is_read_from_a_url(tmp_path: Path, server: str) -> None:
    write_numbered(tmp_path / "x.ts")
    with open_video(f"http://user:secret@{server}/x.ts") as source:
        assert "secret" not in source.name
        assert [number_of(frame) for frame in source] == list(range(20))


def test_a_playlist_from_a_server_cannot_open_local_files(tmp_path: Path, server: str) -> None:
    local = write_numbered(tmp_path / "local.ts", frames=2)
    (tmp_path / "evil.m3u8").write_text(f"#EXTM3U\n#EXTINF:1,\nfile://{local}\n#EXT-X-ENDLIST\n")
    with pytest.raises(VideoError):
        open_video(f"http://{server}/evil.m3u8")


def test_a_url_that_cannot_be_had_fails_without_its_password(server: str) -> None:
    message = refusal(f"http://user:secret@{server}/nothing.mp4")
    assert "404" in message
    assert "secret" not in message
    assert "refused" in refusal("rtsp://127.0.0.1:9/camera")
