"""Image and label files -> arrays.

One rule for EXIF orientations, wherever files are read, measured, prepared or checked: a picture is
what a viewer shows. An image and its labels must then be of one size; where their orientations
differ and the sizes cannot show which pixels the labels belong to, the pair is refused.
"""

import mmap
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np
from numpy import ndarray

from ..errors import InputError
from .decoding import decode_photograph, decode_samples
from .geometry import Size
from .headers import DamagedFileError, Header, WrongKindError, parse_header
from .label_spaces import IGNORE_INDEX, UNKNOWN
from .layouts import DatasetDict

MAX_BITS = 16
_READ_ERRORS = (OSError, DamagedFileError, WrongKindError)
_LISTED = 5  # values in a message
# orientation -> whether rows and columns change places, then steps along rows and columns
_TURNS = {
    **{1: (False, 1, 1), 2: (False, 1, -1), 3: (False, -1, -1), 4: (False, -1, 1)},
    **{5: (True, 1, 1), 6: (True, 1, -1), 7: (True, -1, -1), 8: (True, -1, 1)},
}


def read_image(path: str | Path, bit_depth: int = MAX_BITS) -> ndarray:
    """Reads a photograph, upright.

    Args:
        path: PNG, JPEG, TIFF, WebP, BMP or GIF; told by content.
        bit_depth: of the camera, 8..16: how many bits of a file with 16 are used. Its upper 8 are
            kept. Other files are read as they are.
    Returns:
        (H, W, 3) uint8 RGB.
    Raises:
        InputError: if the file is missing, no image, or damaged, or holds more than ``bit_depth``.
    """
    return _read_photograph(path, bit_depth)[1]


def read_samples(path: str | Path) -> ndarray:
    """The same without a loss of levels: (H, W, 3), uint16 of a file with 16 bits, else uint8."""
    return _decoded("image", path, decode_photograph)[1]


def read_label_samples(path: str | Path) -> ndarray:
    """The values that a label file stores, upright: (H, W) uint8, or uint16 of 16 bits.

    Raises:
        InputError: if the file is missing, damaged, of several channels or compressed with loss.
    """
    return _decoded("label file", path, decode_samples)[1]


def read_header(path: str | Path, kind: str = "image") -> Header:
    """What stands before the pixels of an image or label file; reads no more than that.

    Args:
        path: of the file.
        kind: "image" or "label file", for messages.
    Raises:
        InputError: if the file is missing or no image.
    """
    try:
        with open(path, "rb") as file:
            if not file.seek(0, 2):
                return parse_header(b"")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return parse_header(data)
    except _READ_ERRORS as error:
        raise _input_error(kind, path, error) from None


def image_size(path: str | Path, kind: str = "image") -> Size:
    """Height and width of an image or label file as it is read; arguments and errors as of
    `read_header`.
    """
    return read_header(path, kind).shown_size


def require_equal_sizes(
    image_file: str, image: tuple[int, ...], label_file: str, labels: tuple[int, ...]
) -> None:
    """Whether an image and its labels show the same: their sizes (height, width) as read, and their
    EXIF orientations, for which the beginnings of both files are read.

    Raises:
        InputError: if they differ.
    """
    image_header, label_header = read_header(image_file), read_header(label_file, "label file")
    _require_fit((image_file, image_header, image), (label_file, label_header, labels))


def read_pair(
    image_file: str, label_file: str, table: ndarray, bit_depth: int = MAX_BITS
) -> tuple[ndarray, ndarray]:
    """An image as `read_image` and its labels as `read_train_ids` give them, which fit.

    Raises:
        InputError: as they do, or if the two do not show the same.
    """
    image_header, image = _read_photograph(image_file, bit_depth)
    label_header, train_ids = _read_labels(label_file, table)
    _require_fit(
        (image_file, image_header, image.shape[:2]), (label_file, label_header, train_ids.shape)
    )
    return image, train_ids


def read_train_ids(path: str | Path, table: ndarray) -> ndarray:
    """Reads a label file and maps its values to train ids.

    Args:
        path: PNG of one channel, grey or with a palette, or an 8- or 16-bit TIFF or an 8-bit
            BMP; samples count as they are stored, of a palette the index, never the colour. Or
            SYNTHIA's 16-bit RGB PNG, whose red channel counts; where the table has no unknown
            values, what exceeds 8 bits there is ignored.
        table: (256,) uint8, stored value -> train id, 255 = ignored, 254 = not of this data set.
    Returns:
        (H, W) uint8 train ids.
    Raises:
        InputError: if the file is missing, damaged or of another kind (say, compressed with loss),
            or holds values that its data set does not have.
    """
    return _read_labels(path, table)[1]


def label_reader(entries: Iterable[DatasetDict], table: ndarray) -> Callable[[str], ndarray]:
    """A function from the label files of a data set to their train ids, which refuses those that do
    not fit their image.
    """
    images = {entry["sem_seg_file_name"]: entry["file_name"] for entry in entries}

    def read(label_file: str) -> ndarray:
        header, train_ids = _read_labels(label_file, table)
        image = read_header(images[label_file])
        _require_fit(
            (images[label_file], image, image.shown_size), (label_file, header, train_ids.shape)
        )
        return train_ids

    return read


def _read_photograph(path: str | Path, bit_depth: int) -> tuple[Header, ndarray]:
    header, image = _decoded("image", path, decode_photograph)
    if image.dtype == np.uint16:
        image = _upper_bits(path, image, bit_depth)
    return header, image


def _upper_bits(path: str | Path, image: ndarray, bit_depth: int) -> ndarray:
    largest = int(image.max())
    if largest >> bit_depth:
        raise InputError(
            f"image {path} holds the value {largest}, more than the {bit_depth} bits of its data "
            "set: set INPUT.BIT_DEPTH to the bits of the camera (8 to 16)"
        )
    return (image >> (bit_depth - 8)).astype(np.uint8)


def _read_labels(path: str | Path, table: ndarray) -> tuple[Header, ndarray]:
    header, samples = _decoded("label file", path, decode_samples)
    if samples.dtype == np.uint8:
        train_ids = cv2.LUT(samples, table)
        unknown = train_ids == UNKNOWN
    else:
        train_ids = cv2.LUT(np.minimum(samples, IGNORE_INDEX).astype(np.uint8), table)
        unknown = train_ids == UNKNOWN
        if not header.is_16_bit_rgb or (table == UNKNOWN).any():
            unknown |= samples > IGNORE_INDEX
    if unknown.any():
        raise InputError(
            f"label file {path} holds values that its data set does not know: "
            f"{_counted(samples[unknown])}; known are {_ranges(table != UNKNOWN)}: correct the "
            "file, or the table of its label space"
        )
    return header, train_ids


def _counted(values: ndarray) -> str:
    # the most frequent ones
    found, counts = np.unique(values, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    listed = [f"{found[i]} ({counts[i]} pixels)" for i in order[:_LISTED]]
    more = len(found) - len(listed)
    return ", ".join(listed) + (f" and {more} more values" if more else "")


def _ranges(known: ndarray) -> str:
    steps = np.diff(np.concatenate([[0], known.astype(np.int8), [0]]))
    spans = zip(np.flatnonzero(steps == 1), np.flatnonzero(steps == -1) - 1, strict=True)
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in spans) or "none"


def _require_fit(
    image: tuple[str, Header, tuple[int, ...]], labels: tuple[str, Header, tuple[int, ...]]
) -> None:
    # each: file, header, size as read
    (image_file, image_header, size), (label_file, label_header, label_size) = image, labels
    turns = image_header.orientation, label_header.orientation
    # of a picture on its side, the size shows that its labels were drawn upright
    is_shown = 1 in turns and max(turns) >= 5 and size[0] != size[1]
    if size == label_size and (turns[0] == turns[1] or is_shown):
        return
    if turns[0] != turns[1] and label_header.size in (image_header.size, image_header.shown_size):
        raise InputError(
            f"image {image_file} and its label file {label_file} have the EXIF orientations "
            f"{turns[0]} and {turns[1]}, so that their pixels may not belong together: if the "
            "labels were drawn on the upright picture, save it upright, else only remove its tag"
        )
    raise InputError(
        f"image {image_file} is {size[1]}x{size[0]} but its label file {label_file} is "
        f"{label_size[1]}x{label_size[0]}: restore the wrong one, or move both out of the data set"
    )


def _decoded(
    kind: str, path: str | Path, decode: Callable[[bytes], tuple[Header, ndarray]]
) -> tuple[Header, ndarray]:
    try:
        data = Path(path).read_bytes()
        header, pixels = decode(data)
    except _READ_ERRORS as error:
        raise _input_error(kind, path, error) from None
    return header, _turned(pixels, header.orientation)


def _turned(pixels: ndarray, orientation: int) -> ndarray:
    if orientation == 1:
        return pixels
    transposed, down, right = _TURNS[orientation]
    if transposed:
        pixels = pixels.swapaxes(0, 1)
    return pixels[::down, ::right].copy()  # of a single row, a view would keep its stride


def _input_error(kind: str, path: str | Path, error: Exception) -> InputError:
    if isinstance(error, WrongKindError):
        return InputError(f"{kind} {path} {error}")
    if isinstance(error, DamagedFileError):
        return InputError(
            f"{kind} {path} cannot be decoded ({error}): restore the file, or remove it from its "
            "data set"
        )
    return InputError(f"{kind} {path} cannot be read: {error.strerror}")
