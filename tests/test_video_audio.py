"""Sound of videos: on the clock of the pictures, whatever the container makes of it."""

import struct

import av
import numpy as np
import pytest

from tests.sound_samples import tone, write_video_with_sound
from tests.video_samples import write_numbered
from video.audio import Sound, read_sound
from video.container import open_container
from video.source import VideoError

RATE = 16000


def loud(samples, step=RATE // 20):
    """First and last second in which there is more than silence, to 0.05 s."""
    places = np.flatnonzero([np.abs(samples[i : i + step]).max() > 0.1 for i in range(0, len(samples), step)])
    return places[0] * step / RATE, (places[-1] + 1) * step / RATE


@pytest.mark.parametrize("suffix", ["mkv", "mov", "avi"])
def test_a_track_of_the_wanted_rate_comes_as_it_was_written(tmp_path, suffix):
    written = tone(440)
    sound = read_sound(write_video_with_sound(tmp_path / f"a.{suffix}", written))
    assert (sound.rate, sound.start, sound.num_damaged) == (RATE, 0, 0)
    assert sound.samples.dtype == np.float32
    assert np.abs(sound.samples - written).max() < 2 / 32767


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_other_rates_are_resampled(tmp_path, rate):
    sound = read_sound(write_video_with_sound(tmp_path / "a.mkv", tone(440, 1, rate), rate=rate))
    assert abs(len(sound.samples) - RATE) <= 2
    middle = slice(1000, 15000)  # the filter of the resampler sees silence before and behind
    assert np.abs(sound.samples[:16000][middle] - tone(440)[middle]).max() < 0.01


@pytest.mark.parametrize(("suffix", "codec", "rate"), [("mp4", "aac", 44100), ("mkv", "libopus", 48000)])
def test_compressed_sound_keeps_its_place(tmp_path, suffix, codec, rate):
    beep = tone(1000, 1, rate)
    beep[: rate // 2] = 0
    sound = read_sound(write_video_with_sound(tmp_path / f"a.{suffix}", beep, rate=rate, codec=codec))
    assert loud(sound.samples)[0] == pytest.approx(0.5, abs=0.05)
    assert len(sound.samples) == pytest.approx(RATE, abs=0.05 * RATE)


def test_channels_are_averaged(tmp_path):
    stereo = np.stack([tone(440), np.zeros(RATE, np.float32)])
    sound = read_sound(write_video_with_sound(tmp_path / "a.mkv", stereo))
    assert np.abs(sound.samples - tone(440) / 2).max() < 2 / 32767


def test_sound_that_begins_later_than_the_pictures_follows_silence(tmp_path):
    sound = read_sound(write_video_with_sound(tmp_path / "a.mkv", tone(440), delay=0.5))
    assert len(sound.samples) == 1.5 * RATE
    assert not sound.samples[: RATE // 2].any()
    assert np.abs(sound.samples[RATE // 2 :] - tone(440)).max() < 2 / 32767


def test_what_is_heard_before_the_first_picture_is_left_out(tmp_path):
    sound = read_sound(write_video_with_sound(tmp_path / "a.mkv", tone(440), delay=-0.25))
    assert np.abs(sound.samples - tone(440)[RATE // 4 :]).max() < 2 / 32767


def test_a_hole_in_the_time_stamps_is_silence_and_what_follows_keeps_its_time(tmp_path):
    # blocks of 1024 samples: the first that begins after 0.5 s begins at 8192 / 16000 s
    path = write_video_with_sound(tmp_path / "a.mkv", tone(440), pause=(0.5, 0.25))
    sound, hole = read_sound(path), RATE // 4
    assert len(sound.samples) == RATE + hole
    assert not sound.samples[8192 : 8192 + hole].any()
    assert np.abs(sound.samples[8192 + hole :] - tone(440)[8192:]).max() < 2 / 32767


def test_a_jump_of_hours_is_taken_for_a_mistake(tmp_path):
    path = write_video_with_sound(tmp_path / "a.mkv", tone(440), pause=(0.5, 7200))
    assert np.abs(read_sound(path).samples - tone(440)).max() < 2 / 32767


def test_gaps_have_a_limit_together(tmp_path, monkeypatch):
    monkeypatch.setattr("video.audio._MAX_SILENCE", 0.3)
    late = write_video_with_sound(tmp_path / "a.mkv", tone(440), delay=0.2, pause=(0.5, 0.2))
    assert len(read_sound(late).samples) == 1.2 * RATE  # the second gap is not filled


def test_a_part_is_that_part_of_the_whole(tmp_path):
    for name, options in (("a.mkv", {}), ("b.mkv", {"delay": 0.3}), ("c.mkv", {"pause": (0.5, 0.25)})):
        path = write_video_with_sound(tmp_path / name, tone(440), **options)
        whole = read_sound(path).samples
        for start, end in ((0.2, 0.7), (0.6, None), (0.0, 0.1)):
            part = read_sound(path, start=start, end=end)
            last = None if end is None else round(end * RATE)
            assert part.start == start
            assert np.array_equal(part.samples, whole[round(start * RATE) : last])


def test_a_part_behind_the_end_is_empty(tmp_path):
    path = write_video_with_sound(tmp_path / "a.mkv", tone(440))
    assert len(read_sound(path, start=5).samples) == 0


def test_a_window_has_its_length_and_silence_outside():
    sound = Sound(np.arange(1, 11, dtype=np.float32), rate=10, start=2.0)
    assert sound.window(2.3, 4).tolist() == [4, 5, 6, 7]
    assert sound.window(1.8, 4).tolist() == [0, 0, 1, 2]
    assert sound.window(2.8, 4).tolist() == [9, 10, 0, 0]
    assert sound.window(9.0, 3).tolist() == sound.window(0.0, 3).tolist() == [0, 0, 0]


def test_a_window_at_the_time_of_a_frame_holds_what_is_heard_with_it(tmp_path):
    beep = np.zeros(2 * RATE, np.float32)
    beep[RATE : RATE + 640] = tone(1000, 0.04)  # while frame 25 of 25 a second is shown
    sound = read_sound(write_video_with_sound(tmp_path / "a.mkv", beep, delay=0.2))
    heard = [np.abs(sound.window((frame) / 25, 640)).max() > 0.1 for frame in range(50)]
    assert np.flatnonzero(heard).tolist() == [30]  # 0.2 s are five frames


def test_videos_without_sound_give_none(tmp_path):
    assert read_sound(write_numbered(tmp_path / "mute.mp4")) is None
    assert read_sound(write_video_with_sound(tmp_path / "empty.mkv", np.zeros(0, np.float32), seconds=0.2)) is None
    (tmp_path / "pictures").mkdir()
    assert read_sound(tmp_path / "pictures") is None


def test_a_short_track_ends_early(tmp_path):
    sound = read_sound(write_video_with_sound(tmp_path / "a.mkv", tone(440, 0.1), seconds=1))
    assert len(sound.samples) == 0.1 * RATE
    assert not sound.window(0.5, 100).any()


def test_lost_packets_are_silence_and_counted(tmp_path, monkeypatch):
    path = write_video_with_sound(tmp_path / "a.mkv", tone(440))
    whole = read_sound(path).samples
    count = 0

    class Broken:
        """A container whose fourth packet of sound cannot be decoded."""

        def __init__(self, container):
            self.container = container
            self.streams = container.streams

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.container.close()

        def demux(self, stream):
            nonlocal count
            for packet in self.container.demux(stream):
                count += 1
                yield Undecodable() if count == 4 else packet

    class Undecodable:
        def decode(self):
            raise av.InvalidDataError(1, "Invalid data found when processing input")

    monkeypatch.setattr("video.audio.open_container", lambda *a, **k: Broken(open_container(*a, **k)))
    sound = read_sound(path)
    assert sound.num_damaged == 1
    assert len(sound.samples) == len(whole)
    differs = np.flatnonzero(sound.samples != whole)
    length = differs[-1] - differs[0] + 1
    assert 0 < length <= 2048, "one packet"
    assert not sound.samples[differs[0] : differs[-1] + 1].any()


@pytest.mark.parametrize(
    ("channels", "rate"),
    [
        pytest.param(1, 352_337_536, id="a rate that would take minutes"),
        pytest.param(1, 3, id="a rate that would take gigabytes"),
        pytest.param(99, RATE, id="channels that nobody can resample"),
    ],
)
def test_absurd_headers_are_refused_at_once(tmp_path, channels, rate):
    def header(channels, rate):  # of the format: PCM, channels, samples a second
        return struct.pack("<HHI", 1, channels, rate)

    path = write_video_with_sound(tmp_path / "a.avi", tone(440))
    content = path.read_bytes()
    assert content.count(header(1, RATE)) == 1
    path.write_bytes(content.replace(header(1, RATE), header(channels, rate)))
    with pytest.raises(VideoError, match=r"a\.avi: nothing of its sound can be decoded: ") as error:
        read_sound(path)
    assert len(str(error.value)) < 300


def test_what_is_no_video_is_refused_in_one_line(tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    for name, message in (("absent.mp4", "no such video file"), ("text.mp4", r"text\.mp4: cannot be read as a video")):
        with pytest.raises(VideoError, match=message) as error:
            read_sound(tmp_path / name)
        assert "\n" not in str(error.value)
        assert len(str(error.value)) < 300
