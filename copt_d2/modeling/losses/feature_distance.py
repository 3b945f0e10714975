"""Distance of the student's features to those of the frozen ImageNet encoder (DAFormer)."""

import copy
import logging
from collections.abc import Sequence
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import Backbone
from torch import Tensor, nn

from ...structures import IGNORE_INDEX, SegOutput
from ..across_processes import process_mean
from .base import LOSS_REGISTRY, FeatureLoss, require_map, training_metadata

logger = logging.getLogger("copt_d2.feature_distance")

# labels are uint8 values widened to int64, so one histogram bin for each holds any class count; the
# bin of the ignored label is the last and thereby loses ties, as an additional class K would
LABEL_VALUES = 256


def feature_distance(
    features: Tensor,
    frozen_features: Tensor,
    labels: Tensor,
    classes: Sequence[int] | Tensor,
    min_ratio: float = 0.75,
) -> Tensor:
    """Mean L2 distance to frozen features over the cells of thing classes (DAFormer).

    A cell counts if its most frequent class is one of ``classes`` and holds at least ``min_ratio``
    of its pixels. Cell (i, j) covers rows i·s .. (i+1)·s - 1 with s = H // h, columns likewise with
    W // w; labels that are left over at the bottom and the right when H is no multiple of h are not
    used.

    Args:
        features: (N, C, h, w) float; differentiable.
        frozen_features: (N, C, h, w); no gradient.
        labels: (N, H >= h, W >= w) integer train ids; values outside [0, 255) are ignored pixels.
        classes: train ids whose cells count.
        min_ratio: share of its cell that a class must reach, in [0, 1].

    Returns:
        () float32, >= 0 (float64 for float64 features). Exactly 0 with zero gradient where no cell
        counts; a cell with zero distance passes zero gradient.

    Raises:
        ValueError: if the shapes do not fit.
    """
    if features.dim() != 4 or features.shape != frozen_features.shape:
        raise ValueError(
            "features and frozen features must both be (N, C, h, w), "
            f"got {tuple(features.shape)} and {tuple(frozen_features.shape)}"
        )
    if features.element_size() < 4:
        features = features.float()
    counted = _dominant_cells(labels, features.shape, classes, min_ratio)  # (N, h, w)
    # masked before the norm: its gradient at 0 is 0, and a NaN in another cell stays out
    difference = torch.where(counted[:, None], features - frozen_features.detach(), 0)
    distance = torch.linalg.vector_norm(difference, dim=1)
    # with several processes the mean runs over the cells of all of them
    cells = process_mean(counted.sum().to(distance.dtype))
    return distance.sum() / torch.where(cells > 0, cells, 1)


def _dominant_cells(
    labels: Tensor, shape: torch.Size, classes: Sequence[int] | Tensor, min_ratio: float
) -> Tensor:
    """Cells (N, h, w) bool whose most frequent label is one of ``classes`` and frequent enough."""
    n, _, h, w = shape
    if labels.dim() != 3 or len(labels) != n or labels.shape[1] < h or labels.shape[2] < w:
        raise ValueError(
            f"labels {tuple(labels.shape)} must be (N, H, W) and no smaller than "
            f"features {tuple(shape)}"
        )
    rows, columns = labels.shape[1] // h, labels.shape[2] // w
    cells = labels[:, : h * rows, : w * columns].long()
    cells = cells.reshape(n, h, rows, w, columns).transpose(2, 3).reshape(n, h, w, rows * columns)
    outside = (cells < 0) | (cells >= LABEL_VALUES)
    cells = cells.masked_fill(outside, IGNORE_INDEX)
    counts = cells.new_zeros(n, h, w, LABEL_VALUES)
    counts.scatter_add_(3, cells, torch.ones_like(cells[..., :1]).expand_as(cells))
    most, winner = counts.max(dim=3)
    wanted = torch.as_tensor(classes, dtype=torch.long, device=labels.device)
    of_class = (winner[..., None] == wanted).any(dim=3) & (winner != IGNORE_INDEX)
    return of_class & (most >= min_ratio * rows * columns)


@LOSS_REGISTRY.register()
class FeatureDistanceLoss(FeatureLoss):
    """``feature_distance`` of the last encoder stage to a frozen encoder on the same images.

    Args:
        frozen_encoder: images (N, 3, H, W) -> dict with "res5". Frozen here for good: evaluation
            mode, no gradients.
        classes: train ids whose cells count.
        weight: factor of the loss.
        min_ratio: share of its cell that a class must reach.
    """

    key = "feature_distance"
    features_suffice = True

    @configurable
    def __init__(
        self,
        frozen_encoder: nn.Module,
        *,
        classes: Sequence[int],
        weight: float = 0.005,
        min_ratio: float = 0.75,
    ) -> None:
        super().__init__()
        self.frozen_encoder = frozen_encoder.eval().requires_grad_(False)
        self.weight = weight
        self.min_ratio = min_ratio
        # a buffer, so that the list travels to the device once
        self.register_buffer("classes", torch.tensor(list(classes)).long(), persistent=False)

    @classmethod
    def from_config(cls, cfg: CfgNode, *, encoder: Backbone) -> dict[str, Any]:
        """Arguments from ``MODEL.UDA.FEATURE_DISTANCE``; default: the data's thing classes."""
        require_map(encoder, "res5", cls.__name__)
        options = cfg.MODEL.UDA.FEATURE_DISTANCE
        classes = options.CLASSES or training_metadata(
            cfg, "thing_train_ids", "MODEL.UDA.FEATURE_DISTANCE.CLASSES"
        )
        if not classes:
            logger.warning(
                "the training data has no thing classes and MODEL.UDA.FEATURE_DISTANCE.CLASSES is "
                "empty: the loss of the feature distance stays 0; name some, or take "
                "FeatureDistanceLoss out of MODEL.UDA.FEATURE_LOSSES"
            )
        return {
            "frozen_encoder": copy.deepcopy(encoder),
            "classes": classes,
            "weight": options.WEIGHT,
            "min_ratio": options.MIN_RATIO,
        }

    def train(self, mode: bool = True) -> "FeatureDistanceLoss":
        """Sets the mode of this module; the frozen encoder stays in evaluation mode."""
        super().train(mode)
        self.frozen_encoder.eval()
        return self

    def forward(self, features: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        """Unweighted loss () of student features (N, C, h, w), images and labels (N, H, W)."""
        with torch.no_grad():
            frozen = self.frozen_encoder(images)["res5"]
        return feature_distance(features, frozen, labels, self.classes, self.min_ratio)

    def on_output(self, output: SegOutput, labels: Tensor) -> Tensor:
        """The weighted loss (), see ``FeatureLoss.on_output``."""
        return self.weight * self(output.features["res5"], output.images, labels)
