"""Quantities that belong to the whole batch, which several processes share."""

import torch
import torch.distributed as dist
from detectron2.utils import comm
from torch import Tensor


@torch.no_grad()
def process_mean(value: Tensor) -> Tensor:
    """Mean of a tensor over all processes; without gradient. One process: the value itself."""
    processes = comm.get_world_size()
    if processes == 1:
        return value
    total = value.detach().clone()
    dist.all_reduce(total)
    return total / processes
