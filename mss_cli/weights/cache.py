"""The folder where fetched weights lie: what is there, whether it is whole, which licences were accepted.

FOLDER/NAME/FILE               as published, verified before it got this name
FOLDER/NAME/receipt.json       the hashes of these files, and of what was made of them
FOLDER/NAME/NAME.safetensors   what is loaded: made of them once
FOLDER/converted/...           the same for checkpoints of others that `--model PATH` named
FOLDER/licences.json           what was accepted
"""

import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from mss_cli.errors import OutputError
from mss_cli.files import make_folder, output_error, temporary_name
from mss_cli.weights.manifest import SUFFIX
from mss_cli.weights.published import Published, PublishedFile

VARIABLE = "MSS_CLI_WEIGHTS_DIR"
_RECEIPT = "receipt.json"
_LICENCES = "licences.json"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was verified when a file got its name."""

    sha256: str
    size_bytes: int
    origin: str


def default_folder() -> Path:
    """Give the folder of the environment, else the cache folder of the platform."""
    if given := os.environ.get(VARIABLE):
        return Path(given)
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
        return base / "mss-cli" / "weights"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "mss-cli" / "weights"
    given = os.environ.get("XDG_CACHE_HOME", "")
    # The specification: a relative path is to be ignored.
    base = Path(given) if given.startswith("/") else Path.home() / ".cache"
    return base / "mss-cli" / "weights"


@dataclass(frozen=True, slots=True)
class Cache:
    """Fetched weights in one folder.

    Parameters
    ----------
    root : Path
        May be missing.
    """

    root: Path

    def folder(self, model: Published) -> Path:
        """Give the folder of a model."""
        return self.root / model.name

    def path(self, model: Published, file: PublishedFile) -> Path:
        """Give the final name of a file."""
        return self.folder(model) / file.name

    def checkpoint(self, model: Published) -> Path:
        """Give the final name of what is loaded."""
        return self.folder(model) / f"{model.name}{SUFFIX}"

    def has_file(self, model: Published, file: PublishedFile) -> bool:
        """Tell whether a file is there; it was verified before it got its name."""
        path = self.path(model, file)
        return path.is_file() and file.size_bytes in (None, path.stat().st_size)

    def is_present(self, model: Published) -> bool:
        """Tell whether a model can be used without fetching anything."""
        return self.checkpoint(model).is_file() or all(self.has_file(model, file) for file in model.files)

    def is_made(self, model: Published) -> bool:
        """Tell whether what is loaded is there, as long as it was when it was made."""
        path = self.checkpoint(model)
        receipt = self.receipts(model).get(path.name)
        return path.is_file() and (receipt is None or path.stat().st_size == receipt.size_bytes)

    def is_as_published(self, model: Published, file: PublishedFile) -> bool:
        """Hash a file, and tell whether it is there and still what it was when it got its name."""
        return self.has_file(model, file) and self._trouble(model, file) is None

    def receipts(self, model: Published) -> Mapping[str, Receipt]:
        """Give what was verified, by file; nothing where that is not known any more."""
        raw = _read_object(self.folder(model) / _RECEIPT)
        found = {}
        for name, part in raw.items():
            with suppress(TypeError):
                found[name] = Receipt(**part)  # type: ignore[arg-type]
        return found

    def sign(self, model: Published, name: str, receipt: Receipt) -> None:
        """Write down what was verified."""
        known = {**self.receipts(model), name: receipt}
        _write_object(self.folder(model) / _RECEIPT, {key: asdict(one) for key, one in known.items()})

    def troubles(self, model: Published) -> Iterator[str]:
        """Hash the files of a model and what was made of them; give a line for each that is missing or another one."""
        for file in model.files:
            trouble = self._trouble(model, file) if self.path(model, file).is_file() else "missing"
            if trouble is not None:
                yield f"{self.path(model, file)}: {trouble}"
        made = self.checkpoint(model)
        receipt = self.receipts(model).get(made.name)
        if made.is_file() and receipt is not None:
            actual = file_sha256(made)
            if actual != receipt.sha256:
                yield f"{made}: changed since it was made (expected SHA-256 {receipt.sha256}, got {actual})"

    def _trouble(self, model: Published, file: PublishedFile) -> str | None:
        actual = file_sha256(self.path(model, file))
        receipt = self.receipts(model).get(file.name)
        expected = file.sha256 or (None if receipt is None else receipt.sha256)
        if not file.agrees(actual) or expected not in (None, actual):
            return f"SHA-256 differs (expected {expected or file.sha256_prefix}, got {actual})"
        if expected is None and not file.sha256_prefix:
            return "its hash was not published, and what it was is not known any more"
        return None

    def remove(self, model: Published) -> int:
        """Remove a model with everything that was made of it; give the bytes that are free again.

        Raises
        ------
        OutputError
            If something cannot be removed.
        """
        from mss_cli.weights.cache_lock import one_at_a_time

        folder, freed = self.folder(model), 0
        if not folder.is_dir():
            return 0
        with one_at_a_time(self.root, model.name, waiting=lambda: None):
            for path in sorted(folder.iterdir()):
                try:
                    freed += path.stat().st_size
                    path.unlink()
                except OSError as error:
                    raise cache_error(path, error) from error
            with suppress(OSError):
                folder.rmdir()
        return freed

    def accepts(self, model: Published) -> bool:
        """Tell whether the licence of a model, as it is stated now, is free or was accepted."""
        return not model.ask or _read_object(self.root / _LICENCES).get(model.name) == _stated(model)

    def accept(self, model: Published) -> None:
        """Remember that the licence of a model was accepted."""
        from mss_cli.weights.cache_lock import one_at_a_time

        if not model.ask or self.accepts(model):
            return
        with one_at_a_time(self.root, _LICENCES, waiting=lambda: None):  # others may be accepted at the same time
            _write_object(self.root / _LICENCES, {**_read_object(self.root / _LICENCES), model.name: _stated(model)})


def file_sha256(path: Path) -> str:
    """Hash a file.

    Raises
    ------
    OutputError
        If it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise cache_error(path, error) from error


def cache_error(path: Path, error: OSError | OutputError) -> OutputError:
    """Turn what the operating system said about the cache into one line, with the remedies there are for it."""
    plain = error if isinstance(error, OutputError) else output_error(path, error)
    return OutputError(
        plain.message, path=plain.path, hint=f"free some space, or choose another folder with `--dir` or {VARIABLE}"
    )


def make_cache_folder(folder: Path) -> None:
    """Make a folder of the cache.

    Raises
    ------
    OutputError
        If it cannot be made or written to.
    """
    try:
        make_folder(folder)
    except OutputError as error:
        raise cache_error(folder, error) from error


def _stated(model: Published) -> str:
    return f"{model.licence} ({model.licence_source})"


def _read_object(path: Path) -> dict[str, object]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # missing or damaged: as if it had never been written
    return content if isinstance(content, dict) else {}


def _write_object(path: Path, content: Mapping[str, object]) -> None:
    make_cache_folder(path.parent)
    temporary = temporary_name(path)
    try:
        temporary.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise cache_error(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)
