"""Frames by index from memory, from bundles of pictures and from files: the same frames, whatever the way."""

import os
from pathlib import Path

import numpy as np
import pytest

from tests.squares import FRAMES, square_videos
from video.class_datasets import ClassifiedVideo
from video.clip_store import ClipStore
from video.clips import read_video
from video.flow import FlowSettings
from video.flow_cache import flow_path, write_flow
from video.source import VideoError
from video.tvl1 import TVL1Config


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> ClassifiedVideo:
    folder = tmp_path_factory.mktemp("squares")
    path = square_videos(folder, count=1).videos[0].path
    return ClassifiedVideo(path, "right", "right0")


def half(height: int, width: int) -> tuple[int, int]:
    return height // 2, width // 2


def test_memory_and_file_give_the_frames_of_the_video(video: ClassifiedVideo) -> None:
    wanted = np.array([3, 11, 3])
    expected = read_video(video.path, size=(24, 32))[wanted]
    for gigabytes in (1.0, 0.0):
        frames = ClipStore(half, gigabytes=gigabytes).open(video)
        assert frames.num_frames == FRAMES
        np.testing.assert_array_equal(frames.read(wanted), expected)


def test_memory_is_given_to_the_first_and_no_more_than_there_is(video: ClassifiedVideo) -> None:
    bytes_of_one = FRAMES * 24 * 32 * 3
    other = ClassifiedVideo(video.path, "right", "again", start=0, end=1)
    store = ClipStore(half, gigabytes=1.5 * bytes_of_one / 1e9)
    kinds = [type(store.open(item)).__name__ for item in (video, other, video)]
    assert kinds == ["_MemoryFrames", "_FileFrames", "_MemoryFrames"]


def test_a_bundle_is_made_once_and_gives_nearly_the_same_frames(video: ClassifiedVideo, tmp_path: Path) -> None:
    folder = tmp_path / "bundles"
    expected = read_video(video.path, size=(24, 32)).astype(int)
    frames = ClipStore(half, folder=folder).open(video)
    assert frames.num_frames == FRAMES
    # a square of one colour on noise: JPEG blurs the noise
    assert np.abs(frames.read(np.arange(FRAMES)) - expected).mean() < 12
    np.testing.assert_array_equal(frames.read(np.array([5, 0]))[1], frames.read(np.array([0]))[0])
    (bundle,) = folder.iterdir()
    made = bundle.stat().st_mtime_ns
    ClipStore(half, folder=folder).open(video)
    assert [path.stat().st_mtime_ns for path in folder.iterdir()] == [made]


def test_a_bundle_of_another_file_size_or_part_is_another_bundle(video: ClassifiedVideo, tmp_path: Path) -> None:
    folder = tmp_path / "bundles"
    ClipStore(half, folder=folder).open(video)
    ClipStore(lambda height, width: (12, 16), folder=folder).open(video)
    part = ClassifiedVideo(video.path, "right", "part", start=0.0, end=0.2)
    assert ClipStore(half, folder=folder).open(part).num_frames == 5  # of 25 a second
    assert len(list(folder.iterdir())) == 3
    os.utime(video.path, (1, 1))
    ClipStore(half, folder=folder).open(video)
    assert len(list(folder.iterdir())) == 4


def test_only_the_labelled_part_is_seen(video: ClassifiedVideo) -> None:
    part = ClassifiedVideo(video.path, "right", "part", start=0.08, end=0.2)
    whole = read_video(video.path, size=(24, 32))
    for gigabytes in (1.0, 0.0):
        frames = ClipStore(half, gigabytes=gigabytes).open(part)
        assert frames.num_frames == 3
        np.testing.assert_array_equal(frames.read(np.arange(3)), whole[2:5])


def test_a_damaged_bundle_says_which_file_to_delete(video: ClassifiedVideo, tmp_path: Path) -> None:
    ClipStore(half, folder=tmp_path).open(video)
    (bundle,) = tmp_path.iterdir()
    whole = bundle.read_bytes()
    bundle.write_bytes(whole[:-200])
    frames = ClipStore(half, folder=tmp_path).open(video)
    frames.read(np.array([0]))
    with pytest.raises(VideoError, match="delete it, and it is made again"):
        frames.read(np.array([FRAMES - 1]))
    bundle.write_bytes(b"nothing")
    with pytest.raises(VideoError, match="damaged copy"):
        ClipStore(half, folder=tmp_path).open(video)


def test_flow_is_computed_or_read_from_its_files(video: ClassifiedVideo, tmp_path: Path) -> None:
    settings = FlowSettings(tvl1=TVL1Config(scales=2, warps=1, outer_iterations=1))
    write_flow(video.path, flow_path(tmp_path, video.name), settings)
    wanted = np.array([3, 7])
    computed = ClipStore(half, flow=settings).open(video)
    assert computed.num_frames == FRAMES
    found = computed.read(wanted).astype(int)
    assert found.shape == (2, 24, 32, 2)
    assert found[..., 0].max() > 132  # the square moves 3 pixels to the right, 19 grey values
    for gigabytes in (1.0, 0.0):
        read = ClipStore(half, flow=settings, flow_folder=tmp_path, gigabytes=gigabytes, folder=tmp_path).open(video)
        assert np.abs(read.read(wanted) - found).mean() < 2  # the loss of JPEG
    with pytest.raises(VideoError, match=r"right0\.flow\.zip"):
        ClipStore(half, flow=settings, flow_folder=tmp_path / "gone").open(video)
