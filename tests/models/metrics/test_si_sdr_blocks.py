import itertools

import numpy as np
import pytest
import torch

from mss_models.errors import ShapeError
from mss_models.metrics.sdr import si_sdr
from mss_models.metrics.si_sdr_blocks import SiSdrAccumulator


def noise(seed, *shape):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def accumulated(reference, estimate, cuts):
    scores = SiSdrAccumulator(stems=reference.shape[0], channels=reference.shape[1])
    edges = [0, *cuts, reference.shape[-1]]
    for a, b in itertools.pairwise(edges):
        scores.update(reference[..., a:b], estimate[..., a:b])
    return scores.si_sdr()


@pytest.mark.parametrize("error", [10.0, 1.0, 1e-3, 1e-6])
@pytest.mark.parametrize("cuts", [[], [1], [100, 101, 900]])
def test_equals_the_two_pass_score(error, cuts):
    reference = noise(0, 3, 2, 1000)
    estimate = 0.7 * reference + error * noise(1, 3, 2, 1000)
    expected = si_sdr(reference, estimate)
    np.testing.assert_allclose(accumulated(reference, estimate, cuts), expected, rtol=0, atol=1e-3)
    if error >= 1e-3:
        np.testing.assert_allclose(accumulated(reference, estimate, cuts), expected, rtol=0, atol=1e-8)


def test_a_near_copy_keeps_all_digits():
    reference = noise(0, 1, 1, 4000)
    estimate = reference + 1e-7 * noise(1, 1, 1, 4000)
    np.testing.assert_allclose(accumulated(reference, estimate, [7]), si_sdr(reference, estimate), rtol=0, atol=1e-6)


def test_orthogonal_error_of_half_the_energy_scores_three_decibels():
    reference = torch.tensor([[[1.0, 1.0, 0.0, 0.0]]])
    estimate = 5.0 * (reference + torch.tensor([[[0.0, 0.0, 1.0, 0.0]]]))
    assert float(accumulated(reference, estimate, [2])) == pytest.approx(10 * np.log10(2))


def test_silence_has_no_score_and_a_copy_is_infinite():
    reference = torch.stack([torch.zeros(1, 50), noise(0, 1, 50), noise(1, 1, 50)]).double()
    estimate = torch.stack([noise(2, 1, 50), torch.zeros(1, 50), reference[2]]).double()
    scores = accumulated(reference, estimate, [])
    assert bool(torch.isnan(scores[:2]).all())
    assert float(scores[2]) == np.inf


def test_blocks_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError):
        SiSdrAccumulator(stems=2, channels=1).update(noise(0, 2, 1, 10), noise(0, 2, 1, 9))
