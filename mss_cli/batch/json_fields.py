"""Our own JSON files: read strictly, written whole; paths that are no text survive."""

import base64
import binascii
import json
import os
from contextlib import suppress
from pathlib import Path, PurePath
from typing import cast

from mss_cli.events import Json
from mss_cli.files import output_error, temporary_name

_LONGEST_BYTES = 1 << 20


class MalformedError(ValueError):
    """A file that is not what this program writes."""


class Fields:
    """The fields of one JSON object, each read by its type or refused.

    Parameters
    ----------
    content : object
        What `json` gave; anything but an object is refused.
    where : str
        For messages.

    Raises
    ------
    MalformedError
        Here and in all methods: naming the field and what it should be.
    """

    def __init__(self, content: object, where: str) -> None:
        if not isinstance(content, dict):
            raise MalformedError(f"{where} is no object")
        self._content = cast(dict[str, object], content)
        self._where = where

    def _take(self, key: str, kind: type, *, optional: bool = False) -> object:
        value = self._content.get(key)
        if value is None and optional and key in self._content:
            return None
        # `True` is an int in Python and a number nowhere else.
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise MalformedError(f"{self._where}: `{key}` is no {kind.__name__}")
        return value

    def text(self, key: str) -> str:
        """Give a text."""
        return cast(str, self._take(key, str))

    def optional_text(self, key: str) -> str | None:
        """Give a text or null; the key itself is required."""
        return cast(str | None, self._take(key, str, optional=True))

    def whole(self, key: str, *, least: int = 0) -> int:
        """Give a whole number."""
        value = cast(int, self._take(key, int))
        if value < least:
            raise MalformedError(f"{self._where}: `{key}` is below {least}")
        return value

    def optional_whole(self, key: str) -> int | None:
        """Give a whole number or null."""
        return None if self._take(key, int, optional=True) is None else self.whole(key)

    def number(self, key: str) -> float:
        """Give a finite number."""
        value = self._content.get(key)
        if isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        return cast(float, self._take(key, float))

    def optional_number(self, key: str) -> float | None:
        """Give a finite number or null."""
        return None if key in self._content and self._content[key] is None else self.number(key)

    def flag(self, key: str) -> bool:
        """Give true or false."""
        return cast(bool, self._take(key, bool))

    def sha256(self, key: str) -> str:
        """Give a SHA-256 in lower-case hex."""
        value = self.text(key)
        if len(value) != 64 or not set(value) <= set("0123456789abcdef"):
            raise MalformedError(f"{self._where}: `{key}` is no SHA-256")
        return value

    def inside(self, key: str) -> "Fields":
        """Give the object in a field."""
        return Fields(self._content.get(key), f"{self._where}: `{key}`")

    def each(self, key: str) -> list["Fields"]:
        """Give the objects in a list."""
        return [Fields(part, f"{self._where}: `{key}`") for part in cast(list[object], self._take(key, list))]

    def texts(self, key: str) -> tuple[str, ...]:
        """Give a list of texts."""
        parts = cast(list[object], self._take(key, list))
        if not all(isinstance(part, str) for part in parts):
            raise MalformedError(f"{self._where}: `{key}` holds something else than text")
        return tuple(cast(list[str], parts))

    def path(self, key: str) -> Path:
        """Give a path, from its exact bytes where they are no text."""
        text = self.text(key)
        if f"{key}_b64" not in self._content:
            return Path(text)
        try:
            return Path(os.fsdecode(base64.b64decode(self.text(f"{key}_b64"), validate=True)))
        except (binascii.Error, ValueError) as error:
            raise MalformedError(f"{self._where}: `{key}_b64` is no base64") from error

    def path_inside(self, key: str) -> Path:
        """Give a relative path that leads nowhere else."""
        path = self.path(key)
        if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in str(path):
            raise MalformedError(f"{self._where}: `{key}` leaves its folder")
        return path


def path_entry(key: str, path: PurePath) -> dict[str, Json]:
    """Give the fields of a path: text, and its exact bytes where they are no UTF-8."""
    raw = os.fsencode(path)
    text = raw.decode("utf-8", errors="replace")
    return {key: text} if text.encode() == raw else {key: text, f"{key}_b64": base64.b64encode(raw).decode("ascii")}


def read_object(path: Path, *, longest_bytes: int = _LONGEST_BYTES) -> Fields:
    """Read a file of ours.

    Parameters
    ----------
    path : Path
    longest_bytes : int
        No more is read; 1 MiB by default.

    Raises
    ------
    OSError
        If it cannot be read.
    MalformedError
        If it is no single JSON object in UTF-8, has a key twice, a number that is none, or is longer.
    """
    with path.open("rb") as file:
        raw = file.read(longest_bytes + 1)
    return parse_object(raw, path.name, longest_bytes=longest_bytes)


def parse_object(raw: bytes, where: str, *, longest_bytes: int = _LONGEST_BYTES) -> Fields:
    """Read the bytes of a file of ours; see `read_object`."""
    if len(raw) > longest_bytes:
        raise MalformedError(f"{where} is larger than {longest_bytes >> 20} MiB")
    try:
        content = json.loads(raw.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"{where} is no JSON of ours: {error}") from error
    return Fields(content, where)


def write_object(path: Path, content: dict[str, Json]) -> None:
    """Write a file of ours: whole, under a name of its own, synced, then renamed over the old one, then synced again.

    Raises
    ------
    OutputError
        If it cannot be written; then the old file stands and nothing is left beside it.
    """
    text = json.dumps(content, sort_keys=True, indent=1, allow_nan=False) + "\n"
    temporary = temporary_name(path)
    try:
        try:
            with temporary.open("xb") as file:
                file.write(text.encode("utf-8"))
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)  # noqa: PTH105 - os.replace names its guarantee
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    except OSError as error:
        raise output_error(path, error) from error


def sync_folder(folder: Path) -> None:
    """Make renames in a folder survive a power cut, where the system can."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return  # Windows opens no folders
    try:
        with suppress(OSError):  # some network file systems refuse; the rename itself is done
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise MalformedError("a key stands twice")
    return content


def _no_number(text: str) -> object:
    raise MalformedError(f"{text} is no number")
