"""A tiny sample pack: tones, noises and sung-like notes, in the layout that the song player reads."""

import csv
from pathlib import Path

import numpy as np
import soundfile

RATE = 44100


def voice_like(hertz: float, seconds: float) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    tone = sum(np.sin(2 * np.pi * hertz * harmonic * time) / harmonic for harmonic in range(1, 9))
    edge = np.minimum(1, np.minimum(time, time[::-1]) / 0.02)
    return (0.3 * edge * tone).astype(np.float32)


def hit(seed: int, seconds: float = 0.15) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    noise = np.random.default_rng(seed).standard_normal(time.size)
    return (0.3 * noise * np.exp(-time / 0.02)).astype(np.float32)


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
) -> None:
    folder = root / "train" / stem / name
    folder.mkdir(parents=True)
    pieces, table, at = [], [], 0
    for sound, midi, label in sounds:
        start, end = at / RATE, (at + sound.size) / RATE
        table.append({"file": "notes.wav", "start": f"{start:.6f}", "end": f"{end:.6f}", "midi": midi, "label": label})
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
