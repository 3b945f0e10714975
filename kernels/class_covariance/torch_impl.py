"""Vectorised PyTorch path: no loop over classes, no data-dependent shape, no wait for the device.

Accumulation is in float32, or in float64 for float64 input, also under autocast.
"""

import functools

import torch
from torch import Tensor

from .ops import accumulation_dtype

EPSILON = 1e-12
STRIP = 64  # rows of labels that are taken at a time


def pool(
    features: Tensor, labels: Tensor, num_classes: int, mode: str, ignore_index: int, divide: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Sums or means (K, C), mass (K,) and weights (N, K, h·w)."""
    dtype = accumulation_dtype(features)
    make = nearest_weights if mode == "nearest" else soft_weights
    weights = make(labels, features.shape[2:], num_classes, mode, ignore_index, dtype)
    sums, mass = _weighted_sums(features.flatten(2).to(dtype), weights), weights.sum(dim=(0, 2))
    return sums / _divisor(mass)[:, None] if divide else sums, mass, weights


def pool_backward(
    gradient: Tensor,
    labels: Tensor,
    mass: Tensor,
    weights: Tensor,
    out: Tensor,
    mode: str,
    ignore_index: int,
    divide: bool,
) -> Tensor:
    """Gradient by the features, into ``out`` (N, C, h, w), from that (K, C) by the pooled."""
    # what comes back for an absent class may be anything, also NaN
    gradient = torch.where((mass > 0)[:, None], gradient, 0)
    if divide:
        gradient = gradient / _divisor(mass)[:, None]
    return _spread(gradient, weights, out)


def class_covariance(vectors: Tensor) -> Tensor:
    """(K, D) -> (K, K)."""
    vectors = vectors.to(accumulation_dtype(vectors))
    centred = vectors - vectors.mean(dim=1, keepdim=True)
    with torch.autocast(vectors.device.type, enabled=False):
        return centred @ centred.T / (vectors.shape[1] - 1)


def covariance(
    means: Tensor, mass: Tensor, text_cov: Tensor, bank: Tensor | None, decay: float, metric: str
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Loss (), new bank (K, C), its slope (K, K) and the rows' means (K,), see the README §3."""
    present = (mass > 0)[:, None]
    if bank is None:
        vectors, old, share = means, torch.zeros_like(means), 1.0
    else:
        vectors, old, share = torch.lerp(bank, means, 1 - decay), bank, 1 - decay
    # torch.where, not a product: a NaN in an absent class's row must not spread
    new_bank = torch.where(present, vectors, old).contiguous()  # it has the strides of its inputs
    vectors = torch.where(present, vectors, 0)
    centre = vectors.mean(dim=1)
    centred = vectors - centre[:, None]
    pixel_cov = centred @ centred.T / (means.shape[1] - 1)
    text_cov = torch.where(present & present.T, text_cov, 0)
    loss, slope = _distance(pixel_cov, text_cov, present, metric)
    # the products are symmetric, so only the symmetric part of the slope has an effect
    scale = share / (means.shape[1] - 1)
    return loss, new_bank, scale * (slope + slope.T), centre


def covariance_backward(
    grad_loss: Tensor, new_bank: Tensor, mass: Tensor, gram: Tensor, centre: Tensor
) -> Tensor:
    """Gradient (K, C) by the means: gram · X, 0 for absent classes."""
    present = (mass > 0)[:, None]
    centred = torch.where(present, new_bank - centre[:, None], 0)
    return torch.where(present, (grad_loss * gram) @ centred, 0)


def pooled_loss(
    features: Tensor,
    labels: Tensor,
    text_cov: Tensor,
    bank: Tensor | None,
    mode: str,
    ignore_index: int,
    decay: float,
    metric: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Loss, new bank, slope, centre, mass and weights."""
    means, mass, weights = pool(features, labels, len(text_cov), mode, ignore_index, divide=True)
    return *covariance(means, mass, text_cov, bank, decay, metric), mass, weights


def pooled_loss_backward(
    grad_loss: Tensor,
    new_bank: Tensor,
    gram: Tensor,
    centre: Tensor,
    mass: Tensor,
    weights: Tensor,
    labels: Tensor,
    out: Tensor,
    mode: str,
    ignore_index: int,
) -> Tensor:
    """Gradient of the loss by the features, written into ``out`` (N, C, h, w)."""
    gradient = covariance_backward(grad_loss, new_bank, mass, gram, centre)
    return _spread(gradient / _divisor(mass)[:, None], weights, out)


def _spread(gradient: Tensor, weights: Tensor, out: Tensor) -> Tensor:
    """(K, C) and (N, K, h·w) -> Σ_c W_c g_c in ``out`` (N, C, h, w)."""
    by_channel = gradient.T.expand(len(weights), -1, -1)  # (N, C, K)
    if out.is_contiguous() and out.dtype == gradient.dtype:
        torch.bmm(by_channel, weights, out=out.flatten(2))  # a view, also without images
        return out
    return out.copy_(torch.bmm(by_channel, weights).view(out.shape))


def _distance(
    pixel_cov: Tensor, text_cov: Tensor, present: Tensor, metric: str
) -> tuple[Tensor, Tensor]:
    """Loss and its derivative by ``pixel_cov``; both are 0 outside the present classes."""
    if metric == "cosine":
        pixel, text = pixel_cov.flatten(), text_cov.flatten()
        # two roots instead of one: the product of the squares could leave float32's range
        pixel_norm = (pixel.dot(pixel) + EPSILON).sqrt()
        text_norm = (text.dot(text) + EPSILON).sqrt()
        similarity = pixel.dot(text) / (pixel_norm * text_norm)
        slope = (similarity / pixel_norm) * pixel_cov - text_cov / text_norm
        return present.any() * (1 - similarity), slope / pixel_norm
    difference = pixel_cov - text_cov
    pairs = present.sum().clamp_min(1).square()
    if metric == "l1":
        return difference.abs().sum() / pairs, difference.sign() / pairs
    return difference.square().sum() / pairs, 2 * difference / pairs


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


def _weighted_sums(flat: Tensor, weights: Tensor) -> Tensor:
    """(N, C, q) and (N, K, q) -> (K, C), summed over images and cells."""
    if not flat.is_cpu:
        return _guarded_sums(flat, weights)
    sums = torch.bmm(weights, flat.transpose(1, 2)).sum(dim=0)
    # 0 · NaN is NaN: a NaN or infinity spreads over all classes of its channel. Those channels are
    # made again; elsewhere than on a CPU, to find them would wait for the device
    spread = (sums - sums).sum(dim=0).isnan().nonzero().flatten()
    if not len(spread):
        return sums
    return sums.index_copy(1, spread, _guarded_sums(flat.index_select(1, spread), weights))


def _guarded_sums(flat: Tensor, weights: Tensor) -> Tensor:
    """The same for any values: the product sees finite ones, classes that met another get NaN."""
    finite = flat.isfinite()
    clean = torch.bmm(weights, torch.where(finite, flat, 0).transpose(1, 2)).sum(dim=0)
    spoilt = torch.bmm(weights, (~finite).to(flat.dtype).transpose(1, 2)).sum(dim=0) > 0
    return torch.where(spoilt, torch.nan, clean)


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


def _divisor(mass: Tensor) -> Tensor:
    """An absent class divides 0 by 1, so that neither its mean nor its gradient is 0/0."""
    return torch.where(mass > 0, mass, 1)
