"""Class pooling, class covariance and CoPT's covariance loss: public functions, dispatch."""

import functools
import logging
import os
from types import ModuleType

import torch
from torch import Tensor

from . import torch_impl

__all__ = ["class_covariance", "class_means", "covariance_loss"]

BACKEND_VARIABLE = "COPT_KERNELS_BACKEND"
MODES = ("nearest", "area", "bilinear")
METRICS = ("cosine", "l1", "l2")
LABEL_DTYPES = (torch.uint8, torch.int32, torch.int64)


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

    A NaN or infinity in a counted cell reaches its class's mean and no other class's; in the soft
    modes an infinity arrives as NaN. Cells that count for no class are never read into a mean.

    Args:
        features: (N, C, h, w) float, any strides; differentiable.
        labels: (N, H, W) or (N, 1, H, W) uint8, int32 or int64. Values outside [0, K) do not count.
        num_classes: K >= 1.
        mode: "nearest", "area" or "bilinear".
        ignore_index: label that does not count, even inside [0, K).
        check_labels: raise on labels outside [0, K) other than ``ignore_index``. Waits for the
            device.
        backend: "torch", "triton" or ``None`` = the environment variable ``COPT_KERNELS_BACKEND``,
            else by device.

    Returns:
        means (K, C) and mass (K,) = Σ W_c: float64 for float64 features, else float32. An absent
        class has mean 0 and mass 0, and passes no gradient.

    Raises:
        ValueError: for shapes, dtypes or devices that do not fit, an unknown mode or backend, or
            (on request) labels out of range.
    """
    labels = _checked_labels(features, labels)
    if num_classes < 1:
        raise ValueError(f"num_classes must be at least 1, got {num_classes}")
    if mode not in MODES:
        raise ValueError(f"unknown mode {mode!r}, expected one of {', '.join(MODES)}")
    if check_labels:
        _check_label_range(labels, num_classes, ignore_index)
    return _implementation(backend, features).class_means(
        features, labels, num_classes, mode, ignore_index
    )


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
    _check_loss_inputs(means, mass, text_cov, bank)
    if not 0.0 <= decay <= 1.0:
        raise ValueError(f"decay must lie in [0, 1], got {decay}")
    if metric not in METRICS:
        raise ValueError(f"unknown metric {metric!r}, expected one of {', '.join(METRICS)}")
    return _implementation(backend, means).covariance_loss(
        means, mass, text_cov, bank, decay, metric
    )


def class_covariance(vectors: Tensor) -> Tensor:
    """Covariance between rows: each centred over its own D entries, products divided by D - 1.

    Args:
        vectors: (K, D >= 2) float; differentiable. Half precision is raised to float32.

    Returns:
        (K, K), float64 for float64 vectors, else float32.

    Raises:
        ValueError: if ``vectors`` is not a floating (K, D >= 2).
    """
    if vectors.dim() != 2 or vectors.shape[1] < 2 or not vectors.is_floating_point():
        raise ValueError(f"vectors must be a float (K, D >= 2), got {_describe(vectors)}")
    return torch_impl.class_covariance(vectors)


def _implementation(backend: str | None, tensor: Tensor) -> ModuleType:
    """The one place that chooses who computes: argument, then environment variable, then device."""
    name = backend or os.environ.get(BACKEND_VARIABLE) or "torch"
    if name == "triton":
        raise ValueError('backend "triton": this version has the "torch" backend only')
    if name != "torch":
        raise ValueError(f"unknown backend {name!r}, expected None or 'torch'")
    _log_once(name, tensor.device.type)
    return torch_impl


@functools.cache
def _log_once(name: str, device_type: str) -> None:
    logging.getLogger(__name__).info("class covariance on %s: %s backend", device_type, name)


def _checked_labels(features: Tensor, labels: Tensor) -> Tensor:
    """Labels as (N, H, W), after checking both tensors."""
    both = f"got features {_describe(features)} and labels {_describe(labels)}"
    if features.dim() != 4 or not features.is_floating_point():
        raise ValueError(f"features must be a float (N, C, h, w), {both}")
    if labels.dtype not in LABEL_DTYPES:
        raise ValueError(f"labels must be uint8, int32 or int64, {both}")
    if labels.dim() == 4 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.dim() != 3:
        raise ValueError(f"labels must be (N, H, W) or (N, 1, H, W), {both}")
    if labels.shape[0] != features.shape[0] or labels.device != features.device:
        raise ValueError(f"features and labels must share N and device, {both}")
    if 0 in features.shape[1:] or 0 in labels.shape[1:]:
        raise ValueError(f"only the batch may be empty, {both}")
    return labels


def _check_label_range(labels: Tensor, num_classes: int, ignore_index: int) -> None:
    values = labels.long()
    wrong = ((values < 0) | (values >= num_classes)) & (values != ignore_index)
    if wrong.any():
        found = values[wrong].unique()[:5].tolist()
        raise ValueError(
            f"labels must lie in [0, {num_classes}) or be {ignore_index}, found {found}"
        )


def _check_loss_inputs(means: Tensor, mass: Tensor, text_cov: Tensor, bank: Tensor | None) -> None:
    tensors = {"means": means, "mass": mass, "text_cov": text_cov}
    if bank is not None:
        tensors["bank"] = bank
    got = "got " + ", ".join(f"{name} {_describe(tensor)}" for name, tensor in tensors.items())
    if means.dim() != 2 or means.shape[0] < 1 or means.shape[1] < 2:
        raise ValueError(f"means must be (K >= 1, C >= 2), {got}")
    if means.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"means must be float32 or float64, {got}")
    k, c = means.shape
    shapes = {"means": (k, c), "mass": (k,), "text_cov": (k, k), "bank": (k, c)}
    for name, tensor in tensors.items():
        if tuple(tensor.shape) != shapes[name]:
            raise ValueError(f"{name} must be {shapes[name]}, {got}")
        if tensor.dtype != means.dtype or tensor.device != means.device:
            raise ValueError(f"{name} must have the dtype and device of means, {got}")


def _describe(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')} on {tensor.device}"
