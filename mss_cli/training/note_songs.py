"""Songs that are played from note samples, as a source of a training."""

import os
import warnings
from functools import lru_cache
from pathlib import Path

import torch

from mss_cli.datasets.player.pack import SAMPLE_RATE, Pack, open_pack
from mss_cli.datasets.player.song import PlayedSong, SongStyle, play_song
from mss_cli.datasets.track import ORDER
from mss_cli.training.examples import Skipped
from mss_cli.training.recipe import NoteSource
from mss_cli.training.songs import TONICS, Music, Song, Sound

# Raised when equal seeds play other songs than before.
_VERSION = 4


class NoteSongs:
    """A pool of played songs, renewed song by song.

    The songs of the pool are functions of the seed and the update. In `refresh_steps` updates each place gets its
    next song once, and not all at the same update, so that playing them is spread over time.

    Parameters
    ----------
    source : NoteSource
    seed : int, >= 0
        Of the songs.
    samples : Path or None
        Folder for decoded note samples, shared by all processes; None keeps them in the memory of each.
    device : str
        Where songs are played: "cpu", or "cuda" for the GPU of the training process that a worker belongs to. A GPU
        that will not serve a second process, or has no memory left, is given up for the CPU, with a warning.

    Raises
    ------
    DatasetError
        If the folder is no pack, or has nothing that may be used.
    """

    whole = True

    def __init__(self, source: NoteSource, seed: int, samples: Path | None = None, device: str = "cpu") -> None:
        self._source = source
        self._seed = seed
        self._samples = samples
        self._device = device
        self.weight = source.weight
        pack = self._pack()
        self._items = repr([(part.stem, part.name, len(part.items)) for part in pack.sources])

    def __len__(self) -> int:
        return self._source.songs

    def number(self, step: int, place: int) -> int:
        """Give the song at a place: every `refresh_steps` updates the next one."""
        refresh, songs = self._source.refresh_steps, self._source.songs
        generation = 0 if refresh is None else (step + place * refresh // songs) // refresh
        return generation * songs + place

    def replaced(self, number: int) -> int | None:
        """Give the song two before at the same place: the one before may still be wanted by a slower process."""
        old = number - 2 * self._source.songs
        return old if old >= 0 else None

    def stems(self, place: int) -> tuple[str, ...]:
        """Name the stems of every played song."""
        return ORDER

    def path(self, number: int) -> Path:
        """Give the folder of the pack."""
        return self._source.root

    def fingerprint(self, number: int) -> str:
        """Tell pack, settings, seed and number."""
        settings = self._source.model_dump_json(include={"split", "seconds", "vocals", "share_alike"})
        return f"{_VERSION} {self._source.root.resolve()} {self._items} {settings} {self._seed} {number}"

    def load(self, number: int) -> Song:
        """Play a song; samples of the pack that are broken are left out and told of."""
        source = self._source
        pack = self._pack()
        played = self._played(pack, number, SongStyle(vocals=source.vocals))
        stems = {
            name: Sound(SAMPLE_RATE, samples.shape[0], [samples])
            for name, samples in zip(ORDER, played.stems, strict=True)
        }
        # Only notes are surely all that is sung: phrases have no labels.
        notes = tuple((note.start, note.end, note.frequency) for note in played.notes)
        music = Music(
            tempo=played.tempo,
            key=f"{TONICS[played.key]} {played.mode}",
            beats=tuple(float(beat) for beat in played.beats),
            notes=notes if source.vocals == "sung-notes" else None,
        )
        skipped = tuple(Skipped(source.root / broken.path, broken.reason) for broken in pack.broken)
        return Song(stems, music, skipped)

    def _played(self, pack: Pack, number: int, style: SongStyle) -> PlayedSong:
        seed, seconds = (self._seed, number), self._source.seconds
        if self._device != "cpu":
            try:
                played = play_song(pack, seed=seed, seconds=seconds, style=style, device=_own(self._device))
                torch.cuda.empty_cache()  # the training needs it more
                return played
            except RuntimeError as error:  # of CUDA and its libraries; what is wrong elsewhere the CPU meets again
                warnings.warn(f"songs are played on the CPU from now on: {error}", RuntimeWarning, stacklevel=2)
                self._device = "cpu"
        return play_song(pack, seed=seed, seconds=seconds, style=style)

    def _pack(self) -> Pack:
        return _opened(self._source.root, self._source.split, self._source.share_alike, self._samples)


def _own(kind: str) -> torch.device:
    """Name the device of this process: on a node there is one process per GPU, numbered by what starts them."""
    number = int(os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", "0")))
    # A process that is shown its own GPU alone knows it as the first.
    return torch.device(kind, number if number < torch.cuda.device_count() else 0)


@lru_cache(maxsize=4)
def _opened(root: Path, split: str, share_alike: bool, samples: Path | None) -> Pack:
    """Open a pack once per process."""
    return open_pack(root, split=split, share_alike=share_alike, cache=samples)
