"""Families whose checkpoints have a YAML file beside them: finding both, and taking the weights."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

from mss_cli.weights.families.contents import Contents, Part, refuse
from mss_cli.weights.families.training_yaml import SUFFIXES, Section, TrainingYaml, beside, read_training_yaml
from mss_cli.weights.safe_loading import load_safely, tensors

if TYPE_CHECKING:
    from torch import Tensor, nn

    State = dict[str, Tensor]

_SAFETENSORS: Final = ".safetensors"
# Where a state dict lies in what others save around it, the best one first; and what wrappers put before its keys.
_INNER: Final = ("best_state", "state_dict", "model_state_dict", "state")
_WRAPPED: Final = re.compile(r"^(?:module\.|_orig_mod\.|model\.)+")


class Described(Protocol):
    """Settings of a network that tell what it estimates."""

    @property
    def stems(self) -> tuple[str, ...]:
        """Names of the estimates, in the network's order."""

    @property
    def sample_rate(self) -> int:
        """Of mixture and estimates, in Hz."""


S = TypeVar("S", bound=Described)


def _as_they_are(state: "State", expected: "State", settings: object) -> "State":
    return state


@dataclass(frozen=True, slots=True)
class YamlFamily(Generic[S]):
    """A family of networks whose checkpoints are state dicts.

    Parameters
    ----------
    name : str
        Also of its architecture.
    title : str
        As people say it.
    marks : tuple of str
        Weights that together tell its state dicts from others.
    settings : callable
        Reads the sizes from the YAML file, and from what weights there are.
    values : callable
        Gives the settings as JSON.
    network : callable
        Makes the network of settings.
    mended : callable
        Brings the names of the weights, and which there are, to those of the network, whose own it is given.
    """

    name: str
    title: str
    marks: tuple[str, ...]
    settings: "Callable[[TrainingYaml, State], S]"
    values: Callable[[S], Mapping[str, object]]
    network: "Callable[[S], nn.Module]"
    mended: "Callable[[State, State, S], State]" = _as_they_are

    def fits(self, keys: Iterable[str]) -> bool:
        """Tell by its keys whether a state dict is one of these."""
        return set(self.marks) <= set(keys)

    def read(self, parts: Sequence[Part], stems: tuple[str, ...] = ()) -> Contents:
        """Read a checkpoint with its YAML file.

        Parameters
        ----------
        parts : sequence of Part
            Both, or the checkpoint alone, with the YAML file beside it.
        stems : tuple of str
            Those expected, in any order; all if empty. The file tells in which order they come.

        Raises
        ------
        WeightsError
            If a file is of another kind, or they do not go together.
        """
        import torch

        from mss_models.configuration import ConfigurationError
        from mss_models.errors import StateMismatch
        from mss_models.networks.states import check_state

        path, file = checkpoint_and_yaml(parts)
        state = read_state(path)
        if not self.fits(state):
            raise refuse(path, f"no state dict of {self.title}")
        try:
            settings = self.settings(file, state)
            with torch.device("meta"):
                expected = dict(self.network(settings).state_dict())
            state = self.mended(state, expected, settings)
            check_state(expected, state)
        except (ConfigurationError, StateMismatch, ValueError) as error:
            raise refuse(path, f"{error} (sizes: {file.path.name})") from error
        if stems and set(settings.stems) != set(stems):
            raise refuse(file.path, f"stems {', '.join(settings.stems)} instead of {', '.join(stems)}")
        inside = {f"network.{key}": tensor for key, tensor in state.items()}
        return Contents(self.name, dict(self.values(settings)), inside, settings.stems, settings.sample_rate)


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
    return [_WRAPPED.sub("", key) for key in inner if isinstance(key, str)]


def read_state(path: Path) -> "dict[str, Tensor]":
    """Read the weights under the names of their network; nothing in the file is run.

    Raises
    ------
    WeightsError
        If it holds anything else, or is damaged.
    """
    content = _from_safetensors(path) if path.suffix == _SAFETENSORS else unwrapped(load_safely(path))
    return {_WRAPPED.sub("", key): tensor for key, tensor in tensors(content, path).items()}


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
