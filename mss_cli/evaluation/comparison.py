"""Paired comparison of runs over the same tracks, as a table."""

from collections.abc import Sequence

import numpy as np

from mss_cli.errors import UsageError
from mss_cli.evaluation.aggregate import compare_systems
from mss_cli.evaluation.results import Results
from mss_cli.evaluation.tables import Table, decibels


def comparison_table(runs: Sequence[Results], *, metric: str = "SDR") -> Table:
    """Test every pair of runs on every stem.

    Median over tracks of the difference of track medians, with a bootstrap interval, and the Wilcoxon signed-rank test
    with Holm's correction over all rows.

    Parameters
    ----------
    runs : sequence of Results
        At least two.
    metric : str

    Raises
    ------
    UsageError
        If the runs have scores of different kinds, or no track in common.
    """
    if len({run.score_kind for run in runs}) > 1:
        raise UsageError("the runs have scores of different kinds", hint="two kinds are never subtracted")
    tracks = sorted({(track.subset, track.name) for run in runs for track in run.tracks})
    stems = [stem for stem in runs[0].stems if all(stem in run.stems for run in runs)]
    scores = np.full((len(runs), len(tracks), len(stems)), np.nan)
    for i, run in enumerate(runs):
        for s, stem in enumerate(stems):
            medians = run.medians(stem, metric)
            scores[i, :, s] = [medians.get(track, np.nan) for track in tracks]
    if not np.isfinite(scores).all(axis=0).any():
        raise UsageError("the runs have no scored track in common", hint="compare runs on the same data set")
    rows = [
        (
            f"{row.first} - {row.second}",
            row.stem,
            str(row.tracks),
            f"{row.median_difference:+.2f}",
            f"{decibels(row.low)} to {decibels(row.high)}",
            _probability(row.p_value),
            _probability(row.corrected_p_value),
        )
        for row in compare_systems(scores, systems=told_apart([run.system.name for run in runs]), stems=stems)
    ]
    columns = ("pair", "stem", "tracks", f"median {metric} difference", "95 %", "p (Wilcoxon)", "p (Holm)")
    note = "paired by track: Wilcoxon signed-rank, two-sided, Holm's correction over all rows; bootstrap over tracks"
    return Table("paired comparison", columns, tuple(rows), (note,))


def told_apart(names: Sequence[str]) -> list[str]:
    """Number the names that occur more than once, by their place among all: `classical (1)`, `classical (3)`."""
    return [f"{name} ({i + 1})" if names.count(name) > 1 else name for i, name in enumerate(names)]


def _probability(value: float) -> str:
    return "-" if not np.isfinite(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"
