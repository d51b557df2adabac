"""From a published name or a file of others to a checkpoint that can be loaded: fetched if allowed, made once."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from mss_cli.errors import UsageError, WeightsError
from mss_cli.events import DownloadFinished, DownloadProgress, DownloadStarted, Listener, Warned, ignore
from mss_cli.weights.cache import Cache, Receipt, cache_error, default_folder, file_sha256, make_cache_folder
from mss_cli.weights.cache_lock import one_at_a_time
from mss_cli.weights.manifest import Entry, find
from mss_cli.weights.published import Published, PublishedFile

OFFLINE: Final = "MSS_CLI_OFFLINE"
MIRROR: Final = "MSS_CLI_MIRROR"
_PROGRESS_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Terms:
    """What may be done to get weights that are not there.

    Parameters
    ----------
    download : bool
        Whether the network may be used.
    accept_licence : bool
        Whether the user accepts the licence now.
    mirrors : tuple of str
        Addresses of folders in which the files lie under their names; tried before the published addresses.
    local : Path or None
        File or folder to take the files from instead.
    """

    download: bool = True
    accept_licence: bool = False
    mirrors: tuple[str, ...] = ()
    local: Path | None = None

    @property
    def online(self) -> bool:
        """Whether the network may be used; the environment can forbid it."""
        return self.download and os.environ.get(OFFLINE, "") in ("", "0")

    def addresses(self, file: PublishedFile) -> tuple[str, ...]:
        """Give where a file may lie, in the order to be tried."""
        named = self.mirrors or tuple(map(checked_mirror, os.environ.get(MIRROR, "").split()))
        return (*(f"{mirror.rstrip('/')}/{file.name}" for mirror in named), *file.addresses)


def checked_mirror(address: str) -> str:
    """Give the address of a mirror back.

    Raises
    ------
    UsageError
        If it is none of HTTP.
    """
    try:
        good = address.startswith(("http://", "https://")) and bool(urlsplit(address).hostname)
    except ValueError:
        good = False
    if not good:
        raise UsageError(f"`--mirror {address}` is no address", hint="write https://..., or use `--from` for a folder")
    return address


def checkpoint_of(
    name: str, *, terms: Terms | None = None, family: str | None = None, listener: Listener = ignore
) -> Path | None:
    """Give the checkpoint that is loaded for what `--model` names.

    Parameters
    ----------
    name : str
        A model of the package, a published one, or the path of a checkpoint, ours or of others.
    terms : Terms, optional
        For a published one that is not there; by default nothing is fetched.
    family : str or None
        Of a checkpoint of others; found by its contents if None.
    listener : callable
        Takes what is told of downloads, and warnings.

    Returns
    -------
    Path or None
        None for a method without weights.

    Raises
    ------
    UsageError, WeightsError, DownloadError, OutputError
        If there is no such model; if it cannot be had, or not loaded; if no server answers; if the cache is full.
    """
    found = find(name)
    if family is not None and not isinstance(found, Path):
        raise UsageError("`--architecture` is for checkpoints of others", hint=f"leave it out: `{name}` has one")
    if isinstance(found, Entry):
        return found.weights
    cache = Cache(default_folder())
    if isinstance(found, Published):
        return install(found, cache, terms or Terms(download=False), listener)
    from mss_cli.weights.foreign import convert_local, is_ours

    if family is None and is_ours(found):
        return found
    return convert_local(found, cache, family=family, listener=listener)


def install(model: Published, cache: Cache, terms: Terms, listener: Listener) -> Path:
    """Give the checkpoint of a published model; fetch its files and make it, where it is not there.

    Parameters
    ----------
    model : Published
    cache : Cache
    terms : Terms
    listener : callable
        Takes `download_started`, `download_progress`, `download_finished` and warnings.

    Raises
    ------
    WeightsError
        If it may not be fetched, its licence was not accepted, or what came is not what was published.
    DownloadError, OutputError
        If no server gives it now; if it cannot be written.
    """
    target = cache.checkpoint(model)
    if cache.is_made(model):
        return target
    _check_terms(model, cache, terms)

    def waiting() -> None:
        listener(Warned(f"model `{model.name}`: another process fetches it; waiting for that"))

    with one_at_a_time(cache.root, model.name, waiting=waiting):
        if not cache.is_made(model):  # else the other process made it
            missing = [file for file in model.files if not cache.is_as_published(model, file)]
            if missing:
                _check_online(model, terms)
                _get(model, missing, cache, terms, listener)
            _make(model, cache, target)
    return target


def _check_terms(model: Published, cache: Cache, terms: Terms) -> None:
    if not cache.is_present(model):
        _check_online(model, terms)
    if terms.accept_licence:
        cache.accept(model)
    if not cache.accepts(model):
        reason = f"model `{model.name}`: its licence must be accepted first: {model.licence} ({model.licence_source})"
        raise WeightsError(reason, hint="if you may use it under these terms, give `--accept-licence` once")


def _check_online(model: Published, terms: Terms) -> None:
    if terms.local is None and not terms.online:
        what = f"model `{model.name}` is not there, or damaged ({model.about_size}; licence: {model.licence})"
        hint = f"run `mss-cli download-weights {model.name}`, or give its files with `--from DIR`"
        raise WeightsError(what, hint=hint)


def _get(model: Published, missing: list[PublishedFile], cache: Cache, terms: Terms, listener: Listener) -> None:
    make_cache_folder(cache.folder(model))
    local = terms.local
    listener(
        DownloadStarted(
            model=model.name,
            files=len(missing),
            size_bytes=model.about_bytes,
            sources=_sources(missing, terms) if local is None else (str(local),),
            licence=model.licence,
        )
    )
    with _progress(model, cache, listener) as progress:
        for file in missing:
            if local is None:
                receipt = _fetch(model, file, cache, terms, progress, listener)
            else:
                receipt = _copy(model, file, cache, local)
            cache.sign(model, file.name, receipt)
    size = sum(cache.path(model, file).stat().st_size for file in model.files)
    listener(DownloadFinished(model.name, cache.folder(model), size))


def _fetch(
    model: Published,
    file: PublishedFile,
    cache: Cache,
    terms: Terms,
    progress: Callable[[str, int], None],
    listener: Listener,
) -> Receipt:
    from mss_cli.weights import transfer

    return transfer.fetch(
        file,
        cache.path(model, file),
        terms.addresses(file),
        progress=lambda done: progress(file.name, done),
        note=lambda line: listener(Warned(line)),
    )


def _sources(files: list[PublishedFile], terms: Terms) -> tuple[str, ...]:
    """Give the hosts, each once."""
    addresses = [address for file in files for address in terms.addresses(file)]
    return tuple(dict.fromkeys(urlsplit(address).hostname or address for address in addresses))


@contextmanager
def _progress(model: Published, cache: Cache, listener: Listener) -> Iterator[Callable[[str, int], None]]:
    """Tell how much of all files is there, at most once a second."""
    done = {file.name: cache.path(model, file).stat().st_size for file in model.files if cache.has_file(model, file)}
    told = time.monotonic()

    def progress(name: str, count: int) -> None:
        nonlocal told
        done[name] = count
        if time.monotonic() - told >= _PROGRESS_SECONDS:
            told = time.monotonic()
            listener(DownloadProgress(model.name, sum(done.values()), model.about_bytes))

    yield progress


def _copy(model: Published, file: PublishedFile, cache: Cache, local: Path) -> Receipt:
    """Take a file from a local place: verified like one from a server."""
    source = _local_source(model, file, local)
    sha256 = file_sha256(source)
    if not file.agrees(sha256) or file.size_bytes not in (None, source.stat().st_size):
        expected = file.sha256 or file.sha256_prefix or "another size"
        reason = f"is not the published `{file.name}`: SHA-256 differs (expected {expected}, got {sha256})"
        raise WeightsError(reason, path=str(source), hint="copy the file again")
    target = cache.path(model, file)
    part = target.with_name(f".{target.name}.part")
    try:
        shutil.copyfile(source, part)
        with part.open("rb+") as copied:
            os.fsync(copied.fileno())
        if file_sha256(part) != sha256:
            raise WeightsError("changed while it was copied", path=str(source), hint="copy the file again")
        part.replace(target)
    except OSError as error:
        raise cache_error(target, error) from error
    finally:
        part.unlink(missing_ok=True)
    return Receipt(sha256, target.stat().st_size, str(source.absolute()))


def _local_source(model: Published, file: PublishedFile, local: Path) -> Path:
    if local.is_file():
        if len(model.files) == 1 or local.name == file.name:
            return local
        raise WeightsError(f"`{model.name}` needs {len(model.files)} files", path=str(local), hint="give their folder")
    for candidate in (local / file.name, local / model.name / file.name):
        if candidate.is_file():
            return candidate
    raise WeightsError(f"`{file.name}` is not there", path=str(local), hint=f"fetch it from {file.addresses[0]}")


def _make(model: Published, cache: Cache, target: Path) -> None:
    from mss_cli.weights.families.contents import Part
    from mss_cli.weights.foreign import convert_published

    parts = [Part(cache.path(model, file), file.role) for file in model.files]
    convert_published(model, parts, target)
    made = Receipt(file_sha256(target), target.stat().st_size, "made of the files beside it")
    cache.sign(model, target.name, made)
