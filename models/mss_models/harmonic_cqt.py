"""Constant-Q magnitudes of a signal around several harmonics of each pitch, stacked: the input of Deep Salience.

One stack holds, for each harmonic number h, a constant-Q transform whose bin b lies at ``h * 32.7 * 2 ** (b / 60)``
Hz, so that the partials of a pitch lie behind each other at one bin. Recursive transform of Schoerkhuber and Klapuri,
"Constant-Q transform toolbox for music processing", Sound and Music Computing 2010, with the conventions of librosa
0.11: each octave is the same bank of filters on a signal of half the rate.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mss_models.errors import ShapeError
from mss_models.salience import BINS, BINS_PER_OCTAVE, LOWEST_HZ

SAMPLE_RATE = 22_050
HOP_SAMPLES = 256
HARMONICS = (0.5, 1.0, 2.0, 3.0, 4.0, 5.0)
CONTEXT_FRAMES = 384  # a frame never depends on samples further away: the longest filter and all decimators before it
RANGE_DB = 80.0

_OCTAVES = BINS // BINS_PER_OCTAVE
_BAND_ROWS = 12  # filters that share one range of FFT columns: bands this narrow leave out most of the empty columns
_DROPPED = 0.01  # share of a filter's spectrum, by magnitude, that is left out as negligible
SMALLEST = 1e-5  # magnitudes below this are no level


@dataclass(frozen=True, slots=True)
class _LowPass:
    """A sinc under a Kaiser window; bandwidth 1 is the Nyquist frequency."""

    bandwidth: float
    beta: float
    reach_samples: float


# Fitted to the impulse responses of soxr's "HQ" setting, with which librosa reduces rates by 2 and by 4; largest
# difference 3e-8, the rounding of float32. Exactness matters: harmonic 5 reaches into the slope of its filters. By 4,
# soxr goes through a short half-band filter (0.5 in the middle, these at odd distances, else 0), then a second one.
_HALVING = _LowPass(bandwidth=0.47843591, beta=13.040066, reach_samples=194.5)
_HALF_BAND = (0.31154654, -0.087344946, 0.036814454, -0.015189183, 0.0054540951, -0.0015644, 0.00031815607, -3.4787e-5)
_AFTER_HALF_BAND = _LowPass(bandwidth=0.478435912, beta=13.711465, reach_samples=204.5)


@dataclass(frozen=True, slots=True)
class _Octave:
    """One octave of a harmonic: the filter bank at a harmonic, on the signal at a reduced rate.

    `halvings` is the base-2 logarithm of the reduction; if `quartered`, the first two are done at once.
    """

    top: float
    quartered: bool
    halvings: int


class HarmonicCqt(nn.Module):
    """Constant-Q magnitudes around the harmonics 0.5, 1, 2, 3, 4 and 5 of the salience grid's pitches.

    Filters have no learnable numbers and are not part of the state dict; `to` moves them.

    Parameters
    ----------
    harmonics : sequence of float, > 0
        From 0.33 to 5.28: the highest filter, at ``h * 2069`` Hz, must lie below half the sample rate.

    Raises
    ------
    ValueError
        If a harmonic is too low or too high.
    """

    def __init__(self, harmonics: Sequence[float] = HARMONICS) -> None:
        super().__init__()
        self._octaves = [_octaves(harmonic) for harmonic in harmonics]  # highest octave first
        self._banks = nn.ModuleDict({_key(octave.top): _FilterBank(octave.top) for octave, *_ in self._octaves})
        self.register_buffer("_halving", _low_pass(_HALVING), persistent=False)
        self.register_buffer("_first", _half_band(), persistent=False)
        self.register_buffer("_second", _low_pass(_AFTER_HALF_BAND), persistent=False)

    def forward(self, audio: Tensor) -> Tensor:
        """Filter a batch of signals.

        Parameters
        ----------
        audio : float32 Tensor of shape (batch, sample)
            At 22,050 Hz; silence is assumed before and after.

        Returns
        -------
        float32 Tensor of shape (batch, harmonic, bin, frame)
            Linear magnitudes, ``1 + sample // 256`` frames, frame k centred on sample ``256 * k``.

        Raises
        ------
        ShapeError
            If ``audio`` has other axes.
        """
        if audio.ndim != 2:
            raise ShapeError("audio", "(batch, sample)", audio.shape)
        frames = 1 + audio.shape[-1] // HOP_SAMPLES
        if not audio.shape[-1]:
            audio = nn.functional.pad(audio, (0, 1))  # convolutions need a sample
        slower = {(False, 0): audio, (True, 2): self._quartered(audio)}
        found: dict[_Octave, Tensor] = {}
        for octave in sorted({octave for octaves in self._octaves for octave in octaves}, key=lambda o: o.halvings):
            key = (octave.quartered, octave.halvings)
            if key not in slower:
                slower[key] = _halved(slower[octave.quartered, octave.halvings - 1], self.get_buffer("_halving"))
            bank = self._banks[_key(octave.top)]
            found[octave] = bank(slower[key], hop=HOP_SAMPLES >> octave.halvings)[..., :frames]
        stack = [torch.cat([found[octave] for octave in reversed(octaves)], dim=1) for octaves in self._octaves]
        return torch.stack(stack, dim=1)  # (batch, harmonic, bin, frame)

    def _quartered(self, audio: Tensor) -> Tensor:
        longer = nn.functional.pad(audio, (0, 4 * len(_HALF_BAND)))  # the first filter rings on past the end
        once = _halved(longer, self.get_buffer("_first"))
        quartered = _halved(once, self.get_buffer("_second"))[..., : (audio.shape[-1] + 2) // 4]
        # soxr rounds the length and librosa fills it up to the next whole sample.
        return nn.functional.pad(quartered, (0, math.ceil(audio.shape[-1] / 4) - quartered.shape[-1]))


def levels(magnitudes: Tensor, peak: Tensor | None = None) -> Tensor:
    """Bring magnitudes to decibels below their peak, and those from [-80, 0] to [0, 1].

    Parameters
    ----------
    magnitudes : Tensor of shape (batch, harmonic, bin, frame)
        Of `HarmonicCqt`.
    peak : Tensor of shape (batch,), optional
        Largest magnitude of the whole track, where ``magnitudes`` is only a piece of it.

    Returns
    -------
    Tensor of shape (batch, harmonic, bin, frame)
        In [0, 1]. Magnitudes below 1e-5 are taken as 1e-5; digital silence thus is 1 everywhere: do not ask for it.
    """
    if peak is None:
        peak = magnitudes.flatten(1).amax(dim=1)
    reference = peak.clamp(min=SMALLEST)[:, None, None, None]
    decibels = 20 * torch.log10(magnitudes.clamp(min=SMALLEST) / reference)
    return (decibels / RANGE_DB + 1).clamp(min=0.0)


class _FilterBank(nn.Module):
    """The 60 filters of one octave, applied to the spectra of frames."""

    def __init__(self, harmonic: float) -> None:
        super().__init__()
        filters, self.samples = _octave_filters(harmonic)
        self._bands = []
        for first in range(0, BINS_PER_OCTAVE, _BAND_ROWS):
            rows = filters[first : first + _BAND_ROWS]
            used = rows.abs().amax(dim=0).nonzero().squeeze(1)
            low, high = int(used[0]), int(used[-1]) + 1
            self.register_buffer(f"band{first}", rows[:, low:high].contiguous(), persistent=False)
            self._bands.append((f"band{first}", low, high))

    def forward(self, audio: Tensor, *, hop: int) -> Tensor:
        """Filter (batch, sample) at every ``hop`` samples: magnitudes (batch, bin, frame)."""
        ones = audio.new_ones(self.samples)
        spectra = torch.stft(
            audio, self.samples, hop, window=ones, center=True, pad_mode="constant", return_complex=True
        )  # (batch, column, frame)
        return torch.cat(
            [torch.matmul(self.get_buffer(name), spectra[:, low:high]).abs() for name, low, high in self._bands], dim=1
        )


def _octaves(harmonic: float) -> list[_Octave]:
    """Where a harmonic's octaves are computed, from the highest down.

    A harmonic whose pitches leave the upper octaves empty starts at half or a quarter of the rate, as in librosa. Half:
    that is the octave bank of the doubled harmonic further down, so the two share their octaves.
    """
    highest = harmonic * LOWEST_HZ * 2 ** ((BINS - 1) / BINS_PER_OCTAVE)
    cutoff = highest * (1 + 0.75 / _quality())  # where the main lobe of the highest filter has fallen
    if not 0 < cutoff <= SAMPLE_RATE / 2:
        raise ValueError(f"harmonic {harmonic} does not fit between 0 and {SAMPLE_RATE / 2:g} Hz")
    start = max(0, math.ceil(math.log2(SAMPLE_RATE / 2 / cutoff)) - 2)
    if start > 2:
        raise ValueError(f"harmonic {harmonic} is too low: it would start below a quarter of the rate")
    top = harmonic * 2**start
    return [_Octave(top, start == 2, start + octave) for octave in range(_OCTAVES)]


def _quality() -> float:
    """Periods in a filter: every other filter of an octave just touches."""
    wide = 2 ** (2 / BINS_PER_OCTAVE)
    return (wide + 1) / (wide - 1)


def _key(harmonic: float) -> str:
    return f"{harmonic:g}".replace(".", "_")


def _octave_filters(harmonic: float) -> tuple[Tensor, int]:
    """Spectra of the highest octave's 60 filters (bin, column), scaled for magnitudes, and their FFT length.

    A filter is a complex exponential of `_quality` periods under a Hann window.
    """
    lowest = harmonic * LOWEST_HZ * 2 ** (_OCTAVES - 1)
    frequencies = [lowest * 2 ** (row / BINS_PER_OCTAVE) for row in range(BINS_PER_OCTAVE)]
    lengths = [_quality() * SAMPLE_RATE / frequency for frequency in frequencies]
    samples = 2 ** math.ceil(math.log2(max(lengths)))
    waves = torch.zeros(BINS_PER_OCTAVE, samples, dtype=torch.complex64)
    for row, (frequency, length) in enumerate(zip(frequencies, lengths, strict=True)):
        times = torch.arange(math.floor(-length / 2), math.floor(length / 2), dtype=torch.float64)
        window = torch.hann_window(times.numel(), periodic=True, dtype=torch.float64)
        wave = torch.polar(window, times * (2 * math.pi * frequency / SAMPLE_RATE))
        start = (samples - times.numel()) // 2
        # Divided by the root of the length: a tone then has the same magnitude in white noise's terms in every bin.
        waves[row, start : start + times.numel()] = wave * (math.sqrt(length) / samples / float(window.sum()))
    return _without_negligible(torch.fft.fft(waves)[:, : samples // 2 + 1]), samples


def _without_negligible(spectra: Tensor) -> Tensor:
    """Zero the smallest columns of each filter, together 1 % of its magnitudes."""
    magnitudes = spectra.abs()
    ordered = magnitudes.sort(dim=1).values
    share = ordered.cumsum(dim=1) / magnitudes.sum(dim=1, keepdim=True)
    first = (share < _DROPPED).sum(dim=1, keepdim=True)
    return spectra.masked_fill(magnitudes < ordered.gather(1, first), 0.0)


def _halved(audio: Tensor, taps: Tensor) -> Tensor:
    """Keep every other sample of (batch, sample) after a low-pass, at unchanged energy."""
    louder = math.sqrt(2) * taps.to(audio.dtype)
    halved: Tensor = nn.functional.conv1d(audio.unsqueeze(1), louder, stride=2, padding=taps.shape[-1] // 2)
    return halved.squeeze(1)


def _low_pass(shape: _LowPass) -> Tensor:
    """Taps (1, 1, tap) of a sinc under a Kaiser window."""
    reach = math.ceil(shape.reach_samples) - 1
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float64)
    inner = shape.beta * (1 - (offsets / shape.reach_samples).square()).sqrt()
    window: Tensor = torch.special.i0(inner) / torch.special.i0(torch.tensor(shape.beta, dtype=torch.float64))
    taps = shape.bandwidth * torch.sinc(shape.bandwidth * offsets) * window
    return taps.to(torch.float32)[None, None]


def _half_band() -> Tensor:
    """Taps (1, 1, tap) of the half-band filter."""
    side = torch.zeros(2 * len(_HALF_BAND))
    side[::2] = torch.tensor(_HALF_BAND)
    return torch.cat([side.flip(0), torch.tensor([0.5]), side])[None, None]
