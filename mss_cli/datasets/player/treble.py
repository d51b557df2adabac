"""Treble for recordings that have none: noise that follows the loudness of the highest band there is."""

import numpy as np
import scipy.fft
import scipy.ndimage
from numpy.random import Generator

from mss_cli.datasets.player.draw import uniform
from mss_cli.datasets.player.pack import SAMPLE_RATE, Audio

_FRAME, _HOP = 1024, 512


def with_treble(track: Audio, random: Generator, *, above_hz: float) -> Audio:
    """Add plausible treble above a frequency up to which there is sound.

    Above some kHz voices are mostly noise: consonants and breath. The loudness of the upper part of what is there
    drives noise above it, frame by frame, which falls by a drawn slope of 3 to 9 dB per 4 kHz.

    Parameters
    ----------
    track : float32 array of shape (2, sample)
    random : Generator
    above_hz : float
        Taken as at most 14 kHz.

    Returns
    -------
    float32 array of shape (2, sample)
    """
    edge = round(min(above_hz, 14000.0) * 0.94 / SAMPLE_RATE * _FRAME)
    lowest = max(edge - round(2500 / SAMPLE_RATE * _FRAME), 4)
    window = np.sqrt(0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(_FRAME) + 0.5) / _FRAME)).astype(np.float32)
    padded = np.pad(track, ((0, 0), (_HOP, _FRAME)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FRAME, axis=1)[:, ::_HOP]  # (side, frame, sample)
    spectra = scipy.fft.rfft(frames * window, axis=2)
    band = np.abs(spectra[:, :, lowest:edge])
    loud = np.sqrt(np.square(band).mean(axis=2)) * uniform(random, 0.4, 1.1)  # (side, frame)
    loud = np.asarray(scipy.ndimage.uniform_filter1d(loud, 2, axis=1), dtype=np.float32)
    bins = _FRAME // 2 + 1 - edge
    hertz = np.arange(bins) * (SAMPLE_RATE / _FRAME)
    tilt = (10 ** (-uniform(random, 3, 9) / 20 * hertz / 4000)).astype(np.float32)
    # One noise for both sides: a voice in the middle keeps its treble in the middle.
    noise = random.standard_normal((2, spectra.shape[1], bins), dtype=np.float32)
    added = np.zeros_like(spectra)
    added[:, :, edge:] = (noise[0] + 1j * noise[1]) * np.float32(0.5**0.5) * tilt * loud[:, :, None]
    pieces = scipy.fft.irfft(added, _FRAME, axis=2) * window
    out = np.zeros((2, (pieces.shape[1] + 1) * _HOP), dtype=np.float32)
    halves = out.reshape(2, -1, _HOP)
    halves[:, :-1] += pieces[:, :, :_HOP]
    halves[:, 1:] += pieces[:, :, _HOP:]
    return np.asarray(track + out[:, _HOP : _HOP + track.shape[1]], dtype=np.float32)
