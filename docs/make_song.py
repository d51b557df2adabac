"""Writes a short generated song, CC0: drums, a bass line, a panned chord and a sung-like lead in the centre.

python docs/make_song.py song.flac
"""

import sys

import numpy as np
import soundfile
from numpy.typing import NDArray

Signal = NDArray[np.float64]
RATE = 44100
BEAT_SECONDS = 0.5
BARS = ((45, (57, 60, 64)), (41, (57, 60, 65)), (48, (55, 60, 64)), (43, (55, 59, 62)))
MELODY = (69, 72, 71, 67, 69, 65, 64, 67)


def frequency(midi: float) -> float:
    return float(440.0 * 2 ** ((midi - 69) / 12))


def envelope(samples: int, attack: float, decay: float) -> Signal:
    time = np.arange(samples) / RATE
    return np.minimum(time / attack, 1.0) * np.exp(-time / decay)


def harmonics(phase: Signal, count: int, tilt: float) -> Signal:
    return np.sum([np.sin(number * phase) / number**tilt for number in range(1, count + 1)], axis=0)


def tone(midi: float, samples: int, *, count: int, tilt: float, attack: float, decay: float) -> Signal:
    phase = 2 * np.pi * frequency(midi) * np.arange(samples) / RATE
    return harmonics(phase, count, tilt) * envelope(samples, attack, decay)


def voice(midi: float, samples: int) -> Signal:
    """A buzzing source with vibrato through two moving formants."""
    time = np.arange(samples) / RATE
    pitch = frequency(midi) * (1 + 0.012 * np.sin(2 * np.pi * 5.5 * time) * np.minimum(time / 0.2, 1.0))
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    total = np.zeros(samples)
    for number in range(1, 24):
        partial = number * pitch
        gain = sum(
            np.exp(-(((partial - centre) / 180.0) ** 2)) for centre in (650 + 150 * np.sin(3 * time), 1150.0, 2600.0)
        )
        total += (0.05 + gain) / number**0.6 * np.sin(number * phase)
    return total * np.minimum(time / 0.04, 1.0) * np.minimum((time[-1] - time) / 0.08, 1.0)


def song() -> Signal:
    """Play eight bars; (sample, channel)."""
    random = np.random.default_rng(1)
    beat = round(BEAT_SECONDS * RATE)
    bars = 8
    mix = np.zeros((bars * 4 * beat, 2))

    def place(start: int, sound: Signal, left: float, right: float) -> None:
        end = min(start + len(sound), len(mix))
        mix[start:end] += sound[: end - start, None] * np.array([left, right])

    for bar in range(bars):
        root, chord = BARS[bar % 4]
        start = bar * 4 * beat
        for step in range(4):
            place(start + step * beat, tone(root, beat, count=6, tilt=1.6, attack=0.01, decay=0.5), 0.3, 0.3)
        for index, note in enumerate(chord):
            pad = tone(note, 4 * beat, count=5, tilt=1.4, attack=0.15, decay=3.0)
            place(start, pad, 0.10 if index else 0.02, 0.02 if index else 0.10)
        for step in range(4):
            at = start + step * beat
            if step % 2 == 0:
                sweep = 2 * np.pi * np.cumsum(45 + 110 * np.exp(-np.arange(beat) / (0.03 * RATE))) / RATE
                place(at, np.sin(sweep) * envelope(beat, 0.002, 0.12), 0.6, 0.6)
            else:
                place(at, random.standard_normal(beat) * envelope(beat, 0.001, 0.06), 0.25, 0.25)
            for half in (0, beat // 2):
                place(
                    at + half,
                    np.diff(random.standard_normal(beat // 4 + 1)) * envelope(beat // 4, 0.001, 0.02),
                    0.06,
                    0.1,
                )
        if bar >= 2:
            for step, note in enumerate((MELODY[(2 * bar) % 8], MELODY[(2 * bar + 1) % 8])):
                place(start + step * 2 * beat + beat // 2, voice(note - 12, round(1.4 * beat)), 0.12, 0.12)
    return 0.8 * mix / np.abs(mix).max()


if __name__ == "__main__":
    soundfile.write(sys.argv[1], song(), RATE)
