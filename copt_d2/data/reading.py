"""Image and label files -> arrays."""

from pathlib import Path

import cv2
import numpy as np
from numpy import ndarray
from PIL import Image

from ..errors import InputError

_JPEG_START, _JPEG_SCAN, _JPEG_END = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"


def read_image(path: str | Path) -> ndarray:
    """Reads a photograph.

    Returns:
        (H, W, 3) uint8 RGB.
    Raises:
        InputError: if the file is missing, no image, or truncated.
    """
    data = _read_bytes(path)
    image = None if _is_cut_jpeg(data) else _decode(data)
    if image is None:
        raise InputError(f"image {path} cannot be decoded, or is cut off: fetch it again")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def read_train_ids(path: str | Path, table: ndarray) -> ndarray:
    """Reads a label file and maps its values to train ids.

    Args:
        path: 8-bit PNG, grey or with a palette; of a palette the index counts, never the colour.
        table: (256,) uint8, stored value -> train id, 255 = ignored.
    Returns:
        (H, W) uint8 train ids.
    Raises:
        InputError: if the file is missing, no such PNG, or truncated.
    """
    try:
        with Image.open(path) as image:
            image.load()
            mode, values = image.mode, np.asarray(image)
    except FileNotFoundError:
        raise InputError(f"label file {path} does not exist") from None
    except (OSError, SyntaxError, ValueError) as error:  # what PIL raises on damaged files
        raise InputError(
            f"label file {path} cannot be decoded, or is cut off ({error}): fetch it again"
        ) from None
    if mode not in ("L", "P"):
        raise InputError(
            f"label file {path} is of PIL mode {mode}; needed is an 8-bit PNG with one channel"
        )
    return cv2.LUT(values, table)


def _read_bytes(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"image {path} cannot be read: {error.strerror}") from None


def _is_cut_jpeg(data: bytes) -> bool:
    # Some OpenCV versions fill the missing part with grey. A scan never holds the end marker.
    return data.startswith(_JPEG_START) and data.rfind(_JPEG_END) < data.rfind(_JPEG_SCAN)


def _decode(data: bytes) -> ndarray | None:
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:  # an empty file
        return None
