"""CoPT's loss: class centroids of pixel features covary as the class texts do (Eqs. 6-10)."""

from typing import Any

import torch
from copt_kernels import class_covariance, class_sums, covariance_loss, pooled_covariance_loss
from detectron2.config import CfgNode, configurable
from detectron2.modeling import Backbone
from torch import Tensor

from ...errors import InputError
from ...structures import SegOutput
from ..across_processes import process_count, sum_over_processes
from ..text_bank import load_text_bank
from .base import LOSS_REGISTRY, FeatureLoss, require_map, training_metadata


@LOSS_REGISTRY.register()
class CoPTLoss(FeatureLoss):
    """Covariance loss between class centroids, kept in a memory bank, and class texts (CoPT).

    Differs from the released code: the centroid of a class that occurs in several images is the
    mean of its cells (the released code mixes channels there), and the memory bank is a buffer,
    saved and resumed.

    Args:
        text_embeddings: (K, D >= 2) float, one row per class; frozen.
        channels: C, channels of the features.
        decay: share of the bank's old value in an update, in [0, 1); 0 = no memory.
        metric: "cosine", "l1" or "l2", between the two covariances.
        pooling: "nearest", "area" or "bilinear", see ``copt_kernels.class_means``.
        bank_init: "zeros": updates start from 0 (released code); "first": a class's first update
            copies its centroid, with the full gradient instead of (1 - decay) of it.
        weight: factor of the loss in ``on_output``.
        sync_class_features: with several processes, centroids and memory bank are those of the
            whole batch.

    Attributes:
        memory_bank: (K, C) float32; a row of zeros has not been updated. Changed by ``forward`` in
            training mode only.

    Raises:
        InputError: if an argument lies outside what is listed above; names its config key.
    """

    key = "copt"
    features_suffice = True

    @configurable
    def __init__(
        self,
        text_embeddings: Tensor,
        *,
        channels: int = 512,
        decay: float = 0.5,
        metric: str = "cosine",
        pooling: str = "nearest",
        bank_init: str = "zeros",
        weight: float = 1.0,
        sync_class_features: bool = True,
    ) -> None:
        super().__init__()
        _check_choice("metric", metric, ("cosine", "l1", "l2"))
        _check_choice("pooling", pooling, ("nearest", "area", "bilinear"))
        _check_choice("bank_init", bank_init, ("zeros", "first"))
        if not 0.0 <= decay < 1.0:
            raise InputError(f"MODEL.COPT.DECAY must lie in [0, 1), got {decay}")
        text = text_embeddings.detach().float().clone()
        # rows are centred independently, so the covariance of the present classes is a part of this
        # one
        self.register_buffer("text_embeddings", text, persistent=False)
        self.register_buffer("text_covariance", class_covariance(text), persistent=False)
        self.register_buffer("memory_bank", torch.zeros(len(text), channels))
        self.decay = decay
        self.metric = metric
        self.pooling = pooling
        self.bank_init = bank_init
        self.weight = weight
        self.sync_class_features = sync_class_features

    @classmethod
    def from_config(cls, cfg: CfgNode, *, encoder: Backbone) -> dict[str, Any]:
        """Arguments from ``MODEL.COPT``; the class names are by default the training data set's."""
        require_map(encoder, "res5", cls.__name__)
        options = cfg.MODEL.COPT
        names = options.CLASS_NAMES or training_metadata(
            cfg, "stuff_classes", "MODEL.COPT.CLASS_NAMES"
        )
        classes = cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES
        if len(names) != classes:
            raise InputError(
                f"MODEL.COPT.CLASS_NAMES: {len(names)} names for MODEL.SEM_SEG_HEAD.NUM_CLASSES = "
                f"{classes}; make them equal"
            )
        return {
            "text_embeddings": load_text_bank(options.TEXT_BANK, names),
            "channels": encoder.output_shape()["res5"].channels,
            "decay": options.DECAY,
            "metric": options.METRIC,
            "pooling": options.POOLING,
            "bank_init": options.BANK_INIT,
            "weight": options.WEIGHT,
            "sync_class_features": options.SYNC_CLASS_FEATURES,
        }

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Unweighted loss; updates the memory bank in training mode.

        Args:
            features: (N, C, h, w) float, last encoder stage; differentiable.
            labels: (N, H, W) or (N, 1, H, W) uint8, int32 or int64 train ids, 255 = ignored.

        Returns:
            () float32; 0 with zero gradient where no class is present.
        """
        bank = None if self.decay == 0.0 else self.memory_bank
        options = {"decay": self.decay, "metric": self.metric}
        if torch.float64 in (features.dtype, self.memory_bank.dtype):
            features = features.to(self.memory_bank.dtype)
        if self.bank_init == "first" or (self.sync_class_features and process_count() > 1):
            means, mass = self._centroids(features, labels, bank)
            loss, new_bank = covariance_loss(means, mass, self.text_covariance, bank, **options)
        else:
            loss, new_bank = pooled_covariance_loss(
                features, labels, self.text_covariance, bank, mode=self.pooling, **options
            )
        if self.training and bank is not None:
            with torch.no_grad():
                self.memory_bank.copy_(new_bank)
        return loss

    def _centroids(
        self, features: Tensor, labels: Tensor, bank: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Centroids (K, C) and mass (K,), summed over the processes before the division."""
        sums, mass = class_sums(features, labels, len(self.memory_bank), mode=self.pooling)
        if self.sync_class_features:
            sums, mass = sum_over_processes(sums), sum_over_processes(mass)
        means = sums / torch.where(mass > 0, mass, 1)[:, None]
        if bank is not None and self.bank_init == "first":
            # 0 · decay + (1 - decay) · means / (1 - decay): a row that is still 0 becomes the
            # centroid
            unseen = (bank == 0).all(dim=1, keepdim=True)
            means = torch.where(unseen, means / (1 - self.decay), means)
        return means, mass

    def on_output(self, output: SegOutput, labels: Tensor) -> Tensor:
        """The weighted loss (), see ``FeatureLoss.on_output``."""
        return self.weight * self(output.features["res5"], labels)


def _check_choice(argument: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(
            f"MODEL.COPT.{argument.upper()} must be one of {', '.join(choices)}, got {value!r}"
        )
