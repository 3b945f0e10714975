"""Names of objects in JSON files -> train ids."""

import json
import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import InputError
from .schema import ClassEntry

logger = logging.getLogger("copt_d2.data")
# what a file of another form makes the code that reads it raise
MISFITS = (KeyError, TypeError, ValueError, IndexError, AttributeError)


@dataclass(frozen=True)
class Categories:
    """Names in JSON files -> train ids; keeps count of the names that map nowhere.

    Attributes:
        by_name: name in lower case -> train id.
        left_out: name -> objects that no class has.
    """

    by_name: dict[str, int]
    left_out: Counter = field(default_factory=Counter)

    @staticmethod
    def of(classes: Iterable[ClassEntry], renamed: Mapping[str, str]) -> "Categories":
        """By the names and words of ``classes``, and by ``renamed`` (category -> class name)."""
        by_name: dict[str, int] = {}
        for train_id, entry in enumerate(classes):
            for name in (entry.name, *entry.words):
                by_name.setdefault(name.casefold(), train_id)
        known = {entry.name: train_id for train_id, entry in enumerate(classes)}
        by_name |= {name.casefold(): known[target] for name, target in renamed.items()}
        return Categories(by_name)

    def train_id(self, name: str) -> int | None:
        """Of a category; ``None``, and counted, where no class has it."""
        found = self.by_name.get(str(name).casefold())
        if found is None:
            self.left_out[str(name)] += 1
        return found

    def report(self, where: str) -> None:
        """Says which names mapped nowhere, with their counts."""
        if self.left_out:
            names = ", ".join(f"{name!r} ({count})" for name, count in self.left_out.most_common())
            logger.warning(
                "%s: objects of no class are ignored: %s; map them with categories:", where, names
            )


def read_json(path: Path, what: str) -> Any:
    """A JSON file's content.

    Args:
        path: the file.
        what: "coco", ... for the message.
    Raises:
        InputError: if it cannot be read or is no JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{what}: {path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{what}: {path} is no JSON: {error}") from None
