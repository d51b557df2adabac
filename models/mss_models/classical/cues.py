"""Cues: what a mixture alone tells about each cell, as numbers between about -1 and 1.

Every cue is a ratio of the signal to itself, so none changes with the level of the mixture. Energies are compared
as ``(a - b) / (a + b)``: 1 if only the first is there, 0 if they are equal, -1 if only the second is.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from mss_models.classical.hpss import harmonic_and_percussive
from mss_models.classical.medians import running_median
from mss_models.classical.panning import StereoPosition, stereo_position
from mss_models.classical.repetition import repeating_background, similar_frames

# In the order in which `cues` yields them; the table of weights has the same order.
CUE_NAMES = (
    "harmonic",  # steady along time rather than broad along frequency (medians)
    "crest",  # median of the near bins over the median of a wide neighbourhood: formants and harmonics against noise
    "rise",  # louder than the median of the second around: onsets against sustained sounds
    "waver",  # short median over the long one: pitches that move, as singing does
    "overtone",  # an octave or twelfth below something as loud sounds: harmonics of a bass
    "side",  # side over total: 0 centre, about 0.8 hard at a side or spread
    "off_usual_side",  # the same against what is usual in the segment at that frequency
    "off_usual_side_around",  # the same averaged over the band and about 0.2 s
    "lean",  # level difference of the channels
    "width",  # how wide the segment is at that frequency: 0 for mono, where the other position cues mean nothing
    "repeating",  # 1 what similar frames hold too, -1 what stands out of them
    "repeating_around",  # the same averaged over the band and about 0.2 s
    "attack",  # louder than the second around it
    "band_attack",  # the band is louder than the second around it: kick and snare
    "depth",  # energy from 30 to 150 Hz against that from 150 to 1200 Hz: a bass plays or does not
    "presence",  # loudness between 200 and 5000 Hz against its mean: someone sings or does not
)
_FLOOR = 1e-6  # of the mean energy: quieter cells compare as equal


@dataclass(frozen=True, slots=True)
class CueSettings:
    """Window lengths of the cues.

    Frames and bins are those of the spectrogram (23 ms and 10.8 Hz with 4096/1024 at 44.1 kHz).

    Parameters
    ----------
    harmonic_frames, percussive_bins, wide_bins : int, odd
        Windows of the running medians: 0.4 s; 180 Hz; 660 Hz.
    sustained_frames, short_frames : int, odd
        Windows of two more medians along time: 1 s, 0.1 s.
    around_frames : int, odd
        Averaging of the band-wise cues, 0.2 s.
    loudness_frames : int, odd
        The second against which an attack is heard.
    bands : int
        Triangular bands, evenly spaced in log frequency from 30 Hz to 16 kHz, for averages and similarity.
    similar, context_frames, apart_frames, nearest_frames : int
        See `mss_models.classical.repetition.similar_frames`.
    """

    harmonic_frames: int = 17
    percussive_bins: int = 17
    wide_bins: int = 61
    sustained_frames: int = 43
    short_frames: int = 5
    around_frames: int = 9
    loudness_frames: int = 43
    bands: int = 48
    similar: int = 10
    context_frames: int = 4
    apart_frames: int = 12
    nearest_frames: int = 20


@dataclass(frozen=True, slots=True)
class Bands:
    """Averages over bands of log frequency and their way back to bins.

    Parameters
    ----------
    pool : Tensor of shape (band, bin)
        Triangular weights, each band's sum 1.
    spread : Tensor of shape (bin, band)
        Linear interpolation in log frequency between band centres.
    """

    pool: Tensor
    spread: Tensor


def make_bands(frequencies: Tensor, count: int) -> Bands:
    """Lay bands over the bins.

    Parameters
    ----------
    frequencies : Tensor of shape (bin,)
        Centre of each bin in Hz, ascending.
    count : int, >= 2
        Number of bands.

    Returns
    -------
    Bands
        From 30 Hz to 16 kHz. A band narrower than the bins takes the nearest one.
    """
    edges = torch.logspace(math.log10(30.0), math.log10(16000.0), count + 2, dtype=frequencies.dtype)
    edges = edges.to(frequencies.device)
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    triangles = torch.minimum((frequencies - low) / (centre - low), (high - frequencies) / (high - centre)).clamp(min=0)
    nearest = torch.zeros_like(triangles).scatter_(1, (frequencies - centre).abs().argmin(dim=1, keepdim=True), 1.0)
    triangles = torch.where(triangles.sum(dim=1, keepdim=True) == 0, nearest, triangles)
    return Bands(
        triangles / triangles.sum(dim=1, keepdim=True), interpolation_over_log_frequency(frequencies, centre[:, 0])
    )


def interpolation_over_log_frequency(frequencies: Tensor, knots: Tensor) -> Tensor:
    """Give the matrix that interpolates linearly in log frequency, constant beyond the outer knots.

    Parameters
    ----------
    frequencies : Tensor of shape (bin,)
        Where values are wanted, Hz; below 1 Hz counts as 1 Hz.
    knots : Tensor of shape (knot,)
        Where they are given, Hz, ascending, at least two.

    Returns
    -------
    Tensor of shape (bin, knot)
        Rows of non-negative weights that sum to 1.
    """
    position, knot = frequencies.clamp(min=1.0).log(), knots.log()
    upper = torch.searchsorted(knot, position).clamp(1, len(knot) - 1)  # (bin,)
    weight = ((position - knot[upper - 1]) / (knot[upper] - knot[upper - 1])).clamp(0, 1)
    matrix = torch.zeros(len(frequencies), len(knots), dtype=frequencies.dtype, device=frequencies.device)
    matrix.scatter_(1, (upper - 1)[:, None], (1 - weight)[:, None])
    return matrix.scatter_(1, upper[:, None], weight[:, None])


def cues(spectrum: Tensor, frequencies: Tensor, bands: Bands, settings: CueSettings) -> Iterator[Tensor]:
    """Yield the cues one after another, so that only one of them needs memory at a time.

    Parameters
    ----------
    spectrum : complex64 Tensor of shape (2, bin, frame)
        Middle and side of the mixture.
    frequencies : Tensor of shape (bin,)
        Centre of each bin, Hz.
    bands : Bands
        Made for these bins.
    settings : CueSettings
        Window lengths.

    Yields
    ------
    Tensor of shape (bin, frame), (bin, 1) or (1, frame)
        One per name of `CUE_NAMES`, in that order. Finite; all 0 or -1 for silence.
    """
    place = stereo_position(spectrum)
    energy = place.energy
    floor = _FLOOR * energy.mean() + torch.finfo(energy.dtype).tiny
    magnitudes = energy.sqrt()
    pooled = bands.pool @ energy  # (band, frame)
    harmonic, near = harmonic_and_percussive(magnitudes, frames=settings.harmonic_frames, bins=settings.percussive_bins)
    yield _compare(harmonic, near, floor)
    del harmonic
    yield _compare(near, running_median(magnitudes, settings.wide_bins, dim=-2), floor)
    del near
    sustained = running_median(magnitudes, settings.sustained_frames, dim=-1)
    yield _compare(magnitudes, sustained, floor)
    yield _compare(running_median(magnitudes, settings.short_frames, dim=-1), sustained, floor)
    del sustained
    yield _compare(_loudest_below(magnitudes), magnitudes, floor)
    yield from _position_cues(place, bands, pooled, floor, settings)
    similar = similar_frames(
        pooled.pow(0.25),
        count=settings.similar,
        context=settings.context_frames,
        apart=settings.apart_frames,
        nearest=settings.nearest_frames,
    )
    repeating = repeating_background(magnitudes, similar).square_().mul_(2).div_(energy + floor).sub_(1)
    yield repeating
    yield _around(repeating, energy, bands, pooled, floor, settings.around_frames)
    total = energy.sum(dim=0, keepdim=True)  # (1, frame)
    yield _level_against(total, _average(total, settings.loudness_frames), 1e-3 * total.mean(), 2.0) / 2
    yield bands.spread @ (_level_against(pooled, _average(pooled, settings.loudness_frames), floor, 2.0) / 2)
    low, mid = (
        _average(energy[(frequencies > lowest) & (frequencies < highest)].sum(dim=0, keepdim=True), 5)
        for lowest, highest in ((30, 150), (150, 1200))
    )
    yield (low - mid) / (low + mid + floor)
    middle = energy[(frequencies > 200) & (frequencies < 5000)].sum(dim=0, keepdim=True)
    yield _level_against(_average(middle, settings.around_frames), middle.mean(), 1e-3 * middle.mean(), 3.0) / 2


def _position_cues(
    place: StereoPosition, bands: Bands, pooled: Tensor, floor: Tensor, settings: CueSettings
) -> Iterator[Tensor]:
    """Side, off_usual_side, off_usual_side_around, lean and width."""
    yield place.side_share / (place.side_share + 0.1)
    sides = bands.pool @ (place.energy * place.side_share)
    usual = bands.spread @ (sides.mean(dim=1, keepdim=True) / (pooled.mean(dim=1, keepdim=True) + floor))  # (bin, 1)
    # 0.02 is the side's share at which a nearly mono record begins to count as stereo.
    off_usual = (place.side_share - usual) / (place.side_share + usual + 0.04)
    yield off_usual
    yield _around(off_usual, place.energy, bands, pooled, floor, settings.around_frames)
    yield place.lean
    yield usual / (usual + 0.1)


def _compare(first: Tensor, second: Tensor, floor: Tensor) -> Tensor:
    """``(a - b) / (a + b)`` of the energies of two magnitudes."""
    first, second = first.square(), second.square()
    return (first - second).div_(first.add_(second).add_(floor))


def _loudest_below(magnitudes: Tensor) -> Tensor:
    """The louder of the magnitudes at half and a third of each bin's frequency."""
    numbers = torch.arange(magnitudes.shape[0], device=magnitudes.device)
    half, third = (magnitudes.T[:, torch.div(numbers + part // 2, part, rounding_mode="floor")] for part in (2, 3))
    return torch.maximum(half, third).T


def _level_against(level: Tensor, usual: Tensor, guard: Tensor, limit: float) -> Tensor:
    """Logarithm of a ratio of energies within +- `limit`."""
    guard = guard + torch.finfo(level.dtype).tiny
    return ((level + guard) / (usual + guard)).log().clamp(-limit, limit)


def _average(values: Tensor, frames: int) -> Tensor:
    """Mean over the frames around; at the ends over those that are there."""
    smooth = torch.nn.functional.avg_pool1d(
        values[None], frames, stride=1, padding=frames // 2, count_include_pad=False
    )
    return smooth[0]


def _around(cue: Tensor, energy: Tensor, bands: Bands, pooled: Tensor, floor: Tensor, frames: int) -> Tensor:
    """Average a cue over band and time, weighted by energy."""
    return bands.spread @ (_average(bands.pool @ (cue * energy), frames) / (_average(pooled, frames) + floor))
