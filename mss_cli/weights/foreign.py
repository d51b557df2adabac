"""Checkpoints of others: which family they are of, and the checkpoint of ours that is made of them once."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from mss_cli.errors import MssError, OutputError, UsageError
from mss_cli.events import Listener, Warned
from mss_cli.weights.cache import Cache, cache_error, file_sha256, make_cache_folder
from mss_cli.weights.families import deep_salience, demucs, demucs_bag, open_unmix, tdc_unet, x_umx
from mss_cli.weights.families.contents import Contents, Part, refuse
from mss_cli.weights.families.demucs_bag import BagFile, read_bag_file
from mss_cli.weights.families.roformer import ROFORMER
from mss_cli.weights.families.scnet import SCNET
from mss_cli.weights.families.tfc_tdf_v3 import TFC_TDF_V3
from mss_cli.weights.families.training_yaml import beside
from mss_cli.weights.families.yaml_checkpoint import bare_keys
from mss_cli.weights.manifest import SUFFIX
from mss_cli.weights.published import Published
from mss_cli.weights.store import LONGEST_STEM

FAMILIES: Final = ("open-unmix", "demucs", "tdc-unet", "roformer", "tfc-tdf-v3", "scnet", "deep-salience")
_WITH_YAML: Final = {family.name: family for family in (ROFORMER, TFC_TDF_V3, SCNET)}
# Part of the names of what was made before; raised when the readers make something else.
_VERSION: Final = 2
_HDF5: Final = b"\x89HDF\r\n\x1a\n"
_LOWEST_RATE: Final = 4_000  # Hz
_HIGHEST_RATE: Final = 768_000


def convert_published(model: Published, parts: Sequence[Part], target: Path) -> None:
    """Make the checkpoint of a published model.

    Parameters
    ----------
    model : Published
    parts : sequence of Part
        Its files, verified.
    target : Path
        Final name.

    Raises
    ------
    WeightsError
        If they are not what they should be.
    UsageError, OutputError
        If a package is missing; if it cannot be written.
    """
    with _named(parts[0].path):
        contents = _read(model.family, parts, model)
        _check(contents, parts[0].path)
    data = tuple(f"{part.path.name}, SHA-256 {file_sha256(part.path)}" for part in parts)
    training = f"by its publisher, on {model.derived_from}"
    _write(target, contents, name=model.name, training=training, licence=model.licence, data=data)


def convert_local(path: Path, cache: Cache, *, family: str | None, listener: Listener) -> Path:
    """Give the checkpoint of ours for a file or folder of others, made once.

    Parameters
    ----------
    path : Path
        A file, a folder with a file for each stem, or a file that names several networks of Demucs.
    cache : Cache
    family : str or None
        One of `FAMILIES`; found by the contents if None.
    listener : callable
        Takes a warning when it is made.

    Raises
    ------
    UsageError, WeightsError, OutputError
        If there is no such family; if it cannot be loaded, safely or at all; if the cache cannot be written.
    """
    if family is not None and family not in FAMILIES:
        raise UsageError(f"`--architecture {family}` is not known", hint=f"use one of {', '.join(FAMILIES)}")
    with _named(path):
        bag = read_bag_file(path) if path.suffix in demucs_bag.SUFFIXES else None
        parts = bag.parts if bag is not None else open_unmix.parts_of(path) if path.is_dir() else [Part(path)]
        for part in parts:
            if not part.path.is_file():
                raise refuse(part.path, "is no file")
        kind = family or _family(parts[0].path)
        if kind in _WITH_YAML:
            parts = [parts[0], Part(beside(parts[0].path))]
    hashes = [file_sha256(part.path) for part in parts]
    # All that decides what is made: the name goes onto its card.
    said = f" {path.stem}" if bag is None else f" {path.stem} {bag.weights} {bag.segment_seconds}"
    if kind == open_unmix.NAME:
        said += f" {open_unmix.settings_mark(parts[0].path.parent)}"
    mark = hashlib.sha256(f"{_VERSION} {kind} {[part.path.name for part in parts]} {hashes}{said}".encode()).hexdigest()
    target = cache.root / "converted" / f"{mark[:32]}{SUFFIX}"
    if target.is_file():
        return target
    with _named(path):
        contents = _read(kind, parts, None) if bag is None else _read_bag(path, kind, bag)
        if not contents.stems:
            raise UsageError(f"`{path}` tells pitch and separates nothing", hint="give it to `--pitch-weights`")
        _check(contents, path)
    data = tuple(f"{part.path.name}, SHA-256 {sha256}" for part, sha256 in zip(parts, hashes, strict=True))
    licence = "not known: a file of others"
    _write(target, contents, name=path.stem, training="by others, not known", licence=licence, data=data)
    listener(Warned(f"weights of the family {kind}, kept as {target}; their licence is not known here", path))
    return target


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turn whatever a file of strangers makes of its reader into one line that names it."""
    try:
        yield
    except MssError:
        raise
    except Exception as error:
        said = (str(error).splitlines() or [""])[0][:200]
        raise refuse(path, f"it is damaged, or no checkpoint ({type(error).__name__}: {said})") from error


def _check(contents: Contents, path: Path) -> None:
    """Refuse what is beyond all reason, or does not fit together, before anything of it is kept."""
    from torch import nn

    from mss_models.catalog import build
    from mss_models.errors import StateMismatch
    from mss_models.networks.states import UndrawnWeights, check_state

    for key, tensor in contents.state.items():
        if tensor.is_floating_point() and not bool(tensor.float().isfinite().all()):
            raise refuse(path, f"`{key}` holds NaN or infinite weights")
    if not contents.stems:
        return  # a network for pitch is checked by its reader
    if not _LOWEST_RATE <= contents.sample_rate <= _HIGHEST_RATE:
        raise refuse(path, f"a sample rate of {contents.sample_rate} Hz")
    if any(len(stem) > LONGEST_STEM for stem in contents.stems):
        raise refuse(path, f"a stem has a name of more than {LONGEST_STEM} letters")
    try:
        with UndrawnWeights():
            network = build(contents.architecture, contents.configuration)
        if isinstance(network, nn.Module):
            check_state(network.state_dict(), contents.state)
    except (StateMismatch, ValueError) as error:
        raise refuse(path, str(error).splitlines()[0]) from error


def is_ours(path: Path) -> bool:
    """Tell whether a file is a checkpoint of ours, or at least none of those that are converted."""
    if path.is_dir() or path.suffix in demucs_bag.SUFFIXES:
        return False
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except OSError:
        return True  # the loader says what is wrong with it
    if path.suffix != SUFFIX:
        return not start.startswith((b"PK", b"\x80", b"\x1f\x8b", _HDF5))
    said, keys = _header(path)
    return not (said.get("klass") or _with_yaml(keys))


def _family(path: Path) -> str:
    """Find out by the contents, without running any of them."""
    if path.suffix == SUFFIX:
        return _with_yaml(_header(path)[1]) or "demucs"
    if path.name.endswith(".gz"):
        return "demucs"
    with path.open("rb") as file:
        if file.read(8) == _HDF5:
            return "deep-salience"
    from mss_cli.weights.safe_loading import load_safely

    content = load_safely(path)
    if isinstance(content, tuple | list) or demucs.fits(content):
        return "demucs"
    if x_umx.fits(content):
        return "open-unmix"
    found = _with_yaml(bare_keys(content))
    if found is not None:
        return found
    if isinstance(content, Mapping):
        keys = {key: value for key, value in content.items() if isinstance(key, str)}
        for name, fits in (("open-unmix", open_unmix.fits), ("tdc-unet", tdc_unet.fits)):
            if fits(keys):
                return name
    raise refuse(path, "its family is not known", hint=f"name it with `--architecture`: {', '.join(FAMILIES)}")


def _with_yaml(keys: Sequence[str]) -> str | None:
    """Find the family of a state dict among those with a YAML file beside it."""
    return next((name for name, family in _WITH_YAML.items() if family.fits(keys)), None)


def _read(family: str, parts: Sequence[Part], model: Published | None) -> Contents:
    stems = () if model is None else model.stems
    if family == "open-unmix":
        return open_unmix.read(parts, stems)
    if family == "tdc-unet":
        return tdc_unet.read(parts, stems)
    if family in _WITH_YAML:
        return _WITH_YAML[family].read(parts, stems)
    if family == "deep-salience":
        return deep_salience.read(parts, stems)
    if model is None:
        return demucs.read(parts)
    return demucs.read(parts, stems, weights=model.bag_weights, segment_seconds=model.segment_seconds)


def _read_bag(path: Path, family: str, bag: BagFile) -> Contents:
    if family != "demucs":
        raise refuse(path, "its networks are not of Demucs", hint="join models of other families with `+`")
    return demucs.read(bag.parts, weights=bag.weights, segment_seconds=bag.segment_seconds)


def _write(target: Path, contents: Contents, *, name: str, training: str, licence: str, data: tuple[str, ...]) -> None:
    from mss_cli.weights.store import Card, save_checkpoint

    card = Card(
        name=name,
        architecture=contents.architecture,
        configuration=contents.configuration,
        stems=contents.stems,
        sample_rate=contents.sample_rate,
        training=training,
        licence=licence,
        data=data,
    )
    make_cache_folder(target.parent)
    try:
        save_checkpoint(target, contents.state, card)
        # Weights are written for their owner alone; who may read the folder may read them.
        target.chmod(target.parent.stat().st_mode & 0o666)
    except (OutputError, OSError) as error:
        raise cache_error(target, error) from error


def _header(path: Path) -> tuple[Mapping[str, str], Sequence[str]]:
    """Read what a file of safetensors says beside its weights, and their names; nothing if it is none."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return dict(file.metadata() or {}), list(file.keys())
    except (SafetensorError, OSError):
        return {}, []
