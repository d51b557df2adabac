import numpy as np
import pytest

from mss_cli.errors import InputError, MemoryExhausted, OutputError
from mss_cli.separation.api import Model
from signals import music, write_music
from toys import Forgetful, engine_of


@pytest.fixture(scope="module")
def model():
    return Model("classical", device="cpu", threads=1)


def test_stems_of_an_array_sum_to_it(model):
    mixture = music(1.0).T
    stems = model.separate_array(mixture, 44100)
    assert tuple(stems) == model.stems == ("vocals", "drums", "bass", "other")
    np.testing.assert_allclose(sum(stems.values()), mixture, atol=1e-6)


def test_progress_is_told_in_seconds(model):
    told = []
    model.separate_array(music(1.0).T, 44100, progress=lambda done, all_seconds: told.append((done, all_seconds)))
    assert told[-1] == (1.0, 1.0)


@pytest.mark.parametrize("wrong", [np.zeros(10), np.zeros((3, 10)), np.zeros((2, 0)), np.full((2, 10), np.nan)])
def test_arrays_that_are_no_mixture_are_refused(model, wrong):
    with pytest.raises(InputError, match="mixture"):
        model.separate_array(wrong, 44100)


def test_a_stem_never_replaces_its_own_input(model, tmp_path):
    song = write_music(tmp_path / "vocals.wav", seconds=0.3)
    before = song.read_bytes()
    with pytest.raises(OutputError, match="would replace the input"):
        model.separate_file(song, tmp_path, filename="{stem}.{ext}")
    assert song.read_bytes() == before


def test_an_array_too_large_for_memory_names_the_flag_that_helps(model, monkeypatch):
    monkeypatch.setattr(model, "engine", engine_of(Forgetful(room=0)))
    with pytest.raises(MemoryExhausted, match="--segment-seconds"):
        model.separate_array(music(0.5).T, 44100)
