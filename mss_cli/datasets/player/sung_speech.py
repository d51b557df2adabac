"""Singing and rap made of speech: syllables in their order, their vowels stretched, their pitch forced."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.ndimage
from numpy.random import Generator
from numpy.typing import NDArray

from mss_cli.datasets.player.draw import chance, uniform
from mss_cli.datasets.player.grains import Grains, cut, sung_again
from mss_cli.datasets.player.pack import SAMPLE_RATE, Item, Pack
from mss_cli.datasets.player.pitch import HOP_SAMPLES
from mss_cli.datasets.player.syllables import Syllable, syllables_of

_FRAME = HOP_SAMPLES / SAMPLE_RATE  # seconds
_EDGE_SECONDS = 0.04  # both ends of a vowel are not stretched
_ENOUGH_SECONDS = 12.0
_STEADY_CENTS = 12.0
_WAVERING_CENTS = 12.0  # before smoothing over some frames, which leaves about a third
_ENDING_SECONDS = 0.03
_LOUDNESS = 0.12
LOWEST_MIDDLE, HIGHEST_MIDDLE = 46.0, 70.0


@dataclass(frozen=True, slots=True)
class Manners:
    """How a voice sings.

    Attributes
    ----------
    vibrato_cents, vibrato_hz : float
    glide_seconds : float
        Time constant with which a pitch is reached; 0 steps at once, as with a pitch corrector.
    scoop_cents : float
        How far below its pitch a note may begin.
    own : float
        Share of the speaker's own rises and falls that is left, 0 to 1.
    """

    vibrato_cents: float = 0.0
    vibrato_hz: float = 5.5
    glide_seconds: float = 0.025
    scoop_cents: float = 0.0
    own: float = 0.0


@dataclass(frozen=True, slots=True)
class Sung:
    """A syllable that was sung.

    Attributes
    ----------
    sound : float32 array of shape (1, sample)
    before : float
        Seconds of consonants before the beat.
    start, end : float
        Seconds after the beat between which it is steadily at its pitch.
    """

    sound: NDArray[np.float32]
    before: float
    start: float
    end: float


def draw_manners(random: Generator, *, exact: bool) -> Manners:
    """Choose how a voice sings; `exact` keeps to the pitch within about 25 cents."""
    if chance(random, 0.2):  # a hard pitch corrector
        return Manners(glide_seconds=0.0)
    deepest = 25.0 if exact else 60.0
    return Manners(
        vibrato_cents=uniform(random, 8, deepest) if chance(random, 0.75) else 0.0,
        vibrato_hz=uniform(random, 4.6, 6.8),
        glide_seconds=uniform(random, 0.012, 0.04),
        scoop_cents=uniform(random, 0, 200),
        own=0.0 if exact else uniform(random, 0, 0.15),
    )


class SpeechSinger:
    """Sings syllables of one speaker, in the order in which they were spoken.

    Attributes
    ----------
    spoken : float
        Middle pitch of the speech, in MIDI notes.
    """

    def __init__(self, pack: Pack, items: Sequence[Item], random: Generator) -> None:
        self._random = random
        self._cut: dict[tuple[int, float], Grains] = {}
        self._items: list[Item] = []
        self._pack = pack
        self._syllables: list[tuple[int, Syllable]] = []
        seconds = 0.0
        for item in [items[int(at)] for at in random.permutation(len(items))]:
            found = syllables_of(pack.contour(item))
            if found:
                self._syllables += [(len(self._items), syllable) for syllable in found]
                self._items.append(item)
            seconds += item.seconds
            if seconds > _ENOUGH_SECONDS:
                break
        pitches = [syllable.hertz for _, syllable in self._syllables]
        self.spoken = float(69 + 12 * np.log2(np.median(pitches) / 440)) if pitches else 60.0
        self._next = int(random.integers(len(self._syllables))) if self._syllables else 0

    def __len__(self) -> int:
        return len(self._syllables)

    def next_syllable(self, *, long: bool) -> int:
        """Go to the next syllable and give its number; for a `long` note, the longest of the next three."""
        count = len(self._syllables)
        ahead = [(self._next + step) % count for step in range(min(3 if long else 1, count))]
        lengths = [syllable.release - syllable.onset for _, syllable in (self._syllables[at] for at in ahead)]
        chosen = ahead[int(np.argmax(lengths))]
        self._next = (chosen + 1) % count
        return chosen

    def sing(
        self,
        number: int,
        *,
        hertz: float,
        seconds: float,
        before: float,
        manners: Manners,
        formants: float,
    ) -> Sung:
        """Sing a syllable.

        Parameters
        ----------
        number : int
            As from `next_syllable`.
        hertz : float
        seconds : float
            From the beat, on which the vowel begins, to its end.
        before : float
            Pitch in Hz that was sung before; the voice glides from there. 0 for none.
        manners : Manners
        formants : float
        """
        item, syllable = self._syllables[number]
        times, onset = _times(syllable, seconds)
        cents, steady = self._cents(times.size - onset, hertz=hertz, before=before, manners=manners)
        cents = np.concatenate((np.full(onset, cents[0]), cents))
        contour = self._pack.contour(self._items[item])
        frames = contour.frame_of(times)
        if manners.own:
            cents = cents + np.clip(manners.own * 1200 * np.log2(contour.hertz[frames] / syllable.hertz), -150, 150)
        sound = sung_again(self._grains(item, formants), times=times, hertz=hertz * 2 ** (cents / 1200))
        # Vowels of speech die away within a tenth of a second: sung ones are held.
        level = np.maximum(contour.level[frames], 1e-5)
        vowel = slice(onset, onset + max(round(seconds / _FRAME), 1))
        middle = float(np.sqrt(np.square(level[vowel]).mean()))
        gain = np.clip(np.sqrt(middle / level), 0.4, 2.5)
        gain *= _LOUDNESS / max(middle, 1e-4)
        at = np.arange(sound.size) / HOP_SAMPLES
        sound = sound * np.interp(at, np.arange(gain.size), gain).astype(np.float32)
        fade = min(300, sound.size // 2)
        ramp = np.linspace(0, 1, fade, dtype=np.float32)
        sound[:fade] *= ramp
        sound[-fade:] *= ramp[::-1]
        return Sung(sound[None], onset * _FRAME, steady, seconds - _ENDING_SECONDS)

    def _grains(self, item: int, formants: float) -> Grains:
        if (item, formants) not in self._cut:
            voice = np.ascontiguousarray(self._pack.opening(self._items[item]).mean(axis=0))
            self._cut[item, formants] = cut(voice, self._pack.contour(self._items[item]), formants=formants)
        return self._cut[item, formants]

    def _cents(
        self, frames: int, *, hertz: float, before: float, manners: Manners
    ) -> tuple[NDArray[np.float64], float]:
        """Give the pitch over a note against its own, and the seconds after which it is steady."""
        time = np.arange(frames) * _FRAME
        cents = np.zeros(frames)
        steady = 0.02
        if manners.glide_seconds > 0:
            away = float(np.clip(1200 * np.log2(before / hertz), -500, 500)) if before > 0 else 0.0
            away = -manners.scoop_cents if abs(away) < 50 and chance(self._random, 0.4) else away
            cents += away * np.exp(-time / manners.glide_seconds)
            steady += manners.glide_seconds * float(np.log(max(abs(away) / _STEADY_CENTS, 1)))
        if manners.vibrato_cents:
            swell = np.clip((time - uniform(self._random, 0.05, 0.3)) / 0.2, 0, 1)
            turn = 2 * np.pi * (manners.vibrato_hz * time + self._random.random())
            cents += manners.vibrato_cents * swell * np.sin(turn)
        if manners.glide_seconds > 0:
            # No voice is even: small wanderings of the pitch, without which long vowels sound like a vocoder's.
            cents += scipy.ndimage.gaussian_filter1d(self._random.normal(0, 1, frames), 2) * _WAVERING_CENTS
        return cents, steady


def _times(syllable: Syllable, seconds: float) -> tuple[NDArray[np.float64], int]:
    """Give the sample to sing at each frame, and the frame of the beat: only the middle of the vowel is stretched."""
    onset = (syllable.onset - syllable.start) // HOP_SAMPLES
    vowel = max(round(seconds / _FRAME), 2) * HOP_SAMPLES
    coda = syllable.end - syllable.release
    length = syllable.release - syllable.onset
    edge = min(_EDGE_SECONDS * SAMPLE_RATE, length / 4, vowel / 4)
    out = np.array([0, edge, vowel - edge, vowel, vowel + max(coda, 1)]) + onset * HOP_SAMPLES
    read = np.array([syllable.onset, syllable.onset + edge, syllable.release - edge, syllable.release, syllable.end])
    frames = np.arange(onset + (vowel + coda) // HOP_SAMPLES) * float(HOP_SAMPLES)
    times = np.interp(frames, np.concatenate(([0], out)), np.concatenate(([syllable.start], read)))
    return times, onset
