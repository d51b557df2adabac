"""Examples: what a network is shown, each a function of (seed, step, place) alone."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


class Key(NamedTuple):
    """Names one example: the update it belongs to, and its place, from 0, among the examples of that update."""

    step: int
    place: int


@dataclass(frozen=True, slots=True)
class Skipped:
    """A song that cannot be used, and why; another one took its place."""

    path: Path
    message: str


@dataclass(frozen=True, slots=True)
class Example:
    """One cut of music.

    Attributes
    ----------
    stems : float32 array of shape (stem, channel, sample)
        At the network's rate and channels, in the order of the recipe's `data.stems`; their sum is the mixture.
        Somewhat longer than asked for where augmentation needs a margin.
    salience : float32 array of shape (360, frame), or None
        What a pitch network learns, on the frames of its transform; None where the recipe has no teacher.
    seed : int, in [0, 2**63)
        Of the example's augmentation.
    skipped : tuple of Skipped
        Songs that were drawn for it and found broken; a broken song is told of whenever it is drawn.
    """

    stems: NDArray[np.float32]
    salience: NDArray[np.float32] | None
    seed: int
    skipped: tuple[Skipped, ...] = ()


class Examples(Protocol):
    """Makes examples; equal keys give equal examples, bit for bit, in any process and order."""

    def __getitem__(self, key: Key) -> Example:
        """Make the example of a key."""
