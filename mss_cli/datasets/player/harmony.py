"""Keys, chords and progressions."""

from dataclasses import dataclass

from numpy.random import Generator

from mss_cli.datasets.player.draw import chance, pick, weighted

SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
    "harmonic minor": (0, 2, 3, 5, 7, 8, 11),
}
# Modes a phrase in a plain major or minor key sounds right in, with weights.
_MAJOR_MODES = (("major", 4.0), ("mixolydian", 1.0))
_MINOR_MODES = (("minor", 5.0), ("dorian", 1.2), ("harmonic minor", 0.5), ("phrygian", 0.4))

# Scale degrees (0 is the tonic) of one chord a bar, in families.
_MAJOR_PROGRESSIONS = (
    (0, 4, 5, 3),
    (0, 5, 3, 4),
    (5, 3, 0, 4),
    (0, 3, 4, 3),
    (0, 3, 0, 4),
    (0, 2, 3, 4),
    (3, 4, 0, 5),  # pop
    (1, 4, 0, 0),
    (0, 5, 1, 4),
    (2, 5, 1, 4),
    (3, 2, 1, 0),  # turnarounds
    (0, 0, 0, 0, 3, 3, 0, 0, 4, 3, 0, 4),  # blues
    (0, 0, 3, 3),
    (0, 6, 3, 0),
    (0, 1, 3, 0),
    (0,),  # vamps and rock
    (0, 4, 5, 2, 3, 0, 3, 4),  # the canon
)
_MINOR_PROGRESSIONS = (
    (0, 5, 2, 6),
    (0, 6, 5, 6),
    (0, 5, 3, 4),
    (5, 6, 0, 0),
    (0, 2, 6, 3),
    (0, 3, 5, 6),
    (5, 2, 6, 0),  # pop, trance
    (0, 6, 5, 4),
    (0, 3, 6, 2, 5, 1, 4, 0),
    (1, 4, 0, 0),  # falling, circle of fifths
    (0, 0, 0, 0, 3, 3, 0, 0, 4, 3, 0, 4),  # blues
    (0, 0, 3, 3),
    (0, 6),
    (0, 5),
    (0, 3),
    (0, 1),
    (0,),
    (0, 0, 0, 6),  # vamps
    (0, 2, 3, 5),
    (0, 2, 5, 5),
    (0, 6, 3, 5),  # rock
)


@dataclass(frozen=True, slots=True)
class Key:
    """A tonic (0 is C) and the name of a mode of `SCALES`."""

    tonic: int
    mode: str

    def pitch_class(self, degree: int) -> int:
        """Give the pitch class of a degree; 7 is the tonic again."""
        return (self.tonic + SCALES[self.mode][degree % 7]) % 12

    def contains(self, midi: int) -> bool:
        """Tell whether a note is in the scale."""
        return (midi - self.tonic) % 12 in SCALES[self.mode]

    def step(self, midi: int, degrees: int) -> int:
        """Move a note of the scale by degrees; a note outside is first lowered into it."""
        while not self.contains(midi):
            midi -= 1
        direction = 1 if degrees > 0 else -1
        for _ in range(abs(degrees)):
            midi += direction
            while not self.contains(midi):
                midi += direction
        return midi


@dataclass(frozen=True, slots=True)
class Chord:
    """Pitch classes from the root up."""

    tones: tuple[int, ...]

    @property
    def root(self) -> int:
        """Pitch class of the root."""
        return self.tones[0]


def draw_key(random: Generator, *, tonic: int, minor: bool) -> Key:
    """Choose a mode that a melody in a plain major or minor key fits."""
    return Key(tonic % 12, weighted(random, _MINOR_MODES if minor else _MAJOR_MODES))


def is_minor(key: Key) -> bool:
    """Tell whether the third above the tonic is a minor one."""
    return SCALES[key.mode][2] == 3


def draw_chords(random: Generator, key: Key, bars: int) -> tuple[tuple[Chord, Chord], ...]:
    """Write a progression: for each bar the chord of its first and of its second half."""
    families = _MINOR_PROGRESSIONS if is_minor(key) else _MAJOR_PROGRESSIONS
    degrees = pick(random, families)
    size = weighted(random, ((3, 3.0), (4, 2.0), (5, 0.4)))
    power = chance(random, 0.08)
    halves_per_chord = weighted(random, ((2, 6.0), (4, 1.5), (1, 1.0)))
    second = pick(random, families) if chance(random, 0.35) else degrees  # another loop for every other 8 bars
    halves = []
    for half in range(2 * bars):
        loop = second if (half // 16) % 2 else degrees
        degree = loop[half // halves_per_chord % len(loop)]
        halves.append(_chord(key, degree, size, power=power))
    return tuple((halves[2 * bar], halves[2 * bar + 1]) for bar in range(bars))


def voicing(chord: Chord, *, near: int, spread: bool = False) -> tuple[int, ...]:
    """Lay the tones of a chord as MIDI notes around `near`, each at its closest; `spread` lifts every second one."""
    notes = sorted(near + (tone - near + 6) % 12 - 6 for tone in chord.tones)
    if spread:
        notes = sorted(note + 12 * (place % 2) for place, note in enumerate(notes))
    return tuple(notes)


def at_or_above(pitch_class: int, low: int) -> int:
    """Give the lowest MIDI note of a pitch class that is not below `low`."""
    return low + (pitch_class - low) % 12


def _chord(key: Key, degree: int, size: int, *, power: bool) -> Chord:
    if power:
        return Chord((key.pitch_class(degree), key.pitch_class(degree + 4)))
    if key.mode == "harmonic minor" and degree % 7 not in (4, 6):
        key = Key(key.tonic, "minor")  # the raised seventh belongs to the dominant
    return Chord(tuple(key.pitch_class(degree + 2 * third) for third in range(size)))
