"""Recorded sung phrases: in another key, tempo and size of the singer, doubled, harmonised, corrected, chopped."""

from dataclasses import dataclass

import numpy as np
import scipy.ndimage
from numpy.random import Generator
from numpy.typing import NDArray

from mss_cli.datasets.player.contours import Contour
from mss_cli.datasets.player.draw import chance, pick, uniform, weighted
from mss_cli.datasets.player.grains import Grains, cut, sung_again
from mss_cli.datasets.player.harmony import Key
from mss_cli.datasets.player.layers import LEAD, Layer, draw_layers
from mss_cli.datasets.player.pack import LONGEST_SECONDS, SAMPLE_RATE, Audio, Item, Pack
from mss_cli.datasets.player.pitch import HOP_SAMPLES
from mss_cli.datasets.player.score import Score
from mss_cli.datasets.player.stretching import stretched
from mss_cli.datasets.player.tracks import blank, level_out, place, transpose

_CHOP_PITCHES = (0, 0, 0, 0, 7, 12, -12, 5, -5, 3, -2)


@dataclass(frozen=True, slots=True)
class Singer:
    """Who sings the phrases of a song.

    Attributes
    ----------
    items : tuple of Item
    shift : int
        Semitones.
    formants : float or None
        By how much formants are raised, apart from the pitch; None resamples, which moves both and the tempo.
    tempo : float or None
        Beats per minute of the song, where phrases are to follow it.
    """

    items: tuple[Item, ...]
    shift: int
    formants: float | None
    tempo: float | None


def sing_phrases(pack: Pack, score: Score, singer: Singer, random: Generator, *, harmonies: bool) -> Audio:
    """Lay phrases in a row, each on a beat, with rests between."""
    track, beat = blank(score.samples), 60 / score.grid.tempo
    rest = weighted(random, ((1, 3.0), (4, 2.0), (8, 1.0)))
    layers = draw_layers(random) if harmonies else (LEAD,)
    corrected = singer.formants is not None and chance(random, 0.2)
    chopped = singer.tempo is not None and chance(random, 0.12)
    chosen: list[Item] = []
    cursor = 0.0
    while cursor * beat < score.grid.seconds:
        bar = int(cursor / 4)  # exact: beats are whole or half numbers here
        if bar >= score.grid.bars:
            break
        if not score.playing["vocals"][bar]:
            cursor = 4.0 * (bar + 1)
            continue
        # Songs come back to phrases: now and then the one before, or one from the beginning.
        item = pick(random, chosen) if chosen and chance(random, 0.3) else pick(random, singer.items)
        chosen.append(item)
        phrase = _Phrase(pack, item, singer, score.key if corrected else None)
        gain = uniform(random, 0.75, 1.0)
        if chopped:
            cursor += _chop(track, phrase.lead, score, cursor, random)
            continue
        place(track, phrase.lead, seconds=cursor * beat, gain=gain)
        for layer in layers[1:]:
            sound = phrase.along(layer, score.key)
            place(track, sound, seconds=cursor * beat + layer.late, gain=gain * layer.gain, pan=layer.pan)
        beats = np.ceil(phrase.lead.shape[1] / SAMPLE_RATE / beat - 0.1)
        cursor += float(max(beats, 1) + random.integers(0, rest + 1))
        if rest > 1 or chance(random, 0.5):
            cursor = 2 * np.ceil(cursor / 2)
    return track


def snapped(hertz: NDArray[np.float64], key: Key, *, seconds: float) -> NDArray[np.float64]:
    """Move a pitch to the nearest notes of a key, as a pitch corrector does; it glides for about `seconds`."""
    midi = 69 + 12 * np.log2(hertz / 440)
    table = np.array([note for note in range(12, 120) if key.contains(note)], dtype=np.float64)
    # A short wavering between two notes is not followed.
    calm = scipy.ndimage.median_filter(midi, size=15, mode="nearest")
    right = np.clip(np.searchsorted(table, calm), 1, table.size - 1)
    nearest = np.where(calm - table[right - 1] < table[right] - calm, table[right - 1], table[right])
    frames = max(round(seconds * SAMPLE_RATE / HOP_SAMPLES), 1)
    return np.asarray(440 * 2 ** ((scipy.ndimage.uniform_filter1d(nearest, frames) - 69) / 12), dtype=np.float64)


def along(hertz: NDArray[np.float64], key: Key, *, degrees: int) -> NDArray[np.float64]:
    """Give the pitch of a second voice, `degrees` of the scale above a sung one."""
    midi = 69 + 12 * np.log2(hertz / 440)
    calm = np.round(scipy.ndimage.median_filter(midi, size=25, mode="nearest")).astype(np.int64)
    notes = np.unique(calm)
    steps = np.array([key.step(int(note), degrees) - key.step(int(note), 0) for note in notes], dtype=np.float64)
    moved = scipy.ndimage.uniform_filter1d(steps[np.searchsorted(notes, calm)], 5)
    return np.asarray(hertz * 2 ** (moved / 12), dtype=np.float64)


class _Phrase:
    """A phrase in the key and tempo of a song, and voices along with it."""

    def __init__(self, pack: Pack, item: Item, singer: Singer, corrected: Key | None) -> None:
        self._pack, self._item, self._singer = pack, item, singer
        self._cut: dict[float, Grains] = {}
        self._hertz: NDArray[np.float64] | None = None
        if singer.formants is None:
            sound = level_out(pack.opening(item))
            length = sound.shape[1]
            moved = transpose(sound, singer.shift)
            if item.tempo is not None and singer.tempo is not None:
                moved = stretched(moved, item.tempo * 2 ** (singer.shift / 12) / singer.tempo)
            self._ratio = moved.shape[1] / length
            self.lead = _ended(moved)
            return
        self._ratio = item.tempo / singer.tempo if item.tempo is not None and singer.tempo is not None else 1.0
        if corrected is not None:
            self._hertz = snapped(self._follow(), corrected, seconds=0.02)
        self.lead = self._sung(self._follow(), formants=singer.formants)

    def along(self, layer: Layer, key: Key) -> Audio:
        """Sing along with the phrase."""
        hertz = self._follow()
        if layer.degrees:
            hertz = along(hertz, key, degrees=layer.degrees)
        own = self._singer.formants or 2 ** (self._singer.shift / 12)
        return self._sung(hertz * 2 ** (layer.cents / 1200), formants=float(np.clip(own * layer.formants, 0.6, 1.5)))

    def _follow(self) -> NDArray[np.float64]:
        """Give the pitch to sing, frame by frame of the output."""
        if self._hertz is None:
            contour = self._pack.contour(self._item)
            hertz = np.interp(self._times() / HOP_SAMPLES, np.arange(contour.hertz.size), contour.hertz)
            self._hertz = hertz * 2 ** (self._singer.shift / 12)
        return self._hertz

    def _times(self) -> NDArray[np.float64]:
        seconds = min(self._item.seconds, LONGEST_SECONDS)
        frames = max(round(seconds * SAMPLE_RATE * self._ratio / HOP_SAMPLES), 2)
        return np.asarray(np.arange(frames) * (HOP_SAMPLES / self._ratio), dtype=np.float64)

    def _sung(self, hertz: NDArray[np.float64], *, formants: float) -> Audio:
        contour: Contour = self._pack.contour(self._item)
        if formants not in self._cut:
            voice = np.ascontiguousarray(level_out(self._pack.opening(self._item)).mean(axis=0))
            self._cut[formants] = cut(voice, contour, formants=formants)
        return _ended(level_out(sung_again(self._cut[formants], times=self._times(), hertz=hertz)[None]))


def _ended(sound: Audio) -> Audio:
    fade = min(500, sound.shape[1])
    sound[:, -fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    return sound


def _chop(track: Audio, phrase: Audio, score: Score, cursor: float, random: Generator) -> float:
    """Cut a phrase into short pieces and play some of them as a rhythm of two bars; gives the beats used."""
    beat = 60 / score.grid.tempo
    length = round(pick(random, (0.5, 1.0)) * beat * SAMPLE_RATE)
    pieces = [phrase[:, start : start + length] for start in range(0, max(phrase.shape[1] - length, 1), length)]
    order = [pick(random, pieces) for _ in range(4)]
    # As with a sampler: some pieces at other pitches, by resampling.
    if chance(random, 0.6):
        order = [transpose(piece, pick(random, _CHOP_PITCHES)) for piece in order]
    for step in range(0, 32, pick(random, (1, 2, 3))):
        if chance(random, 0.75):
            piece = order[step % 4][:, :length].copy()
            fade = min(300, piece.shape[1])
            piece[:, -fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
            at = cursor * beat + step * score.grid.step
            place(track, piece, seconds=at, gain=0.8, pan=uniform(random, -0.4, 0.4))
    return 8.0
