"""Optimizers and learning rates by the epoch."""

import math

import pytest
import torch
from torch import nn

from recognition.optimise import build_optimizer, cosine_rate, set_rate, stepped_rate


@pytest.fixture
def network() -> nn.Module:
    return nn.ModuleDict({"body": nn.Conv2d(3, 4, 1), "norm": nn.BatchNorm2d(4), "head": nn.Linear(4, 2)})


def test_decay_falls_on_matrices_only_and_every_parameter_is_trained_once(network: nn.Module) -> None:
    optimizer = build_optimizer(network, "sgd", learning_rate=0.1, weight_decay=0.5)
    by_decay = {group["weight_decay"]: group["params"] for group in optimizer.param_groups}
    assert {tuple(p.shape) for p in by_decay[0.5]} == {(4, 3, 1, 1), (2, 4)}
    assert {tuple(p.shape) for p in by_decay[0.0]} == {(4,), (2,)}
    trained = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(trained) == sorted(id(p) for p in network.parameters())
    assert all(group["nesterov"] and group["momentum"] == 0.9 for group in optimizer.param_groups)


def test_the_head_can_learn_faster(network: nn.Module) -> None:
    head = list(network["head"].parameters())  # type: ignore[index]
    optimizer = build_optimizer(network, "adamw", learning_rate=0.1, weight_decay=0, head=head, head_rate=10)
    set_rate(optimizer, 0.5)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert all(rates[id(p)] == pytest.approx(0.5) for p in head)
    assert sum(rate == pytest.approx(0.05) for rate in rates.values()) == 4
    assert isinstance(optimizer, torch.optim.AdamW)


def test_the_papers_rate_falls_to_a_tenth_every_20_epochs() -> None:
    rates = [stepped_rate(epoch, 0, 20, 0.1) for epoch in (0, 19.99, 20, 39.99, 40, 49.99)]
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    # steps of an epoch that add up to 5 by rounding only
    assert stepped_rate(sum([0.1] * 50), 0, 5, 0.1) == pytest.approx(0.1)


def test_rates_warm_up_from_nothing() -> None:
    assert cosine_rate(0, 2, 10) == pytest.approx(0.0005)
    assert stepped_rate(1, 2, 20, 0.1) == pytest.approx(0.5, abs=1e-3)
    assert cosine_rate(2, 2, 10) == 1
    assert cosine_rate(6, 2, 10) == pytest.approx(0.5)
    assert cosine_rate(4, 2, 10) == pytest.approx((1 + math.cos(math.pi / 4)) / 2)
    assert cosine_rate(10, 2, 10) == pytest.approx(0)
