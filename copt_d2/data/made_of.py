"""Which label files statistics and train-id maps were made of, so that stale ones are seen."""

import hashlib
import json
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from numpy import ndarray

from ..files import replace_bytes
from .caching import file_state

MADE_OF_FILE = "sample_class_stats_made_of.json"  # beside the statistics
_PNG_HEADER = 33  # bytes before the first chunk that may hold a text
_KEYWORD, _TEXT_LIMIT = b"made of\0", 200


def image_key(label_file: str) -> str:
    """What the label file and the train-id map of one image have in common: the beginning of their
    base names.
    """
    stem = Path(label_file).name.removesuffix(".png")
    return stem.removesuffix("_labelTrainIds").removesuffix("_labelIds")


@dataclass(frozen=True)
class MadeOf:
    """What statistics were made of.

    Attributes:
        table: digest of the label table.
        labels: `image_key` -> size in bytes and time of the last change of the label file.
    """

    table: str
    labels: dict[str, list[int]]

    def changed_label(self, label_files: list[str], table: ndarray) -> str | None:
        """The first label file that is another one now; ``None`` if there is none, or if none of
        them is known, so that the statistics are of another data set.
        """
        known = [self.labels.get(image_key(file)) for file in label_files]
        if not any(known):
            return None
        if self.table != _digest(table.tobytes()):
            return label_files[0]
        pairs = zip(label_files, known, strict=True)
        return next((f for f, k in pairs if k != list(file_state(f, "label file"))), None)


def write_made_of(
    stats_files: list[Path], states: dict[str, tuple[int, int]], table: ndarray
) -> None:
    """Binds statistics, which are in one folder, to the label files that they were made of.

    Args:
        stats_files: the statistics as they are on the disk.
        states: label file -> its `file_state` before it was read.
        table: (256,) uint8, stored value -> train id.
    Raises:
        OSError: if it cannot be written.
    """
    content = {
        "statistics": {path.name: _digest(path.read_bytes()) for path in stats_files},
        "table": _digest(table.tobytes()),
        "labels": {image_key(file): state for file, state in states.items()},
    }
    replace_bytes(stats_files[0].parent / MADE_OF_FILE, json.dumps(content).encode())


def read_made_of(stats_file: Path) -> MadeOf | None:
    """What a statistics file was made of; ``None`` if nothing is known, as of released ones."""
    try:
        content = json.loads((stats_file.parent / MADE_OF_FILE).read_bytes())
        if content["statistics"].get(stats_file.name) != _digest(stats_file.read_bytes()):
            return None  # another program has written it since
        return MadeOf(content["table"], dict(content["labels"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def map_text(state: tuple[int, int], table: ndarray) -> bytes:
    """What a train-id map says of the label file that it was made of: its `file_state` before it
    was read, and the table.
    """
    return f"{state[0]} bytes of {state[1]} ns, table {_digest(table.tobytes())};".encode()


def with_text(png: bytes, text: bytes) -> bytes:
    """The bytes of a PNG with a text of ours in them."""
    body = b"tEXt" + _KEYWORD + text
    check = zlib.crc32(body).to_bytes(4, "big")
    chunk = struct.pack(">I", len(body) - 4) + body + check
    return png[:_PNG_HEADER] + chunk + png[_PNG_HEADER:]


def is_map_current(path: Path, state: tuple[int, int], table: ndarray) -> bool:
    """Whether a train-id map is of the label file as it is now; of maps of other programs, whether
    they are not older than it.

    Args:
        path: the map; it need not exist.
        state: `file_state` of the label file.
        table: (256,) uint8, stored value -> train id.
    """
    try:
        with path.open("rb") as file:
            start = file.read(_PNG_HEADER + _TEXT_LIMIT)
        changed = path.stat().st_mtime_ns
    except OSError:
        return False
    mark = b"tEXt" + _KEYWORD
    begin = start.find(mark, _PNG_HEADER)
    if begin < 0:
        return changed >= state[1]
    return start[begin + len(mark) :].startswith(map_text(state, table))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
