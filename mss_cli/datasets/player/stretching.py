"""Time and pitch of recorded voices apart from each other."""

import numpy as np
import scipy.fft

from mss_cli.datasets.player.pack import SAMPLE_RATE, Audio
from mss_cli.datasets.player.pitch import HOP_SAMPLES, PitchTrack

_FRAME = 2048
_HOP = _FRAME // 2
_SEARCH = 512


def stretched(sound: Audio, ratio: float) -> Audio:
    """Make a sound `ratio` times as long at the same pitch.

    Frames are laid at an even distance, each taken from where it best continues the one before (waveform similarity
    overlap-add).

    References
    ----------
    Verhelst and Roelands, "An overlap-add technique based on waveform similarity (WSOLA) for high quality time-scale
    modification of speech", ICASSP 1993.
    """
    if abs(ratio - 1) < 0.005 or sound.shape[1] < 2 * _FRAME:
        return sound
    samples = round(sound.shape[1] * ratio)
    padded = np.pad(sound, ((0, 0), (_SEARCH, _FRAME + _HOP + 2 * _SEARCH)))
    middle = padded.mean(axis=0)
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_FRAME) / _FRAME)).astype(np.float32)
    out = np.zeros((sound.shape[0], samples + 2 * _FRAME), dtype=np.float32)
    size = _FRAME + 2 * _SEARCH
    at = _SEARCH
    for number in range(samples // _HOP + 1):
        out[:, number * _HOP : number * _HOP + _FRAME] += padded[:, at : at + _FRAME] * window
        ideal = min(round((number + 1) * _HOP / ratio), sound.shape[1]) + _SEARCH
        follows = middle[at + _HOP : at + _HOP + _FRAME]
        around = middle[ideal - _SEARCH : ideal - _SEARCH + size]
        spectrum = scipy.fft.rfft(around, size) * np.conj(scipy.fft.rfft(follows, size))
        alike = scipy.fft.irfft(spectrum, size)[: 2 * _SEARCH]
        at = ideal - _SEARCH + int(np.argmax(alike)) if alike.max(initial=0) > 0 else ideal
    return out[:, :samples]


def retuned(sound: Audio, track: PitchTrack, *, hertz: float, vibrato_cents: float = 0.0) -> tuple[Audio, float, float]:
    """Bend a sung note to one exact pitch by resampling it at a changing rate.

    Parameters
    ----------
    sound : float32 array of shape (channel, sample)
    track : PitchTrack
        Of this sound.
    hertz : float
        The pitch to sing.
    vibrato_cents : float
        Depth of a vibrato around it.

    Returns
    -------
    sound : float32 array of shape (channel, sample)
        Shorter where it was raised.
    start, end : float
        Seconds between which it is steadily sung at the pitch.
    """
    frames = np.arange(track.hertz.size + 1) * HOP_SAMPLES  # input samples
    rates = track.hertz / hertz  # output samples for one of the input
    times = np.concatenate(([0.0], np.cumsum(rates) * HOP_SAMPLES))  # output samples
    samples = int(min(times[-1], 20 * SAMPLE_RATE))
    # A frame's pitch is that of its centre, on the sample it is named after: read half a hop earlier.
    output = np.arange(samples)
    positions = np.interp(output, times - HOP_SAMPLES / 2, frames - HOP_SAMPLES / 2)
    if vibrato_cents:
        depth = vibrato_cents / 1200 * np.log(2) / (2 * np.pi * 5.5) * SAMPLE_RATE * np.minimum(output / 15000, 1)
        positions = positions + depth * np.sin(2 * np.pi * 5.5 * output / SAMPLE_RATE)
    start, end = (
        float(np.interp(frame * HOP_SAMPLES, frames, times)) / SAMPLE_RATE for frame in (track.first, track.last)
    )
    return _read(sound, positions), start, end


def _read(sound: Audio, positions: np.typing.NDArray[np.float64]) -> Audio:
    """Read a sound between its samples along cubic curves (Catmull and Rom)."""
    padded = np.pad(sound, ((0, 0), (2, 3)))
    inside = np.clip(positions, 0, sound.shape[1] - 1)
    whole = inside.astype(np.int64)
    t = (inside - whole).astype(np.float32)
    a, b, c, d = (padded[:, whole + 1 + tap] for tap in range(4))
    out = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    return np.ascontiguousarray(out, dtype=np.float32)
