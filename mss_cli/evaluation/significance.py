"""How sure a score or a difference of scores is: bootstrap interval, Wilcoxon signed-rank test, Holm's correction."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

# Up to here the exact distribution of the rank sum is used, as common statistics packages do.
_EXACT_UP_TO = 50


@dataclass(frozen=True, slots=True)
class Interval:
    """Bounds of a confidence interval; NaN without data."""

    low: float
    high: float


def bootstrap_interval(
    values: Numbers,
    *,
    statistic: Literal["median", "mean"] = "median",
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Give the percentile bootstrap interval of a median or mean over tracks.

    Tracks are drawn with replacement; the interval holds the middle `level` of the drawn statistics.

    Parameters
    ----------
    values : array of shape (track,)
        One score per track, never frames. Values that are not finite are left out.
    statistic : {"median", "mean"}
    level : float, between 0 and 1
    resamples : int, > 0
    seed : int
        The same seed and values give the same interval.

    Returns
    -------
    Interval

    Raises
    ------
    ValueError
        If level or resamples are out of range.

    References
    ----------
    Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 7 (1979).
    """
    if not 0 < level < 1 or resamples < 1:
        raise ValueError(f"level must be between 0 and 1 and resamples positive, got {level} and {resamples}")
    finite = np.asarray(values, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    if not finite.size:
        return Interval(math.nan, math.nan)
    draws = np.random.default_rng(seed).integers(finite.size, size=(resamples, finite.size))
    drawn = np.median(finite[draws], axis=1) if statistic == "median" else finite[draws].mean(axis=1)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def wilcoxon(differences: Numbers) -> float:
    """Give the two-sided p value of the Wilcoxon signed-rank test on paired differences.

    Zero differences are ranked, then dropped (Pratt). Up to 50 differences without zeros and ties the distribution of
    the rank sum is exact, otherwise normal with correction for ties, without one for continuity. NaN for no
    difference, 1 if all are zero.

    Parameters
    ----------
    differences : array of shape (track,)
        First system minus second; values that are not finite are left out.

    Returns
    -------
    float
        Between 0 and 1.

    References
    ----------
    Wilcoxon, "Individual comparisons by ranking methods", Biometrics Bulletin 1 (1945); Pratt, "Remarks on zeros and
    ties in the Wilcoxon signed rank procedures", JASA 54 (1959).
    """
    finite = np.asarray(differences, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    if not finite.size:
        return math.nan
    magnitudes, places, counts = np.unique(np.abs(finite), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks = ((2 * last - counts + 1) / 2)[places]  # mean rank of tied magnitudes
    positive = float(ranks[finite > 0].sum())
    zeros = int(counts[0]) if magnitudes[0] == 0 else 0
    if zeros == finite.size:
        return 1.0
    if zeros == 0 and (counts == 1).all() and finite.size <= _EXACT_UP_TO:
        return _exact_p_value(round(positive), finite.size)
    n = finite.size
    mean = (n * (n + 1) - zeros * (zeros + 1)) / 4
    ties = counts[magnitudes > 0]
    variance = (n * (n + 1) * (2 * n + 1) - zeros * (zeros + 1) * (2 * zeros + 1)) / 24 - float(
        (ties**3 - ties).sum()
    ) / 48
    return math.erfc(abs(positive - mean) / math.sqrt(2 * variance))


def holm(p_values: Numbers) -> Numbers:
    """Correct p values of several tests for their number, step by step from the smallest (Holm 1979).

    The i-th smallest of m is multiplied by m - i + 1, kept at least as large as the one before and at most 1. NaN
    stays NaN and does not count.
    """
    given = np.asarray(p_values, dtype=np.float64)
    corrected = np.full(given.shape, np.nan)
    places = np.flatnonzero(np.isfinite(given))
    order = places[np.argsort(given[places], kind="stable")]
    factors = np.arange(order.size, 0, -1)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(given[order] * factors))
    return corrected


def _exact_p_value(rank_sum: int, n: int) -> float:
    """Two-sided p value of a rank sum among all 2^n signs of ranks 1 to n."""
    total = n * (n + 1) // 2
    ways = np.zeros(total + 1)
    ways[0] = 1.0
    for rank in range(1, n + 1):
        shifted = ways[: total + 1 - rank].copy()
        ways[rank:] += shifted
    tail = min(rank_sum, total - rank_sum)
    return min(1.0, 2.0 * float(ways[: tail + 1].sum()) / 2.0**n)
