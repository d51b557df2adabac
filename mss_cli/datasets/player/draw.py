"""Drawing at random from sequences, with one generator passed in."""

from collections.abc import Sequence
from typing import TypeVar

from numpy.random import Generator

T = TypeVar("T")


def pick(random: Generator, items: Sequence[T]) -> T:
    """Draw one of `items` with equal chances; they must not be empty."""
    return items[int(random.integers(len(items)))]


def weighted(random: Generator, items: Sequence[tuple[T, float]]) -> T:
    """Draw one of `(item, weight)`; the weights are non-negative, not all 0, and need not sum to 1."""
    at = random.random() * sum(weight for _, weight in items)
    for item, weight in items:
        at -= weight
        if at < 0:
            return item
    return items[-1][0]


def chance(random: Generator, probability: float) -> bool:
    """Tell true with the given probability."""
    return bool(random.random() < probability)


def uniform(random: Generator, low: float, high: float) -> float:
    """Draw a number between `low` and `high`."""
    return float(random.uniform(low, high))
