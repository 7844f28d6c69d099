from pathlib import Path

import numpy as np
import pytest

from tests.moving_texture import HEIGHT, WIDTH, write_moving
from video.clips import read_video
from video.flow import FlowReader, FlowSettings
from video.flow_colours import colour_wheel, flow_colours, typical_speed, write_flow_video
from video.tvl1 import TVL1Config


@pytest.mark.parametrize(
    ("motion", "colour"),
    [
        pytest.param((0, 0), (255, 255, 255), id="no motion is white"),
        pytest.param((4, 0), (255, 0, 0), id="right is red"),
        pytest.param((-4, 0), (0, 255, 255), id="left is cyan"),
        pytest.param((0, 4), (128, 255, 0), id="down is yellow-green"),
        pytest.param((0, -4), (128, 0, 255), id="up is violet"),
        pytest.param((2, 0), (255, 128, 128), id="half as fast is half as colourful"),
        pytest.param((400, 0), (255, 0, 0), id="faster than the fastest is no more colourful"),
    ],
)
def test_direction_is_hue_and_speed_is_colourfulness(motion: tuple[float, float], colour: tuple[int, int, int]) -> None:
    flow = np.array(motion, np.float32).reshape(1, 1, 2)
    assert np.abs(flow_colours(flow, fastest=4)[0, 0].astype(int) - colour).max() <= 1


def test_the_wheel_shows_each_direction_where_it_points_to() -> None:
    wheel = colour_wheel(41)
    assert wheel.shape == (41, 41, 3)
    assert wheel[20, 20].tolist() == [255, 255, 255]
    assert wheel[0, 0].tolist() == [255, 255, 255]
    right, down = wheel[20, 40].astype(int), wheel[40, 20].astype(int)
    assert np.abs(right - (255, 0, 0)).max() < 10
    assert np.abs(down - (128, 255, 0)).max() < 10


def test_the_scale_leaves_the_fastest_hundredth_out_and_is_a_pixel_at_least() -> None:
    flow = np.zeros((20, 20, 2))
    assert typical_speed(flow) == 1
    flow[..., 0] = 3
    flow[0, 0] = 500  # 1 of 400
    assert typical_speed(flow) == 3


def test_a_preview_shows_frames_and_flow_side_by_side(tmp_path: Path) -> None:
    video = write_moving(tmp_path / "v", [0, 2, 4])
    settings = FlowSettings(tvl1=TVL1Config(scales=2, warps=2))
    write_flow_video(video, FlowReader(video, settings), tmp_path / "out.mp4", bound=settings.bound)
    shown = read_video(tmp_path / "out.mp4")
    scale = 240 // HEIGHT + 1
    assert shown.shape == (3, HEIGHT * scale, 2 * WIDTH * scale, 3)
    middle = np.median(shown[0, :, WIDTH * scale :].reshape(-1, 3), axis=0)
    assert middle[0] > middle[1] + 50  # to the right: red
