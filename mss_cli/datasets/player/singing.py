"""Melodies of single sung notes, bent to exact pitches, which are known afterwards."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from mss_cli.datasets.player.contours import from_track
from mss_cli.datasets.player.draw import chance, pick, uniform
from mss_cli.datasets.player.grains import Grains, cut, draw_formants, sung_again
from mss_cli.datasets.player.harmony import voicing
from mss_cli.datasets.player.pack import SAMPLE_RATE, Audio, Item, Pack, Source
from mss_cli.datasets.player.pitch import HOP_SAMPLES, PitchTrack
from mss_cli.datasets.player.rhythm import STEPS
from mss_cli.datasets.player.score import Score
from mss_cli.datasets.player.stretching import retuned
from mss_cli.datasets.player.tracks import blank, fade_out, level_out, place

_DOWN, _UP = 7.0, 4.0  # semitones a recorded note may be moved
_SHORTEST_SECONDS = 0.08
_SYLLABLES = "syllables"
_RHYTHMS = (
    (4, 4, 4, 4),
    (2, 2, 4, 2, 2, 4),
    (3, 3, 2, 3, 3, 2),
    (2, 2, 2, 2, 4, 4),
    (6, 2, 6, 2),
    (8, 4, 4),
    (4, 2, 2, 8),
    (2, 2, 2, 2, 2, 2, 2, 2),
    (3, 3, 4, 6),
    (12, 4),
    (1, 1, 2, 2, 2, 4, 4),
)


@dataclass(frozen=True, slots=True)
class PlayedNote:
    """A sung note whose pitch is known.

    Attributes
    ----------
    start, end : float
        Seconds in the song between which it is steadily sung.
    frequency : float
        Hz.
    """

    start: float
    end: float
    frequency: float


def bank_of(source: Source) -> tuple[Item, ...]:
    """Give the items of a source that melodies can be made of: notes with a pitch, or syllables on one pitch."""
    if source.kind == "notes":
        return source.pitched
    return tuple(item for item in source.items if item.content == _SYLLABLES and item.tempo is None)


def sing_melody(
    pack: Pack, score: Score, items: Sequence[Item], random: Generator, *, harmonies: bool, apart: bool = True
) -> tuple[Audio, tuple[PlayedNote, ...]]:
    """Sing a melody over the chords; a second voice may follow in thirds or at the octave.

    In some songs the formants move apart from the pitch, unless `apart` is false.

    Returns
    -------
    track : float32 array of shape (2, sample)
    notes : tuple of PlayedNote
        Of all voices, by their start.
    """
    singer = _Singer(pack, items, random, apart=apart)
    track, notes = blank(score.samples), []
    second = pick(random, (-2, 2, 4)) if harmonies and chance(random, 0.25) else 0
    for bar, step, midi, steps in write_melody(score, random, singer.middle):
        lines = [(midi, 1.0, 0.0)]
        if second:
            lines.append((score.key.step(midi, second), 0.6, pick(random, (-0.4, 0.4))))
        for pitch, gain, pan in lines:
            at = max(score.grid.at(bar, step) + uniform(random, -0.008, 0.012), 0)
            sound, start, end = singer.sing(pitch, seconds=steps * score.grid.step)
            place(track, sound, seconds=at, gain=gain * uniform(random, 0.8, 1), pan=pan)
            end = min(at + end, score.grid.seconds)
            if end - at - start > _SHORTEST_SECONDS:
                notes.append(PlayedNote(at + start, end, singer.hertz(pitch)))
    return track, tuple(sorted(notes, key=lambda note: (note.start, note.frequency)))


class _Singer:
    """Sings any pitch with the notes of a bank."""

    def __init__(self, pack: Pack, items: Sequence[Item], random: Generator, *, apart: bool) -> None:
        self._pack = pack
        self._random = random
        # A few notes of the bank are enough for a song: their pitch must be followed once.
        some = min(len(items), 24)
        chosen = [items[int(place_of)] for place_of in sorted(random.choice(len(items), some, replace=False))]
        self._notes = [
            (item, track, _middle(track)) for item in chosen if (track := pack.pitch(item)).last > track.first
        ]
        self.middle = float(np.median([pitch for _, _, pitch in self._notes])) - 1 if self._notes else 60.0
        self._vibrato = pick(random, (0.0, 0.0, 12.0))
        self._tuning = uniform(random, -0.15, 0.15)  # songs are not all at 440 Hz
        # Some songs bend notes by resampling, which moves the formants too; others keep or move these apart.
        self._formants = draw_formants(random, semitones=0.0) if apart and chance(random, 0.6) else None
        self._cut: dict[Item, Grains] = {}

    def hertz(self, midi: int) -> float:
        return float(440 * 2 ** ((midi + self._tuning - 69) / 12))

    def sing(self, midi: int, *, seconds: float) -> tuple[Audio, float, float]:
        """Give the sound, and the seconds between which it is steadily at the pitch."""
        near = [note for note in self._notes if -_DOWN <= midi - note[2] <= _UP]
        near = near or sorted(self._notes, key=lambda note: abs(note[2] - midi))[:1]
        if not near:
            return np.zeros((1, 64), dtype=np.float32), 0.0, 0.0
        item, track, pitch = pick(self._random, near)
        if self._formants is not None:
            return self._sing_apart(item, track, hertz=self.hertz(midi), seconds=seconds, formants=self._formants)
        sound = self._pack.audio(item).mean(axis=0, keepdims=True)
        ratio = 2 ** ((midi - pitch) / 12)
        # From a long recording take a stretch that is steadily sung.
        steady = (track.last - track.first) * HOP_SAMPLES
        wanted = round((seconds + 0.15) * ratio * SAMPLE_RATE)
        first = 0
        if steady > wanted and track.last * HOP_SAMPLES > 2 * SAMPLE_RATE:
            first = track.first + int(self._random.integers(0, max((steady - wanted) // HOP_SAMPLES, 1)))
        last = min(first + wanted // HOP_SAMPLES + 2, track.hertz.size)
        part = PitchTrack(
            track.hertz[first:last], int(np.clip(track.first - first, 0, last - first)), min(track.last, last) - first
        )
        bent, start, end = retuned(
            sound[:, first * HOP_SAMPLES : last * HOP_SAMPLES],
            part,
            hertz=self.hertz(midi),
            vibrato_cents=self._vibrato,
        )
        bent = level_out(bent)
        if first:
            fade = min(700, bent.shape[1])
            bent[:, :fade] *= np.linspace(0, 1, fade, dtype=np.float32)
        return fade_out(bent, seconds=seconds, release=0.05), start, min(end, seconds)

    def _sing_apart(
        self, item: Item, track: PitchTrack, *, hertz: float, seconds: float, formants: float
    ) -> tuple[Audio, float, float]:
        """Sing a note period by period; what is too short is stretched, up to twice its length."""
        if item not in self._cut:
            voice = np.ascontiguousarray(self._pack.audio(item).mean(axis=0))
            self._cut[item] = cut(voice, from_track(voice, track), formants=formants)
        frames = round((seconds + 0.06) * SAMPLE_RATE / HOP_SAMPLES)
        steady = track.last - track.first
        first = 0
        if steady > frames and track.last * HOP_SAMPLES > 2 * SAMPLE_RATE:
            first = track.first + int(self._random.integers(0, max(steady - frames, 1)))
        slow = float(np.clip(frames / max(track.last - first, 1), 1.0, 2.0))
        count = max(min(frames, int((track.hertz.size - first) * slow)), 2)
        time = np.arange(count) * (HOP_SAMPLES / SAMPLE_RATE)
        wave = np.sin(2 * np.pi * 5.5 * time) * np.clip(time / 0.35, 0, 1)
        pitch = hertz * 2 ** (self._vibrato / 1200 * wave)
        sound = level_out(
            sung_again(self._cut[item], times=(first + np.arange(count) / slow) * HOP_SAMPLES, hertz=pitch)[None]
        )
        if first:
            fade = min(700, sound.shape[1])
            sound[:, :fade] *= np.linspace(0, 1, fade, dtype=np.float32)
        start, end = (max(frame - first, 0) * slow * HOP_SAMPLES / SAMPLE_RATE for frame in (track.first, track.last))
        return fade_out(sound, seconds=seconds, release=0.05), start, min(end, seconds, sound.shape[1] / SAMPLE_RATE)


def _middle(track: PitchTrack) -> float:
    return float(69 + 12 * np.log2(np.median(track.hertz[track.first : track.last]) / 440))


def write_melody(score: Score, random: Generator, middle: float) -> list[tuple[int, int, int, int]]:
    """Write (bar, step, MIDI pitch, steps): a motif of two bars that comes back, moving by steps, resting on chords."""
    rhythms = [pick(random, _RHYTHMS), pick(random, _RHYTHMS)]
    moves = [pick(random, (-2, -1, -1, 0, 1, 1, 2, 3, -3)) for _ in range(STEPS)]
    rest = uniform(random, 0.05, 0.35)
    notes = []
    for bar in np.flatnonzero(score.playing["vocals"]).tolist():
        if bar % 4 == 3 and chance(random, 0.4):
            continue
        step = 0
        midi = voicing(score.chord(bar, 0), near=round(middle))[0]
        for number, steps in enumerate(rhythms[bar % 2]):
            if step % 8 == 0 and number:  # come back to the chord
                midi = min(voicing(score.chord(bar, step), near=midi), key=lambda tone: abs(tone - midi))
            else:
                midi = score.key.step(midi, moves[number + 4 * (bar % 2)])
            midi += 12 if midi < middle - 8 else (-12 if midi > middle + 7 else 0)
            if not chance(random, rest):
                notes.append((bar, step, midi, steps))
            step += steps
    return notes
