"""Quantities that belong to the whole batch, which several processes share."""

from typing import Any

import torch
import torch.distributed as dist
from detectron2.utils import comm
from torch import Tensor


def process_count() -> int:
    """Processes of this training, >= 1."""
    return comm.get_world_size()


@torch.no_grad()
def process_mean(value: Tensor) -> Tensor:
    """Mean of a tensor over all processes; without gradient. One process: the value itself."""
    processes = comm.get_world_size()
    if processes == 1:
        return value
    total = value.detach().clone()
    dist.all_reduce(total)
    return total / processes


def sum_over_processes(value: Tensor) -> Tensor:
    """Sum of a tensor over all processes; differentiable. One process: the value itself.

    For a loss that every process computes from the sum: each has the whole gradient by the sum, and
    averaging the processes' gradients divides by their number, so it comes back multiplied by it.
    """
    return value if comm.get_world_size() == 1 else _Sum.apply(value)


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.detach().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * comm.get_world_size()
