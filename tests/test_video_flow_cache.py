import pickle
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import video.flow_cache
from tests.moving_texture import HEIGHT, WIDTH, textured_frame, write_moving
from tests.video_samples import write_numbered
from video.flow import FlowError, FlowReader, FlowSettings
from video.flow_cache import CachedFlow, flow_path, is_done, open_flow, write_flow
from video.source import VideoError
from video.tvl1 import TVL1Config

FAST = FlowSettings(tvl1=TVL1Config(scales=2, warps=1))
PLACES = [0, 1, 3, 3, 2]


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A video of five frames and its flow file."""
    folder = tmp_path_factory.mktemp("flow")
    video, path = write_moving(folder / "v", PLACES), folder / "v.flow.zip"
    write_flow(video, path, FAST)
    return video, path


@pytest.fixture
def copy(example: tuple[Path, Path], tmp_path: Path) -> Path:
    """A flow file that a test may damage."""
    path = tmp_path / "copy.flow.zip"
    path.write_bytes(example[1].read_bytes())
    return path


def test_what_is_read_is_what_was_computed_but_for_jpegs_loss(example: tuple[Path, Path]) -> None:
    video, path = example
    computed, cached = FlowReader(video, FAST), CachedFlow(path)
    assert (cached.num_frames, cached.height, cached.width, cached.fps) == (5, HEIGHT, WIDTH, 25.0)
    indices = [3, 0, 0, 4, 1, 2]
    difference = np.abs(cached.read(indices).astype(int) - computed.read(indices))
    assert difference.mean() < 1
    assert difference.max() <= 8  # grey values of 0.16 pixels
    scaled = np.abs(cached.read([0], size=(16, 20)).astype(int) - computed.read([0], size=(16, 20)))
    assert scaled.shape == (1, 16, 20, 2)
    assert scaled.mean() < 1
    assert cached.read([]).shape == (0, HEIGHT, WIDTH, 2)


def test_the_last_frame_repeats_the_flow_before_it(example: tuple[Path, Path]) -> None:
    last, before = CachedFlow(example[1]).read([4, 3])
    assert np.array_equal(last, before)


def test_an_archive_holds_two_grey_pictures_a_pair_under_the_names_of_dense_flow(example: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(example[1]) as archive:
        names = [f"flow_{c}_{k:05d}.jpg" for k in range(1, 5) for c in "xy"]
        assert archive.namelist() == [*names, "about.json"]
        assert archive.testzip() is None


def test_the_same_video_gives_the_same_bytes(example: tuple[Path, Path], tmp_path: Path) -> None:
    write_flow(example[0], tmp_path / "again.flow.zip", FAST)
    assert (tmp_path / "again.flow.zip").read_bytes() == example[1].read_bytes()


def test_a_single_frame_has_no_pictures_and_does_not_move(tmp_path: Path) -> None:
    path = tmp_path / "one.flow.zip"
    assert write_flow(write_moving(tmp_path / "one", [0]), path, FAST).frames == 1
    assert (CachedFlow(path).read([0, 0]) == 128).all()
    CachedFlow(path).check()


def test_video_files_tell_their_progress(tmp_path: Path) -> None:
    video = write_numbered(tmp_path / "x.mp4", frames=4, fps=30)
    told: list[int | None] = []
    about = write_flow(video, tmp_path / "x.flow.zip", FAST, on_open=told.append, on_frame=told.append)
    assert told == [4, 1, 2, 3, 4]
    assert (about.frames, about.fps, about.source_bytes) == (4, 30.0, video.stat().st_size)


def test_done_means_whole_and_of_this_video_and_these_settings(example: tuple[Path, Path], tmp_path: Path) -> None:
    video, path = example
    assert is_done(path, video, FAST)
    assert not is_done(path, video, replace(FAST, bound=10))
    assert not is_done(tmp_path / "none.flow.zip", video, FAST)
    assert not is_done(path, write_moving(tmp_path / "other", [0, 2, 4, 6, 8]), FAST)


def test_a_changed_byte_in_a_picture_is_found(example: tuple[Path, Path], copy: Path) -> None:
    with zipfile.ZipFile(copy) as archive:
        entry = archive.getinfo("flow_y_00002.jpg")
    data = bytearray(copy.read_bytes())
    data[entry.header_offset + 30 + len(entry.filename) + entry.file_size // 2] ^= 1
    copy.write_bytes(data)
    assert not is_done(copy, example[0], FAST)
    with pytest.raises(FlowError, match=r"damaged .*tools/extract_flow\.py"):
        CachedFlow(copy).read([0, 1])
    assert np.array_equal(CachedFlow(copy).read([0, 2]), CachedFlow(example[1]).read([0, 2]))


def test_no_changed_byte_gives_other_pictures(example: tuple[Path, Path], copy: Path) -> None:
    data, expected = copy.read_bytes(), CachedFlow(example[1]).read(range(5))
    refused = 0
    for place in range(0, len(data), 97):
        copy.write_bytes(data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :])
        try:
            # what is left are bytes of no account, such as the time of day in the header of an entry
            assert np.array_equal(CachedFlow(copy).read(range(5)), expected)
        except FlowError:
            refused += 1
    assert refused > 0.8 * len(data) / 97


@pytest.mark.parametrize("share", [0.0, 0.3, 0.97])
def test_half_a_file_is_refused(copy: Path, share: float) -> None:
    copy.write_bytes(copy.read_bytes()[: int(share * copy.stat().st_size)])
    with pytest.raises(FlowError, match=r"copy\.flow\.zip: damaged or no flow file"):
        CachedFlow(copy).read([0])


def test_a_file_that_changes_under_a_reader_is_refused(copy: Path) -> None:
    flow = CachedFlow(copy)
    flow.read([0])
    copy.write_bytes(bytes(100))
    with pytest.raises(FlowError, match="damaged"):
        flow.read([0])


def test_another_archive_is_no_flow(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.flow.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(FlowError, match="no flow file"):
        CachedFlow(tmp_path / "x.flow.zip").read([0])


def test_an_archive_packed_by_another_program_is_told_apart(copy: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(copy) as old, zipfile.ZipFile(tmp_path / "new.flow.zip", "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with pytest.raises(FlowError, match="compressed once more"):
        CachedFlow(tmp_path / "new.flow.zip").read([0])


def test_flow_of_other_settings_is_refused_and_the_difference_named(example: tuple[Path, Path]) -> None:
    video, path = example
    other = replace(FAST, tvl1=replace(FAST.tvl1, warps=3))
    with pytest.raises(FlowError, match=r"tvl1\.warps is 1, not 3"):
        open_flow(video, other, cached=path).read([0])
    with pytest.raises(FlowError, match="other settings: short_side is 240, not 120"):
        CachedFlow(path, settings=replace(FAST, short_side=120)).read([0])


def test_flow_of_a_video_that_has_changed_is_refused(example: tuple[Path, Path], tmp_path: Path) -> None:
    changed = write_moving(tmp_path / "v", [*PLACES, 5])
    with pytest.raises(FlowError, match="another version of"):
        open_flow(changed, FAST, cached=example[1]).read([0])


def test_open_flow_reads_what_is_cached_and_computes_what_is_not(example: tuple[Path, Path], tmp_path: Path) -> None:
    video, path = example
    assert np.array_equal(open_flow(video, FAST, cached=path).read([1]), CachedFlow(path).read([1]))
    assert np.array_equal(open_flow(video, FAST).read([1]), FlowReader(video, FAST).read([1]))
    with pytest.raises(FlowError, match="no such flow file"):
        open_flow(video, FAST, cached=tmp_path / "none.flow.zip").read([1])


@pytest.mark.parametrize("index", [-1, 5])
def test_an_index_outside_the_video_is_an_error(example: tuple[Path, Path], index: int) -> None:
    with pytest.raises(FlowError, match=f"there is no frame {index}; it has frames 0 to 4"):
        CachedFlow(example[1]).read([0, index])


def test_a_reader_travels_with_its_index(copy: Path) -> None:
    flow = CachedFlow(copy)
    untouched = pickle.loads(pickle.dumps(flow))
    expected = flow.read([2])
    assert np.array_equal(untouched.read([2]), expected)
    travelled = pickle.loads(pickle.dumps(flow))
    copy.write_bytes(copy.read_bytes()[:-30])  # the directory of the archive is gone, the pictures are not
    assert np.array_equal(travelled.read([2]), expected)


def test_a_run_that_ends_in_an_error_leaves_what_was_there(
    copy: Path, example: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = copy.read_bytes()

    def breaks(frames: object, *_: object, **__: object) -> object:
        yield textured_frame(0)[..., :2]
        yield textured_frame(0)[..., :2]
        raise KeyboardInterrupt

    monkeypatch.setattr(video.flow_cache, "flow_of_frames", breaks)
    with pytest.raises(KeyboardInterrupt):
        write_flow(example[0], copy, FAST)
    assert copy.read_bytes() == before
    assert [file.name for file in copy.parent.iterdir()] == [copy.name]


def test_a_video_too_small_for_flow_is_told_by_name(tmp_path: Path) -> None:
    tiny = write_moving(tmp_path / "tiny", [0, 1], width=30, height=6)
    with pytest.raises(VideoError, match=r"tiny: pictures of 30x6 pixels are too small"):
        write_flow(tiny, tmp_path / "tiny.flow.zip", FAST)
    assert not (tmp_path / "tiny.flow.zip").exists()


def test_names_with_slashes_are_folders() -> None:
    assert flow_path("flow", "wave/clip.v1") == Path("flow/wave/clip.v1.flow.zip")
