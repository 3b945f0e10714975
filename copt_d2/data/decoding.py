"""Bytes of a picture file -> its samples, as stored: never stretched, never turned."""

import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

import cv2
import numpy as np
from numpy import ndarray
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from .geometry import Size
from .headers import (
    DamagedFileError,
    Header,
    WrongKindError,
    as_shown_upright,
    parse_header,
    require_whole,
)

# by name: `Image.open` would refuse more than 179 megapixels
_OPENERS: dict[str, type[ImageFile]] = {
    "PNG": PngImageFile,
    "TIFF": TiffImageFile,
    "WebP": WebPImageFile,
    "BMP": BmpImageFile,
    "GIF": GifImageFile,
}
# what Pillow raises on damaged files
_PILLOW_ERRORS = (
    *(OSError, SyntaxError, ValueError, TypeError, EOFError, LookupError, OverflowError),
    *(NotImplementedError, AttributeError, MemoryError, struct.error, zlib.error),
    Image.DecompressionBombError,
)
_AS_STORED = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
_OPENCV_PIXELS = 1 << 30
_LIMIT_LOCK = Lock()
_PNG_GREY, _PNG_PALETTE = 0, 3
_TIFF_COMPRESSION, _TIFF_PHOTOMETRIC, _TIFF_FORMAT = 259, 262, 339
_TIFF_BLACK_IS_ZERO, _TIFF_RGB, _TIFF_PALETTE = 1, 2, 3
_TIFF_CHANNELS = 277
# none, LZW, deflate of both numbers, run lengths; and what Pillow reads beside these
_TIFF_COMMON = (1, 5, 8, 32946, 32773)
_TIFF_LOSSLESS = (*_TIFF_COMMON, 2, 3, 4, 34925, 50000)
_CHANGED = "changed its label ids: save it as PNG from where it was drawn"
_REFUSED = {
    "JPEG": "lossy compression has",
    "WebP": "lossy compression, or its three channels, have",
    "GIF": "writing its palette may have",
}
_TIFF_LOSSY = {6: "JPEG", 7: "JPEG", 34712: "JPEG 2000", 50001: "WebP"}


def decode_photograph(data: bytes) -> tuple[Header, ndarray]:
    """The colours of a picture.

    Grey is repeated, transparency is left out, a palette gives its colours.

    Returns:
        its header, and (H, W, 3) RGB: uint8, or uint16 of files with 16 bits.
    Raises:
        DamagedFileError: if it is none, or its end is missing.
        WrongKindError: if it is of a kind that is not read.
    """
    header = parse_header(data)
    require_whole(data, header)
    if header.form in ("PNG", "JPEG"):
        return header, cv2.cvtColor(_by_opencv(data, header, _AS_STORED), cv2.COLOR_BGR2RGB)
    tags = header.tags
    is_unsigned = tags.get(_TIFF_FORMAT, (1,))[0] == 1
    if (header.bits <= 8 and is_unsigned) or header.form != "TIFF":
        return header, np.array(_by_pillow(data, header, "RGB"))
    if (
        header.bits != 16
        or not is_unsigned
        or tags.get(_TIFF_COMPRESSION, (1,))[0] not in _TIFF_COMMON
        or tags.get(_TIFF_PHOTOMETRIC, (0,))[0] not in (_TIFF_BLACK_IS_ZERO, _TIFF_RGB)
    ):
        raise WrongKindError(
            f"is a TIFF with {header.bits} bits of a kind that is not read: save it as PNG of 8 "
            "or 16 bits"
        )
    data = as_shown_upright(data, header)
    return header, cv2.cvtColor(_by_opencv(data, header, _AS_STORED), cv2.COLOR_BGR2RGB)


def decode_samples(data: bytes) -> tuple[Header, ndarray]:
    """The values of a label map.

    Grey samples, indices into a palette, or the red channel of a 16-bit RGB PNG (SYNTHIA). Of GIFs
    neither index nor colour can be trusted: writers renumber their palettes.

    Returns:
        its header, and (H, W) uint8 or, of files with 16 bits, uint16.
    Raises:
        DamagedFileError: if it is none, or its end is missing.
        WrongKindError: if it has been compressed with loss, or has no single channel.
    """
    header = parse_header(data)
    require_whole(data, header)
    _LABEL_CHECKS[header.form](header)
    if header.is_16_bit_rgb:
        # Pillow would keep the upper 8 of the 16 bits, which are 0; OpenCV's order is B, G, R
        return header, _by_opencv(data, header, cv2.IMREAD_UNCHANGED)[..., 2]
    image = _by_pillow(data, header)
    samples = np.asarray(image)
    if samples.dtype == np.bool_:
        return header, samples.astype(np.uint8)
    if header.bits == 16:
        return header, samples.astype(np.uint16)
    if image.mode == "L" and header.bits < 8:
        return header, samples // (255 // (2**header.bits - 1))  # Pillow has stretched them
    return header, samples


def _check_png(header: Header) -> None:
    if header.detail not in (_PNG_GREY, _PNG_PALETTE) and not header.is_16_bit_rgb:
        raise WrongKindError(
            f"has {header.bits}-bit colours: needed is one channel of label ids (grey or palette), "
            "or SYNTHIA's three of 16 bits"
        )


def _check_tiff(header: Header) -> None:
    tags = header.tags
    compression = tags.get(_TIFF_COMPRESSION, (1,))[0]
    if compression not in _TIFF_LOSSLESS:
        name = _TIFF_LOSSY.get(compression, f"number {compression}")
        raise WrongKindError(f"is a TIFF with the compression {name}, which has {_CHANGED}")
    if (
        header.bits not in (8, 16)
        or tags.get(_TIFF_CHANNELS, (1,))[0] != 1
        or tags.get(_TIFF_FORMAT, (1,))[0] != 1
        or tags.get(_TIFF_PHOTOMETRIC, (0,))[0] not in (_TIFF_BLACK_IS_ZERO, _TIFF_PALETTE)
    ):
        raise WrongKindError(
            "is a TIFF of a kind that is not read as labels: save it as grey PNG of 8 or 16 bits"
        )


def _check_bmp(header: Header) -> None:
    if (header.bits, header.detail) != (8, 0):
        raise WrongKindError(
            f"is a BMP of {header.bits} bits, which is not read as labels: save it as grey PNG"
        )


def _refuse(header: Header) -> None:
    raise WrongKindError(f"is a {header.form} file: {_REFUSED[header.form]} {_CHANGED}")


_LABEL_CHECKS = {
    "PNG": _check_png,
    "TIFF": _check_tiff,
    "BMP": _check_bmp,
    **dict.fromkeys(("JPEG", "WebP", "GIF"), _refuse),
}


def _by_opencv(data: bytes, header: Header, flags: int) -> ndarray:
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        pixels = None
    if pixels is not None:
        return pixels
    height, width = header.size
    if height * width > _OPENCV_PIXELS:
        raise DamagedFileError(
            f"{width}x{height} are more pixels than OpenCV reads, unless the environment variable "
            "OPENCV_IO_MAX_IMAGE_PIXELS is raised"
        )
    raise DamagedFileError("its pixels are damaged")


def _by_pillow(data: bytes, header: Header, mode: str | None = None) -> Image.Image:
    opener = _OPENERS[header.form]
    try:
        with (
            _pillow_limit_for(header.size),
            opener(io.BytesIO(as_shown_upright(data, header))) as image,
        ):
            image.load()
            if mode is not None:
                image.info.pop("transparency", None)
            return image if mode is None else image.convert(mode)
    except _PILLOW_ERRORS as error:
        raise DamagedFileError(" ".join(str(error).split()) or type(error).__name__) from None


@contextmanager
def _pillow_limit_for(size: Size) -> Iterator[None]:
    # some formats look at the limit of the process once more; other users of Pillow keep it
    before = Image.MAX_IMAGE_PIXELS
    if before is None or size[0] * size[1] <= before:
        yield
        return
    with _LIMIT_LOCK:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before
