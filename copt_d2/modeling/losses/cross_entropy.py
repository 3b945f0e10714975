"""Segmentation loss of a head."""

import torch.nn.functional as F
from torch import Tensor


def cross_entropy(
    logits: Tensor, labels: Tensor, weights: Tensor | None = None, ignore_index: int = 255
) -> Tensor:
    """Weighted cross-entropy at label size, divided by the number of *all* pixels (DAFormer).

    The divisor counts ignored pixels and pixels of weight 0 too: (1 / NHW) Σ w · [y ≠ 255] · CE.

    Args:
        logits: (N, K, h, w) float, resized bilinearly (``align_corners=False``) to label size.
        labels: (N, H, W) int64 or uint8 in [0, K) or ``ignore_index``.
        weights: (N, H, W) float, >= 0; ``None`` = 1 everywhere.
        ignore_index: label that contributes nothing.

    Returns:
        () float32 (float64 for float64 logits).

    Raises:
        ValueError: if the shapes do not fit.
    """
    if labels.dim() != 3 or logits.dim() != 4 or labels.shape[0] != logits.shape[0]:
        raise ValueError(
            "cross_entropy needs logits (N, K, h, w) and labels (N, H, W), "
            f"got {tuple(logits.shape)} and {tuple(labels.shape)}"
        )
    if weights is not None and weights.shape != labels.shape:
        raise ValueError(
            f"weights {tuple(weights.shape)} must have the shape of labels {tuple(labels.shape)}"
        )
    if logits.element_size() < 4:
        logits = logits.float()
    if logits.shape[2:] != labels.shape[1:]:
        logits = F.interpolate(logits, labels.shape[1:], mode="bilinear", align_corners=False)
    reduction = "sum" if weights is None else "none"
    loss = F.cross_entropy(logits, labels.long(), ignore_index=ignore_index, reduction=reduction)
    if weights is not None:
        loss = (loss * weights.to(loss.dtype)).sum()
    return loss / max(labels.numel(), 1)
