from collections import Counter

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from mss_cli.errors import DatasetError, UsageError
from mss_cli.training.examples import Key
from mss_cli.training.mixing import RecipeExamples, coherent_share
from mss_cli.training.recipe import ClassSource, Mixing, SongSource
from mss_cli.training.song_cache import Form, SongCache
from mss_cli.training.songs import open_songs
from training_songs import RATE, STEMS, where, write_song, write_songs

FOUR = {name: (name,) for name in STEMS}
SAMPLES = 1000


def folders(root, **options):
    return open_songs(SongSource(kind="folders", root=root, **options), 0)


def examples_of(tmp_path, sources, *, stems=FOUR, seed=7, samples=SAMPLES, channels=2, mixing=None, **options):
    cache = SongCache(tmp_path / "cache", Form(RATE, channels), stems)
    return RecipeExamples(sources, stems, cache, mixing or Mixing(), seed=seed, samples=samples, **options)


def origins(example, songs):
    """Name the song and the start of every stem of an example."""
    found = []
    for stem, cut in zip(STEMS, example.stems, strict=True):
        places = [(name, where(cut, read[stem])) for name, read in songs.items()]
        found.append(next(place for place in places if place[1] >= 0))
    return found


def test_a_coherent_example_is_one_song_at_one_time(tmp_path):
    songs = write_songs(tmp_path / "songs", 4)
    examples = examples_of(tmp_path, [folders(tmp_path / "songs")])
    seen = [origins(examples[Key(0, place)], songs) for place in range(20)]
    assert all(len(set(found)) == 1 for found in seen)
    assert {found[0][0] for found in seen} == set(songs)
    assert len({found[0][1] for found in seen}) > 15


def test_a_mixed_example_takes_every_stem_from_another_song(tmp_path):
    songs = write_songs(tmp_path / "songs", 8)
    examples = examples_of(tmp_path, [folders(tmp_path / "songs")], mixing=Mixing(coherent=0.0))
    for place in range(20):
        found = origins(examples[Key(0, place)], songs)
        assert len({name for name, _ in found}) == 4
        assert len({start for _, start in found}) == 4


def test_one_song_alone_can_be_mixed_with_itself(tmp_path):
    songs = write_songs(tmp_path / "songs", 1)
    examples = examples_of(tmp_path, [folders(tmp_path / "songs")], mixing=Mixing(coherent=0.0))
    assert len({start for _, start in origins(examples[Key(0, 0)], songs)}) == 4


def test_equal_keys_give_equal_bits_in_any_order_and_from_any_cache(tmp_path):
    write_songs(tmp_path / "songs", 3)
    keys = [Key(step, place) for step in (0, 5) for place in range(4)]
    mixing = Mixing(coherent=0.5)
    first = examples_of(tmp_path, [folders(tmp_path / "songs")], mixing=mixing)
    forward = [first[key] for key in keys]
    second = examples_of(tmp_path / "elsewhere", [folders(tmp_path / "songs")], mixing=mixing)
    backward = [second[key] for key in keys[::-1]][::-1]
    for one, other in zip(forward, backward, strict=True):
        assert one.seed == other.seed
        np.testing.assert_array_equal(one.stems, other.stems)
    assert len({example.seed for example in forward}) == len(keys)


def test_another_seed_gives_other_examples(tmp_path):
    write_songs(tmp_path / "songs", 3)
    one = examples_of(tmp_path, [folders(tmp_path / "songs")], seed=1)[Key(0, 0)]
    other = examples_of(tmp_path, [folders(tmp_path / "songs")], seed=2)[Key(0, 0)]
    assert one.seed != other.seed
    assert not np.array_equal(one.stems, other.stems)


@given(step=st.integers(0, 300), start=st.floats(0, 1), end=st.floats(0, 1))
def test_the_schedule_goes_straight_from_one_share_to_the_other(step, start, end):
    mixing = Mixing(coherent=start, coherent_end=end, coherent_steps=200)
    expected = np.interp(step, [0, 200], [start, end])
    assert coherent_share(mixing, step) == pytest.approx(expected, abs=1e-12)


def test_the_schedule_moves_from_coherent_to_mixed(tmp_path):
    songs = write_songs(tmp_path / "songs", 6, seconds=0.5)
    mixing = Mixing(coherent=1.0, coherent_end=0.0, coherent_steps=100)
    examples = examples_of(tmp_path, [folders(tmp_path / "songs")], mixing=mixing)

    def coherent(step):
        return sum(len(set(origins(examples[Key(step, place)], songs))) == 1 for place in range(40))

    assert coherent(0) == 40
    assert 10 <= coherent(50) <= 30  # of 40 at one half: outside with a chance of 0.1 %
    assert coherent(100) == 0


def test_sources_are_drawn_by_their_weights(tmp_path):
    often = write_songs(tmp_path / "often", 2, seconds=0.5)
    for number in range(2):
        write_song(tmp_path / "rarely" / f"rare {number}", seed=10 + number, seconds=0.5)
    sources = [folders(tmp_path / "often", weight=3.0), folders(tmp_path / "rarely", weight=1.0)]
    examples = examples_of(tmp_path, sources)
    cuts = [examples[Key(0, place)].stems[0] for place in range(200)]
    count = sum(any(where(cut, read["vocals"]) >= 0 for read in often.values()) for cut in cuts)
    assert 130 <= count <= 170  # 150 expected, deviation 6


def test_any_names_and_any_number_of_stems_can_be_asked_for(tmp_path):
    songs = write_songs(tmp_path / "songs", 1, stems=("banjo", "oboe", "spoons"))
    stems = {"strings": ("banjo",), "rest": ("*",)}
    examples = examples_of(tmp_path, [folders(tmp_path / "songs")], stems=stems, samples=2 * RATE)
    example = examples[Key(0, 0)]
    np.testing.assert_array_equal(example.stems[0], songs["song 0"]["banjo"])
    np.testing.assert_array_equal(example.stems[1], songs["song 0"]["oboe"] + songs["song 0"]["spoons"])


def test_a_stem_that_nothing_gives_is_refused_before_the_training(tmp_path):
    write_songs(tmp_path / "songs", 1)
    with pytest.raises(UsageError, match="`theremin`"):
        examples_of(tmp_path, [folders(tmp_path / "songs")], stems={"theremin": ("theremin",), "rest": ("*",)})


def write_classes(root, files=3):
    for place, name in enumerate(STEMS):
        for number in range(files):
            (root / name).mkdir(parents=True, exist_ok=True)
            level = 0.01 * (1 + place * files + number)
            soundfile.write(root / name / f"{number}.wav", np.full((2 * RATE, 1), level), RATE, subtype="FLOAT")
    return open_songs(ClassSource(kind="classes", root=root), 0)


def test_files_by_class_are_mixed_whatever_the_schedule_says(tmp_path):
    songs = write_classes(tmp_path / "classes")
    examples = examples_of(tmp_path, [songs], channels=1, mixing=Mixing(coherent=1.0))
    seen = Counter()
    for place in range(30):
        levels = np.rint(examples[Key(0, place)].stems[:, 0, 0] * 100).astype(int).tolist()
        assert [(level - 1) // 3 for level in levels] == [0, 1, 2, 3]
        seen.update(levels)
    assert set(seen) == set(range(1, 13))


def test_a_sum_of_classes_adds_a_file_of_each(tmp_path):
    songs = write_classes(tmp_path / "classes", files=1)
    stems = {"vocals": ("vocals",), "accompaniment": ("*",)}
    example = examples_of(tmp_path, [songs], channels=1, stems=stems)[Key(0, 0)]
    np.testing.assert_allclose(example.stems[0], 0.01, atol=1e-4)
    np.testing.assert_allclose(example.stems[1], 0.02 + 0.03 + 0.04, atol=2e-4)


def test_a_file_shorter_than_the_example_lies_anywhere_in_it(tmp_path):
    songs = write_songs(tmp_path / "songs", 1, seconds=0.5)["song 0"]
    examples = examples_of(tmp_path, [folders(tmp_path / "songs")], samples=2 * RATE)
    starts = set()
    for place in range(10):
        stem = examples[Key(0, place)].stems[0]
        start = where(songs["vocals"], stem)
        assert start >= 0
        assert np.count_nonzero(stem) == np.count_nonzero(songs["vocals"])
        starts.add(start)
    assert len(starts) > 5


def write_mostly_silent(root, count=3):
    """Songs of 20 s in which the vocals sound for half a second and the rest throughout."""
    for number in range(count):
        random = np.random.default_rng(number)
        vocals = np.zeros((20 * RATE, 1))
        begin = int(random.integers(19 * RATE))
        vocals[begin : begin + RATE // 2] = 0.1
        (root / f"song {number}").mkdir(parents=True)
        for name, samples in (("vocals", vocals), ("mixture", vocals), ("other", np.full_like(vocals, 0.05))):
            soundfile.write(root / f"song {number}" / f"{name}.wav", samples, RATE)


@pytest.mark.parametrize("coherent", [0.0, 1.0])
def test_without_silence_a_target_always_sounds(tmp_path, coherent):
    write_mostly_silent(tmp_path / "songs")
    examples = examples_of(
        tmp_path,
        [folders(tmp_path / "songs")],
        stems={"vocals": ("vocals",), "accompaniment": ("*",)},
        channels=1,
        samples=RATE,
        mixing=Mixing(coherent=coherent, silence=0.0),
        targets=("vocals",),
    )
    for place in range(50):
        stems = examples[Key(0, place)].stems
        assert np.abs(stems[0]).max() > 0.05
        assert np.abs(stems[1]).min() > 0.04


def test_silence_leaves_so_many_targets_as_they_fall(tmp_path):
    write_mostly_silent(tmp_path / "songs")
    examples = examples_of(
        tmp_path,
        [folders(tmp_path / "songs")],
        stems={"vocals": ("vocals",), "accompaniment": ("*",)},
        channels=1,
        mixing=Mixing(silence=0.5),
        targets=("vocals",),
    )
    silent = sum(not examples[Key(0, place)].stems[0].any() for place in range(100))
    assert 30 <= silent <= 65  # 47 expected


@pytest.mark.parametrize("coherent", [0.0, 1.0])
def test_no_mixture_is_silent_throughout(tmp_path, coherent):
    write_mostly_silent(tmp_path / "songs")
    examples = examples_of(
        tmp_path,
        [folders(tmp_path / "songs")],
        stems={"vocals": ("vocals",)},
        channels=1,
        mixing=Mixing(coherent=coherent, silence=1.0),
    )
    assert all(examples[Key(0, place)].stems.any() for place in range(50))


def test_a_broken_song_is_replaced_and_told_of(tmp_path):
    songs = write_songs(tmp_path / "songs", 3)
    (tmp_path / "songs" / "song 1" / "bass.wav").write_bytes(b"no sound")
    for mixing in (Mixing(), Mixing(coherent=0.0)):
        examples = examples_of(tmp_path, [folders(tmp_path / "songs")], mixing=mixing)
        made = [examples[Key(0, place)] for place in range(20)]
        used = {name for example in made for name, _ in origins(example, songs)}
        assert used == {"song 0", "song 2"}
        assert {skip.path.name for example in made for skip in example.skipped} == {"song 1"}


def test_which_song_replaces_a_broken_one_does_not_depend_on_who_met_it_first(tmp_path):
    write_songs(tmp_path / "songs", 3)
    (tmp_path / "songs" / "song 1" / "bass.wav").write_bytes(b"no sound")
    keys = [Key(0, place) for place in range(10)]
    first = examples_of(tmp_path, [folders(tmp_path / "songs")])
    forward = {key: first[key].stems for key in keys}
    second = examples_of(tmp_path / "elsewhere", [folders(tmp_path / "songs")])
    for key in keys[::-1]:
        np.testing.assert_array_equal(second[key].stems, forward[key])


def test_sources_without_one_good_song_end_the_training(tmp_path):
    write_songs(tmp_path / "songs", 1)
    (tmp_path / "songs" / "song 0" / "bass.wav").write_bytes(b"no sound")
    with pytest.raises(DatasetError, match="no song can be read"):
        examples_of(tmp_path, [folders(tmp_path / "songs")])[Key(0, 0)]


def test_songs_in_turn_all_come_before_one_comes_again(tmp_path):
    songs = write_songs(tmp_path / "songs", 6, seconds=0.5)
    examples = examples_of(tmp_path, [folders(tmp_path / "songs")], in_turn=True)
    names = [origins(examples[Key(0, place)], songs)[0][0] for place in range(12)]
    assert sorted(names[:6]) == sorted(songs)
    assert names[6:] == names[:6]


@settings(max_examples=25, deadline=None)
@given(step=st.integers(0, 10**9), place=st.integers(0, 10**6), coherent=st.sampled_from([0.0, 0.5, 1.0]))
def test_examples_are_finite_and_of_one_form_for_any_key(tmp_path_factory, step, place, coherent):
    root = tmp_path_factory.getbasetemp() / "any key"
    if not root.exists():
        write_songs(root / "songs", 2, seconds=0.2)
    example = examples_of(root, [folders(root / "songs")], mixing=Mixing(coherent=coherent))[Key(step, place)]
    assert example.stems.shape == (4, 2, SAMPLES)
    assert example.stems.dtype == np.float32
    assert np.isfinite(example.stems).all()
    assert 0 <= example.seed < 2**63
