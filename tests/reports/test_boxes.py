import numpy as np
import pytest
from hypothesis import given
from hypothesis.strategies import floats, lists
from matplotlib.cbook import boxplot_stats
from numpy.testing import assert_allclose

from mss_cli.reports.boxes import box_numbers

SCORES = lists(floats(-60, 60), min_size=1, max_size=60)


def test_nine_values_have_the_quartiles_worked_out_by_hand():
    box = box_numbers([1, 2, 3, 4, 5, 6, 7, 8, 9])
    assert (box.low, box.lower, box.median, box.upper, box.high) == (1, 3, 5, 7, 9)
    assert (box.notch_low, box.notch_high) == pytest.approx((5 - 1.57 * 4 / 3, 5 + 1.57 * 4 / 3))


def test_quartiles_between_two_values_are_interpolated():
    box = box_numbers([1, 2, 3, 4])
    assert (box.lower, box.median, box.upper) == (1.75, 2.5, 3.25)


def test_a_value_far_out_does_not_lengthen_the_whisker():
    assert box_numbers([1, 2, 3, 4, 5, 100]).high == 5


def test_one_value_is_a_box_without_width():
    box = box_numbers([3.5])
    assert {box.low, box.lower, box.median, box.upper, box.high, box.notch_low, box.notch_high} == {3.5}


def test_no_value_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        box_numbers([])


@given(SCORES)
def test_the_numbers_stand_in_order_and_within_the_values(values):
    box = box_numbers(values)
    assert box.low <= box.lower <= box.median <= box.upper <= box.high
    assert min(values) <= box.low
    assert box.high <= max(values)


@given(SCORES)
def test_agrees_with_matplotlib(values):
    box, expected = box_numbers(values), boxplot_stats(np.array(values))[0]
    assert_allclose(
        [box.low, box.lower, box.median, box.upper, box.high, box.notch_low, box.notch_high],
        [expected[key] for key in ("whislo", "q1", "med", "q3", "whishi", "cilo", "cihi")],
        rtol=0,
        atol=1e-9,
    )
