"""ClassMix (Olsson et al., WACV 2021) as DAFormer uses it: classes are drawn from the whole
batch.
"""

import torch
from torch import Tensor

LABEL_VALUES = 256


def class_mix_masks(labels: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Draws, for each image, the pixels that its mixed image takes from the source.

    Of the n label values that occur in the batch (255 counts as one of them), ceil(n / 2) are drawn
    without replacement, independently per image. Nothing waits for the device: the draw ranks
    random scores.

    Args:
        labels: (N, H, W) int64 source labels in [0, 255].
        generator: source of randomness; ``None`` = torch's default generator of the labels' device.
    Returns:
        (N, 1, H, W) bool, True where the pixel comes from the source image.
    """
    batch = labels.shape[0]
    flat = labels.reshape(batch, -1).long()
    present = torch.zeros(LABEL_VALUES, dtype=torch.bool, device=labels.device)
    present = present.scatter(0, flat.flatten(), torch.ones_like(flat.flatten(), dtype=torch.bool))
    device = labels.device if generator is None else generator.device
    scores = torch.rand(batch, LABEL_VALUES, generator=generator, device=device).to(labels.device)
    ranks = torch.where(present, scores, 2.0).argsort(dim=1).argsort(dim=1)
    chosen = ranks < (present.sum() + 1) // 2
    return chosen.gather(1, flat).reshape(labels.shape).unsqueeze(1)


def mix(mask: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """Source where the mask is set, target elsewhere.

    Args:
        mask: (N, 1, H, W), 1 = source.
        source: (N, C, H, W) images or (N, H, W) labels or weights.
        target: the same shape as ``source``.
    Returns:
        The mixture, in the shape of ``source``.
    """
    if source.dim() == mask.dim() - 1:
        mask = mask.squeeze(1)
    return torch.where(mask.bool(), source, target)
