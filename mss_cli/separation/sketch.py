"""Spectrograms of a track's outputs at a picture's resolution, gathered while the track passes, in constant memory."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Block = NDArray[np.float32]

_N_FFT = 2048
_HOP = 1024
_BANDS = 192
_LOWEST_HZ = 40.0
# Columns kept; when they are used up, neighbours are joined and each column stands for twice the time.
_MOST_COLUMNS = 1024


class TrackSketch:
    """Band energies over time of each output and of the mixture.

    Parameters
    ----------
    names : sequence of str
        The outputs; the mixture follows them in every block.
    sample_rate : int, Hz
        Of the blocks.
    """

    def __init__(self, names: Sequence[str], sample_rate: int) -> None:
        self.names = (*names, "mixture")
        self.sample_rate = sample_rate
        self.samples = 0
        highest = max(sample_rate / 2, 2 * _LOWEST_HZ)
        self.edges_hz = np.geomspace(_LOWEST_HZ, highest, _BANDS + 1)
        bins = np.clip(np.round(self.edges_hz / sample_rate * _N_FFT).astype(int), 0, _N_FFT // 2)
        self._starts = bins[:-1]
        # Low bands are narrower than a bin: each band has at least one.
        self._widths = np.maximum(bins[1:] - bins[:-1], 1).astype(np.float32)
        self._window = np.hanning(_N_FFT + 1)[:-1].astype(np.float32)
        self._rest = np.zeros((len(self.names), 0), np.float32)
        self._frames_per_column = 1
        self._open: list[Block] = []  # frames of the column that is being filled
        self._columns: list[Block] = []

    def push(self, everything: Block) -> None:
        """Take the next stretch, (output and mixture, channel, sample)."""
        self.samples += everything.shape[-1]
        mono = np.concatenate([self._rest, everything.mean(axis=1)], axis=-1)  # (output, sample)
        frames = max(0, (mono.shape[-1] - _N_FFT) // _HOP + 1)
        for frame in range(frames):
            self._add(mono[:, frame * _HOP : frame * _HOP + _N_FFT])
        self._rest = mono[:, frames * _HOP :].copy()

    def energies(self) -> Block:
        """Give the band energies so far.

        Returns
        -------
        float32 array of shape (output and mixture, band, column)
            Mean power per band; at least one column.
        """
        columns = list(self._columns)
        if self._open:
            columns.append(_mean(self._open))
        if not columns:
            padded = np.zeros((len(self.names), _N_FFT), np.float32)
            padded[:, : self._rest.shape[-1]] = self._rest[:, :_N_FFT]
            columns.append(self._bands(padded))
        return np.stack(columns, axis=-1)

    def _add(self, frame: Block) -> None:
        self._open.append(self._bands(frame))
        if len(self._open) < self._frames_per_column:
            return
        self._columns.append(_mean(self._open))
        self._open = []
        if len(self._columns) == _MOST_COLUMNS:
            halves = zip(self._columns[::2], self._columns[1::2], strict=True)
            self._columns = [_mean([first, second]) for first, second in halves]
            self._frames_per_column *= 2

    def _bands(self, frame: Block) -> Block:
        power = np.square(np.abs(np.fft.rfft(frame * self._window, axis=-1))).astype(np.float32)  # (output, bin)
        sums: Block = np.add.reduceat(power, self._starts, axis=-1)  # (output, band)
        mean: Block = sums / self._widths
        return mean


def _mean(columns: list[Block]) -> Block:
    mean: Block = np.mean(np.stack(columns), axis=0, dtype=np.float32)
    return mean
