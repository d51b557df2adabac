"""Multichannel Wiener filter: parity with norbert, laws, silence, bounded working set."""

import warnings

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from mss_models.errors import ShapeError
from mss_models.wiener import wiener

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # it imports an old name of scipy's
    import norbert


def scene(channels: int, *, batch: int = 1, seed: int = 0, level: float = 100.0) -> tuple[Tensor, Tensor]:
    """Mixture of three stems with own positions and envelopes, and noisy guesses of their magnitudes."""
    generator = np.random.default_rng(seed)
    shape = (batch, 3, channels, 17, 40)
    gains = generator.uniform(0.1, 1, (1, 3, channels, 1, 1)) * np.exp(
        2j * generator.uniform(0, 3, (1, 3, channels, 1, 1))
    )
    envelopes = generator.gamma(0.5, 1, (batch, 3, 1, 17, 40))
    sources = generator.standard_normal(shape) + 1j * generator.standard_normal(shape)
    stems = level * gains * envelopes * (sources[:, :, :1] + 0.05 * sources)
    guesses = np.abs(stems) * generator.uniform(0.5, 1.5, shape)
    return torch.from_numpy(stems.sum(axis=1)), torch.from_numpy(guesses)


def by_norbert(mixture: Tensor, magnitudes: Tensor, **options) -> np.ndarray:
    """The reference, item by item: its axes are (frame, bin, channel, stem)."""
    items = []
    for x, v in zip(mixture, magnitudes, strict=True):
        y = norbert.wiener(v.permute(3, 2, 1, 0).double().numpy(), x.permute(2, 1, 0).numpy().copy(), **options)
        items.append(y.transpose(3, 2, 1, 0))  # (stem, channel, bin, frame)
    return np.stack(items)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("iterations", [0, 1, 2])
@pytest.mark.parametrize("softmask", [False, True])
@pytest.mark.parametrize("level", [0.01, 100.0])
def test_agrees_with_norbert(channels, iterations, softmask, level):
    mixture, magnitudes = scene(channels, batch=2, level=level)
    expected = by_norbert(mixture, magnitudes, iterations=iterations, use_softmask=softmask)
    actual = wiener(mixture, magnitudes, iterations=iterations, softmask=softmask).numpy()
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-8 * np.abs(expected).max())


@pytest.mark.parametrize("iterations", [0, 1, 2])
def test_single_precision_agrees_with_norbert_in_double_precision(iterations):
    mixture, magnitudes = scene(2)
    mixture = mixture.to(torch.complex64)
    eps = float(np.finfo(np.float32).eps)
    expected = by_norbert(mixture.to(torch.complex128), magnitudes.float(), iterations=iterations, eps=eps)
    actual = wiener(mixture, magnitudes.float(), iterations=iterations)
    assert actual.dtype == torch.complex64
    np.testing.assert_allclose(actual.numpy(), expected, rtol=0, atol=1e-6 * np.abs(expected).max())


def test_blocks_do_not_change_the_result():
    mixture, magnitudes = scene(2, batch=2)
    whole = wiener(mixture, magnitudes, iterations=2, block_bins=17)
    for block_bins in (1, 5, 16, 100, None):
        assert_close(wiener(mixture, magnitudes, iterations=2, block_bins=block_bins), whole, rtol=1e-12, atol=0)


def test_items_of_a_batch_do_not_influence_each_other():
    loud, quiet = scene(2, seed=1, level=1000), scene(2, seed=2, level=0.1)
    both = wiener(torch.cat([loud[0], quiet[0]]), torch.cat([loud[1], quiet[1]]), iterations=2)
    assert_close(both[:1], wiener(*loud, iterations=2))
    assert_close(both[1:], wiener(*quiet, iterations=2))


def test_estimates_add_up_to_a_loud_mixture():
    mixture, magnitudes = scene(2)
    estimates = wiener(mixture, magnitudes, iterations=2)
    assert (estimates.sum(dim=1) - mixture).abs().max() < 1e-5 * mixture.abs().max()


def test_two_stems_at_opposite_sides_are_told_apart_by_their_place():
    generator = np.random.default_rng(0)
    sources = torch.from_numpy(generator.standard_normal((2, 9, 60)) + 1j * generator.standard_normal((2, 9, 60))) * 100
    mixture = torch.stack([sources[0], sources[1]])[None]  # left holds one stem, right the other
    true = torch.zeros(1, 2, 2, 9, 60, dtype=torch.complex128)
    true[0, 0, 0], true[0, 1, 1] = sources[0], sources[1]
    guesses = true.abs() + 0.2 * mixture.abs().unsqueeze(1)  # each hears a fifth of the other
    before = (wiener(mixture, guesses, iterations=0) - true).abs().square().mean()
    after = (wiener(mixture, guesses, iterations=3) - true).abs().square().mean()
    assert after < 0.1 * before


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("softmask", [False, True])
def test_silence_gives_exact_silence(channels, softmask):
    mixture, magnitudes = torch.zeros(1, channels, 9, 5, dtype=torch.complex64), torch.zeros(1, 3, channels, 9, 5)
    estimates = wiener(mixture, magnitudes, iterations=2, softmask=softmask)
    assert torch.equal(estimates, torch.zeros_like(estimates))


def test_identical_channels_stay_finite():
    mixture, magnitudes = scene(1, level=1e4)
    estimates = wiener(
        mixture.expand(-1, 2, -1, -1).to(torch.complex64), magnitudes.expand(-1, -1, 2, -1, -1), iterations=2
    )
    assert torch.isfinite(torch.view_as_real(estimates)).all()
    assert_close(estimates[:, :, 0], estimates[:, :, 1], rtol=0, atol=0.01)


def test_inputs_are_not_changed():
    mixture, magnitudes = scene(2)
    before = mixture.clone(), magnitudes.clone()
    wiener(mixture, magnitudes, iterations=1)
    assert torch.equal(mixture, before[0])
    assert torch.equal(magnitudes, before[1])


def test_wrong_axes_are_refused():
    mixture, magnitudes = scene(2)
    with pytest.raises(ShapeError, match="1 or 2 channels"):
        wiener(torch.zeros(1, 3, 4, 5, dtype=torch.complex64), torch.zeros(1, 2, 3, 4, 5))
    with pytest.raises(ShapeError, match="magnitudes"):
        wiener(mixture, magnitudes[:, :, :1])


@pytest.mark.parametrize("options", [{"iterations": -1}, {"eps": 0.0}, {"block_bins": 0}])
def test_values_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match="must be"):
        wiener(*scene(2), **options)
