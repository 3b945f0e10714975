"""Pictures of label maps: a sheet of images and maps with a legend."""

from collections.abc import Iterable, Sequence

import cv2
import numpy as np

FONT, LINE = cv2.FONT_HERSHEY_SIMPLEX, 18
LEGEND_WIDTH = 170
HIGHEST = 3  # a picture that is higher, measured in widths of its column, is drawn narrower
BLACK, WHITE = (0, 0, 0), (255, 255, 255)


def colour_map(labels: np.ndarray, palette: Sequence[Sequence[int]]) -> np.ndarray:
    """(H, W) train ids -> (H, W, 3) uint8 RGB; what lies outside the palette (255) is black."""
    table = np.zeros((256, 3), dtype=np.uint8)
    table[: len(palette)] = np.asarray(palette, dtype=np.uint8)
    return table[labels]


def legend(height: int, names: Sequence[str], palette: Sequence[Sequence[int]]) -> np.ndarray:
    """Class colours and names below each other, (height, LEGEND_WIDTH, 3) uint8; at least as high
    as it needs.
    """
    canvas = np.full((max(height, LINE * (len(names) + 2)), LEGEND_WIDTH, 3), 255, dtype=np.uint8)
    for row, (name, colour) in enumerate([*zip(names, palette, strict=True), ("ignored", BLACK)]):
        top = 6 + row * LINE
        cv2.rectangle(canvas, (8, top), (26, top + 12), tuple(int(c) for c in colour), -1)
        cv2.putText(canvas, name, (32, top + 11), FONT, 0.42, BLACK, 1, cv2.LINE_AA)
    return canvas


def _title_bar(titles: Sequence[str], width: int) -> np.ndarray:
    bar = np.full((24, width * len(titles), 3), 255, dtype=np.uint8)
    for column, title in enumerate(titles):
        cv2.putText(bar, title, (column * width + 6, 17), FONT, 0.5, BLACK, 1, cv2.LINE_AA)
    return bar


def _fitted(
    tiles: Sequence[np.ndarray], width: int, palette: Sequence[Sequence[int]]
) -> np.ndarray:
    """The tiles of a row, of one size, side by side in columns of one width."""
    height, own_width = tiles[0].shape[:2]
    scale = min(width / own_width, HIGHEST * width / height)
    size = max(1, round(own_width * scale)), max(1, round(height * scale))
    columns = []
    for tile in tiles:
        is_photograph = tile.ndim == 3
        picture = tile if is_photograph else colour_map(tile, palette)
        # label colours must not be blended
        mode = cv2.INTER_AREA if is_photograph else cv2.INTER_NEAREST
        picture = cv2.resize(picture, size, interpolation=mode)
        columns.append(
            cv2.copyMakeBorder(
                *(picture, 0, 0, 0, width - size[0]), cv2.BORDER_CONSTANT, value=WHITE
            )
        )
    return np.hstack(columns)


def prediction_sheet(
    rows: Iterable[Sequence[np.ndarray]],
    titles: Sequence[str],
    names: Sequence[str],
    palette: Sequence[Sequence[int]],
    width: int = 320,
) -> np.ndarray:
    """Images and label maps side by side, one row per scene, with titles and a legend.
    Images of any shape fit: very high ones are drawn narrower than their column.

    In maps of a row whose last map is the ground truth, nothing is hidden: predictions on ignored
    pixels are shown.

    Args:
        rows: per scene one array per column: (H, W, 3) uint8 RGB images or (H, W) train ids.
        titles: one per column.
        names: class names.
        palette: RGB of each class.
        width: of a column in pixels.
    Returns:
        (h, w, 3) uint8 RGB.
    """
    lines = [_fitted(row, width, palette) for row in rows]
    body = np.vstack([_title_bar(titles, width), *lines])
    side = legend(len(body), names, palette)
    missing = len(side) - len(body)
    body = cv2.copyMakeBorder(body, 0, missing, 0, 0, cv2.BORDER_CONSTANT, value=WHITE)
    return np.hstack([body, side])
