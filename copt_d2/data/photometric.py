"""Photometric distortion of 8-bit images (SSD, Liu et al., ECCV 2016)."""

import cv2
import numpy as np
from numpy import ndarray
from numpy.random import Generator

_LEVELS = np.arange(256, dtype=np.float64)
_HUES = 180  # OpenCV's 8-bit hue covers half a degree pairwise: 0..179


def photometric_distortion(image: ndarray, rng: Generator) -> ndarray:
    """Changes brightness, contrast, saturation and hue at random, each with probability 1/2.

    Brightness: added U[-32, 32]. Contrast: times U[0.5, 1.5], before or after the colour changes
    (evens). Saturation: times U[0.5, 1.5]; hue: shifted by -18..18 of 180, both in HSV. Every step
    clips and cuts off to 8 bits. All of it is table look-ups, which keeps it fast.

    Args:
        image: (H, W, 3) uint8 RGB.
        rng: where the choices come from.
    Returns:
        (H, W, 3) uint8 RGB.
    """
    levels = _LEVELS.astype(np.uint8)
    if _coin(rng):
        levels = _clip(levels + rng.uniform(-32, 32))
    contrast = rng.uniform(0.5, 1.5) if _coin(rng) else 1.0
    contrast_first = _coin(rng)
    if contrast_first:
        levels = _clip(levels * contrast)
    image = cv2.LUT(image, levels)
    saturation = rng.uniform(0.5, 1.5) if _coin(rng) else 1.0
    hue = int(rng.integers(-18, 19)) if _coin(rng) else 0
    if saturation != 1.0 or hue != 0:
        image = _shift_colors(image, saturation, hue)
    if contrast != 1.0 and not contrast_first:
        image = cv2.LUT(image, _clip(_LEVELS * contrast))
    return image


def _shift_colors(image: ndarray, saturation: float, hue: int) -> ndarray:
    hues = np.where(_LEVELS < _HUES, (_LEVELS + hue) % _HUES, _LEVELS)
    table = np.stack([hues, _clip(_LEVELS * saturation), _LEVELS], axis=-1).astype(np.uint8)
    hsv = cv2.LUT(cv2.cvtColor(image, cv2.COLOR_RGB2HSV), table[None])
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


def _clip(levels: ndarray) -> ndarray:
    return np.clip(levels, 0, 255).astype(np.uint8)


def _coin(rng: Generator) -> bool:
    return bool(rng.random() < 0.5)
