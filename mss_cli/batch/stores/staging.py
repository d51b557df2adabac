"""One track of a store at a time on disk: fetched, separated as ever, uploaded with its record last, removed."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mss_cli.batch.engines.base import Task
from mss_cli.batch.plan import Job
from mss_cli.batch.records import read_record, refresh_record
from mss_cli.batch.stores.addresses import Address, Store
from mss_cli.batch.stores.mirror import Mirror, own_folder, renamed, renamed_error
from mss_cli.errors import InputError, MssError
from mss_cli.events import Event, Listener, TrackFinished

Separate = Callable[[Job, Path, Listener], None]


def separate_staged(task: Task, mirror: Mirror, scratch: Path | None, separate: Separate, listener: Listener) -> None:
    """Do a task whose input or outputs are on a store.

    Parameters
    ----------
    task : Task
        With paths of the mirror, which need not be on this machine.
    mirror : Mirror
    scratch : Path or None
        Where the track is staged on machines without the mirror.
    separate : callable
        Takes a job, the file to read and a listener; leaves whole files and a record, or raises.
    listener : callable
        Takes the track's events; the last one when all is uploaded.

    Raises
    ------
    MssError
        Of the track; then the store has no record of it.
    """
    # Beside the mirror, if it is here: then it goes with it, even if this process is killed.
    with own_folder(mirror.folder if mirror.folder.is_dir() else scratch) as folder:
        names = [(str(_staged(task.path, folder)), str(task.path))]
        if mirror.output is not None:
            names.append((str(folder / "out"), mirror.output[1]))
        last: list[TrackFinished] = []

        def hear(event: Event) -> None:
            if isinstance(event, TrackFinished):
                last.append(event)
            else:
                listener(renamed(event, names))

        try:
            _do(task, mirror, folder, separate, hear)
        except MssError as error:
            raise renamed_error(error, names) from error
        for event in last:
            listener(renamed(event, names))


def _do(task: Task, mirror: Mirror, folder: Path, separate: Separate, listener: Listener) -> None:
    job, path, address = task.job, task.path, mirror.source(task.path)
    source, before = None, None
    if address is not None:
        source = Store(address)
        before = source.status()
        path = _staged(path, folder)
        path.parent.mkdir()
        source.fetch({"": path})
        os.utime(path, ns=(before.mtime_ns, before.mtime_ns))  # what the record will say
    if mirror.output is not None:
        base = mirror.output[0]
        outputs = tuple(folder / "out" / output.relative_to(base) for output in job.outputs)
        job = replace(job, outputs=outputs, record=folder / "out" / job.record.relative_to(base))
        for parent in {output.parent for output in (*outputs, job.record)}:
            parent.mkdir(parents=True, exist_ok=True)
    separate(job, path, listener)
    if source is not None:
        _name_source(job.record, str(address))
        if source.status() != before:
            job.record.unlink()
            raise InputError("changed while it was separated", path=str(address), hint="run the command again")
    if mirror.output is not None:
        store = Store(mirror.output[1])
        store.remove(job.record.relative_to(folder / "out").as_posix())
        for output in (*job.outputs, job.record):
            store.upload(output, output.relative_to(folder / "out").as_posix())


def _staged(path: Path, folder: Path) -> Path:
    return folder / "in" / path.name


def _name_source(record_path: Path, address: str) -> None:
    record = read_record(record_path)
    if record is not None:
        refresh_record(record_path, replace(record, source=Address(address)))
