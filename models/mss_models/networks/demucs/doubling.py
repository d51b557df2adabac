"""Twice the sample rate and back, by windowed sinc filters in blocks of matrix products.

Smith, "Digital audio resampling", https://ccrma.stanford.edu/~jos/resample/. The band ends at 0.945 of half the lower
rate; a filter has 24 zeros of the sinc on each side, a squared cosine as its window, and the sum 1. Beyond its ends a
signal keeps its first and last value.
"""

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

_ROLL_OFF = 0.945
_ZEROS = 24
# Samples of the lower rate that one product makes, or takes.
_BLOCK = 64


def double_rate(signal: Tensor) -> Tensor:
    """Resample (batch, channel, sample) to (batch, channel, 2 * sample)."""
    samples = signal.shape[-1]
    taps = _taps(1)
    reach = taps.shape[1] // 2
    blocks = _blocks(signal, before=reach, count=max(1, -(-samples // _BLOCK)), hop=_BLOCK, span=_BLOCK + 2 * reach)
    matrix = _doubling_matrix().to(signal)
    return (blocks @ matrix).flatten(-2)[..., : 2 * samples]


def halve_rate(signal: Tensor) -> Tensor:
    """Resample (batch, channel, sample) to (batch, channel, sample // 2)."""
    samples = signal.shape[-1] // 2
    length = _taps(2).shape[1]
    span = 2 * (_BLOCK - 1) + length
    blocks = _blocks(signal, before=length // 2 - 1, count=max(1, -(-samples // _BLOCK)), hop=2 * _BLOCK, span=span)
    matrix = _halving_matrix().to(signal)
    return (blocks @ matrix).flatten(-2)[..., :samples]


def _blocks(signal: Tensor, *, before: int, count: int, hop: int, span: int) -> Tensor:
    """View the padded signal as overlapping blocks, (batch, channel, block, span)."""
    after = (count - 1) * hop + span - before - signal.shape[-1]
    padded = functional.pad(signal, (before, max(0, after)), mode="replicate")
    return padded.unfold(-1, span, hop)[..., :count, :]


@lru_cache(maxsize=2)
def _taps(old: int) -> Tensor:
    """Make the filters from rate `old` to the other of 1 and 2; one for each phase of the new rate."""
    new = 3 - old
    rate = min(old, new) * _ROLL_OFF
    reach = int(-(-_ZEROS * old // rate))
    places = torch.arange(-reach, reach + old, dtype=torch.float64) / old
    phases = torch.arange(new, dtype=torch.float64)[:, None] / new
    angle = ((places - phases) * rate).clamp(-_ZEROS, _ZEROS)
    filters = torch.sinc(angle) * torch.cos(angle * (torch.pi / 2 / _ZEROS)).square()
    return filters / filters.sum(dim=1, keepdim=True)


@lru_cache(maxsize=1)
def _doubling_matrix() -> Tensor:
    """Give the filters of a block, (span, 2 * block)."""
    taps = _taps(1)
    matrix = torch.zeros(_BLOCK + taps.shape[1] - 1, 2 * _BLOCK, dtype=torch.float64)
    for place in range(_BLOCK):
        matrix[place : place + taps.shape[1], 2 * place : 2 * place + 2] = taps.t()
    return matrix


@lru_cache(maxsize=1)
def _halving_matrix() -> Tensor:
    """Give the filters of a block, (span, block)."""
    taps = _taps(2)
    matrix = torch.zeros(2 * (_BLOCK - 1) + taps.shape[1], _BLOCK, dtype=torch.float64)
    for place in range(_BLOCK):
        matrix[2 * place : 2 * place + taps.shape[1], place] = taps[0]
    return matrix
