"""Deep Salience: weights of Keras in HDF5, turned into the state dict of `mss_models.networks.deep_salience`.

The layers have the names of the published code; batch norms are numbered in the order of the network. Kernels are
(bin, frame, in, out) in the file and (out, in, bin, frame) in ours.
"""

import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from mss_cli.errors import UsageError
from mss_cli.weights.families.contents import Contents, Part, refuse

if TYPE_CHECKING:
    from torch import Tensor

NAME: Final = "deep-salience"
_RATE: Final = 22_050
_CONVOLUTIONS: Final = ("bendy1", "bendy2", "smoothy1", "smoothy2", "distribute", "squishy")
_NORMS: Final = 6
_NORM_NAMES: Final = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}

Layers = Mapping[str, Mapping[str, NDArray[np.float32]]]


def read(parts: Sequence[Part], stems: tuple[str, ...] = ()) -> Contents:
    """Read the one file.

    Raises
    ------
    UsageError
        If h5py, which reads HDF5, is not installed.
    WeightsError
        If it is not a file of these weights.
    """
    path = parts[0].path
    try:
        h5py = import_module("h5py")
    except ImportError as error:
        hint = "`pip install 'mss-cli[hdf5]'`, then give the command again"
        raise UsageError("reading these weights needs the package h5py", hint=hint) from error
    try:
        with h5py.File(path, "r") as file:
            state = from_layers(_layers(file), path)
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise refuse(path, f"no HDF5 file of Deep Salience ({error})") from error
    return Contents(NAME, {}, state, stems, _RATE)


def _layers(file: "Mapping[str, object]") -> Layers:
    """Collect the arrays of every layer; Keras puts the layer's name before each of them once more."""
    found: dict[str, dict[str, NDArray[np.float32]]] = {}
    root = file.get("model_weights", file)

    def visit(name: str, part: object) -> None:
        if hasattr(part, "shape"):
            arrays = found.setdefault(name.split("/")[0], {})
            arrays[name.split("/")[-1].split(":")[0]] = np.asarray(part, np.float32)

    root.visititems(visit)  # type: ignore[attr-defined]
    return found


def from_layers(layers: Layers, path: Path) -> "dict[str, Tensor]":
    """Rename and turn the arrays.

    Parameters
    ----------
    layers : mapping of layer to name to float array
        As Keras has them.
    path : Path
        For messages.

    Raises
    ------
    WeightsError
        If layers are missing.
    """
    import torch

    norms = sorted((name for name in layers if re.match(r"batch_norm|bn", name)), key=_number)
    missing = [name for name in _CONVOLUTIONS if name not in layers]
    if missing or len(norms) != _NORMS:
        raise refuse(path, f"no weights of Deep Salience ({', '.join(missing) or f'{len(norms)} batch norms'})")
    state = {}
    for name in _CONVOLUTIONS:
        kernel = layers[name]["kernel"]  # (bin, frame, in, out)
        state[f"{name}.weight"] = torch.from_numpy(np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)))
        state[f"{name}.bias"] = torch.from_numpy(layers[name]["bias"].copy())
    for index, name in enumerate(norms):
        for theirs, ours in _NORM_NAMES.items():
            state[f"bn{index}.{ours}"] = torch.from_numpy(layers[name][theirs].copy())
    return state


def _number(name: str) -> int:
    found = re.search(r"(\d+)$", name)
    return int(found[1]) if found else 0
