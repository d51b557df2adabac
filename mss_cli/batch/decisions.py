"""Skip, refresh or separate: what a record means for the run at hand, and whether it still tells the truth."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from mss_cli.audio.access import unreadable
from mss_cli.batch.records import (
    RECORD_SUFFIX,
    Content,
    MadeBy,
    Record,
    Settings,
    WrittenFile,
    read_content,
    read_record,
)
from mss_cli.errors import InputError


class Policy(StrEnum):
    """When a finished track is done again."""

    IF_CHANGED = "if-changed"
    IF_MISSING = "if-missing"
    OVERWRITE = "overwrite"


class Action(StrEnum):
    """What becomes of a track."""

    SKIP = "skip"
    REFRESH = "refresh"
    SEPARATE = "separate"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the run at hand would do with a track.

    Parameters
    ----------
    model : MadeBy
    settings : Settings
    outputs : tuple of Path
        Final names.
    """

    model: MadeBy
    settings: Settings
    outputs: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with a track and why, in a few words.

    Parameters
    ----------
    action : Action
    reason : str
    record : Record or None
        The record there is; with `Action.REFRESH` the one to be written by `refresh_record`.
    """

    action: Action
    reason: str
    record: Record | None = None


def decide(
    source: Path, record_path: Path, wanted: Wanted, *, policy: Policy = Policy.IF_CHANGED, checksum: bool = False
) -> Decision:
    """Decide what becomes of a track; nothing is written.

    Parameters
    ----------
    source : Path
        The input.
    record_path : Path
        Where its record would be.
    wanted : Wanted
    policy : Policy
        `IF_CHANGED`: a track is done if its record names this input's content, this model, these settings and these
        outputs, and every file is there; `IF_MISSING`: if a record names these outputs and every file is there,
        whatever they were made of; `OVERWRITE`: never.
    checksum : bool
        Read the input even if its size and time are those of the record.

    Raises
    ------
    InputError
        If the input cannot be read, under any policy but `OVERWRITE`.
    """
    if policy == Policy.OVERWRITE:
        return Decision(Action.SEPARATE, "to be overwritten")
    record = read_record(record_path)
    if record is None:
        return Decision(Action.SEPARATE, "no record")
    current = _with_times(record, record_path.parent, wanted.outputs)
    if isinstance(current, str):
        return Decision(Action.SEPARATE, current, record)
    if policy == Policy.IF_CHANGED:
        if record.model != wanted.model:
            return Decision(Action.SEPARATE, "another model or other weights", record)
        changed = record.settings.differences(wanted.settings)
        if changed:
            return Decision(Action.SEPARATE, f"other settings: {', '.join(changed)}", record)
        content = _unchanged(source, record, checksum=checksum)
        if isinstance(content, str):
            return Decision(Action.SEPARATE, content, record)
        current = replace(current, input=content)
    if current != record:
        return Decision(Action.REFRESH, "only times differ", current)
    return Decision(Action.SKIP, "unchanged" if policy == Policy.IF_CHANGED else "there already", record)


def _unchanged(source: Path, record: Record, *, checksum: bool) -> Content | str:
    """Give the input's content if it is that of the record, perhaps with another time; else what differs."""
    try:
        status = source.stat()
    except (OSError, ValueError) as error:
        raise unreadable(source, error) from error
    if record.input.same_status(status) and not checksum:
        return record.input
    if status.st_size != record.input.size_bytes:
        return "the input has another size"
    content = read_content(source)
    return content if content.sha256 == record.input.sha256 else "the input has other content"


def _with_times(record: Record, folder: Path, outputs: Sequence[Path]) -> Record | str:
    """Give the record with the times its files have now, or say which file is not there as the record has it."""
    known = {folder / file.path for file in record.files}
    for output in outputs:
        if output not in known:
            return f"`{output.name}` was not asked for then"
    files = []
    for file in record.files:
        content = _look(file, folder, always=False)
        if isinstance(content, str):
            return f"`{file.path}` {content}"
        files.append(replace(file, content=content))
    stems = len(record.stems)
    return replace(record, stems=tuple(files[:stems]), extras=tuple(files[stems:]))


def _look(file: WrittenFile, folder: Path, *, always: bool) -> Content | str:
    """Give a file's content if it is the recorded one, perhaps with another time; else what is wrong.

    It is read if its time is not that of the record, or `always`.
    """
    path = folder / file.path
    try:
        status = path.stat()
        if status.st_size != file.content.size_bytes:
            return f"has {status.st_size} bytes instead of {file.content.size_bytes}"
        # Another time: copied with its folder, or written by another run that went on beside the record's.
        if not always and file.content.same_status(status):
            return file.content
        content = read_content(path)
    except FileNotFoundError:
        return "is missing"
    except (OSError, ValueError) as error:
        return unreadable(path, error).message
    except InputError as error:
        return error.message
    return content if content.sha256 == file.content.sha256 else "has other content"


@dataclass(frozen=True, slots=True)
class Verified:
    """What `verify` found about one record.

    Parameters
    ----------
    record : Path
        The record's file.
    files : int
        How many files it names.
    troubles : tuple of str
        What is wrong, with the file's name; empty if all is as recorded.
    """

    record: Path
    files: int
    troubles: tuple[str, ...]


def verify(folder: Path) -> Iterator[Verified]:
    """Hash every file of every record below a folder, in sorted order.

    Raises
    ------
    InputError
        If the folder cannot be read.
    """
    if not folder.is_dir():
        raise InputError("no such folder", path=str(folder), hint="name the output folder of a run")
    for path in sorted(folder.rglob(f"*{RECORD_SUFFIX}")):
        record = read_record(path)
        if record is None:
            yield Verified(path, 0, ("the record cannot be read",))
            continue
        found = [(file, _look(file, path.parent, always=True)) for file in record.files]
        troubles = tuple(f"`{file.path}` {trouble}" for file, trouble in found if isinstance(trouble, str))
        yield Verified(path, len(found), troubles)
