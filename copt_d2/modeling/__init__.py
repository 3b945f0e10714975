"""Networks, losses and the meta-architecture; importing it fills detectron2's registries."""

from . import losses, pseudo_labels, sliding_window, teacher, text_bank
from .backbone import MixTransformer, TimmBackbone
from .heads import DAFormerHead
from .meta_arch import UDASegmentor
from .networks import HRDA, EncoderDecoder, build_segmentation_network

__all__ = [
    "HRDA",
    "DAFormerHead",
    "EncoderDecoder",
    "MixTransformer",
    "TimmBackbone",
    "UDASegmentor",
    "build_segmentation_network",
    "losses",
    "pseudo_labels",
    "sliding_window",
    "teacher",
    "text_bank",
]
