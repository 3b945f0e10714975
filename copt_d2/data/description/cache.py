"""Where what is made of a description's files is kept: by content, whole or not at all."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ...errors import InputError

_VARIABLE = "COPT_D2_CACHE"
_BLOCK = 1 << 20
_RESERVE = 64 << 20  # bytes of a disk that are left alone


def cache_folder(part: str) -> Path:
    """``$COPT_D2_CACHE`` (default ``~/.cache/copt_d2``) / descriptions / ``part``."""
    root = Path(os.environ.get(_VARIABLE) or "~/.cache/copt_d2").expanduser()
    return root / "descriptions" / part


def file_digest(path: str) -> str:
    """SHA-256 of a file's content, in hex digits.

    Raises:
        InputError: if it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    return digest.hexdigest()


def require_space(folder: Path, bytes_needed: int, where: str) -> None:
    """Raises ``InputError`` if the disk of ``folder`` has not as much free."""
    free = shutil.disk_usage(folder).free
    if bytes_needed + _RESERVE > free:
        raise InputError(
            f"{where}: about {bytes_needed / 2**20:.0f} MiB are needed in {folder}, and "
            f"{free / 2**20:.0f} MiB are free: free space, or set {_VARIABLE} to another disk"
        )


def make_once(part: str, name: str, where: str, fill: Callable[[Path], None]) -> Path:
    """A folder of the cache, which is there as a whole or not at all.

    Args:
        part: kind of content.
        name: what the content depends on, as a digest.
        where: file and key of the description, for messages.
        fill: writes the content into the folder that it is given; called if there is none yet.
    Raises:
        InputError: if it cannot be written.
    """
    final = cache_folder(part) / name
    if final.is_dir():
        return final
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f"{name}.", dir=final.parent) as outer:
            temporary = Path(outer) / "content"
            temporary.mkdir()
            fill(temporary)
            with suppress(FileExistsError):  # another process was faster
                os.rename(temporary, final)
    except OSError as error:
        raise unwritable(where, final.parent, error) from None
    return final


def unwritable(where: str, folder: Path, error: OSError) -> InputError:
    """The one line for a cache folder that is full, read-only or no folder."""
    return InputError(
        f"{where}: {folder} cannot be written ({error.strerror}): free space there, or set "
        f"{_VARIABLE} to a folder of yours"
    )
