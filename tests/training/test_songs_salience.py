import numpy as np
import pytest
import torch

from mss_cli.training.examples import Key
from mss_cli.training.mixing import RecipeExamples
from mss_cli.training.recipe import Mixing, SongSource
from mss_cli.training.song_cache import CachedSong, Form, SongCache
from mss_cli.training.song_salience import Pitch, PublishedTeacher, cut_salience
from mss_cli.training.songs import Music, open_songs
from mss_models.salience import LOWEST_HZ, best_pitch
from mss_models.stft import StftSettings, stft
from training_songs import RATE, STEMS, write_songs

THESIS = StftSettings(1024, 256)


class FrameNumbers:
    """A teacher that says at which frame it was: bin 0 rises by 1/1024 per frame. Counts how often it is asked."""

    name = "numbers"

    def __init__(self):
        self.asked = 0

    def salience(self, vocals):
        self.asked += 1
        frames = 1 + len(vocals) // 256
        salience = np.zeros((360, frames), np.float32)
        salience[0] = np.arange(1, frames + 1) / 1024
        return salience


def cache_of(tmp_path, rate=22050):
    return SongCache(tmp_path / "cache", Form(rate, 2), {name: (name,) for name in STEMS})


def song_of(tmp_path, cache, **options):
    write_songs(tmp_path / "songs", 1, rate=22050, **options)
    return cache.song(open_songs(SongSource(kind="folders", root=tmp_path / "songs"), 0), 0)


@pytest.mark.parametrize("start", [0, 256, 25600])
def test_frames_of_a_teacher_are_those_of_the_network_where_the_grids_agree(tmp_path, start):
    cache = cache_of(tmp_path)
    song = song_of(tmp_path, cache)
    cut = cut_salience(Pitch(THESIS, 22050, teacher=FrameNumbers()), cache, song, 0, start, 5120)
    assert cut.shape == (360, 23)
    numbers = np.rint(cut[0] * 1024).astype(int) - 1
    expected = start // 256 - 1 + np.arange(23)  # frame k is centred on the sample start + (k - 1) * 256
    np.testing.assert_array_equal(numbers, np.maximum(expected, -1))


def test_outside_of_the_song_nothing_is_heard(tmp_path):
    cache = cache_of(tmp_path)
    song = song_of(tmp_path, cache)
    cut = cut_salience(Pitch(THESIS, 22050, teacher=FrameNumbers()), cache, song, 0, -5120, 2 * 22050 + 10240)
    assert not cut[:, :20].any()
    assert cut[0, 21] > 0
    assert not cut[:, -18:].any()


def test_at_another_rate_each_frame_takes_the_nearest_of_the_teacher(tmp_path):
    cache = cache_of(tmp_path, rate=8192)
    song = song_of(tmp_path, cache)
    transform = StftSettings(1024, 768)
    pitch = Pitch(transform, 8192, teacher=FrameNumbers())
    cut = cut_salience(pitch, cache, song, 0, 768, 8192)
    numbers = np.rint(cut[0] * 1024).astype(int) - 1
    times = (768 + np.arange(transform.frames(8192)) * 768 - 768 + 512) / 8192
    assert np.abs(numbers * 256 / 22050 - times).max() <= 128 / 22050 + 1e-9


def test_a_teacher_is_asked_once_per_song_also_by_another_process(tmp_path):
    cache, teacher = cache_of(tmp_path), FrameNumbers()
    song = song_of(tmp_path, cache)
    for start in (0, 256):
        cut_salience(Pitch(THESIS, 22050, teacher=teacher), cache_of(tmp_path), song, 0, start, 512)
    assert teacher.asked == 1


@pytest.mark.parametrize("content", [b"", b"no array", b"\x93NUMPY\x01\x00v\x00{'descr'"])
def test_a_damaged_answer_of_a_teacher_is_asked_for_again(tmp_path, content):
    cache, teacher = cache_of(tmp_path), FrameNumbers()
    song, pitch = song_of(tmp_path, cache), Pitch(THESIS, 22050, teacher=teacher)
    before = cut_salience(pitch, cache, song, 0, 0, 512)
    (answer,) = (tmp_path / "cache").glob(f"*{teacher.name}.npy")
    answer.write_bytes(content)
    np.testing.assert_array_equal(cut_salience(pitch, cache, song, 0, 0, 512), before)
    assert teacher.asked == 2


def test_notes_are_drawn_where_the_energy_of_their_tone_is(tmp_path):
    rate, frequency = 22050, LOWEST_HZ * 2**3.5
    time = np.arange(2 * rate) / rate
    tone = np.where((time >= 0.7) & (time < 1.1), np.sin(2 * np.pi * frequency * time), 0.0)
    pcm = np.rint(tone * 32767).astype(np.int16)[None, :, None]
    song = CachedSong(
        "k", ("vocals",), (1.0,), pcm, np.ones((1, 8), bool), rate // 4, Music(notes=((0.7, 1.1, frequency),))
    )
    start, samples = 256 * 20, rate
    salience = cut_salience(Pitch(THESIS, rate), cache_of(tmp_path), song, 0, start, samples)
    heard, _ = best_pitch(torch.from_numpy(salience)[None])
    energy = stft(torch.from_numpy(song.cut(0, start, samples)[0]), THESIS).abs().square().sum(dim=0)
    # A note's edge lies in the middle of a frame that hears half of it: where labels and half the energy agree.
    agree = (heard[0] > 0) == (energy > 0.25 * energy.max())
    assert agree.sum() >= len(agree) - 2
    assert heard.max().item() == pytest.approx(frequency, rel=1e-3)


def test_a_mixed_example_has_the_salience_of_the_song_of_its_vocals(tmp_path):
    write_songs(tmp_path / "songs", 4)
    songs = open_songs(SongSource(kind="folders", root=tmp_path / "songs"), 0)
    stems = {name: (name,) for name in STEMS}
    cache = SongCache(tmp_path / "cache", Form(RATE, 2), stems)
    pitch = Pitch(StftSettings(512, 128), RATE, teacher=FrameNumbers())
    examples = RecipeExamples([songs], stems, cache, Mixing(coherent=0.0), seed=0, samples=4096, pitch=pitch)
    for place in range(5):
        example = examples[Key(0, place)]
        assert example.salience.shape == (360, pitch.transform.frames(4096))
        begin = (np.rint(example.salience[0, 2] * 1024) - 1) * 256 / 22050  # frame 2 is one hop behind the start
        found = []
        for number in range(4):
            song = cache.song(songs, number)
            start = round((begin - 128 / RATE) * RATE)
            near = [song.cut(0, start + move, 4096) for move in range(-64, 65)]
            found += [number for cut in near if np.array_equal(cut, example.stems[0])]
        assert len(found) == 1


def test_other_weights_of_a_teacher_have_other_files(tmp_path):
    (tmp_path / "one").write_bytes(b"1")
    (tmp_path / "two").write_bytes(b"2")
    names = {PublishedTeacher(weights).name for weights in (None, tmp_path / "one", tmp_path / "two")}
    assert len(names) == 3
    assert all("/" not in name for name in names)
