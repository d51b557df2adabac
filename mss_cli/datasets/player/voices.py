"""The voice part: who sings, and how: phrases, notes, singing and rap made of speech, shouts, speech; with ad-libs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.random import Generator

from mss_cli.datasets.player.draw import chance, pick, uniform, weighted
from mss_cli.datasets.player.grains import draw_formants, shifted
from mss_cli.datasets.player.pack import SAMPLE_RATE, Audio, Item, Pack
from mss_cli.datasets.player.phrases import Singer, sing_phrases
from mss_cli.datasets.player.score import Score
from mss_cli.datasets.player.singing import PlayedNote, bank_of, sing_melody
from mss_cli.datasets.player.speech_parts import rap_speech, sing_chords, sing_speech
from mss_cli.datasets.player.tracks import blank, fade_out, level_out, place, transpose
from mss_cli.datasets.player.treble import with_treble

Manner = Literal["phrases", "free", "notes", "sung-speech", "rap", "shouts", "speech", "none"]
Choice = Literal["any", "sung-notes", "phrases", "recorded"]

LOWEST_SHIFT, HIGHEST_SHIFT = -7, 4  # semitones by resampling
_LOWEST_APART, _HIGHEST_APART = -10, 6  # semitones where formants are moved apart
_SPEECH, _WHISPER = "speech", "whisper"
_SHOUTED = ("shouted", "growl")
_FULL_HZ = 15000.0  # from here on a recording counts as having treble
_TREBLE_SHARE = 0.75  # of songs with dull recordings whose treble is made up
_WEIGHTS: tuple[tuple[Manner, float], ...] = (
    ("phrases", 5.0),
    ("free", 1.2),
    ("notes", 1.3),
    ("sung-speech", 3.0),
    ("rap", 1.5),
    ("shouts", 0.5),
    ("speech", 0.4),
)
_ALLOWED: Mapping[Choice, tuple[Manner, ...]] = {
    "any": ("phrases", "free", "notes", "sung-speech", "rap", "shouts", "speech"),
    "sung-notes": ("notes", "sung-speech"),
    "phrases": ("phrases", "free"),
    "recorded": ("phrases", "free", "notes"),
}

Group = tuple[str, tuple[Item, ...]]


@dataclass(frozen=True, slots=True)
class Voice:
    """Who sings and how; chosen before key and tempo, which it may decide.

    Attributes
    ----------
    manner : str
    name : str
        The source.
    items : tuple of Item
    choice : str
        What was asked for.
    shift : int
        Semitones by which phrases are transposed.
    formants : float or None
        By how much the formants of phrases are raised; None where they move with the pitch.
    tonic, minor, tempo : int or None, bool, float or None
        Key and tempo of the song, where the phrases decide them.
    """

    manner: Manner
    name: str
    items: tuple[Item, ...]
    choice: Choice = "any"
    shift: int = 0
    formants: float | None = None
    tonic: int | None = None
    minor: bool = True
    tempo: float | None = None


def draw_voice(pack: Pack, random: Generator, *, choice: Choice, tempos: tuple[float, float]) -> Voice:
    """Choose a singer among those the pack has; without any, the manner is `none`."""
    groups = _by_manner(pack)
    weights = [(manner, weight) for manner, weight in _WEIGHTS if manner in _ALLOWED[choice] and groups.get(manner)]
    if not weights:
        return Voice("none", "", (), choice)
    manner = weighted(random, weights)
    name, items = weighted(random, [(group, _worth(group[1])) for group in groups[manner]])
    voice = Voice(manner, name, items, choice)
    if manner not in ("phrases", "free"):
        return voice
    if choice != "recorded" and chance(random, 0.55):
        shift = int(random.integers(_LOWEST_APART, _HIGHEST_APART + 1))
        voice = replace(voice, shift=shift, formants=draw_formants(random, semitones=shift))
    if manner == "free":
        own = voice.shift if voice.formants is not None else int(random.integers(LOWEST_SHIFT, HIGHEST_SHIFT + 1))
        return replace(voice, shift=own)
    return _in_time(voice, random, tempos)


def _in_time(voice: Voice, random: Generator, tempos: tuple[float, float]) -> Voice:
    """Choose the tempo of a song around phrases whose tempo is known."""
    first = voice.items[0]
    tonic, tempo = first.tonic or 0, first.tempo or 120.0
    shift, own, bent = voice.shift, tempo, 0.6
    if voice.formants is None:
        # Most songs take the tempo that the transposition by resampling gives; some keep near the written one.
        shifts = [
            semitones
            for semitones in range(LOWEST_SHIFT, HIGHEST_SHIFT + 1)
            if tempos[0] <= tempo * 2 ** (semitones / 12) <= tempos[1]
        ]
        shift = pick(random, shifts) if shifts else 0
        own, bent = tempo * 2 ** (shift / 12), 0.35
    if chance(random, bent) or not tempos[0] <= own <= tempos[1]:
        own = float(np.clip(own * uniform(random, 0.85, 1.16), *tempos))
    return replace(voice, shift=shift, tonic=(tonic + shift) % 12, minor=first.minor, tempo=own)


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
    notes: tuple[PlayedNote, ...] = ()
    apart = voice.choice != "recorded"
    harmonies = harmonies and apart
    if voice.manner == "notes":
        track, notes = sing_melody(pack, score, voice.items, random, harmonies=harmonies, apart=apart)
    elif voice.manner == "sung-speech":
        exact = voice.choice == "sung-notes"
        track, notes = sing_speech(pack, score, voice.items, random, harmonies=harmonies, exact=exact)
    elif voice.manner == "rap":
        track = rap_speech(pack, score, voice.items, random)
    elif voice.manner == "speech":
        track = _speak(pack, score, voice, random)
    else:
        tempo = voice.tempo if voice.manner == "phrases" else None
        singer = Singer(voice.items, voice.shift, voice.formants, tempo)
        track = sing_phrases(pack, score, singer, random, harmonies=harmonies)
    bandwidth = min(item.bandwidth_hz for item in voice.items)
    if bandwidth < _FULL_HZ and chance(random, _TREBLE_SHARE):
        track, bandwidth = with_treble(track, random, above_hz=bandwidth), SAMPLE_RATE / 2
    if voice.choice == "any" and harmonies and voice.manner != "speech":
        track = _accompanied(pack, score, track, random)
    return track, notes, bandwidth


def _worth(items: Sequence[Item]) -> float:
    """Weigh a voice: those of whom there is much sing more often, and so do the few with all of their treble."""
    treble = 4.0 if items[0].bandwidth_hz > _FULL_HZ else 1.0
    return treble * float(np.sqrt(sum(item.seconds for item in items)))


def _by_manner(pack: Pack) -> Mapping[Manner, list[Group]]:
    """Sort what the pack has by what it is good for; speech by speakers."""
    found: dict[Manner, list[Group]] = {}
    for source in pack.of_stem("vocals"):
        groups: dict[tuple[Manner, str], list[Item]] = {}
        bank = bank_of(source)
        if bank:
            groups["notes", ""] = list(bank)
        for item in source.items:
            if item.content == _SPEECH:
                for manner in ("speech", "sung-speech", "rap"):
                    groups.setdefault((manner, item.voice), []).append(item)
            elif item.content == _WHISPER:
                groups.setdefault(("speech", item.voice), []).append(item)
            elif item.content in _SHOUTED:
                groups.setdefault(("shouts", ""), []).append(item)
            elif item.tonic is not None and item.tempo is not None:
                groups.setdefault(("phrases", ""), []).append(item)
            elif not bank:
                groups.setdefault(("free", item.voice), []).append(item)
        for (manner, name), items in groups.items():
            found.setdefault(manner, []).append((f"{source.name} {name}".strip(), tuple(items)))
    return found


def _speak(pack: Pack, score: Score, voice: Voice, random: Generator) -> Audio:
    """Let spoken sentences run, each from a bar line."""
    track, grid = blank(score.samples), score.grid
    shift = uniform(random, -3, 3)
    formants = draw_formants(random, semitones=shift) if chance(random, 0.6) else None
    bar = 0  # whole bars: sums of seconds would round to either side of a bar line
    while bar < grid.bars:
        if not score.playing["vocals"][bar]:
            bar += 1
            continue
        item = pick(random, voice.items)
        sound = pack.opening(item)
        if formants is None:
            sound = transpose(sound, shift)
        else:
            sound = shifted(sound, pack.contour(item), semitones=shift, formants=formants)
        place(track, level_out(sound), seconds=grid.at(bar))
        bar += max(int(np.ceil(sound.shape[1] / SAMPLE_RATE / grid.bar + uniform(random, -0.3, 1))), 1)
    return track


def _accompanied(pack: Pack, score: Score, track: Audio, random: Generator) -> Audio:
    """Put sung chords and ad-libs of others behind a lead, in some songs."""
    if not track.any():
        return track
    groups = _by_manner(pack)
    speakers = [group for group in groups.get("sung-speech", []) if group[1][0].bandwidth_hz > _FULL_HZ]
    if speakers and chance(random, 0.08):
        chords = sing_chords(pack, score, pick(random, speakers)[1], random)
        track += np.float32(uniform(random, 0.15, 0.5)) * chords
    others = [
        item
        for manner in ("shouts", "free", "speech", "phrases")
        for _, items in groups.get(manner, [])
        for item in items
        if item.seconds < 2.5 and item.bandwidth_hz > _FULL_HZ
    ]
    if others and chance(random, 0.2):
        _add_libs(pack, score, track, others, random)
    return track


def _add_libs(pack: Pack, score: Score, track: Audio, items: list[Item], random: Generator) -> None:
    chosen = [pick(random, items) for _ in range(4)]
    often, gain = uniform(random, 0.2, 0.7), uniform(random, 0.2, 0.5)
    shift = int(random.integers(LOWEST_SHIFT, HIGHEST_SHIFT + 1))
    for bar in np.flatnonzero(score.playing["vocals"]).tolist():
        if chance(random, often):
            sound = fade_out(level_out(transpose(pack.audio(pick(random, chosen)), shift)), seconds=2.0)
            at = score.grid.at(bar, pick(random, (6, 8, 10, 12, 14)))
            place(track, sound, seconds=at, gain=gain, pan=uniform(random, -0.9, 0.9))
