"""Reading and writing beside the network, a bounded number of pictures at a time."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")
_END = object()


def read_ahead(calls: Iterable[Callable[[], T]], threads: int, most: int) -> Iterator[T]:
    """What the calls return, in order; up to ``most`` of them are made before they are asked for.

    Args:
        calls: made in threads.
        threads: how many run at a time.
        most: results that wait in memory.
    """
    pool = ThreadPoolExecutor(threads, "read")
    waiting: deque[Future[T]] = deque()
    try:
        for call in calls:
            waiting.append(pool.submit(call))
            if len(waiting) > most:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def iterate_ahead(items: Iterator[T], most: int) -> Iterator[T]:
    """The same of an iterator, which one thread advances."""

    def calls() -> Iterator[Callable[[], Any]]:
        while True:
            yield lambda: next(items, _END)

    for item in read_ahead(calls(), 1, most):
        if item is _END:
            return
        yield item


class Background:
    """Calls in threads; whoever is too fast waits. Errors are raised by the next call.

    With one thread the calls are made in order. Used in a ``with`` statement.
    """

    def __init__(self, threads: int, most: int) -> None:
        self._pool = ThreadPoolExecutor(threads, "write")
        self._waiting: deque[Future[Any]] = deque()
        self._most = most

    def call(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Makes a call as soon as a thread is free."""
        while self._waiting and (len(self._waiting) >= self._most or self._waiting[0].done()):
            self._waiting.popleft().result()
        self._waiting.append(self._pool.submit(function, *arguments))

    def __enter__(self) -> "Background":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        """Waits for all calls; raises the first error among them, unless there is one already."""
        try:
            while self._waiting:
                self._waiting.popleft().result()
        except Exception:
            if kind is None:
                raise
        finally:
            self._pool.shutdown(cancel_futures=True)
