from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import video.tvl1
from video.tvl1 import TVL1Config, pairs_at_once, tvl1_flow

H, W = 60, 80
Y, X = np.mgrid[:H, :W].astype(np.float64)


def texture(x: np.ndarray, y: np.ndarray, seed: int = 0) -> np.ndarray:
    """Brightness at any real coordinates: waves of 8 to 40 pixels, about 0..255."""
    rng = np.random.default_rng(seed)
    picture = np.full(np.shape(x), 128.0)
    for _ in range(12):
        angle, length, phase = rng.uniform(0, 2 * np.pi), rng.uniform(8, 40), rng.uniform(0, 2 * np.pi)
        picture += 18 * np.sin(2 * np.pi / length * (x * np.cos(angle) + y * np.sin(angle)) + phase)
    return picture


def as_batch(*pictures: np.ndarray) -> Tensor:
    return torch.from_numpy(np.stack(pictures).astype(np.float32))


def affine(a: float, b: float, c: float, d: float) -> Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Motion by the matrix (a b; c d) around the middle of the picture: displacement at (x, y)."""
    return lambda x, y: (
        (a - 1) * (x - W / 2) + b * (y - H / 2),
        c * (x - W / 2) + (d - 1) * (y - H / 2),
    )


TURN = np.deg2rad(4)
MOTIONS: dict[str, tuple[Any, Any]] = {
    # displacement of a point, and the inverse map: where the content of the second picture was in the first
    "two pixels right, one up": (lambda x, y: (2 + 0 * x, -1 + 0 * y), lambda x, y: (x - 2, y + 1)),
    "parts of a pixel": (lambda x, y: (0.3 + 0 * x, 0.6 + 0 * y), lambda x, y: (x - 0.3, y - 0.6)),
    "six pixels down": (lambda x, y: (0 * x, 6 + 0 * y), lambda x, y: (x, y - 6)),
    "rotation": (
        affine(np.cos(TURN), -np.sin(TURN), np.sin(TURN), np.cos(TURN)),
        lambda x, y: (
            W / 2 + np.cos(TURN) * (x - W / 2) + np.sin(TURN) * (y - H / 2),
            H / 2 - np.sin(TURN) * (x - W / 2) + np.cos(TURN) * (y - H / 2),
        ),
    ),
    "zoom": (affine(1.06, 0, 0, 1.06), lambda x, y: (W / 2 + (x - W / 2) / 1.06, H / 2 + (y - H / 2) / 1.06)),
}


@pytest.mark.parametrize("name", MOTIONS)
def test_known_motion_of_a_texture_is_found(name: str) -> None:
    displacement, origin = MOTIONS[name]
    flow = tvl1_flow(as_batch(texture(X, Y)), as_batch(texture(*origin(X, Y))))[0].numpy()
    truth = np.stack(displacement(X, Y))
    distance = np.hypot(*(flow - truth))
    # what leaves or enters the picture at its border cannot be seen
    assert distance[8:-8, 8:-8].mean() < 0.1
    assert np.percentile(distance[8:-8, 8:-8], 99) < 0.5


def test_two_equal_pictures_have_exactly_no_flow() -> None:
    picture = as_batch(texture(X, Y), np.random.default_rng(0).uniform(0, 255, (H, W)), np.full((H, W), 200.0))
    assert torch.equal(tvl1_flow(picture, picture), torch.zeros(3, 2, H, W))


def test_a_pair_without_any_texture_has_no_flow() -> None:
    black, white = torch.zeros(1, H, W), torch.full((1, H, W), 255.0)
    assert tvl1_flow(black, white).abs().max() < 1e-5


def test_what_moves_before_a_still_background_moves_alone() -> None:
    """A square of 24 x 24 moves 4 pixels to the right and covers what it passes over."""
    first, second = texture(X, Y), texture(X, Y)
    first[18:42, 20:44] = texture(X, Y, seed=1)[18:42, 20:44]
    second[18:42, 24:48] = texture(X, Y, seed=1)[18:42, 20:44]
    flow = tvl1_flow(as_batch(first), as_batch(second))[0].numpy()
    inside, outside = flow[:, 21:39, 23:41], np.delete(flow, np.s_[14:52], axis=2)
    assert np.abs(inside - np.array([4, 0])[:, None, None]).mean() < 0.1
    assert np.abs(outside).mean() < 0.05


@pytest.mark.parametrize("config", [TVL1Config(), TVL1Config(epsilon=0, outer_iterations=1, inner_iterations=7)])
def test_the_flow_of_a_pair_does_not_depend_on_the_others(config: TVL1Config) -> None:
    """They come to rest after different numbers of iterations, the still one first."""
    still, slow, fast = texture(X, Y), texture(X - 0.2, Y), texture(X - 5, Y + 3)
    noise = np.random.default_rng(1).uniform(0, 255, (H, W))
    first, second = as_batch(still, still, still, noise), as_batch(still, slow, fast, noise[::-1].copy())
    together = tvl1_flow(first, second, config, batch=4)
    alone = torch.cat([tvl1_flow(first[[k]], second[[k]], config) for k in range(4)])
    assert torch.equal(together, alone)
    assert torch.equal(tvl1_flow(first.flip(0), second.flip(0), config, batch=3), alone.flip(0))


def test_a_pair_at_rest_is_not_iterated_further(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    iterate = video.tvl1._iterate

    def counted(state: Any, *arguments: Any) -> Tensor:
        sizes.append(state.u.shape[1])
        return iterate(state, *arguments)

    monkeypatch.setattr(video.tvl1, "_iterate", counted)
    still, moved = texture(X, Y), texture(X - 3, Y)
    config = TVL1Config(scales=1, warps=2)
    tvl1_flow(as_batch(still), as_batch(still), config)
    assert sizes == [1, 1]  # one look a warp
    sizes.clear()
    tvl1_flow(as_batch(still, still), as_batch(still, moved), config, batch=2)
    assert sizes[:2] == [2, 1]  # the still pair is left out from the second look on
    assert sizes.count(2) == 2


def test_more_scales_reach_farther() -> None:
    first, second = as_batch(texture(X, Y)), as_batch(texture(X - 9, Y))
    far, near = (float(tvl1_flow(first, second, TVL1Config(scales=scales))[0, 0].median()) for scales in (5, 1))
    assert abs(far - 9) < 0.1
    assert near < 6


@pytest.mark.parametrize(("height", "width"), [(61, 47), (8, 8), (33, 128), (17, 300)])
def test_any_size_of_at_least_eight_pixels_works(height: int, width: int) -> None:
    y, x = np.mgrid[:height, :width].astype(np.float64)
    flow = tvl1_flow(as_batch(texture(x, y)), as_batch(texture(x - 0.5, y)))
    assert flow.shape == (1, 2, height, width)
    assert abs(float(flow[0, 0].median()) - 0.5) < 0.15
    assert abs(float(flow[0, 1].median())) < 0.15


def test_bytes_and_floats_are_the_same_pictures() -> None:
    first = torch.from_numpy(texture(X, Y).round().clip(0, 255).astype(np.uint8))[None]
    second = first.roll(1, dims=2)
    assert torch.equal(tvl1_flow(first, second), tvl1_flow(first.float(), second.float()))


def test_the_result_is_an_ordinary_tensor_without_history() -> None:
    first = as_batch(texture(X, Y)).requires_grad_()
    flow = tvl1_flow(first, first.detach() + 1)
    assert (flow.dtype, flow.requires_grad, flow.is_inference()) == (torch.float32, False, False)


def test_the_pictures_are_left_as_they_were() -> None:
    first, second = as_batch(texture(X, Y)), as_batch(texture(X - 1, Y))
    copies = first.clone(), second.clone()
    tvl1_flow(first, second)
    assert torch.equal(first, copies[0])
    assert torch.equal(second, copies[1])


def test_smaller_pictures_are_solved_more_at_once() -> None:
    assert [pairs_at_once(*size, "cpu") for size in ((480, 640), (240, 320), (120, 160))] == [1, 2, 8]
    assert pairs_at_once(240, 320, "cuda:0") == 32


def test_no_pairs_have_no_flow() -> None:
    assert tvl1_flow(torch.zeros(0, H, W), torch.zeros(0, H, W)).shape == (0, 2, H, W)


@pytest.mark.parametrize(
    ("first", "second", "text"),
    [
        pytest.param(torch.zeros(1, 1, 320), torch.zeros(1, 1, 320), "320x1 pixels are too small", id="one line"),
        pytest.param(torch.zeros(1, 20, 7), torch.zeros(1, 20, 7), "at least 8", id="seven columns"),
        pytest.param(torch.zeros(20, 20), torch.zeros(20, 20), r"\(B, H, W\)", id="no batch"),
        pytest.param(torch.zeros(1, 20, 20), torch.zeros(2, 20, 20), "one shape", id="unequal batches"),
        pytest.param(torch.zeros(1, 20, 20).double(), torch.zeros(1, 20, 20).double(), "float64", id="double"),
        pytest.param(torch.zeros(1, 20, 20), torch.zeros(1, 20, 20, dtype=torch.int16), "int16", id="int16"),
        pytest.param(torch.full((1, 20, 20), torch.nan), torch.zeros(1, 20, 20), "finite", id="nan"),
    ],
)
def test_what_is_no_batch_of_pictures_is_refused(first: Tensor, second: Tensor, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        tvl1_flow(first, second)


@pytest.mark.parametrize(
    "change",
    [{"tau": 0.0}, {"lambda_": float("nan")}, {"theta": -1.0}, {"scale_step": 1.0}, {"epsilon": -0.1}]
    + [{name: 0} for name in ("scales", "warps", "inner_iterations", "outer_iterations", "check_every")]
    + [{"median_size": 4}],
)
def test_settings_that_mean_nothing_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        TVL1Config(**change)


def test_it_agrees_with_opencv() -> None:
    cv2 = pytest.importorskip("cv2", reason="the oracle needs opencv-contrib-python-headless")
    if not hasattr(getattr(cv2, "optflow", None), "DualTVL1OpticalFlow_create"):
        pytest.skip("this OpenCV has no TV-L1; the oracle needs opencv-contrib-python-headless")
    first = texture(X, Y).round().clip(0, 255).astype(np.uint8)
    for origin in (origin for _, origin in MOTIONS.values()):
        second = texture(*origin(X, Y)).round().clip(0, 255).astype(np.uint8)
        oracle = cv2.optflow.DualTVL1OpticalFlow_create().calc(first, second, None)
        flow = tvl1_flow(torch.from_numpy(first)[None], torch.from_numpy(second)[None])[0].numpy()
        distance = np.hypot(*(flow - oracle.transpose(2, 0, 1)))
        # at the border, where content leaves the picture, there is nothing to agree on
        assert distance[8:-8, 8:-8].mean() < 0.02


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_finds_the_same_flow() -> None:
    first = as_batch(*(texture(X, Y, seed) for seed in range(4)))
    second = as_batch(*(texture(X - seed, Y + 0.5, seed) for seed in range(4)))
    flow = tvl1_flow(first.cuda(), second.cuda())
    assert flow.is_cuda
    assert (flow.cpu() - tvl1_flow(first, second)).abs().mean() < 0.01
