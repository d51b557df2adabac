"""Oracle masks, streamed, against plain whole-track versions made with SciPy's transform."""

import numpy as np
import pytest
import scipy.signal

from made_songs import stems
from mss_cli.evaluation.oracles import ORACLES, oracle_estimates

FOUR = ("vocals", "drums", "bass", "other")


def song(seconds=3.2, channels=2, seed=0):
    made = stems(seed, seconds, channels=channels)
    references = np.stack([made[name] for name in FOUR])
    return references, references.sum(axis=0)


def streamed(oracle, references, mixture, cuts=7):
    together = np.concatenate([mixture[None], references])

    def source():
        return iter(np.array_split(together, cuts, axis=-1))

    return np.concatenate(list(oracle_estimates(oracle, source, channels=mixture.shape[0])), axis=-1)


def transform(signal):
    return scipy.signal.stft(signal, nperseg=2048)[2] * 1.0  # (..., bin, frame), Hann, half overlap, zeros around


def inverse(spectrum, samples):
    return scipy.signal.istft(spectrum)[1][..., :samples]


def plain(oracle, references, mixture):
    y, x = transform(references.astype(np.float64)), transform(mixture.astype(np.float64))
    if oracle.startswith("irm"):
        power = np.abs(y) ** int(oracle[-1])
        made = power / np.maximum(power.sum(axis=0), 1e-300) * x
    elif oracle.startswith("ibm"):
        p = int(oracle[-1])
        made = (np.abs(y) ** p >= 0.5 * np.abs(x) ** p) * x
    elif oracle == "cirm":
        mask = y / x
        made = mask / np.maximum(np.abs(mask), 1) * x
    else:
        made = plain_wiener(y, x)
    return inverse(made, mixture.shape[-1])


def plain_wiener(y, x):
    """Cell by cell, as the equations say."""
    stems_, channels, bins, frames = y.shape
    made = np.zeros_like(y)
    for f in range(bins):
        covariance = []
        for j in range(stems_):
            outer = np.einsum("ct,dt->tcd", y[j, :, f], y[j, :, f].conj())
            weight = np.mean(np.abs(y[j, :, f]) ** 2, axis=0)
            mean = np.mean(outer / (np.finfo(float).eps + weight)[:, None, None], axis=0)
            covariance.append(mean * channels / np.trace(mean).real + 1e-10 * np.eye(channels))
        inverses = [np.linalg.inv(r) for r in covariance]
        for t in range(frames):
            powers = [
                max(0.0, (y[j, :, f, t].conj() @ inverses[j] @ y[j, :, f, t]).real / channels) for j in range(stems_)
            ]
            total = sum(v * r for v, r in zip(powers, covariance, strict=True)) + 2.2e-16 * np.eye(channels)
            whitened = np.linalg.solve(total, x[:, f, t])
            for j in range(stems_):
                made[j, :, f, t] = powers[j] * covariance[j] @ whitened
    return made


@pytest.mark.parametrize("oracle", ["irm1", "irm2", "ibm1", "ibm2", "cirm"])
@pytest.mark.parametrize("channels", [1, 2])
def test_streaming_equals_the_plain_version_on_the_whole_track(oracle, channels):
    references, mixture = song(channels=channels)
    expected = plain(oracle, references, mixture)
    actual = streamed(oracle, references, mixture)
    if oracle.startswith("ibm"):  # a cell on the threshold may fall either way by rounding
        error = np.square(actual - expected).sum() / np.square(expected).sum()
        assert error < 1e-6
    else:
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-6)


def test_the_wiener_filter_equals_its_equations_cell_by_cell():
    references, mixture = song(seconds=0.3)
    np.testing.assert_allclose(
        streamed("mwf", references, mixture), plain("mwf", references, mixture), rtol=0, atol=1e-5
    )


def test_the_covariances_of_a_long_track_use_every_frame_once():
    references, mixture = song(seconds=3.2)
    whole = streamed("mwf", references, mixture, cuts=1)
    np.testing.assert_allclose(streamed("mwf", references, mixture, cuts=23), whole, rtol=0, atol=1e-6)


@pytest.mark.parametrize("oracle", ["irm1", "irm2", "mwf"])
def test_estimates_sum_to_the_mixture(oracle):
    references, mixture = song(seconds=1.7, seed=2)
    np.testing.assert_allclose(streamed(oracle, references, mixture).sum(axis=0), mixture, rtol=0, atol=1e-5)


@pytest.mark.parametrize("oracle", ORACLES)
@pytest.mark.parametrize("samples", [1, 100, 1024, 65536, 65537, 66560, 67000])
def test_any_length_comes_back_finite(oracle, samples):
    references, mixture = song(seconds=1.6)
    made = streamed(oracle, references[..., :samples], mixture[..., :samples], cuts=1)
    assert made.shape == (4, 2, samples)
    assert np.isfinite(made).all()


@pytest.mark.parametrize("oracle", ORACLES)
def test_stems_apart_in_frequency_are_found_again(oracle):
    time = np.arange(44100) / 44100
    low, high = (np.sin(2 * np.pi * f * time)[None].astype(np.float32).repeat(2, axis=0) for f in (200, 6000))
    references = np.stack([low, high])
    made = streamed(oracle, references, low + high)
    error_db = 10 * np.log10(np.square(made - references)[..., 2048:-2048].sum() / np.square(references).sum())
    assert error_db < -40


@pytest.mark.parametrize("oracle", ORACLES)
def test_a_silent_stem_gets_nothing_of_the_others(oracle):
    references, mixture = song(seconds=0.5)
    references[2] = 0
    mixture = references.sum(axis=0)
    made = streamed(oracle, references, mixture)
    assert np.isfinite(made).all()
    assert np.square(made[2]).sum() < 1e-9 * np.square(mixture).sum()
