"""What is predicted of one image."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy import ndarray
from PIL import Image

from ..errors import InputError
from .drawing import blended

IGNORED = 255
UNSAVED = (OSError, ValueError, KeyError)  # of Pillow, for a name or place that cannot be


@dataclass(frozen=True)
class Result:
    """Classes of the pixels of one image.

    Attributes:
        image: (H, W, 3) uint8 RGB, what was predicted.
        mask: (H, W) uint8 train ids; 255 = unsure, where that was asked for.
        confidence: (H, W) float32, the largest soft-max probability, in [0, 1].
        classes: names by train id.
        palette: RGB of each class, 0..255.
    """

    image: ndarray
    mask: ndarray
    confidence: ndarray
    classes: Sequence[str]
    palette: Sequence[Sequence[int]]

    @cached_property
    def shares(self) -> dict[str, float]:
        """Class -> its share of all pixels, in [0, 1]."""
        counts = np.bincount(self.mask.ravel(), minlength=256)
        return {name: float(counts[k]) / self.mask.size for k, name in enumerate(self.classes)}

    def ignore_below(self, confidence: float) -> "Result":
        """The same with 255 where the model is less sure than ``confidence``, in [0, 1]."""
        unsure = self.confidence < confidence
        return replace(self, mask=np.where(unsure, np.uint8(IGNORED), self.mask))

    def overlay(self) -> Image.Image:
        """The image with the colours of its classes laid over it."""
        return Image.fromarray(blended(self.image, self.mask, self.palette))

    def save(self, path: str | Path) -> None:
        """Writes the overlay; the suffix says which format.

        Raises:
            InputError: if the file cannot be written.
        """
        try:
            self.overlay().save(path)
        except UNSAVED as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(
                f"{path} cannot be written ({reason}): give a name such as overlay.png in a folder "
                "that is there"
            ) from error
