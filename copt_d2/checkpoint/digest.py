"""What tells the weights of two networks apart, whatever file they came in."""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor


def tensors_digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and values of a network's tensors.

    A training checkpoint, the network's bare file and the network in memory have the same one: no
    file format, memory layout or order of the keys enters it.

    Args:
        state: of one network, under its own names, in the types in which it runs.
    Returns:
        "sha256-of-tensors:" and 64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        value = state[name].detach().cpu().contiguous()
        digest.update(f"{name}\0{value.dtype}\0{tuple(value.shape)}\0".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy())
    return f"sha256-of-tensors:{digest.hexdigest()}"
