import math
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from mss_cli.errors import ExitCode, UsageError, WeightsError
from mss_cli.pitch import teachers
from mss_cli.pitch.teachers import DeepSalienceTeacher, PyinTeacher, find_teacher
from mss_models.harmonic_cqt import HarmonicCqt, levels
from mss_models.networks.deep_salience import DeepSalience
from mss_models.salience import best_pitch

PUBLISHED = Path(__file__).parents[2].parent / "shared" / "checkpoints" / "deep-salience"
needs_published = pytest.mark.skipif(not PUBLISHED.exists(), reason="shared/checkpoints/deep-salience is absent")
RATE = 22050


def sung(seconds, frequency=220.0):
    """A buzzing tone with vibrato, silent in its first half second; and its pitch per frame of 256 samples."""
    times = np.arange(int(seconds * RATE)) / RATE
    pitch = frequency * 2 ** (0.3 / 12 * np.sin(2 * math.pi * 5 * times))
    phase = 2 * math.pi * np.cumsum(pitch) / RATE
    tone = sum(np.sin(k * phase) / k for k in range(1, 9))
    voiced = times >= 0.5
    frames = 256 * np.arange(1 + len(times) // 256)
    audio = (0.2 * tone * voiced).astype(np.float32)
    return audio, np.where(frames / RATE >= 0.5, pitch[np.minimum(frames, len(times) - 1)], 0.0)


def shares_right(salience, truth, threshold):
    found, _ = best_pitch(torch.from_numpy(salience)[None], threshold=threshold)
    found = found[0].numpy()
    voiced = truth > 0
    near = np.abs(1200 * np.log2(np.maximum(found, 1) / np.maximum(truth, 1))) < 50
    return (near & voiced).sum() / voiced.sum(), ((found == 0) & ~voiced).sum() / (~voiced).sum()


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    torch.manual_seed(0)
    state = {k: v for k, v in DeepSalience().state_dict().items() if "num_batches" not in k}
    path = tmp_path_factory.mktemp("weights") / "vocal.safetensors"
    save_file(state, path)
    return path


def test_pyin_hears_a_sung_tone():
    pytest.importorskip("librosa")
    audio, truth = sung(2.0)
    teacher = PyinTeacher()
    salience = teacher(audio)
    assert salience.shape == (360, len(truth))
    right, silent = shares_right(salience, truth, teacher.threshold)
    assert right > 0.9
    assert silent > 0.8


@needs_published
def test_deep_salience_hears_a_sung_tone():
    audio, truth = sung(2.0)
    teacher = DeepSalienceTeacher(PUBLISHED / "vocal.safetensors")
    salience = teacher(audio)
    assert salience.shape == (360, len(truth))
    right, silent = shares_right(salience, truth, teacher.threshold)
    assert right > 0.9
    assert silent > 0.8


@pytest.mark.parametrize("at_once", [3, 256])
def test_stretches_join_to_what_the_network_says_of_the_whole(untrained, monkeypatch, at_once):
    monkeypatch.setattr(teachers, "_NETWORK_PIECE", at_once)
    audio = np.random.default_rng(0).normal(0, 0.1, 256 * 30 + 7).astype(np.float32)
    blocks = np.split(audio, [1, 3000, 3001, 7000])
    teacher = DeepSalienceTeacher(untrained, piece_frames=8)
    pieces = list(teacher.pieces(lambda: iter(blocks)))
    with torch.inference_mode():
        stack = levels(HarmonicCqt()(torch.from_numpy(audio)[None]))
        whole = DeepSalience.from_weights(load_file(untrained))(stack)[0]
    assert max(piece.shape[1] for piece in pieces) == min(at_once, 8)
    np.testing.assert_allclose(np.concatenate(pieces, axis=1), whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("samples", [0, 1, 5000])
def test_silence_has_no_pitch(untrained, samples):
    silence = np.zeros(samples, np.float32)
    assert not DeepSalienceTeacher(untrained)(silence).any()
    pytest.importorskip("librosa")
    assert not PyinTeacher()(silence).any()
    assert PyinTeacher()(silence).shape == (360, 1 + samples // 256)


def test_the_teacher_is_deep_salience_where_its_weights_are_given(untrained):
    pytest.importorskip("librosa")
    assert isinstance(find_teacher(untrained), DeepSalienceTeacher)
    assert isinstance(find_teacher(None), PyinTeacher)


def test_a_teacher_can_be_sent_to_another_process_and_its_name_tells_the_weights(untrained, tmp_path):
    teacher = DeepSalienceTeacher(untrained)
    copy = pickle.loads(pickle.dumps(teacher))
    audio = sung(0.6)[0]
    np.testing.assert_array_equal(copy(audio), teacher(audio))
    state = load_file(untrained)
    state["squishy.bias"] += 1
    save_file(state, tmp_path / "other.safetensors")
    assert DeepSalienceTeacher(tmp_path / "other.safetensors").name != teacher.name == copy.name


def test_weights_that_do_not_fit_are_named_with_their_file(tmp_path):
    path = tmp_path / "drums.safetensors"
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match=r"drums.safetensors: cannot read the weights of Deep Salience: .*missing"):
        find_teacher(path)
    with pytest.raises(WeightsError, match=r"none.safetensors"):
        find_teacher(tmp_path / "none.safetensors")


def test_without_librosa_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(teachers, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pYIN.*needs librosa.*mss-cli\[research\]") as caught:
        find_teacher(None)
    assert caught.value.code == ExitCode.USAGE
