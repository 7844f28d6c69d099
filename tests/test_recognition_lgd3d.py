"""LGD-3D against the sizes in the paper, a numpy oracle of its equations and plain 3-D operators."""

import copy
import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.bench_lgd3d import conv3d_forward
from recognition.frame_maps import max_pool_time, mean_of_clip, to_clips, to_frames
from recognition.initialise import identity_temporal_, xavier_caffe_
from recognition.lgd3d import LGD3D, LGD3DConfig, lgd3d_resnet50, lgd3d_small
from recognition.lgd_block import LGDBlock

TINY = {"depths": (1, 2, 1, 1), "widths": (16, 24, 32, 48), "stem_width": 8, "rank_divisor": 8}
CLASSES = 600


def randomise(net, seed=0):
    """Xavier kernels, and batch norms that are not the identity."""
    generator = torch.Generator().manual_seed(seed)
    xavier_caffe_(net, generator=generator)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1, generator=generator)
                module.running_var.uniform_(0.5, 2, generator=generator)
                module.weight.uniform_(0.5, 1.5, generator=generator)
                module.bias.normal_(0, 0.1, generator=generator)
    return net


def tiny_net(seed=0, **changes):
    return randomise(LGD3D(LGD3DConfig(**{**TINY, **changes})), seed).eval()


def clips(batch=2, frames=8, height=32, width=48, channels=3, seed=1):
    return torch.randn(batch, channels, frames, height, width, generator=torch.Generator().manual_seed(seed))


def relative(a, b):
    a, b = a.detach(), b.detach()
    return float((a - b).abs().max() / b.abs().max())


def num_parameters(net):
    return sum(parameter.numel() for parameter in net.parameters())


def on_meta(config):
    with torch.device("meta"):
        return LGD3D(config)


# ---- sizes ----


@pytest.mark.parametrize(
    ("changes", "shape", "expected"),
    [
        pytest.param({}, (16, 112, 112), (4, 7, 7), id="training crop"),
        pytest.param({}, (16, 120, 160), (4, 8, 10), id="test frame, rounded up"),
        pytest.param({"pool1_stride": 4}, (128, 112, 112), (16, 7, 7), id="128 frames"),
        pytest.param({}, (7, 17, 1), (1, 2, 1), id="odd sizes: space rounds up, time down"),
        pytest.param({}, (4, 16, 16), (1, 1, 1), id="smallest"),
    ],
)
def test_size_of_the_local_map(changes, shape, expected):
    net = on_meta(LGD3DConfig(**{**TINY, **changes})).eval()
    local, global_ = net(torch.empty(2, 3, *shape, device="meta"))
    assert local.shape == (2, 48, *expected)
    assert global_.shape == (2, 48)


def test_the_small_net_is_the_same_family_for_a_cpu():
    net = on_meta(lgd3d_small()).eval()
    with FlopCounterMode(display=False) as counter:
        local, _ = net(torch.empty(1, 3, 16, 112, 112, device="meta"))
    assert local.shape == (1, net.config.out_channels, 4, 7, 7)
    assert 2e6 < num_parameters(net) < 4e6
    assert 1.2e9 < counter.get_total_flops() / 2 < 1.6e9


# ---- the kernels compute what 3-D operators compute ----


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("changes", [{}, {"stride_on": "1x1", "pool1_stride": 4}], ids=["default", "strides moved"])
def test_frames_equal_plain_conv3d_in_outputs_gradients_and_statistics(training, changes):
    ours = tiny_net(**changes).double().train(training)
    plain = copy.deepcopy(ours)
    x = clips(frames=11).double()
    results = []
    for net, forward in ((ours, ours), (plain, lambda c: conv3d_forward(plain, c))):
        local, global_ = forward(x)
        (local.square().mean() + global_.square().mean()).backward()
        results.append((local, global_, net))
    assert relative(results[0][0], results[1][0]) < 1e-12
    assert relative(results[0][1], results[1][1]) < 1e-12
    for (name, a), b in zip(ours.named_parameters(), plain.parameters()):
        assert torch.allclose(a.grad, b.grad, rtol=1e-8, atol=1e-12), name
    for (name, a), b in zip(ours.named_buffers(), plain.buffers()):
        if not name.endswith("num_batches_tracked"):  # a counter of the module, which the plain form bypasses
            # PyTorch's factor n/(n-1) of the running variance counts all B*T*H*W positions in both
            assert torch.allclose(a, b, rtol=1e-12), name


def test_float32_differs_from_plain_conv3d_by_rounding_only():
    net = tiny_net()
    with torch.inference_mode():
        for a, b in zip(net(clips()), conv3d_forward(net, clips())):
            assert relative(a, b) < 5e-6


def test_bfloat16_autocast_stays_close_and_runs_backward():
    net = tiny_net()
    local, global_ = net(clips())
    with torch.autocast("cpu", torch.bfloat16):
        local_bf16, global_bf16 = net(clips())
    assert local_bf16.dtype == torch.bfloat16
    assert relative(local_bf16.float(), local) < 0.05
    assert relative(global_bf16.float(), global_) < 0.05
    (local_bf16.float().mean() + global_bf16.float().mean()).backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in net.parameters())


def test_the_memory_order_of_the_clips_does_not_matter():
    net, x = tiny_net(), clips()
    as_decoded = x.permute(0, 2, 3, 4, 1).contiguous().permute(0, 4, 1, 2, 3)  # (B, T, H, W, C) memory
    with torch.inference_mode():
        assert torch.equal(net(as_decoded)[0], net(x)[0])
    assert to_frames(as_decoded).data_ptr() == as_decoded.data_ptr(), "no copy"


@pytest.mark.parametrize(("frames", "stride"), [(8, 2), (7, 2), (16, 4), (3, 4), (2, 2)])
def test_max_pool_time_is_2x1x1_pooling(frames, stride):
    x = clips(frames=frames, height=3, width=2).requires_grad_()
    ours = to_clips(max_pool_time(to_frames(x), 2, stride), 2)
    expected = F.max_pool3d(x, (2, 1, 1), stride=(stride, 1, 1))
    assert torch.equal(ours, expected)
    ours_grad, expected_grad = (torch.autograd.grad(y.square().sum(), x)[0] for y in (ours, expected))
    assert torch.equal(ours_grad, expected_grad)


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 1e-6), (torch.bfloat16, 2**-7)])
def test_mean_of_clip(dtype, limit):
    x = clips(frames=4).abs()
    expected = x.mean(dim=(2, 3, 4))
    assert relative(mean_of_clip(to_frames(x).to(dtype), 2).float(), expected) < limit


# ---- the equations ----


def numpy_conv(x, weight, stride=1):
    """(C, T, H, W) by (O, C, t, h, w), zero padded to the same size; written as a sum over taps."""
    taps = weight.shape[2:]
    x = np.pad(x, [(0, 0)] + [(k // 2, k // 2) for k in taps])
    size = [n - k + 1 for n, k in zip(x.shape[1:], taps)]
    out = 0.0
    for t, h, w in np.ndindex(*taps):
        window = x[:, t : t + size[0], h : h + size[1] : stride, w : w + size[2] : stride]
        out = out + np.einsum("oc,cthw->othw", weight[:, :, t, h, w], window)
    return out


def numpy_block(block, x, g):
    """Eq. 2 and 3, 8, 9 for one clip: x (C, T, H, W), g (C,)."""
    p = {name: tensor.detach().numpy().astype(np.float64) for name, tensor in block.state_dict().items()}

    def norm(name, x):
        scale = p[f"{name}.weight"] / np.sqrt(p[f"{name}.running_var"] + 1e-5)
        return (x - p[f"{name}.running_mean"].reshape(-1, 1, 1, 1)) * scale.reshape(-1, 1, 1, 1) + p[
            f"{name}.bias"
        ].reshape(-1, 1, 1, 1)

    def matrix(name):
        return p[f"{name}.outer.weight"] @ p[f"{name}.inner.weight"]

    def relu(x):
        return np.maximum(x, 0)

    def update_global(x, g):
        pooled = x.mean(axis=(1, 2, 3))
        if block.block in ("v1", "none"):
            return pooled
        return relu(matrix("local_to_global") @ pooled + matrix("global_to_global") @ g)

    stride = block.unit.conv2.stride[0]
    if block.global_first:
        g = update_global(x, g)
    out = relu(norm("unit.bn1", numpy_conv(x, p["unit.conv1.weight"][:, :, None])))
    out = numpy_conv(out, p["unit.conv2.weight"][:, :, None], stride)
    out = relu(norm("unit.bn2", numpy_conv(out, p["unit.temporal.weight"][..., None])))
    out = norm("unit.bn3", numpy_conv(out, p["unit.conv3.weight"][:, :, None]))
    shortcut = x
    if block.unit.downsample is not None:
        shortcut = norm("unit.downsample.1", numpy_conv(x, p["unit.downsample.0.weight"][:, :, None], stride))
    residual = out + shortcut
    if block.block in ("lgd", "v1"):
        residual = residual + (matrix("global_to_local") @ g).reshape(-1, 1, 1, 1)
    elif block.block == "v2":
        residual = residual / (1 + np.exp(-(matrix("global_to_local") @ g))).reshape(-1, 1, 1, 1)
    x = relu(residual)
    return x, g if block.global_first else update_global(x, g)


@pytest.mark.parametrize(
    ("kind", "order"),
    [
        ("lgd", "paper"),
        ("v1", "paper"),
        ("v2", "paper"),
        ("none", "paper"),
        ("lgd", "authors2021"),
        ("v2", "authors2021"),
    ],
)
@pytest.mark.parametrize("stride", [1, 2])
def test_a_block_computes_the_equations(kind, order, stride):
    channels = 16 if stride == 1 else 32
    config = LGD3DConfig(**TINY, block=kind, order=order)
    block = randomise(LGDBlock(config, 16, channels, stride)).double().eval()
    x = torch.rand(2, 16, 3, 4, 6, dtype=torch.float64)
    g = torch.rand(2, 16, dtype=torch.float64)
    with torch.inference_mode():
        frames, global_ = block(to_frames(x), g)
    local = to_clips(frames, 2)
    for i in range(2):
        expected_x, expected_g = numpy_block(block, x[i].numpy(), g[i].numpy())
        np.testing.assert_allclose(local[i].numpy(), expected_x, atol=1e-12)
        np.testing.assert_allclose(global_[i].numpy(), expected_g, atol=1e-12)


def test_the_net_starts_with_the_mean_after_pool1_and_ends_with_g_of_the_last_map():
    net, x = tiny_net(), clips()
    seen = {}
    net.res2[0].register_forward_pre_hook(lambda _, inputs: seen.update(x1=inputs[0].clone(), g1=inputs[1]))
    last = net.res5[0]
    last.register_forward_pre_hook(lambda _, inputs: seen.update(before=inputs[1]))
    with torch.inference_mode():
        local, global_ = net(x)
        assert torch.allclose(seen["g1"], to_clips(seen["x1"], 2).mean(dim=(2, 3, 4)), atol=1e-6)
        expected = last.local_to_global(local.mean(dim=(2, 3, 4))) + last.global_to_global(seen["before"])
    assert torch.allclose(global_, torch.relu(expected), atol=1e-5)


@pytest.mark.parametrize("kind", ["v1", "none"])
def test_without_a_global_recursion_the_vector_is_the_mean_of_the_local_map(kind):
    with torch.inference_mode():
        local, global_ = tiny_net(block=kind)(clips())
    assert torch.allclose(global_, local.mean(dim=(2, 3, 4)), atol=1e-6)


def test_v2_with_a_zero_matrix_halves_the_unit():
    block = randomise(LGDBlock(LGD3DConfig(**TINY, block="v2"), 16, 16, 1)).eval()
    torch.nn.init.zeros_(block.global_to_local.outer.weight)
    frames, g = torch.rand(4, 16, 3, 3), torch.rand(1, 16)
    with torch.inference_mode():
        assert torch.equal(block(frames, g)[0], torch.relu(block.unit(frames, 1) / 2))


def test_global_diffusion_reaches_where_local_kernels_do_not():
    far = (slice(None), slice(None), -1, -1, -1)

    def change_far_away(kind):
        blocks = [randomise(LGDBlock(LGD3DConfig(**TINY, block=kind), 16, 16, 1), i).double().eval() for i in (0, 1)]
        before = torch.rand(1, 16, 6, 9, 9, generator=torch.Generator().manual_seed(0)).double()
        after = before.clone()
        after[:, :, 0, 0, 0] += 1  # two 1x3x3 and 3x1x1 reach two cells and two frames far
        maps = []
        for x in (before, after):
            frames, g = to_frames(x), x.mean(dim=(2, 3, 4))
            for block in blocks:
                frames, g = block(frames, g)
            maps.append(to_clips(frames, 1)[far])
        return (maps[0] - maps[1]).abs().max().item()

    assert change_far_away("none") == 0
    assert change_far_away("lgd") > 1e-6
    assert change_far_away("v1") > 1e-6


@pytest.mark.parametrize("kind", ["lgd", "v1", "v2", "none"])
def test_outputs_are_not_negative(kind):
    with torch.inference_mode():
        local, global_ = tiny_net(block=kind)(clips())
    assert local.min() >= 0
    assert global_.min() >= 0
    assert local.max() > 0
    assert global_.max() > 0


@pytest.mark.parametrize("order", ["paper", "authors2021"])
def test_clips_of_a_batch_do_not_see_each_other(order):
    net, x = tiny_net(order=order), clips(batch=3)
    other = torch.cat([x[:1], clips(batch=2, seed=9)])
    with torch.inference_mode():
        for a, b, alone in zip(net(x), net(other), net(x[:1])):
            assert relative(a[:1], alone) < 1e-5
            assert relative(a[:1], b[:1]) < 1e-5
            assert relative(a[1:], b[1:]) > 1e-3


def test_time_reversal_is_unseen_with_identity_temporal_kernels_only():
    net, x = tiny_net(), clips()
    backwards = x.flip(2)
    with torch.inference_mode():
        assert relative(net(backwards)[1], net(x)[1]) > 1e-4
        identity_temporal_(net)
        local, global_ = net(x)
        local_backwards, global_backwards = net(backwards)
    assert relative(global_backwards, global_) < 1e-5
    assert relative(local_backwards.flip(2), local) < 1e-5


@pytest.mark.parametrize(("divisor", "rank"), [(8, 6), (16, 3), (None, 48)])
def test_rank_of_the_matrices(divisor, rank):
    block = randomise(LGDBlock(LGD3DConfig(**{**TINY, "rank_divisor": divisor}), 48, 48, 1)).double()
    for matrix in (block.global_to_local, block.local_to_global, block.global_to_global):
        assert torch.linalg.matrix_rank(matrix(torch.eye(48).double())) == rank


# ---- configuration and refusals ----


@pytest.mark.parametrize(
    "config", [lgd3d_resnet50(), lgd3d_small(block="v1", input="flow"), LGD3DConfig(rank_divisor=None)]
)
def test_config_survives_json(config):
    assert LGD3DConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_flow_has_two_channels():
    local, _ = tiny_net(input="flow")(clips(channels=2))
    assert local.shape == (2, 48, 2, 2, 3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"blocks": "lgd"}, "unknown option 'blocks'; LGD3DConfig has depths, widths"),
        ({"block": "v3"}, "block must be one of lgd, v1, v2, none, got 'v3'"),
        ({"depths": [3, 4, 6]}, "need 4 entries"),
        ({"widths": [64, 128, 0, 512]}, "widths must be whole numbers of 1 or more"),
        ({"depths": [1, 1, 1, 1.5]}, "depths must be whole numbers of 1 or more"),
        ({"pool1_stride": "2"}, "pool1_stride must be whole numbers of 1 or more"),
        ({"widths": [64, 128, 257, 512]}, "multiples of expansion 4"),
        ({"rank_divisor": 0}, "rank_divisor must be None or 1..256"),
        ({"order": "authors2021", "block": "v1"}, "defined for blocks 'lgd' and 'v2', not 'v1'"),
    ],
)
def test_a_config_that_means_nothing_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        LGD3DConfig.from_dict(values)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3, 16, 32, 32), r"expected clips \(B, 3, T, H, W\), got \(3, 16, 32, 32\)"),
        ((1, 2, 16, 32, 32), r"expected clips \(B, 3, T, H, W\)"),
        ((1, 3, 3, 32, 32), "at least 4 frames, got 3"),
        ((0, 3, 4, 32, 32), r"at least one clip and one pixel, got \(0, 3, 4, 32, 32\)"),
    ],
)
def test_clips_of_a_wrong_shape_are_refused(shape, message):
    with pytest.raises(ValueError, match=message):
        tiny_net()(torch.zeros(shape))


def test_default_start_is_finite():
    with torch.inference_mode():
        local, global_ = LGD3D(LGD3DConfig(**TINY)).eval()(clips())
    assert math.isfinite(local.sum())
    assert math.isfinite(global_.sum())
