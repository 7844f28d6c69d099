"""LGD inside a small 3-D CNN that is not ours: bit-identity, the equations written out, and points that do not fit."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from recognition.global_path import Injected, InjectionPoints, channels_at, inject_lgd_at

POINTS = InjectionPoints("stem.2", (("unit.relu",), ("left.2", "right.2"), ("plain",)), "fc")
WIDTHS = (8, 8, 16, 12)  # stem, unit, left 10 + right 6, plain


def conv_bn_relu(before, width, stride=1):
    return nn.Sequential(nn.Conv3d(before, width, 3, stride, 1, bias=False), nn.BatchNorm3d(width), nn.ReLU(True))


class Residual(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv3d(width, width, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm3d(width)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.relu(self.bn(self.conv(x)) + x)


class SomeNet(nn.Module):
    """A residual unit, an Inception unit of two branches, and a unit without an activation."""

    def __init__(self, classes=5):
        super().__init__()
        self.stem = conv_bn_relu(3, 8, stride=2)
        self.unit = Residual(8)
        self.left = conv_bn_relu(8, 10)
        self.right = conv_bn_relu(8, 6)
        self.plain = nn.Conv3d(16, 12, 1)
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(12, classes)

    def forward(self, x):
        x = self.unit(self.stem(x))
        x = self.plain(torch.cat([self.left(x), self.right(x)], dim=1))
        return self.fc(self.dropout(x.mean(dim=(2, 3, 4))))


def clips(batch=4, seed=0):
    return torch.randn(batch, 3, 4, 8, 8, generator=torch.Generator().manual_seed(seed))


def injected(net=None, **options):
    generator = torch.Generator().manual_seed(3)
    return inject_lgd_at(net or SomeNet(), POINTS, clips(1), rank_divisor=4, generator=generator, **options)


def open_up(net):
    """W^{xg} as it may be after training, instead of zero."""
    for block in net.blocks:
        nn.init.normal_(block.global_to_local.outer.weight, generator=torch.Generator().manual_seed(4))
    return net


@pytest.mark.parametrize("training", [True, False])
def test_at_the_start_the_network_gives_the_same_bits(training):
    alone = SomeNet().train(training)
    net = injected(copy.deepcopy(alone)).train(training)
    torch.manual_seed(7)
    expected = alone(clips())
    torch.manual_seed(7)
    local, global_ = net(clips())
    assert torch.equal(local, expected)
    assert global_.shape == (4, 5)
    for name, tensor in alone.state_dict().items():  # batch statistics too
        assert torch.equal(net.net.state_dict()[name], tensor), name


def test_the_same_bits_in_mixed_precision():
    alone = SomeNet().eval()
    net = injected(copy.deepcopy(alone)).eval()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(net(clips())[0], alone(clips()))


def test_the_recursion_written_out():
    net = open_up(injected()).eval()
    host, (first, second, third) = net.net, net.blocks

    def w(matrix, vector):
        return vector @ matrix.inner.weight.T @ matrix.outer.weight.T

    def p(x):
        return x.mean(dim=(2, 3, 4))

    def step(block, pooled, g):
        return torch.relu(w(block.local_to_global, pooled) + w(block.global_to_global, g))

    def us(vector):
        return vector[:, :, None, None, None]

    with torch.no_grad():
        x = host.stem(clips())
        g = p(x)
        x = torch.relu(host.unit.bn(host.unit.conv(x)) + x + us(w(first.global_to_local, g)))
        g = step(first, p(x), g)
        branches = torch.cat([host.left[:2](x), host.right[:2](x)], dim=1)
        x = torch.relu(branches + us(w(second.global_to_local, g)))
        g = step(second, p(x), g)
        x = host.plain(x) + us(w(third.global_to_local, g))  # no activation there: none is added
        g = step(third, p(torch.relu(x)), g)
        local, global_ = net(clips())
    torch.testing.assert_close(local, host.fc(p(x)))
    torch.testing.assert_close(global_, net.global_classifier(g))


def test_added_parameters():
    # W^{gx}: C -> r -> C, W^{gg} and W^{xg}: C' -> r -> C, so r (4 C + 2 C') with r = C / 4, C' the width before
    first, second, third = 2 * (4 * 8 + 2 * 8), 4 * (4 * 16 + 2 * 8), 3 * (4 * 12 + 2 * 16)
    added = sum(p.numel() for p in injected().parameters()) - sum(p.numel() for p in SomeNet().parameters())
    assert added == first + second + third + (12 * 5 + 5)
    # full matrices: C C + 2 C' C
    full = inject_lgd_at(SomeNet(), POINTS, clips(1), rank_divisor=None)
    assert sum(p.numel() for p in full.blocks.parameters()) == (64 + 128) + (256 + 256) + (144 + 384)


def test_after_one_step_the_path_changes_the_output_and_every_parameter_has_a_gradient():
    net = injected().eval()  # batch norm and dropout would change the output as well
    before, _ = net(clips())
    labels = torch.arange(4)
    sum(F.cross_entropy(logits, labels) for logits in net(clips())).backward()
    with torch.no_grad():
        for parameter in net.blocks.parameters():
            parameter -= 0.1 * parameter.grad
    after, _ = net(clips())
    assert not torch.equal(after, before)

    net.zero_grad()
    sum(F.cross_entropy(logits, labels) for logits in net(clips())).backward()
    dead = [name for name, parameter in net.named_parameters() if not parameter.grad.abs().max() > 0]
    assert dead == []


def test_clips_of_a_batch_do_not_see_each_other():
    net = open_up(injected()).eval()
    together = net(clips())
    alone = [net(clip[None]) for clip in clips()]
    for path in (0, 1):
        torch.testing.assert_close(together[path], torch.cat([logits[path] for logits in alone]))


def test_copies_and_a_saved_state_compute_the_same():
    net = open_up(injected()).eval()
    again = injected().eval()
    again.load_state_dict(net.state_dict(), strict=True)
    for other in (again, copy.deepcopy(net)):
        for mine, theirs in zip(net(clips()), other(clips())):
            assert torch.equal(mine, theirs)


def test_no_hook_stays_behind_even_after_an_error():
    net = open_up(injected()).eval()
    alone = copy.deepcopy(net.net)
    net(clips())
    with pytest.raises(RuntimeError):
        net(torch.zeros(1, 4, 4, 8, 8))  # four channels
    assert torch.equal(net.net(clips()), alone(clips()))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.net.modules())


def test_finding_the_channels_leaves_the_network_as_it_was():
    net = SomeNet().train()
    net.left.eval()
    before = copy.deepcopy(net.state_dict())
    assert channels_at(net, POINTS, clips(1)) == WIDTHS
    assert net.training
    assert net.right[1].training
    assert not net.left[1].training
    assert all(torch.equal(net.state_dict()[name], tensor) for name, tensor in before.items())


def test_features_are_what_the_classifier_sees_and_class_maps_average_to_its_logits():
    net = open_up(injected()).eval()
    local, _ = net(clips())
    torch.testing.assert_close(net.net.fc(net.features(clips())), local)
    maps = net.class_maps(clips())
    assert maps.shape == (4, 5, 2, 4, 4)
    torch.testing.assert_close(maps.mean(dim=(2, 3, 4)) + net.net.fc.bias, local)


def test_a_classifier_of_another_size_is_replaced_and_one_of_the_same_size_is_kept():
    host = SomeNet(5)
    kept = host.fc.weight
    assert injected(host, num_classes=5).net.fc.weight is kept
    net = injected(host, num_classes=3)
    assert [logits.shape for logits in net(clips())] == [(4, 3), (4, 3)]
    assert net.net.fc.bias.tolist() == [0, 0, 0]


def test_it_overfits_eight_clips():
    torch.manual_seed(0)
    net, labels = injected(), torch.arange(8) % 5
    optimiser = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)
    for _ in range(60):
        optimiser.zero_grad()
        sum(F.cross_entropy(logits, labels) for logits in net(clips(8))).backward()
        optimiser.step()
    net.eval()
    for logits in net(clips(8)):
        assert torch.equal(logits.argmax(dim=1), labels)


@pytest.mark.parametrize(
    ("first", "units", "classifier", "complaint"),
    [
        ("stem.2", ("unit.relo",), "fc", "no module 'unit.relo'; did you mean 'unit.relu'"),
        ("stem.2", ("zzzz",), "fc", "shows the names"),
        ("unit.relu", ("stem.2",), "fc", "in the order in which they run: stem.2, unit.relu"),
        ("stem.2", ("unit.relu", "fc"), "fc", "fc must put out a map"),
        ("stem.2", ("unit.relu", "spare"), "fc", "spare runs 0 times"),
        ("stem.2", ("shared",), "fc", "shared runs 2 times"),
        ("stem.2", ("unit.relu",), "unit.conv", "must be nn.Linear or a 1x1x1 nn.Conv3d, got Conv3d"),
    ],
)
def test_points_that_do_not_fit_are_named(first, units, classifier, complaint):
    net = SomeNet()
    net.spare = nn.ReLU()
    net.left[2] = net.right[2] = net.shared = nn.ReLU()
    with pytest.raises(ValueError, match=complaint):
        inject_lgd_at(net, InjectionPoints(first, units, classifier), clips(1))


def test_points_need_units_and_each_module_once():
    with pytest.raises(ValueError, match="at least one unit"):
        InjectionPoints("stem", (), "fc")
    with pytest.raises(ValueError, match="different modules, got stem, a, a"):
        InjectionPoints("stem", ("a", ("a",)), "fc")


@pytest.mark.parametrize(
    ("order", "complaint"),
    [
        (("stem", "a", "a", "b"), "a runs where the injection points have b"),
        (("stem", "a", "b", "b"), "b runs more than once"),
        (("stem", "a"), "b did not run in this pass"),
        (("a", "stem", "b"), "a runs where the injection points have stem"),
    ],
)
def test_a_forward_pass_that_leaves_the_order_is_an_error(order, complaint):
    class Wayward(nn.Module):
        """Runs its modules in the order it is told."""

        def __init__(self):
            super().__init__()
            self.stem, self.a, self.b, self.fc = nn.Identity(), nn.ReLU(), nn.ReLU(), nn.Linear(3, 2)

        def forward(self, x):
            for name in order:
                x = self.get_submodule(name)(x)
            return self.fc(x.mean(dim=(2, 3, 4)))

    points = InjectionPoints("stem", ("a", "b"), "fc")
    net = Injected(Wayward(), points, widths=(3, 3, 3), num_classes=2)
    with pytest.raises(ValueError, match=complaint):
        net(clips())


def test_options_outside_their_range_and_flat_clips_are_refused():
    with pytest.raises(ValueError, match="num_classes"):
        injected(num_classes=0)
    with pytest.raises(ValueError, match="rank_divisor"):
        inject_lgd_at(SomeNet(), POINTS, clips(1), rank_divisor=0)
    with pytest.raises(ValueError, match=r"expected clips \(B, C, T, H, W\), got \(3, 8, 8\)"):
        injected()(torch.zeros(3, 8, 8))
