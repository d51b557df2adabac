"""MUSDB18 through musdb's own API, without an ffmpeg program."""

import sys

import numpy as np
import pytest

from made_songs import STEMS, write_folder, write_stem_file
from mss_cli.datasets.catalog import open_dataset
from mss_cli.datasets.musdb18 import VALIDATION
from mss_cli.datasets.stempeg_stand_in import install
from mss_cli.errors import DatasetError, InputError

pytest.importorskip("yaml")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("musdb")
    write_stem_file(folder / "train" / "ANiMAL - Rockshow.stem.mp4", seed=1, seconds=1.0)
    write_stem_file(folder / "train" / "Some One - Else.stem.mp4", seed=2, seconds=1.0)
    write_stem_file(folder / "test" / "A - B.stem.mp4", seed=3, seconds=1.3, silent=("bass",))
    return folder


def whole(signal):
    return np.concatenate(list(signal.blocks()), axis=1)


def test_subsets_are_those_of_musdb(root):
    names = {
        s: [t.name for t in open_dataset("musdb18", root=root, subset=s).tracks] for s in ("train", "valid", "all")
    }
    assert names["train"] == ["ANiMAL - Rockshow", "Some One - Else"]
    assert names["valid"] == ["ANiMAL - Rockshow"]
    assert len(names["all"]) == 3
    assert [t.name for t in open_dataset("musdb18", root=root).tracks] == ["A - B"]


def test_samples_are_exactly_those_that_musdb_gives(root):
    install()
    import musdb

    entry = musdb.DB(root=str(root), subsets="test")[0]
    track = open_dataset("musdb18", root=root).tracks[0]
    np.testing.assert_array_equal(whole(track.mixture).T, entry.audio)
    for stem, signal in track.references:
        np.testing.assert_array_equal(whole(signal).T, entry.targets[stem].audio)
    assert track.stems == STEMS


def test_streams_are_the_stems_they_are_named_after(root):
    track = open_dataset("musdb18", root=root).tracks[0]
    from made_songs import stems

    made = stems(3, 1.3)
    for stem, signal in track.references:
        decoded = whole(signal)[:, : made["vocals"].shape[1]]
        if stem == "bass":
            assert not decoded.any()  # residues of the codec are below half a step of 16 bits
            continue
        error = np.square(decoded - made[stem]).sum() / np.square(made[stem]).sum()
        assert 10 * np.log10(error) < -8  # noise costs AAC most; a wrong stem would be above 0 dB


def test_values_are_steps_of_sixteen_bits(root):
    for _, signal in open_dataset("musdb18", root=root).tracks[0].references:
        steps = whole(signal).astype(np.float64) * 32768
        np.testing.assert_array_equal(steps, np.rint(steps))


def test_musdb_reads_chunks_and_all_streams_through_the_stand_in(root):
    install()
    import musdb

    entry = musdb.DB(root=str(root), subsets="test")[0]
    everything = entry.audio
    assert entry.stems.shape == (5, *everything.shape)
    assert entry.rate == 44100
    entry.chunk_start, entry.chunk_duration = 0.25, 0.5
    np.testing.assert_array_equal(entry.audio, everything[11025 : 11025 + 22050])


def test_another_rate_is_refused_by_the_stand_in(root):
    install()
    import stempeg

    with pytest.raises(ValueError, match="44100 Hz"):
        stempeg.read_stems(str(root / "test" / "A - B.stem.mp4"), stem_id=0, sample_rate=22050)


def test_the_stand_in_is_there_before_ffmpeg_is_asked_for():
    install()
    assert sys.modules["stempeg"].read_stems.__module__ == "mss_cli.datasets.stempeg_stand_in"
    assert sys.modules["stempeg"].__spec__.name == "stempeg"


def test_a_broken_stem_file_hides_no_other_and_fails_when_read(tmp_path):
    write_stem_file(tmp_path / "test" / "good.stem.mp4", seconds=0.5)
    (tmp_path / "test" / "broken.stem.mp4").write_bytes(b"no stems here" * 100)
    broken, good = open_dataset("musdb18", root=tmp_path).tracks
    assert whole(good.mixture).shape[0] == 2
    with pytest.raises(InputError, match=r"broken\.stem\.mp4"):
        whole(broken.mixture)


def test_a_file_with_one_stream_is_refused(tmp_path):
    import soundfile

    write_stem_file(tmp_path / "test" / "a.stem.mp4", seconds=0.3)
    soundfile.write(tmp_path / "a.wav", np.zeros((100, 2)), 44100)
    (tmp_path / "test" / "a.stem.mp4").write_bytes((tmp_path / "a.wav").read_bytes())
    track = open_dataset("musdb18", root=tmp_path).tracks[0]
    with pytest.raises(DatasetError, match="has 1 audio streams, not 5"):
        whole(track.references[0][1])


def test_folders_of_the_uncompressed_set_are_found(tmp_path):
    made = write_folder(tmp_path / "test" / "A - B", seconds=0.2)
    write_folder(tmp_path / "train" / "ANiMAL - Rockshow", seconds=0.2)
    track = open_dataset("musdb18hq", root=tmp_path).tracks[0]
    assert (track.name, track.subset, track.stems) == ("A - B", "test", STEMS)
    for stem, signal in track.references:
        np.testing.assert_array_equal(whole(signal), made[stem])
    assert len(open_dataset("musdb18hq", root=tmp_path, subset="valid").tracks) == 1


def test_the_validation_split_is_that_of_the_package():
    from pathlib import Path

    import yaml

    install()
    import musdb

    setup = yaml.safe_load((Path(musdb.__path__[0]) / "configs" / "mus.yaml").read_text())
    assert set(setup["validation_tracks"]) == VALIDATION


def test_a_missing_package_is_named_with_the_command_that_installs_it(root, monkeypatch):
    from mss_cli.errors import UsageError

    monkeypatch.setitem(sys.modules, "musdb", None)
    with pytest.raises(UsageError, match=r"`musdb` is not installed; run `pip install 'mss-cli\[evaluate\]'`"):
        open_dataset("musdb18", root=root)
