"""Folding batch norm for inference: the same numbers, no batch norm left, the original untouched."""

import copy

import pytest
import torch
from torch import nn

from recognition.fold import fold_batch_norm
from recognition.heads import TwoPathHead
from recognition.initialise import xavier_caffe_
from recognition.lgd3d import LGD3D, LGD3DConfig


class Scorer(nn.Module):
    """A network inside another, beside a batch norm that is none of ours."""

    def __init__(self, config):
        super().__init__()
        self.backbone = LGD3D(config)
        self.norm = nn.BatchNorm1d(config.out_channels)
        self.head = TwoPathHead(config.out_channels, 3)

    def forward(self, clips):
        local, global_ = self.backbone(clips)
        return self.head(local, self.norm(global_))


def trained(net):
    """Xavier weights, batch norms with scales and shifts of their own and statistics of some clips."""
    torch.manual_seed(0)
    xavier_caffe_(net)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
    with torch.no_grad():
        for _ in range(5):
            net.train()(torch.randn(4, 3, 8, 32, 32))
    return net


@pytest.mark.parametrize("kind", ["lgd", "v2", "none"])
def test_folded_net_gives_the_same_numbers(kind):
    net = trained(Scorer(LGD3DConfig((1, 2, 1, 1), (16, 24, 32, 48), 8, block=kind, rank_divisor=8)))
    before = copy.deepcopy(net.state_dict())
    folded = fold_batch_norm(net)
    assert net.training
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())

    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert isinstance(folded.norm, nn.BatchNorm1d)
    assert not folded.training
    assert not any(parameter.requires_grad for parameter in folded.parameters())
    clips = torch.randn(2, 3, 8, 32, 48)
    with torch.inference_mode():
        for got, expected in zip(folded(clips), net.eval()(clips)):
            assert (got - expected).abs().max() < 1e-5 * expected.abs().max()
        for got, expected in zip(fold_batch_norm(net.double())(clips.double()), net(clips.double())):
            assert (got - expected).abs().max() < 1e-12 * expected.abs().max()
