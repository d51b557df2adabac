import errno
import multiprocessing
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from mss_cli.errors import OutputError
from mss_cli.training import song_cache
from mss_cli.training.recipe import ClassSource, SongSource
from mss_cli.training.song_cache import BrokenSong, CachedSong, Form, SongCache
from mss_cli.training.songs import Music, Song, Sound, open_songs
from training_songs import RATE, fill_cache, write_song, write_songs

WANTED = {"vocals": ("vocals",), "accompaniment": ("*",)}


def songs_of(root, kind="folders"):
    return open_songs(SongSource(kind=kind, root=root), 0)


def cache_of(tmp_path, *, rate=RATE, channels=2, wanted=WANTED):
    return SongCache(tmp_path / "cache", Form(rate, channels), wanted)


UNKNOWN = Music()


def played(stems, rate=RATE, music=UNKNOWN):
    """A source of one song from arrays."""
    sounds = lambda: {name: Sound(rate, x.shape[0], [x]) for name, x in stems.items()}  # noqa: E731
    return SimpleNamespace(
        whole=True,
        weight=1.0,
        load=lambda number: Song(sounds(), music),
        replaced=lambda number: number - 2 if number > 1 else None,
        fingerprint=lambda number: f"played {number}",
        path=lambda number: "played",
    )


def test_sixteen_bit_files_come_back_bit_by_bit(tmp_path):
    read = write_songs(tmp_path / "songs", 1)["song 0"]
    song = cache_of(tmp_path).song(songs_of(tmp_path / "songs"), 0)
    assert song.stems == ("vocals", "accompaniment")
    np.testing.assert_array_equal(song.cut(0, 0, song.samples), read["vocals"])
    rest = read["drums"] + read["bass"] + read["other"]
    np.testing.assert_array_equal(song.cut(1, 0, song.samples), rest)


@pytest.mark.parametrize("content", [b"", b'{"stems": ["vo', b"{}", b"\x93NUMPY\x01\x00v\x00{'descr'"])
@pytest.mark.parametrize("suffix", ["json", "npy"])
def test_a_damaged_file_of_the_cache_is_made_again(tmp_path, suffix, content):
    write_songs(tmp_path / "songs", 1)
    before = cache_of(tmp_path).song(songs_of(tmp_path / "songs"), 0)
    kept = np.array(before.pcm)
    (damaged,) = (tmp_path / "cache").glob(f"*.{suffix}")
    damaged.unlink()  # what is mapped into memory stays whole
    damaged.write_bytes(content)
    song_cache._opened.cache_clear()  # as in another process
    again = cache_of(tmp_path).song(songs_of(tmp_path / "songs"), 0)
    np.testing.assert_array_equal(again.pcm, kept)


def test_stems_beyond_full_scale_keep_their_shape(tmp_path):
    loud = np.array([[0.0, 3.0, -2.0, 1.0] * RATE], np.float32)
    song = cache_of(tmp_path, channels=1).song(played({"vocals": loud}), 0)
    np.testing.assert_allclose(song.cut(0, 0, song.samples), loud, atol=3.0 / 32767)


@given(start=st.integers(-3 * RATE, 3 * RATE), samples=st.integers(1, 3 * RATE))
def test_a_cut_is_the_song_between_endless_zeros(start, samples):
    pcm = np.random.default_rng(0).integers(-32768, 32767, (1, RATE, 2), np.int16, endpoint=True)
    song = CachedSong("key", ("vocals",), (1.0,), pcm, np.ones((1, 4), bool), RATE // 4, Music())
    endless = np.zeros((2, 9 * RATE), np.float32)
    endless[:, 3 * RATE : 4 * RATE] = pcm[0].T / np.float32(32768)
    np.testing.assert_array_equal(
        song.cut(0, start, samples), endless[:, 3 * RATE + start : 3 * RATE + start + samples]
    )


@pytest.mark.parametrize(("given_channels", "wanted_channels"), [(1, 2), (2, 1), (2, 2), (6, 2), (6, 1)])
def test_songs_come_in_the_channels_and_rate_of_the_network(tmp_path, given_channels, wanted_channels):
    time = np.arange(2 * RATE) / RATE
    tone = np.tile(np.sin(2 * np.pi * 440 * time), (given_channels, 1)).astype(np.float32) * 0.1
    song = cache_of(tmp_path, rate=2 * RATE, channels=wanted_channels).song(played({"vocals": tone}), 0)
    cut = song.cut(0, 0, song.samples)
    assert cut.shape == (wanted_channels, 4 * RATE)
    spectrum = np.abs(np.fft.rfft(cut[0]))
    assert np.argmax(spectrum) == 880  # 440 Hz in 2 s


def test_a_song_is_decoded_once(tmp_path):
    read = write_songs(tmp_path / "songs", 1)["song 0"]
    songs = songs_of(tmp_path / "songs")
    cache_of(tmp_path).song(songs, 0)
    songs.load = None  # whoever decodes again fails
    np.testing.assert_array_equal(cache_of(tmp_path).song(songs, 0).cut(0, 0, 5), read["vocals"][:, :5])


def test_what_is_known_of_the_music_comes_back(tmp_path):
    music = Music(121.5, "F# minor", (0.0, 0.5), ((0.1, 0.2, 440.0),))
    noise = np.full((1, RATE), 0.5, np.float32)
    assert cache_of(tmp_path).song(played({"vocals": noise}, music=music), 0).music == music


def test_other_stems_rate_or_files_make_another_entry(tmp_path):
    write_songs(tmp_path / "songs", 1)
    songs = songs_of(tmp_path / "songs")
    keys = {
        cache_of(tmp_path).key(songs, 0),
        cache_of(tmp_path, rate=4000).key(songs, 0),
        cache_of(tmp_path, channels=1).key(songs, 0),
        cache_of(tmp_path, wanted={"vocals": ("vocals",)}).key(songs, 0),
    }
    write_song(tmp_path / "songs" / "song 0", seconds=3.0)
    keys.add(cache_of(tmp_path).key(songs_of(tmp_path / "songs"), 0))
    assert len(keys) == 5


def break_text(path):
    path.write_bytes(b"this is no sound")


def break_cut(path):
    path.write_bytes(path.read_bytes()[:30])


def break_nan(path):
    soundfile.write(path, np.full((RATE, 2), np.nan), RATE, subtype="FLOAT")


def break_silent(path):
    for stem in path.parent.glob("*.wav"):
        soundfile.write(stem, np.zeros((RATE, 2)), RATE)


@pytest.mark.parametrize("damage", [break_text, break_cut, break_silent])
def test_a_damaged_song_is_told_of_and_tried_once(tmp_path, damage):
    write_songs(tmp_path / "songs", 1)
    damage(tmp_path / "songs" / "song 0" / "vocals.wav")
    songs = songs_of(tmp_path / "songs")
    with pytest.raises(BrokenSong) as first:
        cache_of(tmp_path).song(songs, 0)
    assert first.value.skipped.path == tmp_path / "songs" / "song 0"
    songs.load = None
    with pytest.raises(BrokenSong) as second:
        cache_of(tmp_path).song(songs, 0)
    assert second.value.skipped == first.value.skipped


def test_samples_that_are_no_numbers_make_a_song_broken(tmp_path):
    write_songs(tmp_path / "songs", 1)
    break_nan(tmp_path / "songs" / "song 0" / "vocals.wav")
    with pytest.raises(BrokenSong, match="NaN"):
        cache_of(tmp_path).song(songs_of(tmp_path / "songs"), 0)
    with pytest.raises(BrokenSong, match="no numbers"):  # a source that decodes otherwise
        cache_of(tmp_path).song(played({"vocals": np.array([[0.1, np.inf]], np.float32)}), 0)


def test_a_repaired_song_is_tried_again(tmp_path):
    write_songs(tmp_path / "songs", 1)
    break_text(tmp_path / "songs" / "song 0" / "vocals.wav")
    with pytest.raises(BrokenSong):
        cache_of(tmp_path).song(songs_of(tmp_path / "songs"), 0)
    write_songs(tmp_path / "songs", 1)
    assert cache_of(tmp_path).song(songs_of(tmp_path / "songs"), 0).samples == 2 * RATE


def test_a_song_left_half_written_by_a_kill_is_made_again(tmp_path):
    read = write_songs(tmp_path / "songs", 1)["song 0"]
    songs, cache = songs_of(tmp_path / "songs"), cache_of(tmp_path)
    (tmp_path / "cache" / f"{cache.key(songs, 0)}.npy").write_bytes(b"half")
    np.testing.assert_array_equal(cache.song(songs, 0).cut(0, 0, 9), read["vocals"][:, :9])


def test_a_full_disk_is_no_broken_song(tmp_path, monkeypatch):
    write_songs(tmp_path / "songs", 1)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "no space")

    cache = cache_of(tmp_path)
    monkeypatch.setattr(song_cache.np, "save", full)
    with pytest.raises(OutputError, match="disk full"):
        cache.song(songs_of(tmp_path / "songs"), 0)
    assert list((tmp_path / "cache").iterdir()) == []


def test_songs_that_were_replaced_leave_the_disk(tmp_path):
    cache = cache_of(tmp_path, channels=1)
    songs = played({"vocals": np.full((1, RATE), 0.5, np.float32)})
    for number in range(4):
        cache.song(songs, number)
    kept = {path.stem for path in (tmp_path / "cache").glob("*.json")}
    assert kept == {cache.key(songs, number) for number in (2, 3)}


def test_several_processes_may_fill_one_cache(tmp_path):
    read = write_songs(tmp_path / "songs", 3)
    context = multiprocessing.get_context("spawn")
    gate = context.Barrier(2)
    form = (Form(RATE, 2), WANTED)
    paths = (tmp_path / "songs", tmp_path / "cache")
    workers = [context.Process(target=fill_cache, args=(*paths, *form, gate)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert {path.suffix for path in (tmp_path / "cache").iterdir()} == {".npy", ".json"}
    songs, cache = songs_of(tmp_path / "songs"), cache_of(tmp_path)
    for number in range(3):
        vocals = read[songs.path(number).name]["vocals"]
        np.testing.assert_array_equal(cache.song(songs, number).cut(0, 0, 2 * RATE), vocals)


def test_a_quarter_second_sounds_from_minus_60_db(tmp_path):
    level = np.repeat([0.0, 0.9e-3, 1.1e-3, 0.5], RATE // 4)
    tone = (level * np.where(np.arange(RATE) % 2, 1, -1))[None].astype(np.float32)
    song = cache_of(tmp_path, channels=1).song(played({"vocals": tone}), 0)
    assert song.sounding[0].tolist() == [False, False, True, True]
    assert song.sounds(0, RATE // 2, RATE // 4)
    assert not song.sounds(0, 0, RATE // 2)
    assert not song.sounds(0, 0, RATE // 2 + 10)
    assert not song.sounds(0, 0, 100)
    assert song.sounds(0, RATE - 100, 300)


@given(seed=st.integers(0, 2**32), samples=st.integers(1, 3 * RATE), begin=st.integers(0, 2 * RATE - 50))
def test_a_drawn_start_shows_what_sounds_and_stays_in_the_song(seed, samples, begin):
    pcm = np.zeros((1, 2 * RATE, 1), np.int16)
    pcm[0, begin : begin + 50] = 3000  # mean power over a quarter of a second: -36 dB
    stretch = RATE // 4
    sounding = np.zeros((1, 8), bool)
    sounding[0, begin // stretch : (begin + 49) // stretch + 1] = True
    sounding &= np.square(pcm[0].reshape(8, -1) / 32768).mean(axis=1)[None] > 1e-6
    song = CachedSong("key", ("vocals",), (1.0,), pcm, sounding, stretch, UNKNOWN)
    start = song.start_with(np.random.default_rng(seed), [0], samples)
    assert min(0, song.samples - samples) <= start <= max(0, song.samples - samples)
    assert song.cut(0, start, samples).any()


def test_a_stem_that_never_sounds_has_no_start(tmp_path):
    stems = {"vocals": np.full((1, RATE), 0.5, np.float32), "drums": np.zeros((1, RATE), np.float32)}
    song = cache_of(tmp_path, channels=1).song(played(stems), 0)
    random = np.random.default_rng(0)
    assert song.start_with(random, [1], 100) is None
    assert song.start_with(random, [], 100) is None
    assert song.start_with(random, [0, 1], 100) is not None


def test_files_of_a_class_keep_their_own_name(tmp_path):
    (tmp_path / "classes" / "cowbell").mkdir(parents=True)
    soundfile.write(tmp_path / "classes" / "cowbell" / "hit.wav", np.full((RATE, 1), 0.25), RATE)
    songs = open_songs(ClassSource(kind="classes", root=tmp_path / "classes"), 0)
    assert cache_of(tmp_path).song(songs, 0).stems == ("cowbell",)
