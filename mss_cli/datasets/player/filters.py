"""Filters that move: a low-pass whose cut-off changes over time, in the short-time spectrum."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mss_cli.datasets.player.pack import SAMPLE_RATE

_OVERLAP = 4
_LOWEST_HZ = 20.0


def low_pass_gains(frequencies: Tensor, cutoffs: Tensor, *, resonance: float, order: int = 2) -> Tensor:
    """Give the gains of a low-pass of 12 dB (order 2) per octave or more, with a peak at the cut-off.

    ``1 / sqrt(1 + (f / fc) ** (2 * order)) * (1 + resonance * exp(-(3 * log2(f / fc)) ** 2))``

    Parameters
    ----------
    frequencies : Tensor of shape (bin,)
        Hz.
    cutoffs : Tensor of shape (frame, 1)
        Hz, > 0.
    resonance : float
        0 for none; 3 is about 10 dB.
    order : int
        Steepness.

    Returns
    -------
    float32 Tensor of shape (frame, bin)
    """
    ratio = frequencies.clamp_min(_LOWEST_HZ) / cutoffs.clamp_min(_LOWEST_HZ)  # (frame, bin)
    gains = (1 + ratio ** (2 * order)).rsqrt_()
    if resonance > 0:
        gains *= 1 + resonance * torch.exp(-((3 * ratio.log2()) ** 2))
    return gains


def sweep(
    sound: Tensor, cutoffs: NDArray[np.float32], *, resonance: float = 0.0, order: int = 2, window: int = 1024
) -> Tensor:
    """Filter a sound with a moving low-pass.

    Parameters
    ----------
    sound : float32 Tensor of shape (channel, sample)
    cutoffs : array of shape (point,)
        Cut-off in Hz at equally spaced times from the first to the last sample; between them it moves evenly in
        octaves.
    resonance, order
        As in `low_pass_gains`.
    window : int
        Samples of a frame: how fast the filter can move.

    Returns
    -------
    float32 Tensor of shape (channel, sample)
    """
    hop = window // _OVERLAP
    channels, samples = sound.shape
    frames = -(-samples // hop) + _OVERLAP - 1
    before = window - hop
    padded = functional.pad(sound, (before, (frames + _OVERLAP - 1) * hop - before - samples))
    hann = torch.hann_window(window, device=sound.device)
    at = np.linspace(0, 1, frames)
    moving = 2 ** np.interp(at, np.linspace(0, 1, len(cutoffs)), np.log2(cutoffs))
    gains = low_pass_gains(
        torch.fft.rfftfreq(window, 1 / SAMPLE_RATE, device=sound.device),
        torch.from_numpy(moving.astype(np.float32)).to(sound.device)[:, None],
        resonance=resonance,
        order=order,
    )
    out = torch.zeros_like(padded)
    for channel in range(channels):
        cut = padded[channel].unfold(0, window, hop) * hann  # (frame, sample)
        filtered = torch.fft.irfft(torch.fft.rfft(cut) * gains, window)
        rows = out[channel].reshape(-1, hop)
        for quarter, part in enumerate(filtered.reshape(frames, _OVERLAP, hop).unbind(1)):
            rows[quarter : quarter + frames] += part
    out *= 2 / _OVERLAP  # Hann windows at this overlap sum to half their number
    return out[:, before : before + samples]
