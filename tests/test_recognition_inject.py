"""LGD in torchvision's video networks: the same bits at the start, counts, weights and files."""

import copy
import pickle
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models import WeightsEnum, get_model_weights
from torchvision.models.video import MC3_18_Weights, R3D_18_Weights, mc3_18, r2plus1d_18, r3d_18, s3d

from recognition.global_path import inject_lgd_at
from recognition.inject import (
    KINETICS_PREPROCESSING,
    NETWORKS,
    RESNET_POINTS,
    S3D_POINTS,
    InjectedConfig,
    InjectedNet,
    inject_lgd,
    widths_of,
)
from recognition.model_files import ModelFileError


def clips(batch=2, frames=4, side=16, seed=1):
    return torch.randn(batch, 3, frames, side, side, generator=torch.Generator().manual_seed(seed))


def small_s3d(classes=6):
    """S3D that takes clips of any size: without weights of its own, its last pool may have another window."""
    net = s3d(num_classes=classes)
    net.avgpool = nn.AdaptiveAvgPool3d(1)
    return net


def train_step(net, batch, labels, lr=0.01):
    optimiser = torch.optim.SGD(net.parameters(), lr=lr)
    sum(F.cross_entropy(logits, labels) for logits in net(batch)).backward()
    optimiser.step()


HOSTS = [
    pytest.param(lambda: r3d_18(num_classes=6), inject_lgd, clips(), id="r3d_18"),
    pytest.param(lambda: mc3_18(num_classes=6), inject_lgd, clips(), id="mc3_18"),
    pytest.param(lambda: r2plus1d_18(num_classes=6), inject_lgd, clips(), id="r2plus1d_18"),
    pytest.param(small_s3d, lambda net: inject_lgd_at(net, S3D_POINTS, clips(1, 8, 32)), clips(3, 8, 32), id="s3d"),
]


@pytest.mark.parametrize(("build", "inject", "batch"), HOSTS)
def test_at_the_start_the_network_gives_the_same_bits_and_after_a_step_it_does_not(build, inject, batch):
    torch.manual_seed(0)
    alone = build()
    net = inject(copy.deepcopy(alone))
    for training in (True, False):
        torch.manual_seed(5)  # for S3D's dropout
        expected = alone.train(training)(batch)
        torch.manual_seed(5)
        local, global_ = net.train(training)(batch)
        assert torch.equal(local, expected)
        assert global_.shape == local.shape == (len(batch), 6)
    assert net.class_maps(batch).shape[:2] == (len(batch), 6)

    train_step(net.train(), batch, torch.arange(len(batch)))
    net.eval()
    alone.load_state_dict(net.net.state_dict())  # torchvision's names, every one
    local, _ = net(batch)
    assert not torch.equal(local, alone.eval()(batch)), "W^{xg} g is no longer zero"
    blind = [name for name, p in net.blocks.named_parameters() if p.grad is None]
    assert blind == []


@pytest.mark.parametrize(
    ("build", "points", "unit"), [(mc3_18, RESNET_POINTS, "layer1.0"), (small_s3d, S3D_POINTS, "features.5")]
)
def test_the_path_starts_from_the_very_map_that_enters_the_first_unit(build, points, unit):
    host, maps = build(), []
    host.get_submodule(points.first).register_forward_hook(lambda _, inputs, out: maps.append(out))
    host.get_submodule(unit).register_forward_pre_hook(lambda _, inputs: maps.append(inputs[0]))
    host(clips(2, 8, 32))
    assert points.units[0][0].startswith(unit)
    assert maps[0] is maps[1]


def test_s3d_itself_at_its_smallest_clip():
    torch.manual_seed(0)
    host = s3d(num_classes=3).eval()
    clip = clips(1, 13, 209)
    with torch.no_grad():
        expected = host(clip)
        local, _ = inject_lgd(host).eval()(clip)
    assert torch.equal(local, expected)


@pytest.mark.parametrize(
    ("network", "widths"),
    [
        pytest.param(name, (64, 64, 64, 128, 128, 256, 256, 512, 512), id=name)
        for name in ("r3d_18", "mc3_18", "r2plus1d_18")
    ]
    # S3D: the second pool's 192 channels, then its nine Inception units
    + [pytest.param("s3d", (192, 256, 480, 512, 512, 512, 528, 832, 832, 1024), id="s3d")],
)
def test_added_parameters(network, widths):
    assert widths_of(network) == widths
    with torch.device("meta"):
        net = InjectedNet(InjectedConfig(network, num_classes=10))
        alone = {"r3d_18": r3d_18, "mc3_18": mc3_18, "r2plus1d_18": r2plus1d_18, "s3d": s3d}[network](num_classes=10)
    # W^{gx} is C -> C/16 -> C, W^{gg} and W^{xg} are C' -> C/16 -> C: C/16 (4 C + 2 C') a unit
    expected = sum(c // 16 * (4 * c + 2 * before) for before, c in pairwise(widths))
    expected += 10 * widths[-1] + 10  # the second classifier
    added = sum(p.numel() for p in net.parameters()) - sum(p.numel() for p in alone.parameters())
    assert added == expected


def test_equal_widths_cost_three_eighths_of_the_square():
    # section 3.2: from 3 C^2 to 3/8 C^2
    with torch.device("meta"):
        net = InjectedNet(InjectedConfig("r3d_18"))
        full = InjectedNet(InjectedConfig("r3d_18", rank_divisor=None))
    assert sum(p.numel() for p in net.blocks[7].parameters()) == 512**2 * 3 // 8
    assert sum(p.numel() for p in full.blocks[7].parameters()) == 512**2 * 3


def test_a_network_is_recognised_by_its_weights():
    assert inject_lgd(mc3_18(num_classes=7)).config == InjectedConfig("mc3_18", num_classes=7)
    assert inject_lgd(r3d_18(num_classes=7), num_classes=2).config == InjectedConfig("r3d_18", num_classes=2)
    with pytest.raises(ValueError, match=r"Conv3d is none of r3d_18, mc3_18, r2plus1d_18, s3d; use .*inject_lgd_at"):
        inject_lgd(nn.Conv3d(3, 4, 1))


def test_weights_from_a_file_and_a_new_classifier(tmp_path):
    source = mc3_18(num_classes=5)
    torch.save(source.state_dict(), tmp_path / "mc3.pth")
    net = inject_lgd("mc3_18", weights=tmp_path / "mc3.pth", num_classes=3)
    assert net.config == InjectedConfig("mc3_18", num_classes=3)
    own = net.net.state_dict()
    assert own["fc.weight"].shape == (3, 512)
    assert all(torch.equal(own[k], v) for k, v in source.state_dict().items() if not k.startswith("fc."))

    with pytest.raises(ModelFileError, match=r"absent\.pth: no such file"):
        inject_lgd("mc3_18", weights=str(tmp_path / "absent.pth"))
    with pytest.raises(ModelFileError, match=r"mc3\.pth: weights do not fit the network: .* of another shape"):
        inject_lgd("r3d_18", weights=tmp_path / "mc3.pth")


@pytest.mark.parametrize("weights", [MC3_18_Weights.KINETICS400_V1, "KINETICS400_V1", "DEFAULT"])
def test_weights_through_torchvision(monkeypatch, weights):
    source = mc3_18()
    asked = []

    def without_the_net(self, *args, **kwargs):
        asked.append(self)
        return source.state_dict()

    monkeypatch.setattr(WeightsEnum, "get_state_dict", without_the_net)
    net = inject_lgd("mc3_18", weights=weights)
    assert asked == [MC3_18_Weights.KINETICS400_V1]
    assert net.config.num_classes == 400
    assert all(torch.equal(net.net.state_dict()[k], v) for k, v in source.state_dict().items())


def test_weights_of_another_network_and_impossible_options_are_refused():
    with pytest.raises(ValueError, match=r"R3D_18_Weights.KINETICS400_V1 are not weights of mc3_18; it has KINETICS"):
        inject_lgd("mc3_18", weights=R3D_18_Weights.KINETICS400_V1)
    with pytest.raises(ValueError, match="weights go with the name"):
        inject_lgd(nn.Identity(), weights="DEFAULT")
    with pytest.raises(ValueError, match="network must be one of r3d_18, mc3_18, r2plus1d_18, s3d, got 'i3d'"):
        inject_lgd("i3d")
    for wrong in ({"num_classes": 0}, {"rank_divisor": 0}, {"dropout": 1.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            InjectedConfig("s3d", **wrong)
    with pytest.raises(ValueError, match="num_classes"):
        inject_lgd("mc3_18", num_classes=0)


def test_clips_of_a_wrong_shape_are_refused():
    with torch.device("meta"):
        net = InjectedNet(InjectedConfig("s3d"))
        with pytest.raises(ValueError, match=r"expected clips \(B, 3, T, H, W\), got \(1, 2, 16, 224, 224\)"):
            net(torch.empty(1, 2, 16, 224, 224))
        with pytest.raises(ValueError, match="s3d needs clips of at least 13 frames and 209 pixels a side"):
            net(torch.empty(1, 3, 16, 224, 208))


def test_the_smallest_clip_of_s3d_is_the_smallest_its_last_pool_takes():
    with torch.device("meta"):
        host = s3d().eval()
        assert host(torch.empty(1, 3, 13, 209, 209)).shape == (1, 400)
        for shape in ((12, 209, 209), (13, 208, 209), (13, 209, 208)):
            with pytest.raises(RuntimeError):
                host(torch.empty(1, 3, *shape))


def test_saved_and_loaded_by_config_and_state():
    config = InjectedConfig("mc3_18", num_classes=4, rank_divisor=8, dropout=0.5)
    assert InjectedConfig.from_dict(config.to_dict()) == config
    net = InjectedNet(config)
    train_step(net, clips(), torch.tensor([0, 1]))
    again = InjectedNet(InjectedConfig.from_dict(config.to_dict()))
    again.load_state_dict(net.state_dict(), strict=True)
    pickled = pickle.loads(pickle.dumps(net))
    for other in (again, pickled):
        for mine, theirs in zip(net.eval()(clips()), other.eval()(clips())):
            assert torch.equal(mine, theirs)
    with pytest.raises(ValueError, match="unknown option 'rank'"):
        InjectedConfig.from_dict({"network": "s3d", "rank": 3})


def test_it_can_be_exported():
    net = inject_lgd("mc3_18", num_classes=3).eval()
    program = torch.export.export(net, (clips(),), strict=False).module()
    for mine, theirs in zip(net(clips(seed=2)), program(clips(seed=2))):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("network", NETWORKS)
def test_preprocessing_is_that_of_torchvisions_weights(network):
    transform = get_model_weights(network).DEFAULT.transforms()
    assert KINETICS_PREPROCESSING.mean == tuple(transform.mean)
    assert KINETICS_PREPROCESSING.std == tuple(transform.std)
