"""Checks of a label space: whatever is wrong in it shows when it is registered, not in a run."""

import unicodedata
from collections.abc import Sequence
from numbers import Integral
from typing import Any

from ..class_names import ClassList, require_distinct_names
from ..errors import InputError
from .label_spaces import IGNORE_INDEX, UNKNOWN, LabelSpace

MAX_CLASSES = UNKNOWN  # train ids 0..253; 254 and 255 have meanings of their own
VALUES = 256  # of an 8-bit label file


def checked_label_space(dataset: str, space: LabelSpace) -> LabelSpace:
    """The same label space as tuples of Python's own types.

    Args:
        dataset: the data set's name, for messages.
        space: any sequences, arrays included, in the places of its tuples.
    Raises:
        InputError: naming the data set, the field and the first value that is wrong.
    """
    if not isinstance(space, LabelSpace):
        raise InputError(
            f"data set {dataset!r}: its label space is a {type(space).__name__}; needed is a "
            "copt_d2.data.label_spaces.LabelSpace"
        )
    classes = _checked_names(dataset, space.classes)
    return LabelSpace(
        classes=classes,
        palette=_checked_palette(dataset, space.palette, len(classes)),
        things=checked_train_ids(dataset, "things", space.things, classes),
        table=_checked_table(dataset, space.table, len(classes)),
    )


def checked_train_ids(
    dataset: str, field: str, values: Any, classes: Sequence[str]
) -> tuple[int, ...]:
    """Train ids of a data set, each once.

    Args:
        dataset: the data set's name, for messages.
        field: what holds them, for messages.
        values: the train ids.
        classes: the data set's K names.
    Raises:
        InputError: naming the data set, the field and the first value that is wrong.
    """
    found: list[int] = []
    for value in _values(dataset, field, values, "train ids"):
        if not _is_whole(value) or not 0 <= value < len(classes):
            hint = (
                f" ({classes.index(value)} is its train id)"
                if isinstance(value, str) and value in classes
                else ""
            )
            raise _wrong(dataset, field, value, f"no train id of 0..{len(classes) - 1}{hint}")
        if int(value) in found:
            raise _wrong(dataset, field, value, "there twice: name each train id once")
        found.append(int(value))
    return tuple(found)


def _checked_names(dataset: str, values: Any) -> tuple[str, ...]:
    names = _values(dataset, "classes", values, "class names")
    if not 2 <= len(names) <= MAX_CLASSES:
        raise InputError(
            f"data set {dataset!r}: classes has {len(names)} names; needed are 2 to {MAX_CLASSES} "
            "(train ids 0..253: 254 and 255 have meanings of their own)"
        )
    for name in names:
        if not isinstance(name, str):
            raise _wrong(dataset, "classes", name, "no text: each class has one name, in quotes")
        if any(unicodedata.category(letter) == "Cc" for letter in name):
            raise _wrong(dataset, "classes", name, "no name in one line: a control character")
    require_distinct_names(ClassList(f"data set {dataset!r}: classes", names))
    return tuple(str(name) for name in names)


def _checked_palette(dataset: str, values: Any, count: int) -> tuple[tuple[int, int, int], ...]:
    colors = _values(dataset, "palette", values, "colours")
    if len(colors) != count:
        raise InputError(
            f"data set {dataset!r}: palette has {len(colors)} colours for {count} classes; give "
            "one (red, green, blue) for each class, in the order of the train ids"
        )
    checked = []
    for color in colors:
        parts = list(color) if _is_sequence(color) else []
        if len(parts) != 3 or not all(_is_whole(part) and 0 <= part <= 255 for part in parts):
            raise _wrong(dataset, "palette", color, "no (red, green, blue), whole numbers 0..255")
        checked.append((int(parts[0]), int(parts[1]), int(parts[2])))
    return tuple(checked)


def _checked_table(dataset: str, values: Any, count: int) -> tuple[int, ...]:
    table = _values(dataset, "table", values, "train ids")
    if len(table) != VALUES:
        raise InputError(
            f"data set {dataset!r}: table has {len(table)} entries; needed are {VALUES}, the train "
            "id of each stored value (copt_d2.data.label_spaces.id_table makes one)"
        )
    for stored, value in enumerate(table):
        if not _is_whole(value) or not (0 <= value < count or value in (UNKNOWN, IGNORE_INDEX)):
            raise _wrong(
                *(dataset, f"table, stored value {stored}", value),
                f"no train id of 0..{count - 1}, nor {IGNORE_INDEX} (ignored) or {UNKNOWN} (not in "
                "this data set)",
            )
    return tuple(int(value) for value in table)


def _values(dataset: str, field: str, values: Any, what: str) -> list[Any]:
    # a text is a sequence of letters, a dictionary one of its keys, a set has no order
    if not _is_sequence(values):
        raise InputError(
            f"data set {dataset!r}: {field} is {values!r:.60}; needed is a tuple or list of {what}"
        )
    return list(values)


def _is_sequence(value: Any) -> bool:
    is_array = hasattr(value, "ndim") and hasattr(value, "__iter__") and value.ndim > 0
    return is_array or (isinstance(value, Sequence) and not isinstance(value, (str, bytes)))


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _wrong(dataset: str, field: str, value: Any, what: str) -> InputError:
    return InputError(f"data set {dataset!r}: {field}: {value!r:.60} is {what}")
