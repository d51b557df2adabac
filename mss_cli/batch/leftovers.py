"""Temporary files of runs that were killed: found by their names, removed by the next run on the folder."""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from mss_cli.batch.holders import this_host
from mss_cli.batch.locks import Lock
from mss_cli.files import writer_of
from mss_cli.processes import process_exists

# Of scratch files and the spool of stdin, which live under a name only for a moment, or as long as the run.
_SPOOLED = re.compile(rb"\.mss-cli-(stdin-)?[a-z0-9_]{8}\.part")


def remove_leftovers(
    folder: Path, others: Sequence[Lock], *, lives: Callable[[int], bool] = process_exists
) -> list[Path]:
    """Remove the temporary files of dead runs below an output folder.

    To be called with the folder's lock held, and before this run writes anything: files with its own process number
    are an older run's.

    Parameters
    ----------
    folder : Path
        The output folder; links in it are not followed.
    others : sequence of Lock
        Of the runs beside this one, as `FolderLock.others` gives them: none if it runs without a shard. Beside sisters
        on this host only files with the number of a dead process are removed; beside sisters on other hosts, whose
        process numbers mean nothing here, nothing can be told and nothing is removed.
    lives : callable
        Tells whether a process of this host lives. Files of living ones stay: a run may have met us without a lock.

    Returns
    -------
    list of Path
        What was removed, sorted.
    """
    here = this_host()
    if any(other.holder is None or other.holder.host != here for other in others):
        return []
    removed = []
    waiting = [folder]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                listing = list(entries)
        except OSError:
            continue  # what cannot be read holds nothing that this run wrote
        for entry in listing:
            if entry.is_dir(follow_symlinks=False):
                waiting.append(Path(entry.path))
            elif entry.is_file(follow_symlinks=False) and _is_left(os.fsencode(entry.name), lives, spools=not others):
                with suppress(OSError):
                    os.unlink(entry.path)  # noqa: PTH108 - a Path for each file of a large tree costs more
                    removed.append(Path(entry.path))
    return sorted(removed)


def remove_traces(pid: int, folders: Iterable[Path]) -> None:
    """Remove the temporary files that a dead process of this host left in some folders.

    Parameters
    ----------
    pid : int
        Its number; nobody else has it yet.
    folders : iterable of Path
        Those of the outputs it was writing.
    """
    for folder in folders:
        with suppress(OSError):
            for entry in list(os.scandir(folder)):
                if writer_of(entry.name) == pid:
                    with suppress(OSError):
                        os.unlink(entry.path)  # noqa: PTH108 - as above


def _is_left(name: bytes, lives: Callable[[int], bool], *, spools: bool) -> bool:
    if not name.endswith(b".part"):
        return False
    pid = writer_of(name)
    if pid is not None:
        return pid == os.getpid() or not lives(pid)
    # They say nothing about their run. Whoever still has one open keeps its content (POSIX).
    return spools and _SPOOLED.fullmatch(name) is not None
