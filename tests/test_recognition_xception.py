"""Xception against the published layers written out, and timm where it is there."""

import importlib.util
import json
import sys

import pytest
import torch
import torch.nn.functional as F

from recognition.model_files import ModelFileError
from recognition.xception import (
    Xception,
    XceptionConfig,
    audio_xception,
    audio_xception_small,
    start_from_imagenet_,
    xception,
    xception_small,
)
from tests.xception_samples import MIDDLE, WIDTHS, published_map, published_state

TIMM = pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="timm, an optional part, is not installed")


def pictures(batch=2, channels=3, height=40, width=52, seed=1):
    return torch.randn(batch, channels, height, width, generator=torch.Generator().manual_seed(seed))


def clips(batch=2, channels=3, frames=3, side=40, seed=1):
    return torch.randn(batch, channels, frames, side, side, generator=torch.Generator().manual_seed(seed))


def tiny_net(**changes):
    config = XceptionConfig(**{"widths": WIDTHS, "middle_modules": MIDDLE, "dropout": 0.0, "num_classes": 5, **changes})
    return Xception(config, generator=torch.Generator().manual_seed(0))


def on_meta(config):
    with torch.device("meta"):
        return Xception(config).eval()


def num_parameters(net):
    return sum(parameter.numel() for parameter in net.parameters())


@pytest.fixture(scope="module")
def weights():
    return published_state()


@pytest.fixture(scope="module")
def weights_file(weights, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "xception.pth"
    torch.save(weights, path)
    return path


# ---- the published network ----


def test_on_sound_it_has_one_channel_and_sees_the_size_of_the_image_network():
    net = on_meta(audio_xception(num_classes=400))
    # conv1 loses the kernels of two channels, the classifier has 600 outputs fewer
    assert num_parameters(net) == 22_855_952 - 2 * 32 * 3 * 3 - 600 * (2048 + 1)
    assert net.maps(torch.empty(1, 1, 128, 96, device="meta")).shape == (1, 2048, 1, 10, 10)


@TIMM
def test_names_and_shapes_are_timms():
    import timm

    with torch.device("meta"):
        theirs = timm.create_model("legacy_xception", pretrained=False).state_dict()
    ours = published_state((32, 64, 128, 256, 728, 1024, 1536, 2048), 8, 1000)
    assert {name: tensor.shape for name, tensor in theirs.items()} == {name: t.shape for name, t in ours.items()}


@TIMM
def test_it_computes_what_timms_network_computes(tmp_path):
    import timm

    theirs = timm.create_model("legacy_xception", pretrained=False).eval()
    torch.save(theirs.state_dict(), tmp_path / "xception.pth")
    net = Xception(xception()).eval()
    start_from_imagenet_(net, tmp_path / "xception.pth")
    with torch.no_grad():
        expected = theirs.forward_features(pictures(1, 3, 71, 90))
        assert (net.maps(pictures(1, 3, 71, 90))[:, :, 0] - expected).abs().max() < 1e-5 * expected.abs().max()


# ---- the start from images ----


def test_from_published_weights_every_frame_is_what_the_image_network_makes_of_it(weights, weights_file):
    net = tiny_net().eval()
    start_from_imagenet_(net, weights_file)
    net.classifier.load_state_dict({"weight": weights["fc.weight"], "bias": weights["fc.bias"]})
    x = clips()
    with torch.no_grad():
        each = [published_map(weights, x[:, :, t]) for t in range(3)]
        torch.testing.assert_close(net.maps(x), torch.stack(each, dim=2), atol=1e-5, rtol=1e-5)
        mean = torch.stack([m.mean(dim=(2, 3)) for m in each]).mean(dim=0)
        expected = mean @ weights["fc.weight"].T + weights["fc.bias"]
        torch.testing.assert_close(net(x)[0], expected, atol=1e-4, rtol=1e-4)


def test_from_published_weights_one_channel_sees_a_grey_picture_as_three_equal_ones_did(weights, weights_file):
    net = tiny_net(input="audio").eval()
    start_from_imagenet_(net, weights_file)
    grey = pictures(channels=1)
    with torch.no_grad():
        expected = published_map(weights, grey.expand(-1, 3, -1, -1))
        torch.testing.assert_close(net.maps(grey)[:, :, 0], expected, atol=1e-4, rtol=1e-4)


def test_flow_starts_from_the_mean_of_the_colours(weights, weights_file):
    net = tiny_net(input="flow")
    start_from_imagenet_(net, weights_file)
    for channel in (0, 1):
        assert torch.equal(net.body.stem.conv1.weight[:, channel], weights["conv1.weight"].mean(dim=1))


def test_without_a_file_the_weights_are_timms_own(monkeypatch, weights):
    asked = []

    class Network:
        def state_dict(self):
            # as of before 2018, without counters of batches
            return {name: v for name, v in weights.items() if not name.endswith("num_batches_tracked")}

    class Timm:
        def create_model(self, name, **options):
            asked.append((name, options))
            return Network()

    monkeypatch.setitem(sys.modules, "timm", Timm())
    net = tiny_net().eval()
    start_from_imagenet_(net)
    assert asked == [("legacy_xception", {"pretrained": True})]
    with torch.no_grad():
        expected = published_map(weights, pictures())
        torch.testing.assert_close(net.maps(pictures())[:, :, 0], expected, atol=1e-5, rtol=1e-5)


def test_without_timm_and_without_a_file_the_error_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ValueError, match="need timm: pip install timm, or give a file of its weights"):
        start_from_imagenet_(tiny_net())


def test_weights_that_do_not_fit_leave_the_network_as_it_was(weights, tmp_path):
    net = tiny_net()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    part = {name: v for name, v in weights.items() if name != "block4.rep.1.conv1.weight"}
    torch.save(part, tmp_path / "part.pth")
    with pytest.raises(ModelFileError, match=r"part\.pth: .*1 missing \(units\.3\.separable\.0\.spatial\.weight\)"):
        start_from_imagenet_(net, tmp_path / "part.pth")
    torch.save({**weights, "block4.se.weight": torch.zeros(1)}, tmp_path / "more.pth")
    with pytest.raises(ModelFileError, match=r"more\.pth: .*1 unexpected \(units\.3\.se\.weight\)"):
        start_from_imagenet_(net, tmp_path / "more.pth")
    assert all(torch.equal(net.state_dict()[name], tensor) for name, tensor in before.items())


# ---- every input ----


@pytest.mark.parametrize(("kind", "channels"), [("rgb", 3), ("flow", 2), ("audio", 1)])
def test_shapes_and_gradients(kind, channels):
    net, x = tiny_net(input=kind), clips(4, channels)
    (logits,) = net(x)
    assert logits.shape == (4, 5)
    assert net.features(x).shape == (4, WIDTHS[-1])
    assert net.class_maps(x).shape == (4, 5, 3, 2, 2)  # 40 pixels -> 19 -> 17 -> 9, 5, 3, 2
    F.cross_entropy(logits, torch.arange(4)).backward()
    assert [name for name, p in net.named_parameters() if not p.grad.abs().max() > 0] == []


def test_the_mean_of_a_class_map_and_the_bias_are_the_logit():
    net = tiny_net().eval()
    torch.nn.init.normal_(net.classifier.bias)
    with torch.no_grad():
        mean = net.class_maps(clips(side=70)).mean(dim=(2, 3, 4))
        torch.testing.assert_close(mean + net.classifier.bias, net(clips(side=70))[0])


def test_a_picture_is_a_clip_of_one_frame_and_several_are_averaged():
    net, x = tiny_net(input="audio").eval(), clips(channels=1)
    with torch.no_grad():
        assert torch.equal(net(x[:, :, 0])[0], net(x[:, :, :1])[0])
        each = torch.stack([net.features(x[:, :, t]) for t in range(3)])
        torch.testing.assert_close(net.features(x), each.mean(dim=0))


def test_pictures_are_stretched_to_the_side_of_the_config():
    net, stretching = tiny_net(input="audio").eval(), tiny_net(input="audio", side=48).eval()
    sound = pictures(channels=1, height=16, width=24)
    stretched = F.interpolate(sound, (48, 48), mode="bilinear", align_corners=False)
    with torch.no_grad():
        torch.testing.assert_close(stretching(sound)[0], net(stretched)[0])


def test_pictures_of_a_batch_do_not_see_each_other():
    net, x = tiny_net().eval(), pictures(3)
    with torch.no_grad():
        torch.testing.assert_close(net(x)[0], torch.cat([net(picture[None])[0] for picture in x]), atol=1e-5, rtol=1e-5)


def test_bfloat16_autocast_stays_close():
    net, x = tiny_net().eval(), pictures()
    with torch.no_grad():
        with torch.autocast("cpu", torch.bfloat16):
            rough = net(x)[0].float()
        assert (rough - net(x)[0]).abs().max() < 0.1 * net(x)[0].abs().max()


def test_config_survives_json():
    for config in (xception(), audio_xception(num_classes=7), xception_small(input="flow"), audio_xception_small()):
        assert XceptionConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"input": "sound"}, "input must be one of rgb, flow, audio, got 'sound'"),
        ({"widths": (1, 2)}, r"widths needs 8 entries, as \(32, 64, "),
        ({"widths": (0, *WIDTHS[1:])}, "widths must be whole numbers of 1 or more"),
        ({"middle_modules": 0}, "middle_modules must be whole numbers of 1 or more, got 0"),
        ({"num_classes": 0}, "num_classes must be"),
        ({"dropout": 1.0}, "dropout must be 0 or more and below 1, got 1.0"),
        ({"side": 6}, "side must be 0 or 7 pixels or more, got 6"),
        ({"depth": 6}, "unknown option 'depth'; XceptionConfig has num_classes, widths"),
    ],
)
def test_a_config_that_means_nothing_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        XceptionConfig.from_dict(values)


def test_wrong_inputs_are_refused():
    net = tiny_net()
    with pytest.raises(ValueError, match=r"expected clips \(B, 3, T, H, W\) or pictures without T, got \(2, 1, 1, 40"):
        net(pictures(channels=1))
    with pytest.raises(ValueError, match="expected clips"):
        net(clips(frames=0))
    with pytest.raises(ValueError, match="at least 7 pixels a side"):
        net(pictures(height=6))
    assert net.eval()(pictures(height=7, width=7))[0].shape == (2, 5)
