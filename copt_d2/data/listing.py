"""What users' own functions list, and the names that they give to their data sets."""

import os
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..errors import InputError
from .layouts import DatasetDict

ListFunction = Callable[[], Iterable[DatasetDict]]
_PATHS = ("file_name", "sem_seg_file_name")


def checked_name(name: Any) -> str:
    """The name of a data set, which files of its own are called by.

    Raises:
        InputError: if it is no text, or cannot be part of a file's name.
    """
    if not isinstance(name, str) or not name.strip():
        raise InputError(f"register_dataset: the name {name!r} is no text that a config can name")
    if name in (os.curdir, os.pardir):
        raise InputError(f"register_dataset: the name {name!r} is that of a folder: use letters")
    odd = [letter for letter in name if letter in "/\\" or unicodedata.category(letter) == "Cc"]
    if odd:
        raise InputError(
            f"register_dataset: the name {name!r} holds {odd[0]!r}, but records and caches are "
            "files of this name: use letters, digits and _"
        )
    return name


def listed(name: str, function: ListFunction) -> list[DatasetDict]:
    """The dicts that a function lists: new ones, with paths as texts and no label file of ``None``.

    Args:
        name: the data set, for messages.
        function: of `register_dataset`.
    Raises:
        InputError: if it lists nothing, or something that is no image.
    """
    entries = function()
    if not isinstance(entries, Iterable) or isinstance(entries, (str, bytes, Mapping)):
        raise InputError(
            f"data set {name!r}: its function returned {entries!r:.60}; needed is a list of dicts "
            "with file_name"
        )
    found = [_checked_entry(name, place, entry) for place, entry in enumerate(entries)]
    if not found:
        raise InputError(f"data set {name!r}: its function lists no image: look where it searches")
    return found


def _checked_entry(name: str, place: int, entry: Any) -> DatasetDict:
    if not isinstance(entry, Mapping):
        raise InputError(
            f"data set {name!r}: entry {place} of its list is {entry!r:.60}; needed is a dict with "
            "file_name"
        )
    checked = dict(entry)
    if checked.get("sem_seg_file_name", "") is None:
        del checked["sem_seg_file_name"]
    if "file_name" not in checked:
        raise InputError(f"data set {name!r}: entry {place} of its list has no file_name")
    for key in _PATHS:
        path = checked.get(key)
        if isinstance(path, (str, os.PathLike)) and os.fspath(path):
            checked[key] = os.fsdecode(path)
        elif key in checked:
            raise InputError(
                f"data set {name!r}: entry {place} of its list has the {key} {path!r:.60}; needed "
                "is a path"
            )
    return checked
