"""BSSEval v3, sources version, and the NSDR made of it: parity with mir_eval, known answers."""

import warnings

import numpy as np
import pytest
import torch

from mss_models.errors import ShapeError
from mss_models.metrics.bss_eval import SilentStemError
from mss_models.metrics.bss_eval_v3 import bss_eval_sources, sources_sdr
from mss_models.metrics.sdr import framewise_sdr, nsdr
from score_peers import mir_eval


def separation(stems, samples, seed=0):
    generator = torch.Generator().manual_seed(seed)
    reference = torch.randn(stems, 1, samples, generator=generator, dtype=torch.float64)
    reference[..., 1:] += 0.7 * reference[..., :-1]
    estimate = 0.8 * reference + 0.2 * reference.sum(dim=0)
    estimate[..., 4:] -= 0.3 * reference[..., :-4]
    return reference, estimate + 0.1 * torch.randn(estimate.shape, generator=generator, dtype=torch.float64)


def peer(reference, estimate, permute=False):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = mir_eval("separation")
        return module.bss_eval_sources(reference[:, 0].numpy(), estimate[:, 0].numpy(), compute_permutation=permute)


@pytest.mark.parametrize(("stems", "samples"), [(2, 9000), (3, 4000)])
def test_equals_mir_eval(stems, samples):
    reference, estimate = separation(stems, samples)
    expected = peer(reference, estimate)
    actual = bss_eval_sources(reference, estimate)
    np.testing.assert_allclose(torch.stack([actual.sdr, actual.sir, actual.sar]), expected[:3], rtol=0, atol=1e-9)


def test_finds_the_order_that_mir_eval_finds():
    reference, estimate = separation(3, 3000)
    shuffled = estimate[[1, 2, 0]]
    expected = peer(reference, shuffled, permute=True)
    actual = bss_eval_sources(reference, shuffled, permute=True)
    assert list(actual.order) == expected[3].tolist()
    np.testing.assert_allclose(torch.stack([actual.sdr, actual.sir, actual.sar]), expected[:3], rtol=0, atol=1e-9)


def test_nsdr_equals_the_difference_of_two_scores_of_mir_eval():
    reference, estimate = separation(2, 3000)
    mixture = reference.sum(dim=0)
    expected = peer(reference, estimate)[0] - peer(reference, mixture.expand_as(reference))[0]
    np.testing.assert_allclose(nsdr(reference, estimate, mixture, score=sources_sdr), expected, rtol=0, atol=1e-9)


def test_filtering_of_the_true_stem_costs_nothing():
    generator = torch.Generator().manual_seed(0)
    reference = torch.randn(2, 1, 20000, generator=generator, dtype=torch.float64)
    reference[..., -20:] = 0
    estimate = 0.5 * reference
    estimate[..., 20:] += 0.4 * reference[..., :-20]
    assert float(sources_sdr(reference, estimate).min()) > 100
    assert float(framewise_sdr(reference, estimate, window_samples=None).max()) < 6


def test_stereo_is_refused_and_silence_named():
    reference, estimate = separation(2, 1000)
    with pytest.raises(ShapeError, match="reference"):
        bss_eval_sources(reference.expand(2, 2, 1000), estimate.expand(2, 2, 1000))
    with pytest.raises(SilentStemError, match="estimate"):
        bss_eval_sources(reference, estimate * torch.tensor([0.0, 1.0])[:, None, None])
