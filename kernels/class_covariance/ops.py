"""The operators as PyTorch knows them: schema, implementation, shapes and gradient of each.

``torch.ops.copt_kernels.pool``, ``covariance`` and ``pooled_loss`` are differentiable; each has its
backward as an operator of its own. ``torch.compile`` and ``torch.export`` take them as they are.
``implementation(backend)`` is the one place that maps a backend's name to its module.
"""

import functools
import importlib
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

LIBRARY = "copt_kernels"
SCHEMAS = {
    "pool": "(Tensor features, Tensor labels, SymInt num_classes, str mode, int ignore_index,"
    " bool divide, str backend) -> (Tensor, Tensor, Tensor)",
    "pool_backward": "(Tensor gradient, Tensor labels, Tensor mass, Tensor weights, SymInt[] size,"
    " ScalarType dtype, bool channels_last, str mode, int ignore_index, bool divide, str backend)"
    " -> Tensor",
    "covariance": "(Tensor means, Tensor mass, Tensor text_cov, Tensor? bank, float decay,"
    " str metric, str backend) -> (Tensor, Tensor, Tensor, Tensor)",
    "covariance_backward": "(Tensor grad_loss, Tensor new_bank, Tensor mass, Tensor gram,"
    " Tensor centre, str backend) -> Tensor",
    "pooled_loss": "(Tensor features, Tensor labels, Tensor text_cov, Tensor? bank, str mode,"
    " int ignore_index, float decay, str metric, str backend)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
    "pooled_loss_backward": "(Tensor grad_loss, Tensor new_bank, Tensor gram, Tensor centre,"
    " Tensor mass, Tensor weights, Tensor labels, SymInt[] size, ScalarType dtype,"
    " bool channels_last, str mode, int ignore_index, str backend) -> Tensor",
}


@functools.cache
def implementation(backend: str) -> ModuleType:
    """``torch_impl`` or ``triton_impl``; triton is imported when it is first needed."""
    return importlib.import_module(f".{backend}_impl", __package__)


def accumulation_dtype(tensor: Tensor) -> torch.dtype:
    """float64 for float64 input, else float32, also under autocast."""
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def without_autocast(function: Callable) -> Callable:
    """Autocast would reach into an operator and round its matrix products."""

    @functools.wraps(function)
    def run(*arguments: Any) -> Any:
        device = arguments[0].device.type
        if not torch.is_autocast_enabled(device):
            return function(*arguments)
        with torch.autocast(device, enabled=False):
            return function(*arguments)

    return run


def is_channels_last(features: Tensor) -> bool:
    """Whether the gradient is better stored with the channels of a cell side by side."""
    return features.shape[1] > 1 and features.stride(1) == 1


def empty_gradient(
    size: list[int], dtype: torch.dtype, channels_last: bool, device: torch.device
) -> Tensor:
    """Memory for the gradient by features of ``size``."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return torch.empty(size, dtype=dtype, device=device, memory_format=layout)


# ---- what runs --------------------------------------------------------------------------------
# SCHEMAS say the arguments. The last is the backend, whose function takes the others.


def _forward(name: str) -> Callable:
    def run(*arguments: Any) -> Any:
        *given, backend = arguments
        return getattr(implementation(backend), name)(*given)

    return run


def _into_features(name: str) -> Callable:
    """A backward pass that writes the gradient by the features, for which memory is made here."""

    def run(*arguments: Any) -> Tensor:
        *given, backend = arguments
        tensors, options = _split(given)
        out = _gradient_memory(*given)
        return getattr(implementation(backend), name)(*tensors, out, *options)

    return run


def _split(arguments: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any]]:
    """Tensors, and what stands behind size, dtype and channels_last of ``empty_gradient``."""
    count = sum(isinstance(argument, Tensor) for argument in arguments)
    return arguments[:count], arguments[count + 3 :]


def _gradient_memory(*arguments: Any) -> Tensor:
    tensors, _ = _split(arguments)
    size, dtype, channels_last = arguments[len(tensors) : len(tensors) + 3]
    return empty_gradient(size, dtype, channels_last, tensors[0].device)


# ---- shapes, for torch.compile ----------------------------------------------------------------


def _pool_shapes(
    features: Tensor, labels: Tensor, num_classes: int, mode: str, *rest: Any
) -> tuple[Tensor, Tensor, Tensor]:
    n, channels, h, w = features.shape
    dtype = accumulation_dtype(features)
    # the Triton kernels sample again in the backward pass, instead
    sampled = mode == "nearest" and rest[-1] == "triton"
    weights = (0,) if sampled else (n, num_classes, h * w)
    return (
        features.new_empty(num_classes, channels, dtype=dtype),
        features.new_empty(num_classes, dtype=dtype),
        features.new_empty(weights, dtype=dtype),
    )


def _covariance_shapes(means: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    k, channels = means.shape
    return (
        means.new_empty(()),
        means.new_empty(k, channels),
        means.new_empty(k, k),
        means.new_empty(k + 2),
    )


def _covariance_backward_shapes(grad_loss: Tensor, new_bank: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(new_bank)


def _pooled_loss_shapes(
    features: Tensor, labels: Tensor, text_cov: Tensor, bank: Tensor | None, mode: str, *rest: Any
) -> tuple[Tensor, ...]:
    pooled, mass, weights = _pool_shapes(features, labels, text_cov.shape[0], mode, rest[-1])
    return *_covariance_shapes(pooled), mass, weights


# ---- gradients ---------------------------------------------------------------------------------
# Only the first output of each passes a gradient. Zeros for the others are not made, as each would
# be a launch on a GPU.


class _Once(torch.autograd.Function):
    """The value itself; its gradient is an error."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        raise RuntimeError("copt_kernels: differentiating twice is not supported")


def _once(operator: Callable, *arguments: Any) -> Tensor:
    """What a backward operator returns. A gradient of it would be wrong without a word, as what the
    forward pass keeps is constant to autograd, so with ``create_graph=True`` it is an error.

    Autograd runs only what lies between the result and the tensors that it is asked for. So the
    result is tied to all it was made from: through the kept outputs of the forward operator every
    way leads to its inputs. The ties are sums of no element; added, and not wrapped around the
    result, they last when the result is a batch of gradients (``is_grads_batched``).
    """
    with torch.no_grad():
        result = operator(*arguments)
    if torch.is_grad_enabled():
        for each in arguments:
            if isinstance(each, Tensor) and each.requires_grad:
                result = result + _Once.apply(each).flatten()[:0].sum()
    return result


def _keep_pool(ctx: Any, inputs: tuple, output: tuple) -> None:
    features, labels, _, mode, ignore_index, divide, backend = inputs
    _, mass, weights = output
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(labels, mass, weights)
    ctx.like = (features.shape, features.dtype, is_channels_last(features))
    ctx.options = (mode, ignore_index, divide, backend)


def _pool_gradient(ctx: Any, gradient: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
    if gradient is not None:
        gradient = _once(
            torch.ops.copt_kernels.pool_backward,
            gradient,
            *ctx.saved_tensors,
            *ctx.like,
            *ctx.options,
        )
    return gradient, None, None, None, None, None, None


def _keep_covariance(ctx: Any, inputs: tuple, output: tuple) -> None:
    _, new_bank, gram, centre = output
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(new_bank, inputs[1], gram, centre)
    ctx.backend = inputs[-1]


def _covariance_gradient(ctx: Any, gradient: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
    if gradient is not None:
        gradient = _once(
            torch.ops.copt_kernels.covariance_backward, gradient, *ctx.saved_tensors, ctx.backend
        )
    return gradient, None, None, None, None, None, None


def _keep_pooled_loss(ctx: Any, inputs: tuple, output: tuple) -> None:
    features, labels, _, _, mode, ignore_index, _, _, backend = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*output[1:], labels)
    ctx.like = (features.shape, features.dtype, is_channels_last(features))
    ctx.options = (mode, ignore_index, backend)


def _pooled_loss_gradient(ctx: Any, gradient: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
    if gradient is not None:
        gradient = _once(
            torch.ops.copt_kernels.pooled_loss_backward,
            gradient,
            *ctx.saved_tensors,
            *ctx.like,
            *ctx.options,
        )
    return gradient, None, None, None, None, None, None, None, None


def _register() -> None:
    for name, (run, shapes) in OPERATORS.items():
        torch.library.define(f"{LIBRARY}::{name}", SCHEMAS[name])
        torch.library.impl(f"{LIBRARY}::{name}", ("cpu", "cuda"), without_autocast(run))
        torch.library.register_fake(f"{LIBRARY}::{name}", shapes)
    for name, (gradient, keep) in GRADIENTS.items():
        torch.library.register_autograd(f"{LIBRARY}::{name}", gradient, setup_context=keep)


# name -> what runs, what says the shapes
OPERATORS = {
    "pool": (_forward("pool"), _pool_shapes),
    "pool_backward": (_into_features("pool_backward"), _gradient_memory),
    "covariance": (_forward("covariance"), _covariance_shapes),
    "covariance_backward": (_forward("covariance_backward"), _covariance_backward_shapes),
    "pooled_loss": (_forward("pooled_loss"), _pooled_loss_shapes),
    "pooled_loss_backward": (_into_features("pooled_loss_backward"), _gradient_memory),
}
GRADIENTS = {
    "pool": (_pool_gradient, _keep_pool),
    "covariance": (_covariance_gradient, _keep_covariance),
    "pooled_loss": (_pooled_loss_gradient, _keep_pooled_loss),
}
# In a checkout this folder can also be imported as `kernels`, and is: transformers looks for a
# package of that name. The operators exist once.
if not hasattr(torch.ops.copt_kernels, "pool"):
    _register()
