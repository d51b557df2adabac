"""What is measured of estimates: SDR, the level of stems that are not there, bleed, spectra."""

from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from default_songs import RATE, Audio, Song
from default_systems import Estimates
from mss_cli.datasets.player.pack import STEMS
from mss_models.metrics.sdr import framewise_sdr, usdr
from mss_models.stft import StftSettings, stft

Wide = NDArray[np.float64]
_STFT = StftSettings(n_fft=4096, hop_length=1024)
_BANDS = 24
_SMALLEST = 1e-20


def scores(song: Song, estimates: Estimates) -> dict[str, tuple[float, float]]:
    """Give uSDR and BSSEval v4 SDR (median over frames of 1 s) of every stem that the song and the estimates have."""
    names = [stem for stem in song.references if stem in estimates]
    true = torch.from_numpy(np.stack([song.references[stem] for stem in names]))  # (stem, channel, sample)
    made = torch.from_numpy(np.stack([estimates[stem] for stem in names]))
    frames = framewise_sdr(true, made, window_samples=RATE)  # (stem, frame)
    whole = usdr(true, made).tolist()
    medians = [float(np.nanmedian(row)) if np.isfinite(row).any() else float("nan") for row in frames.numpy()]
    return dict(zip(names, zip(whole, medians, strict=True), strict=True))


def absent_levels(song: Song, estimates: Estimates) -> dict[str, float]:
    """Give the level of the estimates of stems that the song has not, in dB against the mixture."""
    whole = _energy(song.mixture)
    absent = [stem for stem in STEMS if stem not in song.references and stem in estimates]
    return {stem: _decibels(_energy(estimates[stem]) / whole) for stem in absent}


def bleed(song: Song, estimates: Estimates) -> dict[tuple[str, str], float]:
    """Give how much of each true stem is in each estimate, in dB against that true stem.

    An estimate is projected on all true stems at once, in 24 bands with a complex gain each, so that what is louder,
    softer or filtered counts as that stem, and what is none of them (distortion) as nothing.

    Returns
    -------
    dict of (estimate, true stem) to dB
    """
    names = list(song.references)
    true = torch.stack([_spectrum(song.references[stem]) for stem in names])  # (stem, channel, bin, frame)
    edges = np.unique(np.geomspace(2, _STFT.bins, _BANDS + 1).round().astype(int))
    found = {}
    for estimate in (stem for stem in STEMS if stem in estimates):
        made = _spectrum(estimates[estimate])
        kept = torch.zeros(len(names), dtype=torch.float64)
        for low, high in pairwise(edges):
            basis = true[:, :, low:high].reshape(len(names), -1)  # (stem, cell)
            target = made[:, low:high].reshape(-1)
            gram = basis.conj() @ basis.T
            gram += torch.eye(len(names)) * (1e-6 * gram.diagonal().real.mean() + _SMALLEST)
            gains = torch.linalg.solve(gram, basis.conj() @ target)
            kept += gains.abs().square() * basis.abs().square().sum(dim=1)
        total = true.abs().square().sum(dim=(1, 2, 3))
        for place, stem in enumerate(names):
            found[estimate, stem] = _decibels(float(kept[place] / total[place]))
    return found


def band_levels(signal: Audio) -> Wide:
    """Give the mean power of a signal in bands of a third of an octave, in dB."""
    power = _spectrum(signal).abs().square().mean(dim=(0, 2)).numpy()  # (bin,)
    edges = np.searchsorted(np.arange(_STFT.bins) * RATE / _STFT.n_fft, band_centres() * 2 ** (-1 / 6))
    sums = [power[low : max(high, low + 1)].sum() for low, high in zip(edges, [*edges[1:], _STFT.bins], strict=True)]
    return 10 * np.log10(np.asarray(sums) + _SMALLEST)


def band_centres() -> Wide:
    """Centres of the bands in Hz, from 31.5 Hz to 16 kHz."""
    return 1000.0 * 2 ** (np.arange(-15, 13) / 3)


def _spectrum(signal: Audio) -> torch.Tensor:
    spectrum: torch.Tensor = stft(torch.from_numpy(signal), _STFT).to(torch.complex128)  # (channel, bin, frame)
    return spectrum


def _energy(signal: Audio) -> float:
    return float(np.square(signal, dtype=np.float64).sum())


def _decibels(ratio: float) -> float:
    return float(10 * np.log10(ratio + _SMALLEST))
