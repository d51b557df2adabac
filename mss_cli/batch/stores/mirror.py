"""A mirror of names: every file of a store that matters as an empty one of its size and time, to plan with.

What is found, named, compared and skipped is decided on paths, by the same code as ever. No sample is read for it: the
files of the mirror are holes. Records alone are fetched. Workers fetch one track at a time (`staging`).
"""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path, PurePosixPath
from typing import Never, cast

from mss_cli.audio.extensions import AUDIO_EXTENSIONS
from mss_cli.batch.records import RECORD_SUFFIX, read_record
from mss_cli.batch.stores.addresses import Address, Status, Store, is_address
from mss_cli.errors import MssError, UsageError
from mss_cli.events import Event, Listener, Part, Warned
from mss_cli.processes import process_exists

_OWN = re.compile(r"mss-cli-stores-(?P<pid>[0-9]{1,10})-.+")


@dataclass(frozen=True, slots=True)
class Mirror:
    """What stands on disk for what lies on stores.

    Parameters
    ----------
    folder : Path
        Where the mirror is, on the machine where the run was started.
    inputs : tuple of (Path, str)
        Folders or files of the mirror and their addresses; empty if all inputs are on disk.
    output : (Path, str) or None
        The output folder of the mirror and its address; None if stems go to disk.
    """

    folder: Path
    inputs: tuple[tuple[Path, str], ...]
    output: tuple[Path, str] | None

    @property
    def names(self) -> tuple[tuple[str, str], ...]:
        """Paths of the mirror and what they are called."""
        pairs = [*self.inputs, *([] if self.output is None else [self.output])]
        return tuple((str(path), address) for path, address in pairs)

    def source(self, path: Path) -> str | None:
        """Give the address of an input; None if it is on disk."""
        for place, address in self.inputs:
            if path.is_relative_to(place):
                way = path.relative_to(place).as_posix()
                return address if way == "." else f"{address}/{way}"
        return None


def uses_stores(inputs: Sequence[str], output: str) -> bool:
    """Tell whether anything is on a store."""
    return is_address(output) or any(map(is_address, inputs))


@contextmanager
def mirrored(inputs: Sequence[str], output: str, scratch: Path | None, listener: Listener) -> Iterator[Mirror]:
    """Make a mirror; it is removed at the end.

    Parameters
    ----------
    inputs : sequence of str
        All of them on stores, or none.
    output : str
        Address or path.
    scratch : Path or None
        Where the mirror lies; in the system's folder for temporary files by default.
    listener : callable
        Hears of names that no disk can have.

    Raises
    ------
    UsageError
        If inputs are mixed or patterns, the output is an input, or a reader is not installed.
    InputError
        If a store does not answer.
    """
    on_stores = [is_address(text) for text in inputs]
    if any(on_stores) and not all(on_stores):
        raise UsageError("some inputs are on stores and some on disk", hint="separate them in two runs")
    for text in inputs if any(on_stores) else ():
        if set("*?[") & set(text):
            raise UsageError(f"`{text}` is a pattern, and stores have none", hint="name a folder, use `--exclude`")
        if text.rstrip("/") == output.rstrip("/"):
            hint = "choose an `--output` beside it or below it"
            raise UsageError(f"`{text}` is both input and output: stems would be separated again", hint=hint)
    with own_folder(scratch) as folder:
        places = []
        for text in inputs if any(on_stores) else ():
            store = Store(text)
            place = folder / "in" / store.scheme / store.root.strip("/")
            places.append((place, store.address))
            _mirror_inputs(store, place, output, listener)
        target = None
        if is_address(output):
            store = Store(output)
            target = (folder / "out", store.address)
            _mirror_outputs(store, target[0])
        yield Mirror(folder, tuple(places), target)


@contextmanager
def own_folder(parent: Path | None) -> Iterator[Path]:
    """Make a temporary folder; those of dead processes beside it go first.

    Parameters
    ----------
    parent : Path or None
        The system's folder for temporary files if None.
    """
    if parent is not None:
        parent.mkdir(parents=True, exist_ok=True)
    for other in Path(parent or tempfile.gettempdir()).glob("mss-cli-stores-*"):
        found = _OWN.fullmatch(other.name)
        if found is not None and not process_exists(int(found["pid"])):
            shutil.rmtree(other, ignore_errors=True)
    prefix = f"mss-cli-stores-{os.getpid()}-"
    with tempfile.TemporaryDirectory(prefix=prefix, dir=parent, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def renamed(event: Event, names: Sequence[tuple[str, str]]) -> Event:
    """Give an event with addresses in place of the paths that stand for them."""
    return replace(event, **_changes(event, names))


def renamed_error(error: MssError, names: Sequence[tuple[str, str]]) -> MssError:
    """Give an error with addresses in place of paths; of the same kind, unpickled or not."""
    make, (kind, message, path, hint) = error.__reduce__()
    return make(kind, _text(message, names), None if path is None else _text(path, names), hint)


def _changes(part: Event | Part, names: Sequence[tuple[str, str]]) -> dict[str, object]:
    return {field.name: _renamed(getattr(part, field.name), names) for field in fields(part)}


def _renamed(value: object, names: Sequence[tuple[str, str]]) -> object:
    if isinstance(value, Path):
        text = _text(str(value), names)
        return Address(text) if is_address(text) else Path(text) if text != str(value) else value
    if isinstance(value, str):
        return _text(value, names)
    if isinstance(value, tuple):
        return tuple(_renamed(item, names) for item in value)
    if isinstance(value, Part):
        made: object = type(value)(**cast(dict[str, Never], _changes(value, names)))
        return made
    return value


def _text(text: str, names: Sequence[tuple[str, str]]) -> str:
    for path, address in names:
        text = text.replace(path, address)
    return text


def _mirror_inputs(store: Store, place: Path, output: str, listener: Listener) -> None:
    """Make holes for all audio files, and fetch records: their stems are no inputs."""
    inside = output.rstrip("/")[len(store.address) :] + "/" if output.startswith(f"{store.address}/") else None
    kept, records = dict[str, Status](), dict[str, Path]()
    for name, status in store.listing().items():
        if inside is not None and f"/{name}".startswith(inside):
            continue
        if name.endswith(RECORD_SUFFIX):
            if _is_plain(name):
                records[name] = place / name
        elif not name or PurePosixPath(name).suffix.lower() in AUDIO_EXTENSIONS:
            kept[name] = status
    _make_holes(place, kept, listener, store)
    _fetch_records(store, records)


def _mirror_outputs(store: Store, place: Path) -> None:
    """Fetch records, and make holes for the files they name that are there: of the recorded time if of that size."""
    listing = store.listing()
    place.mkdir(parents=True)
    records = {name: place / name for name in listing if name.endswith(RECORD_SUFFIX) and _is_plain(name)}
    _fetch_records(store, records)
    for name, path in records.items():
        record = read_record(path)
        for file in () if record is None else record.files:
            stem = (PurePosixPath(name).parent / file.path.as_posix()).as_posix()
            if stem in listing:
                with suppress(OSError):
                    _hole(path.parent / file.path, Status(listing[stem].size_bytes, file.content.mtime_ns))


def _fetch_records(store: Store, records: Mapping[str, Path]) -> None:
    for path in records.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    store.fetch(records)


def _make_holes(place: Path, files: Mapping[str, Status], listener: Listener, store: Store) -> None:
    for name, status in files.items():
        try:
            if not _is_plain(name):
                raise OSError("no name for a disk")
            _hole(place / name if name else place, status)
        except OSError as error:
            listener(Warned(f"left out: {error.strerror or error}", Address(f"{store.address}/{name}")))


def _is_plain(name: str) -> bool:
    """Tell whether a key is a relative path that leads nowhere else."""
    return not name or (not {"", ".", ".."}.intersection(name.split("/")) and "\0" not in name)


def _hole(path: Path, status: Status) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        file.truncate(status.size_bytes)
    os.utime(path, ns=(status.mtime_ns, status.mtime_ns))
