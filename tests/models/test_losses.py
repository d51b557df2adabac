"""Loss terms: values worked out by hand, silence, NaN, and parity with plain NumPy."""

import math
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from mss_models.errors import ShapeError
from mss_models.losses import Term, TermName, evaluate_terms, total
from mss_models.stft import StftSettings, istft, stft

GRID = StftSettings(64, 16)
NAMES = get_args(TermName)


def noise(*shape, seed=0, scale=0.1):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape) * scale).float()


def stems(samples=256, batch=2):
    targets = noise(batch, 2, 1, samples)
    return targets, targets.sum(dim=1)


def value(name, estimates, targets, mixture=None, grid=GRID, **fields):
    mixture = targets.sum(dim=1) if mixture is None else mixture
    term = Term(name, **fields)
    return evaluate_terms([term], estimates=estimates, targets=targets, mixture=mixture, transform=grid)[name]


def plain_magnitudes(signal, n_fft, hop):
    """Magnitudes by NumPy over every frame that touches the signal, full-scale tone 0.5: (..., frame, bin)."""
    padded = np.pad(np.asarray(signal, dtype=np.float64), [(0, 0)] * (np.ndim(signal) - 1) + [(n_fft - hop, 2 * n_fft)])
    frames = -(-np.shape(signal)[-1] // hop) + n_fft // hop - 1
    window = np.hanning(n_fft + 1)[:-1]
    columns = [np.fft.rfft(padded[..., k * hop : k * hop + n_fft] * window) for k in range(frames)]
    return np.abs(np.stack(columns, axis=-2)) / window.sum()


def test_a_full_scale_tone_against_silence_differs_by_the_magnitude_of_the_window():
    # A Hann window spreads a tone on a bin's centre over three bins: 0.5 there, 0.25 at both sides.
    grid, samples = StftSettings(64, 16), 64 * 400
    tone = torch.sin(2 * math.pi * 8 / 64 * torch.arange(samples)).view(1, 1, 1, -1)
    got = value("magnitude-l1", torch.zeros_like(tone), tone, grid=grid)
    assert_close(got, torch.tensor(1.0 / grid.bins), rtol=2e-3, atol=0)
    got = value("magnitude-l2", torch.zeros_like(tone), tone, grid=grid)
    assert_close(got, torch.tensor((0.25 + 2 * 0.0625) / grid.bins), rtol=2e-3, atol=0)


def test_magnitude_terms_agree_with_numpy():
    targets, _mixture = stems()
    estimates = noise(*targets.shape, seed=1)
    difference = plain_magnitudes(targets, 64, 16) - plain_magnitudes(estimates, 64, 16)
    assert_close(value("magnitude-l1", estimates, targets).item(), np.abs(difference).mean(), rtol=1e-5, atol=0)
    assert_close(value("magnitude-l2", estimates, targets).item(), np.square(difference).mean(), rtol=1e-5, atol=0)


def test_the_rectified_difference_is_what_the_instrumental_version_leaves():
    targets, mixture = stems()
    estimates = noise(*targets.shape, seed=1)
    whole = plain_magnitudes(mixture[:, None], 64, 16)
    rest = plain_magnitudes(mixture[:, None] - targets, 64, 16)
    expected = np.abs(np.maximum(whole - rest, 0) - plain_magnitudes(estimates, 64, 16)).mean()
    got = value("magnitude-l1", estimates, targets, target="rectified-difference")
    assert_close(got.item(), expected, rtol=1e-5, atol=0)


def test_waveform_terms_are_means_over_elements():
    targets = torch.zeros(1, 1, 2, 2)
    estimates = torch.tensor([[[[1.0, -2.0], [0.0, 3.0]]]])
    assert value("waveform-l1", estimates, targets).item() == 6 / 4
    assert value("waveform-mse", estimates, targets).item() == 14 / 4


def test_spectrum_l1_is_zero_only_for_the_right_phase():
    targets, _ = stems()
    assert value("spectrum-l1", targets.clone(), targets).item() == 0
    spectrum = torch.view_as_real(stft(targets, GRID)) / 32
    assert_close(value("spectrum-l1", -targets, targets), 2 * spectrum.abs().mean(), rtol=1e-5, atol=0)
    assert value("magnitude-l1", -targets, targets).item() == 0


@pytest.mark.parametrize(("factor", "expected"), [(1.0, -1.0), (0.25, -1.0), (-3.0, 1.0)])
def test_sdr_is_the_negative_cosine_whatever_the_level(factor, expected):
    targets, _ = stems()
    assert_close(value("sdr", factor * targets, targets).item(), expected, rtol=0, atol=1e-6)


def test_sdr_is_computed_over_both_channels_of_each_stem():
    targets = torch.tensor([[[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 0.0]]]])  # two stems, two channels
    estimates = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]], [[0.0, 1.0], [0.0, 0.0]]]])
    # First stem: 1 / (sqrt(2) * 1); second stem: orthogonal.
    assert_close(value("sdr", estimates, targets).item(), -(1 / math.sqrt(2)) / 2, rtol=0, atol=1e-6)


def test_log_energy_is_in_decibels_of_the_mixture():
    targets, mixture = stems()
    power = mixture.square().mean(dim=(-2, -1))
    nothing = torch.zeros_like(targets)
    expected = 10 * torch.log10(targets.square().mean(dim=(-2, -1)) / power[:, None] + 0.01).mean()
    assert_close(value("log-energy", nothing, targets), expected, rtol=1e-5, atol=1e-5)
    assert_close(value("log-energy", targets.clone(), targets).item(), -20.0, rtol=0, atol=1e-4)
    assert_close(value("log-energy", targets.clone(), targets, n_fft=64).item(), -20.0, rtol=0, atol=1e-4)


def test_multi_resolution_stft_agrees_with_numpy():
    targets, _mixture = stems(samples=600)
    estimates = 0.5 * targets + noise(*targets.shape, seed=3, scale=0.02)
    parts = []
    for n_fft, hop in [(32, 8), (64, 16), (128, 32)]:
        true, made = plain_magnitudes(targets, n_fft, hop), plain_magnitudes(estimates, n_fft, hop)
        norms = [np.sqrt(np.square(values).sum(axis=(-3, -2, -1))) for values in (true - made, true)]
        logs = np.log(np.sqrt(true**2 + 1e-10)) - np.log(np.sqrt(made**2 + 1e-10))
        parts.append((norms[0] / norms[1]).mean() + np.abs(logs).mean())
    assert_close(value("multi-resolution-stft", estimates, targets).item(), np.mean(parts), rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_a_perfect_estimate_is_a_minimum(name):
    targets, _ = stems()
    perfect = value(name, targets.clone(), targets)
    for seed in (1, 2, 3):
        assert value(name, targets + noise(*targets.shape, seed=seed, scale=0.01), targets) > perfect


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("silent", ["stem", "estimate", "stem and estimate", "one stem", "mixture", "everything"])
def test_silence_gives_finite_values_and_gradients(name, silent):
    targets, mixture = stems()
    estimates = noise(*targets.shape, seed=1)
    if silent in ("stem", "stem and estimate", "everything"):
        targets = torch.zeros_like(targets)
    if silent in ("estimate", "stem and estimate", "everything"):
        estimates = torch.zeros_like(targets)
    if silent == "one stem":
        targets[:, 1] = 0
    if silent in ("mixture", "everything"):
        mixture = torch.zeros_like(mixture)
    estimates.requires_grad_()
    got = value(name, estimates, targets, mixture)
    (gradient,) = torch.autograd.grad(got, estimates)
    assert torch.isfinite(got)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_those_of_finite_differences(name):
    targets = noise(1, 2, 1, 96).double()
    estimates = noise(1, 2, 1, 96, seed=1).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda made: value(name, made, targets), [estimates], eps=1e-7, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("where", ["estimates", "targets"])
def test_a_nan_stays_a_nan(name, where):
    targets, mixture = stems()
    estimates = targets.clone()
    (estimates if where == "estimates" else targets)[0, 0, 0, 40] = math.nan
    assert torch.isnan(value(name, estimates, targets, mixture))


@settings(max_examples=20, deadline=None)
@given(scale=st.floats(1e-2, 1.0), seed=st.integers(0, 2**16))
def test_terms_of_magnitudes_and_waveforms_grow_with_the_level(scale, seed):
    targets, estimates = noise(1, 2, 1, 128, seed=seed), noise(1, 2, 1, 128, seed=seed + 1)
    for name, power in [("magnitude-l1", 1), ("magnitude-l2", 2), ("waveform-l1", 1), ("waveform-mse", 2), ("sdr", 0)]:
        assert_close(
            value(name, scale * estimates, scale * targets),
            scale**power * value(name, estimates, targets),
            rtol=1e-4,
            atol=1e-7,
        )


def test_the_total_weighs_the_terms():
    targets, mixture = stems()
    estimates = noise(*targets.shape, seed=1).requires_grad_()
    terms = [Term("sdr", weight=2.0), Term("magnitude-l1", weight=0.5), Term("waveform-l1", weight=0.0)]
    values = evaluate_terms(terms, estimates=estimates, targets=targets, mixture=mixture, transform=GRID)
    assert list(values) == ["sdr", "magnitude-l1", "waveform-l1"]
    assert_close(total(terms, values), 2 * values["sdr"] + 0.5 * values["magnitude-l1"])


def test_a_term_of_weight_zero_is_logged_without_a_gradient_and_takes_none_from_others():
    targets, mixture = stems()
    estimates = noise(*targets.shape, seed=1).requires_grad_()
    terms = [Term("magnitude-l2", weight=0.0), Term("magnitude-l1")]
    values = evaluate_terms(terms, estimates=estimates, targets=targets, mixture=mixture, transform=GRID)
    assert not values["magnitude-l2"].requires_grad
    assert torch.autograd.grad(total(terms, values), estimates)[0].abs().sum() > 0


def test_estimated_spectra_are_compared_before_their_inverse():
    targets, mixture = stems()
    mask = torch.rand(2, 2, 1, GRID.bins, GRID.frames(256), generator=torch.Generator().manual_seed(0))
    spectra = stft(mixture, GRID).unsqueeze(1) * mask
    term = [Term("magnitude-l1")]
    got = evaluate_terms(
        term, estimates=None, targets=targets, mixture=mixture, transform=GRID, estimate_spectra=spectra
    )
    expected = (stft(targets, GRID).abs() - spectra.abs()).abs().mean() / 32
    assert_close(got["magnitude-l1"], expected, rtol=1e-5, atol=0)
    through_time = value("magnitude-l1", istft(spectra, GRID, 256), targets)
    assert abs(through_time - expected) > 1e-4


def test_a_term_with_its_own_transform_ignores_given_spectra():
    targets, mixture = stems()
    estimates = noise(*targets.shape, seed=1)
    term = Term("magnitude-l1", n_fft=32)
    arguments = {"estimates": estimates, "targets": targets, "mixture": mixture, "transform": GRID}
    given_spectra = evaluate_terms([term], **arguments, estimate_spectra=torch.zeros_like(stft(targets, GRID)))
    assert given_spectra["magnitude-l1"] == value("magnitude-l1", estimates, targets, grid=StftSettings(32, 8))
    assert term.needs_waveforms(GRID)
    assert not replace(term, n_fft=None).needs_waveforms(GRID)


def test_half_precision_is_computed_in_full():
    targets, _mixture = stems()
    estimates = noise(*targets.shape, seed=1)
    got = value("waveform-mse", estimates.half(), targets)
    assert got.dtype == torch.float32
    assert_close(got, value("waveform-mse", estimates, targets), rtol=1e-3, atol=0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "l1"}, "name must be one of"),
        ({"name": "sdr", "weight": math.nan}, "weight must be finite"),
        ({"name": "sdr", "weight": -1.0}, "weight must be finite"),
        ({"name": "sdr", "n_fft": 64}, "n_fft has no meaning"),
        ({"name": "magnitude-l1", "hop_length": 16}, "hop_length needs n_fft"),
        ({"name": "magnitude-l1", "n_fft": 63}, "n_fft must be even"),
        ({"name": "magnitude-l1", "n_fft": 64, "hop_length": 60}, "hop_length must be in"),
        ({"name": "multi-resolution-stft", "n_fft": 62}, "multiple of 4"),
        ({"name": "magnitude-l1", "target": "voice"}, "target must be one of"),
        ({"name": "sdr", "target": "rectified-difference"}, "is for magnitude terms"),
    ],
)
def test_a_wrong_term_names_its_field(fields, message):
    with pytest.raises(ValueError, match=message):
        Term(**fields)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"estimates": torch.zeros(2, 2, 1, 255)}, "estimates"),
        ({"targets": torch.zeros(2, 1, 256)}, "targets"),
        ({"mixture": torch.zeros(2, 2, 256)}, "mixture"),
        ({"estimate_spectra": torch.zeros(2, 2, 1, 33, 5, dtype=torch.complex64)}, "estimate_spectra"),
    ],
)
def test_axes_that_do_not_fit_are_named(wrong, message):
    targets, mixture = stems()
    arguments = {"estimates": targets, "targets": targets, "mixture": mixture, "transform": GRID} | wrong
    with pytest.raises(ShapeError, match=message):
        evaluate_terms([Term("sdr")], **arguments)


def test_terms_that_cannot_be_told_apart_or_computed_are_refused():
    targets, mixture = stems()
    arguments = {"targets": targets, "mixture": mixture, "transform": GRID}
    with pytest.raises(ValueError, match="each name once"):
        evaluate_terms([Term("sdr"), Term("sdr", weight=2.0)], estimates=targets, **arguments)
    with pytest.raises(ValueError, match="each name once"):
        evaluate_terms([], estimates=targets, **arguments)
    with pytest.raises(ValueError, match="sdr cannot be computed without waveforms"):
        evaluate_terms([Term("sdr")], estimates=None, **arguments)
    with pytest.raises(ValueError, match="none has a weight"):
        total([Term("sdr", weight=0.0)], {"sdr": torch.tensor(1.0)})
