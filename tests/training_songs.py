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
