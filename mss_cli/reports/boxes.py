"""The numbers behind a box plot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

# Half width of a notch in units of IQR / sqrt(n): McGill, Tukey and Larsen, "Variations of box plots", 1978.
_NOTCH: Final = 1.57


@dataclass(frozen=True, slots=True)
class BoxNumbers:
    """What a box plot draws of some values.

    Attributes
    ----------
    low, high : float
        Ends of the whiskers: the outermost values within 1.5 interquartile ranges of the box.
    lower, median, upper : float
        Quartiles; between two values by linear interpolation, as numpy and matplotlib do.
    notch_low, notch_high : float
        ``median -+ 1.57 (upper - lower) / sqrt(n)``: about a 95 % interval of the median.
    count : int
        Values.
    """

    low: float
    lower: float
    median: float
    upper: float
    high: float
    notch_low: float
    notch_high: float
    count: int


def box_numbers(values: Sequence[float]) -> BoxNumbers:
    """Give the box plot of some values.

    Parameters
    ----------
    values : sequence of float
        Finite, at least one.

    Returns
    -------
    BoxNumbers

    Raises
    ------
    ValueError
        If there is no value.

    References
    ----------
    Tukey, "Exploratory data analysis", 1977; the notch as in McGill, Tukey and Larsen, 1978.
    """
    if not values:
        raise ValueError("a box plot needs at least one value")
    lower, median, upper = (float(value) for value in np.percentile(np.asarray(values, np.float64), (25, 50, 75)))
    reach = 1.5 * (upper - lower)
    notch = _NOTCH * (upper - lower) / len(values) ** 0.5
    return BoxNumbers(
        # Where interpolation leaves no value between the box and its reach, the whisker has no length.
        low=min(lower, min(value for value in values if value >= lower - reach)),
        lower=lower,
        median=median,
        upper=upper,
        high=max(upper, max(value for value in values if value <= upper + reach)),
        notch_low=median - notch,
        notch_high=median + notch,
        count=len(values),
    )
