"""The arguments of a published checkpoint's constructor, with the kinds they must have."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from mss_models.configuration import ConfigurationError, unknown

_LARGEST = 10_000_000  # of any number that a network is made with
_LONGEST_SECONDS = 3600
_MOST_PARTS = 64


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a constructor's arguments.

    Parameters
    ----------
    sizes : tuple of str
        Those that are read.
    fixed : mapping of str to object
        Those of which only one value is supported, which is the default; published files have an empty list for None.
    without_effect : tuple of str
        Of training, or of options that are off.
    """

    sizes: tuple[str, ...]
    fixed: Mapping[str, object]
    without_effect: tuple[str, ...]


class PublishedOptions:
    """Gives the arguments of a constructor one by one.

    Parameters
    ----------
    arguments : sequence of object
        Positional arguments; the first one is the list of stems.
    options : mapping of str to object
        Keyword arguments.
    known : Known
        Which there are.

    Raises
    ------
    ConfigurationError
        If an option is unknown, or fixed and has another value; here and by each method, if it is of another kind.
    """

    def __init__(self, arguments: Sequence[object], options: Mapping[str, object], known: Known) -> None:
        if len(arguments) > 1:
            raise ConfigurationError(f"expected one positional argument, the stems; got {len(arguments)}")
        self._values: dict[str, object] = dict(options)
        if arguments:
            self._values["sources"] = arguments[0]
        names = (*known.sizes, *known.fixed, *known.without_effect)
        for name, value in self._values.items():
            if name not in names:
                raise ConfigurationError(unknown("option", str(name), list(names)))
            if name in known.fixed and value != known.fixed[name] and (known.fixed[name] is not None or value != []):
                raise ConfigurationError(f"{name}: only {known.fixed[name]!r} is supported, got {value!r}")

    def number(self, name: str, default: float) -> float:
        """Give a number."""
        value = self._values.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigurationError(f"{name}: expected a number, got {value!r}")
        if not abs(value) <= _LARGEST:
            raise ConfigurationError(f"{name}: too large")
        return float(value)

    def integer(self, name: str, default: int) -> int:
        """Give a whole number."""
        value = self.number(name, default)
        if value != int(value):
            raise ConfigurationError(f"{name}: expected a whole number, got {value!r}")
        return int(value)

    def count(self, name: str, default: int) -> int:
        """Give how many parts of a kind the network has."""
        value = self.integer(name, default)
        if value > _MOST_PARTS:
            raise ConfigurationError(f"{name}: too large")
        return value

    def fraction(self, name: str, default: int) -> Fraction:
        """Give a length in seconds: a number, a fraction, or a fraction as the package writes it into JSON."""
        value = self._values.get(name, default)
        if isinstance(value, Mapping) and value.get("_type") == "fraction":
            top, bottom = value.get("numerator"), value.get("denominator")
            if isinstance(top, int) and isinstance(bottom, int) and bottom:
                return Fraction(top, bottom)
        if isinstance(value, bool) or not isinstance(value, int | float | Fraction):
            raise ConfigurationError(f"{name}: expected a number or a fraction, got {value!r}")
        if not 0 < value <= _LONGEST_SECONDS:
            raise ConfigurationError(f"{name}: no length in seconds")
        return Fraction(str(value))  # what was written: 7.8, not the nearest float

    def flag(self, name: str, default: bool) -> bool:
        """Give true or false."""
        value = self._values.get(name, default)
        if not isinstance(value, bool):
            raise ConfigurationError(f"{name}: expected true or false, got {value!r}")
        return value

    def numbers(self, name: str) -> tuple[float, ...]:
        """Give a list of numbers; none for null, or if it is missing."""
        value = self._values.get(name)
        value = () if value is None else value
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise ConfigurationError(f"{name}: expected a list of numbers, got {value!r}")
        if any(isinstance(one, bool) or not isinstance(one, int | float) for one in value):
            raise ConfigurationError(f"{name}: expected a list of numbers, got {value!r}")
        return tuple(float(one) for one in value)

    def names(self, name: str) -> tuple[str, ...]:
        """Give a list of names, which must be there."""
        value = self._values.get(name)
        if isinstance(value, str) or not isinstance(value, Sequence) or not all(isinstance(one, str) for one in value):
            raise ConfigurationError(f"{name}: expected a list of names, got {value!r}")
        return tuple(value)
