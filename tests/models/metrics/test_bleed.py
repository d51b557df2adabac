"""Bleedless and fullness: known answers, laws, parity with the same score made of librosa's parts."""

import numpy as np
import pytest
import torch

from mss_models.errors import ShapeError
from mss_models.metrics.bleed import bleedless_and_fullness, mel_filters


def noise(*shape, seed=0):
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_an_exact_copy_scores_100_twice():
    reference = noise(1, 2, 20000)
    scores = bleedless_and_fullness(reference, reference.clone())
    assert (scores.bleedless.tolist(), scores.fullness.tolist()) == ([100.0], [100.0])


@pytest.mark.parametrize(("decibels", "bleedless", "fullness"), [(3.0, 25.0, 100.0), (-4.0, 100.0, 20.0)])
def test_a_gain_shows_on_one_side_only(decibels, bleedless, fullness):
    reference = noise(1, 1, 44100)
    scores = bleedless_and_fullness(reference, reference * 10 ** (decibels / 20))
    assert float(scores.bleedless) == pytest.approx(bleedless, abs=1e-6)
    assert float(scores.fullness) == pytest.approx(fullness, abs=1e-6)


def test_a_leak_lowers_bleedless_and_a_hole_lowers_fullness():
    reference = noise(1, 1, 44100)
    leak = reference + noise(1, 1, 44100, seed=1) * torch.linspace(0, 1, 44100)
    hole = reference.clone()
    hole[..., 10000:20000] = 0
    clean, holed = bleedless_and_fullness(reference, leak), bleedless_and_fullness(reference, hole)
    assert float(clean.bleedless) < float(clean.fullness)
    assert float(holed.fullness) < float(holed.bleedless)


def test_equals_the_score_made_of_librosas_parts():
    librosa = pytest.importorskip("librosa")
    reference = noise(2, 30000)
    estimate = reference + 0.3 * noise(2, 30000, seed=1) - 0.2 * reference.roll(300, dims=-1)

    def decibels(signal):
        spectra = np.abs(librosa.stft(signal.numpy(), n_fft=4096, hop_length=1024, pad_mode="constant"))
        bank = librosa.filters.mel(sr=44100, n_fft=4096, n_mels=512, dtype=np.float64)
        return librosa.amplitude_to_db(bank @ spectra, ref=1.0, amin=1e-10, top_db=80.0)

    d = decibels(estimate) - decibels(reference)
    scores = bleedless_and_fullness(reference[None], estimate[None])
    assert float(scores.bleedless) == pytest.approx(100 / (1 + d[d > 0].mean()), abs=1e-6)
    assert float(scores.fullness) == pytest.approx(100 / (1 - d[d < 0].mean()), abs=1e-6)


@pytest.mark.parametrize("rate", [44100, 16000])
def test_the_filters_are_librosas(rate):
    filters = pytest.importorskip("librosa").filters
    expected = filters.mel(sr=rate, n_fft=4096, n_mels=512, dtype=np.float64)
    np.testing.assert_allclose(mel_filters(rate).numpy(), expected, rtol=0, atol=1e-12)


def test_wrong_arguments_are_named():
    with pytest.raises(ShapeError, match="estimate"):
        bleedless_and_fullness(noise(1, 2, 5000), noise(1, 1, 5000))
    with pytest.raises(ValueError, match="sample_rate"):
        bleedless_and_fullness(noise(1, 1, 5000), noise(1, 1, 5000), sample_rate=0)
