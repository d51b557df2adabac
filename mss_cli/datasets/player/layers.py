"""Layers of voices: doubles on both sides, octaves, harmonies, choirs."""

from dataclasses import dataclass

from numpy.random import Generator

from mss_cli.datasets.player.draw import chance, pick, uniform, weighted

_THIRD, _FIFTH, _SIXTH_BELOW = 2, 4, -5  # degrees of the scale
_OCTAVE = 7


@dataclass(frozen=True, slots=True)
class Layer:
    """A voice that sings along.

    Attributes
    ----------
    degrees : int
        Steps of the scale above the lead; 7 is an octave.
    gain, pan : float
        Against the lead; -1 left to 1 right.
    late : float
        Seconds.
    cents : float
        Detuning.
    formants : float
        Times those of the lead.
    """

    degrees: int = 0
    gain: float = 1.0
    pan: float = 0.0
    late: float = 0.0
    cents: float = 0.0
    formants: float = 1.0


LEAD = Layer()


def draw_layers(random: Generator) -> tuple[Layer, ...]:
    """Choose who sings along with a lead: mostly nobody. The lead itself comes first."""
    kind = weighted(
        random, (("alone", 5.0), ("doubles", 2.0), ("harmony", 2.0), ("octave", 0.8), ("stack", 0.7), ("choir", 0.7))
    )
    layers = [LEAD]
    if kind in ("doubles", "stack"):
        gain = uniform(random, 0.2, 0.8)
        layers += [_beside(random, gain=gain, pan=side * uniform(random, 0.5, 1.0)) for side in (-1, 1)]
    if kind in ("harmony", "stack"):
        degrees = pick(random, (_THIRD, _THIRD, -_THIRD, _FIFTH, _SIXTH_BELOW))
        pan = uniform(random, 0.2, 0.8)
        layers.append(_beside(random, degrees=degrees, gain=uniform(random, 0.3, 0.7), pan=pan))
        if chance(random, 0.4):
            second = pick(random, (_FIFTH, _SIXTH_BELOW, -_OCTAVE))
            layers.append(_beside(random, degrees=second, gain=uniform(random, 0.2, 0.6), pan=-pan))
    if kind == "octave":
        degrees = pick(random, (-_OCTAVE, -_OCTAVE, _OCTAVE))
        layers.append(_beside(random, degrees=degrees, gain=uniform(random, 0.3, 0.9), pan=0.0))
    if kind == "choir":
        layers += draw_choir(random, voices=int(random.integers(3, 9)))
    return tuple(layers)


def draw_choir(random: Generator, *, voices: int) -> list[Layer]:
    """Choose the singers of a choir in unison: apart in time, tuning, place and size."""
    return [
        Layer(
            gain=uniform(random, 0.3, 0.8),
            pan=uniform(random, -1, 1),
            late=uniform(random, 0, 0.045),
            cents=uniform(random, -16, 16),
            formants=uniform(random, 0.88, 1.12),
        )
        for _ in range(voices)
    ]


def _beside(random: Generator, *, degrees: int = 0, gain: float, pan: float) -> Layer:
    return Layer(
        degrees=degrees,
        gain=gain,
        pan=pan,
        late=uniform(random, 0.005, 0.03),
        cents=uniform(random, -9, 9),
        formants=uniform(random, 0.94, 1.06),
    )
