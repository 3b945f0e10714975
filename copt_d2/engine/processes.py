"""What the processes of one run tell each other about the model."""

import torch
import torch.distributed as dist
from detectron2.utils import comm


def average_gradients(model: torch.nn.Module) -> None:
    """Mean of the gradients over all processes, in one message."""
    if comm.get_world_size() == 1:
        return
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= comm.get_world_size()
    for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


def broadcast_model(model: torch.nn.Module) -> None:
    """Gives every process the parameters and buffers of rank 0."""
    if comm.get_world_size() > 1:
        for value in model.state_dict().values():
            dist.broadcast(value, src=0)
