"""Local and Global Diffusion inside any 3-D CNN (CVPR 2019, section 1: "a general component").

The network keeps its layers, its forward pass and the names of its weights. Beside it runs the global path: g
starts as the mean of an early map, and at every unit l

    x_l = ReLU(F(x_{l-1}) + US(W^{xg} g_{l-1}))          Eq. 2
    g_l = ReLU(W^{gx} P(x_l) + W^{gg} g_{l-1})           Eq. 3

where F is what the unit computes before its last ReLU, P the mean over time, height and width, and US the copy
to every position. W^{xg} starts at zero, so the network with the path gives, bit for bit, what it gave without. A
second classifier stands on the last g (Eq. 6).

The path takes hold of the network by hooks that live for one forward pass. Nothing is attached in between: the
network still computes alone what it always did, and either can be copied and saved. One network runs one pass at
a time.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from recognition.cpu_precision import float32_on_cpu
from recognition.initialise import xavier_caffe_
from recognition.lgd_block import LowRankLinear, check_counts

ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Hardswish)
"""Modules whose input gets the sum of Eq. 2; any other module gets it on its output."""


@dataclass(frozen=True)
class InjectionPoints:
    """Where the global path takes hold of a network; names are those of ``named_modules()``."""

    first: str
    """The module whose output is x_1: g_1 = P(x_1), section 4.1."""
    units: tuple[tuple[str, ...], ...]
    """The units in the order in which they run, each named by its last activation: the sum of Eq. 2 goes into it
    and x_l comes out. Several names are branches that lie one behind the other in x_l, each with its share of
    W^{xg} g. A module that is no activation gets the sum on its output, without a ReLU, which would change what
    the network computes: x_l = F(x_{l-1}) + US(W^{xg} g_{l-1}), and g sees P(ReLU(x_l))."""
    classifier: str
    """The last layer, ``nn.Linear`` or a 1x1x1 ``nn.Conv3d``; replaced where the number of classes differs."""

    def __post_init__(self) -> None:
        units = tuple((unit,) if isinstance(unit, str) else tuple(unit) for unit in self.units)
        object.__setattr__(self, "units", units)
        if not units or not all(units):
            raise ValueError("injection needs at least one unit, and each unit at least one module")
        if len(set(self.modules)) < len(self.modules):
            raise ValueError(f"injection points must be different modules, got {', '.join(self.modules)}")

    @property
    def modules(self) -> tuple[str, ...]:
        """Every module the path takes hold of, in the order in which they must run."""
        return (self.first, *itertools.chain.from_iterable(self.units))


def inject_lgd_at(
    net: nn.Module,
    points: InjectionPoints,
    example: Tensor,
    *,
    num_classes: int | None = None,
    rank_divisor: int | None = 16,
    dropout: float = 0.0,
    generator: torch.Generator | None = None,
) -> Injected:
    """Your own 3-D CNN with LGD blocks; ``example`` is any clip batch it accepts, and shows the channel counts.

        points = InjectionPoints("stem", (("stage1.relu",), ("stage2.relu",)), "fc")
        net = inject_lgd_at(net, points, torch.zeros(1, 3, 8, 32, 32), num_classes=51)

    ``num_classes`` None keeps the classifier as it is. Raises ValueError for points that do not fit the network.
    """
    widths = channels_at(net, points, example)
    if num_classes is None:
        num_classes = len(classifier_of(net, points.classifier).weight)
    return Injected(net, points, widths, num_classes, rank_divisor=rank_divisor, dropout=dropout, generator=generator)


class Injected(nn.Module):
    """A 3-D CNN with LGD around its units: clips -> (local logits, global logits).

    ``net`` is the network, used and not copied; ``widths`` are the channels of x_1 and of every unit
    (:func:`channels_at`). ``rank_divisor`` is the output width of a matrix over its rank, None for full matrices;
    ``dropout`` the share of g zeroed before its classifier. The matrices have no biases and start from Caffe's
    Xavier, W^{xg} from zero.
    """

    def __init__(
        self,
        net: nn.Module,
        points: InjectionPoints,
        widths: Sequence[int],
        num_classes: int,
        *,
        rank_divisor: int | None = 16,
        dropout: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_counts("num_classes", num_classes)
        if rank_divisor is not None:
            check_counts("rank_divisor", rank_divisor)
        self.net = net
        self.points = points
        self.blocks = global_blocks(widths, rank_divisor, generator=generator)
        self.dropout = nn.Dropout(dropout)
        self.global_classifier = nn.Linear(widths[-1], num_classes)
        _start_classifier_(self.global_classifier, generator)
        classifier = classifier_of(net, points.classifier)
        self.to(classifier.weight)  # one device and dtype
        if len(classifier.weight) != num_classes:
            replace_classifier_(net, points.classifier, num_classes, generator=generator)

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, T, H, W) float, normalised as the network wants it -> two (B, num_classes) of logits."""
        local, path = self._run(clips)
        # After the network's own classifier: its dropout then draws the same numbers as without the path.
        return local, self.global_classifier(self.dropout(path.global_))

    def features(self, clips: Tensor) -> Tensor:
        """(B, D): what the network's own classifier sees, averaged over positions where that is a map."""
        seen: list[Tensor] = []
        classifier = classifier_of(self.net, self.points.classifier)
        handle = classifier.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        try:
            self._run(clips)
        finally:
            handle.remove()
        return seen[0].flatten(2).mean(dim=2) if seen[0].ndim > 2 else seen[0]

    def class_maps(self, clips: Tensor) -> Tensor:
        """(B, num_classes, T', H', W'): what each position of the last unit's map adds to each class, without the bias.

        Where the classifier sees the mean of that map, as in torchvision's ResNets, the mean over positions is the
        local logit without its bias. Raises ValueError for a classifier that sees another number of channels.
        """
        classifier = classifier_of(self.net, self.points.classifier)
        _, path = self._run(clips)
        local = torch.cat(path.last_map, dim=1)
        if classifier.weight.shape[1] != local.shape[1]:
            raise ValueError(
                f"no class maps: {self.points.classifier} sees {classifier.weight.shape[1]} numbers, the last unit's "
                f"map has {local.shape[1]} channels"
            )
        return F.conv3d(local, classifier.weight.flatten(1)[..., None, None, None])

    def _check(self, clips: Tensor) -> None:
        if clips.ndim != 5:
            raise ValueError(f"expected clips (B, C, T, H, W), got {tuple(clips.shape)}")

    def _run(self, clips: Tensor) -> tuple[Tensor, _GlobalPath]:
        self._check(clips)
        return run_with_path(self.net, self.blocks, self.points, clips)


def global_blocks(
    widths: Sequence[int], rank_divisor: int | None, *, generator: torch.Generator | None = None
) -> nn.ModuleList:
    """A block for each unit, with the start that changes nothing; ``widths`` as in :class:`Injected`."""
    blocks = [GlobalBlock(before, width, rank_divisor) for before, width in itertools.pairwise(widths)]
    modules = nn.ModuleList(blocks)
    xavier_caffe_(modules, generator=generator)
    for block in blocks:
        block.zero_diffusion_()
    return modules


def run_with_path(
    net: nn.Module, blocks: nn.ModuleList, points: InjectionPoints, clips: Tensor
) -> tuple[Tensor, _GlobalPath]:
    """One pass of the network with its global path, which afterwards holds the last ``global_``."""
    path = _GlobalPath(cast("list[GlobalBlock]", list(blocks)), points)
    handles: list[RemovableHandle] = []
    try:
        for name in points.modules:
            handles += path.hooks(name, named_module(net, name))
        with float32_on_cpu(clips):
            out = net(clips)
    finally:
        for handle in handles:
            handle.remove()
    path.check_complete()
    return out, path


class GlobalBlock(nn.Module):
    """The three matrices of Eq. 2 and 3 at one unit: ``before`` is the width of g_{l-1}, ``width`` that of x_l."""

    def __init__(self, before: int, width: int, rank_divisor: int | None) -> None:
        super().__init__()
        self.global_to_local = _matrix(before, width, rank_divisor)  # W^{xg}
        self.local_to_global = _matrix(width, width, rank_divisor)  # W^{gx}
        self.global_to_global = _matrix(before, width, rank_divisor)  # W^{gg}

    def zero_diffusion_(self) -> None:
        """W^{xg} = 0 by its outer factor alone: with both factors zero neither would ever get a gradient."""
        spread = self.global_to_local
        nn.init.zeros_(spread.outer.weight if isinstance(spread, LowRankLinear) else spread.weight)


class _GlobalPath:
    """The global vector on its way through one forward pass of the network."""

    def __init__(self, blocks: list[GlobalBlock], points: InjectionPoints) -> None:
        self.blocks = blocks
        self.points = points
        self.ran = 0  # of points.modules
        self.unit = 0  # of points.units
        self.global_ = torch.empty(0)  # g_l, once the first module ran
        self.maps: list[Tensor] = []  # x_l so far, a map for each branch
        self.pooled: list[Tensor] = []  # P(x_l) so far
        self.last_map: list[Tensor] = []  # x_l of the unit before

    def hooks(self, name: str, module: nn.Module) -> list[RemovableHandle]:
        if name == self.points.first:
            return [module.register_forward_hook(lambda _, inputs, out: self.start(name, out))]
        if not isinstance(module, ACTIVATIONS):
            return [module.register_forward_hook(lambda _, inputs, out: self.add_behind(name, out))]
        return [
            module.register_forward_pre_hook(lambda _, inputs: (self.add(name, inputs[0]),)),
            module.register_forward_hook(lambda _, inputs, out: self.take(out, mean_of_positions(out))),
        ]

    def start(self, name: str, first: Tensor) -> None:
        self.expect(name)
        self.ran += 1
        self.global_ = mean_of_positions(first)  # g_1 = P(x_1)

    def add(self, name: str, x: Tensor) -> Tensor:
        """x + US(W^{xg} g), by the rows of W^{xg} that belong to this branch."""
        self.expect(name)
        begin = sum(branch.shape[1] for branch in self.maps)
        spread = self.blocks[self.unit].global_to_local(self.global_)[:, begin : begin + x.shape[1]]
        return x + spread[..., None, None, None]  # Eq. 2

    def add_behind(self, name: str, x: Tensor) -> Tensor:
        x = self.add(name, x)
        self.take(x, mean_of_positions(torch.relu(x)))
        return x

    def take(self, x: Tensor, pooled: Tensor) -> None:
        """A branch of x_l is there; behind the last one the global vector moves on."""
        self.ran += 1
        self.maps.append(x)
        self.pooled.append(pooled)
        if len(self.maps) == len(self.points.units[self.unit]):
            block = self.blocks[self.unit]
            seen = block.local_to_global(torch.cat(self.pooled, dim=1))
            self.global_ = torch.relu(seen + block.global_to_global(self.global_))  # Eq. 3
            self.last_map, self.maps, self.pooled = self.maps, [], []
            self.unit += 1

    def expect(self, name: str) -> None:
        order = self.points.modules
        if self.ran == len(order):
            raise ValueError(f"{name} runs more than once in a pass: give each unit an activation of its own")
        if name != order[self.ran]:
            raise ValueError(f"{name} runs where the injection points have {order[self.ran]}: name them in order")

    def check_complete(self) -> None:
        if self.ran < len(self.points.modules):
            raise ValueError(f"{self.points.modules[self.ran]} did not run in this pass: it cannot be a unit")


def channels_at(net: nn.Module, points: InjectionPoints, example: Tensor) -> tuple[int, ...]:
    """Channels of x_1 and of every unit, found by one pass in evaluation mode; ``net`` stays as it was.

    A network and an example on the meta device cost nothing. Raises ValueError where a point does not exist, does
    not run exactly once and in its place, or puts out something else than (B, C, T, H, W).
    """
    seen: list[tuple[str, tuple[int, ...]]] = []

    def note(name: str, out: object) -> None:
        seen.append((name, tuple(out.shape) if isinstance(out, Tensor) else ()))

    modes = [(module, module.training) for module in net.modules()]
    handles = [
        named_module(net, name).register_forward_hook(lambda _, inputs, out, name=name: note(name, out))
        for name in points.modules
    ]
    try:
        net.eval()
        with torch.no_grad():
            net(example)
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in modes:
            module.training = mode

    order = [name for name, _ in seen]
    if order != list(points.modules):
        for name in points.modules:
            if order.count(name) != 1:
                raise ValueError(f"{name} runs {order.count(name)} times in a pass, a unit has to run once")
        raise ValueError(f"name the injection points in the order in which they run: {', '.join(order)}")
    for name, shape in seen:
        if len(shape) != 5:
            raise ValueError(f"{name} must put out a map (B, C, T, H, W), got {shape or 'no tensor'}")
    channels = {name: shape[1] for name, shape in seen}
    return (channels[points.first], *(sum(channels[name] for name in unit) for unit in points.units))


def mean_of_positions(x: Tensor) -> Tensor:
    """P of Eq. 3: (B, C, T, H, W) -> (B, C)."""
    return x.mean(dim=(2, 3, 4))


def named_module(net: nn.Module, name: str) -> nn.Module:
    """The submodule of that name; ValueError with the most similar name if there is none."""
    names = [known for known, _ in net.named_modules(remove_duplicate=False) if known]
    if name not in names:
        similar = difflib.get_close_matches(name, names, n=1)
        hint = f"; did you mean {similar[0]!r}?" if similar else "; print(net) shows the names"
        raise ValueError(f"the network has no module {name!r}{hint}")
    return net.get_submodule(name)


def classifier_of(net: nn.Module, name: str) -> nn.Linear | nn.Conv3d:
    """The last layer; ValueError if it is no linear layer."""
    layer = named_module(net, name)
    if isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv3d) and layer.kernel_size == (1, 1, 1)):
        return layer
    raise ValueError(f"classifier {name} must be nn.Linear or a 1x1x1 nn.Conv3d, got {type(layer).__name__}")


def replace_classifier_(
    net: nn.Module, name: str, num_classes: int, *, generator: torch.Generator | None = None
) -> None:
    """A fresh last layer for ``num_classes``, of the kind, device and dtype of the one it replaces."""
    old = classifier_of(net, name)
    like: dict[str, Any] = {"device": old.weight.device, "dtype": old.weight.dtype}
    new: nn.Linear | nn.Conv3d
    if isinstance(old, nn.Linear):
        new = nn.Linear(old.in_features, num_classes, **like)
    else:
        new = nn.Conv3d(old.in_channels, num_classes, 1, **like)
    _start_classifier_(new, generator)
    net.set_submodule(name, new)


def _start_classifier_(layer: nn.Linear | nn.Conv3d, generator: torch.Generator | None) -> None:
    nn.init.normal_(layer.weight, std=0.01, generator=generator)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def _matrix(before: int, width: int, rank_divisor: int | None) -> nn.Linear | LowRankLinear:
    if rank_divisor is None:
        return nn.Linear(before, width, bias=False)
    return LowRankLinear(before, width, max(1, width // rank_divisor), bias=False)
