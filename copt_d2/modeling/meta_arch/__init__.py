"""The meta-architecture of unsupervised domain adaptation."""

from .uda_segmentor import UDASegmentor

__all__ = ["UDASegmentor"]
