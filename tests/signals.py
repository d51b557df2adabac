"""Generated sounds and files for tests."""

from pathlib import Path

import numpy as np
import soundfile


def music(seconds=2.0, rate=44100, channels=2, seed=0, level=0.25):
    """A chord that moves from left to right, a bass tone, clicks on the beat and a little noise: (sample, channel)."""
    samples = max(1, round(seconds * rate))
    time = np.arange(samples) / rate
    random = np.random.default_rng(seed)
    chord = sum(np.sin(2 * np.pi * frequency * time) for frequency in (220.0, 277.2, 329.6)) / 3
    bass = np.sin(2 * np.pi * 55.0 * time)
    beat = random.standard_normal(samples) * np.exp(-((time % 0.5) / 0.02))
    left = 0.5 * chord * (1 + np.sin(time)) + bass + beat
    right = 0.5 * chord * (1 - np.sin(time)) + bass + beat
    stereo = level * np.stack([left, right], axis=1) + 0.001 * random.standard_normal((samples, 2))
    return stereo[:, :channels].astype(np.float32)


def write_music(path: Path, *, seconds=2.0, rate=44100, channels=2, seed=0, subtype=None, level=0.25) -> Path:
    """Write `music` in the format of the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, music(seconds, rate, channels, seed, level), rate, subtype=subtype)
    return path
