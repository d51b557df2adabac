"""A tiny sample pack: tones, noises and sung-like notes, in the layout that the song player reads."""

import csv
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import scipy.signal
import soundfile

RATE = 44100


def voice_like(hertz: float, seconds: float) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    tone = sum(np.sin(2 * np.pi * hertz * harmonic * time) / harmonic for harmonic in range(1, 9))
    edge = np.minimum(1, np.minimum(time, time[::-1]) / 0.02)
    return (0.3 * edge * tone).astype(np.float32)


def vowel(hertz: float | np.ndarray, seconds: float, formants: tuple[float, ...] = (700, 1220, 2600)) -> np.ndarray:
    """Pulses at a pitch, which may change from sample to sample, through three resonances."""
    samples = round(seconds * RATE)
    phase = np.cumsum(np.broadcast_to(hertz, samples)) / RATE
    sound = np.diff(np.floor(phase), prepend=0.0)
    for centre, width in zip(formants, (80, 100, 120), strict=True):
        radius = np.exp(-np.pi * width / RATE)
        turn = 2 * radius * np.cos(2 * np.pi * centre / RATE)
        sound = scipy.signal.lfilter([1 - radius], [1, -turn, radius**2], sound)
    return (0.5 * sound / np.abs(sound).max()).astype(np.float32)


def speech_like(seed: int, hertz: float, syllables: int = 12) -> np.ndarray:
    """Syllables of hissing and a vowel whose pitch falls, with pauses."""
    random = np.random.default_rng(seed)
    pieces = []
    for _ in range(syllables):
        seconds = random.uniform(0.12, 0.25)
        pitch = hertz * 2 ** (np.linspace(2, -2, round(seconds * RATE)) / 12)
        formants = (random.uniform(350, 800), random.uniform(1000, 2000), 2600.0)
        edge = np.minimum(1, np.arange(pitch.size) / 500)
        pieces += [
            0.05 * random.standard_normal(2500),
            vowel(pitch, seconds, formants) * edge * edge[::-1],
            np.zeros(2000),
        ]
    return np.concatenate(pieces).astype(np.float32)


def hit(seed: int, seconds: float = 0.15) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    noise = np.random.default_rng(seed).standard_normal(time.size)
    return (0.3 * noise * np.exp(-time / 0.02)).astype(np.float32)


def write_speech_pack(root: Path) -> Path:
    """Write a pack with the split `train`: a kit, and two speakers, one of them dull."""
    rows: list[dict[str, str]] = []
    kit = [(hit(number), "", piece) for number, piece in enumerate(("kick", "snare", "hhclosed"))]
    _source(root, rows, "drums", "kit", "hits", "CC0-1.0", kit)
    for name, hertz, bandwidth in (("low", 110.0, "8000"), ("high", 205.0, "20000")):
        said = [(speech_like(number, hertz), "", "read speech") for number in range(2)]
        more = {"kind": "speech", "voice": name, "bandwidth_hz": bandwidth}
        _source(root, rows, "vocals", f"speech {name}", "phrases", "CC0-1.0", said, more)
    _write(root / "index.csv", rows)
    return root


def write_pack(root: Path) -> Path:
    """Write a pack with the split `train`: a kit, a bass, keys, a bank of sung notes, phrases; one share-alike."""
    rows: list[dict[str, str]] = []
    kit = [(hit(number), "", piece) for number, piece in enumerate(("kick", "snare", "hhclosed", "hhopen", "crash"))]
    _source(root, rows, "drums", "kit", "hits", "CC0-1.0", kit)
    bass = [(voice_like(_hertz(midi), 1.0), str(midi), "bass") for midi in range(28, 52, 4)]
    _source(root, rows, "bass", "bass", "notes", "CC-BY-4.0", bass)
    keys = [(voice_like(_hertz(midi), 1.0), str(midi), "keys") for midi in range(48, 84, 5)]
    _source(root, rows, "other", "keys", "notes", "public domain", keys)
    # The bank is 30 cents sharp: labels of songs must not trust a column of whole semitones.
    sung = [(voice_like(_hertz(midi + 0.3), 1.2), str(midi), "aa") for midi in range(52, 70, 3)]
    _source(root, rows, "vocals", "bank", "notes", "CC0-1.0", sung)
    phrases = [(voice_like(220, 2.0), "", f"la {number} - 120 BPM - A minor") for number in range(3)]
    _source(root, rows, "vocals", "singer", "phrases", "MIT", phrases)
    _source(root, rows, "vocals", "shared singer", "phrases", "CC-BY-SA-4.0", phrases)
    _source(root, rows, "other", "bought", "notes", "CC-BY-NC-4.0", keys)
    _write(root / "index.csv", rows)
    return root


def _hertz(midi: float) -> float:
    return float(440 * 2 ** ((midi - 69) / 12))


def _source(
    root: Path,
    rows: list[dict[str, str]],
    stem: str,
    name: str,
    kind: str,
    licence: str,
    sounds: list[tuple[np.ndarray, str, str]],
    more: Mapping[str, str] = MappingProxyType({}),
) -> None:
    folder = root / "train" / stem / name
    folder.mkdir(parents=True)
    pieces, table, at = [], [], 0
    for sound, midi, label in sounds:
        start, end = at / RATE, (at + sound.size) / RATE
        line = {"file": "notes.wav", "start": f"{start:.6f}", "end": f"{end:.6f}", "midi": midi, "label": label}
        table.append({**line, **more})
        pieces += [sound, np.zeros(441, dtype=np.float32)]
        at += sound.size + 441
    soundfile.write(folder / "notes.wav", np.concatenate(pieces), RATE, subtype="PCM_16")
    _write(folder / ("phrases.csv" if kind == "phrases" else "notes.csv"), table)
    file = f"train/{stem}/{name}/notes.wav"
    rows.append({"file": file, "split": "train", "class": stem, "source": name, "kind": kind, "licence": licence})


def _write(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
