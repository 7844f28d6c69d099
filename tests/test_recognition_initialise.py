"""Starts of the network: Caffe's Xavier, and a 2-D ResNet's weights made three-dimensional."""

import copy
import math
import pickle

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models import ResNet50_Weights
from torchvision.models.resnet import Bottleneck, ResNet

from recognition.initialise import identity_temporal_, load_imagenet_, xavier_caffe_, zero_diffusion_
from recognition.lgd3d import LGD3D, LGD3DConfig, lgd3d_resnet50
from recognition.model_files import ModelFileError

# torchvision's ResNet with one narrow unit a stage: 256..2048 channels out, a sixteenth of that inside
NARROW = {"depths": (1, 1, 1, 1), "expansion": 16}


def relative(a, b):
    return float((a - b).abs().max() / b.abs().max())


def torchvision_net(layers=(1, 1, 1, 1), seed=0):
    """Random weights, and batch norms as if trained."""
    torch.manual_seed(seed)
    net = ResNet(Bottleneck, list(layers), width_per_group=16, num_classes=7)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
            nn.init.normal_(module.running_mean, 0, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return net.eval()


@pytest.fixture(scope="module")
def images():
    return torchvision_net()


@pytest.fixture(scope="module")
def weights(images, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "narrow.pth"
    torch.save(images.state_dict(), path)
    return path


@pytest.fixture
def net(weights):
    net = LGD3D(LGD3DConfig(**NARROW))
    load_imagenet_(net, weights)
    return net.eval()


def last_map(images, x, pool=None):
    """(B, 2048, H/16, W/16) of torchvision's network without its max pooling; H/32, W/32 with it."""
    x = images.relu(images.bn1(images.conv1(x)))
    x = x if pool is None else pool(x)
    for layer in (images.layer1, images.layer2, images.layer3, images.layer4):
        x = layer(x)
    return x


# ---- from scratch ----


def test_xavier_is_uniform_within_the_root_of_three_over_fan_in():
    net = LGD3D(LGD3DConfig((1, 1, 1, 1), (256, 128, 64, 64), 64, rank_divisor=4, bias=True))
    for parameter in net.parameters():
        nn.init.constant_(parameter, 5.0)
    xavier_caffe_(net)
    unit, spread = net.res2[0].unit, net.res2[0].global_to_local
    for weight, fan_in in [
        (net.stem.conv.weight, 3 * 7 * 7),
        (net.stem.temporal.weight, 64 * 3),
        (unit.conv1.weight, 64),
        (unit.conv2.weight, 64 * 3 * 3),
        (unit.temporal.weight, 64 * 3),
        (spread.inner.weight, 64),
        (spread.outer.weight, 256 // 4),
    ]:
        bound = math.sqrt(3 / fan_in)
        assert 0.98 * bound < weight.max() <= bound
        assert -bound <= weight.min() < -0.98 * bound
        assert weight.std().item() == pytest.approx(math.sqrt(1 / fan_in), rel=0.05)
    biases = [parameter for name, parameter in net.named_parameters() if name.endswith("bias")]
    assert len(biases) > 20
    assert not any(bias.any() for bias in biases)
    assert all((m.weight == 1).all() for m in net.modules() if isinstance(m, nn.BatchNorm2d))


def test_a_generator_makes_the_start_repeatable():
    states = []
    for seed in (1, 1, 2):
        net = LGD3D(LGD3DConfig((1, 1, 1, 1), (16, 16, 16, 16), 8))
        xavier_caffe_(net, generator=torch.Generator().manual_seed(seed))
        states.append(torch.cat([parameter.detach().flatten() for parameter in net.parameters()]))
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


@pytest.mark.parametrize("divisor", [8, None], ids=["low rank", "full rank"])
@pytest.mark.parametrize("bias", [False, True])
def test_zero_diffusion_is_the_plain_network_bit_for_bit(divisor, bias):
    options = {"depths": (1, 2, 1, 1), "widths": (16, 24, 32, 48), "stem_width": 8}
    lgd = LGD3D(LGD3DConfig(**options, rank_divisor=divisor, bias=bias))
    plain = LGD3D(LGD3DConfig(**options, block="none"))
    plain.load_state_dict({k: v for k, v in lgd.state_dict().items() if k in plain.state_dict()})
    clips = torch.randn(2, 3, 8, 32, 32)
    with torch.no_grad():
        assert not torch.equal(lgd(clips)[0], plain(clips)[0])
        zero_diffusion_(lgd)
        plain.load_state_dict({k: v for k, v in lgd.state_dict().items() if k in plain.state_dict()})
        assert torch.equal(lgd(clips)[0], plain(clips)[0]), "training mode"
        assert torch.equal(lgd.eval()(clips)[0], plain.eval()(clips)[0])
    # the inner factor stays, so that the outer one gets a gradient
    if divisor:
        assert all(
            p.any() for name, p in lgd.named_parameters() if name.endswith("global_to_local.inner.weight")
        )


# ---- from ImageNet ----


def test_a_static_clip_gives_the_image_networks_map_at_every_step(net, images):
    picture = torch.randn(2, 3, 48, 64)
    with torch.inference_mode():
        local, _ = net(picture[:, :, None].expand(-1, -1, 16, -1, -1))
        expected = last_map(images, picture)
        with_max_pool = last_map(images, picture, images.maxpool)
    assert local.shape == (2, 2048, 4, 3, 4)
    assert with_max_pool.shape == (2, 2048, 2, 2)
    for step in range(4):
        assert relative(local[:, :, step], expected) < 2e-5


def test_resnet50_itself_is_in_lgd3d(tmp_path):
    torch.manual_seed(0)
    images = torchvision.models.resnet50(num_classes=2).eval()
    torch.save(images.state_dict(), tmp_path / "resnet50.pth")
    net = LGD3D(lgd3d_resnet50()).eval()
    load_imagenet_(net, tmp_path / "resnet50.pth")
    picture = torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        local, _ = net(picture[:, :, None].expand(-1, -1, 16, -1, -1))
        expected = last_map(images, picture)
    for step in range(4):
        assert relative(local[:, :, step], expected) < 2e-5


@pytest.mark.parametrize("norm_before_time", [False, True], ids=["ours", "a norm before the temporal kernel"])
def test_a_static_clip_does_so_with_batch_statistics_as_well(norm_before_time, net, images):
    """The other order is that of P3D's published network: its second norm re-normalises what the first put out."""
    if norm_before_time:
        for stage in (net.res2, net.res3, net.res4, net.res5):
            unit = stage[0].unit
            unit.conv2 = nn.Sequential(unit.conv2, unit.bn2, nn.ReLU())
            unit.bn2 = nn.BatchNorm2d(unit.bn2.num_features)
    picture = torch.randn(4, 3, 64, 64)
    clip = picture[:, :, None].expand(-1, -1, 4, -1, -1)
    with torch.no_grad():
        assert relative(net.eval()(clip)[0][:, :, 0], last_map(images, picture)) < 2e-4
        local, _ = net.train()(clip)
        expected = last_map(copy.deepcopy(images).train(), picture)
    difference = relative(local[:, :, 0], expected)
    assert difference > 0.01 if norm_before_time else difference < 5e-4


def test_time_reversal_is_unseen_at_the_start_and_seen_once_time_is_learned(net):
    clips = torch.randn(1, 3, 16, 32, 32)
    with torch.inference_mode():
        assert relative(net(clips.flip(2))[1], net(clips)[1]) < 1e-5
        nn.init.normal_(net.res4[0].unit.temporal.weight, 0, 0.1)
        assert relative(net(clips.flip(2))[1], net(clips)[1]) > 1e-4


def test_every_tensor_has_its_place(net, images):
    state = images.state_dict()
    assert torch.equal(net.stem.conv.weight, state["conv1.weight"])
    assert torch.equal(net.res5[0].unit.conv3.weight, state["layer4.0.conv3.weight"])
    assert torch.equal(net.res3[0].unit.downsample[1].running_var, state["layer2.0.downsample.1.running_var"])
    assert torch.equal(net.stem.temporal.weight[:, :, 1, 0], torch.eye(64))
    assert not net.stem.temporal.weight[:, :, ::2].any()
    assert not net.res2[0].global_to_local.outer.weight.any()
    assert net.res2[0].global_to_local.inner.weight.abs().max() <= math.sqrt(3 / 64)


def test_flow_starts_from_the_mean_of_the_colour_kernels(weights, images):
    net = LGD3D(LGD3DConfig(**NARROW, input="flow"))
    load_imagenet_(net, weights)
    grey = images.conv1.weight.mean(dim=1)
    assert torch.equal(net.stem.conv.weight, torch.stack([grey, grey], dim=1))


def test_resnet50_takes_torchvisions_weights_enum(monkeypatch):
    with torch.device("meta"):
        shapes = {name: (t.shape, t.dtype) for name, t in torchvision.models.resnet50().state_dict().items()}
    downloads = []

    def download(url, *_, **options):
        downloads.append((url, options.get("check_hash")))
        return {name: torch.full((), 2.0).to(dtype).expand(shape) for name, (shape, dtype) in shapes.items()}

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", download)
    net = LGD3D(lgd3d_resnet50())
    load_imagenet_(net, ResNet50_Weights.IMAGENET1K_V2)
    assert downloads == [(ResNet50_Weights.IMAGENET1K_V2.url, True)]
    spatial = [m for m in net.modules() if type(m) is nn.Conv2d]
    assert len(spatial) == 1 + 16
    assert all((m.weight == 2).all() for m in spatial)


def test_a_file_without_batch_counters_is_taken(images, tmp_path):
    old = {k: v for k, v in images.state_dict().items() if not k.endswith("num_batches_tracked")}
    torch.save(old, tmp_path / "old.pth")
    load_imagenet_(LGD3D(LGD3DConfig(**NARROW)), tmp_path / "old.pth")


# ---- nothing is skipped silently ----


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            lambda s: s.pop("layer3.0.bn2.bias"), r"1 missing \(res4.0.unit.bn2.bias\)", id="missing"
        ),
        pytest.param(lambda s: s.update(extra=torch.ones(1)), r"1 unexpected \(extra\)", id="unexpected"),
        pytest.param(
            lambda s: s.update({"layer1.0.conv2.weight": torch.ones(16, 16, 1, 1)}),
            r"res2.0.unit.conv2.weight is \(16, 16, 1, 1\) and must be \(16, 16, 3, 3\)",
            id="shape",
        ),
        pytest.param(
            lambda s: s.update({"layer5.0.bn": torch.ones(1)}), r"unexpected \(res6.0.unit.bn\)", id="stage"
        ),
        pytest.param(
            lambda s: s["bn1.bias"].fill_(math.nan),
            "stem.bn.bias' are not finite: the file is damaged",
            id="nan",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused_and_the_net_stays_as_it_was(change, message, images, tmp_path):
    state = copy.deepcopy(images.state_dict())
    change(state)
    path = tmp_path / "changed.pth"
    torch.save(state, path)
    net = LGD3D(LGD3DConfig(**NARROW))
    before = copy.deepcopy(net.state_dict())
    with pytest.raises(ModelFileError, match=message) as caught:
        load_imagenet_(net, path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())


def test_a_deeper_network_is_refused(weights):
    with pytest.raises(ModelFileError, match=r"\d+ missing \(res3.1.unit.conv1.weight, \.\.\.\)"):
        load_imagenet_(LGD3D(LGD3DConfig(depths=(1, 2, 1, 1), expansion=16)), weights)


class Harmful:
    def __reduce__(self):
        return (print, ("code from the file ran",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(None, "no such file", id="absent"),
        pytest.param(b"", "not a state_dict saved by torch.save", id="empty"),
        pytest.param(b"just text", "not a state_dict saved by torch.save", id="text"),
        pytest.param(pickle.dumps(Harmful(), protocol=2), "not a state_dict saved by torch.save", id="code"),
        pytest.param({"state_dict": {"conv1.weight": torch.ones(1)}}, "holds no state_dict", id="nested"),
        pytest.param([torch.ones(1)], "holds no state_dict", id="list"),
    ],
)
def test_other_files_are_refused_in_one_line(content, message, tmp_path, capsys):
    path = tmp_path / "weights.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(ModelFileError, match=message) as caught:
        load_imagenet_(LGD3D(LGD3DConfig(**NARROW)), path)
    assert "\n" not in str(caught.value)
    assert "code from the file ran" not in capsys.readouterr().out


def test_networks_that_cannot_start_from_an_image_network_say_so(weights):
    with pytest.raises(ValueError, match="cannot start from ImageNet"):
        load_imagenet_(LGD3D(LGD3DConfig(**NARROW, block="v2")), weights)
    with pytest.raises(ValueError, match="are for stride_on='3x3'"):
        load_imagenet_(LGD3D(LGD3DConfig(**NARROW, stride_on="1x1")), ResNet50_Weights.IMAGENET1K_V1)


def test_identity_temporal_passes_frames_on_unchanged():
    net = LGD3D(LGD3DConfig((1, 1, 1, 1), (16, 16, 16, 16), 8))
    identity_temporal_(net)
    frames = torch.randn(2 * 3, 8, 4, 5)
    with torch.inference_mode():
        assert torch.equal(net.stem.temporal(frames, 2), frames)
