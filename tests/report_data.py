"""Results files and excerpts for tests of the report page: seeded, or with the scores a test names."""

import json
from pathlib import Path

import numpy as np
import soundfile

STEMS = ("vocals", "drums", "bass", "other")
METRICS = ("SDR", "ISR", "SIR", "SAR")


def stem_scores(medians, *, frames=10, nan_frames=0, scenario="four-stems"):
    """One stem with a median per metric; every frame has it, but for the NaN ones."""
    values = {metric: [None] * nan_frames + [value] * (frames - nan_frames) for metric, value in medians.items()}
    whole = medians.get("SDR")
    return {
        "scenario": scenario,
        "frames": values,
        "median": dict(medians),
        "mean": dict(medians),
        "nan_frames": nan_frames,
        "usdr": whole,
        "si_sdr": None if whole is None else whole - 1,
    }


def document(name, tracks, *, kind="model", published=50, subset="test", settings=None, **changes):
    """A results document: tracks maps each name to its stems."""
    return {
        "schema": 1,
        "system": {"kind": kind, "name": name, "settings": settings or {}},
        "dataset": {"name": "musdb18", "subset": subset, "tracks": len(tracks), "published_tracks": published},
        "scenario": "auto",
        "score_kind": "BSSEval v4, median of frames, median of tracks",
        "decoder": "libav",
        "tracks": [
            {"name": track, "subset": subset, "samples": 441000, "sample_rate": 44100, "stems": stems}
            for track, stems in tracks.items()
        ],
        "summary": {},
    } | changes


def by_sdr(name, scores, *, stem="vocals", **more):
    """A document with one stem, whose tracks are numbered and have these SDR medians."""
    tracks = {f"track {index}": {stem: stem_scores({"SDR": value})} for index, value in enumerate(scores, 1)}
    return document(name, tracks, **more)


def seeded(name, *, tracks=12, gain=0.0, seed=0, kind="model", stems=STEMS, **more):
    """A document with plausible scores; those of two gains differ by it and a little chance."""
    song, chance = np.random.default_rng(0), np.random.default_rng(seed)
    found = {}
    for index in range(1, tracks + 1):
        found[f"Artist {index} - Song No. {index}"] = {
            stem: stem_scores(
                {
                    metric: round(float(base + song.normal(0, 2.2) + gain + chance.normal(0, 0.5)), 6)
                    for metric, base in zip(METRICS, (5.2, 9.8, 10.5, 6.1), strict=True)
                },
                frames=200,
                nan_frames=int(song.integers(0, 12)),
            )
            for stem in stems
        }
    return document(name, found, kind=kind, **more)


def write(path: Path, results) -> Path:
    """Write a document and give its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, allow_nan=False), encoding="utf-8")
    return path


def write_tone(path: Path, frequency_hz, *, seconds=3.0, rate=44100, channels=2, level=0.4) -> Path:
    """Write a steady tone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(round(seconds * rate)) / rate
    tone = level * np.sin(2 * np.pi * frequency_hz * time)
    soundfile.write(path, np.stack([tone] * channels, axis=1), rate, subtype="FLOAT" if level > 1 else None)
    return path
