"""Errors and exit codes of the application.

MssError                   holds the exit code, one line for people and the way out
├── UsageError         2   wrong flag or combination; nothing was started
├── InputError         3   input missing, unreadable or not audio
├── DeviceError        4   the device asked for is not there or does not work
├── WeightsError       5   weights missing, damaged, or not fitting
├── OutputError        6   cannot write
├── MemoryExhausted    7   out of memory after the fall-backs
├── DatasetError       8   data set missing or incomplete
├── DivergedError      9   a training that cannot go on
├── FolderBusy        75   another run is writing into the folder
├── DownloadError     75   no server answered as it should
└── TrackTimeout      75   a track took longer than it may

Interruption (BaseException)   a signal arrived; the code is 128 + its number
"""

import signal
from collections.abc import Callable
from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """Exit codes; stable and never reused (docs/scripting.md)."""

    OK = 0
    PARTIAL = 1
    USAGE = 2
    INPUT = 3
    DEVICE = 4
    WEIGHTS = 5
    OUTPUT = 6
    MEMORY = 7
    DATASET = 8
    DIVERGED = 9
    INTERNAL = 70
    TEMPORARY = 75
    SIGHUP = 129
    SIGINT = 130
    SIGPIPE = 141
    SIGTERM = 143


class MssError(Exception):
    """Carry what happened, to which file, what to do, and the exit code.

    Parameters
    ----------
    message : str
        What happened: lower case, one line, no full stop.
    path : str or None
        The file concerned, as the user named it.
    hint : str or None
        What to do about it.
    """

    code: ClassVar[ExitCode] = ExitCode.INTERNAL

    def __init__(self, message: str, *, path: str | None = None, hint: str | None = None) -> None:
        super().__init__(message, path, hint)
        self.message = " ".join(message.split())
        self.path = path
        self.hint = hint

    def __reduce__(self) -> "tuple[Callable[..., MssError], tuple[type[MssError], str, str | None, str | None]]":
        """Let a worker process send it: keyword arguments would get lost."""
        return _remade, (type(self), self.message, self.path, self.hint)

    def __str__(self) -> str:
        line = self.message if self.path is None else f"{self.path}: {self.message}"
        return line if self.hint is None else f"{line}; {self.hint}"

    @property
    def lines(self) -> tuple[str, ...]:
        """What people are shown: one line, or one for each mistake where an error carries several."""
        return (str(self),)


class UsageError(MssError):
    """Wrong flag, setting or combination."""

    code = ExitCode.USAGE


class InputError(MssError):
    """An input that is missing, unreadable or not audio."""

    code = ExitCode.INPUT


class DeviceError(MssError):
    """A device that is not there or does not work."""

    code = ExitCode.DEVICE


class WeightsError(MssError):
    """Weights that are missing, damaged or do not fit."""

    code = ExitCode.WEIGHTS


class OutputError(MssError):
    """An output that cannot be written."""

    code = ExitCode.OUTPUT


class MemoryExhausted(MssError):
    """Out of memory after smaller batches, shorter segments and the CPU."""

    code = ExitCode.MEMORY


class DatasetError(MssError):
    """A data set that is missing, incomplete or of the wrong version."""

    code = ExitCode.DATASET


class DivergedError(MssError):
    """A training whose losses are no numbers any more."""

    code = ExitCode.DIVERGED


class FolderBusy(MssError):
    """Another run is writing into the folder; it can be tried again later."""

    code = ExitCode.TEMPORARY


class DownloadError(MssError):
    """No server could be reached or answered as it should; it can be tried again later."""

    code = ExitCode.TEMPORARY


class TrackTimeout(MssError):
    """A track that took longer than it may; another time it may not."""

    code = ExitCode.TEMPORARY


def _remade(kind: type[MssError], message: str, path: str | None, hint: str | None) -> MssError:
    error = kind.__new__(kind)
    MssError.__init__(error, message, path=path, hint=hint)
    return error


class Interruption(BaseException):
    """A signal that ends the run; not an `Exception`, so that no handler for errors swallows it."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number
