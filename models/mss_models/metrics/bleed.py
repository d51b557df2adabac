"""Bleedless and fullness: how much an estimate's mel spectrogram has too much, and how much too little."""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from mss_models.errors import ShapeError
from mss_models.metrics.checks import check_pair

N_FFT = 4096
HOP_LENGTH = 1024
BANDS = 512
_FLOOR_DB = 80.0
_SMALLEST = 1e-10


@dataclass(frozen=True, slots=True)
class BleedScores:
    """Scores of one track, float64 (stem,), 0 to 100, higher is better.

    Attributes
    ----------
    bleedless, fullness : Tensor of shape (stem,)
    """

    bleedless: Tensor
    fullness: Tensor


def bleedless_and_fullness(reference: Tensor, estimate: Tensor, *, sample_rate: int = 44100) -> BleedScores:
    """Give what an estimate adds to, and what it takes from, the reference's mel spectrogram.

    With D the difference of the two in dB (each cut 80 dB below its maximum):
    ``bleedless = 100 / (1 + mean of D where D > 0)``, ``fullness = 100 / (1 - mean of D where D < 0)``; 100 where there
    is no such bin. Each mean runs over the bins of its sign only, so neither counts how many bins are wrong.

    Parameters
    ----------
    reference, estimate : Tensor of shape (stem, channel, sample)
    sample_rate : int, Hz
        Of the signals; published numbers are at 44.1 kHz.

    Returns
    -------
    BleedScores

    Raises
    ------
    ShapeError, ValueError
        If the axes are not as above or the shapes differ; if the rate is not positive.

    References
    ----------
    jarredou and Solovyev, Music-Source-Separation-Training (2024), metrics "bleedless" and "fullness"; no paper.
    """
    check_pair(reference, estimate)
    if reference.ndim != 3:
        raise ShapeError("reference", "(stem, channel, sample)", reference.shape)
    if sample_rate <= 0:
        raise ValueError(f"sample_rate must be positive, got {sample_rate}")
    pairs = [_scores(s, e, sample_rate) for s, e in zip(reference, estimate, strict=True)]
    return BleedScores(
        bleedless=torch.stack([bleedless for bleedless, _ in pairs]),
        fullness=torch.stack([fullness for _, fullness in pairs]),
    )


@lru_cache(maxsize=4)
def mel_filters(sample_rate: int) -> Tensor:
    """Give 512 triangular mel filters of equal area, float64 (band, bin), from 0 Hz to half the sample rate.

    The mel scale of Slaney's Auditory Toolbox (1998): linear, 200/3 Hz per mel, to 1 kHz, then logarithmic, 27 mel
    for a factor of 6.4. Bands narrower than the bins can be empty.
    """
    edges = _mel_to_hz(torch.linspace(0.0, _hz_to_mel(sample_rate / 2), BANDS + 2, dtype=torch.float64))
    bins = torch.linspace(0.0, sample_rate / 2, N_FFT // 2 + 1, dtype=torch.float64)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    return torch.minimum(rising, falling).clamp_(min=0.0) * (2.0 / (edges[2:] - edges[:-2]))[:, None]


def _hz_to_mel(hz: float) -> float:
    return hz * 3 / 200 if hz < 1000 else 15 + 27 * math.log(hz / 1000) / math.log(6.4)


def _mel_to_hz(mel: Tensor) -> Tensor:
    return torch.where(mel < 15, mel * 200 / 3, 1000 * torch.exp((mel - 15) / 27 * math.log(6.4)))


def _scores(reference: Tensor, estimate: Tensor, sample_rate: int) -> tuple[Tensor, Tensor]:
    """Bleedless and fullness of one stem (channel, sample)."""
    difference = _mel_decibels(estimate, sample_rate) - _mel_decibels(reference, sample_rate)
    more, less = difference[difference > 0], difference[difference < 0]
    nothing = difference.new_zeros(1)
    return (
        100 / (1 + (more if more.numel() else nothing).mean()),
        100 / (1 - (less if less.numel() else nothing).mean()),
    )


def _mel_decibels(signal: Tensor, sample_rate: int) -> Tensor:
    """Mel magnitudes in dB (channel, band, frame), cut 80 dB below the largest.

    The frames are the score's own: centred, zeros outside the signal.
    """
    window = torch.hann_window(N_FFT, dtype=torch.float64, device=signal.device)
    spectra = torch.stft(
        signal.double(), N_FFT, HOP_LENGTH, window=window, center=True, pad_mode="constant", return_complex=True
    )
    bands = mel_filters(sample_rate).to(signal.device) @ spectra.abs()
    decibels = 20 * torch.log10(bands.clamp_(min=_SMALLEST))
    return torch.maximum(decibels, decibels.max() - _FLOOR_DB)
