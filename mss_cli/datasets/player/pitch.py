"""Pitch of single voices: where a recorded note is sung, and how high, frame by frame."""

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray

SAMPLE_RATE = 44100
HOP_SAMPLES = 256
_WINDOW = 1024
_THRESHOLD = 0.18
_LOUD = 0.05  # frames below this share of the loudest frame's level are no note


@dataclass(frozen=True, slots=True)
class PitchTrack:
    """Pitch every `HOP_SAMPLES` samples.

    Attributes
    ----------
    hertz : float64 array of shape (frame,)
        Positive everywhere: in frames that are not steadily sung it is read between the neighbours.
    first, last : int
        Frames of the longest stretch that is steadily sung; `last` is the frame after it. Equal where there is none.
    """

    hertz: NDArray[np.float64]
    first: int
    last: int


def track_pitch(sound: NDArray[np.float32], *, lowest: float = 70.0, highest: float = 1000.0) -> PitchTrack:
    """Follow the pitch of one voice (the difference function of YIN with its cumulative mean).

    Parameters
    ----------
    sound : float32 array of shape (sample,)
        44.1 kHz.
    lowest, highest : float
        Hz between which the pitch is looked for.

    References
    ----------
    de Cheveigné and Kawahara, "YIN, a fundamental frequency estimator for speech and music", JASA 2002.
    """
    hertz, voiced = pitch_frames(sound, lowest=lowest, highest=highest)
    if not voiced.any():
        return PitchTrack(np.full(max(hertz.size, 1), 440.0), 0, 0)
    middle = float(np.median(hertz[voiced]))
    # Frames far from the middle pitch are errors of an octave or slides into the note.
    steady = voiced & (np.abs(12 * np.log2(hertz / middle)) < 2.5)
    frames = np.flatnonzero(steady)
    if frames.size == 0:
        return PitchTrack(np.full(hertz.size, middle), 0, 0)
    filled = np.interp(np.arange(hertz.size), frames, hertz[frames])
    smooth = np.convolve(np.pad(filled, 3, mode="edge"), np.ones(7) / 7, mode="valid")
    steady &= np.abs(12 * np.log2(hertz / smooth)) < 0.3
    first, last = _longest_run(steady)
    return PitchTrack(smooth, first, last)


def pitch_frames(
    sound: NDArray[np.float32], *, lowest: float, highest: float, thinned: int = 1, voicing: float = _THRESHOLD
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Give pitch and voicing of each frame; frame k is centred on sample k * HOP_SAMPLES.

    `thinned` tells that of 44.1 kHz only every so many samples are left: 1, 2 or 4. `lowest` and `highest` are
    Hz. A frame has a pitch where the normalised difference at one period is below `voicing`.
    """
    rate, window, hop = SAMPLE_RATE / thinned, _WINDOW // thinned, HOP_SAMPLES // thinned
    longest = int(rate / lowest) + 2
    shortest = max(int(rate / highest) - 1, 4)
    span = window + longest
    padded = np.pad(sound, (span // 2, span))
    count = max(sound.size // hop, 1)
    frames = np.lib.stride_tricks.sliding_window_view(padded, span)[::hop][:count].astype(np.float64)
    size = scipy.fft.next_fast_len(span + window, real=True)
    spectra = scipy.fft.rfft(frames, size, axis=1) * np.conj(scipy.fft.rfft(frames[:, :window], size, axis=1))
    products = scipy.fft.irfft(spectra, size, axis=1)[:, :longest]  # (frame, lag)
    energy = np.cumsum(np.square(frames), axis=1)
    energy = np.pad(energy, ((0, 0), (1, 0)))
    shifted = energy[:, window : window + longest] - energy[:, :longest]
    difference = np.maximum(shifted[:, :1] + shifted - 2 * products, 0)
    lags = np.arange(longest)
    mean = np.cumsum(difference, axis=1) / np.maximum(lags, 1)
    normal = np.where(mean > 1e-12, difference / np.maximum(mean, 1e-12), 1.0)
    inner = normal[:, shortest:-1]
    dips = (inner < normal[:, shortest - 1 : -2]) & (inner <= normal[:, shortest + 1 :])
    good = dips & (inner < _THRESHOLD)
    best = np.where(good.any(axis=1), good.argmax(axis=1), inner.argmin(axis=1)) + shortest
    row = np.arange(count)
    left, centre, right = normal[row, best - 1], normal[row, best], normal[row, best + 1]
    bow = left - 2 * centre + right
    shift = np.where(np.abs(bow) > 1e-9, 0.5 * (left - right) / np.where(np.abs(bow) > 1e-9, bow, 1), 0)
    hertz = rate / (best + np.clip(shift, -0.5, 0.5))
    level = np.sqrt(energy[:, window])
    voiced = (centre < voicing) & (level > _LOUD * level.max(initial=1e-9))
    return hertz, voiced


def _longest_run(flags: NDArray[np.bool_]) -> tuple[int, int]:
    edges = np.flatnonzero(np.diff(np.pad(flags.astype(np.int8), 1)))
    starts, ends = edges[::2], edges[1::2]
    if starts.size == 0:
        return 0, 0
    longest = int(np.argmax(ends - starts))
    return int(starts[longest]), int(ends[longest])
