"""A small generated song: a voice with vibrato whose pitch is known, and the band it sings with."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

_SCALE = np.array([0, 2, 4, 5, 7, 9, 11, 12])  # semitones, major
_LOWEST_NOTE = 48  # C3
_VIBRATO_HZ, _VIBRATO_SEMITONES = 5.5, 0.4
_BEAT_SECONDS = 0.4


@dataclass(frozen=True, slots=True)
class SungSong:
    """Mono signals of shape (1, 1, sample), peak of the mixture 1, and the voice's pitch at every sample."""

    rate: int
    vocals: Tensor
    other: Tensor
    pitch: Tensor  # (sample,), Hz, 0 where the voice is silent

    @property
    def mixture(self) -> Tensor:
        return self.vocals + self.other

    def pitch_at(self, times: Tensor) -> Tensor:
        """Pitch at times in seconds; 0 outside the song."""
        places = (times * self.rate).round().long()
        inside = (places >= 0) & (places < self.pitch.numel())
        return self.pitch[places.clamp(0, self.pitch.numel() - 1)] * inside


def sung_song(*, seconds: float = 6.0, rate: int = 22_050, seed: int = 0) -> SungSong:
    """Sing notes of a scale over chords, a bass and a beat; every seed is another song."""
    random = np.random.default_rng(seed)
    samples = round(seconds * rate)
    time = np.arange(samples) / rate
    pitch, loudness = _melody(random, time)
    vocals = _voice(random, pitch, loudness, rate)
    other = _band(random, time, rate)
    vocals, other = vocals / vocals.std(), other / other.std()
    peak = np.abs(vocals + other).max()
    as_signal = [torch.from_numpy(part / peak).float()[None, None] for part in (vocals, other)]
    return SungSong(rate, *as_signal, torch.from_numpy(np.where(loudness > 0.05, pitch, 0.0)))


def _melody(random: np.random.Generator, time: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pitch in Hz and loudness from 0 to 1: notes of one or two beats, about one in five of them a rest."""
    pitch, loudness = np.full_like(time, 220.0), np.zeros_like(time)
    start = 0.0
    while start < time[-1]:
        length = _BEAT_SECONDS * random.integers(1, 3)
        inside = (time >= start) & (time < start + length)
        local = time[inside] - start
        note = _LOWEST_NOTE + 12 + random.choice(_SCALE)
        vibrato = _VIBRATO_SEMITONES * np.sin(2 * np.pi * _VIBRATO_HZ * local) * np.clip(local / 0.15, 0, 1)
        pitch[inside] = 440 * 2 ** ((note + vibrato - 69) / 12)
        if random.uniform() < 0.8:
            loudness[inside] = np.clip(local / 0.03, 0, 1) * np.clip((length - local) / 0.06, 0, 1)
        start += length
    return pitch, loudness


def _voice(random: np.random.Generator, pitch: np.ndarray, loudness: np.ndarray, rate: int) -> np.ndarray:
    """Partials under two formants, and a little breath."""
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    vocals = 0.01 * random.standard_normal(pitch.size)
    for partial in range(1, 25):
        frequency = partial * pitch
        formants = np.exp(-(((frequency - 600) / 350) ** 2)) + 0.5 * np.exp(-(((frequency - 1700) / 500) ** 2)) + 0.03
        vocals += formants / partial**0.5 * np.sin(partial * phase) * (frequency < 0.45 * rate)
    return vocals * loudness


def _band(random: np.random.Generator, time: np.ndarray, rate: int) -> np.ndarray:
    """Chords of three notes, a bass and noise bursts on the beat."""
    other = np.zeros_like(time)
    chord_seconds = 4 * _BEAT_SECONDS
    for start in np.arange(0, time[-1], chord_seconds):
        inside = (time >= start) & (time < start + chord_seconds)
        local = time[inside] - start
        fade = np.clip(local / 0.01, 0, 1) * np.clip((chord_seconds - local) / 0.02, 0, 1) * np.exp(-local / 2)
        degree = random.integers(0, 6)
        for step in (0, 2, 4):
            note = _LOWEST_NOTE + 12 * ((degree + step) // 7) + _SCALE[(degree + step) % 7]
            frequency = 440 * 2 ** ((note - 69) / 12)
            for partial in range(1, 16):
                if partial * frequency < 0.45 * rate:
                    angle = 2 * np.pi * partial * frequency * local + random.uniform(0, 2 * np.pi)
                    other[inside] += fade / partial * np.sin(angle)
        bass = 440 * 2 ** ((_LOWEST_NOTE - 12 + _SCALE[degree] - 69) / 12)
        other[inside] += 1.5 * fade * np.sin(2 * np.pi * bass * local)
    beat = (time % _BEAT_SECONDS) / 0.03
    return other + 1.5 * np.exp(-beat) * random.standard_normal(time.size)
