"""Parts for the voices of speakers: sung melodies, rap, sung chords behind a lead."""

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator

from mss_cli.datasets.player.draw import chance, pick, uniform
from mss_cli.datasets.player.grains import draw_formants
from mss_cli.datasets.player.harmony import voicing
from mss_cli.datasets.player.layers import LEAD, Layer, draw_choir, draw_layers
from mss_cli.datasets.player.pack import Audio, Item, Pack
from mss_cli.datasets.player.rhythm import STEPS
from mss_cli.datasets.player.score import Score
from mss_cli.datasets.player.singing import PlayedNote, write_melody
from mss_cli.datasets.player.sung_speech import (
    HIGHEST_MIDDLE,
    LOWEST_MIDDLE,
    Manners,
    SpeechSinger,
    draw_manners,
)
from mss_cli.datasets.player.tracks import blank, place

_SHORTEST_SECONDS = 0.08  # of a note that is told of
_CONSONANT_SECONDS = 0.05  # left free at the end of a note for the next consonant
_LONG_SECONDS = 0.6
# Lengths in sixteenths; they need not fill the bar.
_FLOWS: tuple[tuple[float, ...], ...] = (
    (2, 2, 2, 2, 2, 2, 2),
    (1, 1, 2, 1, 1, 2, 1, 1, 2, 2),
    (2, 1, 1, 2, 1, 1, 2, 1, 1, 2),
    (1,) * 14,
    (3, 3, 2, 3, 3),
    (1, 2, 1, 2, 2, 1, 2, 1, 2),
    (4 / 3,) * 11,
    (2, 2, 1, 1, 1, 1, 4),
    (4, 2, 2, 3, 3),
)


def sing_speech(
    pack: Pack, score: Score, items: Sequence[Item], random: Generator, *, harmonies: bool, exact: bool
) -> tuple[Audio, tuple[PlayedNote, ...]]:
    """Sing a melody over the chords with the syllables of a speaker.

    Parameters
    ----------
    pack, score : Pack, Score
    items : sequence of Item
        Speech of one voice.
    random : Generator
    harmonies : bool
        Whether others may sing along.
    exact : bool
        Keep to the pitch within about 25 cents.

    Returns
    -------
    track : float32 array of shape (2, sample)
    notes : tuple of PlayedNote
        Of the lead and of harmonies, by their start.
    """
    track, notes = blank(score.samples), list[PlayedNote]()
    singer = SpeechSinger(pack, items, random)
    if not len(singer):
        return track, ()
    manners = draw_manners(random, exact=exact)
    # People sing higher than they speak; now and then a voice changes its sex.
    raised = uniform(random, 1, 9) if chance(random, 0.75) else uniform(random, -8, 14)
    middle = float(np.clip(singer.spoken + raised, LOWEST_MIDDLE, HIGHEST_MIDDLE))
    formants = draw_formants(random, semitones=middle - singer.spoken - 4)
    layers = draw_layers(random) if harmonies else (LEAD,)
    tuning = uniform(random, -0.15, 0.15)
    before = [0.0] * len(layers)
    for bar, step, midi, steps in write_melody(score, random, middle):
        at = max(score.grid.at(bar, step) + uniform(random, -0.01, 0.015), 0.0)
        seconds = max(steps * score.grid.step - _CONSONANT_SECONDS, 0.07)
        number = singer.next_syllable(long=seconds > _LONG_SECONDS)
        gain = uniform(random, 0.8, 1.0)
        for voice, layer in enumerate(layers):
            tone = score.key.step(midi, layer.degrees) + tuning
            hertz = float(440 * 2 ** ((tone - 69) / 12))
            sung = singer.sing(
                number,
                hertz=hertz * 2 ** (layer.cents / 1200),
                seconds=seconds,
                before=before[voice],
                manners=manners,
                formants=_bounded(formants * layer.formants),
            )
            before[voice] = hertz
            late = at + layer.late
            place(track, sung.sound, seconds=late - sung.before, gain=gain * layer.gain, pan=layer.pan)
            end = min(late + sung.end, score.grid.seconds)
            if end - late - sung.start > _SHORTEST_SECONDS and (layer.degrees or layer is LEAD):
                notes.append(PlayedNote(late + sung.start, end, hertz))
    return track, tuple(sorted(notes, key=lambda note: (note.start, note.frequency)))


def rap_speech(pack: Pack, score: Score, items: Sequence[Item], random: Generator) -> Audio:
    """Speak syllables on sixteenths, with the light rises and falls of rap; some on the pitches of the key."""
    track = blank(score.samples)
    singer = SpeechSinger(pack, items, random)
    if not len(singer):
        return track
    shift = float(np.clip(random.normal(0, 2.5), -5, 5))
    formants = draw_formants(random, semitones=shift)
    melodic = chance(random, 0.25)
    manners = Manners(glide_seconds=0.0) if melodic else Manners(own=uniform(random, 0.3, 0.9), scoop_cents=60)
    flows = [pick(random, _FLOWS), pick(random, _FLOWS)]
    double = chance(random, 0.2)
    answers = chance(random, 0.4)  # the ends of lines doubled, as is usual
    for bar in np.flatnonzero(score.playing["vocals"]).tolist():
        step = 0.0
        for length in flows[bar % 2]:
            if step + length > STEPS:
                break
            at, now = score.grid.at(bar, step), step
            step += length
            if chance(random, 0.06):
                continue
            rise = (1.5 if now % 4 == 0 else 0.0) - 2.5 * now / STEPS + uniform(random, -0.8, 0.8)
            tone = singer.spoken + shift + rise
            if melodic:
                tone = score.key.step(round(tone + 3), 0)
            layers = [LEAD]
            if double or (answers and bar % 2 and now >= STEPS / 2):
                layers += [
                    Layer(gain=0.5, pan=side, late=0.015, cents=8 * side, formants=1 + 0.05 * side) for side in (-1, 1)
                ]
            number = singer.next_syllable(long=False)
            for layer in layers:
                sung = singer.sing(
                    number,
                    hertz=float(440 * 2 ** ((tone + layer.cents / 100 - 69) / 12)),
                    seconds=max(length * score.grid.step - 0.03, 0.06),
                    before=0.0,
                    manners=manners,
                    formants=_bounded(formants * layer.formants),
                )
                place(track, sung.sound, seconds=at + layer.late - sung.before, gain=layer.gain, pan=layer.pan)
    return track


def sing_chords(pack: Pack, score: Score, items: Sequence[Item], random: Generator) -> Audio:
    """Sing the chords as a choir on long vowels, one in each half of a bar at most."""
    track = blank(score.samples)
    singer = SpeechSinger(pack, items, random)
    if not len(singer):
        return track
    manners = Manners(vibrato_cents=uniform(random, 5, 30), scoop_cents=uniform(random, 0, 80))
    singers = draw_choir(random, voices=int(random.integers(3, 6)))
    middle = float(np.clip(singer.spoken + uniform(random, 3, 14), 52, 68))
    formants = draw_formants(random, semitones=middle - singer.spoken - 4)
    for bar in np.flatnonzero(score.playing["vocals"]).tolist():
        held = score.chord(bar, 0) == score.chord(bar, 8)
        for step in (0,) if held else (0, 8):
            number = singer.next_syllable(long=True)
            tones = voicing(score.chord(bar, step), near=round(middle))
            for place_of, layer in enumerate(singers):
                tone = tones[place_of % len(tones)] + layer.cents / 100
                sung = singer.sing(
                    number,
                    hertz=float(440 * 2 ** ((tone - 69) / 12)),
                    seconds=(STEPS if held else STEPS / 2) * score.grid.step - 0.08,
                    before=0.0,
                    manners=manners,
                    formants=_bounded(formants * layer.formants),
                )
                at = score.grid.at(bar, step) + layer.late
                place(track, sung.sound, seconds=at - sung.before, gain=layer.gain, pan=layer.pan)
    return track


def _bounded(formants: float) -> float:
    return float(np.clip(formants, 0.7, 1.4))
