from pathlib import Path

import numpy as np
import pytest
import torch

from mss_cli.datasets.player.grains import cut
from mss_cli.datasets.player.pack import open_pack
from mss_cli.datasets.player.pitch import track_pitch
from mss_cli.datasets.player.rhythm import DRUM_STYLES, LEVELS, STEPS
from mss_cli.datasets.player.song import SongStyle, play_song
from mss_cli.datasets.player.stretching import retuned, stretched
from sample_packs import RATE, voice_like, write_pack

REAL = Path(__file__).parents[3].parent / "shared" / "data" / "stems-v1"
PLAIN = SongStyle(production=False, rests=False, absent=0.0)


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    return open_pack(write_pack(tmp_path_factory.mktemp("pack")))


def measured_hertz(sound, *, near):
    """Pitch of a stretch by the highest peak of its autocorrelation within a fifth, refined by a parabola."""
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(sound.size), 4 * sound.size)) ** 2
    alike = np.fft.irfft(spectrum)[: sound.size]
    low, high = int(RATE / near / 1.45), int(RATE / near * 1.45)
    at = low + int(np.argmax(alike[low:high]))
    a, b, c = alike[at - 1 : at + 2]
    return RATE / (at + 0.5 * (a - c) / (a - 2 * b + c))


@pytest.mark.parametrize("seed", range(6))
def test_songs_are_finite_loud_within_full_scale_and_as_long_as_asked(pack, seed):
    song = play_song(pack, seed=seed, seconds=5.3)
    assert song.stems.shape == (4, 2, round(5.3 * RATE))
    assert song.stems.dtype == np.float32
    assert np.isfinite(song.stems).all()
    assert 0.05 < np.abs(song.stems.sum(axis=0)).max() <= 1.0
    assert 70 <= song.tempo <= 170
    np.testing.assert_allclose(np.diff(song.beats), 60 / song.tempo, atol=1e-5)


def test_equal_seeds_give_equal_songs_bit_for_bit_also_from_a_fresh_pack(pack, tmp_path):
    play_song(pack, seed=2, seconds=3)  # what was played before must not matter
    first = play_song(pack, seed=7, seconds=4)
    second = play_song(open_pack(write_pack(tmp_path)), seed=7, seconds=4)
    np.testing.assert_array_equal(first.stems, second.stems)
    assert (first.notes, first.description) == (second.notes, second.description)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("seed", range(12))
def test_a_gpu_plays_the_same_song(pack, seed, monkeypatch):
    # A coder makes much of the last bits, on which devices differ.
    monkeypatch.setattr("mss_cli.datasets.player.mixing.coded", lambda track, **_: track)
    there = play_song(pack, seed=seed, seconds=5, device="cuda")
    here = play_song(pack, seed=seed, seconds=5)
    assert there.description == here.description
    assert isinstance(there.stems, np.ndarray)
    assert np.abs(there.stems - here.stems).max() < 1e-3


def test_other_seeds_give_other_songs(pack):
    assert play_song(pack, seed=1, seconds=2).description != play_song(pack, seed=2, seconds=2).description


@pytest.mark.parametrize("seed", range(3))
def test_no_stem_is_silent_where_none_rests(pack, seed):
    song = play_song(pack, seed=seed, seconds=10, style=PLAIN)
    assert (np.abs(song.stems).max(axis=(1, 2)) > 0.01).all()


@pytest.mark.parametrize("seed", range(3))
def test_the_labelled_pitch_of_sung_notes_is_the_measured_one(pack, seed):
    style = SongStyle(vocals="sung-notes", production=False, rests=False, absent=0.0, harmonies=False)
    song = play_song(pack, seed=seed, seconds=12, style=style)
    vocals = song.stems[0].mean(axis=0)
    cents = []
    for number, note in enumerate(song.notes):
        after = song.notes[number + 1].start if number + 1 < len(song.notes) else 12.0
        start, end = note.start + 0.08, min(note.end, after) - 0.02  # beyond the tail of the note before
        if end - start > 0.06:
            part = vocals[round(start * RATE) : round(end * RATE)]
            cents.append(abs(1200 * np.log2(measured_hertz(part, near=note.frequency) / note.frequency)))
    assert len(cents) >= 5
    assert np.median(cents) < 5
    assert np.mean(np.array(cents) < 25) > 0.9


def test_notes_lie_within_the_song_and_phrases_have_none(pack):
    notes = play_song(pack, seed=3, seconds=8, style=SongStyle(vocals="sung-notes", rests=False, absent=0.0)).notes
    assert notes
    assert all(0 <= note.start < note.end <= 8 and 50 < note.frequency < 1500 for note in notes)
    assert play_song(pack, seed=3, seconds=8, style=SongStyle(vocals="phrases")).notes == ()


def test_drums_sound_on_the_grid(pack):
    song = play_song(pack, seed=5, seconds=10, style=PLAIN)
    loud = np.sqrt(np.square(song.stems[1].mean(axis=0)[: 10 * RATE // 88 * 88].reshape(-1, 88)).mean(axis=1))
    onsets = np.flatnonzero((loud[1:] > 0.3 * loud.max()) & (loud[1:] > 4 * loud[:-1])) * 88 / RATE
    step = 15 / song.tempo
    late = onsets / step - np.round(onsets / step)
    assert onsets.size >= 8
    # Humanisation is 21 ms at most, swing a third of a step.
    assert (np.abs(late) * step < 0.024 + 0.34 * step).all()


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan")])
def test_a_length_that_is_not_positive_is_refused(pack, seconds):
    with pytest.raises(ValueError, match="seconds must be positive"):
        play_song(pack, seed=0, seconds=seconds)


def test_a_song_may_be_a_tenth_of_a_second(pack):
    assert np.isfinite(play_song(pack, seed=0, seconds=0.1, style=PLAIN).stems).all()


@pytest.mark.skipif(not REAL.is_dir(), reason="../shared/data/stems-v1 is not there")
@pytest.mark.parametrize("vocals", ["any", "sung-notes", "phrases", "recorded"])
def test_the_real_pack_plays(vocals):
    pack = open_pack(REAL, split="valid" if vocals != "sung-notes" else "train")
    song = play_song(pack, seed=11, seconds=6, style=SongStyle(vocals=vocals))
    assert not pack.broken
    assert np.isfinite(song.stems).all()
    assert np.abs(song.mixture).max() > 0.05


@pytest.mark.parametrize("style", DRUM_STYLES, ids=lambda style: style.name)
def test_patterns_are_a_bar_of_known_marks(style):
    for pattern in (*style.kicks, *style.snares, *style.hats, *style.opens):
        assert len(pattern) == STEPS
        assert set(pattern) <= {*LEVELS, "."}


@pytest.mark.parametrize("hertz", [98.0, 196.0, 441.3])
def test_the_pitch_of_a_tone_is_found_within_two_cents(hertz):
    track = track_pitch(voice_like(hertz, 1.0))
    inner = track.hertz[track.first + 8 : track.last - 8]  # windows of the others reach beyond the note
    assert track.last - track.first > 120
    assert np.abs(1200 * np.log2(inner / hertz)).max() < 2


def test_a_sliding_note_is_bent_to_one_pitch():
    time = np.arange(RATE) / RATE
    slide = 200 * 2 ** (np.sin(3 * time) / 12)
    sound = np.sin(2 * np.pi * np.cumsum(slide) / RATE).astype(np.float32)[None]
    bent, start, end = retuned(sound, track_pitch(sound[0]), hertz=240.0)
    inside = bent[0, round((start + 0.02) * RATE) : round((end - 0.02) * RATE)]
    for part in np.array_split(inside, 5):
        assert abs(1200 * np.log2(measured_hertz(part, near=240) / 240)) < 8


@pytest.mark.parametrize("ratio", [0.7, 1.3])
def test_stretching_changes_the_length_and_keeps_the_pitch(ratio):
    out = stretched(voice_like(220, 2.0)[None], ratio)
    assert out.shape == (1, round(2 * RATE * ratio))
    assert abs(1200 * np.log2(measured_hertz(out[0, 20000:40000], near=220) / 220)) < 5


def test_recorded_voices_are_never_sung_again_from_their_periods(pack, monkeypatch):
    seen = []
    for module in ("phrases", "singing"):
        name = f"mss_cli.datasets.player.{module}.cut"
        monkeypatch.setattr(name, lambda *args, **kwargs: seen.append(1) or cut(*args, **kwargs))

    def manners(choice):
        style = SongStyle(vocals=choice, rests=False, absent=0.0)
        songs = [play_song(pack, seed=seed, seconds=2, style=style) for seed in range(12)]
        return {song.description.split("voice: ")[1].split(" ")[0] for song in songs}

    assert {"phrases"} < manners("recorded") <= {"phrases", "free", "notes"}
    assert not seen
    manners("any")
    assert seen
