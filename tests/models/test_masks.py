"""Masks: known answers, laws over generated input, parity with librosa, behaviour at zeros."""

import math

import librosa
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor
from torch.testing import assert_close

from mss_models.errors import ShapeError
from mss_models.masks import (
    binary_masks,
    bounded_complex_mask,
    complex_ideal_ratio_masks,
    generalized_wiener,
    ideal_ratio_masks,
    mixture_consistency,
    ratio_masks,
    residual,
    threshold_masks,
)


def stems(*values: list[float]) -> Tensor:
    """One list of frames per stem, as (batch, stem, channel, bin, frame)."""
    return torch.tensor(values)[None, :, None, None, :]


def mixture(values: list[float]) -> Tensor:
    return torch.tensor(values)[None, None, None, :]


def random_stems(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).random(shape, dtype=np.float32))


def random_complex(*shape: int, seed: int = 0) -> Tensor:
    generator = np.random.default_rng(seed)
    values = generator.standard_normal(shape) + 1j * generator.standard_normal(shape)
    return torch.from_numpy(values.astype(np.complex64))


magnitude_arrays = arrays(
    np.float32,
    st.tuples(st.just(1), st.integers(1, 4), st.integers(1, 2), st.integers(1, 3), st.integers(1, 3)),
    elements=st.floats(0, 2.0**100, width=32),
)


def test_stems_of_magnitude_3_and_4_get_9_and_16_of_25_parts():
    masks = ratio_masks(stems([3.0, 0.0, 0.0], [4.0, 5.0, 0.0]), power=2)
    assert_close(masks, stems([9 / 25, 0.0, 0.5], [16 / 25, 1.0, 0.5]))


@settings(max_examples=100, deadline=None)
@given(magnitudes=magnitude_arrays, power=st.sampled_from([0.5, 1.0, 2.0, 4.0]))
def test_ratio_masks_share_out_everything(magnitudes, power):
    masks = ratio_masks(torch.from_numpy(magnitudes), power=power)
    assert masks.min() >= 0
    assert_close(masks.sum(dim=1), torch.ones_like(masks[:, 0]))


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_ratio_masks_do_not_depend_on_the_scale(scale):
    magnitudes = random_stems(1, 3, 2, 9, 5).double()
    assert_close(ratio_masks((magnitudes * scale).float(), power=4), ratio_masks(magnitudes, power=4).float())


@pytest.mark.parametrize("power", [1.0, 1.5, 2.0])
def test_ratio_masks_agree_with_librosa(power):
    magnitudes = random_stems(1, 2, 2, 65, 40)
    magnitudes[..., 0] = 0
    pair = magnitudes.numpy()
    expected = librosa.util.softmask(pair[:, 0], pair[:, 1], power=power, split_zeros=True)
    np.testing.assert_allclose(ratio_masks(magnitudes, power=power)[:, 0], expected, rtol=0, atol=1e-6)


def test_the_loudest_stem_has_the_cell_and_the_first_wins_a_tie():
    masks = binary_masks(stems([3.0, 1.0, 2.0, 0.0], [1.0, 5.0, 2.0, 0.0], [2.0, 4.0, 1.0, 0.0]))
    assert_close(masks, stems([1.0, 0.0, 1.0, 1.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]))


@given(magnitudes=magnitude_arrays)
def test_binary_masks_give_each_cell_away_once(magnitudes):
    masks = binary_masks(torch.from_numpy(magnitudes))
    assert torch.equal(masks.sum(dim=1), torch.ones_like(masks[:, 0]))
    assert set(masks.unique().tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize(("power", "expected"), [(1.0, [1.0, 1.0, 0.0, 0.0]), (2.0, [1.0, 0.0, 0.0, 0.0])])
def test_threshold_masks_compare_with_the_mixture(power, expected):
    # Shares of the amplitude 0.8, 0.6, 0.4 and nothing; of the power 0.64, 0.36, 0.16.
    masks = threshold_masks(stems([4.0, 3.0, 2.0, 0.0]), mixture([5.0, 5.0, 5.0, 0.0]), power=power)
    assert_close(masks, stems(expected))


@pytest.mark.parametrize("power", [1, 2])
def test_threshold_masks_follow_the_campaign_formula(power):
    references = random_complex(1, 4, 2, 33, 20)
    mixed = references.sum(dim=1)
    y, x = references.abs().double().numpy(), mixed.abs().double().numpy()
    expected = (y**power / (np.finfo(float).eps + x[:, None] ** power) >= 0.5).astype(np.float32)
    np.testing.assert_array_equal(threshold_masks(references.abs(), mixed.abs(), power=power), expected)


def test_ideal_ratio_masks_divide_by_the_mixture_and_obey_the_limit():
    magnitudes, mixed = stems([1.0, 3.0, 1.0], [1.0, 0.5, 0.0]), mixture([4.0, 2.0, 0.0])
    assert_close(ideal_ratio_masks(magnitudes, mixed), stems([0.25, 1.5, 0.0], [0.25, 0.25, 0.0]))
    assert_close(ideal_ratio_masks(magnitudes, mixed, limit=1.0), stems([0.25, 1.0, 0.0], [0.25, 0.25, 0.0]))


def test_complex_ideal_ratio_masks_restore_the_stems():
    references = random_complex(2, 4, 2, 17, 9)
    mixed = references.sum(dim=1)
    masks = complex_ideal_ratio_masks(references, mixed)
    assert_close(masks * mixed.unsqueeze(1), references, rtol=0, atol=1e-5)
    assert_close(masks.abs(), references.abs() / mixed.abs().unsqueeze(1))  # (6.2)
    turned = torch.polar(torch.ones_like(masks.abs()), references.angle() - mixed.angle().unsqueeze(1))
    assert_close(masks / masks.abs(), turned, rtol=0, atol=1e-5)  # (6.3)


@pytest.mark.parametrize("tiny", [0.0, 1e-45, 1e-38, 1e-31])
def test_complex_ideal_ratio_masks_stay_finite_where_the_mixture_vanishes(tiny):
    references = torch.full((1, 2, 1, 1, 1), 1.0 + 1.0j)
    mixed = torch.full((1, 1, 1, 1), complex(tiny, 0))
    assert torch.equal(complex_ideal_ratio_masks(references, mixed), torch.zeros(1, 2, 1, 1, 1, dtype=torch.complex64))


def test_bounded_masks_of_known_outputs():
    radius, angle = torch.tensor([1.0, -1.0, 0.0]), torch.tensor([math.pi / 2, 0.0, 3.0])
    polar = bounded_complex_mask(radius, angle, head="polar")
    assert_close(polar, torch.tensor([1j * math.tanh(1), -math.tanh(1), 0.0]), rtol=0, atol=1e-6)
    cartesian = bounded_complex_mask(torch.tensor([3.0, 0.0, 0.3]), torch.tensor([4.0, 0.0, 0.4]), head="cartesian")
    expected = torch.tensor([(3 + 4j) / 5 * math.tanh(5), 0.0, (3 + 4j) / 5 * math.tanh(0.5)])
    assert_close(cartesian, expected, rtol=0, atol=1e-6)


@given(first=st.floats(-80, 80, width=32), second=st.floats(-80, 80, width=32))
def test_both_heads_follow_the_equations(first, second):
    for head in ("polar", "cartesian"):
        output = first * np.exp(1j * second) if head == "polar" else complex(first, second)  # (6.4)
        expected = np.tanh(abs(output)) * output / abs(output) if output else 0.0  # (6.7, 6.8)
        mask = bounded_complex_mask(torch.tensor(first), torch.tensor(second), head=head)
        assert abs(mask.item() - expected) < 1e-6
        assert mask.abs() <= 1 + 1e-6


@pytest.mark.parametrize("head", ["polar", "cartesian"])
@pytest.mark.parametrize("value", [0.0, 1e-30, 1e-12, 1e-9, 1e-3, 1.0, 1e4])
def test_bounded_masks_have_finite_derivatives_everywhere(head, value):
    first = torch.tensor([value, -value, 0.0, 0.0], requires_grad=True)
    second = torch.tensor([0.0, value, value, 0.0], requires_grad=True)
    mask = bounded_complex_mask(first, second, head=head)
    (mask.real + mask.imag).sum().backward()
    assert torch.isfinite(torch.view_as_real(mask)).all()
    assert first.grad.abs().max() <= 2.1 if value < 1 else torch.isfinite(first.grad).all()
    assert torch.isfinite(second.grad).all()


@pytest.mark.parametrize("head", ["polar", "cartesian"])
def test_masks_for_inference_agree_with_those_for_training(head):
    first = torch.cat([torch.linspace(-12, 12, 5001), torch.logspace(-12, 0, 2000)])
    second = torch.cat([torch.linspace(3, -9, 5001), -torch.logspace(-12, 0, 2000)])
    for_training = bounded_complex_mask(first.requires_grad_(), second.requires_grad_(), head=head).detach()
    with torch.inference_mode():
        for_inference = bounded_complex_mask(first, second, head=head)
    assert_close(for_inference, for_training, rtol=0, atol=3e-7)


@pytest.mark.parametrize("head", ["polar", "cartesian"])
def test_derivatives_of_bounded_masks_are_right(head):
    first, second = random_stems(2, 7).double() * 4 - 2
    inputs = (first.requires_grad_(), second.requires_grad_())
    assert torch.autograd.gradcheck(lambda a, b: torch.view_as_real(bounded_complex_mask(a, b, head=head)), inputs)


def test_half_precision_outputs_give_masks_of_single_precision():
    mask = bounded_complex_mask(torch.ones(2).bfloat16(), torch.ones(2).bfloat16(), head="cartesian")
    assert mask.dtype == torch.complex64


def test_generalized_wiener_estimates_add_up_to_the_mixture():
    mixed = random_complex(2, 2, 17, 9)
    magnitudes = random_stems(2, 3, 2, 17, 9)
    for power in (0.7, 1.0, 2.0):
        estimates = generalized_wiener(mixed, magnitudes, power=power)
        assert_close(estimates.sum(dim=1), mixed, rtol=0, atol=1e-6)
    assert_close(generalized_wiener(mixed, magnitudes), ratio_masks(magnitudes) * mixed.unsqueeze(1))


def test_residual_is_the_mixture_without_the_stems():
    assert_close(residual(mixture([5.0, 1.0]), stems([1.0, 1.0], [2.0, 1.0])), mixture([2.0, -1.0]))


def test_missing_part_is_shared_equally_or_by_energy():
    mixed, estimates = mixture([12.0, 0.0]), stems([3.0, 4.0], [0.0, 0.0])  # missing: 9 and -4
    assert_close(mixture_consistency(mixed, estimates), stems([7.5, 2.0], [4.5, -2.0]))
    assert_close(mixture_consistency(mixed, estimates, shares="energy"), stems([12.0, 0.0], [0.0, 0.0]))


@settings(max_examples=50, deadline=None)
@given(
    shares=st.sampled_from(["equal", "energy"]),
    scale=st.sampled_from([0.0, 1e-30, 1.0, 1e15]),
    shape=st.sampled_from([(2, 3, 1, 40), (1, 4, 2, 5, 8)]),
    kind=st.sampled_from(["real", "complex"]),
)
def test_consistent_estimates_add_up_to_the_mixture(shares, scale, shape, kind):
    estimates = random_complex(*shape) * scale
    mixed = random_complex(shape[0], *shape[2:], seed=1) * scale
    if kind == "real":
        estimates, mixed = estimates.real, mixed.real
    result = mixture_consistency(mixed, estimates, shares=shares)
    assert (result.sum(dim=1) - mixed).abs().max() <= 2e-6 * scale
    assert result.dtype == estimates.dtype


def test_consistent_estimates_are_left_alone():
    estimates = random_stems(2, 3, 2, 50)
    assert_close(mixture_consistency(estimates.sum(dim=1), estimates), estimates, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "call",
    [
        lambda: ratio_masks(torch.zeros(2, 3)),
        lambda: binary_masks(torch.zeros(2, 3)),
        lambda: threshold_masks(torch.zeros(1, 2, 1, 3, 4), torch.zeros(1, 1, 4, 3)),
        lambda: ideal_ratio_masks(torch.zeros(1, 2, 1, 3, 4), torch.zeros(2, 1, 3, 4)),
        lambda: complex_ideal_ratio_masks(torch.zeros(1, 2, 1, 3, 4), torch.zeros(1, 2, 1, 3, 4)),
        lambda: generalized_wiener(torch.zeros(3, 4), torch.zeros(1, 2, 1, 3, 4)),
        lambda: residual(torch.zeros(1, 5), torch.zeros(1, 2, 4)),
    ],
)
def test_wrong_axes_are_refused(call):
    with pytest.raises(ShapeError, match="expected axes"):
        call()


@pytest.mark.parametrize(
    "call",
    [
        lambda: ratio_masks(torch.ones(1, 2, 1, 1, 1), power=0),
        lambda: ratio_masks(torch.ones(1, 2, 1, 1, 1), power=math.inf),
        lambda: threshold_masks(torch.ones(1, 2, 1, 1, 1), torch.ones(1, 1, 1, 1), threshold=0),
        lambda: ideal_ratio_masks(torch.ones(1, 2, 1, 1, 1), torch.ones(1, 1, 1, 1), limit=-1),
        lambda: bounded_complex_mask(torch.ones(1), torch.ones(1), head="square"),
        lambda: mixture_consistency(torch.ones(1, 1), torch.ones(1, 2, 1), shares="most"),
    ],
)
def test_values_out_of_range_are_refused(call):
    with pytest.raises(ValueError, match=r"must be"):
        call()
