"""SIGTERM and SIGHUP, with which clusters end a job whose time is over."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, NoReturn, Self

from ..data.worker_signals import STOPPING

# whoever starts several processes passes a signal on that the whole group may have got as well
FORWARDED_WITHIN = 5.0  # seconds


class Terminated(SystemExit):
    """Ends the process with the status that shells report for the signal: 143 or 129.

    Args:
        number: of the signal.
        done: what has been saved, for the line that is said.
    """

    def __init__(self, number: int, done: str = "") -> None:
        super().__init__(128 + number)
        stopped = f"stopped {done}" if done else "stopped"
        self.line = f"{signal.Signals(number).name}: {stopped}; a training goes on with --resume"


def end_now(number: int) -> NoReturn:
    """Ends the process and those that it has started, whatever they are doing."""
    for process in multiprocessing.active_children():
        process.kill()
    line = f"{signal.Signals(number).name} again: ended at once; a training goes on with --resume\n"
    os.write(2, line.encode())
    os._exit(128 + number)


class StopSignals:
    """While it is entered, the first signal is noted in ``number`` (before: 0) and the second one
    ends the process at once. What is ignored (``nohup``) stays ignored. Threads other than the
    main one receive no signals: there it does nothing.

    Args:
        patience: a second signal counts only so many seconds after the first one. More than 0 where
            several processes work together: then a connection that breaks after the first signal is
            taken as the end of another process, which has got it too.
        first: called with the number of the first signal.
    """

    def __init__(self, patience: float = 0.0, first: Callable[[int], Any] | None = None) -> None:
        self.patience = patience
        self.number = 0
        self._first = first
        self._when = 0.0
        self._raises = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in STOPPING:
                if signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            # None: one that C code has set, which Python cannot bring back
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if self.number and self.patience and isinstance(error, RuntimeError):
            raise Terminated(self.number) from error

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.number:
            if time.monotonic() - self._when >= self.patience:
                end_now(number)
            return
        self.number, self._when = number, time.monotonic()
        if self._first is not None:
            self._first(number)
        if self._raises:
            raise Terminated(number)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Inside, the first signal raises `Terminated` wherever the process is, and one that was
        noted before does so on entry.
        """
        self._raises = True
        try:
            if self.number:
                raise Terminated(self.number)
            yield
        finally:
            self._raises = False
