"""Encoders: detectron2 backbones with the outputs res2..res5 (strides 4, 8, 16, 32)."""

from .timm_features import TimmBackbone, build_timm_backbone

__all__ = ["TimmBackbone", "build_timm_backbone"]
