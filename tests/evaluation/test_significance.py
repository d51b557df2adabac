"""Bootstrap, Wilcoxon and Holm: known answers, laws, parity with scipy."""

import math

import numpy as np
import pytest

from mss_cli.evaluation.significance import bootstrap_interval, holm, wilcoxon


def differences(n, seed=0):
    return np.random.default_rng(seed).normal(0.3, 1, n)


def test_the_seed_decides_the_interval():
    values = differences(30)
    assert bootstrap_interval(values, seed=1) == bootstrap_interval(values, seed=1)
    means = [bootstrap_interval(values, statistic="mean", seed=seed) for seed in (1, 2)]
    assert means[0] != means[1]


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution():
    values = differences(400)
    interval = bootstrap_interval(values, statistic="mean")
    half = 1.96 * values.std() / 20
    assert interval.low == pytest.approx(values.mean() - half, abs=0.01)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.01)


def test_equal_tracks_leave_no_doubt():
    interval = bootstrap_interval(np.array([2.0, 2.0, math.nan]))
    assert (interval.low, interval.high) == (2.0, 2.0)


def test_no_track_gives_no_interval():
    assert math.isnan(bootstrap_interval(np.array([math.nan])).low)
    with pytest.raises(ValueError, match="level"):
        bootstrap_interval(np.array([1.0]), level=1.0)


def test_wilcoxon_of_five_gains_is_one_in_sixteen():
    assert wilcoxon(np.array([1.0, 2.0, 3.0, 4.0, 5.0])) == 2 / 32


def test_wilcoxon_of_nothing():
    assert math.isnan(wilcoxon(np.array([])))
    assert wilcoxon(np.zeros(5)) == 1.0


@pytest.mark.parametrize("n", [1, 2, 9, 25, 50])
def test_wilcoxon_equals_scipy_exactly(n):
    stats = pytest.importorskip("scipy.stats")
    expected = stats.wilcoxon(differences(n), zero_method="pratt", method="exact").pvalue
    assert wilcoxon(differences(n)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("n", "zeros", "decimals"), [(51, 0, 9), (120, 0, 9), (40, 5, 9), (60, 3, 1), (30, 0, 0)])
def test_wilcoxon_equals_scipy_with_zeros_and_ties(n, zeros, decimals):
    stats = pytest.importorskip("scipy.stats")
    values = np.round(differences(n), decimals)
    values[:zeros] = 0
    expected = stats.wilcoxon(values, zero_method="pratt", method="asymptotic").pvalue
    assert wilcoxon(values) == pytest.approx(expected, abs=1e-12)


def test_wilcoxon_does_not_depend_on_the_order_of_the_systems():
    assert wilcoxon(differences(20)) == wilcoxon(-differences(20))


def test_holm_by_hand():
    corrected = holm(np.array([0.01, 0.04, math.nan, 0.03, 0.005]))
    np.testing.assert_allclose(corrected, [0.03, 0.06, math.nan, 0.06, 0.02], rtol=0, atol=1e-15)


def test_holm_never_exceeds_one():
    assert holm(np.array([0.6, 0.9])).tolist() == [1.0, 1.0]
