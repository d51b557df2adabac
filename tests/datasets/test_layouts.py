import shutil

import numpy as np
import pytest

from made_songs import STEMS, stems, write, write_folder, write_pair
from mss_cli.datasets.catalog import KINDS, open_dataset
from mss_cli.errors import DatasetError, UsageError


def whole(signal):
    return np.concatenate(list(signal.blocks()), axis=1)


def test_dsd100_pairs_mixtures_with_sources(tmp_path):
    for folder, name, seed in (("Dev", "001 - A - B", 1), ("Test", "051 - C - D", 2)):
        made = write_folder(tmp_path / "Sources" / folder / name, seed=seed, seconds=0.1)
        (tmp_path / "Mixtures" / folder / name).mkdir(parents=True)
        mixture = tmp_path / "Sources" / folder / name / "mixture.wav"
        mixture.rename(tmp_path / "Mixtures" / folder / name / "mixture.wav")
    test = open_dataset("dsd100", root=tmp_path)
    assert [(track.name, track.subset, track.stems) for track in test.tracks] == [("051 - C - D", "test", STEMS)]
    assert test.published_tracks == 50
    np.testing.assert_array_equal(whole(dict(test.tracks[0].references)["bass"]), made["bass"])
    assert [track.name for track in open_dataset("dsd100", root=tmp_path, subset="train").tracks] == ["001 - A - B"]


@pytest.mark.parametrize("name", ["mir1k", "ikala"])
def test_the_voice_is_on_the_right_and_the_mixture_is_the_sum(tmp_path, name):
    accompaniment, voice = write_pair(tmp_path / "Wavfile" / "clip_1.wav")
    (track,) = open_dataset(name, root=tmp_path).tracks
    references = {stem: whole(signal) for stem, signal in track.references}
    np.testing.assert_array_equal(references["vocals"], voice[None])
    np.testing.assert_array_equal(references["accompaniment"], accompaniment[None])
    np.testing.assert_allclose(whole(track.mixture), (voice + accompaniment)[None], atol=1e-7)
    assert track.mixture.form() == (16000, 1)


def test_labels_of_pitch_lie_beside_the_clips_of_ikala_and_the_stems_of_folders(tmp_path):
    for clip in ("1_verse", "2_chorus"):
        write_pair(tmp_path / "ikala" / "Wavfile" / f"{clip}.wav")
    (tmp_path / "ikala" / "PitchLabel").mkdir()
    labels = tmp_path / "ikala" / "PitchLabel" / "2_chorus.pv"
    labels.write_text("0\n69\n")
    assert [track.pitch for track in open_dataset("ikala", root=tmp_path / "ikala").tracks] == [None, labels]
    for name, files in (("a", ()), ("b", ("f0.csv",)), ("c", ("f0.csv", "vocals.f0.csv"))):
        write_folder(tmp_path / "songs" / name, seconds=0.1)
        for file in files:
            (tmp_path / "songs" / name / file).write_text("0,220\n")
    found = [track.pitch and track.pitch.name for track in open_dataset("folders", root=tmp_path / "songs").tracks]
    assert found == [None, "f0.csv", "vocals.f0.csv"]


def write_medleydb(root, *, coefficients=None):
    made = stems(seconds=0.1)
    folder = root / "Audio" / "A_Song"
    rows = []
    labels = (("male singer", "vocals"), ("drum set", "drums"), ("electric bass", "bass"), ("piano", "other"),
              ("female singer", "vocals"))  # fmt: skip
    for number, (label, stem) in enumerate(labels, start=1):
        name = f"A_Song_STEM_{number:02}.wav"
        write(folder / "A_Song_STEMS" / name, made[stem])
        rows.append(f"  S{number:02}:\n    filename: {name}\n    instrument: {label}\n")
    write(folder / "A_Song_MIX.wav", sum(made.values()))
    text = "mix_filename: A_Song_MIX.wav\nstem_dir: A_Song_STEMS\nstems:\n" + "".join(rows)
    (folder / "A_Song_METADATA.yaml").write_text(text)
    if coefficients is not None:
        (root / "mixing_coefficients.yaml").write_text(coefficients)
    return made


def test_medleydb_sums_stems_by_label_with_their_coefficients(tmp_path):
    made = write_medleydb(tmp_path, coefficients="A_Song:\n  1: 0.5\n  2: 2.0\n  5: 1.5\n")
    (track,) = open_dataset("medleydb", root=tmp_path).tracks
    references = {stem: whole(signal) for stem, signal in track.references}
    assert set(references) == set(STEMS)
    np.testing.assert_allclose(references["vocals"], 2.0 * made["vocals"], atol=1e-6)  # 0.5 and 1.5
    np.testing.assert_allclose(references["drums"], 2.0 * made["drums"], atol=1e-6)
    np.testing.assert_allclose(references["other"], made["other"], atol=1e-6)
    np.testing.assert_allclose(whole(track.mixture), sum(made.values()), atol=2e-5)


def test_a_stem_that_the_metadata_name_must_be_there(tmp_path):
    write_medleydb(tmp_path)
    (tmp_path / "Audio" / "A_Song" / "A_Song_STEMS" / "A_Song_STEM_02.wav").unlink()
    (track,) = open_dataset("medleydb", root=tmp_path).tracks
    with pytest.raises(DatasetError, match=r"STEM_02\.wav: no such file; A_Song_METADATA\.yaml names it"):
        track.check()


@pytest.mark.parametrize("text", ["stems: [1, 2]", "{", "stems:\n  S01: 3"])
def test_damaged_metadata_are_refused_by_name_and_hide_no_other_track(tmp_path, text):
    write_medleydb(tmp_path)
    shutil.copytree(tmp_path / "Audio" / "A_Song", tmp_path / "Audio" / "B_Song")
    (tmp_path / "Audio" / "B_Song" / "A_Song_METADATA.yaml").rename(
        tmp_path / "Audio" / "B_Song" / "B_Song_METADATA.yaml"
    )
    (tmp_path / "Audio" / "A_Song" / "A_Song_METADATA.yaml").write_text(text)
    broken, good = open_dataset("medleydb", root=tmp_path).tracks
    good.check()
    with pytest.raises(DatasetError, match=r"A_Song_METADATA\.yaml"):
        broken.check()


def test_folders_are_tracks_with_the_stems_they_have(tmp_path):
    write_folder(tmp_path / "one", seconds=0.1, names=("vocals", "other"))
    write_folder(tmp_path / "mine" / "two", seconds=0.1)
    (tmp_path / "notes").mkdir()
    found = open_dataset("folders", root=tmp_path)
    assert [(t.subset, t.name, t.stems) for t in found.tracks] == [
        ("mine", "two", STEMS),
        ("test", "one", ("vocals", "other")),
    ]
    assert found.published_tracks is None


def test_tracks_are_chosen_by_name_and_unknown_names_are_refused(tmp_path):
    for name in ("a", "b", "c"):
        write_folder(tmp_path / name, seconds=0.05)
    found = open_dataset("folders", root=tmp_path, tracks=["c", "a"])
    assert [track.name for track in found.tracks] == ["a", "c"]
    assert found.available == 3
    with pytest.raises(DatasetError, match="no track is called `d`"):
        open_dataset("folders", root=tmp_path, tracks=["a", "d"])


@pytest.mark.parametrize("kind", [kind.name for kind in KINDS if not kind.name.startswith("musdb18-")])
def test_an_empty_root_says_what_should_be_there(tmp_path, kind):
    with pytest.raises(DatasetError, match="no track of .* found; it should hold"):
        open_dataset(kind, root=tmp_path)


def test_a_missing_root_and_subset_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.delenv("MUSDB_PATH", raising=False)
    with pytest.raises(UsageError, match="--root DIR"):
        open_dataset("folders")
    with pytest.raises(DatasetError, match="no such folder"):
        open_dataset("folders", root=tmp_path / "no")
    write_folder(tmp_path / "train" / "a", seconds=0.05)
    with pytest.raises(DatasetError, match="no track in the subset `test`; there are train, and `all`"):
        open_dataset("musdb18hq", root=tmp_path)
    monkeypatch.setenv("MUSDB_PATH", str(tmp_path))
    assert open_dataset("musdb18hq", subset="train").tracks[0].name == "a"


def test_an_unknown_data_set_lists_those_there_are():
    with pytest.raises(UsageError, match="no data set is called `musdb`; use one of musdb18, musdb18hq"):
        open_dataset("musdb")


def test_the_fingerprint_changes_with_any_file(tmp_path):
    write_folder(tmp_path / "a", seconds=0.05)
    before = open_dataset("folders", root=tmp_path).tracks[0].fingerprint()
    assert open_dataset("folders", root=tmp_path).tracks[0].fingerprint() == before
    write(tmp_path / "a" / "bass.wav", stems(1, 0.06)["bass"])
    assert open_dataset("folders", root=tmp_path).tracks[0].fingerprint() != before
