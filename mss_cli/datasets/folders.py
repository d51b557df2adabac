"""Tracks as folders: `mixture.*` and a file for each stem. Also the layout of MUSDB18-HQ and of DSD100."""

from collections.abc import Iterator
from pathlib import Path

from mss_cli.audio.extensions import AUDIO_EXTENSIONS
from mss_cli.datasets.track import MIXTURE, Part, Signal, Track, in_order
from mss_cli.errors import DatasetError

# The subset of tracks that lie in no folder of a subset: the one that museval's stores read.
DEFAULT_SUBSET = "test"


def find_folder_tracks(root: Path) -> Iterator[Track]:
    """Find every folder that holds a mixture, directly in the root or one level down.

    Parameters
    ----------
    root : Path
        `root/<track>/mixture.*` (subset "test"), or `root/<subset>/<track>/mixture.*`. Stems that a track does not
        have are not scored.

    Yields
    ------
    Track
        By subset and name.

    Raises
    ------
    DatasetError
        If two files of a track have one name.
    """
    for folder in _folders(root):
        if has_mixture(folder):
            yield folder_track(folder, DEFAULT_SUBSET)
            continue
        for inner in _folders(folder):
            if has_mixture(inner):
                yield folder_track(inner, folder.name)


def has_mixture(folder: Path) -> bool:
    """Tell whether a folder is a track."""
    return any(path.stem == MIXTURE for path in _audio(folder))


def folder_track(folder: Path, subset: str) -> Track:
    """Name the files of one track.

    Raises
    ------
    DatasetError
        If a stem is there twice.
    """
    files: dict[str, Path] = {}
    for path in _audio(folder):
        if path.stem in files:
            names = f"`{files[path.stem].name}` and `{path.name}`"
            raise DatasetError(f"holds {names}", path=str(folder), hint="keep one of them")
        files[path.stem] = path
    mixture = files.pop(MIXTURE)
    references = tuple((name, Signal((Part(files[name], sixteen_bits=True),))) for name in in_order(tuple(files)))
    return Track(folder.name, subset, folder, Signal((Part(mixture),)), references)


def audio_files(folder: Path) -> dict[str, Path]:
    """Give the audio files of a folder by their names without suffix; of two with one name the first."""
    found: dict[str, Path] = {}
    for path in _audio(folder):
        found.setdefault(path.stem, path)
    return found


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _audio(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in AUDIO_EXTENSIONS and not path.name.startswith(".") and path.is_file()
    )
