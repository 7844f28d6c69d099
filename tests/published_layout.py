"""Files of random values under the names, in the layout and at the place of the weights that torchvision publishes."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models import get_model, get_model_weights


def write_published(torch_home: Path, network: str, **options: object) -> dict[str, Tensor]:
    """The state_dict that was written below ``torch_home``.

    Small values for kernels, batch norms near the identity, and a classifier whose classes differ.
    """
    with torch.device("meta"):
        net = get_model(network, weights=None, **options)
    state = {}
    for name, tensor in net.state_dict().items():
        if not tensor.is_floating_point() or name.endswith("running_mean"):
            state[name] = torch.zeros(tensor.shape, dtype=tensor.dtype)
        elif name.endswith("running_var"):
            state[name] = torch.ones(tensor.shape)
        elif tensor.ndim == 1:
            state[name] = torch.ones(tensor.shape) if name.endswith("weight") else torch.zeros(tensor.shape)
        else:
            bound = (6 / tensor[0].numel()) ** 0.5
            state[name] = torch.empty(tensor.shape).uniform_(-bound, bound)
    if network.startswith("swin3d"):  # whose index of positions is no matter of training
        buffers = get_model(network, weights=None).named_buffers()
        state |= {name: index for name, index in buffers if name.endswith("relative_position_index")}
    path = torch_home / "hub" / "checkpoints" / Path(get_model_weights(network).DEFAULT.url).name
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path)
    return state


def network_with(network: str, state: dict[str, Tensor]) -> nn.Module:
    """torchvision's own network with these weights, ready for inference."""
    net = get_model(network, weights=None)
    net.load_state_dict(state)
    return net.eval()
