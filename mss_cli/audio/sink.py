"""The file under a library that writes: it remembers why a write failed, syncs, and leaves nothing half-written."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from mss_cli.errors import OutputError
from mss_cli.files import output_error

_BUFFER_BYTES: Final = 1 << 18


class Sink:
    """A binary file for libsndfile and libav, which both lose the reason of a failed write.

    After a failure it takes nothing more and keeps the first reason for `check`.

    Parameters
    ----------
    path : Path
        Created, or emptied if it is there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._failure: OSError | None = None
        self._file = path.open("w+b", buffering=_BUFFER_BYTES)

    def write(self, data: bytes | memoryview) -> int:
        """Write all of ``data``; give 0 if that failed, now or before."""
        if self._failure is None:
            try:
                return self._file.write(data)
            except OSError as error:
                self._failure = error
        return 0

    def read(self, size: int = -1) -> bytes:
        """Read back; libsndfile does so when it completes a header."""
        return self._file.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a position; a failed flush counts as a failed write."""
        try:
            return self._file.seek(offset, whence)
        except OSError as error:
            self._failure = self._failure or error
            return 0

    def tell(self) -> int:
        """Give the position."""
        return self._file.tell()

    def check(self) -> None:
        """Raise `OutputError` if a write failed."""
        if self._failure is not None:
            raise output_error(self.path, self._failure) from self._failure

    def flush(self) -> None:
        """Hand what is buffered to the system; a failure is kept for `check`."""
        try:
            self._file.flush()
        except OSError as error:
            self._failure = self._failure or error

    def fileno(self) -> int:
        """Give the descriptor."""
        return self._file.fileno()

    def finish(self) -> int:
        """Flush, sync and close; give the size in bytes."""
        self.check()
        self._file.flush()
        os.fsync(self._file.fileno())
        size = os.fstat(self._file.fileno()).st_size
        self._file.close()
        return size

    def abandon(self) -> None:
        """Close and remove what was written."""
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            self.path.unlink(missing_ok=True)


@contextmanager
def open_sink(path: Path) -> Iterator[Sink]:
    """Open a `Sink`; remove the file if the block does not end well.

    Raises
    ------
    OutputError
        If the system refuses to open, write, sync or close the file. What a library says about it is dropped in
        favour of the system's reason.
    """
    try:
        sink = Sink(path)
    except (OSError, ValueError) as error:
        reason = error if isinstance(error, OSError) else OSError(errno.EINVAL, "not a file name")
        raise output_error(path, reason) from error
    try:
        yield sink
    except BaseException as error:
        sink.abandon()
        if isinstance(error, Exception) and not isinstance(error, OutputError):
            sink.check()
            if isinstance(error, OSError):
                raise output_error(path, error) from error
        raise
