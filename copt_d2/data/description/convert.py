"""Labels of any form -> train-id PNGs in a cache, each made once for its content."""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
from numpy import ndarray

from ...errors import InputError
from ...files import replace_bytes
from ..parallel import map_in_threads
from .cache import cache_folder, file_digest, require_space, unwritable

logger = logging.getLogger("copt_d2.data")
_JOBS = min(8, os.cpu_count() or 1)
_FIRST = 8  # labels from which the space that all need is told


@dataclass(frozen=True)
class Item:
    """The labels of one image.

    Attributes:
        name: of the PNG, without ending.
        content: digest of all that the labels depend on, but for the description.
        read: (H, W) uint8 train ids; ``None`` = they cannot be made, which the caller will tell.
    """

    name: str
    content: str
    read: Callable[[], ndarray | None]


@dataclass(frozen=True)
class Plan:
    """How the labels of a data set become train ids.

    Attributes:
        pairs: each image with its labels.
        recipe: digest of how labels become train ids.
        finish: called after all are written: says or refuses what was found on the way.
    """

    pairs: list[tuple[str, Item]]
    recipe: str
    finish: Callable[[], None]


def write_train_ids(items: Sequence[Item], recipe: str, where: str) -> list[str]:
    """A train-id PNG for each item; what is there is not made again.

    Args:
        items: of one data set.
        recipe: digest of how labels become train ids.
        where: file and key of the description, for messages.
    Returns:
        their paths, in the order of the items.
    Raises:
        InputError: if the cache cannot be written, or an item not be read.
    """
    folder = cache_folder("labels")
    places = [folder / _place(item, recipe) for item in items]
    todo = [pair for pair in zip(items, places, strict=True) if not pair[1].is_file()]
    try:
        for parent in {place.parent for _, place in todo}:
            parent.mkdir(parents=True, exist_ok=True)
        written = [_write(pair) for pair in todo[:_FIRST]]
        rest = todo[_FIRST:]
        if rest:
            logger.info("%s: turning %d labels into train ids in %s", where, len(todo), folder)
            require_space(folder, max(written) * len(rest), where)
            map_in_threads(_write, rest, _JOBS, f"train ids of {where.rpartition(' ')[2]}")
    except OSError as error:
        raise unwritable(where, folder, error) from None
    return [os.fspath(place) for place in places]


def _place(item: Item, recipe: str) -> Path:
    key = hashlib.sha256(f"{item.content}\0{recipe}".encode()).hexdigest()
    # in two parts: a folder of 25,000 files is slow on some disks; the name is for messages
    return Path(key[:2]) / f"{key[2:34]}-{item.name}.png"


def _write(pair: tuple[Item, Path]) -> int:
    item, place = pair
    train_ids = item.read()
    if train_ids is None:
        return 0
    encoded = cv2.imencode(".png", train_ids, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()
    replace_bytes(place, encoded)
    return len(encoded)


class Digests:
    """Digests of files, computed once for a size and time of each file.

    Args:
        name: of the list in the cache; one of each data set.
    """

    def __init__(self, name: str) -> None:
        short = hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:32]
        self.file = cache_folder("digests") / f"{short}.json"
        self.known: dict[str, list[str]] = {}
        try:
            self.known = json.loads(self.file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self.known = {}  # none yet, or damaged

    def of(self, paths: Sequence[str], what: str) -> list[str]:
        """Digest of each file's content.

        Args:
            paths: the files.
            what: for the progress bar.
        Raises:
            InputError: if one cannot be read.
        """
        stamps = [_stamp(path) for path in paths]
        keys = [os.fsencode(path).decode("latin-1") for path in paths]
        pairs = list(zip(keys, stamps, paths, strict=True))
        stale = [pair for pair in pairs if self.known.get(pair[0], [""])[0] != pair[1]]
        if stale:
            digests = map_in_threads(lambda pair: file_digest(pair[2]), stale, _JOBS, what)
            for (key, stamp, _), digest in zip(stale, digests, strict=True):
                self.known[key] = [stamp, digest]
            self._keep()
        return [self.known[key][1] for key in keys]

    def _keep(self) -> None:
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            replace_bytes(self.file, json.dumps(self.known).encode())
        except OSError as error:  # they are computed again next time
            logger.warning("%s cannot be written: %s", self.file, error.strerror)


def _stamp(path: str) -> str:
    try:
        status = os.stat(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    return f"{status.st_size} {status.st_mtime_ns}"
