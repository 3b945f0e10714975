"""The worker processes of a loader: how long they are waited for, and what is told of their end."""

import logging
import multiprocessing.process
import os
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch.utils.data import DataLoader

from ..errors import InputError
from .layouts import data_root
from .shared_memory import SHARED_MEMORY, free_shared_bytes

TICKS = 8  # parts of a wait
_END = object()  # no more batches
_DIED = re.compile(r"DataLoader worker \(pid\(?s?\)? ([\d, ]+)\) ([^.]*)")

logger = logging.getLogger(__name__)


def patience(images: int, workers: int) -> float:
    """Seconds after which a loader counts as stuck: 60, and 15 for each image of a batch, times the
    workers that share a core.
    """
    return 60 + 15 * images * max(1.0, workers / (os.cpu_count() or 1))


class Stuck(Exception):
    """Nothing has come within the time."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raises `Stuck` in what takes longer, be it the wait for a message of a worker or a read in
    this process.

    Counted in parts, so that the time in which this process is stopped (Ctrl-Z, a machine that
    sleeps) is no more than one of them. Without effect outside the main thread, and where somebody
    else uses the timer.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or not hasattr(signal, "setitimer") or signal.getitimer(signal.ITIMER_REAL)[0]:
        yield
        return
    left = TICKS

    def tick(*_: Any) -> None:
        nonlocal left
        left -= 1
        if left <= 0:
            raise Stuck

    before = signal.signal(signal.SIGALRM, tick)
    signal.setitimer(signal.ITIMER_REAL, seconds / TICKS, seconds / TICKS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before or signal.SIG_DFL)


def worker_failure(error: BaseException) -> str | None:
    """What is told if a worker died or cannot be reached; ``None`` for any other error.

    torch raises it wherever the main thread is at that moment.
    """
    if not isinstance(error, RuntimeError):
        return None
    died = _DIED.match(str(error))
    if died:
        return _death_line(died[1], died[2].strip())
    if str(error).startswith("Too many open files"):
        return (
            "the loader has too many open files: raise the limit (ulimit -n), or lower "
            "DATALOADER.NUM_WORKERS or SOLVER.IMS_PER_BATCH; a training goes on with --resume"
        )
    return None


def _death_line(pid: str, how: str) -> str:
    reason = "its own message, if any, stands above"
    if "Bus error" in how:
        reason = f"shared memory ({SHARED_MEMORY}) is full: give it more (Docker: --shm-size)"
    elif "Killed" in how:
        reason = (
            "most often because the machine's memory is full: lower DATALOADER.NUM_WORKERS or "
            "SOLVER.IMS_PER_BATCH"
        )
    return (
        f"a worker process of the loader (pid {pid}) {how}, {reason}; a training goes on with "
        "--resume"
    )


def _death_among(batches: Iterator[Any]) -> str | None:
    """The line of the first dead worker; its end may be seen a moment after its connections'."""
    for worker in getattr(batches, "_workers", ()):
        worker.join(0.2)
        if worker.exitcode:
            number = -worker.exitcode
            killed = f"is killed by signal: {signal.strsignal(number)}" if number > 0 else ""
            return _death_line(
                str(worker.pid), killed or f"exited unexpectedly with exit code {worker.exitcode}"
            )
    return None


def batches_of(loader: DataLoader, seconds: float) -> Iterator[Any]:
    """The batches of a loader, none of which is waited for without an end; afterwards, and after an
    error, its workers have ended.

    Args:
        loader: perhaps endless.
        seconds: until the loader counts as stuck; or ten times the longest wait so far, if that is
            more.
    Raises:
        InputError: if it is stuck, a worker has died, or none can be started.
    """
    batches = _started(loader)
    failed, longest = True, 0.0
    try:
        while True:
            began = time.monotonic()
            batch = _next(batches, max(seconds, 10 * longest))
            longest = max(longest, time.monotonic() - began)
            if batch is _END:
                break
            failed = False
            yield batch
            failed = True
        failed = False
    finally:
        _end_workers(batches, at_once=failed)


def _started(loader: DataLoader) -> Iterator[Any]:
    try:
        return iter(loader)
    except OSError as error:  # its locks lie in shared memory, too
        reason = error.strerror
        with _nothing_told():  # torch's half-built iterator cannot be deleted without an error
            traceback.clear_frames(error.__traceback__)
    raise InputError(
        f"the loader cannot start its {loader.num_workers} worker processes ({reason}): give more "
        f"shared memory ({SHARED_MEMORY} has {free_shared_bytes()} bytes free; Docker: --shm-size) "
        "and processes (ulimit -u), or lower DATALOADER.NUM_WORKERS"
    )


@contextmanager
def _nothing_told() -> Iterator[None]:
    """Errors of finalisers are silent inside."""
    before, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        yield
    finally:
        sys.unraisablehook = before


def _next(batches: Iterator[Any], seconds: float) -> Any:
    """The next batch, or ``_END``."""
    try:
        with limited(seconds):
            return next(batches, _END)
    except Stuck:
        line = _death_among(batches) or _stuck_line(batches, seconds)
    except (RuntimeError, EOFError, OSError) as error:
        # what a dead worker has announced cannot be fetched: a broken connection
        with _children_may_die():
            line = _death_among(batches) or worker_failure(error)
        if str(error).startswith("DataLoader timed out"):
            line = line or _stuck_line(batches, seconds)
        if line is None:
            raise
    raise InputError(line)


def _stuck_line(batches: Iterator[Any], seconds: float) -> str:
    workers = [str(worker.pid) for worker in getattr(batches, "_workers", ())]
    where = f"its worker processes (pid {', '.join(workers)}) are" if workers else "reading is"
    return (
        f"the loader has waited {seconds:.0f} s for its next batch, {where} stuck: most often a "
        f"file system does not answer; look at {data_root()}; a training goes on with --resume"
    )


def _end_workers(batches: Iterator[Any], *, at_once: bool) -> None:
    """Ends the workers; those that do not end by themselves are killed, none is waited for."""
    workers = getattr(batches, "_workers", ())
    if not workers:
        return
    with _children_may_die():
        if at_once:
            _kill(workers)
        batches._shutdown_workers()  # gives each some seconds, then tells it to end
        _kill(workers)


@contextmanager
def _children_may_die() -> Iterator[None]:
    """Inside, torch does not raise that they have."""
    main = threading.current_thread() is threading.main_thread()
    if not main or not hasattr(signal, "SIGCHLD"):
        yield
        return
    handler = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, handler or signal.SIG_DFL)


def _kill(workers: list[Any]) -> None:
    for worker in workers:
        worker.kill()
    for worker in workers:
        worker.join(1.0)
        if worker.is_alive():  # in a call that nothing interrupts; Python would wait at its exit
            multiprocessing.process._children.discard(worker)
