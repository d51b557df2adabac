"""Which files a run is about: files, folders, patterns and lists, found without opening any of them."""

import glob
import os
import stat
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePath
from typing import BinaryIO

from mss_cli.audio.access import unreadable
from mss_cli.audio.extensions import AUDIO_EXTENSIONS, VIDEO_EXTENSIONS
from mss_cli.batch.records import RECORD_SUFFIX, read_record
from mss_cli.errors import InputError, UsageError

STANDARD = "-"
STATE_FOLDER = ".mss-cli"
_MAGIC = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class Found:
    """An input.

    Parameters
    ----------
    path : Path
        To open and to show: what the user typed, and for files found in a folder that folder and the way below it.
    root : Path or None
        The folder it was found under; None for a file that was named itself.
    relative : PurePath
        The way from the root to the file, its name included; the name alone for a file that was named itself.
    """

    path: Path
    root: Path | None
    relative: PurePath


@dataclass(frozen=True, slots=True)
class Inputs:
    """All inputs of a run.

    Parameters
    ----------
    files : tuple of Found
        In the order of the arguments, each folder sorted by the bytes of its names; no path twice.
    troubles : tuple of InputError
        Folders that cannot be read and patterns that match nothing, each with its path.
    empty : tuple of Path
        Folders that were named and hold no audio.
    """

    files: tuple[Found, ...]
    troubles: tuple[InputError, ...] = ()
    empty: tuple[Path, ...] = ()


def find_inputs(
    arguments: Sequence[str],
    *,
    listed: Sequence[str] = (),
    exclude: Sequence[str] = (),
    output: Path | None = None,
    extensions: Collection[str] = AUDIO_EXTENSIONS,
) -> Inputs:
    """Find every input of a run.

    A folder gives all regular files below it with a known extension; links to folders are followed, each real folder
    once. Names that begin with a dot, the output folder, every folder below the named one that holds `.mss-cli` (the
    output of a run that is at work), and files that a record names (stems of earlier runs) are left out. Files that
    were named are taken as they are, missing ones too: they fail later, with their reason.

    Parameters
    ----------
    arguments : sequence of str
        Files, folders, `-`, and patterns (`*`, `?`, `[...]`, `**`); a name that exists is no pattern.
    listed : sequence of str
        Files and folders of `--inputs-from`; never patterns.
    exclude : sequence of str
        Patterns against the name of a file or folder; with a `/` inside, against the whole relative path. `*` stands
        for any characters.
    output : Path or None
        The output folder.
    extensions : collection of str
        Lower case, with the dot.

    Raises
    ------
    UsageError
        If the output folder is itself an input: the next run would separate the stems.
    """
    search = _Search(tuple(pattern.rstrip("/") for pattern in exclude), _identity(output), frozenset(extensions))
    for text in arguments:
        if text != STANDARD and _MAGIC.intersection(text) and not os.path.lexists(text):
            search.pattern(text)
        else:
            search.named(text)
    for text in listed:
        search.named(text)
    return Inputs(tuple(search.files.values()), tuple(search.troubles), tuple(search.empty))


def read_list(file: BinaryIO, *, null: bool = False) -> tuple[str, ...]:
    """Read names from a list.

    Parameters
    ----------
    file : binary file
        Names as bytes, each ended by a newline, or by NUL where the list has any. A list in which every line ends in
        CR LF has no CR in its names. The last name needs no end; empty names are left out.
    null : bool
        Newlines belong to names even where the list has no NUL, that is, one name.

    Returns
    -------
    tuple of str
        Bytes that are no UTF-8 as surrogates, as Python has them in paths.
    """
    content = file.read()
    if null or b"\0" in content:
        names = content.split(b"\0")
    else:
        names = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
        lines = [name for name in names if name]
        if lines and all(line.endswith(b"\r") for line in lines):
            names = [line[:-1] for line in lines]
    return tuple(os.fsdecode(name) for name in names if name)


def read_list_file(path: Path, *, null: bool = False) -> tuple[str, ...]:
    """Read names from a list on disk; see `read_list`.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return read_list(file, null=null)
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error


def _identity(path: Path | None) -> tuple[int, int] | None:
    """Device and number of a folder; None if there is none."""
    try:
        status = None if path is None else path.stat()
    except (OSError, ValueError):
        return None
    return None if status is None else (status.st_dev, status.st_ino)


@dataclass(slots=True)
class _Search:
    exclude: tuple[str, ...]
    output: tuple[int, int] | None
    extensions: frozenset[str]
    files: dict[str, Found] = field(default_factory=dict)
    troubles: list[InputError] = field(default_factory=list)
    empty: list[Path] = field(default_factory=list)
    written: set[Path] = field(default_factory=set)

    def named(self, text: str) -> None:
        """Take what was named itself: a folder with all below it, or a file whatever its extension."""
        path = Path(text)
        if text != STANDARD and _is_folder(path):
            if self.output is not None and _identity(path) == self.output:
                hint = "choose an `--output` beside it or below it"
                raise UsageError(f"`{path}` is both input and output: stems would be separated again", hint=hint)
            before = len(self.files), len(self.troubles)
            self.folder(path, root=path)
            if (len(self.files), len(self.troubles)) == before:
                self.empty.append(path)
            return
        # `./-` is a file and `-` is stdin, though Path shows both alike.
        path = path.absolute() if text != STANDARD and str(path) == STANDARD else path
        if text == STANDARD or not self.excluded(PurePath(path)):
            self.add(Found(path, None, PurePath(path.name)))

    def pattern(self, text: str) -> None:
        """Take what a pattern matches; what lies above its first wild card is the root."""
        parts = Path(text).parts
        root = Path(*parts[: next(place for place, part in enumerate(parts) if _MAGIC.intersection(part))])
        suffix = PurePath(text).suffix
        # A pattern that spells an extension means that one; `*` means sound.
        spelled = bool(suffix) and not _MAGIC.intersection(suffix)
        matches = list(self.below(parts) if "**" in parts else map(Path, glob.glob(text)))  # noqa: PTH207 - typed text
        if not matches:
            self.troubles.append(InputError("no file matches", path=text, hint="check the pattern"))
        for path in sorted(matches, key=os.fsencode):
            relative = PurePath(os.path.relpath(path, root))
            if self.excluded(relative):
                continue
            if _is_folder(path):
                if not self.is_output(path):
                    self.folder(path, root=root)
            elif spelled or path.suffix.lower() in self.extensions | VIDEO_EXTENSIONS:
                self.add(Found(path, root, relative))

    def below(self, parts: Sequence[str]) -> Iterator[Path]:
        """Match a pattern with `**` by a walk of our own, which no loop of links can hold up."""
        place = parts.index("**")
        above = str(Path(*parts[:place]))
        for start in map(Path, glob.glob(above) if _MAGIC.intersection(above) else [above]):  # noqa: PTH207
            for path in self.walk(start, start, every=True):
                if _matches(path.relative_to(start).parts, parts[place:]):
                    yield path

    def add(self, found: Found) -> None:
        key = STANDARD if str(found.path) == STANDARD else str(found.path.absolute())
        self.files.setdefault(os.path.normpath(key), found)

    def excluded(self, path: PurePath) -> bool:
        """Tell whether a pattern of `--exclude` meets a file or folder, or a folder above it."""
        ways = (path, *path.parents[:-1])
        return any(
            fnmatchcase(way.as_posix() if "/" in pattern else way.name, pattern)
            for pattern in self.exclude
            for way in ways
        )

    def is_output(self, folder: Path) -> bool:
        """Tell whether a folder is where stems go, in this run or in another."""
        identity = _identity(folder)
        return (identity is not None and identity == self.output) or _is_folder(folder / STATE_FOLDER)

    def folder(self, folder: Path, *, root: Path) -> None:
        """Take all audio files below a folder."""
        found = self.walk(folder, root)
        for path in sorted(found, key=lambda path: [os.fsencode(part) for part in path.parts]):
            self.add(Found(path, root, path.relative_to(root)))

    def walk(self, start: Path, root: Path, *, every: bool = False) -> Iterator[Path]:
        """Give the files below a folder, in any order; only those with known extensions unless `every`."""
        # Real folders come before links to folders, so that a folder with a link to it keeps its own name; each real
        # folder is read once, which also ends loops.
        seen: set[tuple[int, int]] = set()
        real, links = [start], list[Path]()
        while real or links:
            folder = real.pop() if real else links.pop(0)
            identity = _identity(folder)
            if identity in seen or (folder != start and self.is_output(folder)):
                continue
            if identity is not None:
                seen.add(identity)
            try:
                with os.scandir(folder) as entries:
                    listing = sorted(entries, key=lambda entry: os.fsencode(entry.name))
            except OSError as error:
                self.troubles.append(unreadable(folder, error))
                continue
            # Stems of earlier runs: their records lie in the same folder or in one above, which was read before.
            for entry in listing:
                if entry.name.endswith(RECORD_SUFFIX) and (record := read_record(folder / entry.name)) is not None:
                    self.written.update(folder / file.path for file in record.files)
            for entry in listing:
                path = folder / entry.name
                if (
                    path in self.written
                    or entry.name.startswith(".")
                    or (self.exclude and self.excluded(path.relative_to(root)))
                ):
                    continue
                if _entry_is_folder(entry):
                    (links if entry.is_symlink() else real).append(path)
                elif (every or path.suffix.lower() in self.extensions) and _may_be_file(entry):
                    yield path


def _matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Match a relative path against a pattern, component by component; `**` stands for any number of them."""
    # One row of the table of "the first n components match the pattern so far" after the other.
    row = [True, *[False] * len(parts)]
    for piece in pattern:
        if piece == "**":
            first = row.index(True) if True in row else len(row)
            row = [place >= first for place in range(len(row))]
        else:
            row = [False, *(row[place] and fnmatchcase(part, piece) for place, part in enumerate(parts))]
    return row[-1]


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def _entry_is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _may_be_file(entry: os.DirEntry[str]) -> bool:
    """Leave out pipes, sockets and devices; a link that leads nowhere stays, to be reported when it is opened."""
    try:
        return stat.S_ISREG(entry.stat().st_mode)
    except OSError:
        return True
