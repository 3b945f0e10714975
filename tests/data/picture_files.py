"""Picture files made by hand, bit by bit: no library's idea of a format comes in between."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
# first column, first row, steps along columns and rows of Adam7's seven passes
_PASSES = (
    *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4)),
    *((1, 0, 2, 2), (0, 1, 1, 2)),
)


def chunk(kind, body):
    """One chunk of a PNG."""
    check = zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)


def _rows(samples, bits):
    if bits == 16:
        return b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    packed = []
    for row in samples:
        text = "".join(format(int(value), f"0{bits}b") for value in row.ravel())
        text += "0" * (-len(text) % 8)
        packed.append(b"\0" + bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8)))
    return b"".join(packed)


def png(samples, bits=8, colour=GREY, *, interlaced=False, palette=None, before=b"", after=b""):
    """A PNG of (H, W) or (H, W, C) ``samples``.

    ``before`` and ``after``: further chunks before and behind the pixels.
    """
    samples = np.asarray(samples)
    height, width = samples.shape[:2]
    pixels = _rows(samples, bits)
    if interlaced:
        parts = [samples[y::dy, x::dx] for x, y, dx, dy in _PASSES]
        pixels = b"".join(_rows(part, bits) for part in parts if part.size)
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced)
    colours = (
        chunk(b"PLTE", np.asarray(palette, np.uint8).tobytes()) if palette is not None else b""
    )
    stored = zlib.compress(pixels)
    half = len(stored) // 2
    data = chunk(b"IDAT", stored[:half]) + chunk(b"IDAT", stored[half:])
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    return start + colours + before + data + after + chunk(b"IEND", b"")


def encoded(image, form, **options):
    """What Pillow makes of an array or a Pillow image; of AVIF, which old ones do not write, the
    beginning.
    """
    if form == "AVIF":
        return b"\0\0\0\x20ftypavif" + bytes(99)
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def exif(orientation):
    """An EXIF block (a TIFF header and one tag)."""
    return b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 274, 3, 1, orientation, 0, 0)
