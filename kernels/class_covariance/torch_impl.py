"""Vectorised PyTorch path: no loop over classes, no data-dependent shape, no wait for the device.

Accumulation is in float32, or in float64 for float64 input, also under autocast.
"""

import torch
from torch import Tensor

EPSILON = 1e-12


def class_means(
    features: Tensor, labels: Tensor, num_classes: int, mode: str, ignore_index: int
) -> tuple[Tensor, Tensor]:
    """Means (K, C) and mass (K,) of checked ``features`` (N, C, h, w) and ``labels`` (N, H, W)."""
    dtype = _accumulation_dtype(features)
    if mode == "nearest":
        sums, mass = _nearest_sums(features.to(dtype), labels, num_classes, ignore_index)
    else:
        weights = class_weights(labels, features.shape[2:], num_classes, mode, ignore_index, dtype)
        sums, mass = _weighted_sums(features.to(dtype), weights)
    # an absent class divides 0 by 1, so that neither its mean nor its gradient is 0/0
    return sums / torch.where(mass > 0, mass, 1)[:, None], mass


def class_covariance(vectors: Tensor) -> Tensor:
    """(K, D) -> (K, K)."""
    vectors = vectors.to(_accumulation_dtype(vectors))
    centred = vectors - vectors.mean(dim=1, keepdim=True)
    with torch.autocast(vectors.device.type, enabled=False):
        return centred @ centred.T / (vectors.shape[1] - 1)


def covariance_loss(
    means: Tensor,
    mass: Tensor,
    text_cov: Tensor,
    bank: Tensor | None,
    decay: float,
    metric: str,
) -> tuple[Tensor, Tensor]:
    """Loss () and new bank (K, C) of checked inputs."""
    present = mass > 0
    if bank is None:
        vectors, old = means, torch.zeros_like(means)
    else:
        old = bank.detach()
        vectors = decay * old + (1 - decay) * means
    # torch.where, not a product: a NaN in an absent class's row must not spread
    new_bank = torch.where(present[:, None], vectors, old).detach()
    pixel_cov = class_covariance(torch.where(present[:, None], vectors, 0))
    on_present = present[:, None] & present[None, :]
    text_cov = torch.where(on_present, text_cov.detach(), 0)
    return _distance(pixel_cov, text_cov, present, metric), new_bank


def _distance(pixel_cov: Tensor, text_cov: Tensor, present: Tensor, metric: str) -> Tensor:
    """Both covariances are (K, K) and 0 outside the present classes."""
    if metric == "cosine":
        # two roots instead of one: the product of the squares could leave float32's range
        pixel_norm = (pixel_cov.square().sum() + EPSILON).sqrt()
        text_norm = (text_cov.square().sum() + EPSILON).sqrt()
        similarity = (pixel_cov * text_cov).sum() / (pixel_norm * text_norm)
        return present.any() * (1 - similarity)
    difference = pixel_cov - text_cov
    total = difference.abs().sum() if metric == "l1" else difference.square().sum()
    return total / present.sum().clamp_min(1).square()


def class_weights(
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
        (N, h·w, K).
    """
    n, height, width = labels.shape
    h, w = size
    bins = _class_index(labels, num_classes, ignore_index)  # (N, H, W) in [0, K], K = not counted
    cells, shares = _taps(width, w, mode, dtype, labels.device)  # both (taps, W)
    by_column = torch.zeros(n, height, w * (num_classes + 1), dtype=dtype, device=labels.device)
    for cell, share in zip(cells, shares, strict=True):
        by_column.scatter_add_(2, bins + cell * (num_classes + 1), share.expand(n, height, width))
    rows = _axis_matrix(height, h, mode, dtype, labels.device)  # (h, H)
    with torch.autocast(labels.device.type, enabled=False):
        weights = rows @ by_column  # (N, h, w·(K+1))
    return weights.view(n, h * w, num_classes + 1)[..., :num_classes]


def _nearest_sums(
    features: Tensor, labels: Tensor, num_classes: int, ignore_index: int
) -> tuple[Tensor, Tensor]:
    _, channels, h, w = features.shape
    rows = _sample_positions(labels.shape[1], h, labels.device)
    columns = _sample_positions(labels.shape[2], w, labels.device)
    sampled = labels[:, rows[:, None], columns]  # (N, h, w)
    index = _class_index(sampled, num_classes, ignore_index).flatten()
    cells = features.permute(0, 2, 3, 1).reshape(-1, channels)  # (N·h·w, C)
    # adding rows, unlike a product with one-hot rows, keeps a NaN within its class; row K takes
    # what is not counted and is dropped
    sums = cells.new_zeros(num_classes + 1, channels).index_add(0, index, cells)
    mass = cells.new_zeros(num_classes + 1).index_add(0, index, cells.new_ones(index.shape))
    return sums[:num_classes], mass[:num_classes]


def _weighted_sums(features: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    flat = features.flatten(2)  # (N, C, h·w)
    finite = flat.isfinite()
    # 0 · NaN is NaN, so products see finite values only and the classes that met another are marked
    # after
    with torch.autocast(features.device.type, enabled=False):
        sums = _pool(torch.where(finite, flat, 0), weights)
        spoilt = _pool((~finite).to(flat.dtype), weights) > 0
    sums = sums + torch.where(spoilt, torch.nan, 0)
    return sums, weights.sum(dim=(0, 1))


def _pool(flat: Tensor, weights: Tensor) -> Tensor:
    """(N, C, q) and (N, q, K) -> (K, C), summed over images and cells."""
    return (flat @ weights).sum(dim=0).T


def _class_index(labels: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    """int64 labels with K for every pixel that does not count."""
    labels = labels.long()
    outside = (labels < 0) | (labels >= num_classes) | (labels == ignore_index)
    return labels.masked_fill(outside, num_classes)


def _sample_positions(length: int, cells: int, device: torch.device) -> Tensor:
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


def _accumulation_dtype(tensor: Tensor) -> torch.dtype:
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32
