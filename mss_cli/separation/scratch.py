"""What of a track does not belong in memory, in files without names: finished stems, and what networks must remember.

Stems wait as floats until the whole track is known and its one gain with it. Separators that hear a whole track before
they decide on its first sample put away what their layers gave.
"""

import os
import tempfile
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from mss_cli.files import output_error

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Block = NDArray[np.float32]


class Scratch:
    """A temporary file of float32 blocks, (output, channel, sample) each, that vanishes when closed.

    The file has no name once it is open (where the system allows it), so that not even a killed run leaves it behind.

    Parameters
    ----------
    folder : Path
        Where it lies; it must have room for the outputs as 32-bit floats.
    outputs, channels : int
        Axes of the blocks.
    """

    def __init__(self, folder: Path, *, outputs: int, channels: int) -> None:
        self._folder = folder
        self._shape = (outputs, channels)
        self._blocks: list[int] = []  # samples of each block; a few bytes for seconds of audio
        self._file = _unnamed(folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the room back."""
        self._file.close()

    def append(self, outputs: Block) -> None:
        """Write one block of shape (output, channel, sample).

        Raises
        ------
        OutputError
            If the disk is full or fails.
        """
        view = np.ascontiguousarray(outputs).data.cast("B")
        try:
            while view:
                view = view[self._file.write(view) :]
        except OSError as error:
            raise output_error(self._folder, error) from error
        self._blocks.append(outputs.shape[-1])

    def blocks(self, output: int) -> Iterator[Block]:
        """Give one output again, as blocks of shape (channel, sample); several may be read at once."""
        outputs, channels = self._shape
        start = 0
        for samples in self._blocks:
            size = channels * samples * 4
            raw = os.pread(self._file.fileno(), size, start + output * size)
            yield np.frombuffer(raw, np.float32).reshape(channels, samples)  # (channel, sample)
            start += outputs * size


class FrameFile:
    """A temporary file of rows of numbers, one for each frame, that vanishes when closed.

    Implements `mss_models.tracks.FrameStore`.

    Parameters
    ----------
    folder : Path or None
        Where it lies; the system's folder for temporary files if None.
    width : int, > 0
        Numbers of a row.
    dtype : torch.dtype
        Their precision.
    """

    def __init__(self, folder: Path | None, width: int, dtype: "torch.dtype") -> None:
        self._folder = Path(tempfile.gettempdir()) if folder is None else folder
        self._width, self._dtype = width, dtype
        self._file = _unnamed(self._folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, first: int, rows: "Tensor") -> None:
        """Put rows away, from frame `first` on.

        Parameters
        ----------
        first : int, >= 0
        rows : Tensor of shape (frame, number)
            On the CPU; not changed.

        Raises
        ------
        OutputError
            If the disk is full or fails.
        """
        view, place = _bytes_of(rows), self._place(first)
        try:
            while view:
                written = os.pwrite(self._file.fileno(), view, place)
                view, place = view[written:], place + written
        except OSError as error:
            raise output_error(self._folder, error) from error

    def read(self, first: int, count: int) -> "Tensor":
        """Give rows that were written, (frame, number); the caller may change them.

        Raises
        ------
        OutputError
            If the disk fails.
        """
        import torch

        rows = torch.empty(count, self._width, dtype=self._dtype)
        view, place = _bytes_of(rows), self._place(first)
        try:
            while view:
                got = os.preadv(self._file.fileno(), [view], place)
                if got == 0:
                    raise EOFError(f"no row {first + count - 1} was written")
                view, place = view[got:], place + got
        except OSError as error:
            raise output_error(self._folder, error) from error
        return rows

    def _place(self, first: int) -> int:
        return first * self._width * self._dtype.itemsize


def _bytes_of(rows: "Tensor") -> memoryview:
    """Give the memory of rows; numpy does not know every precision."""
    import torch

    return rows.contiguous().view(torch.uint8).numpy().data.cast("B")


def _unnamed(folder: Path) -> FileIO:
    """Open a temporary file that no name leads to, where the system allows it."""
    try:
        return tempfile.TemporaryFile(dir=folder, prefix=".mss-cli-", suffix=".part", buffering=0)
    except OSError as error:
        raise output_error(folder, error) from error
