"""Change of sample rate, block by block, aligned to the sample and with an exact total length."""

from collections.abc import Iterable, Iterator

import numpy as np
import soxr
from numpy.typing import NDArray

Block = NDArray[np.float32]


def resampled_length(samples: int, source_rate: int, target_rate: int) -> int:
    """Give how many samples a stretch has at another rate: ``floor(samples * target / source + 1/2)``."""
    return (2 * samples * target_rate + source_rate) // (2 * source_rate)


class Resampler:
    """Resample a stream with soxr's "VHQ" setting, without delay.

    The blocks given out add up to exactly `resampled_length` samples, however the input was cut, and equal the
    one-shot result bit for bit. With equal rates blocks pass through untouched and uncopied.

    Parameters
    ----------
    source_rate, target_rate : int, Hz, > 0
        Rates of what is pushed and of what comes back.
    channels : int, >= 1
        Channels of each block.
    """

    def __init__(self, source_rate: int, target_rate: int, channels: int) -> None:
        self._source_rate = source_rate
        self._target_rate = target_rate
        self._channels = channels
        self._received = 0
        self._given = 0
        self._stream: soxr.ResampleStream | None = None
        if source_rate != target_rate:
            self._stream = soxr.ResampleStream(source_rate, target_rate, channels, dtype="float32", quality="VHQ")

    def push(self, block: Block) -> Block:
        """Take a block and give what is ready.

        Parameters
        ----------
        block : float32 array of shape (channel, sample)
            Any number of samples, also 0.

        Returns
        -------
        float32 array of shape (channel, sample)
            Perhaps with 0 samples; a view of interleaved memory, so not contiguous.
        """
        self._received += block.shape[1]
        if self._stream is None:
            self._given += block.shape[1]
            return block
        ready: Block = self._stream.resample_chunk(np.ascontiguousarray(block.T))  # (sample, channel)
        self._given += len(ready)
        return ready.T

    def flush(self, samples: int | None = None) -> Block:
        """Give the rest after the last block; the resampler is finished then.

        Parameters
        ----------
        samples : int or None
            Total length wanted, counted from the first sample given out; None for `resampled_length` of what was
            pushed. Used to come back to the exact length after going to another rate and back.

        Returns
        -------
        float32 array of shape (channel, sample)
        """
        total = resampled_length(self._received, self._source_rate, self._target_rate) if samples is None else samples
        rest: Block = np.empty((0, self._channels), np.float32)
        if self._stream is not None and self._received:
            rest = self._stream.resample_chunk(rest, last=True)
        missing = total - self._given
        if missing < 0:
            raise ValueError(f"{self._given} samples were given out already, {total} are wanted")
        rest = rest[:missing]
        if len(rest) < missing:
            rest = np.pad(rest, ((0, missing - len(rest)), (0, 0)))
        self._given = total
        return rest.T  # (channel, sample)


def resample(blocks: Iterable[Block], source_rate: int, target_rate: int, channels: int) -> Iterator[Block]:
    """Resample a stream of blocks; see `Resampler`.

    Parameters
    ----------
    blocks : iterable of float32 arrays of shape (channel, sample)
    source_rate, target_rate : int, Hz, > 0
    channels : int, >= 1

    Yields
    ------
    float32 array of shape (channel, sample), sample >= 1
        Adding up to `resampled_length` samples.
    """
    resampler = Resampler(source_rate, target_rate, channels)
    for block in blocks:
        ready = resampler.push(block)
        if ready.shape[1]:
            yield ready
    rest = resampler.flush()
    if rest.shape[1]:
        yield rest
