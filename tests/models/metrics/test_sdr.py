"""SDR without filters: known answers, laws, parity with museval's frames."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mss_models.errors import ShapeError
from mss_models.metrics.sdr import SdrAccumulator, framewise_sdr, gnsdr, nsdr, si_sdr, usdr
from score_peers import museval_scores


def decibels_of(ratio):
    return 10 * math.log10(ratio)


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_usdr_of_half_the_reference_is_6_02_db():
    reference = noise(3, 2, 1000)
    expected = torch.full((3,), decibels_of(4), dtype=torch.float64)
    torch.testing.assert_close(usdr(reference, reference / 2, delta=0), expected, atol=1e-12, rtol=0)


def test_usdr_by_hand_with_the_challenges_delta():
    reference = torch.tensor([[[3.0, 0.0], [0.0, 4.0]]])
    estimate = torch.tensor([[[2.0, 0.0], [0.0, 2.0]]])
    expected = torch.tensor([decibels_of((25 + 1e-7) / (5 + 1e-7))], dtype=torch.float64)
    torch.testing.assert_close(usdr(reference, estimate), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize(("estimate", "decibels"), [(0.0, 0.0), (100.0, -decibels_of(1e4 * 10 / 1e-7 + 1))])
def test_usdr_of_a_silent_reference_is_finite(estimate, decibels):
    actual = usdr(torch.zeros(1, 1, 10), torch.full((1, 1, 10), estimate))
    assert float(actual) == pytest.approx(decibels, abs=1e-9)


def test_the_order_of_the_arguments_matters():
    reference = noise(1, 1, 100)
    assert float(usdr(reference, 3 * reference, delta=0)) == pytest.approx(decibels_of(1 / 4))
    assert float(usdr(3 * reference, reference, delta=0)) == pytest.approx(decibels_of(9 / 4))


def test_a_batch_is_scored_track_by_track():
    reference, estimate = noise(2, 3, 2, 400), noise(2, 3, 2, 400, seed=1)
    for score in (usdr, si_sdr, lambda r, e: framewise_sdr(r, e, window_samples=100)):
        torch.testing.assert_close(
            score(reference, estimate), torch.stack([score(r, e) for r, e in zip(reference, estimate, strict=True)])
        )


def test_float32_is_summed_in_float64():
    reference = torch.full((1, 1, 2_000_000), 0.1)
    estimate = torch.full((1, 1, 2_000_000), 0.2)
    exact = decibels_of(float(reference[0, 0, 0]) ** 2 / (float(estimate[0, 0, 0]) - float(reference[0, 0, 0])) ** 2)
    assert float(usdr(reference, estimate, delta=0)) == pytest.approx(exact, abs=1e-12)


def test_si_sdr_of_orthogonal_noise_is_the_ratio_of_energies():
    reference = torch.tensor([[[1.0, 1.0, 1.0, 1.0]]])
    estimate = torch.tensor([[[2.5, 1.5, 2.5, 1.5]]])  # 2 s + (0.5, -0.5, 0.5, -0.5)
    assert float(si_sdr(reference, estimate)) == pytest.approx(decibels_of(16 / 1), abs=1e-12)


@given(gain=st.floats(0.01, 100), sign=st.sampled_from([-1, 1]))
@settings(max_examples=20, deadline=None)
def test_si_sdr_does_not_change_with_the_gain_of_the_estimate(gain, sign):
    reference = noise(2, 2, 500)
    estimate = reference + 0.1 * noise(2, 2, 500, seed=1)
    torch.testing.assert_close(
        si_sdr(reference, sign * gain * estimate), si_sdr(reference, estimate), atol=1e-9, rtol=0
    )


def test_si_sdr_can_ignore_an_offset():
    reference, estimate = noise(1, 1, 500), noise(1, 1, 500, seed=1) + noise(1, 1, 500)
    shifted = si_sdr(reference + 3, estimate - 2, zero_mean=True)
    torch.testing.assert_close(shifted, si_sdr(reference, estimate, zero_mean=True), atol=1e-9, rtol=0)
    assert abs(float(si_sdr(reference + 3, estimate - 2) - shifted)) > 1


@pytest.mark.parametrize("decibels", [20.0, 120.0, 200.0])
def test_si_sdr_keeps_its_digits_for_very_good_estimates(decibels):
    reference = torch.tensor([[[1.0, 1.0, 1.0, 1.0]]], dtype=torch.float64)
    error = 10 ** (-decibels / 20) * torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=torch.float64)
    assert float(si_sdr(reference, reference + error)) == pytest.approx(decibels, abs=1e-4)


def test_nsdr_of_the_mixture_is_zero():
    reference = noise(3, 2, 300)
    mixture = reference.sum(dim=0)
    torch.testing.assert_close(
        nsdr(reference, mixture.expand_as(reference), mixture), torch.zeros(3, dtype=torch.float64)
    )


def test_nsdr_is_the_gain_over_the_mixture():
    reference = torch.tensor([[[4.0]], [[2.0]]])
    estimate = torch.tensor([[[3.0]], [[1.0]]])
    expected = torch.tensor(
        [decibels_of(16 / 1) - decibels_of(16 / 4), decibels_of(4 / 1) - decibels_of(4 / 16)], dtype=torch.float64
    )
    torch.testing.assert_close(nsdr(reference, estimate, torch.tensor([[6.0]])), expected, atol=1e-5, rtol=0)


def test_gnsdr_weights_tracks_by_their_lengths():
    values = torch.tensor([[1.0, 10.0], [4.0, 40.0]])
    torch.testing.assert_close(gnsdr(values, [1, 3]), torch.tensor([3.25, 32.5], dtype=torch.float64))
    with pytest.raises(ValueError, match="positive"):
        gnsdr(values, [1, 0])


def test_framewise_sdr_by_hand_leaves_out_the_unfinished_frame():
    reference = torch.tensor([[[1.0, 1.0, 2.0, 2.0, 9.0]]])
    estimate = torch.tensor([[[1.0, 0.0, 2.0, 4.0, 0.0]]])
    expected = torch.tensor([[decibels_of(2 / 1), decibels_of(8 / 4)]], dtype=torch.float64)
    torch.testing.assert_close(framewise_sdr(reference, estimate, window_samples=2), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ("samples", "window", "hop", "frames"),
    [
        (1000, 100, 100, 10),
        (1099, 100, 100, 10),
        (99, 100, 100, 1),
        (100, 100, 100, 1),
        (1000, None, None, 1),
        (500, 100, 50, 9),
    ],
)
def test_frames_are_counted_as_in_bsseval(samples, window, hop, frames):
    reference = noise(1, 1, samples)
    assert framewise_sdr(reference, 2 * reference, window_samples=window, hop_samples=hop).shape == (1, frames)


@pytest.mark.parametrize("silent", ["reference", "estimate", "antiphase"])
def test_one_silent_stem_makes_the_frame_nan_for_all(silent):
    reference, estimate = noise(3, 2, 600), noise(3, 2, 600, seed=1)
    if silent == "reference":
        reference[1, :, 200:400] = 0
    elif silent == "estimate":
        estimate[2, :, 200:400] = 0
    else:
        reference[0, 1, 200:400] = -reference[0, 0, 200:400]
    scores = framewise_sdr(reference, estimate, window_samples=200)
    assert torch.isnan(scores).tolist() == [[False, True, False]] * 3


def test_one_sample_of_one_lsb_is_not_silence():
    reference, estimate = noise(2, 1, 600), noise(2, 1, 600, seed=1)
    reference[0, :, 200:400] = 0
    reference[0, 0, 399] = 1 / 32768
    assert not torch.isnan(framewise_sdr(reference, estimate, window_samples=200)).any()


def test_an_exact_frame_is_infinite():
    reference = noise(1, 2, 100)
    assert framewise_sdr(reference, reference.clone(), window_samples=50).tolist() == [[math.inf, math.inf]]


def test_framewise_sdr_equals_museval():
    reference = noise(3, 2, 900)
    estimate = reference + 0.3 * noise(3, 2, 900, seed=1)
    estimate[1, :, 300:600] = 0
    expected = museval_scores(reference, estimate, window=300)[0]
    actual = framewise_sdr(reference, estimate, window_samples=300).numpy()
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-11)


@given(
    cuts=st.lists(st.integers(0, 700), max_size=6),
    window=st.sampled_from([None, 50, 64, 300, 900]),
    hop=st.sampled_from([None, 25, 64, 200]),
)
@settings(max_examples=40, deadline=None)
def test_blocks_of_any_size_give_the_scores_of_the_whole(cuts, window, hop):
    reference, estimate = noise(2, 2, 700), noise(2, 2, 700, seed=1)
    reference[1, :, 100:220] = 0
    accumulator = SdrAccumulator(stems=2, channels=2, window_samples=window, hop_samples=hop)
    edges = [0, *sorted(cuts), 700]
    for start, stop in itertools.pairwise(edges):
        accumulator.update(reference[..., start:stop], estimate[..., start:stop])
    expected = framewise_sdr(reference, estimate, window_samples=window, hop_samples=hop)
    torch.testing.assert_close(accumulator.frames(), expected, equal_nan=True)
    torch.testing.assert_close(accumulator.usdr(), usdr(reference, estimate))


def test_wrong_shapes_are_named():
    with pytest.raises(ShapeError, match="estimate"):
        usdr(noise(2, 2, 10), noise(2, 1, 10))
    with pytest.raises(ShapeError, match="reference"):
        si_sdr(noise(2, 10), noise(2, 10))
    with pytest.raises(ShapeError, match="reference"):
        SdrAccumulator(stems=1, channels=2, window_samples=5).update(noise(2, 2, 10), noise(2, 2, 10))
    with pytest.raises(ValueError, match="window_samples"):
        framewise_sdr(noise(1, 1, 10), noise(1, 1, 10), window_samples=0)
