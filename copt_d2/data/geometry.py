"""Resize, crop and flip as one value: drawn once, applied to an image, its labels and margins."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy import ndarray
from numpy.random import Generator

Size = tuple[int, int]


@dataclass(frozen=True)
class Geometry:
    """What happens to one stored image.

    Attributes:
        stored: (h, w) of the file.
        resized: (h, w) after the resize.
        box: (y1, y2, x1, x2), the crop in pixels of the resized image.
        flip: whether the crop is mirrored left to right.
    """

    stored: Size
    resized: Size
    box: tuple[int, int, int, int]
    flip: bool

    def source_rows(self) -> ndarray:
        """(crop height,) stored row of each row of the crop, by OpenCV's nearest rule."""
        return _nearest(self.stored[0], self.resized[0], self.box[0], self.box[1])

    def source_columns(self) -> ndarray:
        """(crop width,) stored column of each column of the crop, in mirrored order if ``flip``."""
        columns = _nearest(self.stored[1], self.resized[1], self.box[2], self.box[3])
        return columns[::-1] if self.flip else columns

    def apply_to_image(self, image: ndarray) -> ndarray:
        """(H, W, 3) uint8 -> (h, w, 3): OpenCV's bilinear (half-pixel centres, no antialias)."""
        if self.resized != self.stored:
            image = cv2.resize(image, self.resized[::-1], interpolation=cv2.INTER_LINEAR)
        y1, y2, x1, x2 = self.box
        crop = image[y1:y2, x1:x2]
        return mirrored(crop) if self.flip else np.ascontiguousarray(crop)

    def apply_to_labels(self, labels: ndarray) -> ndarray:
        """(H, W) -> (h, w), contiguous, nearest. Looks up the crop's pixels only."""
        rows = self.source_rows()
        first = rows[0]
        return labels[first : rows[-1] + 1].take(self.source_columns(), axis=1)[rows - first]


def mirrored(pixels: ndarray) -> ndarray:
    """(H, W, ...) with left and right exchanged, contiguous."""
    # a copy in any case: for numpy, a single column is contiguous with a negative stride, too,
    # and torch takes none
    return pixels[:, ::-1].copy()


def resized_size(stored: Size, box: tuple[int, ...], scale: float = 1.0) -> Size:
    """Size of an image fitted into a box with its aspect kept.

    Args:
        stored: (h, w).
        box: two side lengths, the longer one is for the image's longer side; one = the short side;
            () = the stored size.
        scale: factor on the box.
    Returns:
        (h, w), each at least 1.
    """
    factor = scale
    if len(box) == 1:
        factor *= box[0] / min(stored)
    elif box:
        factor *= min(max(box) / max(stored), min(box) / min(stored))
    return max(1, int(stored[0] * factor + 0.5)), max(1, int(stored[1] * factor + 0.5))


def draw_crop(rng: Generator, size: Size, crop: Size) -> tuple[int, int, int, int]:
    """Box (y1, y2, x1, x2), uniform over all positions; the whole side of a smaller image."""
    height, width = min(size[0], crop[0]), min(size[1], crop[1])
    top = int(rng.integers(size[0] - height + 1))
    left = int(rng.integers(size[1] - width + 1))
    return top, top + height, left, left + width


@dataclass(frozen=True)
class CropRule:
    """How training images are resized, cropped and flipped.

    Attributes:
        resize: box of `resized_size`; () = as stored.
        scale_range: bounds of a uniform factor on the box.
        crop: (h, w); ``None`` = the whole image.
        flip: whether half of the crops are mirrored.
    """

    resize: tuple[int, ...]
    scale_range: tuple[float, float]
    crop: Size | None
    flip: bool

    def draw_size(self, rng: Generator, stored: Size) -> Size:
        """Draws the (h, w) that an image of (h, w) ``stored`` is resized to."""
        return resized_size(stored, self.resize, rng.uniform(*self.scale_range))

    def draw_box(self, rng: Generator, size: Size) -> tuple[int, int, int, int]:
        """Draws the crop of an image of (h, w) ``size``."""
        return draw_crop(rng, size, self.crop or size)

    def draw_flip(self, rng: Generator) -> bool:
        """Draws whether the crop is mirrored."""
        return self.flip and bool(rng.random() < 0.5)


def _nearest(stored: int, resized: int, start: int, stop: int) -> ndarray:
    # floor(i * stored / resized), with the two roundings that OpenCV's own code has
    step = 1.0 / (resized / stored)
    return np.minimum((np.arange(start, stop) * step).astype(np.int64), stored - 1)
