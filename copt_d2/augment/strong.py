"""Colour jitter and Gaussian blur of the self-training passes (DACS, DAFormer).

The formulas are those of the reference implementation's image library (brightness is added,
contrast multiplies without a mean), which differ from torchvision's transforms of the same names.
"""

import math
import random
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ..structures import StrongDraw

SIGMA_RANGE = (0.15, 1.15)


def _rgb_to_hsv(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(N, 3, H, W) in [0, 1] -> hue in turns [0, 1), saturation, value, each (N, H, W)."""
    value, winner = images.max(dim=1)
    spread = value - images.min(dim=1).values
    saturation = spread / (value + 1e-6)
    safe = torch.where(spread == 0, torch.ones_like(spread), spread)
    red, green, blue = (value.unsqueeze(1) - images).unbind(dim=1)
    sixths = torch.stack([blue - green, 2 * safe + red - blue, 4 * safe + green - red], dim=1)
    hue = sixths.gather(1, winner.unsqueeze(1)).squeeze(1) / safe
    return (hue / 6).remainder(1.0), saturation, value


def _hsv_to_rgb(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """Inverse of :func:`_rgb_to_hsv`: (N, H, W) each -> (N, 3, H, W)."""
    # channel n of RGB is v - v*s*clamp(min(k, 4 - k), 0, 1) with k = (n + 6h) mod 6 and n = 5, 3, 1
    sector = (hue * 6).unsqueeze(1)
    offsets = torch.stack([torch.full_like(hue, n) for n in (5.0, 3.0, 1.0)], dim=1)
    k = (offsets + sector).remainder(6.0)
    share = torch.minimum(k, 4.0 - k).clamp(0.0, 1.0)
    return value.unsqueeze(1) * (1.0 - saturation.unsqueeze(1) * share)


def color_jitter(images: Tensor, factors: Tensor, order: Sequence[int]) -> Tensor:
    """Brightness, contrast, saturation and hue changes, one set of factors per image.

    Args:
        images: (N, 3, H, W) float RGB in [0, 1].
        factors: (N, 4): brightness (added as factor - 1), contrast (multiplied), saturation
            (multiplied, in HSV), hue (added, in turns).
        order: the order in which the four operations run, by column of ``factors``.
    Returns:
        (N, 3, H, W) in [0, 1].
    """
    brightness, contrast, saturation, hue = factors.to(images).unbind(dim=1)
    for operation in order:
        if operation == 0:
            images = (images + (brightness - 1).view(-1, 1, 1, 1)).clamp(0, 1)
        elif operation == 1:
            images = (images * contrast.view(-1, 1, 1, 1)).clamp(0, 1)
        else:
            h, s, v = _rgb_to_hsv(images)
            if operation == 2:
                s = (s * saturation.view(-1, 1, 1)).clamp(0, 1)
            else:
                h = h + hue.view(-1, 1, 1)
            images = _hsv_to_rgb(h, s, v)
    return images


def _kernel_size(length: int) -> int:
    """Blur kernel size along an axis of ``length`` pixels, an odd number near a tenth of it."""
    tenth = math.ceil(0.1 * length)
    return math.floor(tenth - 0.5 + tenth % 2)


def _blur_kernel(size: int, sigma: float, like: Tensor) -> Tensor:
    """Normalised 1-D Gaussian; beyond six sigma the weights are below float32 rounding and left
    out.
    """
    radius = min(size // 2, math.ceil(6 * sigma))
    offsets = torch.arange(-radius, radius + 1, dtype=like.dtype, device=like.device)
    weights = torch.exp(-0.5 * (offsets / sigma) ** 2)
    return weights / weights.sum()


def gaussian_blur(images: Tensor, sigma: float) -> Tensor:
    """Gaussian blur with reflect padding; the kernel spans a tenth of each axis.

    Args:
        images: (N, C, H, W) float.
        sigma: standard deviation in pixels, the same on both axes.
    Returns:
        (N, C, H, W).
    Raises:
        ValueError: if ``sigma`` is not positive.
    """
    if sigma <= 0:
        raise ValueError(f"the blur needs a positive sigma, not {sigma}")
    batch, channels, height, width = images.shape
    rows = _blur_kernel(_kernel_size(height), sigma, images)
    columns = _blur_kernel(_kernel_size(width), sigma, images)
    planes = images.reshape(batch * channels, 1, height, width)
    planes = F.pad(planes, (len(columns) // 2,) * 2 + (len(rows) // 2,) * 2, mode="reflect")
    # an image keeps its precision where the network runs in bfloat16
    with torch.autocast(images.device.type, enabled=False):
        planes = F.conv2d(planes, columns.view(1, 1, 1, -1))
        return F.conv2d(planes, rows.view(1, 1, -1, 1)).reshape(images.shape)


def _draw_factors(strength: float) -> tuple[float, float, float, float]:
    shares = [random.uniform(1 - strength, 1 + strength) for _ in range(3)]
    return (*shares, random.uniform(-strength, strength))


def draw_strong(
    batch: int,
    jitter_probability: float,
    jitter_strength: float,
    blur_probability: float,
    shared: bool = False,
) -> list[StrongDraw]:
    """Draws the augmentation of a batch from Python's generator.

    Whether there is a jitter, and a blur, is decided once for the batch. The jitter's factors are
    drawn per image; its order and sigma too, or once for all with ``shared`` (the masked pass).
    """
    jitter = random.random() < jitter_probability
    blur = random.random() < blur_probability
    draws = []
    for _ in range(batch):
        draw = StrongDraw()
        if jitter:
            draw.factors = _draw_factors(jitter_strength)
            draw.order = tuple(random.sample(range(4), 4))
        if blur:
            draw.sigma = random.uniform(*SIGMA_RANGE)
        if shared and draws:
            draw.order, draw.sigma = draws[0].order, draws[0].sigma
        draws.append(draw)
    return draws


def strong_augment(
    images: Tensor, draws: Sequence[StrongDraw], mean: Tensor, std: Tensor
) -> Tensor:
    """Applies one draw per image to normalised images.

    Args:
        images: (N, 3, H, W), normalised.
        draws: N draws.
        mean: (3, 1, 1) normalisation mean on the 0..255 scale.
        std: (3, 1, 1) normalisation standard deviation on the same scale.
    Returns:
        (N, 3, H, W), normalised.
    Raises:
        ValueError: if the number of draws is not N.
    """
    if len(draws) != len(images):
        raise ValueError(f"{len(images)} images need as many strong draws, got {len(draws)}")
    augmented = []
    for image, draw in zip(images.split(1), draws, strict=True):
        if draw.factors is not None:
            # filled on the device: a tensor made of Python numbers would wait for a copy
            factors = torch.stack([image.new_full((1,), factor) for factor in draw.factors], dim=1)
            pixels = color_jitter((image * std + mean) / 255, factors, draw.order)
            image = (pixels * 255 - mean) / std
        if draw.sigma is not None:
            image = gaussian_blur(image, draw.sigma)
        augmented.append(image)
    return torch.cat(augmented)
