"""What all parts of a song agree on: time, key, chords, style, and who plays in which bars."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from mss_cli.datasets.player.draw import chance, pick, weighted
from mss_cli.datasets.player.harmony import Chord, Key
from mss_cli.datasets.player.pack import STEMS
from mss_cli.datasets.player.rhythm import DrumStyle, Grid

Bars = NDArray[np.bool_]

# Chance of vocals, drums, bass and other to play in a section, and how usual such a section is.
_SECTIONS = (
    ((1.0, 1.0, 1.0, 1.0), 4.0),  # full
    ((1.0, 0.9, 0.8, 0.7), 2.0),  # verse
    ((0.7, 0.0, 0.3, 1.0), 1.0),  # breakdown
    ((0.25, 1.0, 1.0, 1.0), 1.5),  # drop
    ((0.4, 1.0, 0.5, 0.3), 0.8),  # beat
    ((1.0, 0.3, 0.3, 0.5), 0.6),  # voice in front
    ((0.7, 0.7, 0.7, 0.7), 1.0),  # anything
)


@dataclass(frozen=True, slots=True)
class Score:
    """The frame of one song.

    Attributes
    ----------
    grid : Grid
    key : Key
    chords : tuple of (Chord, Chord)
        For each bar, by halves.
    style : DrumStyle
    electronic : float
        How often machines and synthesizers are chosen, 0 to 1.
    playing : mapping of str to bool array of shape (bar,)
        For each stem, the bars in which it plays.
    section_starts : tuple of int
        Bars.
    samples : int
        Length of the song.
    """

    grid: Grid
    key: Key
    chords: tuple[tuple[Chord, Chord], ...]
    style: DrumStyle
    electronic: float
    playing: Mapping[str, Bars]
    section_starts: tuple[int, ...]
    samples: int

    def chord(self, bar: int, step: float) -> Chord:
        """Give the chord that sounds at a step of a bar."""
        return self.chords[min(bar, len(self.chords) - 1)][0 if step < 8 else 1]


def draw_sections(
    random: Generator, bars: int, *, rests: bool, absent: float
) -> tuple[dict[str, Bars], tuple[int, ...]]:
    """Choose section starts, and for each stem the bars it plays in.

    Parameters
    ----------
    random : Generator
    bars : int
        Length of the song.
    rests : bool
        Whether stems rest for whole sections.
    absent : float
        Chance for each stem to be left out of the song; at least drums or other stay.
    """
    playing = {stem: np.ones(bars, dtype=np.bool_) for stem in STEMS}
    length = weighted(random, ((4, 3.0), (8, 2.0), (2, 1.0)))
    starts = tuple(range(0, bars, length))
    if rests:
        for start in starts:
            chances = weighted(random, _SECTIONS)
            plays = [chance(random, probability) for probability in chances]
            if not any(plays[1:]):
                plays[pick(random, (1, 3))] = True
            for stem, on in zip(STEMS, plays, strict=True):
                playing[stem][start : start + length] = on
    missing = [stem for stem in STEMS if chance(random, absent)]
    if len(missing) < len(STEMS) - 1:
        for stem in missing:
            playing[stem][:] = False
    return playing, starts
