"""Tempo grid, and patterns of 16 steps a bar in many styles."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from mss_cli.datasets.player.draw import pick

STEPS = 16  # a bar of four beats in sixteenths
# Marks of a pattern and how loud they are.
LEVELS = {"X": 1.0, "x": 0.75, "o": 0.3}


@dataclass(frozen=True, slots=True)
class Grid:
    """Where the steps of a song lie.

    Attributes
    ----------
    tempo : float
        Beats per minute.
    bars : int
        Bars that the song touches.
    swing : float
        How far odd steps are delayed, as a share of a step; 0 is straight, 1/3 is triplets.
    seconds : float
        Length of the song.
    """

    tempo: float
    bars: int
    swing: float
    seconds: float

    @property
    def step(self) -> float:
        """Seconds of a sixteenth."""
        return 15 / self.tempo

    @property
    def bar(self) -> float:
        """Seconds of a bar."""
        return STEPS * self.step

    def at(self, bar: float, step: float = 0) -> float:
        """Give the time of a step in seconds."""
        late = self.swing * self.step if step % 2 == 1 else 0.0
        return bar * self.bar + step * self.step + late

    def beats(self) -> NDArray[np.float32]:
        """Give the times of all beats below the length of the song, in seconds."""
        return np.arange(0, self.seconds, 60 / self.tempo, dtype=np.float64).astype(np.float32)


@dataclass(frozen=True, slots=True)
class DrumStyle:
    """Patterns that go together.

    Attributes
    ----------
    name : str
    tempo : tuple of float
        Usual range in beats per minute.
    electronic : float
        How often machines and synthesizers play it, 0 to 1.
    kicks, snares, hats : tuple of str
        Alternatives of 16 marks: `X` accented, `x` played, `o` ghost, `.` rest.
    opens : tuple of str
        Open hats or rides.
    swing : tuple of float
        Alternatives of `Grid.swing`.
    claps : bool
        Whether a clap goes with or in place of the snare.
    """

    name: str
    tempo: tuple[float, float]
    electronic: float
    kicks: tuple[str, ...]
    snares: tuple[str, ...]
    hats: tuple[str, ...]
    opens: tuple[str, ...] = ("................",)
    swing: tuple[float, ...] = (0.0,)
    claps: bool = False


_BACKBEAT = ("....X.......X...", "....X..o.o..X...", "....X.......X.o.", "....X..o....X..o")
_EIGHTHS = ("X.x.X.x.X.x.X.x.", "x.x.x.x.x.x.x.x.")
_SIXTEENTHS = ("XoxoXoxoXoxoXoxo", "xoxoxoxoxoxoxoxo", "XxxxXxxxXxxxXxxx")
_OFFBEAT = "..X...X...X...X."

DRUM_STYLES = (
    DrumStyle(
        "rock",
        (90, 168),
        0.1,
        (
            "X.....X.X.......",
            "X.......X.X.....",
            "X..x..X.X.......",
            "X.x.....X.x...x.",
            "X.....x.X.....x.",
            "X.......X.......",
        ),
        _BACKBEAT,
        _EIGHTHS,
    ),
    DrumStyle(
        "punk",
        (140, 170),
        0.05,
        ("X.x...X.X.x...X.", "X...X...X...X...", "X.x.X.x.X.x.X.x."),
        ("....X.......X...", "..X...X...X...X."),
        ("X.X.X.X.X.X.X.X.",),
        ("X...X...X...X...",),
    ),
    DrumStyle(
        "metal",
        (100, 170),
        0.05,
        ("X.xxX.xxX.xxX.xx", "XxxxXxxxXxxxXxxx", "X..X..X..X..X.X."),
        ("....X.......X...", "........X......."),
        ("X...X...X...X...",),
        ("X.......X.......", "X...X...X...X..."),
    ),
    DrumStyle(
        "house",
        (116, 130),
        0.9,
        ("X...X...X...X...", "X...X...X...X.x.", "X...X...X..xX..."),
        ("....X.......X...",),
        (_OFFBEAT, "o.X.o.X.o.X.o.X.", *_SIXTEENTHS),
        (_OFFBEAT,),
        (0.0, 0.12),
        claps=True,
    ),
    DrumStyle(
        "techno",
        (122, 142),
        0.97,
        ("X...X...X...X...",),
        ("................", "....X.......X..."),
        (_OFFBEAT, "xxXxxxXxxxXxxxXx"),
        (_OFFBEAT,),
        claps=True,
    ),
    DrumStyle(
        "disco", (108, 126), 0.4, ("X...X...X...X...",), ("....X.......X...",), ("X.xxX.xxX.xxX.xx",), (_OFFBEAT,)
    ),
    DrumStyle(
        "trap",
        (120, 160),
        0.92,
        ("X......x..X.....", "X.....x.....X...", "X..x......x.....", "X.........X..x.."),
        ("........X.......",),
        ("x.x.x.xxx.x.xxxx", "x.x.x.x.x.x.x.x.", "xxx.x.xxx.x.x.xx"),
        ("..............x.", "................"),
        claps=True,
    ),
    DrumStyle(
        "hip hop",
        (74, 104),
        0.6,
        ("X.....xX..x.....", "X..x...X..X.....", "X.......x.X...x.", "X.x....x..X....."),
        _BACKBEAT,
        (*_EIGHTHS, "X.xoX.xoX.xoX.xo"),
        ("................", "......x........."),
        (0.0, 0.15, 0.3),
    ),
    DrumStyle(
        "funk",
        (88, 124),
        0.15,
        ("X.x...x...X..x..", "X..x..X..xX.....", "X.x....X..x..x..", "X......x.xX....."),
        ("....X..o.o..X..o", "....X..o.oo.X.o.", "....X.oo.o..X..."),
        (*_SIXTEENTHS, "X.xxX.xxX.xxX.xx"),
        ("..............x.", "......x........."),
    ),
    DrumStyle(
        "half time",
        (120, 168),
        0.6,
        ("X.........X.....", "X..X......X..X..", "X.....X.....X...", "X.x......x......"),
        ("........X.......", "........X.....o."),
        (*_EIGHTHS, "X...x...X...x..."),
        ("................", "..............X."),
    ),
    DrumStyle(
        "breakbeat",
        (118, 142),
        0.6,
        ("X.x.......xx....", "X.X.....o.X.....", "X..X..X.......X."),
        ("....X..o.o..X..o", "....X..X.X....X.", "....X.......X.o."),
        (*_EIGHTHS, "X.x.X.xxX.x.X.x."),
        ("..........x.....",),
        (0.0, 0.1),
    ),
    DrumStyle(
        "drum and bass",
        (158, 170),
        0.85,
        ("X.........X.....", "X.x.......X.....", "X.........x..x.."),
        ("....X.......X...", "....X..o.o..X..o"),
        (*_EIGHTHS, *_SIXTEENTHS),
    ),
    DrumStyle(
        "garage",
        (126, 136),
        0.9,
        ("X.........x.....", "X..x......X.....", "X.....x...X..x.."),
        ("....X.......X...",),
        (_OFFBEAT, "..xo..x..oxo..x."),
        (_OFFBEAT,),
        (0.2, 0.3),
        claps=True,
    ),
    DrumStyle(
        "reggae",
        (70, 95),
        0.2,
        ("........X.......", "X...X...X...X..."),
        ("........X.......", "....X.......X..."),
        ("x.x.x.x.x.x.x.x.", "..x...x...x...x."),
        swing=(0.0, 0.3),
    ),
    DrumStyle("dembow", (88, 108), 0.85, ("X...X...X...X...",), ("...X..X....X..X.",), (_OFFBEAT, *_EIGHTHS)),
    DrumStyle(
        "soul",
        (72, 112),
        0.15,
        ("X..x..X.x.......", "X.....x.X.....x.", "X.....X..xX....."),
        _BACKBEAT,
        ("x.x.x.x.x.x.x.x.", "x..xx..xx..xx..x"),
        swing=(0.0, 0.33),
    ),
    DrumStyle(
        "ballad",
        (70, 92),
        0.25,
        ("X.......X.......", "X.....x.X......."),
        ("....X.......X...", "........X......."),
        _EIGHTHS,
        ("................", "X...X...X...X..."),
    ),
)

_FILLS = (
    "............xxXX",
    "........x.x.XxXX",
    "..........xxxxXX",
    "............x.x.",
    "x.xx..xx.xx.XXXX",
    "........XxXxXxXx",
)


def styles_at(tempo: float) -> tuple[DrumStyle, ...]:
    """Give the styles usual at a tempo, or the nearest ones."""
    fitting = tuple(style for style in DRUM_STYLES if style.tempo[0] - 2 <= tempo <= style.tempo[1] + 2)
    return fitting or (min(DRUM_STYLES, key=lambda style: abs(sum(style.tempo) / 2 - tempo)),)


def draw_fill(random: Generator) -> str:
    """Draw 16 marks of a fill, played on snare and toms."""
    return pick(random, _FILLS)
