from pathlib import Path

import numpy as np
import pytest
import soundfile

from mss_cli.datasets.musdb18 import VALIDATION
from mss_cli.errors import DatasetError, UsageError
from mss_cli.training.recipe import ClassSource, PairSource, SongSource
from mss_cli.training.songs import check_stems, open_songs, part_of_target, uses_validation
from training_songs import RATE, write_song, write_songs


def source(kind, root, **options):
    return SongSource(kind=kind, root=root, **options)


def names(songs):
    return sorted(songs.path(songs.number(0, place)).name for place in range(len(songs)))


def samples_of(song, stem):
    return np.concatenate(list(song.stems[stem].blocks), axis=1)


def musdb18hq(root, held_out="Leaf - Summerghost"):
    for name in ("A - One", "B - Two", held_out):
        write_song(root / "train" / name, seconds=0.1)
    write_song(root / "test" / "C - Three", seconds=0.1)
    return root


def test_training_takes_the_training_tracks_and_no_test_track(tmp_path):
    songs = open_songs(source("musdb18hq", musdb18hq(tmp_path)), 0)
    assert names(songs) == ["A - One", "B - Two", "Leaf - Summerghost"]


def test_the_published_validation_tracks_are_held_out_where_they_validate(tmp_path):
    root = musdb18hq(tmp_path)
    valid = source("musdb18hq", root)
    assert uses_validation([valid])
    assert names(open_songs(source("musdb18hq", root), 0, hold_out=True)) == ["A - One", "B - Two"]
    assert names(open_songs(valid, 0, role="valid")) == ["Leaf - Summerghost"]
    assert set(names(open_songs(valid, 0, role="valid"))) <= VALIDATION


def test_another_validation_holds_nothing_out(tmp_path):
    assert not uses_validation([source("folders", tmp_path), source("musdb18hq", tmp_path, subset="test")])


def test_dsd100_is_read_by_its_dev_folder_and_needs_a_subset_to_validate(tmp_path):
    for folder, name in (("Dev", "one"), ("Test", "two")):
        write_song(tmp_path / "Sources" / folder / name, seconds=0.1, mixture=False)
        made = write_song(tmp_path / "elsewhere" / folder, seconds=0.1)
        (tmp_path / "Mixtures" / folder / name).mkdir(parents=True)
        soundfile.write(tmp_path / "Mixtures" / folder / name / "mixture.wav", sum(made.values()).T, RATE)
    assert names(open_songs(source("dsd100", tmp_path), 0)) == ["one"]
    assert names(open_songs(source("dsd100", tmp_path, subset="test"), 0, role="valid")) == ["two"]
    with pytest.raises(UsageError, match="`dsd100` has no split for validation"):
        open_songs(source("dsd100", tmp_path), 0, role="valid")


def test_ccmixter_has_the_accompaniment_in_its_first_file(tmp_path):
    read = write_song(tmp_path / "song", stems=("source-01", "source-02"), seconds=0.5)
    (tmp_path / "song" / "mixture.wav").rename(tmp_path / "song" / "mix.wav")
    write_song(tmp_path / "without mix", stems=("source-01", "source-02"), mixture=False, seconds=0.1)
    songs = open_songs(source("ccmixter", tmp_path), 0)
    assert len(songs) == 1
    song = songs.load(0)
    np.testing.assert_array_equal(samples_of(song, "accompaniment"), read["source-01"])
    np.testing.assert_array_equal(samples_of(song, "vocals"), read["source-02"])


def test_named_tracks_alone_are_taken(tmp_path):
    write_songs(tmp_path, 3, seconds=0.1)
    assert names(open_songs(source("folders", tmp_path, tracks=("song 1",)), 0)) == ["song 1"]


def test_every_file_of_a_class_is_a_song_of_one_stem(tmp_path):
    for place, name in enumerate(("drums/kick.wav", "drums/deep/snare.wav", "vocals/aah.flac")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / name, np.full((10 + place, 1), 0.25), RATE)
    (tmp_path / "drums" / "notes.txt").write_text("no sound")
    songs = open_songs(ClassSource(kind="classes", root=tmp_path), 0)
    assert not songs.whole
    found = {songs.path(place).name: songs.stems(place) for place in range(len(songs))}
    assert found == {"kick.wav": ("drums",), "snare.wav": ("drums",), "aah.flac": ("vocals",)}


def test_the_vocals_of_a_pair_are_what_the_instrumental_lacks(tmp_path):
    read = write_song(tmp_path / "song", stems=("vocals", "band"), seconds=0.5)
    (tmp_path / "song" / "band.wav").rename(tmp_path / "song" / "instrumental.wav")
    song = open_songs(PairSource(kind="pairs", root=tmp_path), 0).load(0)
    np.testing.assert_allclose(samples_of(song, "vocals"), read["vocals"], atol=1e-6)
    np.testing.assert_array_equal(samples_of(song, "accompaniment"), read["band"])


def test_vocals_of_a_pair_end_with_the_shorter_file(tmp_path):
    write_song(tmp_path / "song", stems=("instrumental",), seconds=0.5)
    soundfile.write(tmp_path / "song" / "mixture.wav", np.full((2 * RATE, 2), 0.5), RATE)
    song = open_songs(PairSource(kind="pairs", root=tmp_path), 0).load(0)
    assert samples_of(song, "vocals").shape[1] == RATE // 2


def test_a_pair_in_two_rates_is_refused(tmp_path):
    write_song(tmp_path / "song", stems=("instrumental",), seconds=0.5)
    soundfile.write(tmp_path / "song" / "mixture.wav", np.full((RATE, 2), 0.5), 2 * RATE)
    with pytest.raises(DatasetError, match="differ in rate"):
        open_songs(PairSource(kind="pairs", root=tmp_path), 0).load(0)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda root: ClassSource(kind="classes", root=root), "no folder with audio"),
        (lambda root: PairSource(kind="pairs", root=root), "holds no pairs"),
        (lambda root: SongSource(kind="folders", root=root), "no track"),
        (lambda root: SongSource(kind="folders", root=root / "away"), "no such folder"),
    ],
)
def test_a_source_without_songs_is_told_of_before_the_training(tmp_path, make, said):
    with pytest.raises(DatasetError, match=said):
        open_songs(make(tmp_path), 0)


def test_a_star_takes_what_no_name_lists_in_any_order():
    wanted = {"rest": ("*",), "vocals": ("vocals",), "rhythm": ("drums", "bass")}
    assert part_of_target(("bass", "drums", "guitar", "other", "vocals"), wanted) == {
        "rest": ("guitar", "other"),
        "vocals": ("vocals",),
        "rhythm": ("bass", "drums"),
    }
    assert part_of_target(("vocals",), wanted)["rest"] == ()


def test_a_stem_in_two_stems_of_an_example_is_refused():
    with pytest.raises(UsageError, match="`drums` twice"):
        check_stems({"rhythm": ("drums", "bass"), "loud": ("drums",)})


def test_a_fingerprint_changes_with_the_files(tmp_path):
    write_songs(tmp_path, 1, seconds=0.1)
    before = open_songs(source("folders", tmp_path), 0).fingerprint(0)
    assert open_songs(source("folders", tmp_path), 0).fingerprint(0) == before
    write_song(Path(tmp_path / "song 0"), seconds=0.2)
    assert open_songs(source("folders", tmp_path), 0).fingerprint(0) != before
