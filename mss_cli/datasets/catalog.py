"""Data sets by name: where they lie, which subsets they have, over how many tracks scores are published."""

import difflib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mss_cli.datasets.ccmixter import find_ccmixter
from mss_cli.datasets.dsd100 import find_dsd100
from mss_cli.datasets.folders import find_folder_tracks
from mss_cli.datasets.ikala import find_ikala
from mss_cli.datasets.medleydb import find_medleydb
from mss_cli.datasets.mir1k import find_mir1k
from mss_cli.datasets.musdb18 import VALIDATION, find_musdb18, find_musdb18hq
from mss_cli.datasets.track import Fault, Track
from mss_cli.errors import DatasetError, UsageError

ALL = "all"
VALID = "valid"


@dataclass(frozen=True, slots=True)
class Kind:
    """A data set we can read.

    Attributes
    ----------
    name : str
        For `--dataset` and tables.
    layout : str
        What must lie in the root, for messages.
    find : callable
        Lists the tracks of a root.
    default_subset : str
        Scored without `--subset`.
    published : tuple of (str, int)
        Tracks of each subset that published scores are over.
    has_validation : bool
        Whether `--subset valid` means the 14 validation tracks of MUSDB18.
    """

    name: str
    layout: str
    find: Callable[[Path], Sequence[Track]]
    default_subset: str = ALL
    published: tuple[tuple[str, int], ...] = ()
    has_validation: bool = False


_MUSDB = (("test", 50), ("train", 100), (VALID, 14))
_STEM_FILES = "train/*.stem.mp4 and test/*.stem.mp4"

KINDS = (
    Kind("musdb18", _STEM_FILES, find_musdb18, "test", _MUSDB, has_validation=True),
    Kind("musdb18hq", "train/<track>/mixture.wav and test/<track>/mixture.wav", find_musdb18hq, "test", _MUSDB, True),
    Kind("musdb18-7s", _STEM_FILES, find_musdb18, "test", _MUSDB, has_validation=True),
    Kind("dsd100", "Mixtures/Test/<track>/mixture.wav and Sources/Test/<track>/", find_dsd100, "test",
         (("test", 50), ("train", 50))),
    Kind("medleydb", "Audio/<track>/<track>_METADATA.yaml", find_medleydb),
    Kind("mir1k", "Wavfile/*.wav", find_mir1k),
    Kind("ikala", "Wavfile/*.wav", find_ikala),
    Kind("ccmixter", "<song>/mix.wav with source-01.wav and source-02.wav", find_ccmixter),
    Kind("folders", "<track>/mixture.* with vocals.*, drums.* and so on", lambda root: list(find_folder_tracks(root))),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Dataset:
    """The tracks that were asked for.

    Attributes
    ----------
    name, subset : str
    tracks : tuple of Track
        By subset and name.
    available : int
        Tracks of the subset before `--tracks`.
    published_tracks : int or None
        Tracks that published scores of this subset are over; None where there is no custom.
    """

    name: str
    subset: str
    tracks: tuple[Track, ...]
    available: int
    published_tracks: int | None


def kind_of(name: str) -> Kind:
    """Find a data set by its name; raise `UsageError` with all names if there is none."""
    for kind in KINDS:
        if kind.name == name:
            return kind
    raise UsageError(f"no data set is called `{name}`", hint=f"use one of {', '.join(kind.name for kind in KINDS)}")


def open_dataset(
    name: str, *, root: Path | None = None, subset: str | None = None, tracks: Sequence[str] | None = None
) -> Dataset:
    """List the tracks of a data set; no sample is read.

    A broken track is listed with its fault, see `Track.check`, and hides no other.

    Parameters
    ----------
    name : str
        One of `KINDS`.
    root : Path or None
        Its folder; the environment variable MUSDB_PATH if None.
    subset : str or None
        As the data set names it, "valid" for the validation tracks of MUSDB18, "all" for everything; the data set's
        own default if None.
    tracks : sequence of str or None
        Names of tracks to keep.

    Raises
    ------
    UsageError
        If there is no such data set, no root is given, or a package is missing.
    DatasetError
        If the root is missing, no track is found, or a name is not there.
    """
    kind = kind_of(name)
    folder = _root(root)
    chosen = subset or kind.default_subset
    everything = _told_apart(sorted(kind.find(folder), key=lambda track: (track.subset, track.name)))
    found = [track for track in everything if _belongs(track, chosen, kind)]
    if not found:
        raise _nothing(folder, kind, chosen, everything)
    kept = found if tracks is None else _named(found, tracks, folder)
    return Dataset(name, chosen, tuple(kept), len(found), dict(kind.published).get(chosen))


def _root(root: Path | None) -> Path:
    if root is None:
        value = os.environ.get("MUSDB_PATH")
        if not value:
            raise UsageError("no folder of the data set is given", hint="add `--root DIR` or set MUSDB_PATH")
        root = Path(value)
    if not root.is_dir():
        raise DatasetError("no such folder", path=str(root), hint="check `--root` or MUSDB_PATH")
    return root


def _told_apart(tracks: Sequence[Track]) -> list[Track]:
    """Give tracks of one subset and name a fault each: their scores would lie in one file."""
    places: dict[tuple[str, str], list[Path]] = {}
    for track in tracks:
        places.setdefault((track.subset, track.name), []).append(track.path)
    found = []
    for track in tracks:
        others = [path for path in places[track.subset, track.name] if path != track.path]
        if others:
            fault = Fault(f"has the subset and name of {others[0]}", track.path, "rename one of them")
            track = Track.broken(track.name, track.subset, track.path, fault)
        found.append(track)
    return found


def _belongs(track: Track, subset: str, kind: Kind) -> bool:
    if subset == ALL:
        return True
    if subset == VALID and kind.has_validation:
        return track.subset == "train" and track.name in VALIDATION
    return track.subset == subset


def _nothing(folder: Path, kind: Kind, subset: str, everything: Sequence[Track]) -> DatasetError:
    if everything:
        there = sorted({track.subset for track in everything})
        return DatasetError(
            f"no track in the subset `{subset}`", path=str(folder), hint=f"there are {', '.join(there)}, and `{ALL}`"
        )
    return DatasetError(f"no track of {kind.name} found", path=str(folder), hint=f"it should hold {kind.layout}")


def _named(found: Sequence[Track], names: Sequence[str], folder: Path) -> list[Track]:
    there = sorted({track.name for track in found})
    missing = sorted(set(names) - set(there))
    if missing:
        near = difflib.get_close_matches(missing[0], there, n=1, cutoff=0.5)
        listed = ", ".join(f"`{name}`" for name in missing)
        hint = f"did you mean `{near[0]}`?" if near else f"the subset has {len(there)} tracks, `{there[0]}` for one"
        raise DatasetError(f"no track is called {listed}", path=str(folder), hint=hint)
    return [track for track in found if track.name in names]
