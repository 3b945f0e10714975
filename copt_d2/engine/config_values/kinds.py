"""Kinds of single config values: what a value must be, as a test and in words."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from detectron2.utils.registry import Registry

LONGEST_SHOWN = 100  # characters of a value in a message
LARGEST_WHOLE = 2**31 - 1
LARGEST_NUMBER = 1e6  # no weight or factor is larger
LONGEST_NAME, LONGEST_PATH = 255, 4095  # bytes that file systems take


def shown(value: Any) -> str:
    """A value as it stands in a one-line message, cut where it becomes long."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # Python prints no number of thousands of digits
        return f"{'an int' if is_whole(value) else 'a value'} too long to be shown"
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 3]}..."


@dataclass(frozen=True)
class Kind:
    """What the value of a key must be.

    Attributes:
        words: completes "it must be ...".
        fault: any object -> what is wrong with it, as it follows the key in a sentence; ``None`` =
            nothing.
    """

    words: str
    fault: Callable[[Any], str | None]


def must_be(value: Any, words: str) -> str:
    """The usual fault of a value."""
    return f"is {shown(value)}; it must be {words}"


def kind(words: str, fits: Callable[[Any], bool]) -> Kind:
    """A kind whose values fit or do not, without more to say about it."""
    return Kind(words, lambda value: None if fits(value) else must_be(value, words))


def is_whole(value: Any) -> bool:
    """Whether a value is an int; True is none here."""
    return type(value) is int


def is_number(value: Any) -> bool:
    """Whether a value is an int or float, perhaps NaN or infinite."""
    return type(value) in (int, float)


def is_text(value: Any) -> bool:
    """Whether a value is text in one line that can be written to a file."""
    if not isinstance(value, str) or "\0" in value or len(value.splitlines()) > 1:
        return False
    return not any("\ud800" <= character <= "\udfff" for character in value)


def switch() -> Kind:
    """True or False."""
    return kind("True or False", lambda value: type(value) is bool)


def whole(low: int = 0, high: int = LARGEST_WHOLE, multiple_of: int = 1) -> Kind:
    """A whole number in [low, high] that ``multiple_of`` divides."""
    limits = f"{low} or more" if high == LARGEST_WHOLE else f"between {low} and {high}"
    step = f"a multiple of {multiple_of}"
    words = f"a whole number, {limits}" + (f", {step}" if multiple_of > 1 else "")

    def fault(value: Any) -> str | None:
        if not is_whole(value):
            return must_be(value, words)
        if not low <= value <= high:
            return must_be(value, limits if value < low else f"between {low} and {high}")
        return must_be(value, step) if value % multiple_of else None

    return Kind(words, fault)


def number(
    low: float = 0.0, high: float = LARGEST_NUMBER, *, above: bool = False, below: bool = False
) -> Kind:
    """A finite number in [low, high]; without ``low`` if ``above``, without ``high`` if
    ``below``. Above 1, ``high`` is no limit of the thing but of what can be meant.
    """
    if high > 1:
        limits = f"more than {low:g}" if above else f"{low:g} or more"
    elif above or below:
        ends = ("more than" if above else "at least", "less than" if below else "at most")
        limits = f"{ends[0]} {low:g} and {ends[1]} {high:g}"
    else:
        limits = f"between {low:g} and {high:g}"

    def fault(value: Any) -> str | None:
        if not is_number(value) or value != value:  # which NaN is
            return must_be(value, f"a number, {limits}")
        if not low <= value <= high or (above and value == low) or (below and value == high):
            return must_be(value, f"at most {high:g}" if value > high > 1 else limits)
        return None

    return Kind(f"a number, {limits}", fault)


def fraction(*, above: bool = False, below: bool = False) -> Kind:
    """A share or probability in [0, 1], perhaps without 0 (``above``) or 1 (``below``)."""
    return number(0, 1, above=above, below=below)


def text(what: str) -> Kind:
    """Printable text in one line, not empty; ``what`` it is, with its article."""

    def fits(value: Any) -> bool:
        return is_text(value) and bool(value.strip()) and len(value) <= LONGEST_PATH

    return kind(f"{what}, as text", fits)


def path(what: str = "a file", *, empty: bool = True) -> Kind:
    """A path in one line that a file system can have, of ``what`` (with its article), or ""."""

    def fits(value: Any) -> bool:
        if not isinstance(value, str) or "\0" in value or len(value.splitlines()) > 1:
            return False
        if not value.strip():
            return empty and not value
        try:
            names = os.fsencode(value).split(os.sep.encode())
        except UnicodeEncodeError:
            return False
        longest = max(len(name) for name in names)
        return longest <= LONGEST_NAME and sum(map(len, names)) + len(names) <= LONGEST_PATH

    return kind(f"the path of {what}" + (", or ''" if empty else ""), fits)


def content() -> Kind:
    """Text in any number of lines, or none."""

    def fits(value: Any) -> bool:
        return isinstance(value, str) and "\0" not in value

    return kind("text, or ''", fits)


def one_of(*names: str) -> Kind:
    """One of some names."""
    words = f"one of {', '.join(names)}" if len(names) > 1 else repr(names[0])
    return kind(words, lambda value: isinstance(value, str) and value in names)


def one_number_of(*numbers: int) -> Kind:
    """One of some whole numbers."""
    words = f"one of {', '.join(map(str, numbers))}"
    return kind(words, lambda value: is_whole(value) and value in numbers)


def registered(registry: Registry) -> Kind:
    """The name of a part in one of detectron2's registries."""

    def fault(value: Any) -> str | None:
        if isinstance(value, str) and value in registry:
            return None
        known = ", ".join(sorted(name for name, _ in registry))
        return f"{shown(value)} is not registered; there are: {known}"

    return Kind("the name of a registered part", fault)
