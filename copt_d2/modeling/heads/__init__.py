"""Decoders, in detectron2's SEM_SEG_HEADS_REGISTRY."""

from .daformer import DAFormerHead

__all__ = ["DAFormerHead"]
