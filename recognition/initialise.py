"""How LGD networks start: from scratch, or from a 2-D network trained on ImageNet (CVPR 2019, section 5.2)."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models import ResNet50_Weights, ResNet101_Weights, WeightsEnum

from recognition.lgd2d import LGD2D
from recognition.lgd3d import LGD3D
from recognition.lgd_block import LGDBlock, LowRankLinear, TemporalConv
from recognition.model_files import ModelFileError, load_state_strictly_


def xavier_caffe_(net: nn.Module, *, generator: torch.Generator | None = None) -> None:
    """Scratch start: Caffe's "xavier" for every convolution and matrix, biases zero, batch norm the identity.

    That filler is uniform within +-sqrt(3 / fan_in); torch's ``xavier_uniform_`` averages fan_in and fan_out,
    which differs by up to 2.9 times for the low-rank factors.
    """
    for module in net.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear):
            bound = math.sqrt(3 / module.weight[0].numel())
            nn.init.uniform_(module.weight, -bound, bound, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            module.reset_parameters()


def identity_temporal_(net: nn.Module) -> None:
    """Make every 3x1x1 convolution pass its input on unchanged: the middle tap the unit matrix, the others
    zero."""
    for module in net.modules():
        if isinstance(module, TemporalConv):
            nn.init.dirac_(module.weight, groups=module.groups)


def zero_diffusion_(net: nn.Module) -> None:
    """Make W^{xg} zero, so that the network computes exactly what it would without its global path.

    Only the outer factor is set to zero. With both factors zero neither would ever get a gradient, since the
    gradient of each is a product with the other.
    """
    for module in net.modules():
        if isinstance(module, LGDBlock) and module.block != "none":
            spread = module.global_to_local
            outer = spread.outer if isinstance(spread, LowRankLinear) else spread
            for parameter in outer.parameters():
                nn.init.zeros_(parameter)


def imagenet_weights(depths: Sequence[int]) -> WeightsEnum:
    """torchvision's ImageNet weights of the ResNet with these depths; ValueError where it has none."""
    known: dict[tuple[int, ...], WeightsEnum] = {
        (3, 4, 6, 3): ResNet50_Weights.IMAGENET1K_V2,
        (3, 4, 23, 3): ResNet101_Weights.IMAGENET1K_V2,
    }
    if tuple(depths) not in known:
        raise ValueError(f"torchvision has no ImageNet weights for depths {tuple(depths)}; give a file")
    return known[tuple(depths)]


def load_imagenet_(
    net: LGD2D | LGD3D, weights: WeightsEnum | str | os.PathLike[str], *, generator: torch.Generator | None = None
) -> None:
    """Start ``net`` from a 2-D ResNet: spatial kernels and batch norms copied, time the identity, W^{xg}
    zero.

    ``weights`` is ``ResNet50_Weights.IMAGENET1K_V2`` or ``ResNet101_Weights...`` of torchvision (downloaded
    and cached by torchvision), or the path of a state_dict with torchvision's names saved by ``torch.save``.
    A network with ``input="flow"`` gets the mean of the RGB kernels for each of its two channels. The other
    matrices of the global path start from Caffe's Xavier. Raises ModelFileError, and leaves ``net``
    untouched, unless every tensor of the file but the classifier's has its place in ``net`` and the other way
    round.
    """
    if net.config.block == "v2":
        raise ValueError(
            "block 'v2' multiplies by sigmoid(0) = 1/2 where W^{xg} is zero: it cannot start from ImageNet"
        )
    if isinstance(weights, WeightsEnum):
        if net.config.stride_on != "3x3":
            raise ValueError("torchvision's weights are for stride_on='3x3'; with '1x1' they compute something else")
        source, images = str(weights), weights.get_state_dict(progress=True, check_hash=True, weights_only=True)
    else:
        source, images = str(weights), read_state_dict(Path(weights))
    load_state_strictly_(net, _inflate(net, images), source)

    for module in net.modules():
        if isinstance(module, nn.Linear):
            xavier_caffe_(module, generator=generator)
    identity_temporal_(net)
    zero_diffusion_(net)


def _inflate(net: LGD2D | LGD3D, images: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a 2-D ResNet under our names, without its classifier, beside those that only ``net``
    has."""
    state = {_our_name(name): tensor for name, tensor in images.items() if not name.startswith("fc.")}
    conv1 = state.get("stem.conv.weight")
    if net.config.input == "flow" and conv1 is not None:
        state["stem.conv.weight"] = conv1.mean(dim=1, keepdim=True).repeat(1, net.config.in_channels, 1, 1)
    own = net.state_dict()
    for path, module in net.named_modules():
        if isinstance(module, TemporalConv | nn.Linear):
            state.update({f"{path}.{name}": own[f"{path}.{name}"] for name, _ in module.named_parameters()})
    # Files from before 2018 do not count batches; the count has no part in what the network computes.
    counters = {name: own[name] for name in own if name.endswith(".num_batches_tracked")}
    return counters | state


def _our_name(name: str) -> str:
    """torchvision's ``layer1.0.conv1.weight`` is our ``res2.0.unit.conv1.weight``."""
    first, _, rest = name.partition(".")
    if first.startswith("layer") and first[5:].isdigit():
        index, _, rest = rest.partition(".")
        return f"res{int(first[5:]) + 1}.{index}.unit.{rest}"
    stem = {"conv1": "stem.conv", "bn1": "stem.bn"}.get(first)
    return f"{stem}.{rest}" if stem else name


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """A 2-D or 3-D network's tensors from a file of ``torch.save``, without running code from it.

    Raises ModelFileError for a file that is absent or holds something else.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ModelFileError(f"{path}: no such file of weights") from None
    except Exception:  # bytes that are no such file make torch.load raise almost anything, KeyError included
        raise ModelFileError(f"{path}: not a state_dict saved by torch.save, or damaged") from None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ModelFileError(f"{path}: holds no state_dict (names and tensors); save the network's state_dict()")
    return state
