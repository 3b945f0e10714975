"""Masks of stored ids or of colours -> train ids."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy import ndarray

from ...errors import InputError
from ..headers import Header
from ..label_spaces import IGNORE_INDEX, UNKNOWN, id_table
from ..reading import read_header, read_label_samples, read_samples
from .schema import ClassEntry, Description, Labels

_LISTED = 12  # unknown values in a message
_PNG_ONE_CHANNEL, _TIFF_CHANNELS = (0, 3), 277


def is_single_channel(header: Header) -> bool:
    """Whether a file holds one value a pixel (grey or palette) rather than a colour."""
    if header.form == "PNG":
        return header.detail in _PNG_ONE_CHANNEL
    if header.form == "TIFF":
        return header.tags.get(_TIFF_CHANNELS, (1,))[0] == 1
    return header.bits <= 8 if header.form == "BMP" else False


def is_direct(header: Header) -> bool:
    """Whether the file is what training reads as it is: an 8-bit PNG of one channel, upright."""
    return (
        header.form == "PNG"
        and header.bits == 8
        and header.detail in _PNG_ONE_CHANNEL
        and header.orientation == 1
    )


def values_of(
    files: Sequence[str], labels: Labels, classes: Sequence[ClassEntry], where: str
) -> tuple[str, bool]:
    """What the masks of a data set store.

    Args:
        files: all of them; their headers are read.
        labels: ``values`` forces an answer.
        classes: with or without colours.
        where: file and key of the description, for messages.
    Returns:
        "ids", "colors" or "grey" (ids in three equal channels), and whether training reads the
        files as they are.
    Raises:
        InputError: if some hold ids and some colours, or colours that the classes lack.
    """
    headers = [read_header(file, "mask") for file in files]
    single = [is_single_channel(header) for header in headers]
    if labels.values == "colors":
        found = "colors"
    elif all(single):
        return "ids", all(is_direct(header) for header in headers)
    elif any(single):
        ids, colors = files[single.index(True)], files[single.index(False)]
        raise InputError(
            f"{where}: {ids} holds one value a pixel and {colors} colours: make them data sets of "
            "their own (a list), or set format: ids or colors"
        )
    else:
        is_grey = labels.values == "ids" or _is_grey_of_no_color(files[0], classes)
        found = "grey" if is_grey else "colors"
    without = [entry.name for entry in classes if entry.color is None]
    if found == "colors" and without:
        raise InputError(
            f"{where}: the masks are coloured ({files[0]}), but the class {without[0]!r} has no "
            "color: give each class one, as color: [red, green, blue]"
        )
    return found, False


def _is_grey_of_no_color(file: str, classes: Sequence[ClassEntry]) -> bool:
    """Whether a file of three channels holds ids in each of them: greys that no class has."""
    colors = read_samples(file)
    if (colors != colors[..., :1]).any():
        return False
    greys = {entry.color[0] for entry in classes if entry.color and len(set(entry.color)) == 1}
    return not set(np.unique(colors).tolist()) <= greys


def table_of_ids(description: Description, labels: Labels, known: Sequence[int]) -> ndarray:
    """(65536,) uint8: stored value -> train id, 255 = ignored, 254 = no value of this data set.

    Args:
        description: its classes have ids.
        labels: its ``ids`` replace the classes' own; all other values are ignored then.
        known: table of 256 of the project's label space, or ().
    """
    table = np.full(1 << 16, UNKNOWN, np.uint8)
    if labels.ids:
        table[:] = IGNORE_INDEX
        names = list(description.class_names)
        for stored, name in labels.ids.items():
            table[stored] = names.index(name)
    else:
        table[:256] = known or id_table({}, ignored=())
        if not known:
            for train_id, entry in enumerate(description.classes):
                table[list(entry.ids)] = train_id
    table[list(description.ignored_ids)] = IGNORE_INDEX
    return table


def table_of_colors(description: Description) -> ndarray:
    """(2^24,) uint8: 65536 red + 256 green + blue -> train id, as `table_of_ids`."""
    table = np.full(1 << 24, UNKNOWN, np.uint8)
    for train_id, entry in enumerate(description.classes):
        table[_code(np.array(entry.color))] = train_id
    for color in description.ignored_colors:
        table[_code(np.array(color))] = IGNORE_INDEX
    return table


def _code(colors: ndarray) -> ndarray:
    red, green, blue = (colors[..., channel].astype(np.uint32) for channel in range(3))
    return red << 16 | green << 8 | blue


@dataclass
class Unknown:
    """Values that no class has, over all masks of a data set.

    Attributes:
        pixels: value or colour -> pixels.
        example: value or colour -> a file that holds it.
    """

    pixels: Counter = field(default_factory=Counter)
    example: dict = field(default_factory=dict)

    def add(self, file: str, counts: Mapping[int | tuple[int, ...], int]) -> None:
        """Those of one file."""
        for value, count in counts.items():
            self.pixels[value] += count
            self.example.setdefault(value, file)

    def refuse(self, where: str, remedy: str) -> None:
        """Raises ``InputError`` that lists them with counts and examples, if there are any."""
        if not self.pixels:
            return
        listed = ", ".join(
            f"{list(value) if isinstance(value, tuple) else value} ({count} pixels, in "
            f"{self.example[value]})"
            for value, count in self.pixels.most_common(_LISTED)
        )
        more = len(self.pixels) - _LISTED
        tail = f" and {more} more" if more > 0 else ""
        raise InputError(f"{where}: the masks hold values of no class: {listed}{tail}: {remedy}")


class MaskReader:
    """Mask file -> train ids; keeps account of values that no class has.

    Args:
        values: "ids", "colors" or "grey", of `values_of`.
        table: of `table_of_ids` or `table_of_colors`.
    """

    def __init__(self, values: str, table: ndarray) -> None:
        self.values = values
        self.table = table
        self.unknown = Unknown()

    def __call__(self, file: str) -> ndarray | None:
        """(H, W) uint8 train ids; ``None``, and counted, if a value is of no class."""
        stored = read_label_samples(file) if self.values == "ids" else read_samples(file)
        if self.values == "grey":
            stored = stored[..., 0]
        index = _code(stored) if self.values == "colors" else stored
        train_ids = self.table[index]
        lost = train_ids == UNKNOWN
        if lost.any():
            found, counts = np.unique(stored[lost], axis=0, return_counts=True)
            keys = [tuple(v.tolist()) if v.ndim else int(v) for v in found]
            self.unknown.add(file, dict(zip(keys, counts.tolist(), strict=True)))
            return None
        return train_ids

    def refuse_unknown(self, where: str) -> None:
        """Raises ``InputError`` for values that no class has."""
        what = "colors" if self.values == "colors" else "ids"
        self.unknown.refuse(where, f"add them to the classes' {what}, or to ignore")
