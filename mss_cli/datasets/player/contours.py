"""Pitch of whole phrases, of many notes or words, and the marks at which their periods begin."""

from dataclasses import dataclass

import numpy as np
import scipy.ndimage
import soxr
from numpy.typing import NDArray

from mss_cli.datasets.player.pitch import HOP_SAMPLES, SAMPLE_RATE, PitchTrack, pitch_frames

UNVOICED_HERTZ = 200.0  # how often there is a mark where there is no pitch
_THINNED = 4
_HOP = HOP_SAMPLES // _THINNED
_VOICING = 0.4  # speech is less even than notes; wrong pitches are sorted out afterwards
_SHORTEST_FRAMES = 5  # 29 ms: shorter stretches with a pitch are chance
_OCTAVE, _FAR = 0.2, 0.65  # octaves from the pitch around


@dataclass(frozen=True, slots=True)
class Contour:
    """Pitch every `HOP_SAMPLES` samples, and marks, one for each period.

    Attributes
    ----------
    hertz : float64 array of shape (frame,)
        Positive everywhere: in frames without a pitch it is read between the neighbours.
    voiced : bool array of shape (frame,)
    level : float64 array of shape (frame,)
        RMS.
    marks : float64 array of shape (mark,)
        Samples, rising; where there is a pitch, one at the loudest part of each period, else `UNVOICED_HERTZ` of
        them a second.
    """

    hertz: NDArray[np.float64]
    voiced: NDArray[np.bool_]
    level: NDArray[np.float64]
    marks: NDArray[np.float64]

    def frame_of(self, samples: NDArray[np.float64]) -> NDArray[np.int64]:
        """Give the nearest frame of each sample."""
        return np.clip(np.round(samples / HOP_SAMPLES).astype(np.int64), 0, self.voiced.size - 1)


def follow(sound: NDArray[np.float32], *, lowest: float = 65.0, highest: float = 900.0) -> Contour:
    """Follow the pitch of a phrase of one voice.

    The pitch comes from the difference function of YIN at a quarter of the rate; octaves that jump out of their
    surroundings are set right. Marks are placed where the phase of the pitch, corrected by the phase of the
    half-wave rectified sound at that pitch, is whole.

    Parameters
    ----------
    sound : float32 array of shape (sample,)
        44.1 kHz.
    lowest, highest : float
        Hz between which the pitch is looked for.
    """
    thin = soxr.resample(sound, SAMPLE_RATE, SAMPLE_RATE / _THINNED, quality="LQ").astype(np.float32)
    hertz, voiced = pitch_frames(thin, lowest=lowest, highest=highest, thinned=_THINNED, voicing=_VOICING)
    hertz, voiced = _cleaned(hertz, voiced)
    count = hertz.size
    level = np.sqrt(_frame_means(np.square(thin), count))
    return Contour(hertz, voiced, level, _marks(thin, hertz, voiced))


def from_track(sound: NDArray[np.float32], track: PitchTrack) -> Contour:
    """Make the contour of a single note whose pitch is known throughout.

    Parameters
    ----------
    sound : float32 array of shape (sample,)
    track : PitchTrack
        Of this sound.
    """
    thin = soxr.resample(sound, SAMPLE_RATE, SAMPLE_RATE / _THINNED, quality="LQ").astype(np.float32)
    voiced = np.ones(track.hertz.size, dtype=np.bool_)
    level = np.sqrt(_frame_means(np.square(thin), voiced.size))
    return Contour(track.hertz, voiced, level, _marks(thin, track.hertz, voiced))


def runs_of(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Give (first, after the last) of every stretch of true."""
    edges = np.flatnonzero(np.diff(np.pad(flags.astype(np.int8), 1)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _cleaned(hertz: NDArray[np.float64], voiced: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    frames = np.flatnonzero(voiced)
    if frames.size < _SHORTEST_FRAMES:
        return np.full(hertz.size, UNVOICED_HERTZ), np.zeros(hertz.size, dtype=np.bool_)
    octaves = np.log2(hertz[frames])
    around = scipy.ndimage.median_filter(octaves, size=min(61, frames.size), mode="nearest")
    off = octaves - around
    octaves = octaves - np.round(off) * (np.abs(off - np.round(off)) < _OCTAVE)
    good = np.abs(octaves - around) < _FAR
    clean = np.zeros(hertz.size, dtype=np.bool_)
    clean[frames[good]] = True
    for first, last in runs_of(clean):
        if last - first < _SHORTEST_FRAMES:
            clean[first:last] = False
    kept = clean[frames]
    if not kept.any():
        return np.full(hertz.size, UNVOICED_HERTZ), clean
    filled = np.interp(np.arange(hertz.size), frames[kept], octaves[kept])
    return 2 ** np.asarray(scipy.ndimage.median_filter(filled, size=5, mode="nearest"), dtype=np.float64), clean


def _marks(thin: NDArray[np.float32], hertz: NDArray[np.float64], voiced: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Give the samples, at 44.1 kHz, at which the periods have their loudest part."""
    count = hertz.size
    rate = np.where(voiced, hertz, UNVOICED_HERTZ)
    phase = np.concatenate(([0.0], np.cumsum((rate[1:] + rate[:-1]) / 2))) * (HOP_SAMPLES / SAMPLE_RATE)
    if voiced.any():
        at = np.arange(thin.size)
        turn = np.exp(-2j * np.pi * np.interp(at, np.arange(count) * _HOP, phase))
        # The side on which the pulses of the glottis lie has the higher peaks.
        side = 1.0 if float((thin.astype(np.float64) ** 3).sum()) >= 0 else -1.0
        pulses = np.square(np.maximum(side * thin, 0)) * turn
        spun = _frame_means(pulses.real, count) + 1j * _frame_means(pulses.imag, count)
        # A mean over 9 frames (52 ms), each frame counted alike: a decaying note must not look ahead or back.
        even = spun / np.maximum(np.abs(spun), 1e-20)
        smooth = scipy.ndimage.uniform_filter1d(even.real * voiced, 9) + 1j * scipy.ndimage.uniform_filter1d(
            even.imag * voiced, 9
        )
        frames = np.flatnonzero(voiced)
        late = np.unwrap(-np.angle(smooth[frames])) / (2 * np.pi)
        phase = np.maximum.accumulate(phase - np.interp(np.arange(count), frames, late))
    phase = phase + 1e-9 * np.arange(count)  # strictly rising
    whole = np.arange(np.ceil(phase[0]), np.floor(phase[-1]) + 1)
    return np.asarray(np.interp(whole, phase, np.arange(count) * float(HOP_SAMPLES)), dtype=np.float64)


def _frame_means(values: NDArray[np.float32] | NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Average over two hops around each frame."""
    padded = np.pad(values, (_HOP, max((count + 1) * _HOP - values.size, 0)))[: (count + 2) * _HOP]
    blocks = padded.reshape(-1, _HOP).mean(axis=1, dtype=np.float64)  # (count + 2,)
    return np.asarray((blocks[:count] + blocks[1 : count + 1]) / 2)
