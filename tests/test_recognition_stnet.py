"""StNet against plain 3-D operators and torchvision's image networks."""

import importlib.util
import sys

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torchvision.models import ResNet18_Weights, WeightsEnum

from recognition.inception_resnet import inception_resnet_v2_body
from recognition.model_files import ModelFileError
from recognition.stnet import (
    StNet,
    StNetConfig,
    TemporalBlock,
    TemporalXception,
    inflate_conv1,
    start_from_imagenet_,
    stnet_inception_resnet_v2,
    stnet_resnet50,
    super_images,
)

SMALL = {"body": "resnet18", "num_classes": 6, "frames": 2, "xception_width": 32}


def clips(batch=2, frames=6, side=32, channels=3, seed=1):
    return torch.randn(batch, channels, frames, side, side, generator=torch.Generator().manual_seed(seed))


def random_norms(net, seed=0):
    """Batch norms that are not the identity, as after training."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1, generator=generator)
                module.running_var.uniform_(0.5, 2, generator=generator)
                module.weight.uniform_(0.5, 1.5, generator=generator)
                module.bias.normal_(0, 0.1, generator=generator)
    return net


def small_net(seed=0, **changes):
    torch.manual_seed(seed)
    return random_norms(StNet(StNetConfig(**{**SMALL, **changes}))).eval()


def on_meta(config):
    with torch.device("meta"):
        return StNet(config).eval()


# ---- sizes ----

INCEPTION = pytest.mark.skipif(
    importlib.util.find_spec("timm") is None, reason="timm, an optional part, is not installed"
)
V2 = "inception_resnet_v2"


@pytest.mark.parametrize(
    ("config", "segments", "side", "expected"),
    [
        (stnet_resnet50(), 7, 224, (2048, 7, 7, 7)),
        (stnet_resnet50(), 25, 256, (2048, 25, 8, 8)),
        pytest.param(stnet_inception_resnet_v2(), 25, 331, (1536, 25, 9, 9), marks=INCEPTION),
    ],
)
def test_map_sizes(config, segments, side, expected):
    net = on_meta(config)
    with torch.device("meta"):
        assert net.segment_maps(torch.empty(2, 3, segments * 5, side, side)).shape == (2, *expected)


# ---- the parts ----


def test_a_super_image_holds_the_frames_of_a_segment_one_behind_the_other():
    # frame t has the numbers 10 t, 10 t + 1, 10 t + 2 in its three channels
    clip = (10 * torch.arange(6).float() + torch.arange(3)[:, None])[None, :, :, None, None]  # (1, 3, 6, 1, 1)
    images = super_images(torch.cat([clip, clip + 100]), frames=2)
    assert images.shape == (2 * 3, 2 * 3, 1, 1)
    assert images[:3, :, 0, 0].tolist() == [
        [0, 1, 2, 10, 11, 12],
        [20, 21, 22, 30, 31, 32],
        [40, 41, 42, 50, 51, 52],
    ]
    assert images[3, :, 0, 0].tolist() == [100, 101, 102, 110, 111, 112]


def test_a_temporal_block_is_a_3d_convolution_then_relu_then_norm_and_the_input_added():
    block = random_norms(TemporalBlock(4)).eval()
    nn.init.normal_(block.conv.bias)
    x = torch.randn(2, 4, 5, 3, 3)  # B, C, T, H, W
    weight, bias, norm = block.conv.weight.unsqueeze(-1), block.conv.bias, block.bn  # (C, C, 3, 1, 1)
    out = torch.relu(F.conv3d(x, weight, bias, padding=(1, 0, 0)))
    expected = F.batch_norm(out, norm.running_mean, norm.running_var, norm.weight, norm.bias) + x
    frames = x.transpose(1, 2).flatten(0, 1)
    actual = block(frames, 2).unflatten(0, (2, 5)).transpose(1, 2)
    torch.testing.assert_close(actual, expected)


def test_the_temporal_xception_block_sees_two_steps_to_either_side_and_takes_the_maximum():
    block = random_norms(TemporalXception(8, 16)).eval()
    vectors = torch.randn(2, 8, 25)
    changed = vectors.clone()
    changed[0, :, 12] += 1
    before, after = block.over_time(vectors), block.over_time(changed)
    differs = (before != after).any(dim=1)  # (B, T)
    assert differs[0].nonzero().flatten().tolist() == [10, 11, 12, 13, 14]
    assert not differs[1].any()
    assert torch.equal(block(vectors), before.max(dim=2).values)


def test_the_temporal_xception_block_written_out():
    block = random_norms(TemporalXception(6, 4)).eval()
    for conv in (block.depthwise1, block.pointwise1, block.depthwise2, block.pointwise2, block.shortcut):
        nn.init.normal_(conv.bias)

    def norm(bn, x):
        scale = bn.weight / (bn.running_var + bn.eps).sqrt()
        return (x - bn.running_mean[:, None]) * scale[:, None] + bn.bias[:, None]

    def depthwise(conv, x):
        before, at, after = F.pad(x, (1, 1)).unfold(2, x.shape[2], 1).unbind(2)
        w = conv.weight[:, 0, :, None]
        return w[:, 0] * before + w[:, 1] * at + w[:, 2] * after + conv.bias[:, None]

    def pointwise(conv, x):
        return torch.einsum("oc,bct->bot", conv.weight[:, :, 0], x) + conv.bias[:, None]

    x = norm(block.bn1, torch.randn(2, 6, 7, generator=torch.Generator().manual_seed(5)))
    out = torch.relu(norm(block.bn2, pointwise(block.pointwise1, depthwise(block.depthwise1, x))))
    out = pointwise(block.pointwise2, depthwise(block.depthwise2, out)) + pointwise(block.shortcut, x)
    expected = torch.relu(norm(block.bn3, out)).amax(dim=2)
    vectors = torch.randn(2, 6, 7, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(block(vectors), expected)


# ---- the start from images ----


def test_inflated_kernels_give_for_equal_frames_what_they_gave_for_one():
    weight, image = torch.randn(4, 3, 7, 7), torch.randn(1, 3, 20, 20)
    grey = image.mean(dim=1, keepdim=True).expand(1, 3, 20, 20)
    i3d, paddle = inflate_conv1(weight, 5), inflate_conv1(weight, 5, inflation="paddle")
    assert i3d.shape == paddle.shape == (4, 15, 7, 7)
    expected = F.conv2d(image, weight)
    torch.testing.assert_close(F.conv2d(image.repeat(1, 5, 1, 1), i3d), expected, atol=5e-5, rtol=5e-5)
    # the authors' code does not tell colours apart
    torch.testing.assert_close(F.conv2d(grey.repeat(1, 5, 1, 1), paddle), F.conv2d(grey, weight), atol=5e-5, rtol=5e-5)
    assert (F.conv2d(image.repeat(1, 5, 1, 1), paddle) - expected).abs().max() > 0.1 * expected.abs().max()
    flow = inflate_conv1(weight, 5, channels=2)
    assert flow.shape == (4, 10, 7, 7)
    torch.testing.assert_close(flow[:, 3], weight.mean(dim=1) / 5)


@pytest.fixture(scope="module")
def image_net():
    torch.manual_seed(0)
    return random_norms(torchvision.models.resnet18(num_classes=9)).eval()


@pytest.fixture(scope="module")
def weights_file(image_net, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.save(image_net.state_dict(), path)
    return path


def test_started_from_images_tsn_is_the_image_network_averaged_over_frames(image_net, weights_file):
    net = small_net(frames=1, temporal_blocks=False, aggregation="average", num_classes=9)
    start_from_imagenet_(net, weights_file)
    net.classifier.load_state_dict(image_net.fc.state_dict())
    frames = clips().transpose(1, 2).flatten(0, 1)
    expected = image_net(frames).unflatten(0, (2, 6)).mean(dim=1)
    (logits,) = net(clips())
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)


def test_started_from_images_a_super_image_of_equal_frames_is_an_image(image_net, weights_file):
    net = small_net(frames=5, temporal_blocks=False, aggregation="average")
    start_from_imagenet_(net, weights_file)
    images = clips(frames=3)
    repeated = images.repeat_interleave(5, dim=2)
    expected = nn.Sequential(*list(image_net.children())[:-2])(images.transpose(1, 2).flatten(0, 1)).detach()
    actual = net.segment_maps(repeated).transpose(1, 2).flatten(0, 1)
    torch.testing.assert_close(actual, expected, atol=5e-5 * expected.abs().max().item(), rtol=5e-5)


def test_weights_that_do_not_fit_leave_the_network_as_it_was(image_net, tmp_path):
    net = small_net()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    state = image_net.state_dict()
    del state["layer3.0.conv1.weight"]
    torch.save(state, tmp_path / "part.pth")
    with pytest.raises(ModelFileError, match=r"part\.pth: .*1 missing \(layer3\.0\.conv1\.weight\)"):
        start_from_imagenet_(net, tmp_path / "part.pth")
    with pytest.raises(ModelFileError, match="no such file"):
        start_from_imagenet_(net, tmp_path / "absent.pth")
    assert all(torch.equal(net.state_dict()[name], tensor) for name, tensor in before.items())


def test_without_a_name_the_weights_are_torchvisions_default(monkeypatch, image_net):
    asked = []
    # files from before 2018 have no counters of batches
    state = {k: v for k, v in image_net.state_dict().items() if not k.endswith("num_batches_tracked")}
    monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda self, **options: asked.append(self) or state)
    net = small_net(input="flow")
    start_from_imagenet_(net)
    assert asked == [ResNet18_Weights.DEFAULT]
    assert net.body.conv1.weight.shape == (64, 2 * 2, 7, 7)
    assert torch.equal(net.body.layer4[1].conv2.weight, state["layer4.1.conv2.weight"])


# ---- the whole ----


def test_clips_of_a_batch_do_not_see_each_other():
    net = small_net()
    together = net(clips(3))[0]
    alone = torch.cat([net(clip[None])[0] for clip in clips(3)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_the_order_of_segments_matters_to_stnet_and_not_to_tsn():
    backwards = clips().unflatten(2, (3, 2)).flip(2).flatten(2, 3)  # segments reversed, frames in them not
    baseline = small_net(temporal_blocks=False, aggregation="average")
    torch.testing.assert_close(baseline(clips())[0], baseline(backwards)[0], atol=1e-5, rtol=1e-5)
    for changes in ({}, {"aggregation": "average"}, {"temporal_blocks": False}):
        net = small_net(**changes)
        assert (net(clips())[0] - net(backwards)[0]).abs().max() > 1e-3


def test_class_maps_of_tsn_are_class_activation_maps():
    net = small_net(temporal_blocks=False, aggregation="average")
    expected = torch.einsum("bcthw,kc->bkthw", net.segment_maps(clips(side=64)), net.classifier.weight)
    with torch.inference_mode():  # as a program that only predicts would call it
        maps = net.class_maps(clips(side=64))
    assert maps.shape == (2, 6, 3, 2, 2)
    torch.testing.assert_close(maps, expected)


def test_class_maps_of_stnet_are_the_linear_part_of_the_logits():
    net = small_net().double()
    clip = clips(side=64).double()
    vectors = net.segment_maps(clip).mean(dim=(3, 4))

    def logits(scale):
        return net.classifier(net.aggregate(vectors * scale))

    step = 1e-6
    change = (logits(1 + step) - logits(1 - step)) / (2 * step)
    torch.testing.assert_close(net.class_maps(clip).mean(dim=(2, 3, 4)), change, atol=1e-5, rtol=1e-5)
    # and position by position: raise one cell of one segment's map
    maps = net.segment_maps(clip)
    raised = maps.clone()
    raised[1, :, 2, 0, 1] *= 1 + 1e-5
    moved = net.classifier(net.aggregate(raised.mean(dim=(3, 4)))) - net.classifier(net.aggregate(vectors))
    positions = 3 * 2 * 2
    torch.testing.assert_close(net.class_maps(clip)[1, :, 2, 0, 1] / positions, moved[1] / 1e-5, atol=1e-4, rtol=1e-4)


def test_features_are_what_the_classifier_sees():
    net = small_net()
    assert net.features(clips()).shape == (2, 32)
    torch.testing.assert_close(net.classifier(net.features(clips())), net(clips())[0])


def test_it_can_be_exported():
    net = small_net()
    program = torch.export.export(net, (clips(),), strict=False).module()
    torch.testing.assert_close(program(clips(seed=2))[0], net(clips(seed=2))[0])


def test_wrong_clips_and_options_are_refused():
    net = on_meta(stnet_resnet50())
    with torch.device("meta"):
        with pytest.raises(ValueError, match="a multiple of 5 frames, 5 a segment; got 7"):
            net(torch.empty(1, 3, 7, 64, 64))
        with pytest.raises(ValueError, match=r"expected clips \(B, 3, T, H, W\), got \(1, 2, 5, 64, 64\)"):
            net(torch.empty(1, 2, 5, 64, 64))
        with pytest.raises(ValueError, match="expected clips"):
            net(torch.empty(1, 3, 0, 64, 64))
    for wrong in ({"body": "vgg16"}, {"aggregation": "lstm"}, {"frames": 0}, {"dropout": 1.0}, {"input": "audio"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            StNetConfig(**wrong)


def test_without_timm_the_error_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ValueError, match=r"needs timm: pip install timm, or choose resnet50 or resnet101$"):
        StNet(stnet_inception_resnet_v2())


@INCEPTION
def test_the_inception_body_is_timms_network_up_to_its_pool():
    import timm

    torch.manual_seed(0)
    whole = timm.create_model(V2, pretrained=False).eval()
    body = inception_resnet_v2_body().eval()
    state = {name: tensor for name, tensor in whole.state_dict().items() if not name.startswith("classif.")}
    body.load_state_dict(state, strict=True)
    image = clips(1, 1, 75)[:, :, 0]
    with torch.no_grad():
        torch.testing.assert_close(body(image), whole.forward_features(image))


@INCEPTION
def test_inception_resnet_from_a_file_of_weights(tmp_path):
    import timm

    whole = timm.create_model(V2, pretrained=False, num_classes=2)
    torch.save(whole.state_dict(), tmp_path / "irv2.pth")
    net = StNet(stnet_inception_resnet_v2(num_classes=2, frames=2)).eval()
    start_from_imagenet_(net, tmp_path / "irv2.pth")
    expected = inflate_conv1(whole.conv2d_1a.conv.weight, 2)
    assert torch.equal(net.body.conv2d_1a.conv.weight, expected)
    assert net(clips(1, 4, 75))[0].shape == (1, 2)
    with pytest.raises(ValueError, match="at least 75 pixels"):
        net(clips(1, 4, 74))
