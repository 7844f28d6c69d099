"""Tensor sketch: its definition, the algebra of a quadratic map, and how well it approximates the squared kernel."""

import numpy as np
import pytest
import torch

from recognition.sketch import TensorSketch


def relative(a, b):
    return float((a - b).abs().max() / b.abs().max())


def normal(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def by_definition(sketch, x):
    """Sum over all pairs j, k of sign1(j) x_j sign2(k) x_k, each into bin (h1(j) + h2(k)) mod d."""
    bins, signs = sketch.bins.numpy(), sketch.signs.numpy().astype(np.float64)
    out = np.zeros(sketch.size)
    for j, k in np.ndindex(len(x), len(x)):
        out[(bins[0, j] + bins[1, k]) % sketch.size] += signs[0, j] * x[j] * signs[1, k] * x[k]
    return out


@pytest.mark.parametrize("size", [1, 2, 7, 16], ids=lambda d: f"d={d}")
@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 5e-6), (torch.float64, 1e-14)])
def test_sketch_is_its_definition(size, dtype, limit):
    sketch, x = TensorSketch(12, size, seed=3), normal(12, dtype=dtype)
    assert relative(sketch(x).double(), torch.tensor(by_definition(sketch, x.double().numpy()))) < limit


def test_one_entry_goes_into_the_sum_of_its_bins_with_the_product_of_its_signs():
    sketch = TensorSketch(2, 5)
    sketch.bins.copy_(torch.tensor([[4, 0], [3, 1]]))
    sketch.signs.copy_(torch.tensor([[1, -1], [-1, -1]]))
    # x_0 = 2: (1)(-1) 2*2 into bin (4 + 3) mod 5 = 2; x_1 = 3: (-1)(-1) 3*3 into bin 0 + 1 = 1;
    # the mixed pairs: (1)(-1) 2*3 into bin 4 + 1 = 0, (-1)(-1) 3*2 into bin 0 + 3 = 3
    assert sketch(torch.tensor([2.0, 3.0])).tolist() == pytest.approx([-6, 9, -4, 6, 0], abs=1e-5)


@pytest.mark.parametrize("size", [64, 63], ids=["even d", "odd d"])
def test_sketch_is_a_quadratic_map(size):
    sketch, x, y = TensorSketch(48, size), normal(5, 48, seed=1), normal(5, 48, seed=2)
    phi = sketch(x)
    assert phi.shape == (5, size)
    assert relative(sketch(3 * x), 9 * phi) < 5e-6
    assert relative(sketch(-x), phi) < 5e-6
    assert relative(sketch(x + y) + sketch(x - y), 2 * phi + 2 * sketch(y)) < 5e-6


def test_without_its_size_an_odd_sketch_would_lose_a_bin():
    """What FFTs of a power of two never show."""
    sketch = TensorSketch(48, 63)
    spectrum = sketch._spectrum(normal(48))
    assert torch.fft.irfft(spectrum).shape == (62,)
    assert sketch(normal(48)).shape == (63,)


def errors(channels, size, draws, make_pair):
    """(<phi x, phi y> - <x, y>^2) / (|x|^2 |y|^2), one a draw of hashes and vectors."""
    found = []
    for seed in range(draws):
        x, y = make_pair(seed, channels)
        a, b = TensorSketch(channels, size, seed=seed)(torch.stack([x, y]))
        found.append(((a @ b - (x @ y) ** 2) / ((x @ x) * (y @ y))).item())
    return np.array(found)


PAIRS = {
    "normal": lambda seed, c: (normal(c, seed=2 * seed), normal(c, seed=2 * seed + 1)),
    "after a relu": lambda seed, c: (normal(c, seed=2 * seed).relu(), normal(c, seed=2 * seed + 1).relu()),
    "the same": lambda seed, c: (normal(c, seed=seed), normal(c, seed=seed)),
}


@pytest.mark.parametrize(("channels", "size"), [(256, 512), (256, 2048), (2048, 8192)])
@pytest.mark.parametrize(
    ("pair", "low", "high"), [("normal", 0.6, 1.8), ("after a relu", 0.6, 1.8), ("the same", 1.5, 4)]
)
def test_error_of_the_kernel_falls_with_the_root_of_the_sketch_size(pair, low, high, channels, size):
    assert low < errors(channels, size, 100, PAIRS[pair]).std() * np.sqrt(size) < high


def test_inner_products_have_no_bias():
    found = errors(64, 512, 800, PAIRS["normal"])
    # 4 standard deviations of a mean of 800
    assert abs(found.mean()) < 4 / np.sqrt(512) / np.sqrt(800)


def test_mean_over_positions_is_the_mean_of_the_sketches():
    sketch, x = TensorSketch(16, 33), normal(3, 10, 16)
    assert relative(sketch.mean(x), sketch(x).mean(dim=1)) < 5e-6
    assert relative(sketch.mean(x[:, :1]), sketch(x[:, 0])) < 5e-6


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(dtype):
    sketch, x = TensorSketch(32, 100), normal(2, 32).to(dtype)
    assert torch.equal(sketch(x), sketch(x.float()))
    with torch.autocast("cpu", torch.bfloat16):
        under_autocast = sketch(x.float())
    assert under_autocast.dtype == torch.float32
    assert torch.equal(under_autocast, sketch(x.float()))


def test_hashes_are_saved_and_neither_trained_nor_rounded():
    sketch, other, x = TensorSketch(32, 100, seed=0), TensorSketch(32, 100, seed=1), normal(2, 32)
    assert torch.equal(sketch(x), TensorSketch(32, 100, seed=0)(x)), "the same seed, the same hashes"
    assert not torch.equal(sketch(x), other(x))
    other.load_state_dict(sketch.state_dict())
    assert torch.equal(sketch(x), other(x))
    assert torch.equal(sketch(x), sketch.half()(x)), "bins beyond 2048 would not survive in half precision"
    assert list(sketch.parameters()) == []


def test_hashes_use_every_bin_and_both_signs_evenly_and_are_independent():
    sketch = TensorSketch(4000, 4, seed=0)
    assert torch.bincount(sketch.bins.flatten()).tolist() == pytest.approx([2000] * 4, rel=0.1)
    assert abs(sketch.signs.float().mean()) < 4 / np.sqrt(8000)
    assert abs((sketch.signs[0] * sketch.signs[1]).float().mean()) < 4 / np.sqrt(4000)
    assert (sketch.bins[0] == sketch.bins[1]).float().mean().item() == pytest.approx(1 / 4, abs=0.03)


@pytest.mark.parametrize("size", [8, 9])
def test_gradients(size):
    sketch, x = TensorSketch(6, size), normal(2, 3, 6, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(sketch, x)
    assert torch.autograd.gradcheck(sketch.mean, x)


@pytest.mark.parametrize(("features", "size"), [(0, 8), (8, 0), (8, 2.5)])
def test_sizes_below_one_are_refused(features, size):
    with pytest.raises(ValueError, match="must be whole numbers of 1 or more"):
        TensorSketch(features, size)
