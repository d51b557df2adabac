from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss_cli.training.examples import Key
from mss_cli.training.matching import estimated, fits, key_of, music_of, scale_of, start_on_beat
from mss_cli.training.mixing import RecipeExamples
from mss_cli.training.recipe import Mixing
from mss_cli.training.song_cache import Form, SongCache
from mss_cli.training.songs import TONICS, Music, Song, Sound
from training_songs import RATE, STEMS, where


@pytest.mark.parametrize(
    ("first", "second", "match"),
    [(120.0, 122.0, True), (120.0, 124.0, False), (120.0, 60.5, True), (120.0, 240.0, True), (120.0, 30.0, False)],
)
def test_tempos_match_within_2_percent_or_an_octave(first, second, match):
    assert fits(Music(first), Music(second), "tempo") is match
    assert fits(Music(second), Music(first), "tempo") is match
    assert fits(Music(first), Music(second), "none")


def test_what_is_not_known_of_a_song_matches_nothing_but_asks_for_nothing():
    assert not fits(Music(120.0), Music(None), "tempo")
    assert fits(Music(None), Music(120.0), "tempo")
    assert not fits(Music(120.0, "C major"), Music(120.0, None), "key")


@pytest.mark.parametrize(
    ("key", "relative"),
    [
        ("A minor", "C major"), ("D dorian", "C major"), ("G mixolydian", "C major"), ("E phrygian", "C major"),
        ("F# minor", "A major"), ("Bb major", "G minor"), ("A harmonic minor", "A minor"),
    ],
)  # fmt: skip
def test_keys_match_by_the_notes_of_their_scale(key, relative):
    assert scale_of(key) == scale_of(relative)
    assert fits(Music(100.0, key), Music(100.0, relative), "key")
    assert not fits(Music(100.0, key), Music(100.0, "C# major"), "key")


def test_a_word_that_is_no_key_is_refused():
    with pytest.raises(ValueError, match="no key"):
        scale_of("H minor")


@given(
    first=st.floats(0.2, 1.5),
    shift=st.floats(0, 0.2),
    begin=st.floats(0, 20),
    second=st.floats(0, 20),
)
def test_a_start_on_the_beat_puts_a_beat_on_a_beat_and_moves_by_half_a_beat_at_most(first, shift, begin, second):
    one = Music(60 / first, beats=tuple(np.arange(0, 40, first)))
    two = Music(60 / first, beats=tuple(shift + np.arange(-1, 40 / first) * first))
    start = start_on_beat(one, begin, two, second)
    phase = ((begin - start) - (0 - shift)) / first
    assert phase == pytest.approx(round(phase), abs=1e-6)
    assert abs(start - second) <= first / 2 + 1e-9


def test_songs_without_beats_stay_where_they_are():
    assert start_on_beat(Music(), 1.0, Music(beats=(0.0, 1.0)), 3.3) == 3.3
    assert start_on_beat(Music(beats=(0.0, 1.0)), 1.0, Music(), 3.3) == 3.3


@pytest.mark.parametrize("tonic", range(12))
@pytest.mark.parametrize(("mode", "steps"), [("major", (0, 4, 7, 5, 9, 2, 11)), ("minor", (0, 3, 7, 5, 8, 2, 10))])
def test_a_scale_with_a_strong_triad_names_its_key(tonic, mode, steps):
    chroma = np.zeros(12)
    for place, step in enumerate(steps):
        chroma[(tonic + step) % 12] = 3.0 if place < 3 else 1.0
    assert key_of(chroma) == f"{TONICS[tonic]} {mode}"


def test_no_pitch_is_no_key():
    assert key_of([0.0] * 12) is None
    assert key_of([float("nan")] * 12) is None


@pytest.mark.slow
def test_tempo_beats_and_key_of_a_recording_are_found():
    pytest.importorskip("librosa")
    rate, beat = 22050, 0.5
    time = np.arange(12 * rate) / rate
    chord = sum(np.sin(2 * np.pi * 440 * 2 ** (note / 12) * time) for note in (3, 7, 10)) / 3  # C E G
    clicks = np.random.default_rng(0).standard_normal(len(time)) * np.exp(-(time % beat) / 0.01)
    music = estimated((0.1 * chord + clicks * 0.5).astype(np.float32), rate)
    assert music.tempo == pytest.approx(120.0, rel=0.02)
    distance = np.array(music.beats) / beat
    assert np.abs(distance - np.rint(distance)).max() < 0.1
    assert music.key == "C major"


class Played:
    """Songs of noise with known music: song n has the tempo and the key of that place."""

    whole, weight = True, 1.0

    def __init__(self, musics):
        self.musics = musics

    def __len__(self):
        return len(self.musics)

    def number(self, step, place):
        return place

    def replaced(self, number):
        return None

    def stems(self, place):
        return STEMS

    def path(self, number):
        return f"song {number}"

    def fingerprint(self, number):
        return repr((number, self.musics[number]))

    def samples(self, number):
        noise = np.random.default_rng(number).integers(-3000, 3000, (4, 1, 8 * RATE))
        return (noise / 32768).astype(np.float32)

    def load(self, number):
        sounds = {name: Sound(RATE, 1, [x]) for name, x in zip(STEMS, self.samples(number), strict=True)}
        return Song(sounds, self.musics[number])


def beats(tempo, shift):
    return tuple(shift + np.arange(0, 8, 60 / tempo))


def origins(example, songs):
    found = []
    for place, cut in enumerate(example.stems):
        starts = [(number, where(cut, songs.samples(number)[place])) for number in range(len(songs))]
        found.append(next(start for start in starts if start[1] >= 0))
    return found


@pytest.mark.parametrize("matched", ["tempo", "beat", "key"])
def test_mixed_stems_share_what_the_recipe_says(tmp_path, matched):
    musics = [
        Music(tempo, key, beats(tempo, 0.01 * number))
        for number, (tempo, key) in enumerate(
            (tempo, key) for tempo in (90.0, 120.0) for key in ("C major", "A minor", "D major", "B minor")
        )
    ]
    songs = Played(musics)
    stems = {name: (name,) for name in STEMS}
    cache = SongCache(tmp_path, Form(RATE, 1), stems)
    mixing = Mixing(coherent=0.0, matched=matched)
    examples = RecipeExamples([songs], stems, cache, mixing, seed=0, samples=2000)
    for place in range(8):
        found = origins(examples[Key(0, place)], songs)
        chosen = [musics[number] for number, _ in found]
        assert len({music.tempo for music in chosen}) == 1
        assert len({number for number, _ in found}) > 1
        if matched == "key":
            assert len({scale_of(music.key) for music in chosen}) == 1
        if matched != "tempo":
            turns = [
                (start / RATE - music.beats[0]) / (60 / music.tempo)
                for (_, start), music in zip(found, chosen, strict=True)
            ]
            distances = np.array(turns) - turns[0]
            assert np.abs(distances - np.rint(distances)).max() < 0.01


def test_what_was_estimated_is_kept_beside_the_song(tmp_path):
    pytest.importorskip("librosa")
    songs = Played([Music()])
    cache = SongCache(tmp_path, Form(RATE, 1), {name: (name,) for name in STEMS})
    song = cache.song(songs, 0)
    first = music_of(song, cache)
    kept = SimpleNamespace(music=Music(), key=song.key)  # without samples nothing can be estimated again
    assert music_of(kept, cache) == first
