"""Voices sung again: pitch, formants and time apart from each other, period by period."""

from dataclasses import dataclass

import numpy as np
import soxr
from numpy.random import Generator
from numpy.typing import NDArray

from mss_cli.datasets.player.contours import UNVOICED_HERTZ, Contour
from mss_cli.datasets.player.draw import uniform
from mss_cli.datasets.player.pack import SAMPLE_RATE, Audio
from mss_cli.datasets.player.pitch import HOP_SAMPLES

LOWEST_FORMANTS, HIGHEST_FORMANTS = 0.8, 1.25
_FINE = 2  # grains are cut on half samples, so that periods are even
_WINDOW_POINTS = 2048
_WINDOW = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_WINDOW_POINTS + 1) / _WINDOW_POINTS)).astype(np.float32)
_EMPTY = 64
_NEIGHBOURS = 3  # grains on either side


@dataclass(frozen=True, slots=True)
class Grains:
    """A voice cut at the marks of its periods.

    Attributes
    ----------
    sound : float32 array of shape (sample,)
        Twice as fine as 44.1 kHz, with the formants already moved by reading it faster or slower.
    contour : Contour
        Of the voice as it was.
    formants : float
        By how much formants are raised.
    """

    sound: NDArray[np.float32]
    contour: Contour
    formants: float


def draw_formants(random: Generator, *, semitones: float) -> float:
    """Choose by how much formants are raised in a voice whose pitch is raised by `semitones`, 0.8 to 1.25.

    Small voices are high: formants follow the pitch a part of the way, and differ from singer to singer.
    """
    follows = uniform(random, 0.0, 0.4) * semitones / 12
    return float(np.clip(2 ** (follows + random.normal(0, 0.09)), LOWEST_FORMANTS, HIGHEST_FORMANTS))


def cut(sound: NDArray[np.float32], contour: Contour, *, formants: float) -> Grains:
    """Cut a voice into grains of two periods, with its formants moved.

    Parameters
    ----------
    sound : float32 array of shape (sample,)
        44.1 kHz.
    contour : Contour
        Of this sound.
    formants : float, 0.5 to 2
        Formants are at `formants` times their frequencies, whatever happens to the pitch.

    Raises
    ------
    ValueError
        If `formants` is out of its range.
    """
    if not 0.5 <= formants <= 2:
        raise ValueError(f"formants must be between 0.5 and 2, got {formants}")
    fine = soxr.resample(sound, SAMPLE_RATE * formants, SAMPLE_RATE * _FINE, quality="LQ")
    return Grains(np.asarray(fine, dtype=np.float32), contour, formants)


def sung_again(grains: Grains, *, times: NDArray[np.float64], hertz: NDArray[np.float64]) -> NDArray[np.float32]:
    """Sing a voice with another pitch and in another time (pitch-synchronous overlap-add).

    Each period of the new pitch is a grain of the voice, two periods long, taken where the voice is at that time.
    Without a pitch in the voice (consonants, breath), grains follow each other as they were.

    Parameters
    ----------
    grains : Grains
    times : float64 array of shape (frame,)
        For every `HOP_SAMPLES` samples of the output, the sample of the voice to sing; not falling.
    hertz : float64 array of shape (frame,)
        The pitch to sing at that time, where the voice has a pitch.

    Returns
    -------
    float32 array of shape (sample,)
        `HOP_SAMPLES` for each frame.

    References
    ----------
    Moulines and Charpentier, "Pitch-synchronous waveform processing techniques for text-to-speech synthesis using
    diphones", Speech Communication 1990.
    """
    contour, marks = grains.contour, grains.contour.marks
    samples = times.size * HOP_SAMPLES
    if marks.size < 3 or times.size < 2:
        return np.zeros(max(samples, _EMPTY), dtype=np.float32)
    frame = contour.frame_of(times)
    rate = np.where(contour.voiced[frame], hertz, UNVOICED_HERTZ)
    phase = np.concatenate(([0.0], np.cumsum((rate[1:] + rate[:-1]) / 2))) * (HOP_SAMPLES / SAMPLE_RATE)
    starts = np.arange(times.size) * float(HOP_SAMPLES)
    outs = np.interp(np.arange(np.floor(phase[-1])), phase, starts)  # the new marks
    source = np.interp(outs, starts, times)
    nearest = np.clip(np.searchsorted(marks, source), 1, marks.size - 1)
    nearest -= source - marks[nearest - 1] < marks[nearest] - source
    spacing = SAMPLE_RATE / np.interp(outs, starts, rate)
    slowness = np.diff(outs, append=samples) / np.diff(source, append=source[-1:] + 1).clip(1e-3)
    nearest = _varied(contour, nearest, slowness=slowness)
    at = contour.frame_of(marks[nearest])
    voiced = contour.voiced[at]
    own = SAMPLE_RATE / (contour.hertz[at] * grains.formants)
    reach = np.where(voiced, own, spacing)  # half a grain, in samples of the output
    # Pulses that follow faster are louder together: keep the energy.
    gains = np.where(voiced, np.sqrt(np.clip(spacing / own, 0.2, 2.5)), 1.0)
    return _laid(grains.sound, marks[nearest] / grains.formants, outs, reach=reach, gains=gains, samples=samples)


def shifted(voice: Audio, contour: Contour, *, semitones: float, formants: float, ratio: float = 1.0) -> Audio:
    """Shift the pitch of a whole phrase, its formants apart from it, and make it `ratio` times as long.

    Parameters
    ----------
    voice : float32 array of shape (channel, sample)
        Sung again as one channel.
    contour : Contour
        Of the mean of the channels.
    semitones : float
    formants : float, 0.5 to 2
    ratio : float, > 0

    Returns
    -------
    float32 array of shape (1, sample)
    """
    grains = cut(np.ascontiguousarray(voice.mean(axis=0)), contour, formants=formants)
    count = max(round(voice.shape[1] * ratio / HOP_SAMPLES), 2)
    times = np.arange(count) * (HOP_SAMPLES / ratio)
    hertz = np.interp(times / HOP_SAMPLES, np.arange(contour.hertz.size), contour.hertz) * 2 ** (semitones / 12)
    return sung_again(grains, times=times, hertz=hertz)[None]


def _varied(contour: Contour, nearest: NDArray[np.int64], *, slowness: NDArray[np.float64]) -> NDArray[np.int64]:
    """Where a voice without a pitch is slowed down, take neighbours of the nearest grain in turn.

    One grain again and again would make a tone of noise. With a pitch the nearest is kept: marks of neighbouring
    periods do not agree to the sample, and the pitch would waver (by 10 cents with neighbours of one).
    """
    reach = np.clip(0.6 * (slowness - 1), 0, _NEIGHBOURS)
    # Steps of the golden ratio: even, without a period that is heard, and the same each time.
    turns = (np.arange(nearest.size) * 0.6180339887498949) % 1 - 0.5
    other = np.clip(nearest + np.round(2 * reach * turns).astype(np.int64), 0, contour.marks.size - 1)
    near, far = (contour.voiced[contour.frame_of(contour.marks[which])] for which in (nearest, other))
    return np.where(near | far, nearest, other)


def _laid(
    sound: NDArray[np.float32],
    marks: NDArray[np.float64],
    outs: NDArray[np.float64],
    *,
    reach: NDArray[np.float64],
    gains: NDArray[np.float64],
    samples: int,
) -> NDArray[np.float32]:
    """Lay windowed grains around their new marks; `reach` is half their length."""
    sizes = 2 * np.floor(reach).astype(np.int64) + 1
    ends = np.cumsum(sizes)
    total = int(ends[-1]) if ends.size else 0
    if total == 0:
        return np.zeros(samples, dtype=np.float32)
    # All grains one after the other: offset counts the samples of a grain from its middle.
    offset = np.arange(total, dtype=np.int32) - np.repeat((ends - sizes + sizes // 2).astype(np.int32), sizes)
    middle = np.round(outs).astype(np.int32)
    # What rounding the new mark moved is made up for on the finer raster of the voice.
    taken = np.round((marks + middle - outs) * _FINE).astype(np.int32)
    read = np.clip(np.repeat(taken, sizes) + _FINE * offset, 0, sound.size - 1)
    slope = (_WINDOW_POINTS / 2 / np.maximum(reach, 1)).astype(np.float32)
    points = (np.repeat(slope, sizes) * offset + np.float32(_WINDOW_POINTS / 2 + 0.5)).astype(np.int32)
    values = sound[read] * _WINDOW[np.clip(points, 0, _WINDOW_POINTS)] * np.repeat(gains.astype(np.float32), sizes)
    where = np.repeat(middle, sizes) + offset
    inside = (where >= 0) & (where < samples)
    return np.bincount(where[inside], weights=values[inside], minlength=samples).astype(np.float32)
