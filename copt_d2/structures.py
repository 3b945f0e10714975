"""What travels between the parts: plain containers without methods that compute.

Shapes: N images, K classes, C channels, (H, W) image and label size. Boxes are (y1, y2, x1, x2) in
    image pixels.
"""

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

Box = tuple[int, int, int, int]

IGNORE_INDEX = 255  # label of pixels that count nowhere


@dataclass
class DomainBatch:
    """Images of one domain.

    Attributes:
        images: (N, 3, H, W) float32, normalised.
        labels: (N, H, W) int64 train ids, 255 = ignored; ``None`` for the target domain.
        valid: (N, H, W), 1 where a pseudo-label may be trusted, else 0; ``None`` = everywhere.
    """

    images: Tensor
    labels: Tensor | None = None
    valid: Tensor | None = None


class PseudoLabels(NamedTuple):
    """What the teacher says of the target images; unpacks into ``labels, weights``.

    Attributes:
        labels: (N, H, W) int64 train ids, never 255.
        weights: (N, H, W) float32 in [0, 1].
    """

    labels: Tensor
    weights: Tensor


@dataclass
class SegOutput:
    """What a segmentation network returns.

    Attributes:
        logits: (N, K, H/4, W/4); ``None`` where only the encoder ran.
        detail_logits: (N, K, h/4, w/4) logits of the detail crop (HRDA), else ``None``.
        box: the detail crop's box, else ``None``.
        features: res2..res5 of the context branch (HRDA) or of the image.
        images: what ``features`` were computed from, (N, 3, h, w).
    """

    logits: Tensor | None
    detail_logits: Tensor | None = None
    box: Box | None = None
    features: dict[str, Tensor] | None = None
    images: Tensor | None = None


@dataclass
class StrongDraw:
    """Random choices of one image's colour jitter and blur (self-training augmentation).

    Attributes:
        factors: brightness, contrast, saturation factors and hue shift in turns; ``None`` = no
            jitter.
        order: order of the four operations, a permutation of (0, 1, 2, 3) in the order of
            ``factors``.
        sigma: standard deviation of the blur in pixels; ``None`` = no blur.
    """

    factors: tuple[float, float, float, float] | None = None
    order: tuple[int, int, int, int] = (0, 1, 2, 3)
    sigma: float | None = None


@dataclass
class StepDraws:
    """Random choices of one iteration, for replay; ``None`` = drawn by the model.

    Attributes:
        source_box: detail crop of the source pass (HRDA).
        mixed_box: detail crop of the mixed pass (HRDA).
        masked_box: detail crop of the masked pass (HRDA).
        mix_masks: (N, 1, H, W) bool, True = source pixel (ClassMix).
        mixed_strong: N draws for the mixed images.
        masked_strong: N draws for the masked images.
        patch_mask: (N, 1, H, W), 1 = visible (MIC).
    """

    source_box: Box | None = None
    mixed_box: Box | None = None
    masked_box: Box | None = None
    mix_masks: Tensor | None = None
    mixed_strong: list[StrongDraw] | None = None
    masked_strong: list[StrongDraw] | None = None
    patch_mask: Tensor | None = None
