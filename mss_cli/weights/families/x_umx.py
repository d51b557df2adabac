"""X-UMX, CrossNet-Open-Unmix: the networks of all stems in one file, with their settings.

Layout: github.com/asteroid-team/asteroid, `asteroid/models/x_umx.py` and `base_models.py`: a mapping of `model_name`,
`model_args` and `state_dict`. Means and scales of the bins lie in the state dict; those in the settings are none.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mss_cli.weights.families.contents import Contents, refuse
from mss_cli.weights.safe_loading import plain, tensors

if TYPE_CHECKING:
    from torch import Tensor

_ARCHITECTURE: Final = "open-unmix"
# The class was renamed when newer versions of torch broke its training.
_CLASSES: Final = ("XUMX", "BrokenXUMX")
_WITHOUT_EFFECT: Final = ("input_mean", "input_scale", "return_time_signals")
_NUMBERS: Final = {
    "window_length": 4096,
    "in_chan": 4096,
    "n_hop": 1024,
    "hidden_size": 512,
    "nb_channels": 2,
    "sample_rate": 44_100,
    "nb_layers": 3,
    "spec_power": 1,
}


def fits(content: object) -> bool:
    """Tell whether something that was read is an X-UMX with its settings."""
    return isinstance(content, Mapping) and content.get("model_name") in _CLASSES and "state_dict" in content


def read(content: Mapping[object, object], path: Path, stems: tuple[str, ...] = ()) -> Contents:
    """Sort the weights by stem.

    Parameters
    ----------
    content : mapping
        What `fits` said yes to.
    path : Path
        For messages.
    stems : tuple of str
        The order wanted; that of the file if empty.

    Raises
    ------
    WeightsError
        If a setting is not known, or weights are missing.
    """
    from mss_models.networks.open_unmix.network import crossnet_states

    said = _settings(content.get("model_args"), path)
    found = said.get("sources")
    if not isinstance(found, list) or not found or not all(isinstance(name, str) for name in found):
        raise refuse(path, f"its stems are no names: {found!r}")
    order = stems or tuple(found)
    if set(order) != set(found):
        raise refuse(path, f"stems {', '.join(found)} instead of {', '.join(order)}")
    states = crossnet_states(tensors(content["state_dict"], path), order)
    if any(not {"input_mean", "output_scale"} <= set(states[stem]) for stem in order):
        raise refuse(path, "it lacks the weights of a stem")
    sizes = {name: _whole(said, name, path) for name in _NUMBERS}
    if sizes["spec_power"] != 1 or sizes["window_length"] != sizes["in_chan"]:
        raise refuse(path, "only magnitudes under a window of the transform's length are known")
    configuration = {
        "stems": list(order),
        "sample_rate": sizes["sample_rate"],
        "channels": sizes["nb_channels"],
        "n_fft": sizes["in_chan"],
        "hop_length": sizes["n_hop"],
        "heard_bins": states[order[0]]["input_mean"].shape[0],
        "hidden_size": sizes["hidden_size"],
        "layers": sizes["nb_layers"],
        "bidirectional": said.get("bidirectional", True) is True,
        "crossing": "average",
    }
    state: dict[str, Tensor] = {
        f"networks.{stem}.{key}": tensor for stem in order for key, tensor in states[stem].items()
    }
    return Contents(_ARCHITECTURE, configuration, state, order, sizes["sample_rate"])


def _settings(said: object, path: Path) -> dict[str, object]:
    """Take the settings that have an effect."""
    if not isinstance(said, Mapping):
        raise refuse(path, "it does not say how large its networks are")
    given = {str(key): value for key, value in said.items() if key not in _WITHOUT_EFFECT}
    if unknown := sorted(set(given) - {*_NUMBERS, "sources", "max_bin", "bidirectional"}):
        raise refuse(path, f"its setting `{unknown[0]}` is not known")
    try:
        return {key: plain(value) for key, value in given.items()}
    except ValueError as error:
        raise refuse(path, str(error)) from error


def _whole(said: Mapping[str, object], name: str, path: Path) -> int:
    """Give a size; the default of the package where the file is silent."""
    value = said.get(name, _NUMBERS[name])
    if not isinstance(value, int | float) or value != int(value):
        raise refuse(path, f"its setting `{name}` is no whole number")
    return int(value)
