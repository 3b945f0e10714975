"""Losses of the method; those on encoder features stand in ``LOSS_REGISTRY``."""

from .base import LOSS_REGISTRY, FeatureLoss, build_feature_losses
from .copt import CoPTLoss
from .cross_entropy import cross_entropy
from .feature_distance import FeatureDistanceLoss, feature_distance

__all__ = [
    "LOSS_REGISTRY",
    "CoPTLoss",
    "FeatureDistanceLoss",
    "FeatureLoss",
    "build_feature_losses",
    "cross_entropy",
    "feature_distance",
]
