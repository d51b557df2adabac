"""The laws that every separator obeys, networks, classical methods, oracles and ensembles alike."""

import numpy as np
import torch
from torch import Tensor
from torch.testing import assert_close

from mss_models.separator import Precision, Separator

# Sums of another order: a batch of two may be computed in other blocks than one item.
_BATCH_TOLERANCE = 1e-6


def check_separator(
    separator: Separator, *, device: str = "cpu", precision: Precision = "fp32", samples: int | None = None
) -> None:
    """Assert every law of `mss_models.separator.Separator` on one separator.

    Parameters
    ----------
    separator : Separator
        Anything; it is prepared here.
    device, precision : str
        What to prepare it for.
    samples : int or None
        Length of the long inputs; None takes a segment, at most 3 s. Short is quick.
    """
    _check_attributes(separator)
    place = torch.device(device)
    separator.prepare(place, precision)
    length = samples or min(separator.segment_samples, 3 * separator.sample_rate)
    loud = _music(separator, length, seed=0).to(place)
    _check_one(separator, loud)
    _check_determinism(separator, loud)
    _check_batch(separator, loud, tolerance=_BATCH_TOLERANCE if precision == "fp32" else 0.02)
    _check_silence(separator, length, place)
    for short in (1, 2, separator.sample_rate // 100):
        _check_one(separator, loud[..., :short])
        _check_silence(separator, short, place)
    steady = torch.full((1, separator.channels, length), 0.5, device=place)
    _check_one(separator, steady)


def _check_attributes(separator: Separator) -> None:
    assert isinstance(separator, Separator)
    stems = separator.stems
    assert isinstance(stems, tuple)
    assert stems
    assert all(isinstance(stem, str) and stem and stem == stem.strip() for stem in stems)
    assert len(set(stems)) == len(stems)
    assert isinstance(separator.sample_rate, int)
    assert 1000 <= separator.sample_rate <= 384_000
    assert separator.channels in (1, 2)
    assert isinstance(separator.segment_samples, int)
    assert separator.segment_samples > 0
    assert separator.normalization in ("none", "deviation", "peak")
    assert "fp32" in separator.precisions
    assert set(separator.precisions) <= {"fp32", "bf16", "fp16"}


def _check_one(separator: Separator, mixture: Tensor) -> Tensor:
    before = mixture.clone()
    estimates = separator.separate(mixture)
    assert torch.equal(mixture, before), "the mixture was changed"
    expected = (mixture.shape[0], len(separator.stems), separator.channels, mixture.shape[-1])
    assert tuple(estimates.shape) == expected
    assert estimates.dtype == torch.float32
    assert estimates.device.type == mixture.device.type
    assert torch.isfinite(estimates).all()
    assert not estimates.requires_grad
    return estimates


def _check_determinism(separator: Separator, mixture: Tensor) -> None:
    generator = torch.get_rng_state()
    first = separator.separate(mixture).clone()
    torch.rand(7)  # whoever draws from the global generator now draws something else
    second = separator.separate(mixture)
    assert torch.equal(first, second), "two runs differ"
    torch.set_rng_state(generator)
    separator.separate(mixture)
    assert torch.equal(torch.get_rng_state(), generator), "the global generator was used"


def _check_batch(separator: Separator, mixture: Tensor, *, tolerance: float) -> None:
    other = _music(separator, mixture.shape[-1], seed=1).to(mixture.device) * 0.1
    both = separator.separate(torch.cat([mixture, other])).clone()
    assert_close(both[:1], separator.separate(mixture), rtol=0, atol=tolerance)
    assert_close(both[1:], separator.separate(other), rtol=0, atol=tolerance)
    beside_silence = separator.separate(torch.cat([mixture, torch.zeros_like(mixture)]))
    assert not beside_silence[1].any(), "an item leaks into the silent one beside it"


def _check_silence(separator: Separator, samples: int, device: torch.device) -> None:
    silence = torch.zeros(1, separator.channels, samples, device=device)
    assert not separator.separate(silence).any(), f"{samples} samples of silence are not silent"


def _music(separator: Separator, samples: int, *, seed: int) -> Tensor:
    """Tones, clicks and noise at different places, peak 0.9; (1, channel, sample)."""
    generator = np.random.default_rng(seed)
    rate, channels = separator.sample_rate, separator.channels
    time = np.arange(samples) / rate
    parts = [np.sin(2 * np.pi * pitch * time) for pitch in (55 * (1 + seed), 440, 0.2 * rate)]
    parts += [generator.standard_normal(samples), (np.arange(samples) % (rate // 4) < 32).astype(float)]
    places = generator.uniform(0.1, 1, (len(parts), channels))
    signal = places.T @ np.stack(parts)  # (channel, sample)
    return torch.from_numpy(0.9 * signal / np.abs(signal).max())[None].float()
