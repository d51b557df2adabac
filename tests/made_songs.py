"""Generated, seeded songs with known stems, in the layouts of the data sets."""

from pathlib import Path

import numpy as np
import soundfile

STEMS = ("vocals", "drums", "bass", "other")
# Streams of a MUSDB18 stem file after the mixture.
STREAMS = ("drums", "bass", "other", "vocals")


def stems(seed=0, seconds=2.0, rate=44100, channels=2):
    """Give stems that overlap in time and frequency, each (channel, sample) float32, on steps of 16 bits."""
    random = np.random.default_rng(seed)
    samples = round(seconds * rate)
    time = np.arange(samples) / rate
    shapes = {
        "vocals": np.sin(2 * np.pi * (330 + 40 * seed) * time + 3 * np.sin(2 * np.pi * 5 * time)),
        "drums": random.standard_normal(samples) * np.exp(-((time % 0.25) / 0.03)),
        "bass": np.sin(2 * np.pi * (55 + seed) * time),
        "other": sum(np.sin(2 * np.pi * f * time) for f in (220.0, 277.0, 330.0)) / 3,
    }
    sides = {"vocals": (1.0, 1.0), "drums": (0.9, 1.0), "bass": (1.0, 0.8), "other": (0.5, 1.0)}
    made = {}
    for name, shape in shapes.items():
        noisy = 0.15 * shape + 0.01 * random.standard_normal(samples)
        both = np.stack([gain * noisy + 0.002 * random.standard_normal(samples) for gain in sides[name]])
        made[name] = (np.rint(both[:channels] * 32768) / 32768).astype(np.float32)
    return made


def write(path: Path, samples, rate=44100, subtype="PCM_16"):
    """Write (channel, sample); integers are rounded here, as libsndfile would cut them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = samples.T
    if subtype == "PCM_16":
        data = np.clip(np.rint(data * 32768), -32768, 32767).astype(np.int16)
    soundfile.write(path, data, rate, subtype=subtype)
    return path


def write_folder(folder: Path, *, seed=0, seconds=2.0, rate=44100, channels=2, names=STEMS):
    """Write `mixture.wav` and stems into one folder: MUSDB18-HQ and our own folders."""
    made = stems(seed, seconds, rate, channels)
    for name in names:
        write(folder / f"{name}.wav", made[name], rate)
    write(folder / "mixture.wav", sum(made[name] for name in names), rate)
    return made


def write_stem_file(path: Path, *, seed=0, seconds=2.0, silent=()):
    """Write a stem file of MUSDB18: five AAC streams, mixture first."""
    from mss_cli.audio.stemfile import encode_stem_file

    made = {name: part * (name not in silent) for name, part in stems(seed, seconds).items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = [made[name] for name in STREAMS]
    encode_stem_file(
        iter([sum(parts)]),
        [iter([part]) for part in parts],
        path,
        names=STREAMS,
        sample_rate=44100,
        channels=2,
        samples=parts[0].shape[1],
    )
    return made


def write_pair(path: Path, *, seed=0, seconds=1.0, rate=16000):
    """Write a clip of MIR-1K or iKala: accompaniment left, voice right."""
    made = stems(seed, seconds, rate, channels=1)
    accompaniment = made["drums"][0] + made["bass"][0] + made["other"][0]
    write(path, np.stack([accompaniment, made["vocals"][0]]), rate)
    return accompaniment, made["vocals"][0]
