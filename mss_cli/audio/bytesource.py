"""Reading of a file's bytes by position, and the two lengths found there."""

from __future__ import annotations

import os
from dataclasses import dataclass


class CutInsideHeader(Exception):
    """The file ends before its header does."""


class NoChannels(Exception):
    """The header says that there are no channels."""


@dataclass(frozen=True, slots=True)
class Length:
    """What a header announces and what is there, in the same unit.

    Attributes
    ----------
    announced, present : int
        Bytes or samples.
    per_second : float
        How many of them make a second; 0 if unknown, then they are bytes.
    """

    announced: int
    present: int
    per_second: float = 0.0

    def describe(self) -> str:
        """Give ``present of announced`` with units."""
        if self.per_second > 0:
            return two_times(self.present / self.per_second, self.announced / self.per_second)
        return f"{self.present} bytes of {self.announced} bytes"


def two_times(present: float, announced: float) -> str:
    """Give ``present of announced`` in seconds, with as many digits as it takes to tell them apart."""
    for digits in range(2, 7):
        short, long = f"{present:.{digits}f} s", f"{announced:.{digits}f} s"
        if short != long:
            break
    return f"{short} of {long}"


class ByteSource:
    """The bytes of a file by position.

    Not a memory map: a disk that fails would end the process by a signal instead of raising `OSError`.

    Parameters
    ----------
    descriptor : int
        An open file; stays open.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.size = os.fstat(descriptor).st_size

    def read(self, start: int, count: int) -> bytes:
        """Give up to ``count`` bytes from ``start`` on; fewer at the end of the file."""
        if start >= self.size or count <= 0:
            return b""
        return os.pread(self._descriptor, min(count, self.size - start), start)

    def take(self, start: int, count: int) -> bytes:
        """Give exactly ``count`` bytes from ``start`` on, or raise `CutInsideHeader`."""
        found = self.read(start, count)
        if len(found) < count:
            raise CutInsideHeader
        return found
