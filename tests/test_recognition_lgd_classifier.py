"""LGD classifiers: the networks by name, gradients of every variant, both heads and both stages."""

import copy
import dataclasses
import json

import pytest
import torch
import torch.nn.functional as F
import torchvision

from recognition.lgd2d import LGD2DConfig, lgd2d_small, tsn_resnet50
from recognition.lgd3d import LGD3DConfig, lgd3d_small
from recognition.lgd_classifier import (
    BACKBONES,
    LGDClassifier,
    LGDClassifierConfig,
    start_from_imagenet_,
    start_from_scratch_,
    with_kernel_head,
)

TINY = {"depths": (1, 1, 1, 2), "widths": (16, 24, 32, 48), "stem_width": 8, "rank_divisor": 8}
BACKBONE = {2: LGD2DConfig, 3: LGD3DConfig}
FRAMES = {2: 3, 3: 8}
VARIANTS = [
    pytest.param(dimensions, changes, id=f"{dimensions}D {name}")
    for dimensions in (2, 3)
    for name, changes in {
        "lgd": {},
        "lgd, full rank": {"rank_divisor": None},
        "lgd, later order": {"order": "authors2021"},
        "lgd, biases": {"bias": True},
        "v1": {"block": "v1"},
        "v2": {"block": "v2"},
        "none": {"block": "none"},
        "kernel": {"head": "kernel"},
    }.items()
]


def tiny_config(dimensions=3, num_classes=3, head="paths", sketch_form="l2_sqrt", **changes):
    return LGDClassifierConfig(
        num_classes,
        BACKBONE[dimensions](**{**TINY, **changes}),
        head=head,
        dropout=0.0,
        sketch_size=128,
        sketch_form=sketch_form,
    )


def tiny_net(dimensions=3, seed=0, **changes):
    net = LGDClassifier(tiny_config(dimensions, **changes))
    start_from_scratch_(net, generator=torch.Generator().manual_seed(seed))
    return net


def clips(dimensions=3, batch=2, size=32, seed=1):
    return torch.randn(batch, 3, FRAMES[dimensions], size, size, generator=torch.Generator().manual_seed(seed))


def relative(a, b):
    a, b = a.detach(), b.detach()
    return float((a - b).abs().max() / b.abs().max())


def on_meta(backbone, **options):
    with torch.device("meta"):
        return LGDClassifier(LGDClassifierConfig(600, backbone, **options)).eval()


# ---- the networks by name ----


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_by_name_takes_changes_and_gives_logits(name):
    net = on_meta(BACKBONES[name](input="flow"))
    logits = net(torch.empty(1, 2, 4, 32, 32, device="meta"))
    assert [tuple(member.shape) for member in logits] == [(1, 600)] * (1 if name.startswith(("p3d", "tsn")) else 2)


# ---- every variant ----


def loss_of(net, x, labels):
    return sum(F.cross_entropy(logits, labels) for logits in net(x))


@pytest.mark.parametrize(("dimensions", "changes"), VARIANTS)
def test_forward_has_the_contracted_shapes_and_every_parameter_learns(dimensions, changes):
    net, x = tiny_net(dimensions, **changes), clips(dimensions, batch=4)
    logits = net(x)
    assert len(logits) == (1 if changes.get("head") == "kernel" or changes.get("block") == "none" else 2)
    assert all(member.shape == (4, 3) for member in logits)
    assert net.features(x).shape == (4, 48)
    local, _ = net.backbone(x)
    assert net.class_maps(x).shape == (4, 3, *local.shape[2:])

    loss_of(net, x, torch.tensor([0, 1, 2, 1])).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name


# ---- the heads ----


@pytest.mark.parametrize("dimensions", [2, 3])
def test_the_first_head_is_the_local_path_and_the_second_the_global(dimensions):
    net, x = tiny_net(dimensions), clips(dimensions)
    with torch.no_grad():
        local, global_ = net.backbone(x)
        assert torch.equal(net(x)[0], net.head.local(local.mean(dim=(2, 3, 4))))
        assert torch.equal(net(x)[1], net.head.global_(global_))
        assert torch.equal(net.features(x), local.mean(dim=(2, 3, 4)))


def test_scores_are_those_of_the_local_path_or_the_mean_of_both():
    net, x = tiny_net().eval(), clips()
    with torch.no_grad():
        local, global_ = (logits.softmax(dim=1) for logits in net(x))
        assert torch.allclose(net.scores(x), local)
        assert torch.allclose(net.scores(x, paths="mean"), (local + global_) / 2)
        with pytest.raises(ValueError, match="needs the logits of the global path"):
            tiny_net(block="none").scores(x, paths="mean")


@pytest.mark.parametrize("changes", [{}, {"block": "none"}], ids=["two paths", "baseline"])
def test_the_mean_of_a_class_map_and_the_bias_are_the_logit(changes):
    net, x = tiny_net(**changes).eval(), clips()
    torch.nn.init.normal_(net.head.local.bias)
    with torch.no_grad():
        assert torch.allclose(net.class_maps(x).mean(dim=(2, 3, 4)) + net.head.local.bias, net(x)[0], atol=1e-4)


def test_class_maps_of_the_kernel_head_are_its_own():
    net, x = tiny_net(head="kernel").eval(), clips()
    with torch.no_grad():
        assert torch.equal(net.class_maps(x), net.head.class_maps(net.backbone(x)[0]))


@pytest.mark.parametrize("head", ["paths", "kernel"])
def test_bfloat16_autocast_stays_close_and_runs_backward(head):
    net, x = tiny_net(head=head), clips()
    with torch.autocast("cpu", torch.bfloat16):
        logits = net(x)
    for a, b in zip(logits, net(x)):
        assert relative(a.float(), b) < 0.1
    loss_of(net, x, torch.tensor([0, 1])).backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in net.parameters())


# ---- stage two ----


@pytest.mark.parametrize("dimensions", [2, 3])
def test_stage_two_keeps_every_weight_of_the_backbone(dimensions):
    first, x = tiny_net(dimensions), clips(dimensions)
    with torch.no_grad():
        first(x)
        before = copy.deepcopy(first.state_dict())
        second = with_kernel_head(first, sketch_size=100, generator=torch.Generator().manual_seed(0))
        assert second.config == dataclasses.replace(first.config, head="kernel", sketch_size=100)
        assert second.head.classifier.in_features == 2 * 100
        assert all(torch.equal(a, b) for a, b in zip(second.eval().backbone(x), first.eval().backbone(x)))

        second.train()(x)
        torch.nn.init.zeros_(second.backbone.res2[0].unit.conv1.weight)
    assert all(torch.equal(before[name], tensor) for name, tensor in first.state_dict().items()), "stage one stays"
    assert second.backbone.stem.bn.num_batches_tracked == 2


def test_stage_two_of_128_frames_pools_by_four_with_the_weights_of_sixteen():
    first = tiny_net()
    second = with_kernel_head(first, sketch_size=64, pool1_stride=4)
    assert second.config.backbone == dataclasses.replace(first.config.backbone, pool1_stride=4)
    with torch.no_grad():
        assert second.eval().class_maps(torch.randn(1, 3, 128, 16, 16)).shape[2] == 16
    for name, tensor in first.backbone.state_dict().items():
        assert torch.equal(second.backbone.state_dict()[name], tensor)


def test_stage_two_is_repeatable():
    generators = [torch.Generator().manual_seed(4) for _ in range(2)]
    one, other = (with_kernel_head(tiny_net(), sketch_size=64, generator=g).state_dict() for g in generators)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_stage_two_starts_from_stage_one_only():
    with pytest.raises(ValueError, match="has a kernel head already"):
        with_kernel_head(tiny_net(head="kernel"))
    with pytest.raises(ValueError, match="pool1_stride is an option of LGD-3D"):
        with_kernel_head(tiny_net(2), pool1_stride=4)


def test_a_file_brings_its_own_hashes():
    net, x = tiny_net(head="kernel").eval(), clips()
    other = LGDClassifier(dataclasses.replace(net.config, sketch_seed=5)).eval()
    other.load_state_dict(net.state_dict())
    with torch.no_grad():
        assert torch.equal(other(x)[0], net(x)[0])


# ---- starts ----


@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_scratch_start_may_leave_the_local_path_alone(dimensions):
    plain = tiny_net(dimensions, block="none")
    net = tiny_net(dimensions)
    start_from_scratch_(net, zero_diffusion=True)
    plain.load_state_dict({k: v for k, v in net.state_dict().items() if k in plain.state_dict()})
    x = clips(dimensions)
    with torch.no_grad():
        assert torch.equal(net(x)[0], plain(x)[0])


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("head", ["paths", "kernel"])
def test_an_imagenet_start_fills_the_backbone_and_draws_the_heads(dimensions, head, tmp_path):
    images = torchvision.models.resnet.ResNet(
        torchvision.models.resnet.Bottleneck, [1, 1, 1, 1], width_per_group=16, num_classes=3
    )
    torch.save(images.state_dict(), tmp_path / "narrow.pth")
    backbone = BACKBONE[dimensions](depths=(1, 1, 1, 1), expansion=16)
    net = LGDClassifier(LGDClassifierConfig(3, backbone, head=head, sketch_size=64))
    start_from_imagenet_(net, tmp_path / "narrow.pth", generator=torch.Generator().manual_seed(0))
    assert torch.equal(net.backbone.res5[0].unit.conv2.weight, images.layer4[0].conv2.weight)
    layer = net.head.classifier if head == "kernel" else net.head.local
    assert layer.weight.abs().max() <= (3 / layer.in_features) ** 0.5
    assert not layer.bias.any()


def test_depths_without_imagenet_weights_say_so():
    with pytest.raises(ValueError, match=r"no ImageNet weights for depths \(1, 1, 1, 2\); give a file"):
        start_from_imagenet_(tiny_net())


# ---- export ----


@pytest.mark.parametrize("dimensions", [2, 3])
def test_torch_export_keeps_the_numbers_for_any_batch(dimensions):
    net = tiny_net(dimensions).eval()
    program = torch.export.export(net, (clips(dimensions),), dynamic_shapes=({0: torch.export.Dim.AUTO},))
    x = clips(dimensions, batch=5, seed=2)
    with torch.no_grad():
        for got, expected in zip(program.module()(x), net(x)):
            assert relative(got, expected) < 1e-5


# ---- configuration ----


@pytest.mark.parametrize(
    "config",
    [
        LGDClassifierConfig(600),
        LGDClassifierConfig(7, lgd3d_small(block="v1"), head="kernel", sketch_form="none"),
        LGDClassifierConfig(7, lgd2d_small(), dropout=0.0),
        LGDClassifierConfig(2, tsn_resnet50(input="flow")),
    ],
)
def test_config_survives_json_and_dataclasses(config):
    assert LGDClassifierConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert LGDClassifierConfig(**dataclasses.asdict(config)) == config
    assert dataclasses.replace(config, num_classes=9).backbone == config.backbone


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "option 'num_classes' of LGDClassifierConfig is missing"),
        ({"num_classes": 0}, "num_classes must be whole numbers of 1 or more, got 0"),
        ({"num_classes": 3, "classes": 3}, "unknown option 'classes'; LGDClassifierConfig has num_classes, backbone"),
        ({"num_classes": 3, "head": "local"}, "head must be one of paths, kernel, got 'local'"),
        ({"num_classes": 3, "dropout": 1.0}, "dropout must be 0 or more and below 1, got 1.0"),
        ({"num_classes": 3, "sketch_size": 0}, "sketch_size must be whole numbers of 1 or more"),
        ({"num_classes": 3, "sketch_form": "l2"}, "sketch_form must be one of none, channels, sqrt_l2, l2_sqrt"),
        ({"num_classes": 3, "backbone": {}}, "dimensions must be 2 or 3 beside the backbone's fields, got None"),
        (
            {"num_classes": 3, "backbone": {"pool1_stride": 4}, "dimensions": 2},
            "unknown option 'pool1_stride'; LGD2DConfig has",
        ),
        ({"num_classes": 3, "backbone": lgd2d_small(), "dimensions": 3}, "dimensions is 3, but .* is LGD2DConfig"),
    ],
)
def test_a_config_that_means_nothing_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        LGDClassifierConfig.from_dict(values)
