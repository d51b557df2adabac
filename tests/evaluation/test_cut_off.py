"""Signals that end too early: a little is filled or cut with a word, much fails the track."""

import numpy as np
import pytest
import soundfile

from made_songs import STEMS, stems, write, write_folder
from mss_cli.datasets.folders import folder_track
from mss_cli.datasets.track import Part, Signal, Track
from mss_cli.errors import DatasetError, InputError
from mss_cli.evaluation.pairing import pair
from mss_cli.evaluation.systems import Estimates
from mss_cli.events import ignore

RATE = 8000


def song(folder, *, seconds, **shorter):
    made = write_folder(folder, seconds=seconds, rate=RATE)
    for name, length in shorter.items():
        samples = sum(made.values()) if name == "mixture" else made[name]
        write(folder / f"{name}.wav", samples[:, : round(length * RATE)], RATE)
    return folder_track(folder, "test"), made


def read(track, made, listener=ignore, files=None, **shorter):
    cut = {name: part[:, : round(shorter.get(name, 1e6) * RATE)] for name, part in made.items()}
    signals = {name: lambda s=s: iter(np.array_split(s, 3, axis=1)) for name, s in cut.items()}
    pairs = pair(track, Estimates(signals, files or {}), listener)
    return sum(references.shape[2] for references, _ in pairs.blocks()) / RATE


def test_a_reference_that_is_cut_off_fails_with_both_lengths(tmp_path):
    track, made = song(tmp_path / "a", seconds=10.0, bass=3.0)
    with pytest.raises(DatasetError) as caught:
        read(track, made)
    assert str(caught.value) == (
        f"{tmp_path / 'a' / 'bass.wav'}: reference `bass` is 3.0 s long, the mixture 10.0 s; "
        "restore the file, or fill it with silence if the stem ends there"
    )


def test_references_that_are_all_cut_off_fail_too(tmp_path):
    track, made = song(tmp_path / "a", seconds=10.0, vocals=3.0, drums=3.0, bass=3.0, other=3.0)
    with pytest.raises(DatasetError, match=r"reference `vocals` is 3\.0 s long, the mixture 10\.0 s"):
        read(track, made)


def test_a_mixture_that_is_cut_off_is_named_itself(tmp_path):
    track, made = song(tmp_path / "a", seconds=10.0, mixture=4.0)
    with pytest.raises(DatasetError, match=r"mixture\.wav: the mixture is 4\.0 s long, its references 10\.0 s"):
        read(track, made)


def test_an_estimate_that_is_cut_off_fails_with_its_file(tmp_path):
    track, made = song(tmp_path / "a", seconds=10.0)
    files = {"drums": tmp_path / "mine" / "drums.wav"}
    with pytest.raises(InputError) as caught:
        read(track, made, files=files, drums=5.0)
    assert str(caught.value) == (
        f"{files['drums']}: estimate `drums` is 5.0 s long, the references 10.0 s; "
        "separate the whole track again, or fill the estimate with silence"
    )
    with pytest.raises(InputError, match=r"a: estimate `drums` is 5\.0 s long"):
        read(track, made, drums=5.0)  # computed: no file but the track


@pytest.mark.parametrize(
    ("whole", "short", "fails"),
    [
        (10.0, 9.1, False),  # 9 %, but less than 1 s
        (30.0, 28.8, False),  # 1.2 s, but only 4 %
        (30.0, 28.4, True),  # 1.6 s, and 5.3 %
        (10.0, 8.9, True),  # 1.1 s, and 11 %
    ],
)
@pytest.mark.parametrize("side", ["reference", "estimate"])
def test_it_takes_more_than_a_second_and_more_than_a_twentieth(tmp_path, whole, short, fails, side):
    cut = {"bass": short}
    track, made = song(tmp_path / "a", seconds=whole, **(cut if side == "reference" else {}))
    said = []
    if fails:
        with pytest.raises((DatasetError, InputError), match=f"{side} `bass` is {short:.1f} s long"):
            read(track, made, said.append, **(cut if side == "estimate" else {}))
        assert not said
    else:
        scored = read(track, made, said.append, **(cut if side == "estimate" else {}))
        assert scored == pytest.approx(short if side == "reference" else whole, abs=1e-3)
        assert len(said) >= 1


def test_one_reference_that_is_longer_than_all_others_is_only_said(tmp_path):
    made = write_folder(tmp_path / "a", seconds=4.0, rate=RATE)
    write(tmp_path / "a" / "bass.wav", np.tile(made["bass"], 3), RATE)
    said = []
    assert read(folder_track(tmp_path / "a", "test"), made, said.append) == 4.0
    assert "references differ in length by 64000 samples" in said[0].message


def test_a_mixture_whose_header_tells_no_length_is_compared_by_its_longest_stem(tmp_path):
    track, made = song(tmp_path / "a", seconds=6.0, bass=2.0)
    left, right = Part(tmp_path / "a" / "mixture.wav"), Part(tmp_path / "a" / "other.wav", gain=0.0)
    summed = Track(track.name, track.subset, track.path, Signal((left, right)), track.references)
    assert summed.mixture.seconds() is None
    with pytest.raises(DatasetError, match=r"reference `bass` is 2\.0 s long, the mixture 6\.0 s"):
        read(summed, made)


def test_a_stem_file_without_all_its_streams_names_the_stem_that_is_missing(tmp_path):
    soundfile.write(tmp_path / "a.stem.mp4", np.zeros((RATE, 2)), RATE, format="WAV")
    parts = {name: Part(tmp_path / "a.stem.mp4", stem_stream=place) for place, name in enumerate(("mixture", *STEMS))}
    references = tuple((name, Signal((parts[name],))) for name in STEMS)
    track = Track("a", "test", tmp_path / "a.stem.mp4", Signal((parts["mixture"],)), references, required=STEMS)
    with pytest.raises(DatasetError, match=r"no reference `vocals`: has 1 audio streams, not 5"):
        pair(track, Estimates({"vocals": lambda: iter([stems(seconds=0.1)["vocals"]])}), ignore)
