"""log-WMSE: a level of audible error that is defined for silent references too."""

import math
from functools import lru_cache

import torch
from torch import Tensor

from mss_models.errors import ShapeError
from mss_models.metrics.checks import check_pair

SAMPLE_RATE = 44100
_SCALE = -4.0
_EPSILON = 1e-8
_INAUDIBLE = 10 ** (-68 / 20)
CEILING = _SCALE * math.log(_EPSILON)
_TAPS = 4000
_CENTRE = 1999  # of the taps: the filter adds no delay
_GRID = 8192
_BLOCK_SAMPLES = 1 << 16


def log_wmse(reference: Tensor, estimate: Tensor, mixture: Tensor) -> Tensor:
    """Give the logarithm of the error's energy, weighted by how well it is heard, relative to the mixture.

    Per channel, with h the weighting filter: ``g = 1 / rms(h * mixture)``, ``d = h * g (e - s)``, samples of d below
    -68 dB set to 0, ``-4 ln(mean(d^2) + 1e-8)``; then the mean over channels. Higher is better, 73.68 the ceiling,
    also given where the mixture is silent. A silent reference is no special case.

    Parameters
    ----------
    reference, estimate : Tensor of shape (stem, channel, sample)
        At 44.1 kHz: the filter is defined there; resample first.
    mixture : Tensor of shape (channel, sample)

    Returns
    -------
    float64 Tensor of shape (stem,)
        Not decibels.

    Raises
    ------
    ShapeError
        If the axes are not as above or the shapes differ.

    References
    ----------
    Jordal et al., log-wmse-audio-quality 0.2.0 (Nomono, 2024), whose definition this follows; weighting after Fenton
    and Lee, "A perceptual model of punch based on weighted transient loudness" (2017). Computed in float64 there in
    float32: the difference is below 1e-3.
    """
    check_pair(reference, estimate)
    if reference.ndim != 3:
        raise ShapeError("reference", "(stem, channel, sample)", reference.shape)
    if mixture.shape != reference.shape[1:]:
        raise ShapeError("mixture", f"{tuple(reference.shape[1:])} of the reference", mixture.shape)
    level = _mean_square(mixture, None, gain=None).sqrt()  # (channel,)
    heard = level > 0
    gain = 1.0 / level.masked_fill(~heard, 1.0)
    scores = []
    for s, e in zip(reference, estimate, strict=True):
        error = _mean_square(e, s, gain=gain)
        channels = torch.where(heard, _SCALE * torch.log(error + _EPSILON), CEILING)
        scores.append(channels.mean())
    return torch.stack(scores)


@lru_cache(maxsize=1)
def weighting_filter() -> Tensor:
    """Give the 4000 taps of the zero-phase weighting filter, float64, its centre at tap 1999.

    Magnitudes of a high shelf (+5 dB at 1.5 kHz), a Butterworth high-pass (120 Hz, second order), a peak (+2.5 dB at
    500 Hz) and a first-order Butterworth low-pass at 10 kHz run forwards and backwards. The published filter's
    frequencies are spaced by 1/4097 of the band but transformed as if by 1/4096; so are these.
    """
    z = torch.polar(torch.ones(_GRID // 2 + 1, dtype=torch.float64), -math.pi * _band_shares())
    response = torch.ones_like(_band_shares())
    for numerator, denominator in (_high_shelf(1500.0, 5.0, 1 / math.sqrt(2)), _peak(500.0, 2.5, 1.5 / math.sqrt(2))):
        response = response * (_polynomial(numerator, z) / _polynomial(denominator, z)).abs()
    # Butterworth magnitudes under the bilinear transform depend on the ratio of the tangents alone.
    tangent = torch.tan(math.pi / 2 * _band_shares())
    high = (tangent / math.tan(math.pi * 120.0 / SAMPLE_RATE)) ** 4
    low = (tangent / math.tan(math.pi * 10_000.0 / SAMPLE_RATE)) ** 2
    response = response * torch.sqrt(high / (1 + high)) / (1 + low)
    taps = torch.fft.fftshift(torch.fft.irfft(response.to(torch.complex128), n=_GRID))
    start = _GRID // 2 - _CENTRE
    kept: Tensor = taps[start : start + _TAPS].clone()
    return kept


def _band_shares() -> Tensor:
    """Frequencies as shares of half the sample rate."""
    return torch.arange(_GRID // 2 + 1, dtype=torch.float64) / (_GRID // 2 + 1)


def _polynomial(coefficients: tuple[float, float, float], z: Tensor) -> Tensor:
    return coefficients[0] + coefficients[1] * z + coefficients[2] * z * z


Biquad = tuple[tuple[float, float, float], tuple[float, float, float]]


def _high_shelf(hz: float, gain_db: float, q: float) -> Biquad:
    """Second-order high shelf: Bristow-Johnson, "Cookbook formulae for audio EQ biquad filter coefficients"."""
    a, w = 10 ** (gain_db / 40), 2 * math.pi * hz / SAMPLE_RATE
    slope, cosine = 2 * math.sqrt(a) * math.sin(w) / (2 * q), math.cos(w)
    numerator = (
        a * ((a + 1) + (a - 1) * cosine + slope),
        -2 * a * ((a - 1) + (a + 1) * cosine),
        a * ((a + 1) + (a - 1) * cosine - slope),
    )
    denominator = (
        (a + 1) - (a - 1) * cosine + slope,
        2 * ((a - 1) - (a + 1) * cosine),
        (a + 1) - (a - 1) * cosine - slope,
    )
    return numerator, denominator


def _peak(hz: float, gain_db: float, q: float) -> Biquad:
    """Second-order peak, from the same source."""
    a, w = 10 ** (gain_db / 40), 2 * math.pi * hz / SAMPLE_RATE
    alpha, cosine = math.sin(w) / (2 * q), math.cos(w)
    return (1 + alpha * a, -2 * cosine, 1 - alpha * a), (1 + alpha / a, -2 * cosine, 1 - alpha / a)


def _mean_square(signal: Tensor, minus: Tensor | None, *, gain: Tensor | None) -> Tensor:
    """Mean square per channel of the filtered (channel, sample), block by block; inaudible samples cut if scaled."""
    samples = signal.shape[-1]
    size = _BLOCK_SAMPLES + _TAPS - 1
    response = torch.fft.rfft(weighting_filter().to(signal.device), n=size + 1)
    total = torch.zeros(signal.shape[0], dtype=torch.float64, device=signal.device)
    for start in range(0, samples, _BLOCK_SAMPLES):
        stop = min(start + _BLOCK_SAMPLES, samples)
        # "Same" convolution: output n needs the samples n - 2000 to n + 1999.
        first, last = max(0, start - (_TAPS - 1 - _CENTRE)), min(samples, stop + _CENTRE)
        block = signal[..., first:last].double()
        if minus is not None:
            block = block - minus[..., first:last].double()
        filtered = torch.fft.irfft(torch.fft.rfft(block, n=size + 1) * response, n=size + 1)
        valid = filtered[..., start - first + _CENTRE : stop - first + _CENTRE]
        if gain is not None:
            valid = valid * gain[:, None]
            valid = torch.where(valid.abs() < _INAUDIBLE, 0.0, valid)
        total += valid.square().sum(dim=-1)
    return total / samples
