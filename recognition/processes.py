"""Several processes that train one network together, as ``torchrun`` starts them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

_TIMEOUT = timedelta(hours=4)
"""The others wait while the first process validates."""


@dataclass(frozen=True)
class Processes:
    """Which process this is."""

    rank: int = 0
    count: int = 1
    device: str = "cpu"
    """Of this process: "cpu" or "cuda:0"."""

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files and the log."""
        return self.rank == 0

    def summed(self, values: Tensor) -> Tensor:
        """``values`` added up over all processes."""
        if self.count > 1:
            values = values.clone()
            dist.all_reduce(values)
        return values

    def agreed(self, *wishes: bool) -> list[bool]:
        """The wishes of the first process, told to all: clocks differ, decisions must not."""
        told = torch.tensor([float(wish and self.is_first) for wish in wishes], device=self.device)
        return [bool(wish) for wish in self.summed(told).tolist()]

    def close(self) -> None:
        if self.count > 1:
            dist.destroy_process_group()


def join_processes(device: str) -> Processes:
    """The process group that ``torchrun`` describes in the environment (gloo on CPUs, nccl on CUDA); else one process.

    With CUDA every process of a machine takes the device of its local rank.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or "RANK" not in os.environ:
        return Processes(device=device)
    if device.startswith("cuda"):
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
        dist.init_process_group("nccl", device_id=torch.device(device), timeout=_TIMEOUT)
    else:
        dist.init_process_group("gloo", timeout=_TIMEOUT)
    return Processes(dist.get_rank(), dist.get_world_size(), device)
