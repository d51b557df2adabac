"""The filter of masks: parity with norbert and with `wiener`, laws, nearly mono mixtures, silence."""

import warnings

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from mss_models.errors import ShapeError
from mss_models.spatial_filter import spatial_filter
from mss_models.wiener import wiener

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # it imports an old name of scipy's
    import norbert


def scene(channels: int, *, stems: int = 3, seed: int = 0, level: float = 100.0) -> tuple[Tensor, Tensor]:
    """Mixture of stems with own places and envelopes, (channel, frame, bin), and guesses of their masks."""
    generator = np.random.default_rng(seed)
    shape = (stems, channels, 40, 17)
    gains = generator.uniform(0.1, 1, (stems, channels, 1, 1)) * np.exp(
        2j * generator.uniform(0, 3, (stems, channels, 1, 1))
    )
    sources = generator.standard_normal(shape) + 1j * generator.standard_normal(shape)
    parts = level * gains * generator.gamma(0.5, 1, (stems, 1, 40, 17)) * (sources[:, :1] + 0.05 * sources)
    mixture = parts.sum(axis=0).astype(np.complex64)
    masks = np.abs(parts) * generator.uniform(0.5, 1.5, shape) / np.abs(mixture)
    return torch.from_numpy(mixture), torch.from_numpy(masks.astype(np.float32))


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("iterations", [0, 1, 2, 4])
@pytest.mark.parametrize("level", [0.01, 100.0])
def test_agrees_with_norbert(channels, iterations, level):
    mixture, masks = scene(channels, level=level)
    # Its axes are (frame, bin, channel, stem).
    x = mixture.to(torch.complex128).permute(1, 2, 0).numpy().copy()
    magnitudes = (masks.double() * mixture.to(torch.complex128).abs()).permute(2, 3, 1, 0).numpy()
    expected = norbert.wiener(magnitudes, x, iterations=iterations, use_softmask=False, eps=1e-10)
    actual = spatial_filter(mixture, masks, iterations=iterations).permute(2, 3, 1, 0).numpy()
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("iterations", [1, 3])
def test_agrees_with_the_filter_of_magnitudes(iterations):
    mixture, masks = scene(2)
    swapped = mixture.transpose(1, 2)[None].to(torch.complex128)
    magnitudes = masks.transpose(2, 3)[None].double() * swapped.abs().unsqueeze(1)
    expected = wiener(swapped, magnitudes, iterations=iterations, softmask=False, eps=1e-10)[0].transpose(2, 3)
    actual = spatial_filter(mixture, masks, iterations=iterations).to(torch.complex128)
    assert_close(actual, expected, rtol=0, atol=1e-6 * float(expected.abs().max()))


def test_the_number_of_bins_worked_on_at_once_does_not_change_the_result(monkeypatch):
    mixture, masks = scene(2)
    whole = spatial_filter(mixture, masks, iterations=2)
    monkeypatch.setattr("mss_models.spatial_filter._BLOCK_CELLS", 3 * 40)
    assert_close(spatial_filter(mixture, masks, iterations=2), whole, rtol=1e-6, atol=0)


def test_estimates_of_a_loud_mixture_add_up_to_it():
    mixture, masks = scene(2)
    total = spatial_filter(mixture, masks, iterations=2).sum(dim=0)
    assert_close(total, mixture, rtol=0, atol=1e-3 * float(mixture.abs().max()))


def test_a_mono_mixture_on_two_channels_stays_mono_and_adds_up():
    mixture, masks = scene(2)
    mixture[1], masks[:, 1] = mixture[0], masks[:, 0]
    estimates = spatial_filter(mixture, masks, iterations=2)
    assert_close(estimates[:, 0], estimates[:, 1], rtol=0, atol=1e-6 * float(mixture.abs().max()))
    assert_close(estimates.sum(dim=0), mixture, rtol=0, atol=1e-3 * float(mixture.abs().max()))


def test_no_iteration_applies_the_masks():
    mixture, masks = scene(2)
    assert torch.equal(spatial_filter(mixture, masks, iterations=0), masks * mixture)


@pytest.mark.parametrize("channels", [1, 2])
def test_silence_stays_silent_and_cells_without_a_mask_are_zero(channels):
    mixture, masks = scene(channels)
    assert not spatial_filter(torch.zeros_like(mixture), masks).any()
    assert not spatial_filter(mixture, torch.zeros_like(masks), iterations=2).any()
    mixture[:, 5:9] = 0
    estimates = spatial_filter(mixture, masks, iterations=2)
    assert not estimates[:, :, 5:9].any()
    assert torch.isfinite(torch.view_as_real(estimates)).all()


def test_what_does_not_fit_is_refused():
    mixture, masks = scene(2)
    with pytest.raises(ShapeError, match="1 or 2 channels"):
        spatial_filter(torch.cat([mixture, mixture]), masks)
    with pytest.raises(ShapeError, match="as the mixture's"):
        spatial_filter(mixture, masks[:, :1])
    with pytest.raises(ValueError, match="iterations must be >= 0"):
        spatial_filter(mixture, masks, iterations=-1)
    with pytest.raises(ValueError, match="eps and largest > 0"):
        spatial_filter(mixture, masks, eps=0.0)
