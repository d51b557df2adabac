"""Filters that move: a low-pass whose cut-off changes over time, in the short-time spectrum."""

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from mss_cli.datasets.player.pack import SAMPLE_RATE, Audio

_OVERLAP = 4
_LOWEST_HZ = 20.0


def low_pass_gains(
    frequencies: NDArray[np.float32], cutoffs: NDArray[np.float32], *, resonance: float, order: int = 2
) -> NDArray[np.float32]:
    """Give the gains of a low-pass of 12 dB (order 2) per octave or more, with a peak at the cut-off.

    ``1 / sqrt(1 + (f / fc) ** (2 * order)) * (1 + resonance * exp(-(3 * log2(f / fc)) ** 2))``

    Parameters
    ----------
    frequencies : array of shape (bin,)
        Hz.
    cutoffs : array of shape (frame, 1)
        Hz, > 0.
    resonance : float
        0 for none; 3 is about 10 dB.
    order : int
        Steepness.

    Returns
    -------
    float32 array of shape (frame, bin)
    """
    ratio = np.maximum(frequencies, _LOWEST_HZ) / np.maximum(cutoffs, _LOWEST_HZ)  # (frame, bin)
    gains = 1 / np.sqrt(1 + ratio ** (2 * order))
    if resonance > 0:
        gains *= 1 + resonance * np.exp(-((3 * np.log2(ratio)) ** 2))
    return gains.astype(np.float32)


def sweep(
    sound: Audio, cutoffs: NDArray[np.float32], *, resonance: float = 0.0, order: int = 2, window: int = 1024
) -> Audio:
    """Filter a sound with a moving low-pass.

    Parameters
    ----------
    sound : array of shape (channel, sample)
    cutoffs : array of shape (point,)
        Cut-off in Hz at equally spaced times from the first to the last sample; between them it moves evenly in
        octaves.
    resonance, order
        As in `low_pass_gains`.
    window : int
        Samples of a frame: how fast the filter can move.

    Returns
    -------
    float32 array of shape (channel, sample)
    """
    hop = window // _OVERLAP
    samples = sound.shape[1]
    frames = -(-samples // hop) + _OVERLAP - 1
    padded = np.zeros((sound.shape[0], (frames + _OVERLAP - 1) * hop), dtype=np.float32)
    padded[:, window - hop : window - hop + samples] = sound
    hann = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)).astype(np.float32)
    at = np.linspace(0, 1, frames)
    moving = 2 ** np.interp(at, np.linspace(0, 1, len(cutoffs)), np.log2(cutoffs)).astype(np.float32)
    frequencies = np.fft.rfftfreq(window, 1 / SAMPLE_RATE).astype(np.float32)
    gains = low_pass_gains(frequencies, moving[:, None], resonance=resonance, order=order)
    out = np.zeros_like(padded)
    for channel in range(sound.shape[0]):
        cut = np.lib.stride_tricks.sliding_window_view(padded[channel], window)[::hop][:frames] * hann
        filtered = scipy.fft.irfft(scipy.fft.rfft(cut, axis=1) * gains, window, axis=1)  # (frame, sample)
        quarters = filtered.reshape(frames, _OVERLAP, hop)
        rows = out[channel].reshape(-1, hop)
        for quarter in range(_OVERLAP):
            rows[quarter : quarter + frames] += quarters[:, quarter]
    out *= np.float32(2 / _OVERLAP)  # Hann windows at this overlap sum to half their number
    return out[:, window - hop : window - hop + samples]
