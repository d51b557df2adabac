"""Checkpoints: safetensors with one JSON string that says what the weights are. Loading runs no code."""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mss_cli.errors import WeightsError
from mss_cli.events import Listener, ignore
from mss_cli.files import output_error, temporary_name
from mss_cli.weights.installing import Terms, checkpoint_of
from mss_cli.weights.manifest import Entry, find

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from mss_models.separator import Separator

# The one metadata key of the safetensors header, and the version of what it holds.
METADATA_KEY = "mss_cli"
FORMAT_VERSION = 1
# A card allows bf16 by `--precision auto` when the measured error is at most this, and the loss of SDR too.
MAX_BF16_ERROR_DB = -40.0
MAX_BF16_SDR_LOSS_DB = 0.02
# How much of a file is read through one mapping.
_MAPPED_BYTES = 64 << 20
# Letters; it becomes the name of a file.
LONGEST_STEM = 100
# What a network can make of settings that were never meant.
_MISFITS = (ValueError, TypeError, LookupError, ArithmeticError, RuntimeError, MemoryError)

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


@dataclass(frozen=True, slots=True)
class Card:
    """What is known of the weights of a separator.

    Parameters
    ----------
    name : str
        For file names and messages.
    architecture : str
        Name in `mss_models.catalog`.
    configuration : dict
        Settings of the architecture, as JSON.
    stems : tuple of str
        In the order of the stem axis.
    sample_rate : int, Hz
        Rate of the separator.
    training : str
        Data, minutes, steps, in words; "none" means that the weights are random.
    licence : str
        Of the weights.
    bf16_error_db : float or None
        Measured level of the difference between bf16 and fp32 estimates, relative to the stem.
    bf16_sdr_loss_db : float or None
        Measured loss of SDR by bf16.
    steps : int or None
        Updates of the weights.
    minutes : float or None
        Of training.
    data : tuple of str
        Sources of the training data with their licences.
    scores : mapping of str to float
        By name, dB where they are SDR: of a training its validation; of weights in the package more.
    seed : int or None
        Of the training.
    data_hash : str or None
        SHA-256 of the listing of the training data.
    """

    name: str
    architecture: str
    configuration: "Mapping[str, object]"
    stems: tuple[str, ...]
    sample_rate: int
    training: str
    licence: str
    bf16_error_db: float | None = None
    bf16_sdr_loss_db: float | None = None
    steps: int | None = None
    minutes: float | None = None
    data: tuple[str, ...] = ()
    scores: "Mapping[str, float]" = field(default_factory=dict)
    seed: int | None = None
    data_hash: str | None = None
    format_version: int = field(default=FORMAT_VERSION)

    @property
    def is_random(self) -> bool:
        """Whether nobody trained these weights: good for tests and benchmarks only."""
        return self.training == "none"

    @property
    def allows_bf16(self) -> bool:
        """Whether `--precision auto` may take bf16."""
        if self.bf16_error_db is None or self.bf16_sdr_loss_db is None:
            return False
        return self.bf16_error_db <= MAX_BF16_ERROR_DB and self.bf16_sdr_loss_db <= MAX_BF16_SDR_LOSS_DB


def load(
    name: str, *, terms: Terms | None = None, family: str | None = None, listener: Listener = ignore
) -> "tuple[Separator, Card]":
    """Load what `--model` names.

    Parameters
    ----------
    name : str
        A model of the package, a published one, or the path of a checkpoint, ours or of others.
    terms, family, listener
        As in `mss_cli.weights.installing.checkpoint_of`.

    Returns
    -------
    tuple of Separator and Card
        The separator is on the CPU and not yet prepared.

    Raises
    ------
    UsageError, WeightsError
        If there is no such model; if the file is damaged or does not fit.
    DownloadError, OutputError
        As `checkpoint_of`.
    """
    path = checkpoint_of(name, terms=terms, family=family, listener=listener)
    if path is not None:
        return load_checkpoint(path)
    found = find(name)
    if not isinstance(found, Entry):
        raise TypeError(f"{name} has no weights")
    return _built_in(found)


def _built_in(entry: Entry) -> "tuple[Separator, Card]":
    from mss_models.catalog import build

    card = Card(
        name=entry.name,
        architecture=entry.architecture,
        configuration={},
        stems=entry.stems,
        sample_rate=entry.sample_rate,
        training="no weights",
        licence=entry.licence,
    )
    return build(entry.architecture, {}), card


def read_card(path: Path) -> Card:
    """Read the card of a checkpoint without its weights.

    Raises
    ------
    WeightsError
        If the file is not a safetensors file of ours.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise _not_readable(path, str(error)) from error
    if METADATA_KEY not in metadata:
        raise _not_readable(path, f"its header has no `{METADATA_KEY}` entry")
    try:
        return _card(json.loads(metadata[METADATA_KEY]))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise _not_readable(path, f"its `{METADATA_KEY}` entry is damaged ({error})") from error


def load_checkpoint(path: Path) -> "tuple[Separator, Card]":
    """Load a checkpoint of ours.

    Parameters
    ----------
    path : Path
        A safetensors file; nothing in it is ever executed.

    Raises
    ------
    WeightsError
        If it is damaged, of a newer format, or does not fit its architecture.
    """
    from safetensors import SafetensorError
    from torch import nn

    from mss_models.catalog import build
    from mss_models.errors import StateMismatch
    from mss_models.networks.states import UndrawnWeights

    before = _version_of(path)
    card = read_card(path)
    try:
        with UndrawnWeights():
            separator = build(card.architecture, card.configuration)
        if not isinstance(separator, nn.Module):
            raise WeightsError(f"architecture `{card.architecture}` has no weights to load", path=str(path))
        _read_into(separator.state_dict(), path)
    except (SafetensorError, OSError, StateMismatch, *_MISFITS) as error:
        raise _not_readable(path, (str(error).splitlines() or [type(error).__name__])[0][:200]) from error
    if _version_of(path) != before:
        raise WeightsError("the weights were replaced while they were read", path=str(path), hint="start again")
    if (separator.stems, separator.sample_rate) != (card.stems, card.sample_rate):
        raise _not_readable(path, "its card names other stems or another rate than its network has")
    return separator, card


def save_checkpoint(path: Path, state: "Mapping[str, Tensor]", card: Card) -> None:
    """Write a checkpoint, whole or not at all.

    Parameters
    ----------
    path : Path
        Final name; an older file there is replaced.
    state : mapping of str to Tensor
        State dict of the network.
    card : Card
        Goes into the header as one JSON string.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    from safetensors.torch import save_file

    temporary = temporary_name(path)
    metadata = {METADATA_KEY: json.dumps(asdict(card), sort_keys=True, allow_nan=False)}
    try:
        save_file({key: tensor.contiguous() for key, tensor in state.items()}, temporary, metadata=metadata)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise output_error(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def _card(raw: dict[str, object]) -> Card:
    version = raw["format_version"]
    if version != FORMAT_VERSION:
        raise ValueError(f"format version {version}, this program reads {FORMAT_VERSION}")
    known = {name: raw[name] for name in Card.__dataclass_fields__ if name in raw}
    texts = ("name", "architecture", "training", "licence")
    if not all(isinstance(known[name], str) for name in texts) or not isinstance(known["configuration"], dict):
        raise TypeError("a field has the wrong type")
    for name in ("bf16_error_db", "bf16_sdr_loss_db", "steps", "minutes", "seed"):
        if not isinstance(known.get(name), int | float | None):
            raise TypeError(f"{name} must be a number")
    if not isinstance(known.get("scores", {}), dict):
        raise TypeError("scores must be a mapping")
    if not isinstance(known.get("data_hash"), str | None):
        raise TypeError("data_hash must be a text")
    known["stems"] = stems = tuple(str(stem) for stem in _list(known["stems"]))
    if any(len(stem) > LONGEST_STEM for stem in stems):
        raise ValueError(f"a stem has a name of more than {LONGEST_STEM} letters")
    known["data"] = tuple(str(source) for source in _list(known.get("data", [])))
    return Card(**known)  # type: ignore[arg-type]


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError("stems and data must be lists")
    return value


def _read_into(weights: "Mapping[str, Tensor]", path: Path) -> None:
    """Read the tensors of a file into those of a network, of whatever precision they are stored in.

    What was read of a mapped file counts as memory of the process, so the file is mapped anew for every 64 MiB.
    """
    from safetensors import safe_open

    from mss_models.networks.states import check_state

    with safe_open(path, framework="pt") as file:
        check_state(weights, {key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118 - not a mapping
    waiting = list(weights)
    while waiting:
        read = 0
        with safe_open(path, framework="pt") as file:
            while waiting and read < _MAPPED_BYTES:
                key = waiting.pop()
                tensor = file.get_tensor(key)
                weight = weights[key]
                if tensor.is_complex() or tensor.is_floating_point() != weight.is_floating_point():
                    raise _not_readable(path, f"`{key}` holds {tensor.dtype} for {weight.dtype}")
                weight.copy_(tensor)
                # What is finite in the file may not be so in the precision of the network.
                if weight.is_floating_point() and not _finite(weight):
                    raise _not_readable(path, f"`{key}` holds NaN or infinite weights")
                read += tensor.nbytes


def _finite(tensor: "Tensor") -> bool:
    # The sum is the cheap test; it can overflow, so a second look decides.
    return bool(tensor.sum().isfinite()) or bool(tensor.isfinite().all())


def _version_of(path: Path) -> tuple[int, ...]:
    """Tell files and their changes apart: a training may replace one at any time."""
    try:
        found = path.stat()
    except OSError as error:
        raise _not_readable(path, error.strerror or str(error)) from error
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _not_readable(path: Path, reason: str) -> WeightsError:
    hint = "give a checkpoint made by `mss-cli`, or a name that `mss-cli models` lists"
    return WeightsError(f"cannot load weights: {reason}", path=str(path), hint=hint)
