"""Small files that a kill or a full disk must not destroy."""

import errno
import os
from collections.abc import Sequence
from pathlib import Path

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Windows opens no folder, and some network file systems flush none
CANNOT_FLUSH = (
    *(errno.EACCES, errno.EPERM, errno.EISDIR, errno.EBADF),
    *(errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP),
)


def flush(descriptor: int) -> None:
    """Waits until what was written is on the disk, where the file system can do that.

    Raises:
        OSError: if it cannot be written.
    """
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in CANNOT_FLUSH:
            raise


def flush_folder(folder: Path) -> None:
    """The same for the names of a folder's files."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        if error.errno not in CANNOT_FLUSH:
            raise
        return
    try:
        flush(descriptor)
    finally:
        os.close(descriptor)


def replace_bytes(path: Path, content: bytes) -> None:
    """Writes beside the final name and renames: the name holds the old content or the new one.

    Raises:
        OSError: if it cannot be written; the old content stays.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def replace_text(path: Path, text: str) -> None:
    """The same for text, in UTF-8; what it quotes of file names keeps its bytes."""
    replace_bytes(path, text.encode(errors="surrogateescape"))


def is_utf8(path: str | Path) -> bool:
    """Whether the bytes of a path are UTF-8; of files from old Windows archives they are not."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def move_to_previous(folder: Path, paths: Sequence[Path]) -> Path:
    """Moves what is no longer current to ``folder / "previous_<n>"``, a new one, and returns it."""
    numbers = [path.name.removeprefix("previous_") for path in folder.glob("previous_*")]
    number = 1 + max((int(text) for text in numbers if text.isdecimal()), default=0)
    target = folder / f"previous_{number}"
    target.mkdir()
    for path in paths:
        path.rename(target / path.name)
    return target
