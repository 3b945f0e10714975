"""What a caller can get wrong, said with the shapes."""

import importlib
import os
import re
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

LIMIT = 2**63
TRITON = (3, 3)  # older compilers abort the process on these kernels
METRICS = ("cosine", "l1", "l2")
LABEL_DTYPES = (torch.uint8, torch.int32, torch.int64)


def checked_labels(features: Tensor, labels: Tensor) -> Tensor:
    """Labels as (N, H, W), after checking both tensors."""
    check_dense(features=features, labels=labels)

    def fail(problem: str) -> None:
        both = f"got features {describe(features)} and labels {describe(labels)}"
        raise ValueError(f"{problem}, {both}")

    if features.dim() != 4 or not features.is_floating_point():
        fail("features must be a float (N, C, h, w)")
    if labels.dtype not in LABEL_DTYPES:
        fail("labels must be uint8, int32 or int64")
    if labels.dim() == 4 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.dim() != 3:
        fail("labels must be (N, H, W) or (N, 1, H, W)")
    if labels.shape[0] != features.shape[0] or labels.device != features.device:
        fail("features and labels must share N and device")
    if 0 in features.shape[1:] or 0 in labels.shape[1:]:
        fail("only the batch may be empty")
    check_reverse_mode(features)
    return labels


def check_reverse_mode(tensor: Tensor) -> None:
    """In forward mode an operator without such a formula has derivative 0, without a word."""
    if forward_ad.unpack_dual(tensor).tangent is not None:
        raise ValueError("copt_kernels has no forward-mode derivatives, use the backward pass")


def check_label_range(labels: Tensor, num_classes: int, ignore_index: int) -> None:
    """Waits for the device."""
    values = labels.long()
    wrong = ((values < 0) | (values >= num_classes)) & (values != ignore_index)
    if wrong.any():
        found = values[wrong].unique()[:5].tolist()
        raise ValueError(
            f"labels must lie in [0, {num_classes}) or be {ignore_index}, found {found}"
        )


def check_loss_options(decay: float, metric: str) -> None:
    """Of ``covariance_loss``."""
    if not 0.0 <= decay <= 1.0:
        raise ValueError(f"decay must lie in [0, 1], got {decay}")
    check_choice("metric", metric, METRICS)


def check_whole_number(name: str, value: Any) -> None:
    """``value`` of the argument ``name`` must be one."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or not -LIMIT <= value < LIMIT:
        raise ValueError(f"{name} must be a whole number of 64 bits, got {value!r}")


def check_dense(**tensors: Any) -> None:
    """Each must be a tensor, and not a sparse one."""
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            raise ValueError(f"{name} must be a tensor, got {type(tensor).__name__}")
        if tensor.layout != torch.strided:
            raise ValueError(f"{name} must be a dense tensor, got {tensor.layout}")


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """``value`` of the argument ``name`` must be one of ``choices``."""
    if value not in choices:
        raise ValueError(f"unknown {name} {value!r}, expected one of {', '.join(choices)}")


def check_fit(
    tensors: dict[str, Tensor | None], shapes: dict[str, tuple[int, ...]], dtype: torch.dtype
) -> None:
    """Each must have its shape, ``dtype`` and the device of the first, whose shape is right."""

    def fail(problem: str) -> None:
        given = [f"{name} {describe(t)}" for name, t in tensors.items() if t is not None]
        raise ValueError(f"{problem}, got {', '.join(given)}")

    check_dense(**{name: tensor for name, tensor in tensors.items() if tensor is not None})
    first, *_ = tensors
    for name, shape in shapes.items():
        tensor = tensors[name]
        if tensor is None:
            continue
        if tuple(tensor.shape) != shape:
            fail(f"{name} must be {shape}")
        if tensor.dtype != dtype or tensor.device != tensors[first].device:
            wanted = str(dtype).removeprefix("torch.")
            fail(f"{name} must be {wanted}, on the device of {first}")


def describe(tensor: Tensor) -> str:
    """Shape, dtype and device."""
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')} on {tensor.device}"


def check_triton(tensor: Tensor) -> None:
    """Whether the Triton kernels can run on ``tensor``."""
    problem = triton_problem()
    if problem:
        raise ValueError(f'backend "triton": {problem}')
    if not (tensor.is_cuda or os.environ.get("TRITON_INTERPRET") == "1"):
        raise ValueError(
            f'backend "triton" needs CUDA tensors, got {tensor.device} (or TRITON_INTERPRET=1 '
            "before the start, for tests)"
        )


@torch.compiler.assume_constant_result  # not to be traced
def triton_problem() -> str:
    """Why the Triton kernels cannot run in this environment; empty if they can."""
    try:
        version = importlib.import_module("triton").__version__
    except ImportError:
        return "the package triton is not installed"
    if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) >= TRITON:
        return ""
    return f"Triton {version} is too old for these kernels, 3.3 (with torch 2.7) is needed"
