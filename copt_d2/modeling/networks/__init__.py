"""Segmentation networks: what student and teacher are."""

from .build import build_segmentation_network
from .encoder_decoder import EncoderDecoder
from .hrda import HRDA

__all__ = ["HRDA", "EncoderDecoder", "build_segmentation_network"]
