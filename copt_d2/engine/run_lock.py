"""One training at a time in an output folder, as long as its process lives."""

import errno
import json
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from detectron2.utils import comm

from ..errors import InputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None
    import msvcrt

logger = logging.getLogger("copt_d2.run_lock")
NAME = "training.lock"
# a lock that another process has, or a file system that knows none (some network file systems)
TAKEN = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
UNKNOWN = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL)
BEYOND = 1 << 20  # Windows lets nobody read a locked byte: this one holds nothing


def _birth(pid: int) -> str:
    """When a process of this machine started, in ticks since its boot; "" where it cannot be told
    or is gone.
    """
    with suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return ""


def _this_process() -> dict[str, Any]:
    now = datetime.now().astimezone().isoformat(" ", "seconds")
    pid = os.getpid()
    return {"host": socket.gethostname(), "pid": pid, "since": now, "birth": _birth(pid)}


def _lock(descriptor: int) -> None:
    # A lock of the process, not of the file as flock's: what the loader forks does not hold it, so
    # workers that outlive a killed training block no resume. It is lost when the process closes
    # any descriptor of the file, so nothing else may open it.
    if fcntl is not None:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    else:
        os.lseek(descriptor, BEYOND, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)


def _read_owner(descriptor: int) -> dict[str, Any]:
    os.lseek(descriptor, 0, os.SEEK_SET)
    try:
        owner = json.loads(os.read(descriptor, 4096))
    except ValueError:
        return {}
    return owner if isinstance(owner, dict) else {}


def _may_live(owner: dict[str, Any]) -> bool:
    """Without locks: whether the process that has written its name here may still run."""
    if not owner:
        return False
    if owner.get("host") != socket.gethostname() or fcntl is None:
        return True  # it cannot be asked
    try:
        os.kill(int(owner["pid"]), 0)
    except PermissionError:
        return True
    except (OSError, KeyError, ValueError, TypeError):
        return False
    return _birth(owner["pid"]) == owner.get("birth", "")


def _refuse(path: Path, owner: dict[str, Any], advice: str) -> InputError:
    who = "another training"
    if owner:
        who = "a training (process {pid} on {host}, since {since})".format(
            **{key: owner.get(key, "?") for key in ("pid", "host", "since")}
        )
    return InputError(
        f"OUTPUT_DIR {path.parent} is in use: {who} writes there; wait for it, or choose another "
        f"OUTPUT_DIR{advice}"
    )


def _is_still(path: Path, descriptor: int) -> bool:
    """The one who had the lock may have removed the file since it was opened."""
    with suppress(OSError):
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    return False


def _try_to_lock(path: Path, descriptor: int) -> None:
    owner = _read_owner(descriptor)
    try:
        _lock(descriptor)
    except OSError as error:
        if error.errno in TAKEN:
            raise _refuse(path, owner, "") from error
        if error.errno not in UNKNOWN:
            raise
        if _may_live(owner):
            advice = f" (if that process has ended, delete {path})"
            raise _refuse(path, owner, advice) from error
    else:
        if owner.get("host", socket.gethostname()) != socket.gethostname():
            # a mount can keep its locks to one machine (nolock, localflock), which nobody can tell
            logger.warning(
                "%s was left by process %s on %s (since %s): if it still runs, stop one of the two",
                *(path, owner.get("pid"), owner["host"], owner.get("since")),
            )


def _acquire(path: Path) -> int:
    """The open file, locked, with the name of this process in it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _try_to_lock(path, descriptor)
            if _is_still(path, descriptor):
                os.ftruncate(descriptor, 0)
                os.lseek(descriptor, 0, os.SEEK_SET)
                os.write(descriptor, json.dumps(_this_process()).encode())
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


@contextmanager
def run_lock(folder: str) -> Iterator[None]:
    """Inside, no other training can enter with the same folder, which must exist. All processes of
    a run must call it; rank 0 has the lock.

    Raises:
        InputError: if another process has entered; the message names it.
        OSError: if nothing can be written in the folder.
    """
    path = Path(folder) / NAME
    descriptor, problem = None, None
    if comm.is_main_process():
        try:
            descriptor = _acquire(path)
        except (InputError, OSError) as error:
            problem = error
    problem = comm.all_gather(problem)[0]
    if problem is not None:
        raise problem
    try:
        yield
    finally:
        if descriptor is not None:
            # removed while it is locked: who waits behind finds it gone and makes a new one
            with suppress(OSError):
                path.unlink()
            os.close(descriptor)
