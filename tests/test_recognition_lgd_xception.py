"""LGD-P3D-Xception: its matrices, the equations written out, and Xception frame by frame as its start."""

import dataclasses
import json
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from recognition.initialise import identity_temporal_
from recognition.lgd_block import TemporalConv
from recognition.lgd_xception import (
    LGDXception,
    LGDXceptionConfig,
    lgd_xception,
    lgd_xception_small,
    start_from_imagenet_,
)
from tests.xception_samples import MIDDLE, WIDTHS, published_map, published_state

TINY = {"num_classes": 3, "widths": WIDTHS, "middle_modules": MIDDLE, "dropout": 0.0, "rank_divisor": 4}
BLOCKS = ("lgd", "none")


def clips(batch=2, channels=3, frames=8, side=36, seed=1):
    return torch.randn(batch, channels, frames, side, side, generator=torch.Generator().manual_seed(seed))


def tiny_net(seed=0, **changes):
    return LGDXception(LGDXceptionConfig(**{**TINY, **changes}), generator=torch.Generator().manual_seed(seed))


def with_diffusion(net):
    """W^{xg} as after training."""
    for block in net.blocks:
        torch.nn.init.normal_(block.global_to_local.outer.weight)
    return net


def on_meta(config):
    with torch.device("meta"):
        return LGDXception(config).eval()


def num_parameters(net):
    return sum(parameter.numel() for parameter in net.parameters())


# ---- the matrices ----


def test_matrices_of_each_block_have_a_sixteenth_of_its_width_as_rank():
    net = on_meta(lgd_xception())
    widths = (64, 128, 256, *[728] * 9, 1024)
    assert net.body.unit_widths == widths
    # W^{gx} is C -> C/16 -> C, W^{gg} and W^{xg} are C' -> C/16 -> C
    assert [num_parameters(block) for block in net.blocks] == [
        width // 16 * (4 * width + 2 * before) for before, width in pairwise(widths)
    ]


# ---- the start from images ----


@pytest.fixture(scope="module")
def weights():
    return published_state()


@pytest.fixture(scope="module")
def weights_file(weights, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "xception.pth"
    torch.save(weights, path)
    return path


@pytest.mark.parametrize("block", BLOCKS)
def test_started_from_images_a_still_clip_is_what_the_image_network_makes_of_its_frame(block, weights, weights_file):
    net = tiny_net(block=block).eval()
    start_from_imagenet_(net, weights_file)
    picture = clips(frames=1)
    with torch.no_grad():
        expected = published_map(weights, picture[:, :, 0])
        local, _ = net.paths(picture.expand(-1, -1, 8, -1, -1))
        assert local.shape[2] == 2
        for step in range(2):
            torch.testing.assert_close(local[:, :, step], expected, atol=1e-4, rtol=1e-4)


def test_a_start_from_images_stops_what_diffusion_there_was(weights_file):
    net = with_diffusion(tiny_net(input="flow"))
    start_from_imagenet_(net, weights_file)
    plain = tiny_net(input="flow", block="none").eval()
    start_from_imagenet_(plain, weights_file)
    with torch.no_grad():
        flow = clips(channels=2)
        assert torch.equal(net.eval().paths(flow)[0], plain.paths(flow)[0])


@pytest.mark.parametrize("groups", [1, 6], ids=["full", "depthwise"])
def test_the_identity_in_time_passes_frames_on(groups):
    conv = TemporalConv(6, groups=groups)
    identity_temporal_(conv)
    frames = torch.randn(2 * 5, 6, 4, 3)
    with torch.no_grad():
        assert torch.equal(conv(frames, 2), frames)


# ---- the equations ----


def test_at_the_start_the_local_path_is_the_baseline_and_after_a_step_it_is_not():
    net, plain = tiny_net(), tiny_net(block="none")
    own = plain.state_dict()
    plain.load_state_dict({name: v for name, v in net.state_dict().items() if name in own})
    for training in (True, False):
        assert torch.equal(net.train(training)(clips())[0], plain.train(training)(clips())[0])
    optimiser = torch.optim.SGD(net.train().parameters(), lr=0.1)
    sum(F.cross_entropy(logits, torch.tensor([0, 1])) for logits in net(clips())).backward()
    optimiser.step()
    plain.load_state_dict({name: v for name, v in net.state_dict().items() if name in own})
    assert not torch.equal(net.eval()(clips())[0], plain.eval()(clips())[0])


def test_the_recursion_written_out():
    net, x = with_diffusion(tiny_net()).eval(), clips()
    body, batch = net.body, x.shape[0]

    def in_clips(frames):
        return frames.unflatten(0, (batch, -1))  # (B, T, C, H, W)

    with torch.no_grad():
        local = in_clips(body.stem(x.transpose(1, 2).flatten(0, 1), batch))
        local = torch.maximum(local[:, ::2], local[:, 1::2])
        global_ = local.mean(dim=(1, 3, 4))
        for number, (unit, block) in enumerate(zip(body.units, net.blocks), 1):
            if number == 3:
                local = torch.maximum(local[:, ::2], local[:, 1::2])
            spread, seen, kept = (
                matrix.outer.weight @ matrix.inner.weight
                for matrix in (block.global_to_local, block.local_to_global, block.global_to_global)
            )
            local = in_clips(unit(local.flatten(0, 1), batch)) + (global_ @ spread.T)[:, None, :, None, None]
            global_ = torch.relu(torch.relu(local).mean(dim=(1, 3, 4)) @ seen.T + global_ @ kept.T)
        local = in_clips(body.exit(local.flatten(0, 1), batch)).transpose(1, 2)

        paths = net.paths(x)
        torch.testing.assert_close(paths[0], local, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(paths[1], global_, atol=1e-4, rtol=1e-4)
        pooled = paths[0].mean(dim=(2, 3, 4))
        torch.testing.assert_close(net(x)[0], net.head.local(pooled))
        torch.testing.assert_close(net(x)[1], net.head.global_(paths[1]))
        torch.testing.assert_close(net.features(x), pooled)


def test_frames_see_their_neighbours_in_time():
    net, x = tiny_net().eval(), clips()
    with torch.no_grad():
        assert (net(x)[0] - net(x.flip(2))[0]).abs().max() > 1e-4 * net(x)[0].abs().max()


def test_clips_of_a_batch_do_not_see_each_other():
    net, x = with_diffusion(tiny_net()).eval(), clips(3)
    with torch.no_grad():
        together, alone = net(x), [net(clip[None]) for clip in x]
    for head in (0, 1):
        expected = torch.cat([logits[head] for logits in alone])
        assert (together[head] - expected).abs().max() < 1e-5 * expected.abs().max()


# ---- as a classifier ----


@pytest.mark.parametrize(("block", "kind"), [("lgd", "rgb"), ("lgd", "flow"), ("none", "rgb")])
def test_shapes_and_gradients(block, kind):
    net, x = tiny_net(block=block, input=kind), clips(4, 3 if kind == "rgb" else 2)
    with_diffusion(net)
    logits = net(x)
    assert [tuple(member.shape) for member in logits] == [(4, 3)] * (2 if block == "lgd" else 1)
    assert net.features(x).shape == (4, WIDTHS[-1])
    assert net.class_maps(x).shape == (4, 3, 2, 1, 1)  # 8 frames -> 4 -> 2; 36 pixels -> 17 -> 15 -> 8, 4, 2, 1
    sum(F.cross_entropy(member, torch.tensor([0, 1, 2, 1])) for member in logits).backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().max() > 0] == []


def test_the_mean_of_a_class_map_and_the_bias_are_the_logit():
    net = tiny_net().eval()
    torch.nn.init.normal_(net.head.local.bias)
    with torch.no_grad():
        maps = net.class_maps(clips(side=70))
        assert maps.shape == (2, 3, 2, 2, 2)
        torch.testing.assert_close(maps.mean(dim=(2, 3, 4)) + net.head.local.bias, net(clips(side=70))[0])


def test_bfloat16_autocast_stays_close():
    net, x = with_diffusion(tiny_net()).eval(), clips()
    with torch.no_grad():
        with torch.autocast("cpu", torch.bfloat16):
            rough = [member.float() for member in net(x)]
        for a, b in zip(rough, net(x)):
            assert (a - b).abs().max() < 0.1 * b.abs().max()


def test_a_long_clip_is_pooled_by_four_with_the_same_weights():
    net = tiny_net()
    long = LGDXception(dataclasses.replace(net.config, pool1_stride=4)).eval()
    long.load_state_dict(net.state_dict())
    with torch.no_grad():
        assert long.class_maps(clips(1, frames=32)).shape[2] == 4  # 32 -> 8 -> 4


def test_config_survives_json():
    for config in (lgd_xception(), lgd_xception_small(block="none", input="flow", rank_divisor=None, pool1_stride=4)):
        assert LGDXceptionConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"block": "v1"}, "block must be one of lgd, none, got 'v1'"),
        ({"input": "audio"}, "input must be one of rgb, flow, got 'audio'"),
        ({"rank_divisor": 0}, "rank_divisor must be"),
        ({"pool1_stride": 0}, "pool1_stride must be"),
        ({"widths": (1, 2)}, "widths needs 8 entries"),
        ({"order": "paper"}, "unknown option 'order'; LGDXceptionConfig has num_classes, block"),
    ],
)
def test_a_config_that_means_nothing_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        LGDXceptionConfig.from_dict(values)


def test_wrong_clips_are_refused():
    net = tiny_net()
    with pytest.raises(ValueError, match=r"expected clips \(B, 3, T, H, W\), got \(2, 2, 8, 36, 36\)"):
        net(clips(channels=2))
    with pytest.raises(ValueError, match="at least 4 frames and 7 pixels a side, got"):
        net(clips(frames=3))
    with pytest.raises(ValueError, match="at least 4 frames and 7 pixels a side, got"):
        net(clips(side=6))
    assert net.eval()(clips(frames=4, side=7))[0].shape == (2, 3)
