"""Signals that wait until foreign code is over: some libraries cannot let an exception through."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


@contextmanager
def signals_held() -> Iterator[None]:
    """Hold SIGINT, SIGTERM and SIGHUP back while the context lasts, and let the first of them act at its end.

    Ray looks for signals while it waits. What our handler raises there comes out of its compiled code as a
    `SystemError`, or not at all. Handlers that the code within sets for itself are undone. Masking would not do: a
    signal goes to whichever thread takes it, and Ray has many. Without effect in other threads than the main one, which
    alone may have handlers, and on signals that are ignored or have no handler in Python.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    handlers = {number: handler for number in numbers if callable(handler := signal.getsignal(number))}
    caught: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        caught.append(number)

    for number in handlers:
        signal.signal(number, note)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if caught:
            handlers[caught[0]](caught[0], None)
