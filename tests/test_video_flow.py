import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import video.flow
from tests.moving_texture import HEIGHT, WIDTH, textured_frame, write_moving
from video.flow import (
    FlowError,
    FlowReader,
    FlowSettings,
    dequantise,
    flip,
    flow_between,
    flow_of_frames,
    grey,
    quantise,
)
from video.tvl1 import TVL1Config

FAST = FlowSettings(tvl1=TVL1Config(scales=2, warps=2))
PLACES = [0, 1, 3, 3, 2]  # motions +1, +2, 0, -1


def x_of(pictures: np.ndarray, bound: float = 20) -> list[int]:
    """Typical displacement in x of each picture, in whole pixels."""
    return np.median(dequantise(pictures, bound)[..., 0], axis=(1, 2)).round().astype(int).tolist()


def test_displacements_become_grey_values_as_dense_flow_makes_them() -> None:
    pixels = torch.tensor([-25, -20, -10, 0, 0.05, 10, 20, 25])
    assert quantise(pixels).tolist() == [0, 0, 64, 128, 128, 191, 255, 255]
    assert quantise(torch.tensor([-10.0, -5, 0, 5, 10]), bound=10).tolist() == [0, 64, 128, 191, 255]


def test_grey_values_become_displacements_within_half_a_step() -> None:
    pixels = torch.linspace(-20, 20, 1001)
    back = dequantise(quantise(pixels).numpy())
    assert back.dtype == np.float32
    assert np.abs(back - pixels.numpy()).max() <= 0.5 * 40 / 255 + 1e-5


def test_a_mirrored_picture_moves_the_other_way_in_x() -> None:
    picture = np.array([[[255, 10], [191, 20], [128, 30]]], np.uint8)  # 1 x 3 pixels: x and y
    assert flip(picture).tolist() == [[[127, 30], [64, 20], [0, 10]]]
    assert picture[0, 0].tolist() == [255, 10]
    assert np.array_equal(flip(flip(picture)), picture)


def test_the_flow_of_the_mirrored_video_is_the_mirrored_flow() -> None:
    first, second = textured_frame(0)[None], textured_frame(2, -1)[None]
    flow = flow_between(first, second)
    mirrored = flow_between(first[:, :, ::-1], second[:, :, ::-1])
    assert np.abs(mirrored.astype(int) - flip(flow)).mean() < 0.6  # grey values; no motion alone differs by 1
    assert x_of(flow) == [2]
    assert x_of(mirrored) == [-2]


def test_brightness_weighs_the_colours_as_television_does() -> None:
    colours = torch.tensor([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]], dtype=torch.uint8)
    assert torch.allclose(grey(colours), 255 * torch.tensor([0.299, 0.587, 0.114, 1.0]))


@pytest.mark.parametrize(
    ("short_side", "size"),
    [(240, (240, 427)), (0, (480, 854)), (480, (480, 854)), (1000, (480, 854))],
)
def test_larger_frames_are_scaled_down_and_smaller_ones_stay(short_side: int, size: tuple[int, int]) -> None:
    assert FlowSettings(short_side=short_side).size_of(480, 854) == size


@pytest.mark.parametrize("change", [{"short_side": -1}, {"bound": 0.0}, {"bound": float("nan")}, {"quality": 0}])
def test_settings_that_mean_nothing_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        FlowSettings(**change)


def test_settings_survive_a_file_and_unknown_ones_are_refused() -> None:
    settings = FlowSettings(short_side=120, bound=10, tvl1=TVL1Config(warps=3))
    assert FlowSettings.from_dict(settings.to_dict()) == settings
    with pytest.raises(ValueError, match="colour"):
        FlowSettings.from_dict({**settings.to_dict(), "colour": 1})


def test_every_frame_has_a_flow_picture_and_the_last_repeats_the_one_before() -> None:
    flow = np.stack(list(flow_of_frames([textured_frame(x) for x in PLACES], FAST)))
    assert flow.shape == (5, HEIGHT, WIDTH, 2)
    assert flow.dtype == np.uint8
    assert x_of(flow) == [1, 2, 0, -1, -1]
    assert np.array_equal(flow[4], flow[3])
    assert (flow[2] == 128).all()  # equal frames: exactly no motion


def test_a_single_frame_does_not_move_and_no_frame_has_no_flow() -> None:
    assert [flow.tolist() for flow in flow_of_frames([textured_frame(0)])] == [
        np.full((HEIGHT, WIDTH, 2), 128).tolist()
    ]
    assert list(flow_of_frames([])) == []


def test_frames_are_asked_for_as_they_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video.flow, "pairs_at_once", lambda height, width, device: 2)
    taken: list[int] = []

    def frames() -> Any:
        for number in range(100):
            taken.append(number)
            yield textured_frame(number)

    flow = flow_of_frames(frames(), FAST)
    next(flow)
    next(flow)
    assert taken == [0, 1, 2]  # two pairs
    next(flow)
    assert taken == [0, 1, 2, 3, 4]


def test_no_pair_is_computed_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs: list[int] = []
    tvl1_flow = video.flow.tvl1_flow
    monkeypatch.setattr(video.flow, "tvl1_flow", lambda a, *rest: (pairs.append(len(a)), tvl1_flow(a, *rest))[1])
    frames = [textured_frame(x) for x in PLACES]
    list(flow_of_frames(frames, FAST))
    assert sum(pairs) == 4
    pairs.clear()
    FlowReader(write_moving(tmp_path / "v", PLACES), FAST).read([0, 1, 0, 1, 4, 3])
    assert sum(pairs) == 3  # 0 to 1, 1 to 2, and 3 to 4 for both of the last frames


def test_a_reader_gives_the_flow_of_any_frames_in_any_order(tmp_path: Path) -> None:
    path = write_moving(tmp_path / "v", PLACES)
    whole = np.stack(list(flow_of_frames([textured_frame(x) for x in PLACES], FAST)))
    reader = FlowReader(path, FAST)
    assert (reader.num_frames, reader.height, reader.width, reader.fps) == (5, HEIGHT, WIDTH, 25.0)
    for indices in ([0, 1, 2, 3, 4], [4], [2, 0, 0, 4]):
        assert np.array_equal(reader.read(indices), whole[indices])
    assert reader.read([]).shape == (0, HEIGHT, WIDTH, 2)
    travelled = pickle.loads(pickle.dumps(reader))
    assert np.array_equal(travelled.read([1]), whole[[1]])


def test_flow_is_computed_in_the_size_of_the_settings_and_read_in_any(tmp_path: Path) -> None:
    path = write_moving(tmp_path / "v", [0, 4], width=2 * WIDTH, height=2 * HEIGHT)
    reader = FlowReader(path, FlowSettings(short_side=HEIGHT, tvl1=TVL1Config()))
    assert reader.read([0]).shape == (1, HEIGHT, WIDTH, 2)
    assert x_of(reader.read([0])) == [2]  # 4 pixels at twice the size
    scaled = reader.read([0, 0], size=(20, 30))
    assert scaled.shape == (2, 20, 30, 2)
    assert x_of(scaled) == [2, 2]  # values stay


def test_a_video_of_one_frame_does_not_move(tmp_path: Path) -> None:
    assert (FlowReader(write_moving(tmp_path / "v", [0]), FAST).read([0, 0]) == 128).all()


@pytest.mark.parametrize("index", [-1, 5])
def test_an_index_outside_the_video_is_an_error(tmp_path: Path, index: int) -> None:
    with pytest.raises(FlowError, match=f"there is no frame {index}; it has frames 0 to 4"):
        FlowReader(write_moving(tmp_path / "v", PLACES), FAST).read([0, index])


def test_frames_too_small_for_flow_are_told_with_their_video(tmp_path: Path) -> None:
    path = write_moving(tmp_path / "tiny", [0, 1], width=30, height=6)
    with pytest.raises(FlowError, match=r"tiny: pictures of 30x6 pixels are too small"):
        FlowReader(path, FAST).read([0])
