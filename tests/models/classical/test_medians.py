"""Running medians against scipy, and their laws."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import median_filter
from torch.testing import assert_close

from mss_models.classical.medians import median_of, running_median


def test_a_click_vanishes_and_a_step_stays():
    clicks = torch.tensor([0.0, 0.0, 9.0, 0.0, 0.0, 5.0, 5.0, 5.0])
    assert running_median(clicks, 3).tolist() == [0.0, 0.0, 0.0, 0.0, 0.0, 5.0, 5.0, 5.0]


@pytest.mark.parametrize("size", [1, 3, 5, 7, 17, 31, 61])
@pytest.mark.parametrize("dim", [0, 1])
def test_agrees_with_scipy_at_any_window_and_beyond_the_edges(size, dim):
    values = np.random.default_rng(size).standard_normal((29, 70)).astype(np.float32)
    window = (size, 1) if dim == 0 else (1, size)
    expected = median_filter(values, size=window, mode="reflect")
    np.testing.assert_array_equal(running_median(torch.from_numpy(values), size, dim=dim).numpy(), expected)


def test_every_axis_of_a_batch_is_filtered_on_its_own():
    values = torch.from_numpy(np.random.default_rng(0).random((2, 3, 20, 11), dtype=np.float32))
    for dim, window in ((0, (5, 1, 1, 1)), (1, (1, 5, 1, 1)), (-2, (1, 1, 5, 1)), (-1, (1, 1, 1, 5))):
        expected = median_filter(values.numpy(), size=window, mode="reflect")
        np.testing.assert_array_equal(running_median(values, 5, dim=dim).numpy(), expected)


def test_the_memory_order_does_not_matter():
    values = torch.from_numpy(np.random.default_rng(0).random((40, 30), dtype=np.float32))
    turned = values.T.contiguous().T
    assert_close(running_median(turned, 7, dim=0), running_median(values, 7, dim=0), rtol=0, atol=0)


@given(st.integers(0, 4), st.integers(1, 12), st.integers(0, 2**16))
def test_the_median_of_tensors_is_torchs(half, length, seed):
    values = torch.randn(2 * half + 1, length, generator=torch.Generator().manual_seed(seed))
    assert torch.equal(median_of(list(values)), values.median(dim=0).values)


@given(st.integers(0, 10), st.integers(1, 40), st.integers(0, 2**16))
def test_order_and_scale_carry_over(half, length, seed):
    values = torch.rand(length, generator=torch.Generator().manual_seed(seed))
    median = running_median(values, 2 * half + 1)
    assert median.min() >= values.min()
    assert median.max() <= values.max()
    assert torch.equal(running_median(4 * values, 2 * half + 1), 4 * median)


@pytest.mark.parametrize("size", [0, -3, 4])
def test_an_even_or_empty_window_is_refused(size):
    with pytest.raises(ValueError, match="size must be odd and positive"):
        running_median(torch.zeros(5), size)


def test_an_even_number_of_tensors_is_refused():
    with pytest.raises(ValueError, match="must be odd"):
        median_of([torch.zeros(2), torch.zeros(2)])
