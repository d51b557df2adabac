"""The voice part: sung phrases in key and tempo, melodies of sung notes, shouts, spoken words cut onto the beat."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.random import Generator

from mss_cli.datasets.player.draw import chance, pick, uniform, weighted
from mss_cli.datasets.player.pack import SAMPLE_RATE, Audio, Item, Pack
from mss_cli.datasets.player.score import Score
from mss_cli.datasets.player.singing import PlayedNote, bank_of, sing_melody
from mss_cli.datasets.player.stretching import pitch_shifted, stretched
from mss_cli.datasets.player.tracks import blank, level_out, place, transpose

Manner = Literal["phrases", "free", "notes", "shouts", "speech", "none"]
Choice = Literal["any", "sung-notes", "phrases"]

LOWEST_SHIFT, HIGHEST_SHIFT = -7, 4
_LONGEST_SECONDS = 14.0
_SPOKEN = ("speech", "whisper")
_SHOUTED = ("shouted", "growl")
_WEIGHTS: tuple[tuple[Manner, float], ...] = (
    ("phrases", 5.0),
    ("free", 1.6),
    ("notes", 1.6),
    ("shouts", 0.7),
    ("speech", 1.0),
)


@dataclass(frozen=True, slots=True)
class Voice:
    """Who sings and how; chosen before key and tempo, which it may decide.

    Attributes
    ----------
    manner : str
    name : str
        The source.
    items : tuple of Item
    shift : int
        Semitones by which phrases are transposed.
    tonic, minor, tempo : int or None, bool, float or None
        Key and tempo of the song, where the phrases decide them.
    """

    manner: Manner
    name: str
    items: tuple[Item, ...]
    shift: int
    tonic: int | None
    minor: bool
    tempo: float | None


def draw_voice(pack: Pack, random: Generator, *, choice: Choice, tempos: tuple[float, float]) -> Voice:
    """Choose a singer among those the pack has; without any, the manner is `none`."""
    sorted_voices = _by_manner(pack)
    allowed: dict[Choice, tuple[Manner, ...]] = {
        "any": ("phrases", "free", "notes", "shouts", "speech"),
        "sung-notes": ("notes",),
        "phrases": ("phrases", "free"),
    }
    weights = [
        (manner, weight) for manner, weight in _WEIGHTS if manner in allowed[choice] and sorted_voices.get(manner)
    ]
    if not weights:
        return Voice("none", "", (), 0, None, True, None)
    manner = weighted(random, weights)
    name, items = pick(random, sorted_voices[manner])
    if manner != "phrases":
        shift = int(random.integers(LOWEST_SHIFT, HIGHEST_SHIFT + 1)) if manner == "free" else 0
        return Voice(manner, name, items, shift, None, True, None)
    first = items[0]
    tonic, tempo = first.tonic or 0, first.tempo or 120.0
    shifts = [
        shift for shift in range(LOWEST_SHIFT, HIGHEST_SHIFT + 1) if tempos[0] <= tempo * 2 ** (shift / 12) <= tempos[1]
    ]
    shift = pick(random, shifts) if shifts else 0
    # Most songs take the tempo that the transposition by resampling gives; some keep near the written one.
    own = tempo * 2 ** (shift / 12)
    bent = float(np.clip(own * uniform(random, 0.88, 1.14), *tempos)) if chance(random, 0.35) else own
    return Voice(manner, name, items, shift, (tonic + shift) % 12, first.minor, bent)


def play_vocals(
    pack: Pack, score: Score, voice: Voice, random: Generator, *, harmonies: bool
) -> tuple[Audio, tuple[PlayedNote, ...], float]:
    """Play the voice of a song.

    Returns
    -------
    track : float32 array of shape (2, sample)
    notes : tuple of PlayedNote
        Notes whose pitch is known exactly; of sung notes only.
    bandwidth_hz : float
        There is nothing above this frequency in what was sung.
    """
    if voice.manner == "none":
        return blank(score.samples), (), SAMPLE_RATE / 2
    if voice.manner == "notes":
        track, notes = sing_melody(pack, score, voice.items, random, harmonies=harmonies)
    elif voice.manner == "speech":
        track, notes = _speak(pack, score, voice, random), ()
    else:
        track, notes = _sing_phrases(pack, score, voice, random, harmonies=harmonies), ()
    return track, notes, min(item.bandwidth_hz for item in voice.items)


def _by_manner(pack: Pack) -> Mapping[Manner, list[tuple[str, tuple[Item, ...]]]]:
    found: dict[Manner, list[tuple[str, tuple[Item, ...]]]] = {}
    for source in pack.of_stem("vocals"):
        groups: dict[Manner, list[Item]] = {}
        bank = bank_of(source)
        if bank:
            groups["notes"] = list(bank)
        for item in source.items:
            if item.content in _SPOKEN:
                groups.setdefault("speech", []).append(item)
            elif item.content in _SHOUTED:
                groups.setdefault("shouts", []).append(item)
            elif item.tonic is not None and item.tempo is not None:
                groups.setdefault("phrases", []).append(item)
            elif not bank:
                groups.setdefault("free", []).append(item)
        for manner, items in groups.items():
            found.setdefault(manner, []).append((source.name, tuple(items)))
    return found


def _sing_phrases(pack: Pack, score: Score, voice: Voice, random: Generator, *, harmonies: bool) -> Audio:
    """Lay phrases in a row, each on a beat, with rests between, doubled and harmonised in some songs."""
    track, beat = blank(score.samples), 60 / score.grid.tempo
    rest = weighted(random, ((1, 3.0), (4, 2.0), (8, 1.0)))
    double = uniform(random, 0.15, 0.7) if chance(random, 0.3) else 0.0
    interval = pick(random, (-12, -5, 3, 4, 7, 12)) if harmonies and chance(random, 0.3) else 0
    chopped = voice.manner == "phrases" and chance(random, 0.12)
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
        item = pick(random, chosen) if chosen and chance(random, 0.3) else pick(random, voice.items)
        chosen.append(item)
        phrase = _in_tempo(pack, item, voice, score)
        gain = uniform(random, 0.75, 1.0)
        if chopped:
            cursor += _chop(track, phrase, score, cursor, random)
            continue
        place(track, phrase, seconds=cursor * beat, gain=gain)
        if double:
            for side in (-0.8, 0.8):
                late = cursor * beat + uniform(random, 0.008, 0.03)
                place(track, pitch_shifted(phrase, side * 0.15), seconds=late, gain=gain * double, pan=side)
        if interval and chance(random, 0.6):
            place(
                track,
                pitch_shifted(phrase, interval),
                seconds=cursor * beat,
                gain=0.5 * gain,
                pan=pick(random, (-0.5, 0.5)),
            )
        beats = np.ceil(phrase.shape[1] / SAMPLE_RATE / beat - 0.1)
        cursor += float(max(beats, 1) + random.integers(0, rest + 1))
        if rest > 1 or chance(random, 0.5):
            cursor = 2 * np.ceil(cursor / 2)
    return track


def _in_tempo(pack: Pack, item: Item, voice: Voice, score: Score) -> Audio:
    sound = level_out(pack.audio(item)[:, : round(_LONGEST_SECONDS * SAMPLE_RATE)])
    sound = transpose(sound, voice.shift)
    if item.tempo is not None and voice.tempo is not None:
        sound = stretched(sound, item.tempo * 2 ** (voice.shift / 12) / voice.tempo)
    fade = min(500, sound.shape[1])
    sound[:, -fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    return sound


def _chop(track: Audio, phrase: Audio, score: Score, cursor: float, random: Generator) -> float:
    """Cut a phrase into short pieces and play some of them as a rhythm of two bars; gives the beats used."""
    beat = 60 / score.grid.tempo
    length = round(pick(random, (0.5, 1.0)) * beat * SAMPLE_RATE)
    pieces = [phrase[:, start : start + length] for start in range(0, max(phrase.shape[1] - length, 1), length)]
    order = [pick(random, pieces) for _ in range(4)]
    for step in range(0, 32, pick(random, (1, 2, 3))):
        if chance(random, 0.75):
            piece = order[step % 4].copy()
            fade = min(300, piece.shape[1])
            piece[:, -fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
            place(
                track, piece, seconds=cursor * beat + step * score.grid.step, gain=0.8, pan=uniform(random, -0.4, 0.4)
            )
    return 8.0


def _speak(pack: Pack, score: Score, voice: Voice, random: Generator) -> Audio:
    """Cut spoken words at their onsets and put each on a step of the beat, as rap; or let them run as speech."""
    track, grid = blank(score.samples), score.grid
    name = pick(random, voice.items)
    shift = uniform(random, -3, 3)
    rap = chance(random, 0.7)
    bar = 0  # whole bars: sums of seconds would round to either side of a bar line
    while bar < grid.bars:
        if not score.playing["vocals"][bar]:
            bar += 1
            continue
        item = name if name.seconds > 8 else pick(random, voice.items)
        sound = level_out(transpose(pack.audio(item)[:, : 10 * SAMPLE_RATE], shift))
        seconds = grid.at(bar)
        for piece in _words(sound) if rap else [sound]:
            steps = max(round(piece.shape[1] / SAMPLE_RATE / grid.step), 1)
            if rap:
                piece = stretched(piece, float(np.clip(steps * grid.step * SAMPLE_RATE / piece.shape[1], 0.7, 1.4)))
            place(track, piece, seconds=seconds)
            seconds += steps * grid.step
        bar += max(int(np.ceil((seconds - grid.at(bar)) / grid.bar - 0.01)), 1)
    return track


def _words(sound: Audio) -> list[Audio]:
    """Cut a sound at its steepest rises of loudness, at most about five a second."""
    block = 441
    loud = np.sqrt(np.square(sound.mean(axis=0)[: sound.shape[1] // block * block].reshape(-1, block)).mean(axis=1))
    smooth = np.convolve(loud, np.ones(5) / 5, mode="same")
    rise = np.diff(np.log(smooth + 0.02 * smooth.max(initial=1e-6) + 1e-9), prepend=0)
    cuts = [0]
    for at in np.argsort(-rise)[: 2 * int(sound.shape[1] / SAMPLE_RATE) + 3]:
        if rise[at] > 0.05 and min(abs(int(at) - cut) for cut in cuts) > 18:
            cuts.append(int(at))
    edges = [*sorted(cuts), loud.size]
    return [sound[:, a * block : b * block] for a, b in itertools.pairwise(edges) if b - a > 8]
