"""Configurations: what stands in a checkpoint or a recipe, and how it is read.

A configuration is the name of an architecture and a mapping that JSON can hold. Reading one is strict: an unknown or
missing key, a value of another kind or out of its range is a `ConfigurationError` that names the key.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

Architecture = Literal[
    "classical",
    "unet",
    "unet-per-stem",
    "vocal-pitch-unet",
    "subband-unet",
    "hybrid-demucs",
    "time-demucs",
    "open-unmix",
    "tdc-unet",
    "roformer",
    "tfc-tdf-v3",
    "scnet",
    "bag",
]
Values = Mapping[str, object]
_Choice = TypeVar("_Choice", bound=str)


class ConfigurationError(ValueError):
    """Tell which key or value of a configuration is not allowed."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """An architecture with its settings.

    Parameters
    ----------
    architecture : str
        A name that `build` knows.
    settings : mapping of str to object
        Strings, numbers, booleans, lists and mappings only.
    """

    architecture: Architecture
    settings: Values


_REQUIRED = object()


class Reader:
    """Takes values of the right kind out of a mapping that has no other keys than the allowed ones."""

    def __init__(self, values: Values, *, allowed: tuple[str, ...]) -> None:
        for key in values:
            if key not in allowed:
                raise ConfigurationError(unknown("key", str(key), list(allowed)))
        self._values = values

    def get(self, key: str, default: object = _REQUIRED) -> object:
        """Give a value, or the default; `ConfigurationError` if there is neither."""
        if key in self._values:
            return self._values[key]
        if default is _REQUIRED:
            raise ConfigurationError(f"{key}: missing")
        return default

    def integer(self, key: str, default: object = _REQUIRED) -> int:
        """Give a whole number."""
        value = self.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise ConfigurationError(f"{key}: expected an integer, got {value!r}")
        return value

    def number(self, key: str, default: object = _REQUIRED) -> float:
        """Give a number."""
        value = self.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigurationError(f"{key}: expected a number, got {value!r}")
        return float(value)

    def integers(self, key: str, default: object = _REQUIRED) -> tuple[int, ...]:
        """Give a list of whole numbers."""
        value = self.get(key, default)
        if isinstance(value, str) or not isinstance(value, Sequence) or not all(type(one) is int for one in value):
            raise ConfigurationError(f"{key}: expected a list of integers, got {value!r}")
        return tuple(value)

    def numbers(self, key: str, default: object = _REQUIRED) -> tuple[float, ...]:
        """Give a list of numbers."""
        value = self.get(key, default)
        kinds = (int, float)
        if isinstance(value, str) or not isinstance(value, Sequence) or not all(type(one) in kinds for one in value):
            raise ConfigurationError(f"{key}: expected a list of numbers, got {value!r}")
        return tuple(float(one) for one in value)

    def flag(self, key: str, default: object = _REQUIRED) -> bool:
        """Give true or false."""
        value = self.get(key, default)
        if not isinstance(value, bool):
            raise ConfigurationError(f"{key}: expected true or false, got {value!r}")
        return value

    def names(self, key: str) -> tuple[str, ...]:
        """Give a list of names."""
        value = self.get(key)
        if isinstance(value, str) or not isinstance(value, Sequence) or not all(isinstance(one, str) for one in value):
            raise ConfigurationError(f"{key}: expected a list of names, got {value!r}")
        return tuple(value)

    def choice(self, key: str, choices: tuple[_Choice, ...], default: object = _REQUIRED) -> _Choice:
        """Give one of the choices."""
        value = self.get(key, default)
        for choice in choices:
            if value == choice:
                return choice
        raise ConfigurationError(f"{key}: expected one of {', '.join(choices)}, got {value!r}")


def unknown(kind: str, name: str, allowed: list[str]) -> str:
    """Say that a name is unknown, what is meant perhaps, and what is allowed."""
    near = difflib.get_close_matches(name, allowed, n=1, cutoff=0.5)
    meant = f", did you mean `{near[0]}`?" if near else ""
    return f"unknown {kind} `{name}`{meant} (allowed: {', '.join(allowed)})"
