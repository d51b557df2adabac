"""One download of a model at a time across processes: a lock that the system gives back when its holder dies."""

import errno
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mss_cli.weights.cache import cache_error, make_cache_folder

_POLL_SECONDS = 0.1
_BUSY = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)


@contextmanager
def one_at_a_time(root: Path, name: str, *, waiting: Callable[[], None]) -> Iterator[None]:
    """Wait until no other process has the lock of a name, then hold it.

    Parameters
    ----------
    root : Path
        Of the cache; made if it is missing.
    name : str
        Of a model.
    waiting : callable
        Called once if another process has it.

    Raises
    ------
    OutputError
        If the file of the lock cannot be made, or the file system has no locks.
    """
    path = root / ".locks" / name
    make_cache_folder(path.parent)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise cache_error(path, error) from error
    try:
        told = False
        while not _try(descriptor, path):
            if not told:
                waiting()
                told = True
            time.sleep(_POLL_SECONDS)
        # The file stays: removing it would let a third process lock another of the same name.
        yield
    finally:
        _give_back(descriptor)


if sys.platform == "win32":
    import msvcrt

    def _try(descriptor: int, path: Path) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            if error.errno in _BUSY:
                return False
            raise cache_error(path, error) from error
        return True

    def _give_back(descriptor: int) -> None:
        with suppress(OSError):
            msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
        os.close(descriptor)

else:
    import fcntl

    def _try(descriptor: int, path: Path) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _BUSY:
                return False
            raise cache_error(path, error) from error
        return True

    def _give_back(descriptor: int) -> None:
        os.close(descriptor)  # which gives the lock back
