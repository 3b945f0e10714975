"""Single values of a description, checked; every mistake is one line that names file and key."""

import difflib
import os
from pathlib import Path
from typing import Any

from ...errors import InputError
from ..label_spaces import Color
from .yaml_file import kind_of


class Values:
    """Checks what stands under a key.

    Attributes:
        path: the file, for messages.
        folder: what relative paths are relative to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = path.parent

    def place(self, text: str) -> Path:
        """An absolute path: ``~``, ``$VARIABLES``, relative to root."""
        expanded = os.path.expanduser(os.path.expandvars(text))
        return Path(os.path.normpath(self.folder / expanded))

    def text(self, value: Any, key: str) -> str:
        """A text that is not empty."""
        if not isinstance(value, str):
            raise self.wrong(key, f"is {kind_of(value)}", "a text is needed: quote it")
        if not value.strip():
            raise self.wrong(key, "is empty", "write a text, or remove the key")
        return value

    def texts(self, value: Any, key: str) -> tuple[str, ...]:
        """One text or a list of them."""
        entries = [value] if isinstance(value, str) else self.listed(value, key)
        return tuple(self.text(entry, key) for entry in entries)

    def listed(self, value: Any, key: str) -> list[Any]:
        """A list."""
        if not isinstance(value, list):
            raise self.wrong(key, f"is {kind_of(value)}", "a list is needed: [a, b]")
        return value

    def table(self, value: Any, key: str) -> dict[Any, Any]:
        """A table."""
        if not isinstance(value, dict):
            raise self.wrong(key, f"is {kind_of(value)}", "a table is needed: {key: value}")
        return value

    def truth(self, value: Any, key: str) -> bool:
        """true or false."""
        if not isinstance(value, bool):
            raise self.wrong(key, f"is {kind_of(value)}", "write true or false")
        return value

    def whole(self, value: Any, key: str, low: int, high: int | None = None) -> int:
        """A whole number of at least ``low`` and at most ``high``."""
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        if not is_whole or value < low or (high is not None and value > high):
            limits = f"{low} or more" if high is None else f"between {low} and {high}"
            raise self.wrong(key, f"is {kind_of(value)}", f"a whole number, {limits}, is needed")
        return value

    def positive(self, value: Any, key: str) -> float:
        """A finite number above 0."""
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not 0 < value < float("inf"):
            raise self.wrong(key, f"is {kind_of(value)}", "a number above 0 is needed")
        return float(value)

    def ids(self, value: Any, key: str) -> tuple[int, ...]:
        """One stored value or a list of them, each once."""
        entries = value if isinstance(value, list) else [value]
        found = tuple(self.whole(entry, key, 0, 65535) for entry in entries)
        if not found or len(set(found)) < len(found):
            raise self.wrong(key, f"is {list(found)}", "name each stored value once")
        return found

    def color(self, value: Any, key: str) -> Color:
        """Red, green and blue, 0 to 255."""
        if not isinstance(value, list) or len(value) != 3:
            raise self.wrong(key, f"is {kind_of(value)}", "red, green and blue: [190, 153, 90]")
        red, green, blue = (self.whole(part, key, 0, 255) for part in value)
        return red, green, blue

    def known_keys(self, table: dict[Any, Any], known: tuple[str, ...], key: str) -> None:
        """Refuses the first key of a table that is none of ``known``."""
        for name in table:
            if name in known:
                continue
            near = difflib.get_close_matches(str(name), known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            where = f"{key}.{name}" if key else str(name)
            raise self.wrong(where, "is no key of a data description", hint)

    def wrong(self, key: str, problem: str, remedy: str) -> InputError:
        """The error: what is wrong with ``key``, and what to do."""
        return InputError(f"{self.path}: {key} {problem}: {remedy}")
