"""The definition, in plain loops and float64: slow, obvious, used by tests only."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def class_means(
    features: Tensor,
    labels: Tensor,
    num_classes: int,
    *,
    mode: str = "nearest",
    ignore_index: int = 255,
) -> tuple[Tensor, Tensor]:
    """``class_means`` of the package, class by class.

    Args:
        features: (N, C, h, w) float; differentiable.
        labels: (N, H, W) integer.
        num_classes: K.
        mode: "nearest", "area" or "bilinear".
        ignore_index: label that does not count.

    Returns:
        means (K, C) and mass (K,), both float64.
    """
    features = features.double()
    if mode == "bilinear":
        features = F.interpolate(features, labels.shape[-2:], mode="bilinear", align_corners=False)
    means, masses = [], []
    for c in range(num_classes):
        mask = (labels == c) & (labels != ignore_index)
        weights = _cell_weights(mask, features.shape[-2:], mode)
        total, mass = features.new_zeros(features.shape[1]), features.new_zeros(())
        for image, row, column in weights.nonzero().tolist():
            weight = weights[image, row, column]
            total = total + weight * features[image, :, row, column]
            mass = mass + weight
        means.append(total / mass if mass > 0 else total)
        masses.append(mass)
    return torch.stack(means), torch.stack(masses)


def class_covariance(vectors: Tensor) -> Tensor:
    """``class_covariance`` of the package, pair by pair: (K, D) -> (K, K) float64."""
    vectors = vectors.double()
    k, d = vectors.shape
    rows = []
    for i in range(k):
        x = vectors[i] - vectors[i].mean()
        rows.append([(x * (vectors[j] - vectors[j].mean())).sum() / (d - 1) for j in range(k)])
    return torch.stack([torch.stack(row) for row in rows])


def covariance_loss(
    means: Tensor,
    mass: Tensor,
    text_cov: Tensor,
    bank: Tensor | None = None,
    *,
    decay: float = 0.5,
    metric: str = "cosine",
) -> tuple[Tensor, Tensor]:
    """``covariance_loss`` of the package, on the compacted list of present classes.

    Args:
        means: (K, C); differentiable.
        mass: (K,).
        text_cov: (K, K).
        bank: (K, C) or ``None``.
        decay: share of the bank's old value.
        metric: "cosine", "l1" or "l2".

    Returns:
        loss () and new bank (K, C), float64.
    """
    means, text_cov = means.double(), text_cov.double()
    new_bank = torch.zeros_like(means) if bank is None else bank.double().clone()
    present = [c for c in range(len(mass)) if mass[c] > 0]
    if not present:
        return means[present].sum(), new_bank
    vectors = []
    for c in present:
        old = None if bank is None else new_bank[c].clone()
        vectors.append(means[c] if old is None else decay * old + (1 - decay) * means[c])
        new_bank[c] = vectors[-1].detach()
    pixel = class_covariance(torch.stack(vectors))
    text = text_cov[present][:, present]
    if metric == "l1":
        return (pixel - text).abs().mean(), new_bank
    if metric == "l2":
        return (pixel - text).square().mean(), new_bank
    norms = ((pixel.square().sum() + 1e-12) * (text.square().sum() + 1e-12)).sqrt()
    return 1 - (pixel * text).sum() / norms, new_bank


def _cell_weights(mask: Tensor, size: tuple[int, int], mode: str) -> Tensor:
    """Weight of each cell, or of each pixel of upsampled features, for one class's mask."""
    if mode == "bilinear":
        return mask.double()
    (height, width), (h, w) = mask.shape[-2:], size
    weights = torch.zeros(len(mask), h, w, dtype=torch.float64)
    if mode == "nearest":
        rows = torch.linspace(0, height - 1, h).long()
        columns = torch.linspace(0, width - 1, w).long()
        return mask[:, rows][:, :, columns].double()
    for i in range(h):
        top, bottom = math.floor(i * height / h), math.ceil((i + 1) * height / h)
        for j in range(w):
            left, right = math.floor(j * width / w), math.ceil((j + 1) * width / w)
            weights[:, i, j] = mask[:, top:bottom, left:right].double().mean(dim=(1, 2))
    return weights
