"""Colours of classes over an image, and a legend in its corner."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy import ndarray

OPACITY = 0.5
FONT = cv2.FONT_HERSHEY_SIMPLEX
PAPER, INK = (255, 255, 255), (0, 0, 0)
LARGEST_ROW, SMALLEST_ROW = 20, 9  # pixels; smaller letters cannot be read
MOST = 0.5  # of the picture's width that a legend may cover

Palette = Sequence[Sequence[int]]


def color_table(palette: Palette) -> ndarray:
    """(256, 3) uint8 RGB of all train ids; what no class has is black."""
    table = np.zeros((256, 3), dtype=np.uint8)
    table[: len(palette)] = np.asarray(palette, dtype=np.uint8).reshape(-1, 3)
    return table


def blended(image: ndarray, mask: ndarray, palette: Palette) -> ndarray:
    """(H, W, 3) uint8 RGB, half image and half colours; the image alone where the mask is 255."""
    colors = color_table(palette)[mask]
    mixed = cv2.addWeighted(image, 1 - OPACITY, colors, OPACITY, 0)
    ignored = mask >= len(palette)
    if ignored.any():
        mixed[ignored] = image[ignored]
    return mixed


class Legend:
    """Names and colours of the classes, drawn once, then put into the lower left corner.

    Without room for it, in very small pictures, there is none.
    """

    def __init__(self, height: int, width: int, classes: Sequence[str], palette: Palette) -> None:
        self.block = _drawn(height, width, classes, palette)

    def put_into(self, picture: ndarray) -> None:
        """Draws into (height, width, 3) uint8 RGB, in place."""
        if self.block is None:
            return
        height, width = self.block.shape[:2]
        corner = picture[-height:, :width]
        corner[:] = cv2.addWeighted(corner, 0.2, self.block, 0.8, 0)


def _drawn(height: int, width: int, classes: Sequence[str], palette: Palette) -> ndarray | None:
    """(h, w, 3) uint8 RGB in as few columns as fit."""
    names = [_letters(name) for name in classes]
    for row in range(min(LARGEST_ROW, max(SMALLEST_ROW, height // 24)), SMALLEST_ROW - 1, -1):
        rows = (height - 2) // row
        if rows < 1:
            continue
        columns = -(-len(names) // rows)
        rows = -(-len(names) // columns)
        scale = 0.022 * row
        sizes = [cv2.getTextSize(name, FONT, scale, 1)[0][0] for name in names]
        column = max(sizes) + 2 * row
        if columns * column <= MOST * width:
            block = np.full((rows * row + 2, columns * column, 3), PAPER, np.uint8)
            for k, name in enumerate(names):
                x, y = k // rows * column, k % rows * row + 1
                color = tuple(int(part) for part in palette[k])
                cv2.rectangle(block, (x + 2, y + 1), (x + row, y + row - 2), color, -1)
                place = (x + row + 4, y + row - max(2, row // 4))
                cv2.putText(block, name, place, FONT, scale, INK, 1, cv2.LINE_AA)
            return block
    return None


def _letters(name: str) -> str:
    # OpenCV's font has no others
    return name.encode("ascii", "replace").decode()
