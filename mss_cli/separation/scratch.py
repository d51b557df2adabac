"""Finished stems of a track as floats on disk, until the whole track is known and its one gain with it."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from mss_cli.files import output_error

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
        try:
            self._file = tempfile.TemporaryFile(dir=folder, prefix=".mss-cli-", suffix=".part", buffering=0)  # noqa: SIM115 - closed by `close`
        except OSError as error:
            raise output_error(folder, error) from error

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
