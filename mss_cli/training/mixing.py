"""The examples of a recipe: songs are drawn, cut and put together, all by the example's key.

Every choice comes from one generator seeded with (seed, update, place). A coherent example takes all stems of one
song at one time; the others take each stem from another song at a time of its own (Uhlich et al., ICASSP 2017), or
from songs that share tempo, beats or key (thesis 7.2). Files by class never belong together, so sources of them give
no coherent examples whatever the schedule says.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from mss_cli.errors import DatasetError, UsageError
from mss_cli.training.examples import Example, Key, Skipped
from mss_cli.training.matching import fits, music_of, start_on_beat
from mss_cli.training.recipe import Mixing
from mss_cli.training.song_cache import BrokenSong, CachedSong, SongCache
from mss_cli.training.song_salience import Pitch, Salience, cut_salience
from mss_cli.training.songs import Songs, check_stems, part_of_target

# Draws before one takes what there is: of a song that is not broken; of an example in which a target sounds; of a
# song that is not in the example yet; of a song that matches.
_TRIES_UNBROKEN = 64
_TRIES_SOUNDING = 16
_TRIES_OTHER = 8
_TRIES_MATCHING = 32


@dataclass(frozen=True, slots=True)
class _Choice:
    """Songs one may draw from: places in one source; for files by class those of one class."""

    source: int
    places: tuple[int, ...]
    stem: str


@dataclass(slots=True)
class _Pick:
    """One cut of one stem of one song, for one stem of the example; `place` is None where the song has no such stem."""

    target: str
    song: CachedSong
    place: int | None
    start: int


@dataclass(slots=True)
class _Draw:
    """The state of drawing one example."""

    random: Generator
    step: int
    turn: int | None
    skipped: list[Skipped] = field(default_factory=list)


class RecipeExamples:
    """Examples from the sources of a recipe; see `mss_cli.training.examples.Examples`.

    Parameters
    ----------
    sources : sequence of Songs
    stems : mapping of str to sequence of str
        The recipe's `data.stems`.
    cache : SongCache
        Made with the same stems.
    mixing : Mixing
    seed : int, >= 0
    samples : int, >= 1
        Length of an example, with whatever margin augmentation needs.
    targets : sequence of str or None
        Stems that the network estimates: the ones that shall sound; all if None.
    pitch : Pitch or None
        Also give the salience of one stem.
    in_turn : bool
        Take the songs in a shuffled turn instead of drawing them, so that few examples cover many songs.

    Raises
    ------
    UsageError
        If a stem is given by no source, or is listed twice.
    """

    def __init__(
        self,
        sources: Sequence[Songs],
        stems: Mapping[str, Sequence[str]],
        cache: SongCache,
        mixing: Mixing,
        *,
        seed: int,
        samples: int,
        targets: Sequence[str] | None = None,
        pitch: Pitch | None = None,
        in_turn: bool = False,
    ) -> None:
        check_stems(stems)
        self._sources = tuple(sources)
        self._stems = tuple(stems)
        self._cache, self._mixing, self._seed, self._samples = cache, mixing, seed, samples
        self._targets = frozenset(targets if targets is not None else stems)
        self._pitch = pitch
        self._grid = 1 if pitch is None else pitch.transform.hop_length
        self._choices = {name: _choices(self._sources, stems, name) for name in self._stems}
        self._whole = [
            _Choice(number, tuple(range(len(songs))), "")
            for number, songs in enumerate(self._sources)
            if songs.whole and all(any(c.source == number for c in found) for found in self._choices.values())
        ]
        _check_given(self._choices)
        everything = [(number, place) for number, songs in enumerate(self._sources) for place in range(len(songs))]
        order = np.random.default_rng((seed, 1)).permutation(len(everything))
        whole = {choice.source for choice in self._whole}
        self._turns = [everything[i] for i in order if everything[i][0] in whole] if in_turn else []

    def __getitem__(self, key: Key) -> Example:
        """Make the example of a key.

        Raises
        ------
        DatasetError
            If no song can be read.
        OutputError
            If the cache cannot be written.
        """
        random = np.random.default_rng((self._seed, 0, key.step, key.place))
        draw = _Draw(random, key.step, key.place if self._turns else None)
        seed = int(random.integers(1 << 63, dtype=np.uint64))
        coherent = bool(self._whole) and random.random() < coherent_share(self._mixing, key.step)
        silent = random.random() < self._mixing.silence
        picks = self._coherent(draw, silent) if coherent else self._random(draw, silent)
        stems = np.stack([self._mixed([pick for pick in picks if pick.target == name]) for name in self._stems])
        return Example(stems, self._salience(picks), seed, tuple(draw.skipped))

    def songs(self, step: int = 0) -> list[tuple[int, int]]:
        """Name every song that is in use at an update, as (source, number), for `fill`."""
        return [
            (source, songs.number(step, place))
            for source, songs in enumerate(self._sources)
            for place in range(len(songs))
        ]

    def fill(self, source: int, number: int) -> Skipped | None:
        """Put one song into the cache, with the salience its examples need; give the reason if it is broken."""
        try:
            song = self._cache.song(self._sources[source], number)
        except BrokenSong as broken:
            return broken.skipped
        if self._pitch is not None and self._pitch.stem in song.stems:
            cut_salience(self._pitch, self._cache, song, song.stems.index(self._pitch.stem), 0, 1)
        return None

    def _coherent(self, draw: _Draw, silent: bool) -> list[_Pick]:
        """All stems of one song at one time."""
        picks: list[_Pick] = []
        for _ in range(_TRIES_SOUNDING):
            song = self._song(draw, self._whole)
            start = self._any_start(draw, song)
            picks = [_Pick(name, song, song.stems.index(name), start) for name in self._stems]
            if silent or self._sounding(picks):
                break
            moved = self._start_with(draw, song, [pick.place for pick in picks if pick.target in self._targets])
            if moved is not None:
                return [_Pick(pick.target, song, pick.place, moved) for pick in picks]
        if any(self._sounds(pick) for pick in picks):
            return picks
        moved = self._start_with(draw, picks[0].song, [pick.place for pick in picks])
        return [_Pick(pick.target, pick.song, pick.place, pick.start if moved is None else moved) for pick in picks]

    def _random(self, draw: _Draw, silent: bool) -> list[_Pick]:
        """Every stem from another song."""
        picks: list[_Pick] = []
        for _ in range(_TRIES_SOUNDING):
            picks = []
            for name in self._stems:
                for choices in self._groups(draw, name):
                    picks.append(self._one(draw, name, choices, picks))
            wanted = [pick for pick in picks if silent or pick.target in self._targets]
            if any(self._sounds(pick) for pick in wanted):
                return picks
            # Cuts that share their beats are drawn again: moving one would break the match.
            if self._mixing.matched in ("none", "tempo") and self._move_one(draw, wanted):
                return picks
        if not any(self._sounds(pick) for pick in picks):
            self._move_one(draw, picks)
        return picks

    def _move_one(self, draw: _Draw, picks: Sequence[_Pick]) -> bool:
        """Move one of the cuts to where it sounds; tell whether any could be."""
        for number in draw.random.permutation(len(picks)):
            pick = picks[number]
            moved = self._start_with(draw, pick.song, [pick.place])
            if moved is not None:
                pick.start = moved
                return True
        return False

    def _groups(self, draw: _Draw, name: str) -> list[list[_Choice]]:
        """Draw a source for a stem: one group of choices for songs, one for each class of files."""
        found = self._choices[name]
        numbers = sorted({choice.source for choice in found})
        source = numbers[_weighted(draw.random, [self._sources[number].weight for number in numbers])]
        return [[choice] for choice in found if choice.source == source]

    def _one(self, draw: _Draw, name: str, choices: Sequence[_Choice], picks: Sequence[_Pick]) -> _Pick:
        """Draw a song for one stem that is not in the example yet and that fits its first song."""
        stem = choices[0].stem
        anchor = picks[0] if picks else None
        matched = self._mixing.matched if anchor else "none"
        if matched == "none" or anchor is None:
            song = self._song(draw, choices)
            for _ in range(_TRIES_OTHER):
                if all(song.key != pick.song.key for pick in picks):
                    break
                song = self._song(draw, choices)
            return _Pick(name, song, _place(song, stem), self._any_start(draw, song))
        music = music_of(anchor.song, self._cache)
        song = anchor.song
        for _ in range(_TRIES_MATCHING):
            other = self._song(draw, choices)
            fresh = all(other.key != pick.song.key for pick in picks)
            if fresh and fits(music, music_of(other, self._cache), matched):
                song = other
                break
        if stem not in song.stems:
            song = self._song(draw, choices)
        start = self._any_start(draw, song)
        if matched in ("beat", "key"):
            rate = self._cache.form.sample_rate
            second = start_on_beat(music, anchor.start / rate, music_of(song, self._cache), start / rate)
            start = self._on_grid(round(second * rate))
        return _Pick(name, song, _place(song, stem), start)

    def _song(self, draw: _Draw, choices: Sequence[_Choice]) -> CachedSong:
        """Draw a song that can be read."""
        for _ in range(_TRIES_UNBROKEN):
            if draw.turn is not None and choices is self._whole:
                source, place = self._turns[draw.turn % len(self._turns)]
                draw.turn = None  # a broken or silent song is replaced by a drawn one
            else:
                weights = [self._sources[choice.source].weight for choice in choices]
                choice = choices[_weighted(draw.random, weights)]
                source, place = choice.source, choice.places[int(draw.random.integers(len(choice.places)))]
            songs = self._sources[source]
            try:
                song = self._cache.song(songs, songs.number(draw.step, place))
                draw.skipped.extend(song.skipped)
                return song
            except BrokenSong as broken:
                draw.skipped.append(broken.skipped)
        last = draw.skipped[-1]
        raise DatasetError(f"no song can be read; the last one: {last.message}", path=str(last.path))

    def _any_start(self, draw: _Draw, song: CachedSong) -> int:
        """Draw where to cut; a song shorter than the example lies anywhere in it."""
        latest = song.samples - self._samples
        return self._on_grid(int(draw.random.integers(min(0, latest), max(0, latest), endpoint=True)))

    def _start_with(self, draw: _Draw, song: CachedSong, places: Sequence[int | None]) -> int | None:
        """Draw a start where one of the stems sounds."""
        there = [place for place in places if place is not None]
        start = song.start_with(draw.random, there, self._samples)
        return None if start is None else self._on_grid(start)

    def _on_grid(self, start: int) -> int:
        return start // self._grid * self._grid

    def _sounding(self, picks: Sequence[_Pick]) -> bool:
        return any(self._sounds(pick) for pick in picks if pick.target in self._targets)

    def _sounds(self, pick: _Pick) -> bool:
        return pick.place is not None and pick.song.sounds(pick.place, pick.start, self._samples)

    def _mixed(self, picks: Sequence[_Pick]) -> NDArray[np.float32]:
        """Add the cuts of one stem: (channel, sample)."""
        total = np.zeros((self._cache.form.channels, self._samples), np.float32)
        for pick in picks:
            if pick.place is not None:
                total += pick.song.cut(pick.place, pick.start, self._samples)
        return total

    def _salience(self, picks: Sequence[_Pick]) -> Salience | None:
        """Salience of the stem whose pitch is learned; of several files the larger."""
        if self._pitch is None:
            return None
        total: Salience | None = None
        for pick in picks:
            if pick.target == self._pitch.stem and pick.place is not None:
                cut = cut_salience(self._pitch, self._cache, pick.song, pick.place, pick.start, self._samples)
                total = cut if total is None else np.maximum(total, cut)
        if total is None:
            raise UsageError(f"no source gives the stem `{self._pitch.stem}`, whose pitch is to be learned")
        return total


def check_sources(sources: Sequence[Songs], stems: Mapping[str, Sequence[str]]) -> None:
    """Refuse sources that give no examples, before anything is read.

    Raises
    ------
    UsageError
        If a stem is given by no source, or is listed twice.
    """
    check_stems(stems)
    _check_given({name: _choices(sources, stems, name) for name in stems})


def coherent_share(mixing: Mixing, step: int) -> float:
    """Give the share of coherent examples at an update: from `coherent` to `coherent_end`, linear, then constant."""
    if mixing.coherent_end is None:
        return mixing.coherent
    way = min(1.0, step / mixing.coherent_steps)
    return mixing.coherent + (mixing.coherent_end - mixing.coherent) * way


def _choices(sources: Sequence[Songs], stems: Mapping[str, Sequence[str]], name: str) -> list[_Choice]:
    """List where one stem of an example may come from."""
    found: list[_Choice] = []
    for number, songs in enumerate(sources):
        by_place = [songs.stems(place) for place in range(len(songs))]
        if songs.whole:
            places = tuple(place for place, has in enumerate(by_place) if part_of_target(has, stems)[name])
            found += [_Choice(number, places, name)] if places else []
            continue
        classes = part_of_target(tuple(dict.fromkeys(stem for has in by_place for stem in has)), stems)[name]
        found += [
            _Choice(number, tuple(place for place, has in enumerate(by_place) if part in has), part) for part in classes
        ]
    return found


def _check_given(choices: Mapping[str, Sequence[_Choice]]) -> None:
    for name, found in choices.items():
        if not found:
            raise UsageError(f"no source gives the stem `{name}`", hint="check `data.stems` against the sources")


def _place(song: CachedSong, stem: str) -> int | None:
    return song.stems.index(stem) if stem in song.stems else None


def _weighted(random: Generator, weights: Sequence[float]) -> int:
    """Draw a number with a probability in proportion to its weight."""
    edges = np.cumsum(weights)
    return int(min(np.searchsorted(edges, random.random() * edges[-1], side="right"), len(edges) - 1))
