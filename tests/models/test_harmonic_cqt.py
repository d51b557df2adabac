import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from mss_models.errors import ShapeError
from mss_models.harmonic_cqt import CONTEXT_FRAMES, HARMONICS, HOP_SAMPLES, SAMPLE_RATE, HarmonicCqt, levels
from mss_models.salience import LOWEST_HZ

PUBLISHED = Path(__file__).parents[2].parent / "shared" / "checkpoints" / "deep-salience"


def tone(frequency, seconds=3.0):
    return torch.sin(2 * math.pi * frequency * torch.arange(int(SAMPLE_RATE * seconds)) / SAMPLE_RATE)[None]


def noise(samples, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)


@pytest.fixture(scope="module")
def transform():
    return HarmonicCqt()


@pytest.fixture(scope="module")
def librosa():
    return pytest.importorskip("librosa")


def peer(librosa, audio):
    stack = [
        librosa.cqt(audio, sr=SAMPLE_RATE, hop_length=256, fmin=LOWEST_HZ * h, n_bins=360, bins_per_octave=60)
        for h in HARMONICS
    ]
    return np.abs(np.stack(stack))


@pytest.mark.filterwarnings("ignore:n_fft=1024 is too large")  # librosa's, about the slowest octaves
@pytest.mark.parametrize("samples", [40_000, 44_101, 50_003])
def test_magnitudes_are_librosas(transform, librosa, samples):
    audio = noise(samples)
    magnitudes = transform(torch.from_numpy(audio)[None])[0].numpy()
    np.testing.assert_allclose(magnitudes, peer(librosa, audio), rtol=0, atol=1e-6)


@pytest.mark.filterwarnings("ignore:n_fft=1024 is too large")
def test_levels_are_librosas(transform, librosa):
    audio = noise(50_003)
    theirs = peer(librosa, audio)
    expected = librosa.amplitude_to_db(theirs, ref=theirs.max()) / 80 + 1
    actual = levels(transform(torch.from_numpy(audio)[None]))[0]
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-4)


@pytest.mark.skipif(not PUBLISHED.exists(), reason="shared/checkpoints/deep-salience is absent")
def test_the_known_stack_of_the_published_teacher(transform, librosa):
    import soundfile

    audio, rate = soundfile.read(PUBLISHED / "input_2s.flac", dtype="float32")
    mono = librosa.resample(audio.mean(axis=1), orig_sr=rate, target_sr=SAMPLE_RATE)
    known = np.load(PUBLISHED / "known_hcqt_2s.npz")["hcqt"]
    # 1e-4 is 0.008 dB; at the floor of -80 dB rounding in float32 alone moves a level by almost that.
    np.testing.assert_allclose(levels(transform(torch.from_numpy(mono)[None]))[0], known, rtol=0, atol=1e-4)


@given(place=st.integers(60, 359))
@settings(max_examples=8, deadline=None)
def test_a_tone_peaks_at_its_bin_in_every_harmonic_that_reaches_it(transform, place):
    frequency = LOWEST_HZ * 2 ** (place / 60)
    magnitudes = transform(tone(frequency))[0, :, :, 129]
    for number, harmonic in enumerate(HARMONICS):
        expected = round(place - 60 * math.log2(harmonic))
        if 5 < expected < 355:
            assert abs(int(magnitudes[number].argmax()) - expected) <= 1


def test_the_middle_does_not_hear_what_lies_beyond_the_context(transform):
    frames = 2 * CONTEXT_FRAMES + 20
    audio = torch.from_numpy(noise(frames * HOP_SAMPLES))[None]
    cut = slice(CONTEXT_FRAMES, frames - CONTEXT_FRAMES)
    louder = torch.cat([torch.ones(1, 300 * HOP_SAMPLES), audio, torch.ones(1, 300 * HOP_SAMPLES)], dim=1)
    inside = transform(louder)[..., 300 + cut.start : 300 + cut.stop]
    assert_close(inside, transform(audio)[..., cut], rtol=0, atol=2e-6)


def test_a_batch_is_its_signals_one_by_one(transform):
    audio = torch.from_numpy(np.stack([noise(9000, 1), noise(9000, 2)]))
    assert_close(transform(audio), torch.cat([transform(audio[:1]), transform(audio[1:])]), rtol=0, atol=1e-7)


@pytest.mark.parametrize("samples", [0, 1, 255, 256])
def test_short_signals_have_the_frames_their_length_asks_for(transform, samples):
    magnitudes = transform(torch.ones(1, samples))
    assert magnitudes.shape == (1, 6, 360, 1 + samples // 256)
    assert torch.isfinite(magnitudes).all()


def test_levels_end_at_the_peak_and_80_db_below():
    magnitudes = torch.tensor([1.0, 0.1, 1e-4, 1e-9]).reshape(1, 1, 4, 1)
    assert_close(levels(magnitudes).flatten(), torch.tensor([1.0, 0.75, 0.0, 0.0]), rtol=0, atol=1e-6)
    assert_close(levels(magnitudes, torch.tensor([10.0])).flatten()[:2], torch.tensor([0.75, 0.5]), rtol=0, atol=1e-6)


def test_no_filter_is_part_of_the_state_dict(transform):
    assert not transform.state_dict()


def test_what_does_not_fit_is_refused(transform):
    with pytest.raises(ShapeError, match="audio"):
        transform(torch.zeros(100))
    with pytest.raises(ValueError, match="harmonic 6"):
        HarmonicCqt([6])
    with pytest.raises(ValueError, match="harmonic 0.1"):
        HarmonicCqt([0.1])
