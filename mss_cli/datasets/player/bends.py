"""Pitch that moves: vibrato, drift and bends of whole parts, as of guitars, strings, reeds, tape, gliding leads.

Without them a network learns that what wavers is a voice: with 30 cents of vibrato, `other` of songs that it separated
by 40 dB went into the vocals.
"""

import numpy as np
import scipy.signal
from numpy.random import Generator
from numpy.typing import NDArray

from mss_cli.datasets.player.draw import chance, pick, uniform
from mss_cli.datasets.player.pack import SAMPLE_RATE, Audio

# A part comes back into time with this time constant in seconds.
_BACK_IN_TIME = 1.0


def draw_bends(random: Generator, samples: int, *, deepest: float = 1.0) -> NDArray[np.float32]:
    """Draw how the pitch of a part moves.

    Parameters
    ----------
    random : Generator
    samples : int, > 0
    deepest : float, > 0
        Factor of all depths.

    Returns
    -------
    float32 array of shape (sample,)
        Cents above the written pitch: a vibrato of 8 to 45 cents that comes and goes, a drift of some cents, bends of
        one or two semitones; at least one of them.
    """
    time = np.arange(samples, dtype=np.float32) / np.float32(SAMPLE_RATE)
    cents = np.zeros(samples, dtype=np.float32)
    vibrato, drift, bends = chance(random, 0.6), chance(random, 0.4), chance(random, 0.3)
    if vibrato or not (drift or bends):
        rate = uniform(random, 3.5, 7.5) * (1 + 0.06 * _wandering(random, samples, per_second=1))
        swell = np.clip(0.6 + 0.5 * _wandering(random, samples, per_second=uniform(random, 0.3, 2)), 0, 1)
        turn = np.cumsum(rate, dtype=np.float64) * (2 * np.pi / SAMPLE_RATE) + uniform(random, 0, 6)
        cents += np.float32(2 ** uniform(random, 3, 5.5)) * swell * np.sin(turn).astype(np.float32)
    if drift:
        cents += np.float32(uniform(random, 3, 15)) * _wandering(random, samples, per_second=uniform(random, 0.5, 4))
    if bends:
        at = uniform(random, 0, 2)
        while at * SAMPLE_RATE < samples:
            since, length = time - np.float32(at), uniform(random, 0.04, 0.3)
            glide = np.where(since >= 0, np.exp(-np.maximum(since, 0) / np.float32(length)), 0)
            cents += np.float32(pick(random, (-200.0, -100.0, -100.0, 100.0, 200.0))) * glide.astype(np.float32)
            at += uniform(random, 0.3, 3)
    return cents * np.float32(deepest)


def bent(track: Audio, cents: NDArray[np.float32]) -> Audio:
    """Read a track faster and slower, so that its pitch moves by so many cents; it stays in time within some 30 ms.

    Parameters
    ----------
    track : float32 array of shape (2, sample)
    cents : float32 array of shape (sample,)

    Returns
    -------
    float32 array of shape (2, sample)
    """
    faster = 2.0 ** (cents.astype(np.float64) / 1200) - 1
    kept = np.exp(-1 / (_BACK_IN_TIME * SAMPLE_RATE))
    late = scipy.signal.lfilter([1.0], [1.0, -kept], faster)
    at = np.arange(cents.size)
    places = np.clip(at + late, 0, cents.size - 1)
    return np.stack([np.interp(places, at, channel) for channel in track]).astype(np.float32)


def _wandering(random: Generator, samples: int, *, per_second: float) -> NDArray[np.float32]:
    """Lines between normal numbers, so many in a second."""
    points = random.standard_normal(int(samples / SAMPLE_RATE * per_second) + 2)
    along = np.linspace(0, samples / SAMPLE_RATE * per_second, samples)
    return np.interp(along, np.arange(points.size), points).astype(np.float32)
