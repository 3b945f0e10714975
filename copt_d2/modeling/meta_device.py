"""Running a network for the shapes alone, without memory or arithmetic."""

import copy
import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


class _QuickNorms(TorchFunctionMode):
    """torch takes batch norms on the meta device apart in Python, in milliseconds each; here they
    only check what they check.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func is not F.batch_norm:
            return func(*args, **kwargs)
        images = args[0] if args else kwargs["input"]
        if kwargs.get("training", args[5] if len(args) > 5 else False):
            F._verify_batch_size(images.size())
        return torch.empty_like(images)


def without_values(network: nn.Module) -> nn.Module:
    """A copy whose parameters and buffers have shapes alone; it costs no memory."""
    memo: dict[int, Tensor] = {}
    for value in itertools.chain(network.parameters(), network.buffers()):
        shape = torch.empty_like(value, device="meta")
        memo[id(value)] = nn.Parameter(shape, False) if isinstance(value, nn.Parameter) else shape
    return copy.deepcopy(network, memo)


def on_meta(network: nn.Module, size: tuple[int, ...]) -> Any:
    """What ``network`` returns for images of ``size`` (N, 3, H, W), on torch's meta device.

    Some networks keep something of a pass: run a copy (`without_values`).

    Raises:
        whatever the network raises for images of this size; some say so in words of their own
        because a step of theirs looks at values, which are not there.
    """
    with torch.no_grad(), _QuickNorms():
        return network(torch.empty(size, device="meta"))
