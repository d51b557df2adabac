"""A track that cannot be used stands in the list with its fault, and hides no other."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from made_songs import STEMS, stems, write, write_folder
from mss_cli.datasets.catalog import open_dataset
from mss_cli.errors import DatasetError


def refusal(track):
    with pytest.raises(DatasetError) as caught:
        track.check()
    return str(caught.value)


@pytest.fixture
def shut():
    """Makes folders that nobody may read, in a root that an ordinary user reaches."""
    root = Path(tempfile.mkdtemp(prefix="mss-cli-shut-"))
    root.chmod(0o755)
    user = os.geteuid() if hasattr(os, "geteuid") else None
    closed = []

    def close(*folders):
        if user is None:
            pytest.skip("needs the permissions of POSIX")
        for folder in folders:
            folder.chmod(0)
        closed.extend(folders)
        if user == 0:
            os.seteuid(65534)  # root may read everything

    yield root, close
    if user == 0:
        os.seteuid(0)
    for folder in closed:
        folder.chmod(0o755)
    shutil.rmtree(root)


@pytest.mark.parametrize("stem", ["bass", "mixture"])
def test_two_files_of_one_name_are_the_fault_of_their_track_alone(tmp_path, stem):
    for name in ("one", "two"):
        write_folder(tmp_path / name, seconds=0.1)
    write(tmp_path / "one" / f"{stem}.flac", stems(seconds=0.1)["bass"])
    one, two = open_dataset("folders", root=tmp_path).tracks
    assert refusal(one) == f"{tmp_path / 'one'}: holds `{stem}.flac` and `{stem}.wav`; keep one of them"
    two.check()
    assert two.stems == STEMS
    assert [track.name for track in open_dataset("folders", root=tmp_path, tracks=["two"]).tracks] == ["two"]


@pytest.mark.parametrize("layout", ["folders", "musdb18hq"])
def test_a_folder_that_cannot_be_read_is_a_track_with_a_fault(shut, layout):
    root, close = shut
    for name in ("a", "b"):
        write_folder(root / "test" / name, seconds=0.1)
    close(root / "test" / "a")
    broken, good = open_dataset(layout, root=root).tracks
    assert "a: cannot read the folder: permission denied; check it and its permissions" in refusal(broken)
    good.check()


def test_a_shut_folder_of_a_subset_fails_in_that_subset_only(shut):
    root, close = shut
    write_folder(root / "test" / "a", seconds=0.1)
    write_folder(root / "train" / "b", seconds=0.1)
    (root / "lost+found").mkdir()
    close(root / "train", root / "lost+found")
    assert [track.fault for track in open_dataset("musdb18hq", root=root).tracks] == [None]
    (broken,) = open_dataset("musdb18hq", root=root, subset="train").tracks
    assert "train: cannot read the folder: permission denied" in refusal(broken)


def test_a_shut_track_of_dsd100_hides_no_other(shut):
    root, close = shut
    for name in ("a", "b"):
        write_folder(root / "Sources" / "Test" / name, seconds=0.1)
        (root / "Mixtures" / "Test" / name).mkdir(parents=True)
        (root / "Sources" / "Test" / name / "mixture.wav").rename(root / "Mixtures" / "Test" / name / "mixture.wav")
    close(root / "Sources" / "Test" / "a")
    broken, good = open_dataset("dsd100", root=root).tracks
    assert "cannot read the folder: permission denied" in refusal(broken)
    good.check()


@pytest.mark.parametrize("layout", ["musdb18hq", "dsd100"])
def test_a_track_must_have_the_stems_that_its_data_set_defines(tmp_path, layout):
    for name in ("a", "b", "c"):
        folder = tmp_path / ("test" if layout == "musdb18hq" else "Sources/Test") / name
        write_folder(folder, seconds=0.1)
        if layout == "dsd100":
            (tmp_path / "Mixtures" / "Test" / name).mkdir(parents=True)
            (folder / "mixture.wav").rename(tmp_path / "Mixtures" / "Test" / name / "mixture.wav")
        if name == "a":
            (folder / "bass.wav").unlink()
            (folder / "vocals.wav").unlink()
        mixtures = folder if layout == "musdb18hq" else tmp_path / "Mixtures" / "Test" / name
        if name == "b":
            (mixtures / "mixture.wav").unlink()
    incomplete, silent, whole = open_dataset(layout, root=tmp_path).tracks
    said = refusal(incomplete)
    assert "a: no reference `vocals`, `bass`; complete the data set: its tracks have vocals, drums, bass, other" in said
    assert "b: no mixture" in refusal(silent)
    whole.check()


def test_a_folder_of_your_own_needs_one_reference_but_no_certain_one(tmp_path):
    write_folder(tmp_path / "a", seconds=0.1, names=("drums",))
    write(tmp_path / "b" / "mixture.wav", stems(seconds=0.1)["drums"])
    some, none = open_dataset("folders", root=tmp_path).tracks
    some.check()
    assert "b: no reference; the track needs files of its true stems" in refusal(none)


def test_hidden_files_beside_clips_are_no_tracks(tmp_path):
    write(tmp_path / "Wavfile" / "a.wav", stems(seconds=0.1)["drums"])
    (tmp_path / "Wavfile" / "._a.wav").write_bytes(b"of a Mac")
    assert [track.name for track in open_dataset("ikala", root=tmp_path).tracks] == ["a"]
