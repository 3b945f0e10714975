"""Encoders: detectron2 backbones with the outputs res2..res5 (strides 4, 8, 16, 32)."""

from .mix_transformer import MixTransformer, build_mit_backbone
from .timm_features import TimmBackbone, build_timm_backbone

__all__ = ["MixTransformer", "TimmBackbone", "build_mit_backbone", "build_timm_backbone"]
