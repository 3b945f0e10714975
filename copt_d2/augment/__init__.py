"""Batch-level augmentation on the device: ClassMix, colour jitter and blur, patch masks."""

from .class_mix import class_mix_masks, mix
from .patch_mask import patch_mask
from .strong import color_jitter, draw_strong, gaussian_blur, strong_augment

__all__ = [
    "class_mix_masks",
    "color_jitter",
    "draw_strong",
    "gaussian_blur",
    "mix",
    "patch_mask",
    "strong_augment",
]
