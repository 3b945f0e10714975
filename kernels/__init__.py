"""Class statistics of feature maps as linear algebra: centroids, covariances, CoPT's loss."""

from .class_covariance import (
    class_covariance,
    class_means,
    class_sums,
    covariance_loss,
    pooled_covariance_loss,
)

__all__ = [
    "class_covariance",
    "class_means",
    "class_sums",
    "covariance_loss",
    "pooled_covariance_loss",
]
