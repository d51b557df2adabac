"""Tracks as folders: `mixture.*` and a file for each stem. Also the layout of MUSDB18-HQ and of DSD100."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from mss_cli.audio.extensions import AUDIO_EXTENSIONS
from mss_cli.datasets.track import MIXTURE, Fault, Part, Signal, Track, in_order
from mss_cli.errors import DatasetError

# The subset of tracks that lie in no folder of a subset: the one that museval's stores read.
DEFAULT_SUBSET = "test"
# As `separate --pitch` names it beside the vocals, and as a person would.
_F0 = ("vocals.f0.csv", "f0.csv")
# Made by file systems in the root of a disk, readable by nobody else.
_NOT_OURS = frozenset({"lost+found", "System Volume Information"})


def find_folder_tracks(root: Path, *, subsets: Sequence[str] = (), required: tuple[str, ...] = ()) -> Iterator[Track]:
    """Find every folder that holds a mixture, directly in the root or one level down.

    A folder that cannot be read, or holds two files of one stem, is given as a track with a fault.

    Parameters
    ----------
    root : Path
        `root/<track>/mixture.*` (subset "test"), or `root/<subset>/<track>/mixture.*`. Stems that a track does not
        have are not scored.
    subsets : sequence of str
        Names of folders that are subsets, whatever they hold: each folder with audio in them is a track. Without
        any, a folder without a mixture is none.
    required : tuple of str
        Stems that every track has.

    Yields
    ------
    Track
        By subset and name.

    Raises
    ------
    DatasetError
        If the root cannot be read.
    """
    for folder in folders_in(root):
        subset = folder.name if folder.name in subsets else DEFAULT_SUBSET
        try:
            is_track = folder.name not in subsets and has_mixture(folder)
            inner = [] if is_track else folders_in(folder)
        except DatasetError as error:
            yield Track.broken(folder.name, subset, folder, fault_of(error, folder))
            continue
        if is_track:
            yield folder_track(folder, subset, required=required)
        holds_track = _has_audio if folder.name in subsets else has_mixture
        for path in inner:
            if _is_track(path, holds_track):
                yield folder_track(path, folder.name, required=required)


def _is_track(folder: Path, holds_track: Callable[[Path], bool]) -> bool:
    try:
        return holds_track(folder)
    except DatasetError:
        return True  # whoever reads it will say what is wrong


def _has_audio(folder: Path) -> bool:
    return bool(_audio(folder))


def has_mixture(folder: Path) -> bool:
    """Tell whether a folder is a track; raise `DatasetError` if it cannot be read."""
    return any(path.stem == MIXTURE for path in _audio(folder))


def folder_track(folder: Path, subset: str, *, required: tuple[str, ...] = ()) -> Track:
    """Name the files of one track; one that cannot be used has a fault.

    Parameters
    ----------
    folder : Path
    subset : str
    required : tuple of str
        Stems that every track of the data set has.
    """
    try:
        files = unique_files(folder)
        if MIXTURE not in files:
            raise DatasetError("no mixture", path=str(folder), hint=f"the track needs a file `{MIXTURE}.wav`")
    except DatasetError as error:
        return Track.broken(folder.name, subset, folder, fault_of(error, folder))
    mixture = files.pop(MIXTURE)
    references = tuple((name, Signal((Part(files[name], sixteen_bits=True),))) for name in in_order(tuple(files)))
    return Track(folder.name, subset, folder, Signal((Part(mixture),)), references, required, pitch=find_f0(folder))


def find_f0(folder: Path) -> Path | None:
    """Give the file of the pitch of the vocals that lies beside stems, if there is one."""
    return next((path for path in (folder / name for name in _F0) if path.is_file()), None)


def fault_of(error: DatasetError | OSError, folder: Path) -> Fault:
    """Give what stops one track as a value."""
    if isinstance(error, OSError):
        error = _unreadable(folder, error)
    return Fault(error.message, folder if error.path is None else Path(error.path), error.hint)


def unique_files(folder: Path) -> dict[str, Path]:
    """Give the audio files of a folder by their names without suffix.

    Raises
    ------
    DatasetError
        If two have one name, or the folder cannot be read.
    """
    files: dict[str, Path] = {}
    for path in _audio(folder):
        if path.stem in files:
            names = f"`{files[path.stem].name}` and `{path.name}`"
            raise DatasetError(f"holds {names}", path=str(folder), hint="keep one of them")
        files[path.stem] = path
    return files


def audio_files(folder: Path) -> dict[str, Path]:
    """Give the audio files of a folder by their names without suffix; of two with one name the first.

    Raises
    ------
    DatasetError
        If the folder cannot be read.
    """
    found: dict[str, Path] = {}
    for path in _audio(folder):
        found.setdefault(path.stem, path)
    return found


def folders_in(folder: Path) -> list[Path]:
    """Give the folders of a folder by name, without hidden ones.

    Raises
    ------
    DatasetError
        If it cannot be read.
    """
    try:
        found = [path for path in folder.iterdir() if path.is_dir()]
    except OSError as error:
        raise _unreadable(folder, error) from error
    return sorted(path for path in found if not path.name.startswith(".") and path.name not in _NOT_OURS)


def _audio(folder: Path) -> list[Path]:
    try:
        if not folder.is_dir():
            return []
        return sorted(
            path
            for path in folder.iterdir()
            if path.suffix.lower() in AUDIO_EXTENSIONS and not path.name.startswith(".") and path.is_file()
        )
    except OSError as error:
        raise _unreadable(folder, error) from error


def _unreadable(folder: Path, error: OSError) -> DatasetError:
    reason = (error.strerror or type(error).__name__).lower()
    return DatasetError(f"cannot read the folder: {reason}", path=str(folder), hint="check it and its permissions")
