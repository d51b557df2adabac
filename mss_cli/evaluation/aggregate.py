"""From frames to tracks to a set of tracks, and the comparison of systems. Scores in dB unless said otherwise.

The rule is in every name: "median of medians" is the field's number since 2018, and differs from the mean of
medians by decibels on the same frames. Only finite values count. Frames that BSSEval leaves out are NaN; infinite
ones (an exact copy of a reference) cannot be averaged, and files of the museval layout hold NaN for them too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from mss_cli.evaluation.significance import bootstrap_interval, holm, wilcoxon

Numbers = NDArray[np.float64]


class Rule(StrEnum):
    """How several numbers become one."""

    MEDIAN = "median"
    MEAN = "mean"


class Kind(StrEnum):
    """Kinds of score. Two kinds never stand in one column and are never subtracted."""

    MEDIAN_OF_MEDIANS = "BSSEval v4, median of frames, median of tracks"
    MEAN_OF_MEDIANS = "BSSEval v4, median of frames, mean of tracks"
    MEDIAN_OF_MEANS = "BSSEval v4, mean of frames, median of tracks"
    MEAN_OF_MEANS = "BSSEval v4, mean of frames, mean of tracks"
    V3 = "BSSEval v3, sources version, whole track"
    NORMALISED = "NSDR: BSSEval v3 SDR of the estimate minus that of the mixture"
    GLOBAL = "global SDR (uSDR), one ratio per track"
    SCALE_INVARIANT = "SI-SDR, one ratio per track"

    @classmethod
    def of_frames(cls, frames: Rule, tracks: Rule) -> "Kind":
        """Kind of BSSEval v4 score that two rules make."""
        return {
            (Rule.MEDIAN, Rule.MEDIAN): cls.MEDIAN_OF_MEDIANS,
            (Rule.MEDIAN, Rule.MEAN): cls.MEAN_OF_MEDIANS,
            (Rule.MEAN, Rule.MEDIAN): cls.MEDIAN_OF_MEANS,
            (Rule.MEAN, Rule.MEAN): cls.MEAN_OF_MEANS,
        }[frames, tracks]


class Scenario(StrEnum):
    """Which stems were projected together: SIR, SAR and the frames left out depend on it, SDR and ISR do not."""

    FOUR_STEMS = "vocals, drums, bass and other together"
    VOCALS_ACCOMPANIMENT = "vocals and accompaniment"


@dataclass(frozen=True, slots=True)
class SetScore:
    """One stem and metric over a set of tracks.

    Attributes
    ----------
    value : float
        NaN if no track has a score.
    tracks, scored_tracks : int
        All tracks, and those with at least one finite frame.
    frames, nan_frames : int
        All frames of all tracks, and those that are not finite.
    """

    value: float
    tracks: int
    scored_tracks: int
    frames: int
    nan_frames: int


@dataclass(frozen=True, slots=True)
class Summary:
    """Distribution of one score over tracks, as in tables 4.5 and 4.6 of the thesis, with quartiles.

    All are NaN if nothing is finite; `deviation` (of the sample, n - 1) also for a single track.
    """

    tracks: int
    mean: float
    deviation: float
    minimum: float
    maximum: float
    median: float
    lower_quartile: float
    upper_quartile: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Paired comparison of two systems on one stem.

    Attributes
    ----------
    first, second, stem : str
    tracks : int
        Tracks with a finite score from both.
    median_difference : float
        Median over tracks of first minus second.
    low, high : float
        95 % bootstrap interval of it, over tracks.
    p_value : float
        Two-sided Wilcoxon signed-rank test; NaN without a track.
    corrected_p_value : float
        After Holm's correction over everything compared together.
    """

    first: str
    second: str
    stem: str
    tracks: int
    median_difference: float
    low: float
    high: float
    p_value: float
    corrected_p_value: float


def combine(values: Numbers, rule: Rule, *, axis: int = -1) -> Numbers:
    """Give the median or mean of the finite values along an axis; NaN where there is none.

    An even number of values has the mean of the middle two as median.
    """
    kept = np.where(np.isfinite(values), values, np.nan)
    counts = np.isfinite(kept).sum(axis=axis)
    if rule is Rule.MEAN:
        totals = np.nansum(kept, axis=axis)
        return np.asarray(np.divide(totals, counts, out=np.full(np.shape(counts), np.nan), where=counts > 0))
    # NaN sorts last: the middle of the first `count` values is the median.
    ordered = np.moveaxis(np.sort(kept, axis=axis), axis, -1)
    if not ordered.shape[-1]:
        return np.full(np.shape(counts), np.nan)
    low = np.take_along_axis(ordered, np.maximum(counts - 1, 0)[..., None] // 2, axis=-1)[..., 0]
    high = np.take_along_axis(ordered, np.minimum(counts[..., None] // 2, ordered.shape[-1] - 1), axis=-1)[..., 0]
    return np.asarray(np.where(counts > 0, np.where(low == high, low, (low + high) / 2), np.nan))


def score_set(
    tracks: Sequence[Numbers], *, frames_rule: Rule = Rule.MEDIAN, tracks_rule: Rule = Rule.MEDIAN
) -> SetScore:
    """Aggregate one stem and metric: over the frames of each track, then over tracks.

    Parameters
    ----------
    tracks : sequence of arrays of shape (frame,)
        One per track; tracks need not be equally long. A track without a finite frame has no say.
    frames_rule, tracks_rule : Rule
        Median of medians by default, as museval and SiSEC 2018.

    Returns
    -------
    SetScore

    References
    ----------
    Stöter, Liutkus and Ito, "The 2018 Signal Separation Evaluation Campaign", LVA/ICA 2018, section 4.
    """
    scores = np.array([float(combine(np.asarray(frames, dtype=np.float64), frames_rule)) for frames in tracks])
    finite = [int(np.isfinite(frames).sum()) for frames in tracks]
    total = sum(len(frames) for frames in tracks)
    return SetScore(
        value=float(combine(scores, tracks_rule)),
        tracks=len(tracks),
        scored_tracks=int(np.isfinite(scores).sum()),
        frames=total,
        nan_frames=total - sum(finite),
    )


def summarize(values: Numbers) -> Summary:
    """Describe the finite values of one score per track, shape (track,)."""
    finite = np.asarray(values, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    if not finite.size:
        return Summary(0, *[float("nan")] * 7)
    low, middle, high = np.quantile(finite, [0.25, 0.5, 0.75])
    return Summary(
        tracks=finite.size,
        mean=float(finite.mean()),
        deviation=float(finite.std(ddof=1)) if finite.size > 1 else float("nan"),
        minimum=float(finite.min()),
        maximum=float(finite.max()),
        median=float(middle),
        lower_quartile=float(low),
        upper_quartile=float(high),
    )


def compare_systems(
    scores: Numbers, *, systems: Sequence[str], stems: Sequence[str], seed: int = 0
) -> list[Comparison]:
    """Compare every pair of systems on every stem, track by track.

    Parameters
    ----------
    scores : array of shape (system, track, stem)
        One score per track, all of one kind; NaN where a system has none. Frames of one track are not independent:
        never pass frames as tracks.
    systems, stems : sequences of str
        Names along the axes.
    seed : int
        Of the bootstrap.

    Returns
    -------
    list of Comparison
        For systems i < k, in order, all stems each. p values are corrected over the whole list.

    Raises
    ------
    ValueError
        If the names do not fit the axes.

    References
    ----------
    Wilcoxon, Biometrics Bulletin 1 (1945); Holm, Scandinavian Journal of Statistics 6 (1979).
    """
    if scores.ndim != 3 or (scores.shape[0], scores.shape[2]) != (len(systems), len(stems)):
        raise ValueError(f"scores: expected ({len(systems)}, track, {len(stems)}), got shape {scores.shape}")
    pairs = [(i, k, s) for i in range(len(systems)) for k in range(i + 1, len(systems)) for s in range(len(stems))]
    differences = []
    for i, k, s in pairs:
        both = scores[i, :, s] - scores[k, :, s]
        differences.append(both[np.isfinite(both)])
    p_values = np.array([wilcoxon(d) for d in differences])
    corrected = holm(p_values)
    rows = []
    for (i, k, s), d, p, c in zip(pairs, differences, p_values, corrected, strict=True):
        interval = bootstrap_interval(d, seed=seed)
        rows.append(
            Comparison(
                first=systems[i],
                second=systems[k],
                stem=stems[s],
                tracks=d.size,
                median_difference=float(combine(d, Rule.MEDIAN)),
                low=interval.low,
                high=interval.high,
                p_value=float(p),
                corrected_p_value=float(c),
            )
        )
    return rows
