"""Songs: what each kind of source in a recipe gives, named and counted but not read until it is asked for.

A song is a set of stems of one piece of music; a file of a `classes` source is a song of one stem. Numbers name the
songs of a source for ever: a source of played songs has as many as one likes, of which a pool is in use at a time.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from mss_cli.datasets.catalog import ALL, VALID, kind_of, open_dataset
from mss_cli.datasets.folders import DEFAULT_SUBSET, audio_files, has_mixture
from mss_cli.datasets.musdb18 import VALIDATION
from mss_cli.datasets.track import ACCOMPANIMENT, MIXTURE, VOCALS, Part, Signal, Track, aligned
from mss_cli.errors import DatasetError, UsageError
from mss_cli.training.examples import Skipped
from mss_cli.training.recipe import AnySource, ClassSource, NoteSource, PairSource, SongSource

Block = NDArray[np.float32]
Note = tuple[float, float, float]
"""Start and end in seconds, frequency in Hz."""

TONICS = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")

REST = "*"
"""In `data.stems`: every stem of the song that no other name lists."""

Role = Literal["train", "valid"]

_TRAIN = "train"
_INSTRUMENTAL = "instrumental"
_AUDIO_HINT = "give the folder that holds them as `root`"


@dataclass(frozen=True, slots=True)
class Music:
    """What is known of a song beside its samples.

    Attributes
    ----------
    tempo : float or None
        Beats per minute.
    key : str or None
        Tonic and mode, as "A minor" or "F# harmonic minor".
    beats : tuple of float, seconds
    notes : tuple of Note or None
        Pitches of the vocals; None where they are not known exactly.
    """

    tempo: float | None = None
    key: str | None = None
    beats: tuple[float, ...] = ()
    notes: tuple[Note, ...] | None = None


@dataclass(frozen=True, slots=True)
class Sound:
    """One stem of a song as it is decoded.

    Attributes
    ----------
    rate : int, Hz
    channels : int
    blocks : iterable of float32 arrays of shape (channel, sample)
    """

    rate: int
    channels: int
    blocks: Iterable[Block]


@dataclass(frozen=True, slots=True)
class Song:
    """A song, opened: its stems by name, each read once and in turn, its music, and what was left out of it."""

    stems: Mapping[str, Sound]
    music: Music = Music()
    skipped: tuple[Skipped, ...] = ()


class Songs(Protocol):
    """The songs of one source."""

    @property
    def weight(self) -> float:
        """How often it is drawn from, beside the other sources."""

    @property
    def whole(self) -> bool:
        """Whether stems of a song belong together; not so where each is a file of its own."""

    def __len__(self) -> int:
        """Count the songs that are in use at one time."""

    def number(self, step: int, place: int) -> int:
        """Give the number of the song that is at `place`, from 0, at an update."""

    def replaced(self, number: int) -> int | None:
        """Give the number of a song that no update will draw any more once this one is drawn; None if there is none."""

    def stems(self, place: int) -> tuple[str, ...]:
        """Name the stems of the song at a place; nothing is read."""

    def path(self, number: int) -> Path:
        """Give what messages about a song name."""

    def fingerprint(self, number: int) -> str:
        """Give a text that changes with the samples of a song."""

    def load(self, number: int) -> Song:
        """Open a song; raises `MssError` if it cannot be read, here or when its blocks are."""


class TrackSongs:
    """Tracks of a data set, and files by class.

    Parameters
    ----------
    tracks : sequence of Track
        At least one.
    weight : float
    whole : bool
        False for files by class.
    """

    def __init__(self, tracks: Sequence[Track], weight: float, *, whole: bool = True) -> None:
        self._tracks = tuple(tracks)
        self.weight = weight
        self.whole = whole

    def __len__(self) -> int:
        return len(self._tracks)

    def number(self, step: int, place: int) -> int:
        """Give the place: tracks stay."""
        return place

    def replaced(self, number: int) -> int | None:
        """Give None: tracks stay."""
        return None

    def stems(self, place: int) -> tuple[str, ...]:
        """Name the references of a track."""
        return self._tracks[place].stems

    def path(self, number: int) -> Path:
        """Give the folder or file of a track."""
        return self._tracks[number].path

    def fingerprint(self, number: int) -> str:
        """Hash names, sizes and times of change of a track's files."""
        track = self._tracks[number]
        return f"{track.fingerprint()} {[(name, repr(signal)) for name, signal in track.references]}"

    def load(self, number: int) -> Song:
        """Open the references of a track."""
        stems: dict[str, Sound] = {}
        for name, signal in self._tracks[number].references:
            rate, channels = signal.form()
            stems[name] = Sound(rate, channels, signal.blocks())
        return Song(stems)


class PairSongs(TrackSongs):
    """Pairs of a mixture and its instrumental version, from the same recording.

    `accompaniment` is the instrumental, `vocals` the difference of the samples, which ends with the shorter file. The
    thesis's half-wave rectified difference of magnitudes is made of these two by the loss.
    """

    def load(self, number: int) -> Song:
        """Open a pair."""
        track = self._tracks[number]
        instrumental = dict(track.references)[ACCOMPANIMENT]
        form = track.mixture.form()
        if instrumental.form() != form:
            raise DatasetError("mixture and instrumental differ in rate or channels", path=str(track.path))
        stems = {VOCALS: Sound(*form, _difference(track)), ACCOMPANIMENT: Sound(*form, instrumental.blocks())}
        return Song(stems)

    def stems(self, place: int) -> tuple[str, ...]:
        """Name the two stems of a pair."""
        return (VOCALS, ACCOMPANIMENT)


def open_songs(
    source: AnySource,
    seed: int,
    *,
    role: Role = "train",
    hold_out: bool = False,
    samples: Path | None = None,
    device: str = "cpu",
) -> Songs:
    """Open a source of a recipe; no sample is read.

    Parameters
    ----------
    source : a source of the recipe
    seed : int
        Of the songs that are played.
    role : {"train", "valid"}
        Decides the subset of a data set where the recipe names none.
    hold_out : bool
        Leave the 14 validation tracks out of the training tracks of MUSDB18.
    samples : Path or None
        Folder for decoded note samples.
    device : str
        Where songs are played: "cpu" or "cuda".

    Raises
    ------
    DatasetError, UsageError
        If the folder is missing or holds no songs; if a validation source must name its subset.
    """
    if not source.root.is_dir():
        raise DatasetError("no such folder", path=str(source.root), hint="check `root` of this source")
    if isinstance(source, NoteSource):
        from mss_cli.training.note_songs import NoteSongs

        return NoteSongs(source, seed, samples, device)
    if isinstance(source, ClassSource):
        return TrackSongs(_class_tracks(source.root), source.weight, whole=False)
    if isinstance(source, PairSource):
        return PairSongs(_pair_tracks(source.root), source.weight)
    return TrackSongs(_dataset_tracks(source, role, hold_out), source.weight)


def uses_validation(sources: Sequence[AnySource]) -> bool:
    """Tell whether one of the validation sources is the validation split of MUSDB18."""
    return any(
        isinstance(source, SongSource) and kind_of(source.kind).has_validation and source.subset in (None, VALID)
        for source in sources
    )


def part_of_target(stems: Sequence[str], wanted: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Sort the stems of a song into the stems of an example.

    Parameters
    ----------
    stems : sequence of str
        That the song has.
    wanted : mapping of str to sequence of str
        The recipe's `data.stems`; `"*"` takes every stem that no name lists.

    Returns
    -------
    dict of str to tuple of str
        For every wanted stem the stems to add, in the song's order; empty where it has none of them.
    """
    listed = {name for names in wanted.values() for name in names}
    rest = tuple(stem for stem in stems if stem not in listed)
    return {
        target: tuple(stem for stem in stems if stem in names) + (rest if REST in names else ())
        for target, names in wanted.items()
    }


def check_stems(wanted: Mapping[str, Sequence[str]]) -> None:
    """Refuse `data.stems` that would put one stem into the mixture twice.

    Raises
    ------
    UsageError
        Naming the stem.
    """
    listed = [name for names in wanted.values() for name in names]
    twice = sorted({name for name in listed if listed.count(name) > 1})
    if twice:
        raise UsageError(f"`data.stems` lists `{twice[0]}` twice", hint="a stem belongs to one stem of an example")


def _dataset_tracks(source: SongSource, role: Role, hold_out: bool) -> Sequence[Track]:
    kind = kind_of(source.kind)
    subset = source.subset
    if subset is None:
        subset = _TRAIN if kind.published else ALL
        if role == "valid" and kind.published:
            subset = VALID
            if not kind.has_validation:
                raise UsageError(f"`{kind.name}` has no split for validation", hint="give this source a `subset`")
    tracks = open_dataset(source.kind, root=source.root, subset=subset, tracks=source.tracks).tracks
    if hold_out and kind.has_validation and subset == _TRAIN:
        return [track for track in tracks if track.name not in VALIDATION]
    return tracks


def _class_tracks(root: Path) -> list[Track]:
    tracks = []
    for folder in sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")):
        for path in _sounds_below(folder):
            signal = Signal((Part(path),))
            tracks.append(Track(str(path.relative_to(root)), DEFAULT_SUBSET, path, signal, ((folder.name, signal),)))
    if not tracks:
        raise DatasetError("holds no folder with audio files", path=str(root), hint=_AUDIO_HINT)
    return tracks


def _sounds_below(folder: Path) -> Iterator[Path]:
    from mss_cli.audio.extensions import AUDIO_EXTENSIONS

    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in AUDIO_EXTENSIONS and not path.name.startswith(".") and path.is_file():
            yield path


def _pair_tracks(root: Path) -> list[Track]:
    tracks = []
    for folder in sorted(path for path in root.iterdir() if path.is_dir() and has_mixture(path)):
        files = audio_files(folder)
        if _INSTRUMENTAL in files:
            mixture, instrumental = Signal((Part(files[MIXTURE]),)), Signal((Part(files[_INSTRUMENTAL]),))
            tracks.append(Track(folder.name, DEFAULT_SUBSET, folder, mixture, ((ACCOMPANIMENT, instrumental),)))
    if not tracks:
        hint = "it should hold <track>/mixture.* with <track>/instrumental.*"
        raise DatasetError("holds no pairs", path=str(root), hint=hint)
    return tracks


def _difference(track: Track) -> Iterator[Block]:
    instrumental = dict(track.references)[ACCOMPANIMENT]
    for together in aligned([track.mixture.blocks(), instrumental.blocks()]):
        yield together[0] - together[1]
