"""Two-path head and loss (Eq. 6): values, gradients, and the saddle that a wrong start falls into."""

import math

import pytest
import torch
from torch import nn

from recognition.heads import LocalHead, TwoPathHead, class_scores, two_path_loss
from recognition.initialise import xavier_caffe_, zero_diffusion_
from recognition.lgd3d import LGD3D, LGD3DConfig

CONFIG = LGD3DConfig(depths=(1, 1, 1, 2), widths=(16, 24, 32, 48), stem_width=8, rank_divisor=8)


def test_loss_of_undecided_paths_is_twice_the_log_of_the_number_of_classes():
    loss = two_path_loss(torch.zeros(3, 4), torch.zeros(3, 4), torch.tensor([0, 1, 3]))
    assert loss.item() == pytest.approx(2 * math.log(4))


def test_loss_adds_the_cross_entropies_with_equal_weight():
    local, global_ = torch.tensor([[0.0, math.log(3)]]), torch.tensor([[math.log(9), 0.0]])
    label = torch.tensor([1])
    assert two_path_loss(local, global_, label).item() == pytest.approx(-math.log(3 / 4) - math.log(1 / 10))


def test_head_classifies_the_mean_of_the_local_map_and_the_global_vector():
    head = TwoPathHead(2, 3)
    with torch.no_grad():
        head.local.weight.copy_(torch.tensor([[1.0, 0], [0, 1], [1, 1]]))
        head.local.bias.copy_(torch.tensor([0.0, 0, 10]))
        head.global_.weight.copy_(torch.tensor([[2.0, 0], [0, 2], [0, 0]]))
        head.global_.bias.zero_()
    local = torch.zeros(1, 2, 2, 1, 2)
    local[0, 0] = torch.tensor([[[1.0, 2]], [[3, 6]]])  # mean 12 / 4
    local[0, 1, 0, 0, 0] = 8  # mean 8 / 4
    logits, global_logits = head(local, torch.tensor([[5.0, 7]]))
    assert logits.tolist() == [[3, 2, 3 + 2 + 10]]
    assert global_logits.tolist() == [[10, 14, 0]]


def test_head_of_600_classes_on_resnet_has_the_parameters_of_two_layers():
    assert sum(p.numel() for p in TwoPathHead(2048, 600).parameters()) == 2 * (2048 * 600 + 600)
    assert sum(p.numel() for p in LocalHead(2048, 600).parameters()) == 2048 * 600 + 600


def test_dropout_acts_in_training_only():
    head, local, global_ = TwoPathHead(64, 5, dropout=0.5), torch.ones(1, 64, 1, 1, 1), torch.ones(1, 64)
    torch.manual_seed(0)
    assert not torch.equal(head(local, global_)[0], head(local, global_)[0])
    head.eval()
    assert torch.equal(head(local, global_)[0], head(local, global_)[0])
    assert torch.equal(head(local, global_)[0], LocalHead.forward(head, local))


def test_class_scores():
    local, global_ = torch.tensor([[0.0, math.log(3)]]), torch.tensor([[math.log(3), 0.0]])
    assert class_scores(local, global_)[0].tolist() == pytest.approx([1 / 4, 3 / 4])
    assert class_scores(local, global_, paths="mean")[0].tolist() == pytest.approx([1 / 2, 1 / 2])
    assert class_scores(local.bfloat16()).dtype == torch.float32
    with pytest.raises(ValueError, match="needs the logits of the global path"):
        class_scores(local, paths="mean")
    with pytest.raises(ValueError, match="'local' or 'mean', got 'global'"):
        class_scores(local, global_, paths="global")


# ---- gradients through the network ----


def net_and_head(seed=0):
    torch.manual_seed(seed)
    net, head = LGD3D(CONFIG), TwoPathHead(48, 3)
    xavier_caffe_(net)
    xavier_caffe_(head)
    return net, head


def without_gradient(net, head, loss):
    """Names of the parameters that a loss leaves untouched; gradients stay in the modules."""
    net.zero_grad()
    head.zero_grad()
    loss.backward()
    named = [
        (f"{part}.{n}", p)
        for part, module in (("net", net), ("head", head))
        for n, p in module.named_parameters()
    ]
    return [name for name, p in named if p.grad is None or not p.grad.abs().max() > 0]


def losses(net, head):
    generator = torch.Generator().manual_seed(3)
    clips = torch.randn(4, 3, 8, 32, 32, generator=generator)
    labels = torch.tensor([0, 1, 2, 1])
    local, global_ = head(*net(clips))
    return two_path_loss(local, global_, labels), nn.functional.cross_entropy(local, labels)


def test_every_parameter_learns_under_the_two_path_loss():
    net, head = net_and_head()
    assert without_gradient(net, head, losses(net, head)[0]) == []


def test_the_local_loss_alone_leaves_the_end_of_the_global_path_untouched():
    net, head = net_and_head()
    last = "net.res5.1."
    assert without_gradient(net, head, losses(net, head)[1]) == [
        *(
            f"{last}{m}.{f}.weight"
            for m in ("local_to_global", "global_to_global")
            for f in ("inner", "outer")
        ),
        "head.global_.weight",
        "head.global_.bias",
    ]


@pytest.mark.parametrize(
    ("both", "expected"), [(False, 0), (True, 5)], ids=["outer factor zero", "both zero"]
)
def test_a_zero_start_comes_alive_unless_both_factors_are_zero(both, expected):
    net, head = net_and_head()
    zero_diffusion_(net)
    spread = [b.global_to_local for stage in (net.res2, net.res3, net.res4, net.res5) for b in stage]
    if both:
        for matrix in spread:
            nn.init.zeros_(matrix.inner.weight)
    optimiser = torch.optim.SGD([*net.parameters(), *head.parameters()], lr=0.05)
    for _ in range(6):
        loss, _ = losses(net, head)
        stuck = without_gradient(net, head, loss)
        optimiser.step()
    assert len([name for name in stuck if "global_to_local" in name]) == 2 * expected
