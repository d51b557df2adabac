"""Checkpoints of others, read without running anything that they bring along.

PyTorch's own restricted reader builds tensors and plain containers only. The few classes that published checkpoints
name are replaced by stand-ins that keep what they are given and do nothing; every other class is refused.
"""

import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mss_cli.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor

# Names in published checkpoints: networks of Demucs, a fraction (its segment), versions and numbers of NumPy in notes.
_NETWORKS: Final = ("demucs.htdemucs.HTDemucs", "demucs.hdemucs.HDemucs", "demucs.demucs.Demucs")
_VALUES: Final = (
    "fractions.Fraction",
    "torch.torch_version.TorchVersion",
    "numpy.dtype",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.dtypes.Float32DType",
    "numpy.dtypes.Float64DType",
    "numpy.dtypes.Int64DType",
)
HINT: Final = "take a model that `mss-cli download-weights --list` names, or a file of safetensors"

Content = object


class StandIn:
    """Stands where a class stood; keeps what it was to be made of.

    Attributes
    ----------
    name : str
        Of the class it stands for.
    arguments : tuple of object
        What an object was to be made of.
    """

    name = ""

    def __new__(cls, *arguments: object, **_: object) -> "StandIn":
        """Keep the arguments; pickles make objects by this alone."""
        made = super().__new__(cls)
        made.arguments = arguments
        return made

    def __init__(self, *_: object, **__: object) -> None:
        self.arguments: tuple[object, ...]

    def __setstate__(self, state: object) -> None:
        """Drop the state."""


def load_safely(path: Path) -> Content:
    """Read a checkpoint of torch: tensors on the CPU, plain containers, stand-ins.

    Parameters
    ----------
    path : Path
        Zip or older format.

    Returns
    -------
    object
        What was saved; classes are subclasses of `StandIn`.

    Raises
    ------
    WeightsError
        If it holds anything else, which might be code, or is damaged.
    """
    import torch

    stand_ins: list[Callable[..., object] | tuple[Callable[..., object], str]] = [
        (type("StandIn", (StandIn,), {"name": name}), name) for name in (*_NETWORKS, *_VALUES)
    ]
    _check_format(path)
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(stand_ins):
            warnings.simplefilter("ignore")  # of old formats
            return torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # damaged bytes make the reader raise anything
        raise _refusal(path, error) from error


def _check_format(path: Path) -> None:
    try:
        with path.open("rb") as file:
            start = file.read(2)
    except OSError as error:
        raise WeightsError(f"cannot read: {(error.strerror or str(error)).lower()}", path=str(path)) from error
    if start != b"PK" and start[:1] != b"\x80":
        raise WeightsError("cannot load weights: no checkpoint of torch", path=str(path), hint=HINT)


def _refusal(path: Path, error: Exception) -> WeightsError:
    text = str(error)
    found = re.search(r"(?:GLOBAL|Trying to call reduce for unrecognized function) `?(?:<\w+ )?([\w.]+)", text)
    if found is not None:
        reason = f"it names `{found[1]}`, which is code and could do anything"
        return WeightsError(f"refused: {reason}", path=str(path), hint=HINT)
    line = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), type(error).__name__)
    if "weights_only" in text or "Weights only" in text or "persistent" in text:
        return WeightsError("refused: it holds more than weights, which could be code", path=str(path), hint=HINT)
    return WeightsError(f"cannot load weights: damaged or no checkpoint ({line[:120]})", path=str(path), hint=HINT)


def tensors(content: Content, path: Path) -> "dict[str, Tensor]":
    """Take a state dict.

    Raises
    ------
    WeightsError
        If it is none.
    """
    import torch

    if not isinstance(content, Mapping):
        raise WeightsError("cannot load weights: no state dict", path=str(path), hint=HINT)
    found = {}
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, torch.Tensor):
            raise WeightsError(f"cannot load weights: `{key}` is no tensor", path=str(path), hint=HINT)
        found[key] = value.detach()
    return found


def plain(value: object) -> object:
    """Turn settings into what JSON knows; a fraction into an object of its two parts, as Demucs writes it into JSON.

    Raises
    ------
    ValueError
        If there is anything else.
    """
    if isinstance(value, StandIn):
        return _fraction(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    raise ValueError(f"a {type(value).__name__} is no setting")


def _fraction(value: StandIn) -> object:
    if value.name != "fractions.Fraction":
        raise ValueError(f"a {value.name} is no setting")
    parts: Iterator[object] = iter(value.arguments)
    first, second = next(parts, None), next(parts, 1)
    if isinstance(first, str) and (found := re.fullmatch(r"(\d{1,9})(?:/(\d{1,9}))?", first)):
        first, second = int(found[1]), int(found[2] or 1)
    if not isinstance(first, int) or not isinstance(second, int) or second <= 0:
        raise ValueError("a fraction of something else than whole numbers")
    return {"_type": "fraction", "numerator": first, "denominator": second}
