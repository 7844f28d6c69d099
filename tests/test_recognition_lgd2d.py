"""LGD-2D against torchvision's ResNet, the equations of the paper, and what a set of frames must not depend on."""

import copy
import json

import pytest
import torch
from torch import nn
from torchvision.models import ResNet50_Weights
from torchvision.models.resnet import Bottleneck, ResNet

from recognition.fold import fold_batch_norm
from recognition.frame_maps import to_clips, to_frames
from recognition.heads import LocalHead
from recognition.initialise import load_imagenet_, xavier_caffe_, zero_diffusion_
from recognition.lgd2d import LGD2D, LGD2DConfig, lgd2d_resnet101, lgd2d_small, tsn_resnet50
from recognition.lgd3d import LGD3D, LGD3DConfig, lgd3d_small
from recognition.lgd_block import LGDBlock, TemporalConv

TINY = {"depths": (1, 2, 1, 1), "widths": (16, 24, 32, 48), "stem_width": 8, "rank_divisor": 8}
KINDS = [("lgd", "paper"), ("v1", "paper"), ("v2", "paper"), ("lgd", "authors2021"), ("v2", "authors2021")]


def randomise(net, seed=0):
    """Xavier kernels, and batch norms as if trained."""
    generator = torch.Generator().manual_seed(seed)
    xavier_caffe_(net, generator=generator)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1, generator=generator)
                module.running_var.uniform_(0.5, 2, generator=generator)
                module.weight.uniform_(0.5, 1.5, generator=generator)
                module.bias.normal_(0, 0.1, generator=generator)
    return net


def tiny_net(seed=0, **changes):
    return randomise(LGD2D(LGD2DConfig(**{**TINY, **changes})), seed).eval()


def triples(batch=2, frames=3, height=64, width=96, channels=3, seed=1):
    return torch.randn(batch, channels, frames, height, width, generator=torch.Generator().manual_seed(seed))


def relative(a, b):
    return float((a - b).abs().max() / b.abs().max())


# ---- sizes ----


@pytest.mark.parametrize(
    ("changes", "shape", "expected"),
    [
        pytest.param({}, (3, 224, 224), (3, 7, 7), id="training crop"),
        pytest.param({}, (3, 240, 320), (3, 8, 10), id="test frame, rounded up"),
        pytest.param({}, (1, 33, 1), (1, 2, 1), id="one frame, odd sizes"),
        pytest.param({}, (25, 32, 32), (25, 1, 1), id="many frames"),
        pytest.param({"max_pool": False}, (3, 112, 112), (3, 7, 7), id="without max pooling"),
    ],
)
def test_size_of_the_local_map(changes, shape, expected):
    with torch.device("meta"):
        net = LGD2D(LGD2DConfig(**{**TINY, **changes})).eval()
        local, global_ = net(torch.empty(2, 3, *shape))
    assert local.shape == (2, 48, *expected)
    assert global_.shape == (2, 48)
    assert expected[1] == -(-shape[1] // net.config.spatial_stride)
    assert expected[0] == shape[0] // net.config.temporal_stride


def test_the_small_net_has_maps_as_large_as_the_small_lgd3d():
    config, three = lgd2d_small(), lgd3d_small()
    assert (config.depths, config.widths, config.spatial_stride) == (three.depths, three.widths, three.spatial_stride)
    assert not any(isinstance(m, TemporalConv) for m in LGD2D(LGD2DConfig(**TINY)).modules())


# ---- torchvision's ResNet inside ----

NARROW = {"depths": (1, 1, 1, 1), "expansion": 16}  # 256..2048 channels out, a sixteenth of that inside


@pytest.fixture(scope="module")
def images():
    torch.manual_seed(0)
    net = ResNet(Bottleneck, [1, 1, 1, 1], width_per_group=16, num_classes=7)
    return randomise(net).eval()


@pytest.fixture(scope="module")
def weights(images, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "narrow.pth"
    torch.save(images.state_dict(), path)
    return path


@pytest.fixture
def net(weights):
    net = LGD2D(LGD2DConfig(**NARROW))
    load_imagenet_(net, weights)
    return net.eval()


def last_map(images, x):
    """(B, 2048, H/32, W/32) of torchvision's network."""
    x = images.maxpool(images.relu(images.bn1(images.conv1(x))))
    for layer in (images.layer1, images.layer2, images.layer3, images.layer4):
        x = layer(x)
    return x


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_the_imagenet_start_is_torchvisions_network_on_every_frame(net, images, training):
    clips = triples(height=64, width=64)
    images = copy.deepcopy(images).train(training)
    with torch.no_grad():
        local, _ = net.train(training)(clips)
        expected = last_map(images, clips.transpose(1, 2).flatten(0, 1))
    assert relative(local.transpose(1, 2).flatten(0, 1), expected) < (5e-4 if training else 1e-5)


def test_the_local_score_at_the_start_is_the_average_consensus_of_a_temporal_segment_network(net, images):
    clips = triples()
    head = LocalHead(2048, 7)
    head.local.load_state_dict(images.fc.state_dict())
    with torch.no_grad():
        consensus = torch.stack([images(clips[:, :, t]) for t in range(3)]).mean(dim=0)
        assert relative(head(net(clips)[0]), consensus) < 1e-5


def test_what_an_image_network_cannot_start_is_refused(weights):
    with pytest.raises(ValueError, match="cannot start from ImageNet"):
        load_imagenet_(LGD2D(LGD2DConfig(**NARROW, block="v2")), weights)
    with pytest.raises(ValueError, match="are for stride_on='3x3'"):
        load_imagenet_(LGD2D(LGD2DConfig(**NARROW, stride_on="1x1")), ResNet50_Weights.IMAGENET1K_V1)


def test_flow_starts_from_the_mean_of_the_colour_kernels(weights, images):
    net = LGD2D(LGD2DConfig(**NARROW, input="flow"))
    load_imagenet_(net, weights)
    grey = images.conv1.weight.mean(dim=1)
    assert torch.equal(net.stem.conv.weight, torch.stack([grey, grey], dim=1))


# ---- the equations ----


@pytest.mark.parametrize(("kind", "order"), [*KINDS, ("none", "paper")])
def test_a_block_computes_the_equations(kind, order):
    block = randomise(LGDBlock(LGD2DConfig(**TINY, block=kind, order=order), 16, 32, 2)).double().eval()
    x, g = torch.rand(2, 16, 3, 4, 6).double(), torch.rand(2, 16).double()

    def mean(clips):
        return clips.mean(dim=(2, 3, 4))

    def next_g(clips):
        if kind in ("v1", "none"):
            return mean(clips)
        return (block.local_to_global(mean(clips)) + block.global_to_global(g)).relu()

    with torch.no_grad():
        frames, global_ = block(to_frames(x), g)
        seen = next_g(x) if order == "authors2021" else g
        residual = torch.stack([block.unit(x[:, :, t], 2) for t in range(3)], dim=2)  # frame by frame
        if kind == "v2":
            residual *= torch.sigmoid(block.global_to_local(seen))[..., None, None, None]
        elif kind != "none":
            residual += block.global_to_local(seen)[..., None, None, None]
        expected = residual.relu()
        assert torch.allclose(to_clips(frames, 2), expected, atol=1e-12)
        assert torch.allclose(global_, seen if order == "authors2021" else next_g(expected), atol=1e-12)


@pytest.mark.parametrize("divisor", [8, None], ids=["low rank", "full rank"])
def test_zero_diffusion_is_the_plain_network_bit_for_bit(divisor):
    lgd, plain = (tiny_net(rank_divisor=divisor, block=block) for block in ("lgd", "none"))
    plain.load_state_dict({k: v for k, v in lgd.state_dict().items() if k in plain.state_dict()})
    with torch.no_grad():
        assert not torch.equal(lgd(triples())[0], plain(triples())[0])
        zero_diffusion_(lgd)
        assert torch.equal(lgd(triples())[0], plain(triples())[0])
        assert torch.equal(lgd.train()(triples())[0], plain.train()(triples())[0])


@pytest.mark.parametrize("kind", ["v1", "none"])
def test_without_a_global_recursion_the_vector_is_the_mean_of_the_local_map(kind):
    with torch.no_grad():
        local, global_ = tiny_net(block=kind)(triples())
    assert torch.allclose(global_, local.mean(dim=(2, 3, 4)), atol=1e-6)


# ---- what the outputs may depend on ----


@pytest.mark.parametrize(("kind", "order"), KINDS)
def test_the_order_of_the_frames_does_not_matter(kind, order):
    net, clips = tiny_net(block=kind, order=order), triples()
    with torch.no_grad():
        local, global_ = net(clips)
        turned_local, turned_global = net(clips[:, :, [2, 0, 1]])
    assert relative(turned_local, local[:, :, [2, 0, 1]]) < 1e-5
    assert relative(turned_global, global_) < 1e-5


def test_the_order_of_the_frames_matters_to_lgd3d():
    net, clips = randomise(LGD3D(LGD3DConfig(**TINY))).eval(), triples(frames=8)
    with torch.no_grad():
        assert relative(net(clips[:, :, [2, 0, 1, 3, 5, 4, 7, 6]])[1], net(clips)[1]) > 1e-4


@pytest.mark.parametrize(
    ("kind", "zero", "meets"),
    [
        ("lgd", False, True),
        ("v1", False, True),
        ("v2", False, True),
        ("lgd", True, False),
        ("v1", True, False),
        ("none", False, False),
    ],
)
def test_frames_meet_on_the_global_path_only(kind, zero, meets):
    net, clips = tiny_net(block=kind), triples()
    if zero:
        zero_diffusion_(net)
    other = clips.clone()
    other[:, :, 2] += 1
    with torch.no_grad():
        change = (net(other)[0] - net(clips)[0])[:, :, :2].abs().max()
    assert (change > 1e-6) if meets else (change == 0)


@pytest.mark.parametrize("order", ["paper", "authors2021"])
def test_videos_of_a_batch_do_not_see_each_other(order):
    net, clips = tiny_net(order=order), triples(batch=3)
    other = torch.cat([clips[:1], triples(batch=2, seed=9)])
    with torch.no_grad():
        for a, b, alone in zip(net(clips), net(other), net(clips[:1])):
            assert relative(a[:1], alone) < 1e-5
            assert relative(a[:1], b[:1]) < 1e-5
            assert relative(a[1:], b[1:]) > 1e-3


def test_repeated_frames_are_the_same_video():
    net, clips = tiny_net(), triples()
    with torch.no_grad():
        assert relative(net(clips.repeat(1, 1, 2, 1, 1))[1], net(clips)[1]) < 1e-5


@pytest.mark.parametrize("kind", ["lgd", "v1", "v2", "none"])
def test_outputs_are_not_negative(kind):
    with torch.no_grad():
        local, global_ = tiny_net(block=kind)(triples())
    assert local.min() >= 0
    assert global_.min() >= 0
    assert local.max() > 0
    assert global_.max() > 0


def test_folded_net_gives_the_same_numbers():
    net, clips = tiny_net(), triples()
    folded = fold_batch_norm(net)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    with torch.no_grad():
        for got, expected in zip(folded(clips), net(clips)):
            assert relative(got, expected) < 1e-5


# ---- configuration and refusals ----


@pytest.mark.parametrize("config", [lgd2d_resnet101(), tsn_resnet50(input="flow"), lgd2d_small(rank_divisor=None)])
def test_config_survives_json(config):
    assert LGD2DConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"pool1_stride": 2}, "unknown option 'pool1_stride'; LGD2DConfig has depths, widths"),
        ({"block": "v3"}, "block must be one of lgd, v1, v2, none, got 'v3'"),
        ({"widths": [64, 128, 0, 512]}, "widths must be whole numbers of 1 or more"),
        ({"order": "authors2021", "block": "none"}, "defined for blocks 'lgd' and 'v2', not 'none'"),
    ],
)
def test_a_config_that_means_nothing_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        LGD2DConfig.from_dict(values)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3, 3, 64, 64), r"expected clips \(B, 3, T, H, W\), got \(3, 3, 64, 64\)"),
        ((1, 2, 3, 64, 64), r"expected clips \(B, 3, T, H, W\)"),
        ((1, 3, 0, 64, 64), "at least one frame and one pixel"),
    ],
)
def test_clips_of_a_wrong_shape_are_refused(shape, message):
    with pytest.raises(ValueError, match=message):
        tiny_net()(torch.zeros(shape))
