"""Addresses of files on object stores (`s3://bucket/music/a.wav`), and what fsspec knows of them."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PosixPath
from typing import TYPE_CHECKING, Protocol

from mss_cli.errors import InputError, OutputError, UsageError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_ADDRESS = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]+)://.", re.DOTALL)
# What installs the reader of a scheme.
_EXTRAS = {"s3": "mss-cli[remote]", "s3a": "mss-cli[remote]", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs"}
# Uploads to these appear whole or not at all; elsewhere a file grows under another name first.
_WHOLE = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "memory"})
_TIMES = ("LastModified", "mtime", "updated", "last_modified", "created")


class Address(PosixPath):
    """An address where a path is asked for: to be shown and written down, never to be opened."""

    def __str__(self) -> str:
        """Give the slashes back that paths do not keep."""
        scheme, _, rest = super().__str__().partition(":/")
        return f"{scheme}:{'///' if scheme == 'file' else '//'}{rest}"


@dataclass(frozen=True, slots=True)
class Status:
    """What a store tells of a file.

    Parameters
    ----------
    size_bytes, mtime_ns : int
    """

    size_bytes: int
    mtime_ns: int


class Entry(Protocol):
    """What fsspec tells of a file or folder: a mapping."""

    def __getitem__(self, key: str) -> object:
        """Give what is there."""
        ...

    def get(self, key: str) -> object:
        """Give what may be there."""
        ...


def is_address(text: str) -> bool:
    """Tell whether an argument names something on a store: `SCHEME://...`."""
    return _ADDRESS.match(text) is not None


class Store:
    """A folder or file on a store.

    Parameters
    ----------
    address : str

    Raises
    ------
    UsageError
        If what reads such addresses is not installed.
    """

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")
        found = _ADDRESS.match(address)
        self.scheme = "" if found is None else found["scheme"]
        try:
            from fsspec.core import url_to_fs
        except ImportError as error:
            raise UsageError(f"`{address}` needs fsspec", hint="install `mss-cli[remote]`") from error
        try:
            made: tuple[AbstractFileSystem, str] = url_to_fs(self.address)
        except (ImportError, ValueError) as error:
            extra = _EXTRAS.get(self.scheme)
            hint = "write a path, `s3://`, `gs://` or `file://`" if extra is None else f"install `{extra}`"
            raise UsageError(f"`{self.scheme}://` cannot be read here: {error}", hint=hint) from error
        self._files, self.root = made
        self.root = self.root.rstrip("/")

    def listing(self) -> dict[str, Status]:
        """Give what lies below, by relative name; a file gives itself under the name "".

        Raises
        ------
        InputError
            If the store does not answer.
        """
        with self._asked():
            self._files.invalidate_cache()
            found: dict[str, Entry] = self._files.find(self.root, detail=True)
            return {
                name[len(self.root) :].removeprefix("/"): self._status(name, entry)
                for name, entry in found.items()
                if name == self.root or name.startswith(f"{self.root}/")
            }

    def status(self) -> Status:
        """Look at a file as it is now.

        Raises
        ------
        InputError
            If it is not there.
        """
        with self._asked():
            self._files.invalidate_cache()
            return self._status(self.root, self._files.info(self.root))

    def fetch(self, names: Mapping[str, Path]) -> None:
        """Copy files to disk: relative names to paths whose folders are there.

        Raises
        ------
        InputError
            If one cannot be read.
        """
        with self._asked():
            if names:
                keys = [f"{self.root}/{name}" if name else self.root for name in names]
                self._files.get(keys, [str(path) for path in names.values()])

    def upload(self, path: Path, name: str) -> None:
        """Copy a file to the store; under its name appears the whole or nothing.

        Raises
        ------
        OutputError
            If that fails.
        """
        key = f"{self.root}/{name}"
        first = key if self.scheme in _WHOLE else f"{key}.part"
        try:
            if self.scheme not in _WHOLE:  # object stores have no folders
                self._files.makedirs(key.rpartition("/")[0], exist_ok=True)
            self._files.put_file(str(path), first)
            if first != key:
                self._files.mv(first, key)
        except Exception as error:
            raise self._refused(name, error) from error

    def remove(self, name: str) -> None:
        """Remove a file if it is there.

        Raises
        ------
        OutputError
            If that fails.
        """
        try:
            self._files.rm_file(f"{self.root}/{name}")
        except FileNotFoundError:
            return
        except Exception as error:
            raise self._refused(name, error) from error

    def _refused(self, name: str, error: Exception) -> OutputError:
        hint = "check the address, the rights and the network"
        return OutputError(f"the store refuses: {_said(error)}", path=f"{self.address}/{name}", hint=hint)

    def _status(self, name: str, entry: Entry) -> Status:
        time = next((entry.get(key) for key in _TIMES if entry.get(key) is not None), None)
        if time is None:
            time = self._files.modified(name)
        return Status(int(str(entry["size"])), _nanoseconds(time))

    @contextmanager
    def _asked(self) -> Iterator[None]:
        """Turn what stores raise, each its own, into one error."""
        try:
            yield
        except FileNotFoundError as error:
            raise InputError("no such file", path=self.address, hint="check the address") from error
        except Exception as error:
            hint = "check the address, the rights and the network"
            raise InputError(f"the store does not answer: {_said(error)}", path=self.address, hint=hint) from error


def _nanoseconds(time: object) -> int:
    if isinstance(time, str):
        time = datetime.fromisoformat(time)
    if isinstance(time, datetime):
        time = time.timestamp()
    # Whole microseconds: what a double holds of today's date.
    return round(float(str(time)) * 1e6) * 1000


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__
