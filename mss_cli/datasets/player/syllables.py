"""Speech cut into syllables: where each begins, where its vowel is, where it ends."""

from dataclasses import dataclass

import numpy as np
import scipy.ndimage

from mss_cli.datasets.player.contours import Contour, runs_of
from mss_cli.datasets.player.pitch import HOP_SAMPLES

_SHORTEST_VOWEL = 11  # frames, 64 ms
_LONG_VOWEL = 40  # frames: longer ones may be two, with a dip between them
_DIP = 0.72
_QUIET = 0.12  # of a loud vowel
_CONSONANT, _CODA = 30, 16  # most frames before and after the vowel


@dataclass(frozen=True, slots=True)
class Syllable:
    """Samples in the recording.

    Attributes
    ----------
    start, onset : int
        Of its consonants and of its vowel.
    release, end : int
        End of the vowel and of what follows it.
    hertz : float
        Middle pitch of the vowel.
    """

    start: int
    onset: int
    release: int
    end: int
    hertz: float


def syllables_of(contour: Contour) -> tuple[Syllable, ...]:
    """Find the syllables of speech: a stretch with a pitch between dips of loudness, and the sounds around it."""
    loud = scipy.ndimage.uniform_filter1d(contour.level, 5)
    if not contour.voiced.any():
        return ()
    least = _QUIET * float(np.percentile(loud[contour.voiced], 90))
    vowels = [piece for run in runs_of(contour.voiced) for piece in _split(loud, *run)]
    vowels = [(on, off) for on, off in vowels if off - on >= _SHORTEST_VOWEL and loud[on:off].mean() > least]
    syllables = []
    for number, (on, off) in enumerate(vowels):
        before = on - (vowels[number - 1][1] if number else 0)
        after = (vowels[number + 1][0] if number + 1 < len(vowels) else contour.voiced.size - 1) - off
        start = on - min(round(0.7 * before), _CONSONANT)
        end = off + min(round(0.3 * after), _CODA)
        middle = float(np.median(contour.hertz[on:off]))
        starts, onset, release, ends = (frame * HOP_SAMPLES for frame in (start, on, off, end))
        syllables.append(Syllable(starts, onset, release, ends, middle))
    return tuple(syllables)


def _split(loud: np.typing.NDArray[np.float64], first: int, last: int) -> list[tuple[int, int]]:
    """Cut a long stretch at its deepest dip, again and again."""
    edge = _SHORTEST_VOWEL
    if last - first < _LONG_VOWEL:
        return [(first, last)]
    dip = first + edge + int(np.argmin(loud[first + edge : last - edge]))
    if loud[dip] > _DIP * min(loud[first:dip].max(), loud[dip:last].max()):
        return [(first, last)]
    return _split(loud, first, dip) + _split(loud, dip, last)
