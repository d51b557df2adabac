"""What the families with a YAML file beside the checkpoint have in common: finding both, and taking the weights."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from mss_cli.weights.families.contents import Contents, Part, refuse
from mss_cli.weights.families.training_yaml import SUFFIXES, Section, TrainingYaml, beside, read_training_yaml
from mss_cli.weights.safe_loading import load_safely, tensors

if TYPE_CHECKING:
    from torch import Tensor

_SAFETENSORS: Final = ".safetensors"
# Where a state dict lies in what others save around it, the best one first; and what several GPUs put before its keys.
_INNER: Final = ("best_state", "state_dict", "model_state_dict", "state")
_WRAPPED: Final = "module."


class Described(Protocol):
    """Settings of a network that tell what it estimates."""

    @property
    def stems(self) -> tuple[str, ...]:
        """Names of the estimates, in the network's order."""

    @property
    def sample_rate(self) -> int:
        """Of mixture and estimates, in Hz."""


def checkpoint_and_yaml(parts: Sequence[Part]) -> tuple[Path, TrainingYaml]:
    """Give the checkpoint, and what its YAML file says.

    Parameters
    ----------
    parts : sequence of Part
        Both, or the checkpoint alone, with the YAML file beside it.

    Raises
    ------
    WeightsError
        If there is no YAML file, or it is something else.
    """
    path = next((part.path for part in parts if part.path.suffix not in SUFFIXES), parts[0].path)
    said = next((part.path for part in parts if part.path.suffix in SUFFIXES), None)
    return path, read_training_yaml(said or beside(path))


def unwrapped(content: object) -> object:
    """Give the state dict in what was saved around it, or what was given."""
    if isinstance(content, Mapping):
        for name in _INNER:
            if isinstance(content.get(name), Mapping):
                return content[name]
    return content


def bare_keys(content: object) -> list[str]:
    """Give the names of the weights in what was read; none if it is no state dict."""
    inner = unwrapped(content)
    if not isinstance(inner, Mapping):
        return []
    return [key.removeprefix(_WRAPPED) for key in inner if isinstance(key, str)]


def read_state(path: Path) -> "dict[str, Tensor]":
    """Read the weights under the names of their network; nothing in the file is run.

    Raises
    ------
    WeightsError
        If it holds anything else, or is damaged.
    """
    content = _from_safetensors(path) if path.suffix == _SAFETENSORS else unwrapped(load_safely(path))
    return {key.removeprefix(_WRAPPED): tensor for key, tensor in tensors(content, path).items()}


def has_all(keys: Iterable[str], marks: Collection[str]) -> bool:
    """Tell whether all marks of a family are among the keys of a state dict."""
    return set(marks) <= set(keys)


def contents_of(
    family: str,
    file: TrainingYaml,
    settings: Described,
    values: Mapping[str, object],
    state: "Mapping[str, Tensor]",
    expected: tuple[str, ...],
) -> Contents:
    """Join what was read.

    Parameters
    ----------
    family : str
        Also the name of its architecture.
    file : TrainingYaml
    settings : with stems and sample rate
    values : mapping of str to object
        The settings as JSON.
    state : mapping of str to Tensor
        Keys of the network.
    expected : tuple of str
        Stems, in any order, for the file tells in which they come; any if empty.

    Raises
    ------
    WeightsError
        If the file names other stems.
    """
    if expected and set(settings.stems) != set(expected):
        raise refuse(file.path, f"stems {', '.join(settings.stems)} instead of {', '.join(expected)}")
    inside = {f"network.{key}": tensor for key, tensor in state.items()}
    return Contents(family, dict(values), inside, settings.stems, settings.sample_rate)


def check_keys(section: Section, meant: Collection[str]) -> None:
    """Refuse a section with a key that is not among those meant.

    Raises
    ------
    WeightsError
        If there is one: it may mean another network.
    """
    for key in section.values:
        if key not in meant:
            raise refuse(section.path, f"its `{section.name}.{key}` is not known here: it may mean another network")


def _from_safetensors(path: Path) -> object:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise refuse(path, f"no file of safetensors ({error})") from error
