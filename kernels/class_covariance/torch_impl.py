"""Vectorised PyTorch path: no loop over classes, no data-dependent shape, no wait for the device.

Accumulation is in float32, or in float64 for float64 input, also under autocast.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from .ops import accumulation_dtype
from .torch_weights import nearest_weights, soft_weights

EPSILON = 1e-12
ORDINARY = 2.0**12  # squared twice and summed it stays in float32's range
# the bits that hold a number's exponent
EXPONENT = {
    torch.float32: (torch.int32, 0xFF << 23),
    torch.float64: (torch.int64, 0x7FF << 52),
}


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
    unit = power_of_two(vectors.detach().abs().amax(dim=1, keepdim=True))
    unit = torch.where(unit > 0, unit, 1)  # of each row, so that the entries of small ones stay
    centred = (vectors - vectors.mean(dim=1, keepdim=True)) / unit
    with torch.autocast(vectors.device.type, enabled=False):
        return centred @ centred.T / (vectors.shape[1] - 1) * unit * unit.T


def covariance(
    means: Tensor, mass: Tensor, text_cov: Tensor, bank: Tensor | None, decay: float, metric: str
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Loss (), new bank (K, C), its slope (K, K), the rows' means and two factors (K + 2,).

    See the README §3 and §4.
    """
    present = (mass > 0)[:, None]
    if bank is None:
        vectors, old, share = means, torch.zeros_like(means), 1.0
    else:
        vectors, old, share = torch.lerp(bank, means, 1 - decay), bank, 1 - decay
    # torch.where, not a product: a NaN in an absent class's row must not spread
    new_bank = torch.where(present, vectors, old).contiguous()  # it has the strides of its inputs
    vectors = torch.where(present, vectors, 0)
    text_cov = torch.where(present & present.T, text_cov, 0)
    unit, text_unit = _units(vectors, text_cov, same=metric != "cosine")
    centre = vectors.mean(dim=1)
    centred = (vectors - centre[:, None]).div_(unit)
    pixel_cov = centred @ centred.T / (means.shape[1] - 1)
    text_cov = text_cov / (text_unit * text_unit)
    loss, slope, factor = _distance(pixel_cov, text_cov, unit, text_unit, present, metric)
    # the products are symmetric, so only the symmetric part of the slope has an effect
    scale = share / (means.shape[1] - 1)
    kept = F.pad(centre, (0, 2), value=1.0)
    if isinstance(unit, Tensor):
        kept[-2], kept[-1] = 1 / unit, factor
    return loss, new_bank, scale * (slope + slope.T), kept


def covariance_backward(
    grad_loss: Tensor, new_bank: Tensor, mass: Tensor, gram: Tensor, centre: Tensor
) -> Tensor:
    """Gradient (K, C) by the means: gram · X, 0 for absent classes."""
    present = (mass > 0)[:, None]
    inverse, factor = centre[-2], centre[-1]
    centred = torch.where(present, (new_bank - centre[:-2, None]).mul_(inverse), 0)
    return torch.where(present, (grad_loss * gram) @ centred * factor, 0)


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

    def product(values: Tensor, **options: Tensor) -> Tensor:
        return torch.bmm(values.T.expand(len(weights), -1, -1), weights, **options)

    if gradient.is_cpu and len(gradient.sum(dim=1).isfinite().logical_not().nonzero()):
        return out.copy_(_guarded(product, gradient).view(out.shape))
    if out.is_contiguous() and out.dtype == gradient.dtype:
        product(gradient, out=out.flatten(2))  # a view, also without images
        return out
    return out.copy_(product(gradient).view(out.shape))


def power_of_two(size: Tensor) -> Tensor:
    """Largest power of two up to ``size`` >= 0; 0 for a subnormal number, infinity for NaN."""
    integer, exponent = EXPONENT[size.dtype]
    return (size.view(integer) & exponent).view(size.dtype)


def _units(
    vectors: Tensor, text_cov: Tensor, same: bool
) -> tuple[Tensor, Tensor] | tuple[float, float]:
    """Powers of two, at least 1, near the largest of ``vectors`` and the root of the largest of
    ``text_cov``; a difference needs the ``same``. Dividing by them changes no digit, and what is
    left can be squared twice.
    """
    ends = torch.stack([*vectors.aminmax(), *text_cov.aminmax()]).abs()
    if ends.is_cpu and not len((ends > ORDINARY).nonzero()):  # elsewhere this would wait
        return 1.0, 1.0
    size, text_size = ends[:2].amax(), ends[2:].amax().sqrt()
    if same:
        size = text_size = torch.maximum(size, text_size)
    return power_of_two(size).clamp_min(1), power_of_two(text_size).clamp_min(1)


def _distance(
    pixel_cov: Tensor,
    text_cov: Tensor,
    unit: Tensor | float,
    text_unit: Tensor | float,
    present: Tensor,
    metric: str,
) -> tuple[Tensor, Tensor, Tensor | float]:
    """Loss, a slope by ``pixel_cov`` and the factor that its product with X lacks.

    The covariances are measured in unit², X in units; both are 0 outside the present classes.
    """
    if metric == "cosine":
        pixel, text = pixel_cov.flatten(), text_cov.flatten()
        # two roots instead of one: the product of the squares could leave float32's range
        pixel_norm = (pixel.dot(pixel) + EPSILON / (unit * unit) / (unit * unit)).sqrt()
        text_norm = (
            text.dot(text) + EPSILON / (text_unit * text_unit) / (text_unit * text_unit)
        ).sqrt()
        similarity = pixel.dot(text) / (pixel_norm * text_norm)
        slope = (similarity / pixel_norm) * pixel_cov - text_cov / text_norm
        return present.any() * (1 - similarity), slope / pixel_norm, 1 / unit
    difference = pixel_cov - text_cov
    pairs = present.sum().clamp_min(1).square()
    # times one unit after the other: the result leaves the range only where the loss does
    if metric == "l1":
        return difference.abs().sum() / pairs * unit * unit, difference.sign() / pairs, unit
    loss = difference.square().sum() / pairs * unit * unit * unit * unit
    return loss, 2 * difference / pairs * unit, unit * unit


def _weighted_sums(flat: Tensor, weights: Tensor) -> Tensor:
    """(N, C, q) and (N, K, q) -> (K, C), summed over images and cells."""

    def product(values: Tensor) -> Tensor:
        return torch.bmm(weights, values.transpose(1, 2)).sum(dim=0)

    if not flat.is_cpu:
        return _guarded(product, flat)
    sums = product(flat)
    # 0 · NaN is NaN: a NaN or infinity spreads over all classes of its channel. Those channels are
    # made again; elsewhere than on a CPU, to find them would wait for the device
    spread = (sums - sums).sum(dim=0).isnan().nonzero().flatten()
    if not len(spread):
        return sums
    return sums.index_copy(1, spread, _guarded(product, flat.index_select(1, spread)))


def _guarded(product: Callable[[Tensor], Tensor], values: Tensor) -> Tensor:
    """``product`` of any values with weights: it sees finite ones; what met another gets NaN."""
    finite = values.isfinite()
    clean = product(torch.where(finite, values, 0))
    spoilt = product((~finite).to(values.dtype)) > 0
    return torch.where(spoilt, torch.nan, clean)


def _divisor(mass: Tensor) -> Tensor:
    """An absent class divides 0 by 1, so that neither its mean nor its gradient is 0/0."""
    return torch.where(mass > 0, mass, 1)
