"""Kinds of config values that are lists; a tuple and a list are the same."""

from collections.abc import Callable, Collection
from typing import Any

from .kinds import LARGEST_NUMBER, Kind, is_number, is_text, is_whole, kind, must_be, shown

LARGEST_SIDE = 2**16  # of an image, in pixels
LARGEST_CLASS = 253  # label files have 8 bits, 255 is ignored


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _are_names(values: Any) -> bool:
    return _is_list(values) and all(is_text(value) and value.strip() for value in values)


def _or_empty(words: str, empty: bool) -> str:
    return f"{words}; or empty" if empty else words


def names(
    what: str, known: Callable[[], Collection[str]] | None = None, *, empty: bool = True
) -> Kind:
    """Names, each once.

    Args:
        what: they name, without article.
        known: lists those that there are; ``None`` = any.
        empty: whether there may be none.
    """

    def words() -> str:
        some = f"names of {what}s" if known is None else f"some of {', '.join(map(repr, known()))}"
        return _or_empty(f"a list of {some}, each once", empty)

    def fault(value: Any) -> str | None:
        if not _are_names(value):
            return must_be(value, words())
        if len(set(value)) < len(value):
            return f"{shown(value)} names a {what} twice; remove one"
        if known is not None and not set(value) <= set(known()):
            return must_be(value, words())
        return None if value or empty else must_be(value, words())

    return Kind(f"a list of names of {what}s", fault)


def maps_up_to(last: str) -> Kind:
    """Names of feature maps, each once, of which ``last`` is the last one; or none."""
    some = names("feature map")
    words = f"a list of names of feature maps that ends with {last!r}; or empty"

    def fault(value: Any) -> str | None:
        found = some.fault(value)
        return found or (must_be(value, words) if value and value[-1] != last else None)

    return Kind(words, fault)


def pixels(*sides: str, low: int = 1, empty: bool = False) -> Kind:
    """Whole numbers of pixels, as many as ``sides`` names, each ``low`` or more; or perhaps ()."""
    words = f"({', '.join(sides)}) in whole pixels, each between {low} and {LARGEST_SIDE}"

    def fits(value: Any) -> bool:
        if not _is_list(value) or not value:
            return _is_list(value) and empty
        inside = all(is_whole(side) and low <= side <= LARGEST_SIDE for side in value)
        return inside and len(value) == len(sides)

    return kind(_or_empty(words, empty), fits)


def box() -> Kind:
    """The sides of a box that images are fitted into, or one number, their short side; or ()."""
    sides = pixels("width", "height", empty=True)
    short = pixels("short side")

    def fits(value: Any) -> bool:
        return sides.fault(value) is None or short.fault(value) is None

    words = f"(width, height) in whole pixels, each between 1 and {LARGEST_SIDE}"
    return kind(_or_empty(f"{words}; or one number, the short side", empty=True), fits)


def numbers(count: int, low: float = -LARGEST_NUMBER, *, above: bool = False) -> Kind:
    """``count`` finite numbers, each ``low`` or more, or more than it if ``above``."""
    limits = (
        "" if low == -LARGEST_NUMBER else f", each {'more than' if above else 'at least'} {low:g}"
    )

    def fits(value: Any) -> bool:
        if not _is_list(value) or len(value) != count:
            return False
        return all(
            is_number(part) and low <= part <= LARGEST_NUMBER and not (above and part == low)
            for part in value
        )

    return kind(f"a list of {count} finite numbers{limits}", fits)


def wholes(low: int, high: int) -> Kind:
    """One or more whole numbers in [low, high]."""

    def fits(value: Any) -> bool:
        return _is_list(value) and all(is_whole(part) and low <= part <= high for part in value)

    words = f"a list of whole numbers between {low} and {high}, one or more"
    return kind(words, lambda value: fits(value) and len(value) > 0)


def interval(low: float, high: float) -> Kind:
    """A pair of numbers (a, b) with low <= a <= b <= high."""

    def fits(value: Any) -> bool:
        if not _is_list(value) or len(value) != 2 or not all(map(is_number, value)):
            return False
        return low <= value[0] <= value[1] <= high

    return kind(f"a pair (a, b) of numbers with {low:g} <= a <= b <= {high:g}", fits)


def train_ids() -> Kind:
    """Numbers of classes, each once, or none."""

    def fits(value: Any) -> bool:
        if not _is_list(value) or len({shown(part) for part in value}) < len(value):
            return False
        return all(is_whole(part) and 0 <= part <= LARGEST_CLASS for part in value)

    return kind("a list of train ids (whole numbers, 0 or more), each once; or empty", fits)


def class_names() -> Kind:
    """A name per class, or several that mean the same; none twice."""

    def fits(value: Any) -> bool:
        if not _is_list(value):
            return False
        entries = [[entry] if isinstance(entry, str) else entry for entry in value]
        if not all(_are_names(entry) and entry for entry in entries):
            return False
        every = [name for entry in entries for name in entry]
        return len(set(every)) == len(every)

    return kind(
        "a list with the name of each class, or a list of its synonyms, no name twice; or empty",
        fits,
    )


def bit_depths() -> Kind:
    """Rows of (data set, bits), each data set once."""

    def is_row(row: Any) -> bool:
        return _is_list(row) and len(row) == 2 and _are_names(row[:1]) and is_whole(row[1])

    def fits(value: Any) -> bool:
        if not _is_list(value) or not all(map(is_row, value)):
            return False
        return all(8 <= bits <= 16 for _, bits in value) and len(dict(value)) == len(value)

    return kind("a list of rows [data set, bits between 8 and 16], each set once; or empty", fits)


def expected_results() -> Kind:
    """Rows of (data set, key, value, tolerance)."""

    def is_row(row: Any) -> bool:
        if not _is_list(row) or len(row) != 4 or not _are_names(row[:2]):
            return False
        value, tolerance = row[2:]
        if not (is_number(value) and is_number(tolerance)):
            return False
        return abs(value) <= LARGEST_NUMBER and 0 <= tolerance <= LARGEST_NUMBER

    return kind(
        "a list of rows [data set, key, value, tolerance] with finite numbers; or empty",
        lambda value: _is_list(value) and all(map(is_row, value)),
    )
