"""Class pooling, class covariance and CoPT's covariance loss: public functions, dispatch."""

import functools
import logging
import os

import torch
from torch import Tensor

from . import ops, torch_impl
from .checks import (
    check_choice,
    check_dense,
    check_fit,
    check_label_range,
    check_loss_options,
    check_reverse_mode,
    check_triton,
    check_whole_number,
    checked_labels,
    describe,
    triton_problem,
)

__all__ = [
    "class_covariance",
    "class_means",
    "class_sums",
    "covariance_loss",
    "pooled_covariance_loss",
]

BACKEND_VARIABLE = "COPT_KERNELS_BACKEND"
MODES = ("nearest", "area", "bilinear")
# what one program of a Triton kernel can hold; beyond, and in float64, PyTorch computes
MAX_POOL_CLASSES = 1024
MAX_COVARIANCE_CLASSES = 64


def class_means(
    features: Tensor,
    labels: Tensor,
    num_classes: int,
    *,
    mode: str = "nearest",
    ignore_index: int = 255,
    check_labels: bool = False,
    backend: str | None = None,
) -> tuple[Tensor, Tensor]:
    """Mean feature of each class over all cells of a batch (CoPT, Eqs. 6-7).

    Class c weighs cell q of image n by W_c(n, q); its mean is Σ W_c f / Σ W_c. The modes differ in
    W:

    - ``nearest``: 1 where the label sampled at rows ``trunc(linspace(0, H-1, h))`` (columns
      likewise) is c;
    - ``area``: the share of the cell's pixels that are of class c, cells as in adaptive average
      pooling;
    - ``bilinear``: the adjoint of bilinear upsampling (``align_corners=False``) of the class's
      mask, which gives exactly the mean of the upsampled features under the full-resolution mask.

    A NaN or infinity in a counted cell reaches its class's mean and no other class's; PyTorch makes
    NaN of an infinity. Cells that count for no class are never read into a mean.

    Args:
        features: (N, C, h, w) float, any strides; differentiable.
        labels: (N, H, W) or (N, 1, H, W) uint8, int32 or int64. Values outside [0, K) do not count.
        num_classes: K >= 1.
        mode: "nearest", "area" or "bilinear".
        ignore_index: label that does not count, even inside [0, K).
        check_labels: raise on labels outside [0, K) other than ``ignore_index``. Waits for the
            device.
        backend: "torch", "triton" or ``None`` = the environment variable ``COPT_KERNELS_BACKEND``,
            else by device: Triton on a GPU, if it is 3.3 or newer. float64 and K beyond 1024 (64
            for the covariance) are always computed by PyTorch.

    Returns:
        means (K, C) and mass (K,) = Σ W_c: float64 for float64 features, else float32. An absent
        class has mean 0 and mass 0, and passes no gradient.

    Raises:
        ValueError: for shapes, dtypes or devices that do not fit, an unknown mode or backend, or
            (on request) labels out of range.
    """
    return _pool(
        features, labels, num_classes, mode, ignore_index, check_labels, backend, divide=True
    )


def class_sums(
    features: Tensor,
    labels: Tensor,
    num_classes: int,
    *,
    mode: str = "nearest",
    ignore_index: int = 255,
    check_labels: bool = False,
    backend: str | None = None,
) -> tuple[Tensor, Tensor]:
    """``class_means`` before the division: Σ W_c f (K, C) and mass (K,).

    For batches in parts: both may be added over processes or steps, then divided.
    """
    return _pool(
        features, labels, num_classes, mode, ignore_index, check_labels, backend, divide=False
    )


def pooled_covariance_loss(
    features: Tensor,
    labels: Tensor,
    text_cov: Tensor,
    bank: Tensor | None = None,
    *,
    mode: str = "nearest",
    ignore_index: int = 255,
    decay: float = 0.5,
    metric: str = "cosine",
    backend: str | None = None,
) -> tuple[Tensor, Tensor]:
    """``covariance_loss`` of ``class_means``, with fewer launches on a GPU (CoPT, Eqs. 6-10).

    In mode ``nearest`` two kernels run forward and one backward.

    Args:
        features: (N, C >= 2, h, w) float, any strides; differentiable.
        labels: (N, H, W) or (N, 1, H, W) uint8, int32 or int64. Values outside [0, K) do not count.
        text_cov: (K, K), as from ``class_covariance``; no gradient. float32 (float64 for float64
            features).
        bank: (K, C) of the same dtype, or ``None``; never changed; no gradient.
        mode: as for ``class_means``.
        ignore_index: as for ``class_means``.
        decay: as for ``covariance_loss``.
        metric: as for ``covariance_loss``.
        backend: as for ``class_means``.

    Returns:
        loss () and new bank (K, C), as ``covariance_loss``.

    Raises:
        ValueError: as the two functions.
    """
    labels = checked_labels(features, labels)
    check_dense(text_cov=text_cov)
    check_choice("mode", mode, MODES)
    check_whole_number("ignore_index", ignore_index)
    check_loss_options(decay, metric)
    k, c = (len(text_cov) if text_cov.dim() else 0), features.shape[1]
    if k < 1 or c < 2:
        raise ValueError(
            "text_cov must be (K >= 1, K) and features (N, C >= 2, h, w), "
            f"got {describe(text_cov)} and {describe(features)}"
        )
    tensors = {"features": features, "text_cov": text_cov, "bank": bank}
    dtype = ops.accumulation_dtype(features)  # half precision is pooled in float32
    check_fit(tensors, {"text_cov": (k, k), "bank": (k, c)}, dtype)
    if features.is_cuda and k > MAX_COVARIANCE_CLASSES:  # Triton pools, PyTorch does the rest
        options = {"mode": mode, "ignore_index": ignore_index, "backend": backend}
        means, mass = class_means(features, labels, k, **options)
        options = {"decay": decay, "metric": metric, "backend": backend}
        return covariance_loss(means, mass, text_cov, bank, **options)
    name = _backend(backend, features, k, MAX_COVARIANCE_CLASSES)
    loss, new_bank, *_ = torch.ops.copt_kernels.pooled_loss(
        features,
        labels,
        text_cov.detach(),
        None if bank is None else bank.detach(),
        *(mode, ignore_index, decay, metric, name),
    )
    return loss, new_bank.detach()


def covariance_loss(
    means: Tensor,
    mass: Tensor,
    text_cov: Tensor,
    bank: Tensor | None = None,
    *,
    decay: float = 0.5,
    metric: str = "cosine",
    backend: str | None = None,
) -> tuple[Tensor, Tensor]:
    """Distance between the covariance of class centroids and that of class texts (CoPT, Eqs. 8-10).

    The present classes are V = {c : mass_c > 0}. With a memory bank their vectors are
    ``decay * bank + (1 - decay) * means``, with gradient through ``means`` only; without, the
    means. Their covariance Σp is compared with Σt = ``text_cov`` on V x V, diagonal included.

    - ``cosine``: 1 - <Σp, Σt> / sqrt((|Σp|² + ε)(|Σt|² + ε)), ε = 1e-12, in [0, 2];
    - ``l1``, ``l2``: mean absolute, mean squared entry of Σp - Σt.

    Without any present class the loss is 0 with zero gradient.

    Args:
        means: (K, C >= 2) float32 or float64; differentiable.
        mass: (K,), as from ``class_means``.
        text_cov: (K, K), as from ``class_covariance``; no gradient.
        bank: (K, C) or ``None``; never changed; no gradient.
        decay: share of the bank's old value, in [0, 1].
        metric: "cosine", "l1" or "l2".
        backend: as for ``class_means``.

    Returns:
        loss () and new bank (K, C), detached: the vectors of the present classes, the old rows of
        the absent (0 without a bank).

    Raises:
        ValueError: for shapes, dtypes or devices that do not fit, or an unknown metric or backend.
    """
    check_dense(means=means)
    if means.dim() != 2 or means.shape[0] < 1 or means.shape[1] < 2:
        raise ValueError(f"means must be (K >= 1, C >= 2), got means {describe(means)}")
    if means.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"means must be float32 or float64, got means {describe(means)}")
    check_loss_options(decay, metric)
    k, c = means.shape
    tensors = {"means": means, "mass": mass, "text_cov": text_cov, "bank": bank}
    check_fit(tensors, {"mass": (k,), "text_cov": (k, k), "bank": (k, c)}, means.dtype)
    check_reverse_mode(means)
    name = _backend(backend, means, k, MAX_COVARIANCE_CLASSES)
    loss, new_bank, *_ = torch.ops.copt_kernels.covariance(
        means,
        mass.detach(),
        text_cov.detach(),
        None if bank is None else bank.detach(),
        *(decay, metric, name),
    )
    return loss, new_bank.detach()


def class_covariance(vectors: Tensor) -> Tensor:
    """Covariance between rows: each centred over its own D entries, products divided by D - 1.

    Args:
        vectors: (K, D >= 2) float; differentiable. Half precision is raised to float32.

    Returns:
        (K, K), float64 for float64 vectors, else float32.

    Raises:
        ValueError: if ``vectors`` is not a floating (K, D >= 2).
    """
    check_dense(vectors=vectors)
    if vectors.dim() != 2 or vectors.shape[1] < 2 or not vectors.is_floating_point():
        raise ValueError(f"vectors must be a float (K, D >= 2), got {describe(vectors)}")
    return torch_impl.class_covariance(vectors)


def _pool(
    features: Tensor,
    labels: Tensor,
    num_classes: int,
    mode: str,
    ignore_index: int,
    check_labels: bool,
    backend: str | None,
    divide: bool,
) -> tuple[Tensor, Tensor]:
    labels = checked_labels(features, labels)
    check_whole_number("num_classes", num_classes)
    check_whole_number("ignore_index", ignore_index)
    if num_classes < 1:
        raise ValueError(f"num_classes must be at least 1, got {num_classes}")
    check_choice("mode", mode, MODES)
    if check_labels:
        check_label_range(labels, num_classes, ignore_index)
    name = _backend(backend, features, num_classes, MAX_POOL_CLASSES)
    pooled, mass, _ = torch.ops.copt_kernels.pool(
        features, labels, num_classes, mode, ignore_index, divide, name
    )
    return pooled, mass.detach()


def _backend(backend: str | None, tensor: Tensor, num_classes: int, most: int) -> str:
    """The one place that chooses who computes: argument, then environment variable, then device."""
    name = backend or os.environ.get(BACKEND_VARIABLE) or None
    if name not in (None, "torch", "triton"):
        raise ValueError(f"unknown backend {name!r}, expected None, 'torch' or 'triton'")
    fits = tensor.dtype != torch.float64 and num_classes <= most
    if name == "triton":
        check_triton(tensor)
    elif name is None:
        problem = triton_problem() if tensor.is_cuda else ""
        name = "triton" if tensor.is_cuda and not problem else "torch"
        if problem and not torch.compiler.is_compiling():
            _warn_once(problem)
    if not fits:
        name = "torch"
    if not torch.compiler.is_compiling():
        _log_once(name, tensor.device.type)
    return name


@functools.cache
def _log_once(name: str, device_type: str) -> None:
    logging.getLogger(__name__).info("class covariance on %s: %s backend", device_type, name)


@functools.cache
def _warn_once(problem: str) -> None:
    logging.getLogger(__name__).warning("class covariance runs in PyTorch: %s", problem)
