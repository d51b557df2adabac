"""The songs on which the default model is judged: eval-v1, the excerpt in stempeg, and songs played for validation."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mss_cli.datasets.catalog import open_dataset
from mss_cli.datasets.player.pack import STEMS, open_pack
from mss_cli.datasets.player.song import SongStyle, play_song
from mss_cli.datasets.track import Part, Signal

Audio = NDArray[np.float32]
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
EVAL, PACK = SHARED / "eval-v1", SHARED / "stems-v1"
REAL, CONSTRUCTED, EXCERPT, VALIDATION = "real", "constructed", "excerpt", "validation"
RATE = 44100
# Streams of a MUSDB18 stem file after the mixture.
_STREAMS = ("drums", "bass", "other", "vocals")
_FIRST_SEED = 500_000


@dataclass(frozen=True, slots=True)
class Song:
    """A song with its true stems.

    Attributes
    ----------
    name : str
    group : str
        "real", "constructed", "excerpt" or "validation".
    mixture : float32 array of shape (channel, sample)
    references : dict of str to array like the mixture
        The stems that the song has.
    """

    name: str
    group: str
    mixture: Audio
    references: dict[str, Audio]


def judged_songs() -> Iterator[Song]:
    """Give the songs of eval-v1, the real ones first, and the excerpt; what is not there is left out."""
    if (EVAL / "songs.csv").exists():
        with (EVAL / "songs.csv").open(newline="", encoding="utf-8") as rows:
            kinds = {row["name"]: row["kind"] for row in csv.DictReader(rows)}
        tracks = open_dataset("folders", root=EVAL).tracks
        for track in sorted(tracks, key=lambda track: (kinds[track.name] != REAL, track.name)):
            yield _song(track.name, kinds[track.name], track.mixture, dict(track.references))
    path = excerpt()
    if path is not None:
        streams = [Signal((Part(path, stem_stream=number),)) for number in range(5)]
        yield _song("excerpt", EXCERPT, streams[0], dict(zip(_STREAMS, streams[1:], strict=True)))


def excerpt() -> Path | None:
    """Find the stem file of the package stempeg without importing it."""
    spec = find_spec("stempeg")
    if spec is None or not spec.submodule_search_locations:
        return None
    return next(Path(spec.submodule_search_locations[0], "data").glob("*.stem.mp4"), None)


def validation_songs(count: int, seconds: float, *, pack: Path = PACK, cache: Path) -> Iterator[Song]:
    """Play songs from the validation split; once, then they are read from the cache."""
    cache.mkdir(parents=True, exist_ok=True)
    opened = None
    for seed in range(_FIRST_SEED, _FIRST_SEED + count):
        path = cache / f"{seed}-{seconds:g}.npy"
        if not path.exists():
            opened = opened or open_pack(pack, split="valid")
            played = play_song(opened, seed=seed, seconds=seconds, style=SongStyle()).stems
            np.save(path, played.astype(np.float16))
        stems = np.load(path).astype(np.float32)  # (stem, channel, sample)
        heard = {stem: signal for stem, signal in zip(STEMS, stems, strict=True) if signal.any()}
        yield Song(str(seed), VALIDATION, stems.sum(axis=0), heard)


def _song(name: str, group: str, mixture: Signal, references: dict[str, Signal]) -> Song:
    whole = {stem: _read(signal) for stem, signal in references.items()}
    mixed = _read(mixture)
    samples = min(signal.shape[-1] for signal in (mixed, *whole.values()))
    ordered = {stem: whole[stem][:, :samples] for stem in STEMS if stem in whole}
    return Song(name, group, mixed[:, :samples], ordered)


def _read(signal: Signal) -> Audio:
    return np.concatenate(list(signal.blocks()), axis=-1)
