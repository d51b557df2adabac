"""A small seeded mix of four stems, made of sums of sines and noise: to score weights where there is no data set."""

import numpy as np

RATE = 44100
SECONDS = 6.0
STEMS = ("vocals", "drums", "bass", "other")
_BEAT_SECONDS = 0.5
_CHORDS = ((57, 60, 64), (53, 57, 60), (48, 52, 55), (55, 59, 62))


def small_mix(seed=0):
    """Give stems of shape (stem, channel, sample), float32; their sum is the mixture."""
    random = np.random.default_rng(seed)
    stems = np.zeros((len(STEMS), 2, round(SECONDS * RATE)))
    beats = int(SECONDS / _BEAT_SECONDS)
    for beat in range(beats):
        chord = _CHORDS[beat // 4 % len(_CHORDS)]
        place(stems[1], beat * _BEAT_SECONDS, kick() if beat % 2 == 0 else snare(random), 0.0)
        for half in range(2):
            place(stems[1], (beat + half / 2) * _BEAT_SECONDS, hat(random), 0.3)
        place(stems[2], beat * _BEAT_SECONDS, tone(chord[0] - 24, 0.45, partials=6, decay=0.5) * 0.5, 0.0)
        if beat % 2 == 0:
            for number, midi in enumerate(chord):
                sound = tone(midi, 0.95, partials=8, decay=0.8) * 0.12
                place(stems[3], beat * _BEAT_SECONDS, sound, (-0.6, 0.2, 0.6)[number])
        midi = chord[int(random.integers(3))] + 12
        place(stems[0], (beat + 0.02) * _BEAT_SECONDS, voice(midi, 0.46) * 0.25, 0.0)
    return stems.astype(np.float32)


def hertz(midi):
    return 440 * 2 ** ((midi - 69) / 12)


def clock(seconds):
    return np.arange(round(seconds * RATE)) / RATE


def tone(midi, seconds, *, partials, decay):
    time = clock(seconds)
    sound = sum(np.sin(2 * np.pi * n * hertz(midi) * time) / n for n in range(1, partials + 1))
    return sound * np.minimum(time / 0.005, 1) * np.exp(-time / decay)


def voice(midi, seconds):
    """Partials under three formants, with vibrato."""
    time = clock(seconds)
    phase = 2 * np.pi * hertz(midi) * (time + 0.0004 * np.sin(2 * np.pi * 5.5 * time))
    sound = np.zeros_like(time)
    for n in range(1, 20):
        gain = sum(np.exp(-(((n * hertz(midi) - centre) / 250) ** 2)) for centre in (700, 1200, 2700))
        sound += (0.03 + gain) * np.sin(n * phase)
    return sound * np.minimum(time / 0.04, 1) * np.minimum((seconds - time) / 0.06, 1)


def kick():
    time = clock(0.3)
    return 0.8 * np.sin(2 * np.pi * (50 * time + 5 * (1 - np.exp(-time / 0.02)))) * np.exp(-time / 0.08)


def snare(random):
    time = clock(0.2)
    return 0.3 * (random.standard_normal(len(time)) + np.sin(2 * np.pi * 190 * time)) * np.exp(-time / 0.05)


def hat(random):
    noise = np.diff(random.standard_normal(round(0.08 * RATE) + 2), n=2)  # more treble than bass
    return 0.04 * noise * np.exp(-clock(0.08) / 0.02)


def place(stem, seconds, sound, pan):
    start = round(seconds * RATE)
    part = sound[: stem.shape[1] - start]
    stem[0, start : start + len(part)] += part * np.sqrt((1 - pan) / 2)
    stem[1, start : start + len(part)] += part * np.sqrt((1 + pan) / 2)
