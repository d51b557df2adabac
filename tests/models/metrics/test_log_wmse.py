"""log-WMSE: known answers, laws, the published filter and implementation where it is installed."""

import math

import numpy as np
import pytest
import torch

from mss_models.errors import ShapeError
from mss_models.metrics.log_wmse import CEILING, log_wmse, weighting_filter


def noise(*shape, seed=0, level=0.1):
    return level * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_tenth_of_the_mixture_left_in_a_silent_stem_scores_as_published():
    # The example of the definition's authors: 18.42. Samples below -68 dB are too few to matter.
    mixture = noise(1, 44100)
    score = log_wmse(torch.zeros(1, 1, 44100), 0.1 * mixture[None], mixture)
    assert float(score) == pytest.approx(-4 * math.log(0.01), abs=1e-3)


def test_an_exact_copy_reaches_the_ceiling():
    reference = noise(2, 2, 5000)
    assert log_wmse(reference, reference.clone(), noise(2, 5000, seed=1)).tolist() == pytest.approx([CEILING] * 2)
    assert pytest.approx(73.68, abs=0.01) == CEILING


def test_errors_below_the_threshold_of_hearing_do_not_count():
    mixture = noise(1, 5000)
    estimate = 1e-6 * noise(1, 1, 5000, seed=2)
    assert float(log_wmse(torch.zeros(1, 1, 5000), estimate, mixture)) == pytest.approx(CEILING)


def test_a_silent_mixture_gives_the_ceiling():
    assert float(log_wmse(noise(1, 1, 500), noise(1, 1, 500, seed=1), torch.zeros(1, 500))) == pytest.approx(CEILING)


@pytest.mark.parametrize("gain", [0.01, 7.0])
def test_the_level_of_the_song_does_not_matter(gain):
    reference, mixture = noise(2, 2, 9000), noise(2, 9000, seed=1)
    estimate = reference + noise(2, 2, 9000, seed=2, level=0.02)
    torch.testing.assert_close(
        log_wmse(gain * reference, gain * estimate, gain * mixture),
        log_wmse(reference, estimate, mixture),
        atol=1e-9,
        rtol=0,
    )


def test_long_tracks_are_filtered_without_seams():
    samples = 150_001
    mixture, error = noise(1, samples), noise(1, samples, seed=3, level=0.01)
    taps = weighting_filter().numpy()
    filtered = [np.convolve(x.numpy()[0], taps, mode="same") for x in (mixture, error)]
    d = filtered[1] / np.sqrt(np.mean(filtered[0] ** 2))
    d[np.abs(d) < 10 ** (-68 / 20)] = 0
    expected = -4 * math.log(np.mean(d**2) + 1e-8)
    assert float(log_wmse(torch.zeros(1, 1, samples), error[None], mixture)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("hz", "decibels"),
    [(60, -12.492), (120, -2.995), (500, 2.531), (1500, 2.635), (3000, 4.236), (10000, -1.011)],
)
def test_the_filter_weighs_frequencies_as_published(hz, decibels):
    # Values read from the impulse response that log-wmse-audio-quality 0.2.0 ships, at the nearest of 8192 bins.
    response = np.abs(np.fft.rfft(weighting_filter().numpy(), 8192))
    assert 20 * math.log10(response[int(hz * 8192 / 44100)]) == pytest.approx(decibels, abs=2e-3)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_equals_the_published_implementation(seed):
    published = pytest.importorskip("log_wmse_audio_quality")
    reference = noise(2, 30000, seed=seed, level=0.1 if seed else 0.0).float()
    estimate = reference + noise(2, 30000, seed=seed + 10, level=10 ** (-seed - 1)).float()
    mixture = noise(2, 30000, seed=seed + 20).float()
    expected = published.calculate_log_wmse(mixture.numpy(), estimate.numpy(), reference.numpy(), 44100)
    assert float(log_wmse(reference[None], estimate[None], mixture)) == pytest.approx(float(expected), abs=1e-3)


def test_the_mixture_must_fit():
    with pytest.raises(ShapeError, match="mixture"):
        log_wmse(noise(2, 2, 100), noise(2, 2, 100), noise(1, 100))
