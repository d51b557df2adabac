"""The YAML file beside a checkpoint of github.com/ZFTurbo/Music-Source-Separation-Training: sizes, stems, segment.

Its sections are ``audio``, ``model`` (arguments of the network), ``training`` and ``inference``. Its lists may carry
the tag of Python's tuples, which stands for a list here; every other tag of Python is refused: nothing is run.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mss_cli.errors import WeightsError
from mss_cli.weights.families.contents import refuse

SUFFIXES: Final = (".yaml", ".yml")
_MOST_BYTES: Final = 65_536
_MOST_NODES: Final = 65_536  # what aliases repeat counts each time
_LARGEST: Final = 10_000_000  # of any number that a network is made with
_MOST_PARTS: Final = 1_000
_TUPLE: Final = "tag:yaml.org,2002:python/tuple"
_HINT: Final = "put the YAML file it was published with beside it, under the same name with `.yaml`"


@dataclass(frozen=True, slots=True)
class Section:
    """One section of such a file; missing keys have defaults, others must be of the right kind.

    Parameters
    ----------
    path : Path
        Of the file, for messages.
    name : str
    values : mapping of str to object
    """

    path: Path
    name: str
    values: Mapping[str, object] = field(default_factory=dict)

    def integer(self, key: str, default: int) -> int:
        """Give a whole number."""
        value = self.values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self._refusal(key, "no whole number")
        if abs(value) > _LARGEST:
            raise self._refusal(key, "too large")
        return value

    def count(self, key: str, default: int) -> int:
        """Give how many parts of a kind a network has."""
        value = self.integer(key, default)
        if value > _MOST_PARTS:
            raise self._refusal(key, "too large")
        return value

    def number(self, key: str, default: float) -> float:
        """Give a number."""
        value = self.values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._refusal(key, "no number")
        if not abs(value) <= _LARGEST:
            raise self._refusal(key, "too large")
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        """Give true or false."""
        value = self.values.get(key, default)
        if not isinstance(value, bool):
            raise self._refusal(key, "neither true nor false")
        return value

    def integers(self, key: str, default: Sequence[int]) -> list[int]:
        """Give a list of whole numbers."""
        value = self.values.get(key, default)
        if isinstance(value, str) or not isinstance(value, Sequence) or not all(type(one) is int for one in value):
            raise self._refusal(key, "no list of whole numbers")
        if not all(abs(one) <= _LARGEST for one in value):
            raise self._refusal(key, "too large")
        return list(value)

    def numbers(self, key: str, default: Sequence[float]) -> list[float]:
        """Give a list of numbers."""
        value = self.values.get(key, default)
        kinds = (int, float)
        if isinstance(value, str) or not isinstance(value, Sequence) or not all(type(one) in kinds for one in value):
            raise self._refusal(key, "no list of numbers")
        if not all(abs(one) <= _LARGEST for one in value):
            raise self._refusal(key, "too large")
        return [float(one) for one in value]

    def names(self, key: str) -> list[str]:
        """Give a list of names; empty if there is none."""
        value = self.values.get(key) or []
        if isinstance(value, str) or not isinstance(value, Sequence) or not all(isinstance(one, str) for one in value):
            raise self._refusal(key, "no list of names")
        return list(value)

    def _refusal(self, key: str, what: str) -> WeightsError:
        return refuse(self.path, f"its `{self.name}.{key}` is {what}")


@dataclass(frozen=True, slots=True)
class TrainingYaml:
    """What such a file says.

    Parameters
    ----------
    path : Path
    audio, model, training, inference : Section
    """

    path: Path
    audio: Section
    model: Section
    training: Section
    inference: Section

    def stems(self, masks: int) -> tuple[str, ...]:
        """Give the names of the estimates: the target of a network for one, all instruments of one for several.

        Names are in small letters, with `_` for spaces. What is called `other` alone is called `target`: `other` is
        what all else leaves of a mixture here.

        Parameters
        ----------
        masks : int
            How many estimates the network makes.

        Raises
        ------
        WeightsError
            If the file does not name as many.
        """
        target = self.training.values.get("target_instrument")
        names = [target] if masks == 1 and isinstance(target, str) else self.training.names("instruments")
        stems = tuple(name.strip().lower().replace(" ", "_") for name in names)
        if len(stems) != masks or len(set(stems)) != masks or not all(stems):
            raise refuse(self.path, f"names {', '.join(names) or 'no stems'} for {masks} estimates")
        return ("target",) if stems == ("other",) else stems

    def segment_samples(self, hop_length: int, default: int) -> int:
        """Give the length of a segment: as said for inference, else as in training, else of its frames."""
        said = self.inference.integer("chunk_size", 0) or self.audio.integer("chunk_size", 0)
        frames = self.inference.integer("dim_t", 0)
        return said or max(0, frames - 1) * hop_length or default


def beside(path: Path) -> Path:
    """Find the file of a checkpoint: of the same name, else the only one in its folder.

    Raises
    ------
    WeightsError
        If there is none, or there are several of other names.
    """
    named = [path.with_suffix(suffix) for suffix in SUFFIXES] + [
        path.with_name(path.name + suffix) for suffix in SUFFIXES
    ]
    for candidate in named:
        if candidate.is_file():
            return candidate
    others = sorted(other for other in path.parent.iterdir() if other.suffix in SUFFIXES)
    if len(others) != 1:
        raise refuse(path, f"{'several YAML files' if others else 'no YAML file'} beside it", hint=_HINT)
    return others[0]


def read_training_yaml(path: Path) -> TrainingYaml:
    """Read such a file; no tag in it can name code.

    Raises
    ------
    WeightsError
        If it is something else.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        """Knows one tag more."""

    def sequence(loader: Loader, node: yaml.SequenceNode) -> list[object]:
        return list(loader.construct_sequence(node))

    Loader.add_constructor(_TUPLE, sequence)
    try:
        with path.open("rb") as file:
            content = yaml.load(file.read(_MOST_BYTES).decode(), Loader)
        _check_size(content)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise refuse(path, f"cannot be read as YAML ({str(error).splitlines()[0]})") from error
    if not isinstance(content, Mapping) or not isinstance(content.get("model"), Mapping):
        raise refuse(path, "has no section `model`", hint=_HINT)
    return TrainingYaml(path, *_sections(path, content))


def _check_size(content: object) -> None:
    """Refuse aliases of aliases that unfold into more than there could be.

    Raises
    ------
    ValueError
        If there is more.
    """
    waiting, seen = [content], 0
    while waiting:
        part = waiting.pop()
        seen += 1
        if seen > _MOST_NODES:
            raise ValueError("it unfolds into too much")
        if isinstance(part, Mapping):
            waiting.extend(part.values())
        elif isinstance(part, list | tuple):
            waiting.extend(part)


def _sections(path: Path, content: Mapping[object, object]) -> Iterator[Section]:
    for name in ("audio", "model", "training", "inference"):
        values = content.get(name)
        known = values if isinstance(values, Mapping) else {}
        yield Section(path, name, {str(key): value for key, value in known.items()})
