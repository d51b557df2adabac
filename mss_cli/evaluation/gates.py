"""Scores that are required: fixed numbers, or those of an earlier run or a published system."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mss_cli.errors import UsageError
from mss_cli.evaluation.aggregate import Rule
from mss_cli.evaluation.published import KINDS, PublishedSystem, find_published
from mss_cli.evaluation.results import SCORE_KIND, Results, read_results
from mss_cli.evaluation.scores import METRICS
from mss_cli.evaluation.tables import Table, decibels

_METRICS: Final = {name.lower(): name for name in METRICS} | {"usdr": "uSDR", "si_sdr": "SI-SDR", "si-sdr": "SI-SDR"}
_FORM: Final = re.compile(r"(?P<stem>[^.=]+)(\.(?P<metric>[^.=]+))?(\.(?P<rule>[^.=]+))?=(?P<least>.+)")
_EXAMPLE: Final = "write it as `vocals=5.0`, `vocals.sir=10` or `vocals.sir.mean=10`"
# Rounding of scores in files must not decide.
_ROUNDING_DB: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Requirement:
    """A least score: stem, metric, median or mean over tracks of the score per track, dB."""

    stem: str
    metric: str
    rule: Rule
    least: float

    @property
    def label(self) -> str:
        """For tables."""
        return f"{self.stem} {self.metric} {self.rule}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a gate is passed: the table of what was wanted and what came, and one line for each miss."""

    table: Table
    misses: tuple[str, ...]


def parse_requirement(text: str) -> Requirement:
    """Read `STEM[.METRIC[.RULE]]=DB`; SDR and the median over tracks if left out.

    Raises
    ------
    UsageError
        If it has another form.
    """
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"`--fail-under {text}` has another form", hint=_EXAMPLE)
    metric = _METRICS.get((match["metric"] or "sdr").lower())
    if metric is None:
        raise UsageError(f"`{match['metric']}` is no metric", hint=f"use one of {', '.join(sorted(_METRICS))}")
    rule = match["rule"] or Rule.MEDIAN
    if rule not in list(Rule):
        raise UsageError(f"`{rule}` is no rule", hint="use median or mean")
    try:
        least = float(match["least"])
    except ValueError:
        least = math.nan
    if not math.isfinite(least):
        raise UsageError(f"`{match['least']}` is no number of dB", hint=_EXAMPLE)
    return Requirement(match["stem"].strip(), metric, Rule(rule), least)


def check_requirements(results: Results, requirements: Sequence[Requirement]) -> Verdict:
    """Compare a set's scores with least values; a score that is missing is missed."""
    rows, misses = [], []
    for wanted in requirements:
        value = results.value(wanted.stem, wanted.metric, wanted.rule)
        passed = value >= wanted.least - _ROUNDING_DB
        rows.append((wanted.label, decibels(value), decibels(wanted.least), "passed" if passed else "MISSED"))
        if not passed:
            came = f"{value:.2f} dB" if math.isfinite(value) else "no score"
            misses.append(f"{wanted.label}: {came}, at least {wanted.least:.2f} dB required")
    return Verdict(Table("required scores", ("score", "dB", "at least", ""), tuple(rows)), tuple(misses))


def find_expectation(name: str) -> Results | PublishedSystem:
    """Find what `--against` names: a results file, or a published system.

    Raises
    ------
    UsageError, InputError
        If it is neither; if it holds scores of another kind.
    """
    path = Path(name)
    if path.is_file() or path.suffix == ".json" or "/" in name:
        found = read_results(path)
        if found.score_kind != SCORE_KIND:
            problem = f"its scores are of another kind ({found.score_kind})"
            raise UsageError(f"{name}: {problem}", hint="two kinds are never subtracted")
        return found
    published = find_published(name)
    if published.kind != "MM":
        problem = f"`{published.name}` is published as {KINDS[published.kind]}"
        raise UsageError(problem, hint="two kinds of score are never subtracted: choose one of kind MM")
    return published


def check_against(results: Results, expected: Results | PublishedSystem, *, tolerance_db: float) -> Verdict:
    """Compare the medians of medians with expected ones; a fall by more than the tolerance is a miss.

    Two runs are compared on the tracks that both have.

    Raises
    ------
    UsageError
        If two runs have no track in common.
    """
    notes: list[str] = []
    if isinstance(expected, PublishedSystem):
        name, pairs = expected.name, _published_pairs(results, expected)
        notes.append(f"{expected.name}: {expected.source}")
        theirs = (expected.dataset, expected.subset, expected.tracks)
        ours = (results.dataset.name, results.dataset.subset, len(results.tracks))
        if ours != theirs:
            notes.append(f"other data: {_data(*theirs)} there, {_data(*ours)} here")
    else:
        name, pairs = f"{expected.system.name} (earlier run)", _run_pairs(results, expected, notes)
    rows, misses = [], []
    for stem, metric, value, wanted in pairs:
        moved = value - wanted
        fell = not moved >= -tolerance_db - _ROUNDING_DB
        word = "FELL" if fell else "rose" if moved > tolerance_db else "same"
        rows.append((f"{stem} {metric}", decibels(value), decibels(wanted), _signed(moved), word))
        if fell:
            came = f"{value:.2f} dB" if math.isfinite(value) else "no score"
            misses.append(f"{stem} {metric}: {came}, {wanted - tolerance_db:.2f} dB needed to match {name}")
    columns = ("median of medians", "here", "expected", "moved", "")
    title = f"against {name}, tolerance {tolerance_db:g} dB"
    return Verdict(Table(title, columns, tuple(rows), tuple(notes)), tuple(misses))


def _published_pairs(results: Results, expected: PublishedSystem) -> list[tuple[str, str, float, float]]:
    metrics = [metric for metric in METRICS if metric in results.metrics]
    return [
        (stem, metric, results.value(stem, metric), scores[metric])
        for stem, scores in expected.scores.items()
        for metric in metrics
        if metric in scores
    ]


def _run_pairs(results: Results, expected: Results, notes: list[str]) -> list[tuple[str, str, float, float]]:
    here = {(track.subset, track.name) for track in results.tracks}
    there = {(track.subset, track.name) for track in expected.tracks}
    common = here & there
    if not common:
        raise UsageError("the runs have no track in common", hint="compare runs on the same data set")
    if here != there:
        notes.append(f"compared on {len(common)} common tracks of {len(here)} here and {len(there)} there")
    for what, new, old in (
        ("data set", results.dataset.name, expected.dataset.name),
        ("scenario", results.scenario, expected.scenario),
        ("decoder", results.decoder, expected.decoder),
    ):
        if new != old:
            notes.append(f"other {what}: {old} there, {new} here")
    ours, theirs = results.only(common), expected.only(common)
    pairs: list[tuple[str, str, float, float]] = []
    for stem in expected.stems:
        for metric in METRICS:
            wanted = theirs.value(stem, metric)
            if metric in results.metrics and math.isfinite(wanted):
                pairs.append((stem, metric, ours.value(stem, metric), wanted))
    return pairs


def _data(dataset: str, subset: str, tracks: int | None) -> str:
    return f"{dataset} {subset}, {tracks or 'unknown'} tracks"


def _signed(value: float) -> str:
    return f"{value:+.2f}" if math.isfinite(value) else "-"
