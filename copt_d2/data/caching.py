"""What was found in files once and is kept outside the data, under ``$COPT_D2_CACHE``."""

import hashlib
import logging
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from ..errors import InputError

_VARIABLE = "COPT_D2_CACHE"

logger = logging.getLogger(__name__)


def cache_file(kind: str, name: str, digest: str, suffix: str) -> Path:
    """Where a result about the data set ``name`` is kept."""
    folder = Path(os.environ.get(_VARIABLE) or "~/.cache/copt_d2").expanduser() / kind
    return folder / f"{name}-{digest}{suffix}"


def file_state(path: str | Path, kind: str) -> tuple[int, int]:
    """Size in bytes and time of the last change in nanoseconds, which tell a file's versions apart.

    Args:
        path: of the file.
        kind: "image" or "label file", for the message.
    Raises:
        InputError: if there is no such file.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        raise InputError(f"{kind} {path} cannot be read: {error.strerror}") from None
    return status.st_size, status.st_mtime_ns


def fingerprint(files: Iterable[str], kind: str, settings: bytes = b"") -> str:
    """16 hexadecimal digits of the paths and states of files, in their order.

    Args:
        files: paths, in any encoding of the file system.
        kind: as of `file_state`.
        settings: what else a result depends on.
    Raises:
        InputError: if a file is missing.
    """
    digest = hashlib.sha256(settings)
    for file in files:
        size, changed = file_state(file, kind)
        digest.update(os.fsencode(file) + f"\0{size}\0{changed}\n".encode())
    return digest.hexdigest()[:16]


def store(path: Path, content: bytes) -> None:
    """Keeps a result; where that is not possible, a warning says so."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # a name of its own, then renamed: another run never sees half a file
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as file:
            temporary = Path(file.name)
            try:
                file.write(content)
                file.flush()
            except OSError:
                temporary.unlink()
                raise
        os.replace(temporary, path)
    except OSError as error:
        logger.warning("%s cannot be kept in %s (%s)", path.name, path.parent, error)
