"""Segmentation networks: what student and teacher are."""

from .encoder_decoder import EncoderDecoder, build_segmentation_network

__all__ = ["EncoderDecoder", "build_segmentation_network"]
