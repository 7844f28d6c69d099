"""Kernel classifier: Eq. 4, 5 and 7, its normalised forms, and its class maps."""

import pytest
import torch

from recognition.kernel_head import SKETCH_FORMS, KernelHead

C, D, CLASSES = 12, 64, 3


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def maps(seed=0, shape=(2, C, 2, 3, 3)):
    return normal(*shape, seed=seed).relu(), normal(shape[0], C, seed=seed + 100).relu()


def head(form="none", size=D, **options):
    torch.manual_seed(0)
    return KernelHead(C, CLASSES, size, form, **options).double().eval()


def relative(a, b):
    return float((a - b).abs().max() / b.abs().max())


def test_features_are_the_mean_sketch_of_the_positions_and_the_sketch_of_the_vector():
    net, (local, global_) = head(), maps()
    with torch.no_grad():
        features = net.features(local, global_)
        for clip in range(2):
            positions = [local[clip, :, t, h, w] for t in range(2) for h in range(3) for w in range(3)]
            expected = torch.stack([net.sketch(x) for x in positions]).mean(dim=0)
            assert relative(features[clip, :D], expected) < 1e-12
            assert relative(features[clip, D:], net.sketch(global_[clip])) < 1e-12
        assert torch.equal(net(local, global_), net.classifier(features))


@pytest.mark.parametrize(("size", "limit"), [(512, 3 * 0.114), (8192, 3 * 0.027), (16384, 3 * 0.019)])
def test_inner_products_of_local_halves_are_the_mean_kernel_over_all_pairs_of_positions(size, limit):
    """Eq. 4 and 5; the limits are three standard deviations as measured on a prototype."""
    torch.manual_seed(0)
    net = KernelHead(64, 2, size, "none").double()
    x, y = normal(1, 64, 4, 3, 3, seed=1).relu(), normal(1, 64, 4, 3, 3, seed=2).relu()
    kernel = torch.einsum("cn,cm->nm", x[0].flatten(1), y[0].flatten(1)).square().mean()
    with torch.no_grad():
        half_x, half_y = (net.features(z, torch.zeros(1, 64).double())[0, :size] for z in (x, y))
    assert abs(half_x @ half_y / kernel - 1) < limit


@pytest.mark.parametrize("form", SKETCH_FORMS)
def test_order_and_number_of_positions_do_not_matter(form):
    net, (local, global_) = head(form), maps()
    shuffled = local.flatten(2)[:, :, torch.randperm(18, generator=torch.Generator().manual_seed(0))]
    with torch.no_grad():
        features = net.features(local, global_)
        assert relative(net.features(shuffled.unflatten(2, (2, 3, 3)), global_), features) < 1e-12
        assert relative(net.features(torch.cat([local, local], dim=2), global_), features) < 1e-12


def test_a_sum_over_positions_would_depend_on_their_number():
    net, (local, global_) = head(), maps()
    twice = torch.cat([local, local], dim=2)
    with torch.no_grad():
        sums = [net.sketch(m.flatten(2).transpose(1, 2)).sum(dim=1) for m in (local, twice)]
        assert relative(sums[0] / 18, net.features(local, global_)[:, :D]) < 1e-12
        assert relative(sums[1], sums[0]) > 0.9


def test_the_halves_do_not_see_each_other_and_scale_with_the_square():
    net, (local, global_) = head(), maps()
    with torch.no_grad():
        features, scaled = net.features(local, global_), net.features(local, 3 * global_)
    assert torch.equal(scaled[:, :D], features[:, :D])
    assert relative(scaled[:, D:], 9 * features[:, D:]) < 1e-12


def test_forms():
    local, global_ = maps()
    with torch.no_grad():
        plain = head("none").features(local, global_)
        by_form = {form: head(form).features(local, global_) for form in SKETCH_FORMS}
    assert relative(by_form["channels"], plain / C) < 1e-12
    for half in (slice(0, D), slice(D, 2 * D)):
        root = plain[:, half].sign() * plain[:, half].abs().sqrt()
        unit = plain[:, half] / plain[:, half].norm(dim=1, keepdim=True)
        assert relative(by_form["sqrt_l2"][:, half], root / root.norm(dim=1, keepdim=True)) < 1e-6
        assert relative(by_form["l2_sqrt"][:, half], unit.sign() * unit.abs().sqrt()) < 1e-3
        assert torch.allclose(by_form["sqrt_l2"][:, half].norm(dim=1), torch.ones(2).double())


@pytest.mark.parametrize("form", ["sqrt_l2", "l2_sqrt"])
def test_normalised_forms_do_not_depend_on_the_scale_of_the_maps(form):
    net, (local, global_) = head(form), maps()
    with torch.no_grad():
        assert relative(net.features(10 * local, 10 * global_), net.features(local, global_)) < 1e-6


@pytest.mark.parametrize("form", SKETCH_FORMS)
def test_maps_of_zeros_have_finite_features_and_gradients(form):
    net = head(form)
    local, global_ = (torch.zeros(shape).double().requires_grad_() for shape in ((1, C, 2, 1, 1), (1, C)))
    logits = net(local, global_)
    logits.sum().backward()
    assert torch.equal(logits[0], net.classifier.bias)
    assert all(torch.isfinite(g).all() for g in (local.grad, global_.grad, net.classifier.weight.grad))


@pytest.mark.parametrize("form", SKETCH_FORMS)
def test_mean_of_the_class_map_is_the_local_half_of_the_logit(form):
    net, (local, global_) = head(form), maps()
    with torch.no_grad():
        class_maps = net.class_maps(local)
        half = net.features(local, global_)[:, :D] @ net.classifier.weight[:, :D].T
    assert class_maps.shape == (2, CLASSES, 2, 3, 3)
    assert relative(class_maps.mean(dim=(2, 3, 4)), half) < 1e-12


def test_class_map_shows_the_position_that_speaks_for_the_class():
    net, (local, _) = head("none"), maps(shape=(1, C, 2, 3, 3))
    local[0, :, 1, 2, 0] *= 4  # its kernel with itself is then far above that with the others
    with torch.no_grad():
        net.classifier.weight[1, :D] = net.sketch(local[0, :, 1, 2, 0])
        assert net.class_maps(local)[0, 1].flatten().argmax() == 1 * 9 + 2 * 3 + 0


def test_autocast_keeps_the_features_in_float32():
    net, (local, global_) = head("sqrt_l2").float(), maps()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        features = net.features(local.bfloat16(), global_.bfloat16())
        logits = net(local.bfloat16(), global_.bfloat16())
    assert features.dtype == torch.float32
    assert logits.dtype == torch.bfloat16
    with torch.no_grad():
        assert net.bfloat16()(local.bfloat16(), global_.bfloat16()).dtype == torch.bfloat16


def test_dropout_acts_in_training_only():
    net, (local, global_) = head(dropout=0.5), maps()
    with torch.no_grad():
        assert torch.equal(net(local, global_), net(local, global_))
        assert not torch.equal(net.train()(local, global_), net(local, global_))


def test_an_unknown_form_is_refused():
    with pytest.raises(ValueError, match="sketch form must be one of none, channels, sqrt_l2, l2_sqrt, got 'l2'"):
        KernelHead(4, 2, 8, "l2")
