"""`{track}.mss.json`: what was done with a track, written last; what has no record was not done.

Two runs that meet, where the file system has no working locks, can mix nothing that is later taken for done: every
stem's size and modification time stand in the record, so that a stem of the other run does not fit it.
"""

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path

from mss_cli.audio.access import unreadable
from mss_cli.batch.json_fields import Fields, MalformedError, path_entry, read_object, sync_folder, write_object
from mss_cli.errors import InputError, OutputError
from mss_cli.events import Json
from mss_cli.files import output_error

SCHEMA = 1
RECORD_SUFFIX = ".mss.json"


@dataclass(frozen=True, slots=True)
class Content:
    """A file's content, and what tells without reading it that it is still the same.

    Parameters
    ----------
    size_bytes, mtime_ns : int
    sha256 : str
        Of the content, lower-case hex.
    """

    size_bytes: int
    mtime_ns: int
    sha256: str

    def same_status(self, status: os.stat_result) -> bool:
        """Tell whether size and time, to the nanosecond, are still these."""
        return (self.size_bytes, self.mtime_ns) == (status.st_size, status.st_mtime_ns)


@dataclass(frozen=True, slots=True)
class MadeBy:
    """The model: name as typed, and the SHA-256 of its weights; None for a model without weights."""

    name: str
    sha256: str | None


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything asked for that changes a sample, or which files there are.

    What decides nothing but how it was computed (device, threads, segments per batch) is in `Circumstances`.
    """

    stems: tuple[str, ...]
    format: str
    depth: str | None
    bitrate: int | None
    clip: str
    precision: str
    segment_seconds: float | None
    overlap: float
    shifts: int
    seed: int
    downmix: bool
    stream: int | None
    plot: bool = False
    pitch: bool = False
    pitch_weights_sha256: str | None = None

    def differences(self, other: "Settings") -> tuple[str, ...]:
        """Name the fields that differ."""
        return tuple(field.name for field in fields(self) if getattr(self, field.name) != getattr(other, field.name))


@dataclass(frozen=True, slots=True)
class Circumstances:
    """How the track was computed; recorded, and no reason to do it again."""

    version: str
    device: str
    precision: str
    threads: int
    segment_seconds: float | None
    segments_per_batch: int
    gain: float


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A stem, or another file of the track.

    Parameters
    ----------
    name : str
        Stem, or kind of the extra file.
    path : Path
        Relative to the record's folder, and below it.
    content : Content
    """

    name: str
    path: Path
    content: Content


@dataclass(frozen=True, slots=True)
class Record:
    """What was done with one track.

    Parameters
    ----------
    source : Path
        The input as it was named; for people, nothing is decided by it.
    input : Content
        As it was read.
    model, settings, circumstances
        How it was done.
    stems, extras : tuple of WrittenFile
        What was written.
    """

    source: Path
    input: Content
    model: MadeBy
    settings: Settings
    circumstances: Circumstances
    stems: tuple[WrittenFile, ...]
    extras: tuple[WrittenFile, ...] = ()

    @property
    def files(self) -> tuple[WrittenFile, ...]:
        """Every file but the record."""
        return (*self.stems, *self.extras)


def sha256_of(path: Path) -> str:
    """Hash a file; raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_content(path: Path) -> Content:
    """Read what a file holds now.

    Raises
    ------
    InputError
        If it cannot be read, or changes while it is.
    """
    try:
        before = path.stat()
        content = Content(before.st_size, before.st_mtime_ns, sha256_of(path))
        after = path.stat()
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
    if not content.same_status(after):
        raise InputError("changes while it is read", path=str(path), hint="wait until it is whole, then try again")
    return content


def check_unchanged(path: Path, content: Content) -> None:
    """Refuse an input that is no longer the one whose content was read: before its stems get their names.

    Raises
    ------
    InputError
        If it changed or vanished.
    """
    try:
        same = content.same_status(path.stat())
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
    if not same:
        raise InputError("changed while it was separated", path=str(path), hint="run the command again")


def written_files(folder: Path, named: Sequence[tuple[str, Path, Path]]) -> tuple[WrittenFile, ...]:
    """Describe finished files for the record in `folder`, before they get their final names.

    Under a final name a file may already be that of another run; a rename keeps size and time.

    Parameters
    ----------
    folder : Path
        The record's.
    named : sequence of (str, Path, Path)
        Stem or kind; the path it has now; its final path, below `folder`.

    Raises
    ------
    OutputError
        If one is missing, cannot be read, or will lie elsewhere.
    """
    written = []
    for name, current, final in named:
        try:
            written.append(WrittenFile(name, final.relative_to(folder), read_content(current)))
        except InputError as error:
            raise OutputError(f"cannot be read again: {error.message}", path=str(final), hint=error.hint) from error
        except ValueError as error:
            raise OutputError("lies outside its record's folder", path=str(final)) from error
    return tuple(written)


def retire_record(path: Path) -> None:
    """Remove a record, surviving a power cut, before any of its files is replaced.

    Raises
    ------
    OutputError
        If that is not possible.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise output_error(path, error) from error
    sync_folder(path.parent)


def write_record(path: Path, record: Record) -> None:
    """Write a record: whole and synced, or not at all. Its files must have their final names and be synced.

    Raises
    ------
    OutputError
        If it cannot be written, or if a file is not the one the record describes: another run wrote it meanwhile.
    """
    for file in record.files:
        target = path.parent / file.path
        try:
            same = file.content.same_status(target.stat())
        except OSError as error:
            raise output_error(target, error) from error
        if not same:
            hint = "run the command again, one run at a time"
            raise OutputError("replaced by another run", path=str(target), hint=hint)
    write_object(path, _to_json(record))


def refresh_record(path: Path, record: Record) -> None:
    """Replace a record by one of other times, as `decide` gives it with `Action.REFRESH`.

    Raises
    ------
    OutputError
        If it cannot be written; then the old one stands.
    """
    write_object(path, _to_json(record))


def read_record(path: Path) -> Record | None:
    """Read a record; None if there is none or it is damaged, of another schema, or not ours: then nothing is done."""
    with suppress(OSError, ValueError):
        return _from_json(read_object(path))
    return None


def _to_json(record: Record) -> dict[str, Json]:
    return {
        "schema": SCHEMA,
        "input": {**path_entry("path", record.source), **_flat(record.input)},
        "model": _flat(record.model),
        "settings": _flat(record.settings),
        "circumstances": _flat(record.circumstances),
        "stems": [_file(file) for file in record.stems],
        "extras": [_file(file) for file in record.extras],
    }


def _file(file: WrittenFile) -> Json:
    return {"name": file.name, **path_entry("path", file.path), **_flat(file.content)}


def _flat(value: Content | MadeBy | Settings | Circumstances) -> dict[str, Json]:
    entries = {field.name: getattr(value, field.name) for field in fields(value)}
    return {key: list(entry) if isinstance(entry, tuple) else entry for key, entry in entries.items()}


def _from_json(top: Fields) -> Record:
    if top.whole("schema") != SCHEMA:
        raise MalformedError("another schema")
    source, model = top.inside("input"), top.inside("model")
    stems, extras = (tuple(map(_read_file, top.each(key))) for key in ("stems", "extras"))
    paths = [file.path for file in (*stems, *extras)]
    if not stems or len(set(paths)) < len(paths):
        raise MalformedError("no stems, or one file twice")
    weights = None if model.optional_text("sha256") is None else model.sha256("sha256")
    return Record(
        source=source.path("path"),
        input=_read_content(source),
        model=MadeBy(model.text("name"), weights),
        settings=_read_settings(top.inside("settings")),
        circumstances=_read_circumstances(top.inside("circumstances")),
        stems=stems,
        extras=extras,
    )


def _read_file(part: Fields) -> WrittenFile:
    return WrittenFile(part.text("name"), part.path_inside("path"), _read_content(part))


def _read_content(part: Fields) -> Content:
    # A time before 1970 is negative.
    return Content(part.whole("size_bytes"), part.whole("mtime_ns", least=-(2**63)), part.sha256("sha256"))


def _read_settings(part: Fields) -> Settings:
    weights = part.optional_text("pitch_weights_sha256")
    return Settings(
        stems=part.texts("stems"),
        format=part.text("format"),
        depth=part.optional_text("depth"),
        bitrate=part.optional_whole("bitrate"),
        clip=part.text("clip"),
        precision=part.text("precision"),
        segment_seconds=part.optional_number("segment_seconds"),
        overlap=part.number("overlap"),
        shifts=part.whole("shifts"),
        seed=part.whole("seed", least=-(2**63)),
        downmix=part.flag("downmix"),
        stream=part.optional_whole("stream"),
        plot=part.flag("plot"),
        pitch=part.flag("pitch"),
        pitch_weights_sha256=None if weights is None else part.sha256("pitch_weights_sha256"),
    )


def _read_circumstances(part: Fields) -> Circumstances:
    return Circumstances(
        version=part.text("version"),
        device=part.text("device"),
        precision=part.text("precision"),
        threads=part.whole("threads"),
        segment_seconds=part.optional_number("segment_seconds"),
        segments_per_batch=part.whole("segments_per_batch"),
        gain=part.number("gain"),
    )
