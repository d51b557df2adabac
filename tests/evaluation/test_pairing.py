import numpy as np
import pytest

from made_songs import stems, write, write_folder
from mss_cli.datasets.folders import folder_track
from mss_cli.errors import DatasetError, InputError
from mss_cli.evaluation.pairing import pair
from mss_cli.evaluation.systems import Estimates


@pytest.fixture
def song(tmp_path):
    made = write_folder(tmp_path / "song", seconds=0.2)
    return folder_track(tmp_path / "song", "test"), made


def opened(**signals):
    return Estimates({name: lambda s=s: iter(np.array_split(s, 3, axis=1)) for name, s in signals.items()})


def whole(pairs):
    sides = list(pairs.blocks())
    return tuple(np.concatenate([side[i] for side in sides], axis=-1) for i in (0, 1))


def test_accompaniment_is_the_sum_of_all_stems_but_vocals_on_both_sides(song):
    track, made = song
    halves = {name: 0.5 * part for name, part in made.items()}
    pairs = pair(track, opened(**halves), lambda event: None)
    assert pairs.stems == ("vocals", "drums", "bass", "other", "accompaniment")
    references, estimates = whole(pairs)
    total = sum(made[name].astype(np.float64) for name in ("drums", "bass", "other"))
    np.testing.assert_array_equal(references[4], total)
    np.testing.assert_allclose(estimates[4], 0.5 * total, atol=1e-7)


def test_a_file_called_accompaniment_comes_before_a_sum(song):
    track, made = song
    pairs = pair(
        track, opened(vocals=made["vocals"], drums=made["drums"], accompaniment=made["bass"]), lambda event: None
    )
    _, estimates = whole(pairs)
    np.testing.assert_array_equal(estimates[pairs.stems.index("accompaniment")], made["bass"])


def test_vocals_alone_give_the_accompaniment_as_the_rest_of_the_mixture(song):
    track, made = song
    pairs = pair(track, opened(vocals=made["vocals"]), lambda event: None)
    references, estimates = whole(pairs)
    assert pairs.stems == ("vocals", "accompaniment")
    np.testing.assert_allclose(estimates[1], references[1], atol=1e-4)  # the mixture is the sum of 16-bit stems


def test_a_stem_the_track_lacks_counts_for_the_accompaniment_only(tmp_path):
    made = write_folder(tmp_path / "song", seconds=0.2, names=("vocals", "drums"))
    track = folder_track(tmp_path / "song", "test")
    every = stems(0, 0.2)
    pairs = pair(track, opened(**every), lambda event: None)
    assert pairs.stems == ("vocals", "drums", "accompaniment")
    references, estimates = whole(pairs)
    np.testing.assert_array_equal(references[2], made["drums"])
    np.testing.assert_allclose(estimates[2], every["drums"] + every["bass"] + every["other"], atol=1e-6)


@pytest.mark.parametrize(("change", "line"), [(-500, "500 samples short: zeros added"), (300, "300 samples longer")])
def test_other_lengths_are_cut_or_filled_and_said_once(song, change, line):
    track, made = song
    long = {name: np.pad(part, ((0, 0), (0, 400)), constant_values=0.5) for name, part in made.items()}
    samples = made["vocals"].shape[1] + change
    events = []
    pairs = pair(track, opened(**{name: part[:, :samples] for name, part in long.items()}), events.append)
    for _ in range(2):
        references, estimates = whole(pairs)
    assert references.shape == estimates.shape == (5, 2, made["vocals"].shape[1])
    assert not estimates[0, :, samples:].any()
    assert len(events) == 1
    assert line in events[0].message


def test_references_of_unequal_length_are_cut_to_the_shortest_and_said(tmp_path):
    made = write_folder(tmp_path / "song", seconds=0.2)
    write(tmp_path / "song" / "bass.wav", made["bass"][:, :-1000])
    events = []
    pairs = pair(folder_track(tmp_path / "song", "test"), opened(**made), events.append)
    references, _ = whole(pairs)
    assert references.shape[-1] == made["vocals"].shape[1] - 1000
    assert any("references differ in length by 1000 samples" in event.message for event in events)


def test_references_of_two_forms_are_refused(tmp_path):
    made = write_folder(tmp_path / "song", seconds=0.1)
    write(tmp_path / "song" / "bass.wav", made["bass"][:1])
    with pytest.raises(InputError, match="reference `bass` has 1 channels at 44100 Hz, others 2"):
        pair(folder_track(tmp_path / "song", "test"), opened(**made), lambda event: None)


def test_estimates_of_other_stems_are_refused_with_both_lists(song):
    track, made = song
    with pytest.raises(DatasetError, match="estimates are piano, references vocals, drums, bass, other"):
        pair(track, opened(piano=made["other"]), lambda event: None)
