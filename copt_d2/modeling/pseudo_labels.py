"""Teacher logits -> pseudo-labels and their weight."""

from torch import Tensor

from ..structures import PseudoLabels
from .across_processes import process_mean


def make_pseudo_labels(
    logits: Tensor,
    threshold: float,
    *,
    valid: Tensor | None = None,
    ignore_top: int = 0,
    ignore_bottom: int = 0,
) -> PseudoLabels:
    """Labels by arg-max; one weight for the batch of all processes: its share of confident pixels.

    (DACS, and DAFormer after it.)

    Args:
        logits: (N, K, H, W) teacher logits at image size.
        threshold: softmax probability from which a pixel counts as confident, in [0, 1].
        valid: (N, H, W), 0 where pseudo-labels get no weight (image borders); ``None`` = all count.
        ignore_top: rows at the top of every crop that get no weight.
        ignore_bottom: rows at the bottom of every crop that get no weight.
    Returns:
        Labels (N, H, W) int64 without 255 and weights (N, H, W) float32 in [0, 1].
    Raises:
        ValueError: if ``threshold`` lies outside [0, 1].
    """
    if not 0 <= threshold <= 1:
        raise ValueError(f"the pseudo-label threshold must lie in [0, 1], not {threshold}")
    confidence, labels = logits.float().softmax(dim=1).max(dim=1)
    share = process_mean((confidence >= threshold).float().mean())
    weights = share.expand(labels.shape).clone()
    if valid is not None:
        weights = weights * valid
    weights[:, :ignore_top] = 0
    weights[:, max(weights.shape[1] - ignore_bottom, 0) :] = 0
    return PseudoLabels(labels, weights)
