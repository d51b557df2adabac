"""Mistakes in recipes, and the error that carries all of them."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mss_cli.errors import UsageError

Key = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value was written.

    Attributes
    ----------
    origin : str
        The file as the user named it, or the flag `--set ...`.
    line, column : int or None
        From 1; None in a flag.
    """

    origin: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        return self.origin if self.line is None else f"{self.origin}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Mistake:
    """What is wrong where.

    Attributes
    ----------
    place : Place
    key : tuple of str and int
        The path of keys and list indices from the top; empty for the whole file.
    text : str
        What is wrong, what is allowed, what was perhaps meant.
    """

    place: Place
    key: Key
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {f'{dotted(self.key)}: ' if self.key else ''}{self.text}"


class RecipeError(UsageError):
    """A recipe with mistakes: all of them, one to a line.

    Parameters
    ----------
    mistakes : iterable of Mistake
        At least one.
    origins : sequence of str
        Files and flags in the order in which their mistakes are shown; any others come first.
    """

    def __init__(self, mistakes: Iterable[Mistake], origins: Sequence[str] = ()) -> None:
        unique = list(dict.fromkeys(mistakes))

        def order(mistake: Mistake) -> tuple[int, int, int]:
            place = mistake.place
            rank = origins.index(place.origin) if place.origin in origins else -1
            return rank, place.line or 0, place.column or 0

        self.mistakes = tuple(sorted(unique, key=order))
        super().__init__("; ".join(map(str, self.mistakes)))

    @property
    def lines(self) -> tuple[str, ...]:
        """One mistake each."""
        return tuple(" ".join(str(mistake).split()) for mistake in self.mistakes)


def dotted(key: Key) -> str:
    """Write a key as `--set` takes it: `data.train.0.root`."""
    return ".".join(map(str, key))


def unknown(kind: str, name: str, allowed: Sequence[str]) -> str:
    """Say that a name is not known, which are, and which is nearest."""
    near = difflib.get_close_matches(name, allowed, n=1, cutoff=0.5)
    meant = f"; did you mean `{near[0]}`?" if near else ""
    return f"unknown {kind} `{name}`; allowed: {', '.join(allowed)}{meant}"
