"""Bands of bins: side by side as in BS-RoFormer, or overlapping on the mel scale as in Mel-Band RoFormer.

References
----------
Lu, Wang, Kong and Hung, "Music source separation with band-split RoPE transformer", ICASSP 2024.
Wang, Lu and Won, "Mel-Band RoFormer for music source separation", ISMIR 2023, late-breaking demos.
Slaney, "Auditory toolbox, version 2", Interval Research 1998: the mel scale, linear up to 1 kHz.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

# Slaney's scale: 3 mel for each 200 Hz up to 1 kHz, above that 27 for each factor of 6.4.
_HERTZ_PER_MEL = 200 / 3
_BREAK_HERTZ = 1000.0
_BREAK_MEL = _BREAK_HERTZ / _HERTZ_PER_MEL
_LOG_STEP = math.log(6.4) / 27


@dataclass(frozen=True, slots=True)
class Bands:
    """Ranges of bins that together cover a spectrogram.

    Parameters
    ----------
    bins : int, > 0
        Of the spectrogram.
    ranges : tuple of (int, int)
        First bin of each band and the one behind its last.

    Raises
    ------
    ValueError
        If a range is empty or outside, or a bin is in none.
    """

    bins: int
    ranges: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        for index, (first, end) in enumerate(self.ranges):
            if not 0 <= first < end <= self.bins:
                raise ValueError(f"band {index} is empty or not within {self.bins} bins: from {first} to {end}")
        lonely = [index for index, count in enumerate(self.counts) if count == 0]
        if lonely:
            raise ValueError(f"every bin must be in a band; bin {lonely[0]} of {self.bins} is in none")

    @property
    def widths(self) -> tuple[int, ...]:
        """Bins of each band."""
        return tuple(end - first for first, end in self.ranges)

    @property
    def counts(self) -> tuple[int, ...]:
        """In how many bands each bin is."""
        counts = [0] * self.bins
        for first, end in self.ranges:
            for index in range(first, end):
                counts[index] += 1
        return tuple(counts)

    @property
    def overlap(self) -> bool:
        """Whether a bin is in more than one band; if not, the bands stand side by side from the lowest up."""
        return sum(self.widths) > self.bins or any(one[1] != other[0] for one, other in pairwise(self.ranges))


def side_by_side(widths: Sequence[int], bins: int) -> Bands:
    """Put bands of given widths side by side.

    Parameters
    ----------
    widths : sequence of int, > 0
        From the lowest band up.
    bins : int
        Of the spectrogram.

    Raises
    ------
    ValueError
        If the widths do not add up to the bins.
    """
    if sum(widths) != bins:
        raise ValueError(f"the widths of the bands add up to {sum(widths)} instead of {bins} bins")
    ends = [sum(widths[: index + 1]) for index in range(len(widths))]
    return Bands(bins, tuple((end - width, end) for end, width in zip(ends, widths, strict=True)))


def mel_bands(count: int, sample_rate: int, n_fft: int) -> Bands:
    """Make bands that are as wide as the triangles of a mel filter bank, and overlap as they do.

    Each holds the bins at which its triangle is above zero; the first holds bin 0 too, the last the highest.

    Parameters
    ----------
    count : int, > 0
        Number of bands, from 0 Hz to half the sample rate.
    sample_rate : int, Hz
    n_fft : int, samples

    Raises
    ------
    ValueError
        If there is no band, or one so narrow that it has no bin.
    """
    if count < 1:
        raise ValueError(f"there must be at least 1 mel band, got {count}")
    bins = n_fft // 2 + 1
    highest = _mel(sample_rate / 2)
    corners = [_hertz(highest * index / (count + 1)) * n_fft / sample_rate for index in range(count + 2)]  # in bins
    ranges = [[math.floor(corners[index]) + 1, math.ceil(corners[index + 2])] for index in range(count)]
    ranges[0][0], ranges[-1][1] = 0, bins
    return Bands(bins, tuple((first, end) for first, end in ranges))


def _mel(hertz: float) -> float:
    if hertz < _BREAK_HERTZ:
        return hertz / _HERTZ_PER_MEL
    return _BREAK_MEL + math.log(hertz / _BREAK_HERTZ) / _LOG_STEP


def _hertz(mel: float) -> float:
    if mel < _BREAK_MEL:
        return mel * _HERTZ_PER_MEL
    return _BREAK_HERTZ * math.exp((mel - _BREAK_MEL) * _LOG_STEP)
