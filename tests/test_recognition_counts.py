"""Parameters and multiply-adds of the networks at full size, on no memory at all.

Those of StNet are printed in its paper to four digits. The LGD paper prints sizes of maps and 3/8 C^2 a block; the rest
follows from its Table 1 and was counted on a network written independently of this one. Multiply-adds are those of
convolutions and linear layers, as in StNet's Table 3.
"""

import importlib.util
from typing import Any

import pytest
import torch
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from recognition.classifier_files import network_of
from recognition.lgd3d import LGD3DConfig
from recognition.lgd_block import LGDBlock
from recognition.lgd_classifier import BACKBONES, LGDClassifierConfig
from recognition.lgd_xception import lgd_xception
from recognition.stnet import TemporalXception, stnet_inception_resnet_v2, stnet_resnet50, stnet_resnet101, tsn
from recognition.xception import xception

CLASSES = 600
LAYER = 2048 * CLASSES + CLASSES
"""Parameters of a linear layer on the last map."""
TIMM = pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="timm, an optional part, is not installed")


def on_meta(config: Any) -> nn.Module:
    with torch.device("meta"):
        return network_of(config).eval()


def lgd(backbone: str, head: str = "paths", **changes: Any) -> nn.Module:
    return on_meta(LGDClassifierConfig(CLASSES, BACKBONES[backbone](**changes), head=head))  # type: ignore[arg-type]


def parameters(network: nn.Module, part: str = "") -> int:
    return sum(p.numel() for name, p in network.named_parameters() if part in name)


def multiply_adds(network: nn.Module, *shape: int) -> int:
    with FlopCounterMode(display=False) as counter, torch.device("meta"):
        network(torch.empty(1, *shape))
    return counter.get_total_flops() // 2


# ---- LGD-2D and LGD-3D


@pytest.mark.parametrize(
    ("backbone", "local", "matrices", "biases", "paths", "kernel"),
    [
        ("lgd3d_resnet50", 27_292_736, 7_194_624, 48_144, 36_946_160, 44_318_360),
        ("lgd3d_resnet101", 49_627_200, 13_879_296, 103_632, 65_965_296, 73_337_496),
        ("lgd2d_resnet50", 23_508_032, 7_194_624, 48_144, 33_161_456, 40_533_656),
        ("lgd2d_resnet101", 42_500_160, 13_879_296, 103_632, 58_838_256, 66_210_456),
    ],
)
def test_parameters_of_lgd(backbone: str, local: int, matrices: int, biases: int, paths: int, kernel: int) -> None:
    network = lgd(backbone)
    assert parameters(network, "_to_") == matrices
    assert parameters(network.backbone) == local + matrices  # type: ignore[arg-type]
    assert parameters(network) == paths == local + matrices + 2 * LAYER
    assert parameters(lgd(backbone, "kernel")) == kernel == local + matrices + 2 * 8192 * CLASSES + CLASSES
    assert parameters(lgd(backbone, bias=True)) == paths + biases


@pytest.mark.parametrize(
    ("backbone", "changes"),
    [
        pytest.param("lgd3d_resnet50", {"order": "authors2021"}, id="the authors' later order"),
        pytest.param("lgd3d_resnet50", {"stride_on": "1x1", "pool1_stride": 4}, id="strides"),
        pytest.param("lgd3d_resnet50", {"block": "v2"}, id="block_v2"),
        pytest.param("lgd2d_resnet50", {"max_pool": False}, id="no max pool"),
    ],
)
def test_what_changes_no_count(backbone: str, changes: dict[str, Any]) -> None:
    assert parameters(lgd(backbone, **changes)) == parameters(lgd(backbone))


@pytest.mark.parametrize(
    ("backbone", "expected"),
    [
        ("p3d_resnet50", 28_522_136),
        ("p3d_resnet101", 50_856_600),
        ("tsn_resnet50", 24_737_432),
        ("tsn_resnet101", 43_729_560),
    ],
)
def test_parameters_of_the_baselines(backbone: str, expected: int) -> None:
    assert parameters(lgd(backbone)) == expected


def test_lgd2d_is_torchvisions_network_the_matrices_and_one_more_layer() -> None:
    with torch.device("meta"):
        resnet = torchvision.models.resnet50(num_classes=CLASSES)
    assert parameters(lgd("lgd2d_resnet50")) == parameters(resnet) + 7_194_624 + LAYER


@pytest.mark.parametrize("channels", [256, 512, 1024, 2048])
def test_a_block_of_equal_width_adds_three_eighths_of_c_squared(channels: int) -> None:
    """Section 3.2: from 3 C^2 to 3/8 C^2."""
    assert added(LGD3DConfig(), channels, channels) == 3 * channels**2 // 8
    assert added(LGD3DConfig(rank_divisor=None), channels, channels) == 3 * channels**2


@pytest.mark.parametrize(
    ("before", "channels", "expected"),
    [(64, 256, 18_432), (256, 512, 81_920), (512, 1024, 327_680), (1024, 2048, 1_310_720)],
)
def test_the_first_block_of_a_stage_has_rectangular_matrices(before: int, channels: int, expected: int) -> None:
    # W^{gx} is C -> C/16 -> C, W^{gg} and W^{xg} are C' -> C/16 -> C
    assert added(LGD3DConfig(), before, channels) == expected == channels // 16 * (4 * channels + 2 * before)


def added(config: LGD3DConfig, before: int, channels: int) -> int:
    with torch.device("meta"):
        plain = LGDBlock(LGD3DConfig(block="none"), before, channels, 1)
        return parameters(LGDBlock(config, before, channels, 1)) - parameters(plain)


@pytest.mark.parametrize(
    ("backbone", "changes", "size", "giga"),
    [
        ("lgd3d_resnet50", {}, (16, 112, 112), "22.575"),
        ("lgd3d_resnet50", {"stride_on": "1x1"}, (16, 112, 112), "21.650"),
        ("lgd3d_resnet50", {}, (16, 120, 160), "34.884"),
        ("lgd3d_resnet50", {"stride_on": "1x1"}, (16, 120, 160), "33.479"),
        ("lgd3d_resnet50", {"pool1_stride": 4}, (128, 112, 112), "94.63"),
        ("lgd3d_resnet101", {}, (16, 112, 112), "40.051"),
        ("lgd3d_resnet101", {"stride_on": "1x1"}, (16, 112, 112), "39.126"),
        ("lgd3d_resnet101", {}, (16, 120, 160), "61.630"),
        ("lgd3d_resnet101", {"stride_on": "1x1"}, (16, 120, 160), "60.225"),
        ("lgd3d_resnet101", {"pool1_stride": 4}, (128, 112, 112), "164.51"),
        pytest.param("lgd3d_resnet101", {}, (16, 240, 320), "245", id="detection"),
        ("lgd2d_resnet50", {}, (3, 224, 224), "12.271"),
        ("lgd2d_resnet50", {}, (3, 240, 320), "18.993"),
        ("lgd2d_resnet101", {}, (3, 224, 224), "23.414"),
        ("lgd2d_resnet101", {}, (3, 240, 320), "36.046"),
    ],
)
def test_multiply_adds_of_lgd(backbone: str, changes: dict[str, Any], size: tuple[int, ...], giga: str) -> None:
    digits = len(giga.partition(".")[2])
    assert f"{multiply_adds(lgd(backbone, **changes), 3, *size) / 1e9:.{digits}f}" == giga


@pytest.mark.parametrize(
    ("depth", "matrices"), [pytest.param(50, 7_194_624, id="R50"), pytest.param(101, 13_879_296, id="R101")]
)
def test_diffusion_costs_a_multiply_add_a_parameter(depth: int, matrices: int) -> None:
    """0.007 and 0.014 of 22.6 and 40.1 giga: each matrix is applied to one vector a clip."""
    size = (3, 16, 112, 112)
    cost = [multiply_adds(lgd(f"{name}_resnet{depth}"), *size) for name in ("lgd3d", "p3d")]
    assert cost[0] - cost[1] == matrices + 2048 * CLASSES


# ---- StNet


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        pytest.param(stnet_resnet50(), 33_158_864, id="R50"),
        pytest.param(stnet_resnet101(), 52_150_992, id="R101"),
        pytest.param(tsn(num_classes=600), 24_737_432, id="TSN R50"),
        pytest.param(tsn(num_classes=600, body="resnet101"), 43_729_560, id="TSN R101"),
        pytest.param(stnet_inception_resnet_v2(num_classes=600), 72_125_144, id="IRv2", marks=TIMM),
        pytest.param(tsn(num_classes=600, body="inception_resnet_v2"), 55_228_664, id="TSN IRv2", marks=TIMM),
    ],
)
def test_parameters_of_stnet(config: Any, expected: int) -> None:
    assert parameters(on_meta(config)) == expected


@pytest.mark.parametrize(
    ("config", "size", "giga"),
    [
        pytest.param(stnet_resnet50(), (25 * 5, 256, 256), 189.269, id="R50, 25 segments"),
        pytest.param(stnet_resnet101(), (25 * 5, 256, 256), 310.484, id="R101, 25 segments"),
        pytest.param(stnet_resnet50(num_classes=101), (7 * 5, 256, 256), 52.995, id="R50, 7 segments"),
        pytest.param(stnet_resnet101(num_classes=101), (7 * 5, 256, 256), 86.936, id="R101, 7 segments"),
        pytest.param(stnet_inception_resnet_v2(num_classes=600), (25 * 5, 331, 331), 439.204, id="IRv2", marks=TIMM),
        pytest.param(
            stnet_inception_resnet_v2(num_classes=101), (7 * 5, 331, 331), 122.98, id="IRv2, 7 segments", marks=TIMM
        ),
        # the paper's TSN classifies every segment, ours their mean: 24 times 1536 x 600 less
        pytest.param(
            tsn(num_classes=600, body="inception_resnet_v2"),
            (25, 331, 331),
            410.486 - 24 * 1536 * 600 / 1e9,
            id="TSN IRv2",
            marks=TIMM,
        ),
    ],
)
def test_multiply_adds_of_stnet(config: Any, size: tuple[int, ...], giga: float) -> None:
    assert multiply_adds(on_meta(config), 3, *size) / 1e9 == pytest.approx(giga, abs=4e-3 if giga == 122.98 else 6e-4)


@pytest.mark.parametrize(("channels", "expected"), [(1536, 4_214_784), (2048, 5_266_432)])
def test_parameters_of_the_temporal_xception_block(channels: int, expected: int) -> None:
    with torch.device("meta"):
        block, classifier = TemporalXception(channels), nn.Linear(1024, 400)
    # norms, depthwise with bias, pointwise with bias
    norms = 2 * (channels + 1024 + 1024)
    depthwise = (3 + 1) * (channels + 1024)
    pointwise = (channels + 1) * 1024 + (1024 + 1) * 1024 + (channels + 1) * 1024
    assert parameters(block) == expected == norms + depthwise + pointwise
    if channels == 1536:
        assert parameters(block) + parameters(classifier) == 4_624_784  # "4.6M" of Table 1


# ---- Xception


def test_the_published_xception() -> None:
    network = on_meta(xception())
    assert parameters(network) == 22_855_952
    assert f"{multiply_adds(network, 3, 1, 299, 299) / 1e9:.2f}" == "8.36"


def test_lgd_p3d_xception_is_xception_the_temporal_kernels_and_the_matrices() -> None:
    image_network = on_meta(xception(num_classes=CLASSES))
    network = on_meta(lgd_xception(num_classes=CLASSES))
    # three taps for every channel that enters one of the 34 separable convolutions
    assert sum(".temporal." in name for name, _ in network.named_parameters()) == 34
    assert parameters(network, ".temporal.") == 69_144
    assert parameters(network, "_to_") == 2_107_488
    stem = 3 * 32 * 32 + 3 * 64 * 64
    global_head = 1024 * CLASSES + CLASSES
    assert parameters(network) == parameters(image_network) + 69_144 + stem + 2_107_488 + global_head


def test_diffusion_in_xception_costs_nothing_to_speak_of() -> None:
    with_it, without = (multiply_adds(on_meta(lgd_xception(block=block)), 3, 16, 112, 112) for block in ("lgd", "none"))
    assert 0 < with_it - without < 0.001 * without


@TIMM
@pytest.mark.parametrize(("name", "expected"), [("inception_resnet_v2", 55_843_464), ("legacy_xception", 22_855_952)])
def test_timms_networks_are_those_that_were_counted(name: str, expected: int) -> None:
    import timm

    with torch.device("meta"):
        assert parameters(timm.create_model(name, pretrained=False)) == expected
