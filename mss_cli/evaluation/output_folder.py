"""The output folder of an evaluation: it holds the scores of one system on one data set, and none of an older run."""

import json
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mss_cli.errors import FolderBusy, UsageError
from mss_cli.evaluation.request import SystemRequest
from mss_cli.evaluation.results import write_text
from mss_cli.evaluation.track_job import FINISHED
from mss_cli.files import make_folder, output_error

# Written at the end of a run; an older one would look like this run's while it goes on, or after it failed.
_OF_THE_SET: Final = ("results.json", "scores.csv")
_OWNER: Final = "system.json"
_LOCK: Final = "lock"


@dataclass(frozen=True, slots=True)
class Owner:
    """What a folder holds scores of: kind of system, its name as typed, data set."""

    kind: str
    name: str
    dataset: str

    @property
    def words(self) -> str:
        """For messages."""
        name = f" `{self.name}`" if self.name else ""
        return f"{self.kind}{name} on {self.dataset}"


def claim(folder: Path, system: SystemRequest, dataset: str) -> None:
    """Make the folder this run's: refuse that of another system, remove the set's files of an earlier run.

    The same system with other settings, weights or tracks may use a folder again.

    Parameters
    ----------
    folder : Path
        Made if it is missing.
    system : SystemRequest
    dataset : str

    Raises
    ------
    UsageError
        If it holds scores of another system or data set. Nothing is changed then.
    OutputError
        If it cannot be written.
    """
    name = system.name if system.kind != "estimates" else os.path.normpath(system.name)
    owner = Owner(system.kind, name, dataset)
    record = folder / FINISHED / _OWNER
    earlier = _read(record)
    used = any((folder / FINISHED).glob("*/*.json"))  # else the earlier run scored nothing: a typing error, say
    if used and earlier is not None and earlier != owner:
        problem = f"holds scores of {earlier.words}, not of {owner.words}"
        raise UsageError(f"`--output {folder}` {problem}", hint="choose another folder, or remove this one")
    make_folder(record.parent)
    for file in _OF_THE_SET:
        try:
            (folder / file).unlink(missing_ok=True)
        except OSError as error:
            raise output_error(folder / file, error) from error
    if earlier != owner:
        content = {"kind": owner.kind, "name": owner.name, "dataset": owner.dataset}
        write_text(record, json.dumps(content, sort_keys=True) + "\n")


def set_aside(folder: Path, tracks: Collection[tuple[str, str]]) -> None:
    """Take museval's files of earlier tracks away, where they are not this run's: whoever averages a folder reads all.

    Their records stay, so a run with these tracks writes the files again without scoring.

    Parameters
    ----------
    folder : Path
        The output folder, claimed.
    tracks : collection of (subset, track)
        That this run scores.

    Raises
    ------
    OutputError
        If a file cannot be removed.
    """
    for record in sorted((folder / FINISHED).glob("*/*.json")):
        subset = record.parent.name
        if (subset, record.name.removesuffix(".json")) not in tracks:
            target = folder / subset / record.name
            try:
                target.unlink(missing_ok=True)
            except OSError as error:
                raise output_error(target, error) from error


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep other runs out of an output folder; the lock goes with the process, however it ends.

    Where the system or the file system has no locks nobody is kept out.

    Raises
    ------
    FolderBusy
        If another run holds it.
    OutputError
        If it cannot be written.
    """
    record = folder / FINISHED / _LOCK
    make_folder(record.parent)
    try:
        file = record.open("ab")
    except OSError as error:
        raise output_error(record, error) from error
    with file:
        _lock(file.fileno(), folder)
        yield


def _lock(descriptor: int, folder: Path) -> None:
    try:
        import fcntl
    except ImportError:  # not a POSIX system
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        hint = "wait for it, or choose another `--output`"
        raise FolderBusy("another run is writing there", path=str(folder), hint=hint) from error
    except OSError:
        return  # a network file system without locks


def _read(record: Path) -> Owner | None:
    """Read who owns a folder; None if nobody does, or the record is damaged."""
    try:
        content = json.loads(record.read_text(encoding="utf-8", errors="surrogateescape"))
        return Owner(str(content["kind"]), str(content["name"]), str(content["dataset"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
