"""What a caller gives as an image -> (H, W, 3) uint8 RGB."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray
from PIL import Image, ImageOps

from ..data.reading import MAX_BITS, read_image
from ..errors import InputError

NEEDED = "needed is a path, a PIL image, or a (H, W, 3) uint8 RGB array"
DEEP_MODES = ("I;16", "I;16L", "I;16B", "I;16N")
WIDE_MODES = ("I", "F")


def as_picture(given: Any, bit_depth: int = MAX_BITS) -> tuple[ndarray, str]:
    """An image upright, as `copt_d2.data.reading.read_image` gives it, and its name for messages.

    Args:
        given: path, PIL image, or (H, W, 3) uint8 RGB array.
        bit_depth: how many bits of 16-bit images count.
    Raises:
        InputError: for anything else, in one line.
    """
    if isinstance(given, (str, os.PathLike)):
        path = Path(given).expanduser()
        return read_image(path, bit_depth), str(path)
    if isinstance(given, Image.Image):
        return _of_pillow(given, bit_depth), str(getattr(given, "filename", "") or "the image")
    if not isinstance(given, ndarray):
        hint = "; call .numpy() on a tensor" if hasattr(given, "numpy") else ""
        raise InputError(f"an image is a {type(given).__name__}; {NEEDED}{hint}")
    return _checked(given), "the array"


def _checked(array: ndarray) -> ndarray:
    found = f"the array has the shape {array.shape} and the type {array.dtype}; {NEEDED}"
    if array.dtype != np.uint8:
        hint = ""
        if array.dtype.kind == "f":
            hint = ": values of 0 to 1 are turned into it by (255 * x).round().astype('uint8')"
        raise InputError(f"{found}{hint}")
    if array.ndim != 3 or array.shape[2] != 3:
        hint = ""
        if array.ndim == 3 and array.shape[2] == 4:
            hint = ": leave out the fourth channel, x[..., :3]"
        elif array.ndim == 2:
            hint = ": repeat grey, np.stack([x] * 3, axis=-1)"
        elif array.ndim == 3 and array.shape[0] == 3:
            hint = ": the channels come last, x.transpose(1, 2, 0)"
        elif array.ndim == 4:
            hint = ": give a batch as a list"
        raise InputError(f"{found}{hint}")
    if not array.size:
        raise InputError(f"{found}: it is empty")
    return np.ascontiguousarray(array)


def _of_pillow(image: Image.Image, bit_depth: int) -> ndarray:
    name = getattr(image, "filename", "") or "the image"
    try:
        upright = ImageOps.exif_transpose(image)
        if upright.mode in WIDE_MODES:
            raise InputError(
                f"{name} has Pillow's mode {upright.mode!r}: convert it to 'RGB', or give its path"
            )
        if upright.mode in DEEP_MODES:
            return _of_16_bits(np.asarray(upright).astype(np.uint16), name, bit_depth)
        picture = np.array(upright.convert("RGB"))
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{name} cannot be decoded ({error}): restore the file") from error
    if not picture.size:
        raise InputError(f"{name} is empty, {image.width}x{image.height} pixels")
    return picture


def _of_16_bits(samples: ndarray, name: str, bit_depth: int) -> ndarray:
    if samples.size and int(samples.max()) >> bit_depth:
        raise InputError(
            f"{name} holds the value {samples.max()}, more than the {bit_depth} bits that the "
            "model was trained with"
        )
    return np.repeat((samples >> (bit_depth - 8)).astype(np.uint8)[..., None], 3, axis=2)
