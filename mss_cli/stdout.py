"""Data on standard output: events, lists that were asked for, or one stem."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mss_cli.errors import Interruption
from mss_cli.files import output_error


def write_line(text: str) -> None:
    """Write one line at once.

    Raises
    ------
    Interruption, OutputError
        If the reader has gone away; if stdout cannot be written.
    """
    with _reader():
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


def write_bytes(data: bytes) -> None:
    """Write bytes at once.

    Raises
    ------
    Interruption
        If the reader has gone away.
    """
    with _reader():
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


@contextmanager
def _reader() -> Iterator[None]:
    """Turn a broken pipe into the signal that it stands for, before the command line's library makes it an error."""
    try:
        yield
    except BrokenPipeError as error:
        raise Interruption(signal.SIGPIPE) from error
    except OSError as error:
        raise output_error(Path("-"), error) from error
