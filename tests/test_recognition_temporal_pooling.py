"""Temporal pooling: written out, by its receptive field, and where the order of clips is all there is to learn."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from recognition.model_files import ModelFileError, save_model
from recognition.temporal_pooling import (
    TemporalPooling,
    TemporalPoolingConfig,
    at_equal_distances,
    load_pooling,
    save_pooling,
)

TINY = {"num_classes": 3, "stream_widths": (4, 3), "clips": 9, "width": 6, "dropout": 0.0}


def tiny_net(seed=0, **changes):
    config = TemporalPoolingConfig(**{**TINY, **changes})
    return TemporalPooling(config, generator=torch.Generator().manual_seed(seed))


def clips(batch=2, count=9, width=7, seed=1):
    return torch.randn(batch, count, width, generator=torch.Generator().manual_seed(seed))


def test_parameters_of_the_full_network():
    with torch.device("meta"):
        net = TemporalPooling(TemporalPoolingConfig(600))
        three = TemporalPooling(TemporalPoolingConfig(600, stream_widths=(2048, 2048, 2048)))
        average = TemporalPooling(TemporalPoolingConfig(600, pooling="average"))
    count = [sum(p.numel() for p in network.parameters()) for network in (net, three, average)]
    first, second, norms, last = 2048 * 1024 * 3, 1024 * 1024 * 3, 2 * 2 * 1024, 1024 * 600 + 600
    assert count == [first + second + norms + last, 3 * first + second + norms + last, 2048 * 600 + 600]


def test_parameters_of_the_rows_of_stnets_table_1():
    """On 1536 features, with the layer of 400 classes: 4.6, 10.9 and 8.3 million in the paper."""
    count = {}
    with torch.device("meta"):
        for pooling in ("xception", "lstm", "gru"):
            net = TemporalPooling(TemporalPoolingConfig(400, stream_widths=(1536,), pooling=pooling))
            count[pooling] = sum(p.numel() for p in net.parameters())
    last = 1024 * 400 + 400
    gate = 1536 * 1024 + 1024 * 1024 + 2 * 1024  # of what comes in, of what was before, two biases
    assert count == {"xception": 4_624_784, "lstm": 4 * gate + last, "gru": 3 * gate + last}
    assert count["lstm"] == 10_903_952
    assert count["gru"] == 8_280_464


def test_a_recurrent_layer_is_followed_by_the_maximum_over_time():
    net, x = tiny_net(pooling="gru").eval(), clips()
    with torch.no_grad():
        outputs, _ = net.block.layer(x)
        torch.testing.assert_close(net.features(x), torch.stack([outputs[:, t] for t in range(9)]).max(dim=0).values)


def test_tcp_written_out():
    net, x = tiny_net().eval(), clips()
    for norm in (net.convolutions[1], net.convolutions[4]):
        torch.nn.init.uniform_(norm.running_var, 0.5, 2)
        torch.nn.init.normal_(norm.running_mean)
    y = x
    for conv, norm in ((net.convolutions[0], net.convolutions[1]), (net.convolutions[3], net.convolutions[4])):
        padded = F.pad(y, (0, 0, 1, 1))
        y = sum(padded[:, tap : tap + 9] @ conv.weight[:, :, tap].T for tap in range(3))
        y = torch.relu((y - norm.running_mean) / (norm.running_var + norm.eps).sqrt())
    expected = y.mean(dim=1) @ net.classifier.weight.T + net.classifier.bias
    with torch.no_grad():
        torch.testing.assert_close(net(x)[0], expected)
        torch.testing.assert_close(net.features(x), y.mean(dim=1))


def test_average_pooling_is_the_mean_of_the_clips_logits():
    net, x = tiny_net(pooling="average").eval(), clips()
    with torch.no_grad():
        each = torch.stack([net.classifier(x[:, i]) for i in range(9)])
        torch.testing.assert_close(net(x)[0], each.mean(dim=0))


@pytest.mark.parametrize(
    ("pooling", "sees_order"),
    [("tcp", True), ("average", False), ("xception", True), ("lstm", True), ("gru", True)],
)
def test_whether_the_order_of_clips_matters(pooling, sees_order):
    net, x = tiny_net(pooling=pooling).eval(), clips()
    with torch.no_grad():
        change = (net(x)[0] - net(x.flip(1))[0]).abs().max()
    assert (change > 1e-3) == sees_order


def test_a_step_sees_two_clips_to_either_side():
    net, x = tiny_net().eval(), clips(16)
    changed = x.clone()
    changed[:, 4] += 5
    with torch.no_grad():
        before, after = (net.convolutions(features.transpose(1, 2)) for features in (x, changed))
    steps = (before != after).any(dim=0).any(dim=0)
    assert steps.nonzero().flatten().tolist() == [2, 3, 4, 5, 6]


@pytest.mark.parametrize("count", [1, 2, 30])
def test_any_number_of_clips_works(count):
    assert tiny_net().eval()(clips(count=count))[0].shape == (2, 3)


@pytest.mark.parametrize(
    ("clips_there", "wanted", "taken"),
    [
        pytest.param(5, 5, [0, 1, 2, 3, 4], id="as they are"),
        pytest.param(1, 3, [0, 0, 0], id="one for all"),
        pytest.param(3, 5, [0, 0, 1, 2, 2], id="repeated: 0, 0.5, 1, 1.5, 2, halves to the even"),
        pytest.param(9, 3, [0, 4, 8], id="ends and middle"),
        pytest.param(5, 1, [2], id="the middle"),
    ],
)
def test_clips_at_equal_distances(clips_there, wanted, taken):
    features = np.arange(clips_there)[:, None] * [1.0, 10.0]
    assert at_equal_distances(features, wanted).tolist() == [[i, 10 * i] for i in taken]


def learn(net, x, labels, steps=80):
    """Accuracy on what was trained on."""
    optimiser = torch.optim.Adam(net.parameters(), lr=0.02)
    for _ in range(steps):
        optimiser.zero_grad()
        F.cross_entropy(net(x)[0], labels).backward()
        optimiser.step()
    with torch.no_grad():
        return float((net.eval()(x)[0].argmax(dim=1) == labels).float().mean())


@pytest.mark.parametrize("pooling", ["tcp", "average", "xception", "lstm", "gru"])
def test_eight_videos_are_learned_by_heart_and_every_parameter_learns(pooling):
    net, x, labels = tiny_net(pooling=pooling), clips(8), torch.arange(8) % 3
    F.cross_entropy(net(x)[0], labels).backward()
    assert [name for name, p in net.named_parameters() if not p.grad.abs().max() > 0] == []
    assert learn(net, x, labels) == 1


def test_what_differs_in_order_only_is_for_tcp_to_learn():
    """Two events, one after the other: which comes first is the class."""
    places = torch.randint(1, 8, (32,), generator=torch.Generator().manual_seed(0))
    labels = torch.arange(32) % 2
    x = torch.zeros(32, 9, 7)
    for row, (place, label) in enumerate(zip(places, labels)):
        x[row, place, 0 if label else 1] = 3
        x[row, place + 1, 1 if label else 0] = 3
    assert learn(tiny_net(num_classes=2), x, labels) == 1
    assert learn(tiny_net(num_classes=2, pooling="average"), x, labels) == 0.5


def test_a_model_file_rebuilds_the_network(tmp_path):
    net, x = tiny_net(), clips()
    with torch.no_grad():
        net(x)
        expected = net.eval()(x)[0]
    path = tmp_path / "pooling.safetensors"
    save_pooling(path, net, ("a", "b", "c"), streams={"streams": [{"model": "abc"}]}, provenance={"seed": 1})
    again, file = load_pooling(path)
    assert (again.config, file.class_names) == (net.config, ("a", "b", "c"))
    assert (file.preprocessing, file.provenance) == ({"streams": [{"model": "abc"}]}, {"seed": 1})
    with torch.no_grad():
        assert torch.equal(again(x)[0], expected)


def test_a_file_that_does_not_fit_is_one_line(tmp_path):
    net, path = tiny_net(), tmp_path / "p.safetensors"
    about = {"class_names": ["a", "b", "c"], "preprocessing": {}, "provenance": {}}
    for changes, message in (
        ({"kind": "classifier"}, "holds a model of kind 'classifier'"),
        ({"config": {**net.config.to_dict(), "speed": 1}}, "unknown option 'speed'"),
        ({"class_names": ["a"]}, "1 class names for 3 classes"),
    ):
        whole = {"kind": "temporal_pooling", "config": net.config.to_dict(), **about, **changes}
        save_model(path, net.state_dict(), **whole)
        with pytest.raises(ModelFileError, match=message) as error:
            load_pooling(path)
        assert str(error.value).startswith(str(path))


def test_config_survives_json():
    for config in (TemporalPoolingConfig(5), TemporalPoolingConfig(**TINY, pooling="average")):
        assert TemporalPoolingConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kernel": 2}, "kernel must be odd, got 2"),
        ({"pooling": "max"}, "pooling must be one of tcp, average, xception, lstm, gru, got 'max'"),
        ({"stream_widths": ()}, "stream_widths needs at least one stream"),
        ({"stream_widths": (0,)}, "stream_widths must be whole numbers of 1 or more"),
        ({"dropout": -0.1}, "dropout must be"),
        ({"layers": 0}, "layers must be"),
    ],
)
def test_a_config_that_means_nothing_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        TemporalPoolingConfig(**{**TINY, **changes})


def test_wrong_features_are_refused():
    with pytest.raises(ValueError, match=r"expected features \(B, clips, 7\), got \(2, 9, 6\)"):
        tiny_net()(clips(width=6))
    with pytest.raises(ValueError, match="expected features"):
        tiny_net()(clips(count=0))
