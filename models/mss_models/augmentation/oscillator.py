"""Slow oscillators and the delay lines they move."""

import math

import torch
from torch import Tensor

_BLOCK = 256


def cosines(frequency_hz: Tensor, phase: Tensor, samples: int, *, sample_rate: int, device: torch.device) -> Tensor:
    """Compute ``cos(2 pi f n / rate + phase)`` for n from 0 on.

    By ``cos(a + b) = cos a cos b - sin a sin b``, with a per block of 256 samples and b within a block: two
    products per sample instead of a cosine, and as exact after an hour as at the start.

    Parameters
    ----------
    frequency_hz, phase : float64 Tensor of equal shape (...)
        On the CPU; phase in radians.
    samples : int, > 0
        Length.
    sample_rate : int, Hz
        Of the result.
    device : torch.device
        Where the result goes.

    Returns
    -------
    float32 Tensor of shape (..., sample)
        In [-1, 1].
    """
    step = (2 * math.pi / sample_rate) * frequency_hz.unsqueeze(-1)  # (..., 1)
    blocks = -(-samples // _BLOCK)
    starts = torch.remainder(phase.unsqueeze(-1) + step * _BLOCK * torch.arange(blocks), 2 * math.pi)  # (..., block)
    within = step * torch.arange(_BLOCK)  # (..., 256)
    block = torch.stack([starts.cos(), -starts.sin()], dim=-1).to(device, torch.float32)  # (..., block, 2)
    sample = torch.stack([within.cos(), within.sin()], dim=-2).to(device, torch.float32)  # (..., 2, 256)
    return (block @ sample).flatten(-2)[..., :samples]


def delayed(audio: Tensor, delay: Tensor, longest: int) -> Tensor:
    """Read audio through a delay that changes with time: ``y[n] = x[n - delay[n]]``.

    Between samples by linear interpolation (Zölzer 2011, 2.5.4): half a sample off, the top octave loses up
    to 3 dB at a quarter of the rate, which is part of how such effects sound. Before its start audio is silent.

    Parameters
    ----------
    audio : float32 Tensor of shape (batch, line, sample)
        All lines of an item have one delay.
    delay : float32 Tensor of shape (batch, sample)
        In samples, in [0, longest]; not checked.
    longest : int, samples
        Length of the delay line.

    Returns
    -------
    float32 Tensor of shape (batch, line, sample)
        As long as ``audio``.
    """
    whole = delay.floor()
    share = (delay - whole).unsqueeze(1)  # (batch, 1, sample)
    padded = torch.nn.functional.pad(audio, (longest + 1, 0))
    place = torch.arange(longest + 1, padded.shape[-1], device=audio.device) - whole.long()  # (batch, sample)
    newer = padded.gather(-1, place.unsqueeze(1).expand_as(audio))
    older = padded.gather(-1, (place - 1).unsqueeze(1).expand_as(audio))
    return torch.lerp(newer, older, share)
