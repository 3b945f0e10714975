"""What the bytes of a picture file say before anything is decoded.

Formats are told by content, never by the ending of a name. The decoders of OpenCV and Pillow differ
between formats and versions in what they make of an EXIF orientation, so it is read here, once, for
all of them.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from mmap import mmap

from .geometry import Size

Data = bytes | mmap

_PNG_START, _TIFF_STARTS = b"\x89PNG\r\n\x1a\n", (b"II*\0", b"MM\0*")
_JPEG_START, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
_EXIF_START = b"Exif\0\0"
_ORIENTATION = 274  # TIFF tag, in EXIF as well
_TAIL = 1 << 16  # bytes at the end of a PNG in which an EXIF chunk behind the pixels is looked for
_VALUE_FORMATS = {1: "B", 3: "H", 4: "I"}  # TIFF's types of whole numbers
# beginning, its place: formats that are named in messages but not read
_OTHERS = (
    (b"\0\0\0\x0cjP  ", 0, "JPEG 2000"),
    (b"\xff\x4f\xff\x51", 0, "JPEG 2000"),
    (b"\0\0\0\x0cJXL ", 0, "JPEG XL"),
    (b"\xff\x0a", 0, "JPEG XL"),
    *((b"ftyp" + brand, 4, "AVIF") for brand in (b"avif", b"avis")),
    *((b"ftyp" + brand, 4, "HEIC") for brand in (b"heic", b"heix", b"mif1", b"msf1")),
    *((b"P%d" % number, 0, "PNM") for number in range(1, 8)),
)
_LOSSLESS, _RATIO = ("PNG", "TIFF", "BMP", "GIF"), 4096  # a blank map of bytes becomes 1000 smaller
READ = ("PNG", "JPEG", "TIFF", "WebP", "BMP", "GIF")


class DamagedFileError(ValueError):
    """The bytes are not what their format says; the message is the reason in some words."""


class WrongKindError(ValueError):
    """A whole file of a kind that is not read; the message says what it is and what is needed."""


@dataclass(frozen=True)
class Header:
    """Facts of one picture file.

    Attributes:
        form: one of `READ`.
        size: (h, w) as stored.
        orientation: EXIF's, 1..8; 1 = shown as stored.
        bits: of one sample.
        detail: PNG: colour type; JPEG: where its first scan begins; BMP: way of compression.
        tags: TIFF: values of each tag that holds whole numbers.
    """

    form: str
    size: Size
    orientation: int = 1
    bits: int = 8
    detail: int = 0
    tags: dict[int, tuple[int, ...]] = field(default_factory=dict)

    @property
    def shown_size(self) -> Size:
        """(h, w) after the orientation."""
        return self.size[::-1] if self.orientation >= 5 else self.size

    @property
    def is_16_bit_rgb(self) -> bool:
        """Whether it is a PNG of three channels with 16 bits, as SYNTHIA's label files are."""
        return (self.form, self.bits, self.detail) == ("PNG", 16, 2)


def parse_header(data: Data) -> Header:
    """Reads what stands before the pixels.

    Args:
        data: the whole file; of a memory map only the pages that are needed are read.
    Raises:
        DamagedFileError: if it is no picture, or ends too early.
        WrongKindError: if it is one of another format than those in `READ`.
    """
    for start, parse in _PARSERS:
        if data[: len(start)] == start:
            try:
                header = parse(data)
            except (struct.error, IndexError, KeyError, OverflowError):
                raise DamagedFileError("its end is missing") from None
            if min(header.size) < 1:
                raise DamagedFileError("its header gives no size")
            return header
    for start, place, name in _OTHERS:
        if data[place : place + len(start)] == start:
            raise WrongKindError(f"is of format {name}, which is not read: save it as PNG")
    raise DamagedFileError("no picture" if len(data) else "it is empty")


def require_whole(data: bytes, header: Header) -> None:
    """Looks whether a file is whole, where decoders fill what is missing, print lines of their own
    or take memory for pixels that cannot be there. What follows the end, say the video of a motion
    photo, does not count.

    Raises:
        DamagedFileError: if its end is missing, or its size is impossible.
    """
    height, width = header.size
    if header.form in _LOSSLESS and height * width * (header.bits // 8) > _RATIO * len(data):
        raise DamagedFileError(f"{len(data)} bytes cannot hold its {width}x{height} pixels")
    if header.form == "PNG":
        is_whole = data.rfind(b"IEND") >= 0
    elif header.form == "JPEG":
        # in a scan, FF is followed by 0 or a restart marker: the first such marker is the end
        is_whole = data[-2:] == _JPEG_END or data.find(_JPEG_END, header.detail) >= 0
    elif header.form == "TIFF":
        is_whole = _tiff_end(header.tags) <= len(data)
    else:
        return
    if not is_whole:
        raise DamagedFileError("its end is missing")


def as_shown_upright(data: bytes, header: Header) -> bytes:
    """The same file with orientation 1, for decoders that turn TIFF pictures unasked."""
    if header.form != "TIFF" or header.orientation == 1:
        return data
    order = _byte_order(data, 0)
    first = struct.unpack_from(order + "I", data, 4)[0]
    place = next(place for place, tag in _tiff_entries(data, order, first) if tag == _ORIENTATION)
    return data[: place + 8] + struct.pack(order + "H", 1) + data[place + 10 :]


def _parse_png(data: Data) -> Header:
    width, height, bits, colour = struct.unpack_from(">IIBB", data, 16)
    return Header("PNG", (height, width), _png_orientation(data), bits, colour)


def _png_orientation(data: Data) -> int:
    place = len(_PNG_START)
    while True:
        length, name = struct.unpack_from(">I4s", data, place)
        if name == b"eXIf":
            return _exif_orientation(data[place + 8 : place + 8 + length])
        if name in (b"IDAT", b"IEND"):
            return _png_tail_orientation(data[max(place, len(data) - _TAIL) :])
        place += length + 12


def _png_tail_orientation(tail: bytes) -> int:
    # bytes of a name alone may be pixels: the check sum tells
    place = tail.rfind(b"eXIf")
    if place < 4:
        return 1
    end = place + 4 + struct.unpack_from(">I", tail, place - 4)[0]
    if end + 4 > len(tail) or tail[end : end + 4] != zlib.crc32(tail[place:end]).to_bytes(4, "big"):
        return 1
    return _exif_orientation(tail[place + 4 : end])


def _parse_jpeg(data: Data) -> Header:
    size, orientation = None, 1
    for marker, place, length in _jpeg_segments(data):
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            size = struct.unpack_from(">HH", data, place + 1)
        elif marker == 0xE1 and orientation == 1 and data[place : place + 6] == _EXIF_START:
            orientation = _exif_orientation(data[place + 6 : place + length])
    if size is None:
        raise DamagedFileError("its header gives no size")
    return Header("JPEG", size, orientation, detail=place + length)


def _jpeg_segments(data: Data) -> Iterator[tuple[int, int, int]]:
    # marker, place and length of the body, up to and with the first scan
    place, marker = 2, 0
    while marker != 0xDA:
        while data[place] == 0xFF and data[place + 1] == 0xFF:  # filling
            place += 1
        start, marker, length = struct.unpack_from(">BBH", data, place)
        if start != 0xFF or marker in (0, 0xD9) or length < 2:
            raise DamagedFileError("its header is damaged")
        yield marker, place + 4, length - 2
        place += 2 + length


def _parse_tiff(data: Data) -> Header:
    order = _byte_order(data, 0)
    tags = _tiff_tags(data, order, struct.unpack_from(order + "I", data, 4)[0])
    bits = set(tags.get(258, (1,)))
    if len(bits) > 1:
        raise WrongKindError("is a TIFF with channels of different bits: save it as PNG")
    orientation = tags.get(_ORIENTATION, (1,))[0]
    return Header(
        *("TIFF", (tags[257][0], tags[256][0])),
        orientation=orientation if 1 <= orientation <= 8 else 1,
        bits=bits.pop(),
        tags=tags,
    )


def _byte_order(data: Data, place: int) -> str:
    return "<" if data[place : place + 2] == b"II" else ">"


def _tiff_entries(data: Data, order: str, place: int) -> Iterator[tuple[int, int]]:
    # place and tag of each entry
    for index in range(struct.unpack_from(order + "H", data, place)[0]):
        entry = place + 2 + 12 * index
        yield entry, struct.unpack_from(order + "H", data, entry)[0]


def _tiff_tags(data: Data, order: str, place: int) -> dict[int, tuple[int, ...]]:
    tags = {}
    for entry, tag in _tiff_entries(data, order, place):
        kind, count = struct.unpack_from(order + "HI", data, entry + 2)
        letter = _VALUE_FORMATS.get(kind)
        if letter is None:
            continue
        values = f"{order}{count}{letter}"
        inside = struct.calcsize(values) <= 4
        start = entry + 8 if inside else struct.unpack_from(order + "I", data, entry + 8)[0]
        tags[tag] = struct.unpack_from(values, data, start)
    return tags


def _tiff_end(tags: dict[int, tuple[int, ...]]) -> int:
    # of strips or of tiles
    for starts, lengths in ((273, 279), (324, 325)):
        pairs = zip(tags.get(starts, ()), tags.get(lengths, ()), strict=False)
        ends = [start + length for start, length in pairs]
        if ends:
            return max(ends)
    return 0


def _exif_orientation(exif: bytes) -> int:
    # whatever is no orientation in it means none
    if exif[:6] == _EXIF_START:
        exif = exif[6:]
    if exif[:4] not in _TIFF_STARTS:
        return 1
    order = _byte_order(exif, 0)
    try:
        tags = _tiff_tags(exif, order, struct.unpack_from(order + "I", exif, 4)[0])
    except struct.error:
        return 1
    orientation = tags.get(_ORIENTATION) or (1,)
    return orientation[0] if 1 <= orientation[0] <= 8 else 1


def _parse_webp(data: Data) -> Header:
    if data[8:12] != b"WEBP":
        raise DamagedFileError("no picture")
    chunks = dict(_webp_chunks(data))
    if b"VP8X" in chunks:
        canvas = chunks[b"VP8X"]
        width, height = (int.from_bytes(canvas[i : i + 3], "little") + 1 for i in (4, 7))
    elif b"VP8L" in chunks:
        packed = int.from_bytes(chunks[b"VP8L"][1:5], "little")
        width, height = (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    else:
        width, height = (v & 0x3FFF for v in struct.unpack_from("<HH", chunks[b"VP8 "], 6))
    return Header("WebP", (height, width), _exif_orientation(chunks.get(b"EXIF", b"")))


def _webp_chunks(data: Data) -> Iterator[tuple[bytes, bytes]]:
    # of pixels only the beginning
    place = 12
    end = min(len(data), 8 + int.from_bytes(data[4:8], "little"))
    while place + 8 <= end:
        name, length = struct.unpack_from("<4sI", data, place)
        wanted = length if name == b"EXIF" else min(length, 10)
        yield name, data[place + 8 : place + 8 + wanted]
        place += 8 + length + length % 2


def _parse_bmp(data: Data) -> Header:
    if struct.unpack_from("<I", data, 14)[0] < 40:  # of OS/2: 16-bit sizes
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        return Header("BMP", (height, width), bits=bits)
    width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    return Header("BMP", (abs(height), width), bits=bits, detail=compression)


def _parse_gif(data: Data) -> Header:
    width, height = struct.unpack_from("<HH", data, 6)
    return Header("GIF", (height, width))


_PARSERS = (
    (_PNG_START, _parse_png),
    (_JPEG_START, _parse_jpeg),
    *((start, _parse_tiff) for start in _TIFF_STARTS),
    (b"RIFF", _parse_webp),
    (b"BM", _parse_bmp),
    (b"GIF8", _parse_gif),
)
