"""Tables of scores as plain values: what a terminal, Markdown or a test can show. Nothing is computed anew."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mss_cli.datasets.track import VOCALS
from mss_cli.evaluation.aggregate import Rule, summarize
from mss_cli.evaluation.pitch_values import PITCH_METRICS
from mss_cli.evaluation.published import KINDS, PublishedSystem
from mss_cli.evaluation.results import Results

MISSING = "-"
# Marks behind a system's name, and what they say.
OTHER_DATA = "*"
OTHER_KIND = "†"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under a title, with notes below.

    Attributes
    ----------
    title : str
    columns : tuple of str
    rows : tuple of tuple of str
        As long as the columns; the first cell is a name, the others are numbers or short words.
    notes : tuple of str
        One line each.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def decibels(value: float) -> str:
    """Write a score with two decimals; `-` where there is none."""
    return f"{value:.2f}" if math.isfinite(value) else MISSING


def heading(results: Results) -> str:
    """Name what a table is over: system, data, number of tracks against the published number."""
    data = results.dataset
    published = "" if data.published_tracks is None else f" of the published {data.published_tracks}"
    preview = " (7 s previews)" if data.name == "musdb18-7s" else ""
    subset = "" if data.subset == "all" else f" {data.subset}"
    return f"{results.system.name} on {data.name}{preview}{subset}, {len(results.tracks)}{published} tracks"


def with_scope(table: Table, results: Results) -> Table:
    """Add a note that names what a table is over, and the scenario of each stem, where it does not say so itself."""
    notes = []
    if heading(results) not in table.title:
        notes.append(f"this run: {heading(results)}")
    if "scenario" not in table.columns:
        stems: dict[str, list[str]] = {}
        for stem in results.stems:
            stems.setdefault(results.scenario_of(stem), []).append(stem)
        notes.append("scenario: " + "; ".join(f"{', '.join(names)}: {scenario}" for scenario, names in stems.items()))
    return replace(table, notes=(*notes, *table.notes))


def score_table(results: Results) -> Table:
    """Show every stem: medians of medians, other rules, how many tracks and frames stand behind them."""
    metrics = results.metrics
    columns = ("stem", "scenario", *metrics, "SDR 95 %", "SDR mean", "uSDR", "SI-SDR", "tracks", "NaN frames")
    rows = []
    for stem in results.stems:
        scored = [scores for scores in results.of(stem) if scores.frames]
        frames = sum(scores.frame_count for scores in scored)
        missing = sum(scores.nan_frames for scores in scored)
        low, high = results.interval(stem, "SDR")
        rows.append(
            (
                stem,
                results.scenario_of(stem),
                *(decibels(results.value(stem, metric)) for metric in metrics),
                f"{decibels(low)} to {decibels(high)}",
                decibels(results.value(stem, "SDR", Rule.MEAN)),
                decibels(results.value(stem, "uSDR", Rule.MEAN)),
                decibels(results.value(stem, "SI-SDR", Rule.MEDIAN)),
                f"{len(scored)} of {len(results.tracks)}",
                f"{missing} of {frames}",
            )
        )
    notes = (
        f"{', '.join(metrics)}: {results.score_kind}, dB",
        "SDR 95 %: bootstrap interval over tracks; SDR mean: mean of medians; uSDR: global SDR, mean of tracks; "
        "SI-SDR: median of tracks",
        "NaN frames are those without a finite SDR (a silent reference or estimate, or a perfect one): no median "
        "counts them",
        f"references decoded by {results.decoder}",
    )
    return Table(heading(results), columns, tuple(rows), notes)


def spread_table(results: Results) -> Table:
    """Show how every score spreads over the tracks, as tables 4.5 and 4.6 of the thesis do, and its NaN frames."""
    rows = []
    for stem in results.stems:
        for metric in results.metrics:
            over = summarize(np.array(list(results.medians(stem, metric).values()), np.float64))
            frames = [
                value
                for scores in results.of(stem)
                for column in scores.frames
                if column.metric == metric
                for value in column.values
            ]
            missing = sum(not math.isfinite(value) for value in frames)
            figures = (over.mean, over.deviation, over.minimum, over.maximum, over.median)
            rows.append((f"{stem} {metric}", *map(decibels, figures), str(over.tracks), f"{missing} of {len(frames)}"))
    columns = ("stem", "mean", "deviation", "minimum", "maximum", "median", "tracks", "NaN frames")
    notes = (f"over tracks, of the medians of their frames: {results.score_kind}, dB; deviation of the sample (n - 1)",)
    return Table(f"spread over tracks: {heading(results)}", columns, tuple(rows), notes)


def further_table(results: Results) -> Table:
    """Show the scores of `--scores all` that stand beside BSSEval v4: medians over tracks, and GNSDR."""
    metrics = results.further_metrics
    rows = [
        (
            stem,
            *(decibels(results.value(stem, metric)) for metric in metrics),
            decibels(results.weighted_mean(stem, "NSDR")),
        )
        for stem in results.stems
    ]
    notes = (
        "one number per track, median of tracks; of another kind than BSSEval v4, and than each other",
        "SDR v3, SIR v3, SAR v3: BSSEval v3, sources version, of mono sums, dB; NSDR: SDR v3 above that of the "
        "mixture; GNSDR: its mean over tracks, weighted by length",
        "log-WMSE: no unit, 73.68 at most, at 44.1 kHz only; bleedless, fullness: 0 to 100",
    )
    return Table(f"further scores: {heading(results)}", ("stem", *metrics, "GNSDR"), tuple(rows), notes)


def pitch_table(results: Results) -> Table:
    """Show how right the pitch of the vocals is, over the tracks that have labels of it."""
    rows = []
    for metric in PITCH_METRICS:
        over = summarize(np.array(list(results.medians(VOCALS, metric).values()), np.float64))
        figures = (over.mean, over.deviation, over.minimum, over.maximum, over.median)
        rows.append((metric, *map(_share, figures), f"{over.tracks} of {len(results.tracks)}"))
    columns = ("share of frames", "mean", "deviation", "minimum", "maximum", "median", "tracks")
    notes = (
        "RPA, RCA: raw pitch and raw chroma accuracy, of voiced frames, 50 cents; OA: overall accuracy, of all frames; "
        "VR, VFA: voicing recall and false alarm, of voiced and of unvoiced frames",
        "at the times of the labels, as mir_eval.melody; one number per track",
    )
    return Table(f"pitch of the vocals: {heading(results)}", columns, tuple(rows), notes)


def _share(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else MISSING


def published_table(results: Results, systems: Sequence[PublishedSystem]) -> Table:
    """Show our SDR above published systems, marking other data and other kinds of score."""
    stems = ("vocals", "drums", "bass", "other", "accompaniment")
    ours = [results.value(stem, "SDR") for stem in stems]
    data = f"{results.dataset.name} {results.dataset.subset}, {len(results.tracks)} tracks"
    rows = [(results.system.name, *map(decibels, ours), decibels(_mean(ours[:4])), "MM", data, "this run")]
    for system in systems:
        values = [system.score(stem, "SDR") for stem in stems]
        marks = (OTHER_KIND if system.kind != "MM" else "") + (OTHER_DATA if not _same_data(results, system) else "")
        where = f"{system.dataset} {system.subset}, {system.tracks or '?'} tracks"
        cells = (*map(decibels, values), decibels(_mean(values[:4])), system.kind, where, system.extra_data)
        rows.append((f"{system.name} {marks}".rstrip(), *cells))
    used = sorted({system.kind for system in systems} | {"MM"})
    notes = [f"{kind}: {KINDS[kind]}" for kind in used]
    notes.append(f"{OTHER_DATA} other tracks than this run's: not comparable with it")
    if any(system.kind != "MM" for system in systems):
        notes.append(f"{OTHER_KIND} another kind of score: not comparable with MM")
    notes += _sources(systems)
    columns = ("SDR in dB", *stems, "mean of 4", "kind", "data", "trained on extra songs")
    return Table("beside published systems", columns, tuple(rows), tuple(notes))


def _same_data(results: Results, system: PublishedSystem) -> bool:
    data = results.dataset
    return (system.dataset, system.subset, system.tracks) == (data.name, data.subset, len(results.tracks))


def _sources(systems: Sequence[PublishedSystem]) -> list[str]:
    by_source: dict[str, list[str]] = {}
    for system in systems:
        by_source.setdefault(system.source, []).append(system.name)
    return [f"{', '.join(names)}: {source}" for source, names in by_source.items()]


def _mean(values: Sequence[float]) -> float:
    """Mean of four medians; NaN if one is missing."""
    return sum(values) / len(values)
