"""Folders of generated songs for tests of the training's data."""

import numpy as np
import soundfile

from mss_cli.training.recipe import SongSource
from mss_cli.training.song_cache import SongCache
from mss_cli.training.songs import open_songs

RATE = 8000
STEMS = ("vocals", "drums", "bass", "other")


def write_song(folder, *, seconds=2.0, seed=0, channels=2, rate=RATE, stems=STEMS, mixture=True, level=0.1):
    """Write a folder per track of 16-bit noise, different in every stem; give the stems as they are read back."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    whole = {}
    for name in stems:
        noise = (level * 32768 * random.standard_normal((round(seconds * rate), channels))).clip(-32768, 32767)
        whole[name] = noise.astype(np.int16)
        soundfile.write(folder / f"{name}.wav", whole[name], rate, subtype="PCM_16")
    read = {name: samples.T.astype(np.float32) / 32768 for name, samples in whole.items()}  # (channel, sample)
    if mixture:
        soundfile.write(folder / "mixture.wav", sum(read.values()).T, rate, subtype="FLOAT")
    return read


def write_songs(root, count, **options):
    """Write several songs and give their stems, by name."""
    return {f"song {number}": write_song(root / f"song {number}", seed=number, **options) for number in range(count)}


def where(cut, song):
    """Tell where a cut of shape (channel, sample) begins in a song; -1 if nowhere."""
    length = cut.shape[1]
    for start in np.flatnonzero(song[0, : song.shape[1] - length + 1] == cut[0, 0]):
        if np.array_equal(song[:, start : start + length], cut):
            return int(start)
    return -1


def fill_cache(root, folder, form, wanted, gate):
    """Put all songs of a folder into a cache, from the moment all who share the gate are there."""
    songs = open_songs(SongSource(kind="folders", root=root), 0)
    cache = SongCache(folder, form, wanted)
    gate.wait()
    for number in range(len(songs)):
        cache.song(songs, number)


def write_pack(root, *, split="train"):
    """Write a small pack of notes: harmonic tones for voice, bass and the rest, and noise for a kick and a snare."""
    rows = ["file,split,class,source,kind,licence"]
    for stem, pitches in (("vocals", range(55, 72, 2)), ("bass", range(33, 48, 2)), ("other", range(52, 76, 2))):
        sounds = [(str(pitch), "", _tone(pitch)) for pitch in pitches]
        rows.append(_write_notes(root, split, stem, sounds))
    random = np.random.default_rng(0)
    sounds = [("", name, 0.3 * random.standard_normal(8820) * np.exp(-np.arange(8820) / 2000)) for name in ("ks", "sc")]
    rows.append(_write_notes(root, split, "drums", sounds))
    (root / "index.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return root


def _tone(midi, seconds=0.8):
    time = np.arange(round(seconds * 44100)) / 44100
    pitch = 440 * 2 ** ((midi - 69) / 12)
    return (
        sum(np.sin(2 * np.pi * k * pitch * time) / k for k in (1, 2, 3)) * np.minimum(1, (seconds - time) / 0.1) * 0.3
    )


def _write_notes(root, split, stem, sounds):
    folder = root / split / stem / f"made_{stem}"
    folder.mkdir(parents=True)
    lines, begin = ["file,start,end,midi,velocity,articulation,source_path"], 0
    for midi, label, samples in sounds:
        lines.append(f"notes.wav,{begin / 44100},{(begin + len(samples)) / 44100},{midi},,{label},made")
        begin += len(samples)
    soundfile.write(folder / "notes.wav", np.concatenate([samples for _, _, samples in sounds]), 44100)
    (folder / "notes.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return f"{split}/{stem}/made_{stem}/notes.wav,{split},{stem},made_{stem},notes,CC0-1.0"
