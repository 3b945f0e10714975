"""How much each cell belongs to each class, in PyTorch: W of the README, §1."""

import functools

import torch
from torch import Tensor

STRIP = 64  # rows of labels that are taken at a time


def nearest_weights(
    labels: Tensor,
    size: tuple[int, int],
    num_classes: int,
    mode: str,
    ignore_index: int,
    dtype: torch.dtype,
) -> Tensor:
    """1 where the label sampled for a cell is the class, (N, K, h·w)."""
    rows = _sample_positions(labels.shape[1], size[0], labels.device)
    columns = _sample_positions(labels.shape[2], size[1], labels.device)
    sampled = labels.index_select(1, rows).index_select(2, columns).flatten(1)
    classes = torch.arange(num_classes, device=labels.device)
    weights = (sampled[:, None] == classes[:, None]).to(dtype)
    if 0 <= ignore_index < num_classes:
        weights[:, ignore_index] = 0
    return weights


def soft_weights(
    labels: Tensor,
    size: tuple[int, int],
    num_classes: int,
    mode: str,
    ignore_index: int,
    dtype: torch.dtype,
) -> Tensor:
    """How much each cell belongs to each class in the soft modes.

    Both modes are separable, W_c = Wy · 1[y = c] · Wxᵀ, and a pixel reaches few cells along an
    axis. So columns are scattered into (cell, class) bins and rows follow by one matrix product:
    nothing of size K·H·W is made.

    Returns:
        (N, K, h·w).
    """
    n, height, width = labels.shape
    h, w = size
    cells, shares = _taps(width, w, mode, dtype, labels.device)  # both (taps, W)
    by_column = torch.zeros(n, height, w * (num_classes + 1), dtype=dtype, device=labels.device)
    for top in range(0, height, STRIP):  # int64 indices of all pixels would be most of the memory
        bins = _class_index(labels[:, top : top + STRIP], num_classes, ignore_index)
        part = by_column[:, top : top + STRIP]
        for cell, share in zip(cells, shares, strict=True):
            part.scatter_add_(2, bins + cell * (num_classes + 1), share.expand_as(bins))
    rows = _axis_matrix(height, h, mode, dtype, labels.device)  # (h, H)
    weights = rows @ by_column  # (N, h, w·(K+1))
    return weights.view(n, h * w, num_classes + 1)[..., :num_classes].transpose(1, 2).contiguous()


def _class_index(labels: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    """int64 labels with K for every pixel that does not count."""
    labels = labels.long()
    outside = (labels < 0) | (labels >= num_classes) | (labels == ignore_index)
    return labels.masked_fill(outside, num_classes)


def _sample_positions(length: int, cells: int, device: torch.device) -> Tensor:
    # a CUDA graph owns what is made while it is captured, so on a GPU nothing is kept
    return (
        _kept_positions(length, cells)
        if device.type == "cpu"
        else _positions(length, cells, device)
    )


@functools.lru_cache(maxsize=64)
def _kept_positions(length: int, cells: int) -> Tensor:
    return _positions(length, cells, torch.device("cpu"))


def _positions(length: int, cells: int, device: torch.device) -> Tensor:
    # float32 linspace then truncation, so that rounding is that of the published code
    return torch.linspace(0, length - 1, cells, dtype=torch.float32, device=device).long()


def _taps(
    length: int, cells: int, mode: str, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Cells that each pixel along an axis reaches and its share in them.

    Returns:
        (taps, L) int64 cell indices and (taps, L) shares; a tap that a pixel lacks has share 0.
    """
    pixel = torch.arange(length, device=device)
    if mode == "bilinear":
        position = ((pixel.double() + 0.5) * cells / length - 0.5).clamp_min(0)
        low = position.long().clamp_max(cells - 1)
        fraction = position - low
        index = torch.stack([low, (low + 1).clamp_max(cells - 1)])
        return index, torch.stack([1 - fraction, fraction]).to(dtype)
    # cell i covers rows floor(i·L/n) .. ceil((i+1)·L/n) - 1, so pixel p lies in cells
    # floor(p·n/L) .. ceil((p+1)·n/L) - 1; a pixel meets at most this many:
    taps = -(-cells // length) + (length % cells > 0 and cells % length > 0)
    first = pixel * cells // length
    last = -(-(pixel + 1) * cells // length) - 1
    index = first + torch.arange(taps, device=device)[:, None]
    inside = index <= last
    index = index.clamp_max(cells - 1)
    start, stop = index * length // cells, -(-(index + 1) * length // cells)
    return index, torch.where(inside, 1 / (stop - start).to(dtype), 0)


def _axis_matrix(
    length: int, cells: int, mode: str, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Dense (cells, L) form of ``_taps``."""
    index, share = _taps(length, cells, mode, dtype, device)
    return torch.zeros(cells, length, dtype=dtype, device=device).scatter_add_(0, index, share)
