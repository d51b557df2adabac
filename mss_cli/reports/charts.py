"""Geometry of the charts: where each box, tick and cell stands; the templates draw them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from mss_cli.evaluation.aggregate import Comparison, compare_systems
from mss_cli.reports.boxes import BoxNumbers, box_numbers
from mss_cli.reports.results import METRICS, Metric, SystemResults, TrackScores

WIDTH: Final = 300
_MARGIN: Final = 8
_ROW: Final = 48
_AXIS: Final = 22
_LONGEST_LABEL: Final = 32
_STEM_ORDER: Final = ("vocals", "drums", "bass", "other", "accompaniment")
SIGNIFICANT: Final = 0.05
DASH: Final = "\N{EN DASH}"
_MINUS: Final = "\N{MINUS SIGN}"


def decibels(value: float | None, *, signed: bool = False) -> str:
    """Give a score with two decimals, a true minus sign, and a dash where there is none."""
    if value is None or not math.isfinite(value):
        return DASH
    text = f"{value:+.2f}" if signed else f"{value:.2f}"
    if float(text) == 0:
        text = "0.00"
    return text.replace("-", _MINUS)


def stems_of(systems: Iterable[SystemResults]) -> list[str]:
    """Give the stems of all systems: the usual ones in their usual order, then others by name."""
    found = {stem for system in systems for track in system.tracks for stem in track.stems}
    return [stem for stem in _STEM_ORDER if stem in found] + sorted(found.difference(_STEM_ORDER))


def metrics_of(systems: Iterable[SystemResults]) -> list[Metric]:
    """Give the metrics that have a finite median somewhere."""
    found = {
        metric
        for system in systems
        for track in system.tracks
        for scores in track.stems.values()
        for metric, value in scores.median.items()
        if value is not None
    }
    return [metric for metric in METRICS if metric in found]


@dataclass(frozen=True, slots=True)
class Tick:
    """A number on an axis and where it stands."""

    x: float
    text: str


@dataclass(frozen=True, slots=True)
class BoxRow:
    """One system's box, in units of the drawing; ``box`` is None where it has no score.

    ``ticks`` are the tracks; ``left`` and ``right`` count those beyond the axis.
    """

    name: str
    label: str
    oracle: bool
    y: float
    box: BoxNumbers | None
    low: float = 0.0
    high: float = 0.0
    median: float = 0.0
    outline: str = ""
    ticks: tuple[float, ...] = ()
    left: int = 0
    right: int = 0


@dataclass(frozen=True, slots=True)
class BoxPanel:
    """The box plots of one stem and metric."""

    stem: str
    metric: Metric
    height: float
    axis_y: float
    axis: tuple[Tick, ...]
    rows: tuple[BoxRow, ...]


def box_panels(systems: Sequence[SystemResults]) -> list[tuple[str, list[BoxPanel]]]:
    """Lay out the box plots of track medians, by stem and metric, in the manner of SiSEC 2018.

    Systems keep one order in all panels, that of their median of vocals SDR (or of the first stem and metric there
    is), best on top; panels of one metric share an axis, which ends where the longest whisker does.

    Parameters
    ----------
    systems : sequence of SystemResults

    Returns
    -------
    list of (stem, panels by metric)

    References
    ----------
    Stöter, Liutkus and Ito, "The 2018 signal separation evaluation campaign", 2018, figure of scores per stem.
    """
    stems, metrics = stems_of(systems), metrics_of(systems)
    if not stems or not metrics:
        return []
    ordered = best_first(systems, stems[0], metrics[0])
    axes = {
        metric: _axis([list(s.medians(stem, metric).values()) for s in systems for stem in stems]) for metric in metrics
    }
    return [(stem, [_panel(ordered, stem, metric, axes[metric]) for metric in metrics]) for stem in stems]


def best_first(systems: Sequence[SystemResults], stem: str, metric: Metric) -> list[SystemResults]:
    """Sort systems by their median over tracks, highest first; those without a score come last."""

    def place(system: SystemResults) -> float:
        values = list(system.medians(stem, metric).values())
        return -float(np.median(values)) if values else math.inf

    return sorted(systems, key=place)


@dataclass(frozen=True, slots=True)
class _Scale:
    low: float
    high: float
    ticks: tuple[float, ...]

    def x(self, value: float) -> float:
        return round(_MARGIN + (value - self.low) / (self.high - self.low) * (WIDTH - 2 * _MARGIN), 2)


def _axis(groups: Iterable[Sequence[float]]) -> _Scale:
    """Give an axis over all whiskers, with ends on round numbers."""
    boxes = [box_numbers(values) for values in groups if values]
    low, high = min(box.low for box in boxes), max(box.high for box in boxes)
    step = _round_step((high - low) / 5)
    first, last = math.floor(low / step), math.ceil(high / step)
    last = max(last, first + 1)
    return _Scale(first * step, last * step, tuple(index * step for index in range(first, last + 1)))


def _round_step(rough: float) -> float:
    """Give 1, 2 or 5 times a power of ten, at least ``rough`` and at least 0.1."""
    rough = max(rough, 0.1)
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))


def _panel(systems: Sequence[SystemResults], stem: str, metric: Metric, scale: _Scale) -> BoxPanel:
    rows = tuple(_row(system, stem, metric, scale, y=index * _ROW) for index, system in enumerate(systems))
    axis = tuple(Tick(scale.x(value), f"{value:g}".replace("-", _MINUS)) for value in scale.ticks)
    axis_y = len(rows) * _ROW + 2
    return BoxPanel(stem, metric, axis_y + _AXIS, axis_y, axis, rows)


def _row(system: SystemResults, stem: str, metric: Metric, scale: _Scale, *, y: float) -> BoxRow:
    oracle, label = system.kind == "oracle", shortened(system.name)
    values = list(system.medians(stem, metric).values())
    if not values:
        return BoxRow(system.name, label, oracle, y, None)
    box = box_numbers(values)
    return BoxRow(
        name=system.name,
        label=label,
        oracle=oracle,
        y=y,
        box=box,
        low=scale.x(box.low),
        high=scale.x(box.high),
        median=scale.x(box.median),
        outline=_outline(box, scale, y),
        ticks=tuple(scale.x(value) for value in sorted(values) if scale.low <= value <= scale.high),
        left=sum(value < scale.low for value in values),
        right=sum(value > scale.high for value in values),
    )


def shortened(name: str) -> str:
    """Cut a name that does not fit above its box; the whole one stands in its title."""
    return name if len(name) <= _LONGEST_LABEL else name[: _LONGEST_LABEL - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _outline(box: BoxNumbers, scale: _Scale, y: float) -> str:
    """Give the points of a notched box; few tracks make notches longer than the box, and they end with it."""
    top, bottom, waist = y + 18, y + 34, 4
    left, middle, right = scale.x(box.lower), scale.x(box.median), scale.x(box.upper)
    notch_left = max(left, scale.x(box.notch_low))
    notch_right = min(right, scale.x(box.notch_high))
    points = [
        (left, top),
        (notch_left, top),
        (middle, top + waist),
        (notch_right, top),
        (right, top),
        (right, bottom),
        (notch_right, bottom),
        (middle, bottom - waist),
        (notch_left, bottom),
        (left, bottom),
    ]
    return " ".join(f"{x:g},{y:g}" for x, y in points)


@dataclass(frozen=True, slots=True)
class Cell:
    """A number of the heat map and its place on the colour scale, 0 to 1; None where there is no number."""

    text: str
    level: float | None


@dataclass(frozen=True, slots=True)
class HeatMap:
    """Tracks by systems and stems.

    Attributes
    ----------
    metric : str
    low, high : str
        Scores at the two ends of the colour scale: the 5th and the 95th percentile of all cells.
    columns : tuple of (system name, stems)
    rows : tuple of (track label, cells)
        Hardest track first: by the mean of its scores. The cells follow the columns.
    """

    metric: Metric
    low: str
    high: str
    columns: tuple[tuple[str, tuple[str, ...]], ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]


def heat_map(systems: Sequence[SystemResults], metric: Metric) -> HeatMap | None:
    """Lay out the medians of every track; None if there are none.

    Parameters
    ----------
    systems : sequence of SystemResults
    metric : {"SDR", "ISR", "SIR", "SAR"}

    Returns
    -------
    HeatMap or None
    """
    stems = stems_of(systems)
    columns = [system.medians(stem, metric) for system in systems for stem in stems]
    values = [value for column in columns for value in column.values()]
    if not values:
        return None
    low, high = (float(value) for value in np.percentile(values, (5, 95)))
    span = max(high - low, 1e-9)

    def cell(value: float | None) -> Cell:
        level = None if value is None else round(min(1.0, max(0.0, (value - low) / span)), 3)
        return Cell(decibels(value), level)

    def hardness(key: tuple[str, str]) -> float:
        scores = [column[key] for column in columns if key in column]
        return float(np.mean(scores)) if scores else math.inf

    labels = track_labels(systems)
    rows = [(labels[key], tuple(cell(column.get(key)) for column in columns)) for key in sorted(labels, key=hardness)]
    return HeatMap(
        metric, decibels(low), decibels(high), tuple((system.name, tuple(stems)) for system in systems), tuple(rows)
    )


def track_labels(systems: Iterable[SystemResults]) -> dict[tuple[str, str], str]:
    """Give the label of every track, in the order they first appear; with its subset where there are several."""
    keys: dict[tuple[str, str], TrackScores] = {}
    for system in systems:
        for track in system.tracks:
            keys.setdefault(track.key, track)
    several = len({subset for subset, _ in keys}) > 1
    return {key: f"{track.subset}/{track.name}" if several else track.name for key, track in keys.items()}


@dataclass(frozen=True, slots=True)
class Verdict:
    """A cell of a significance matrix; ``word`` is empty on the diagonal and where nothing can be compared."""

    difference: str
    interval: str
    p: str
    word: str
    tracks: int


_NOTHING: Final = Verdict(DASH, "", "", "", 0)


@dataclass(frozen=True, slots=True)
class Matrix:
    """Systems against systems on one stem: rows minus columns."""

    stem: str
    names: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Verdict, ...]], ...]


def compare(systems: Sequence[SystemResults], metric: Metric) -> list[Comparison]:
    """Compare every pair of systems on every stem by the medians of the tracks that both have.

    Parameters
    ----------
    systems : sequence of SystemResults
    metric : {"SDR", "ISR", "SIR", "SAR"}

    Returns
    -------
    list of Comparison
        Pairs without a common track are left out, and do not count in the correction.
    """
    stems, keys = stems_of(systems), list(track_labels(systems))
    found = [[system.medians(stem, metric) for stem in stems] for system in systems]
    scores = np.array([[[by_key.get(key, np.nan) for by_key in row] for key in keys] for row in found], np.float64)
    shape = (len(systems), len(keys), len(stems))
    compared = compare_systems(scores.reshape(shape), systems=[system.name for system in systems], stems=stems)
    return [comparison for comparison in compared if comparison.tracks]


def matrices(comparisons: Sequence[Comparison], names: Sequence[str], stems: Sequence[str]) -> list[Matrix]:
    """Lay out a matrix per stem that has a comparison.

    Parameters
    ----------
    comparisons : sequence of Comparison
        At most one per stem and pair.
    names, stems : sequence of str
        Order of systems and stems.

    Returns
    -------
    list of Matrix
    """
    cells = {(each.stem, each.first, each.second): _verdict(each, 1) for each in comparisons}
    cells |= {(each.stem, each.second, each.first): _verdict(each, -1) for each in comparisons}
    compared = {each.stem for each in comparisons}
    return [
        Matrix(
            stem,
            tuple(names),
            tuple((row, tuple(cells.get((stem, row, column), _NOTHING) for column in names)) for row in names),
        )
        for stem in stems
        if stem in compared
    ]


def _verdict(comparison: Comparison, sign: int) -> Verdict:
    difference, p = sign * comparison.median_difference, comparison.corrected_p_value
    low, high = sorted((sign * comparison.low, sign * comparison.high))
    if p >= SIGNIFICANT:
        word = "no difference shown"
    elif difference:
        word = "better" if difference > 0 else "worse"
    else:
        word = "differs"
    return Verdict(
        difference=decibels(difference, signed=True),
        interval=f"{decibels(low, signed=True)} to {decibels(high, signed=True)}",
        p="p < 0.001" if p < 0.001 else f"p = {p:.3f}",
        word=word,
        tracks=comparison.tracks,
    )
