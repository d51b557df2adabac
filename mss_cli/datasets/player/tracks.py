"""Laying sounds into tracks: places, fades, pans, notes at a pitch."""

from collections.abc import Callable, Sequence

import numpy as np
import soxr
from numpy.random import Generator

from mss_cli.datasets.player.draw import pick
from mss_cli.datasets.player.pack import SAMPLE_RATE, Audio, Item, Pack

# Plays a note: (MIDI pitch, seconds it is held) -> (channel, sample) with 1 or 2 channels, at a usual loudness.
Play = Callable[[float, float], Audio]

_RELEASE_SECONDS = 0.06


def blank(samples: int) -> Audio:
    """Give an empty stereo track of shape (2, sample)."""
    return np.zeros((2, samples), dtype=np.float32)


def pan_gains(pan: float) -> tuple[np.float32, np.float32]:
    """Give the gains of both sides, -1 left to 1 right, with constant power and 1 in the middle."""
    angle = (min(max(pan, -1.0), 1.0) + 1) * np.pi / 4
    return np.float32(2**0.5 * np.cos(angle)), np.float32(2**0.5 * np.sin(angle))


def place(track: Audio, sound: Audio, *, seconds: float, gain: float = 1.0, pan: float = 0.0) -> None:
    """Add a sound of 1 or 2 channels to a stereo track; what lies outside the track is cut off."""
    start = round(seconds * SAMPLE_RATE)
    first = max(-start, 0)
    end = min(start + sound.shape[1], track.shape[1])
    start += first
    if end <= start:
        return
    part = sound[:, first : first + end - start]
    for side, side_gain in enumerate(pan_gains(pan)):
        track[side, start:end] += np.float32(gain) * side_gain * part[side % part.shape[0]]


def fade_out(sound: Audio, *, seconds: float, release: float = _RELEASE_SECONDS) -> Audio:
    """Cut a sound `release` seconds after it is let go at `seconds`, with a fade in between; the input may be used."""
    end = min(round((seconds + release) * SAMPLE_RATE), sound.shape[1])
    fade = min(round(release * SAMPLE_RATE), end)
    out = sound[:, :end]
    out[:, end - fade :] *= np.linspace(1, 0, fade, dtype=np.float32) ** 2
    return out


def transpose(sound: Audio, semitones: float) -> Audio:
    """Shift pitch, formants and tempo together by resampling."""
    if abs(semitones) < 0.01:
        return sound
    ratio = 2.0 ** (semitones / 12)
    shifted = soxr.resample(np.ascontiguousarray(sound.T), SAMPLE_RATE * ratio, SAMPLE_RATE, quality="LQ")
    return np.ascontiguousarray(shifted.T, dtype=np.float32)


def sampled(pack: Pack, items: Sequence[Item], random: Generator, *, release: float = _RELEASE_SECONDS) -> Play:
    """Make an instrument of recorded notes: the nearest one, resampled to the pitch.

    Parameters
    ----------
    pack : Pack
    items : sequence of Item
        Notes of one source, at least one of them pitched.
    random : Generator
        Chooses among notes of the same pitch, once for each pitch and length.
    release : float
        Seconds in which a note that is let go fades.
    """
    pitches = [(item, item.midi) for item in items if item.midi is not None]
    known: dict[tuple[float, float], Audio] = {}

    def play(midi: float, seconds: float) -> Audio:
        place_of = (midi, round(seconds, 3))
        if place_of not in known:
            nearest = min(abs(pitch - midi) for _, pitch in pitches)
            item, pitch = pick(random, [pair for pair in pitches if abs(pair[1] - midi) <= nearest + 0.5])
            sound = level_out(pack.audio(item))
            wanted = round((seconds + release) * SAMPLE_RATE * 2.0 ** ((midi - pitch) / 12)) + 64
            known[place_of] = fade_out(transpose(sound[:, :wanted], midi - pitch), seconds=seconds, release=release)
        return known[place_of]

    return play


def level_out(sound: Audio) -> Audio:
    """Bring a note to a peak of 0.5, so that layers and sources of all levels can be mixed; silence stays."""
    peak = float(np.abs(sound).max(initial=0.0))
    return sound if peak < 1e-5 else sound * np.float32(0.5 / peak)


def humanised(random: Generator, *, seconds: float, spread: float) -> float:
    """Move a time by a normal error of `spread` seconds, at most three times that and never below 0."""
    return max(seconds + float(np.clip(random.normal(0, 1), -3, 3)) * spread, 0.0)
