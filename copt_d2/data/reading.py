"""Image and label files -> arrays."""

import io
from pathlib import Path

import cv2
import numpy as np
from numpy import ndarray
from PIL import Image, UnidentifiedImageError

from ..errors import InputError
from .label_spaces import UNKNOWN

_PNG_START, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND"
_PNG_16_BIT_RGB = b"\x10\x02"  # bit depth and colour type in the header
_PNG_KIND = slice(24, 26)  # their place in the file
_JPEG_START, _JPEG_SCAN, _JPEG_END = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"


def read_image(path: str | Path) -> ndarray:
    """Reads a photograph.

    Returns:
        (H, W, 3) uint8 RGB.
    Raises:
        InputError: if the file is missing, no image, or truncated.
    """
    data = _read_bytes("image", path)
    image = None if _is_cut(data) else _decode(data, cv2.IMREAD_COLOR)
    if image is None:
        raise InputError(f"image {path} cannot be decoded, or is cut off: fetch it again")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def image_size(path: str | Path) -> tuple[int, int]:
    """Height and width of an image or label file; reads its header only.

    Raises:
        InputError: if the file is missing or no image.
    """
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except FileNotFoundError:
        raise InputError(f"image {path} does not exist") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(
            f"image {path} cannot be decoded ({_reason(error)}): fetch it again"
        ) from None


def require_equal_sizes(
    image_file: str, image: tuple[int, ...], label_file: str, labels: tuple[int, ...]
) -> None:
    """Compares the sizes (height, width) of an image and its labels.

    Raises:
        InputError: if they differ.
    """
    if image != labels:
        raise InputError(
            f"image {image_file} is {image[1]}x{image[0]} but its label file {label_file} is "
            f"{labels[1]}x{labels[0]}: fetch both again, or move both out of the data set"
        )


def read_train_ids(path: str | Path, table: ndarray) -> ndarray:
    """Reads a label file and maps its values to train ids.

    Args:
        path: 8-bit PNG, grey or with a palette; of a palette the index counts, never the colour.
            Or SYNTHIA's 16-bit RGB PNG, whose red channel counts; what exceeds 8 bits there is
            ignored.
        table: (256,) uint8, stored value -> train id, 255 = ignored, 254 = not of this data set.
    Returns:
        (H, W) uint8 train ids.
    Raises:
        InputError: if the file is missing, no such PNG, truncated, or holds values that its data
            set does not have.
    """
    data = _read_bytes("label file", path)
    if _is_cut(data):
        raise _undecodable_label(path, "its end is missing")
    is_16_bit_rgb = data.startswith(_PNG_START) and data[_PNG_KIND] == _PNG_16_BIT_RGB
    values = _red_channel(path, data) if is_16_bit_rgb else _single_channel(path, data)
    train_ids = cv2.LUT(values, table)
    unknown = train_ids == UNKNOWN
    if unknown.any():
        found = ", ".join(str(value) for value in np.unique(values[unknown])[:5])
        raise InputError(
            f"label file {path} holds values that are no label ids of its data set ({found}): "
            "fetch it again"
        )
    return train_ids


def _red_channel(path: str | Path, data: bytes) -> ndarray:
    # PIL would keep the upper 8 of the 16 bits, which are 0
    pixels = _decode(data, cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise _undecodable_label(path, "16-bit PNG")
    return np.minimum(pixels[..., 2], 255).astype(np.uint8)  # OpenCV's order is blue, green, red


def _single_channel(path: str | Path, data: bytes) -> ndarray:
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            mode, values = image.mode, np.asarray(image)
    except (OSError, SyntaxError, ValueError) as error:  # what PIL raises on damaged files
        raise _undecodable_label(path, _reason(error)) from None
    if mode not in ("L", "P"):
        raise InputError(
            f"label file {path} is of PIL mode {mode}; needed is an 8-bit PNG with one channel, "
            "or SYNTHIA's with three of 16 bits"
        )
    return values


def _reason(error: Exception) -> str:
    # of a file that is no image, PIL names what it read once more
    return "no image" if isinstance(error, UnidentifiedImageError) else str(error)


def _undecodable_label(path: str | Path, reason: str) -> InputError:
    return InputError(
        f"label file {path} cannot be decoded, or is cut off ({reason}): fetch it again"
    )


def _read_bytes(kind: str, path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{kind} {path} cannot be read: {error.strerror}") from None


def _is_cut(data: bytes) -> bool:
    # Decoders may print lines of their own on such files, and some OpenCV versions fill the
    # missing part of a JPEG with grey. A JPEG's scan never holds the end marker.
    if data.startswith(_PNG_START):
        return data.rfind(_PNG_END) < 0
    return data.startswith(_JPEG_START) and data.rfind(_JPEG_END) < data.rfind(_JPEG_SCAN)


def _decode(data: bytes, flags: int) -> ndarray | None:
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:  # an empty file
        return None
