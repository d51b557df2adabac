"""`--log-file`: every message with its time, appended line by line."""

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from mss_cli.console.words import Message, printable
from mss_cli.errors import OutputError
from mss_cli.files import output_error


def now() -> datetime:
    """Give the time in UTC."""
    return datetime.now(UTC)


class LogFile:
    """A file to which messages are appended: `2026-11-20T21:04:11Z info TEXT`.

    Each message is one line and one write to the end of the file, without a buffer: what was said before a kill is
    there, and lines of several runs that share a log do not mix.

    Parameters
    ----------
    path : Path
        Created if it is missing; its folder is not.
    clock : callable
        Gives the time in UTC.

    Raises
    ------
    OutputError
        If it cannot be written to.
    """

    def __init__(self, path: Path, *, clock: Callable[[], datetime] = now) -> None:
        self.path = path
        self._clock = clock
        try:
            self._file: int | None = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        except (OSError, ValueError) as error:
            raise refusal(path, error, "--log-file") from error

    def write(self, message: Message) -> None:
        """Append a message.

        Raises
        ------
        OutputError
            If that is no longer possible; from then on nothing is written.
        """
        if self._file is None:
            return
        stamp = self._clock().strftime("%Y-%m-%dT%H:%M:%SZ")
        line = f"{stamp} {message.level} {printable(message.text)}\n".encode()
        try:
            while line:
                line = line[os.write(self._file, line) :]
        except OSError as error:
            self.close()
            raise refusal(self.path, error, "--log-file") from error

    def close(self) -> None:
        """Close the file; may be called again."""
        if self._file is not None:
            with suppress(OSError):
                os.close(self._file)
            self._file = None


def refusal(path: Path, error: OSError | ValueError, flag: str) -> OutputError:
    """Turn what the operating system said about a file of a flag into one line and a remedy."""
    if not isinstance(error, OSError):
        return OutputError("cannot write: no file can have this name", path=str(path), hint=f"check `{flag}`")
    if error.errno == errno.EISDIR:
        return OutputError("cannot write: it is a folder", path=str(path), hint=f"name a file with `{flag}`")
    return OutputError(output_error(path, error).message, path=str(path), hint=f"check `{flag}`")
