import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mss_cli.errors import DatasetError
from mss_cli.training.examples import Key
from mss_cli.training.mixing import RecipeExamples
from mss_cli.training.recipe import Mixing, NoteSource
from mss_cli.training.song_cache import Form, SongCache
from mss_cli.training.song_salience import Pitch
from mss_cli.training.songs import open_songs
from mss_models.salience import pitches
from mss_models.stft import StftSettings, stft
from training_songs import STEMS, write_pack

RATE = 22050
THESIS = StftSettings(1024, 256)
TWO = {"vocals": ("vocals",), "accompaniment": ("*",)}


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    return write_pack(tmp_path_factory.mktemp("pack"))


def source(pack, **options):
    return NoteSource(kind="notes", root=pack, **{"songs": 3, "seconds": 6.0, "vocals": "sung-notes"} | options)


@settings(deadline=None)
@given(step=st.integers(0, 1000), songs=st.integers(1, 20), refresh=st.integers(1, 100))
def test_every_place_gets_its_next_song_once_in_refresh_steps(pack, step, songs, refresh):
    pool = open_songs(source(pack, songs=songs, refresh_steps=refresh), 0)
    for place in range(songs):
        numbers = [pool.number(step + more, place) for more in range(refresh + 1)]
        assert numbers[-1] == numbers[0] + songs
        assert sorted(numbers) == numbers
        assert {number % songs for number in numbers} == {place}
    assert [pool.number(0, place) for place in range(songs)] == list(range(songs))


def test_songs_are_not_renewed_all_at_one_step(pack):
    pool = open_songs(source(pack, songs=10, refresh_steps=100), 0)
    numbers = np.array([[pool.number(step, place) for place in range(10)] for step in range(101)])
    changes = (np.diff(numbers, axis=0) != 0).sum(axis=1)
    assert max(changes) == 1
    assert sum(changes) == 10


def test_without_refresh_the_first_songs_stay(pack):
    pool = open_songs(source(pack), 0)
    assert [pool.number(10**6, place) for place in range(3)] == [0, 1, 2]


def test_what_was_replaced_is_two_songs_old(pack):
    pool = open_songs(source(pack, songs=3, refresh_steps=1), 0)
    assert [pool.replaced(number) for number in (0, 5, 6, 8)] == [None, None, 0, 2]


def test_a_song_is_a_function_of_seed_and_number(pack):
    def vocals(seed, number):
        return open_songs(source(pack), seed).load(number).stems["bass"].blocks[0]

    np.testing.assert_array_equal(vocals(1, 0), vocals(1, 0))
    assert not np.array_equal(vocals(1, 0), vocals(2, 0))
    assert not np.array_equal(vocals(1, 0), vocals(1, 1))
    prints = {open_songs(source(pack), seed).fingerprint(number) for seed in (1, 2) for number in (0, 1)}
    assert len(prints) == 4


def test_a_gpu_that_does_not_serve_is_given_up_for_the_cpu(pack):
    songs = open_songs(source(pack), 1, device="xla")  # a device that this torch has no code for
    expected = open_songs(source(pack), 1).load(0).stems
    with pytest.warns(RuntimeWarning, match="played on the CPU"):
        first = songs.load(0)
    for song in (first, songs.load(0)):  # the second without a warning, which would be an error
        for name, sound in song.stems.items():
            np.testing.assert_array_equal(sound.blocks[0], expected[name].blocks[0])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_plays_the_songs_of_a_training(pack):
    there = open_songs(source(pack), 1, device="cuda").load(0).stems  # a warning would be an error
    here = open_songs(source(pack), 1).load(0).stems
    for name, sound in there.items():
        np.testing.assert_allclose(sound.blocks[0], here[name].blocks[0], atol=1e-2)


def test_a_song_has_four_stems_a_tempo_and_beats(pack):
    song = open_songs(source(pack), 0).load(0)
    assert tuple(song.stems) == STEMS
    assert all(sound.blocks[0].shape == (2, 6 * 44100) for sound in song.stems.values())
    assert np.diff(song.music.beats).mean() == pytest.approx(60 / song.music.tempo, rel=0.01)


def test_only_sung_notes_have_labels(pack):
    assert open_songs(source(pack), 0).load(0).music.notes is not None
    assert open_songs(source(pack, vocals="any"), 0).load(0).music.notes is None


def test_a_folder_that_is_no_pack_is_told_of_before_the_training(tmp_path):
    with pytest.raises(DatasetError, match="index.csv"):
        open_songs(source(tmp_path), 0)


def test_labels_lie_on_the_frames_in_which_the_notes_sound(pack, tmp_path):
    cache = SongCache(tmp_path, Form(RATE, 1), TWO)
    examples = RecipeExamples(
        [open_songs(source(pack), 4)],
        TWO,
        cache,
        Mixing(silence=0.0),
        seed=0,
        samples=2 * RATE,
        targets=("vocals",),
        pitch=Pitch(THESIS, RATE),
    )
    shifts = (-40, -20, -10, 0, 10, 20, 40)
    explained = dict.fromkeys(shifts, 0.0)
    total = 0.0
    for place in range(6):
        example = examples[Key(0, place)]
        assert example.salience.shape == (360, THESIS.frames(2 * RATE))
        power = stft(torch.from_numpy(example.stems[0, 0]), THESIS).abs().square()  # (bin, frame)
        partials = _partials(pitches(torch.from_numpy(example.salience)[None])[0][0])
        total += float(power[:, 40:-40].sum())
        for shift in shifts:
            explained[shift] += float((power * partials.roll(shift, dims=1))[:, 40:-40].sum())
    shares = {shift: power / total for shift, power in explained.items()}
    assert shares[0] > 0.8
    assert max(shares, key=shares.get) == 0


def _partials(voices):
    """Mark the bins of four partials of every pitch: (voice, frame) in Hz to (bin, frame)."""
    marked = torch.zeros(THESIS.bins, voices.shape[1])
    for voice, frame in torch.nonzero(voices).tolist():
        for partial in range(1, 5):
            place = round(partial * float(voices[voice, frame]) / RATE * THESIS.n_fft)
            marked[max(0, place - 2) : place + 3, frame] = 1.0
    return marked


def test_without_labels_they_cannot_be_asked_for(pack, tmp_path):
    songs = open_songs(source(pack, vocals="any"), 0)
    cache = SongCache(tmp_path, Form(RATE, 1), TWO)
    examples = RecipeExamples([songs], TWO, cache, Mixing(), seed=0, samples=RATE, pitch=Pitch(THESIS, RATE))
    with pytest.raises(DatasetError, match="no pitch labels"):
        examples[Key(0, 0)]
