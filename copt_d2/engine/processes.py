"""What the processes of one run tell each other about the model."""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from detectron2.utils import comm


def average_gradients(model: torch.nn.Module) -> None:
    """Mean of the gradients over all processes, in one message."""
    average_over_processes([p.grad for p in model.parameters() if p.grad is not None])


def average_over_processes(values: Sequence[torch.Tensor]) -> None:
    """Replaces each tensor by its mean over all processes, in one message."""
    if comm.get_world_size() == 1:
        return
    flat = torch.cat([value.flatten() for value in values])
    dist.all_reduce(flat)
    flat /= comm.get_world_size()
    for value, mean in zip(values, flat.split([v.numel() for v in values]), strict=True):
        value.copy_(mean.view_as(value))


def broadcast_model(model: torch.nn.Module) -> None:
    """Gives every process the parameters and buffers of rank 0."""
    if comm.get_world_size() > 1:
        for value in model.state_dict().values():
            dist.broadcast(value, src=0)
