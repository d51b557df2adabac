"""Work of a track that goes on beside the separator: reading ahead of it and writing behind it."""

import queue
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Generic, Self, TypeVar

T = TypeVar("T")

# Seconds between two looks at whether the other side has gone.
_PATIENCE_SECONDS = 0.1


class _End:
    """Marks the end of a queue."""


class ReadAhead(Generic[T]):
    """An iterator whose items are made by a thread, a few before they are asked for.

    Use as a context manager: leaving it stops the thread, also in the middle.

    Parameters
    ----------
    items : iterator
        Consumed in the thread; its exception is raised again by `__next__`.
    depth : int, >= 1
        Items held at most.
    """

    def __init__(self, items: Iterator[T], *, depth: int) -> None:
        self._items = items
        self._queue: queue.Queue[T | _End | BaseException] = queue.Queue(depth)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._fill, name="read-ahead", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        item = self._queue.get()
        if isinstance(item, _End):
            raise StopIteration
        if isinstance(item, BaseException):
            raise item
        return item

    def _fill(self) -> None:
        try:
            for item in self._items:
                if not self._put(item):
                    break
            else:
                self._put(_End())
        except BaseException as error:
            self._put(error)
        finally:
            close = getattr(self._items, "close", None)
            if close is not None:
                close()  # a generator closes its file in the thread that opened it

    def _put(self, item: T | _End | BaseException) -> bool:
        while not self._stopped.is_set():
            try:
                self._queue.put(item, timeout=_PATIENCE_SECONDS)
            except queue.Full:
                continue
            return True
        return False


class WriteBehind(Generic[T]):
    """Hands items to a function that runs in a thread.

    Use as a context manager: leaving it waits until all is done, or drops the rest after an exception.

    Parameters
    ----------
    write : callable
        Called with one item after the other; its exception is raised again by `put` or on leaving.
    depth : int, >= 1
        Items held at most.
    """

    def __init__(self, write: Callable[[T], None], *, depth: int) -> None:
        self._write = write
        self._queue: queue.Queue[T | _End] = queue.Queue(depth)
        self._error: BaseException | None = None
        self._dropping = False
        self._thread = threading.Thread(target=self._drain, name="write-behind", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._dropping = kind is not None
        self._queue.put(_End())
        self._thread.join()
        if self._error is not None and kind is None:
            raise self._error

    def put(self, item: T) -> None:
        """Hand over one item, waiting while the queue is full."""
        if self._error is not None:
            raise self._error
        self._queue.put(item)

    def _drain(self) -> None:
        while True:
            item = self._queue.get()
            if isinstance(item, _End):
                return
            if self._error is not None or self._dropping:
                continue  # keep the queue moving, so that nobody waits for ever
            try:
                self._write(item)
            except BaseException as error:
                self._error = error
