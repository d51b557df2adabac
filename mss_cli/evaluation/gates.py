"""Scores that are required: fixed numbers, or those of an earlier run or a published system."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mss_cli.datasets.track import ACCOMPANIMENT, VOCALS
from mss_cli.errors import UsageError
from mss_cli.evaluation.published import KINDS, PublishedSystem, find_published
from mss_cli.evaluation.requirements import Requirement, unit
from mss_cli.evaluation.results import SCORE_KIND, Results, read_results
from mss_cli.evaluation.scores import FOUR_STEMS, METRICS, PAIR
from mss_cli.evaluation.tables import Table, decibels

# Rounding of scores in files must not decide.
_ROUNDING_DB: Final = 1e-6

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a gate is passed: the table of what was wanted and what came.

    Attributes
    ----------
    table : Table
    misses : tuple of str
        One line for each score that fails the run.
    warnings : tuple of str
        One line for each thing that was held back from the comparison, or rests on fewer tracks.
    """

    table: Table
    misses: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def check_requirements(results: Results, requirements: Sequence[Requirement], *, tracks: int) -> Verdict:
    """Compare a set's scores with least values; a score that is missing is missed.

    Parameters
    ----------
    results : Results
    requirements : sequence of Requirement
    tracks : int
        Tracks that were asked for, also those that failed: a score over fewer is said to be so.
    """
    rows, misses, warnings = [], [], []
    for wanted in requirements:
        value = results.value(wanted.stem, wanted.metric, wanted.rule, frames_rule=wanted.frames_rule)
        passed = value >= wanted.least - _ROUNDING_DB
        scored = len(results.scored_tracks(wanted.stem, wanted.metric))
        cells = (wanted.label, decibels(value), decibels(wanted.least), f"{scored} of {tracks}")
        rows.append((*cells, "passed" if passed else "MISSED"))
        of = unit(wanted.metric)
        if not passed:
            came = f"{value:.2f}{of}" if math.isfinite(value) else "no score"
            misses.append(f"{wanted.label}: {came}, at least {wanted.least:.2f}{of} required")
        if 0 < scored < tracks:
            warnings.append(f"{wanted.label}: scored on {scored} of {tracks} tracks")
    columns = ("score", "here", "at least", "scored tracks", "")
    return Verdict(Table("required scores", columns, tuple(rows)), tuple(misses), tuple(warnings))


def find_expectation(name: str) -> Results | PublishedSystem:
    """Find what `--against` names: a results file, or a published system.

    Raises
    ------
    UsageError, InputError
        If it is neither; if it holds scores of another kind, or none at all.
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


def check_comparable(expected: Results | PublishedSystem, *, tracks: frozenset[Key], metrics: Sequence[str]) -> None:
    """Refuse, before anything is scored, an expectation with which nothing could be compared.

    Parameters
    ----------
    expected : Results or PublishedSystem
    tracks : frozenset of (subset, track)
        That will be scored.
    metrics : sequence of str
        That will be scored, of `METRICS`.

    Raises
    ------
    UsageError
        If there is no track in common, or no finite score on the tracks in common.
    """
    if isinstance(expected, PublishedSystem):
        if not any(metric in scores for scores in expected.scores.values() for metric in metrics):
            raise UsageError(f"`{expected.name}` has no score that this run makes", hint="choose other `--scores`")
        return
    common = _common(tracks, expected)
    theirs = expected.only(common)
    if not any(theirs.scored_tracks(stem, metric) for stem in theirs.stems for metric in metrics):
        problem = f"`{expected.system.name}` has no finite score of the tracks and metrics of this run"
        raise UsageError(problem, hint="make the expected results anew with the same flags")


def check_against(
    results: Results,
    expected: Results | PublishedSystem,
    *,
    tolerance_db: float,
    metrics: Sequence[str] = METRICS,
    tracks: frozenset[Key] | None = None,
) -> Verdict:
    """Compare the medians of medians with expected ones; a fall by more than the tolerance is a miss.

    Two runs are compared on the tracks that both have, each score on those where both are finite. A stem or metric
    that is expected and was asked for must be there, on every common track that has it in the expected results: one
    that has gone is a miss. What was not asked for is named in a warning.

    Parameters
    ----------
    results : Results
        Of this run.
    expected : Results or PublishedSystem
    tolerance_db : float, >= 0
    metrics : sequence of str
        That this run was asked for, of `METRICS`.
    tracks : frozenset of (subset, track), optional
        That this run was asked for, also those that failed; those with scores by default.

    Raises
    ------
    UsageError
        If two runs have no track in common, or nothing is left to be compared.
    """
    asked = frozenset((track.subset, track.name) for track in results.tracks) if tracks is None else tracks
    if isinstance(expected, PublishedSystem):
        gathered = _published_pairs(results, expected, metrics, len(asked))
    else:
        gathered = _run_pairs(results, expected, metrics, asked)
    if not gathered.pairs:
        raise UsageError(f"nothing to compare with {gathered.name}: no score in common", hint="check `--against`")
    rows, misses = [], []
    for pair in gathered.pairs:
        moved = pair.here - pair.wanted
        fell = not moved >= -tolerance_db - _ROUNDING_DB
        word = "FELL" if fell else "LOST" if pair.lost else "rose" if moved > tolerance_db else "same"
        scored = f"{pair.scored} of {pair.tracks}"
        rows.append((pair.label, decibels(pair.here), decibels(pair.wanted), _signed(moved), scored, word))
        if fell:
            came = f"{pair.here:.2f} dB" if math.isfinite(pair.here) else "no score"
            needed = f"{pair.wanted - tolerance_db:.2f} dB needed to match {gathered.name}"
            misses.append(f"{pair.label}: {came}, {needed}")
        elif pair.lost:
            names = ", ".join(f"`{name}`" for _, name in pair.lost)
            misses.append(f"{pair.label}: no score of {names}, which {gathered.name} has")
    warnings = [
        f"{pair.label}: scored on {pair.scored} of {pair.tracks} tracks"
        for pair in gathered.pairs
        if 0 < pair.scored < pair.tracks
    ]
    if gathered.left_out:
        warnings.append(f"not compared, as this run was not asked for them: {', '.join(gathered.left_out)}")
    columns = ("median of medians", "here", "expected", "moved", "scored tracks", "")
    title = f"against {gathered.name}, tolerance {tolerance_db:g} dB"
    notes = (*gathered.notes, *(line for line in warnings if line.startswith("not compared")))
    return Verdict(Table(title, columns, tuple(rows), notes), tuple(misses), tuple(warnings))


@dataclass(frozen=True, slots=True)
class _Pair:
    """One score here and as expected, over how many tracks, and the tracks that have lost theirs."""

    label: str
    here: float
    wanted: float
    scored: int
    tracks: int
    lost: tuple[Key, ...] = ()


@dataclass(slots=True)
class _Gathered:
    """What is compared with whom, what is not, and what the table has to say."""

    name: str
    pairs: list[_Pair] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def leaves_out(self, results: Results, stem: str, metric: str, metrics: Sequence[str]) -> bool:
        """Say whether the run was not asked for a score, and remember the metric or stem."""
        missing = metric if metric not in metrics else None if _was_asked(results, stem) else stem
        if missing is not None and missing not in self.left_out:
            self.left_out.append(missing)
        return missing is not None


def _published_pairs(results: Results, expected: PublishedSystem, metrics: Sequence[str], tracks: int) -> _Gathered:
    gathered = _Gathered(expected.name, notes=[f"{expected.name}: {expected.source}"])
    theirs = (expected.dataset, expected.subset, expected.tracks)
    ours = (results.dataset.name, results.dataset.subset, len(results.tracks))
    if ours != theirs:
        gathered.notes.append(f"other data: {_data(*theirs)} there, {_data(*ours)} here")
    for stem, scores in expected.scores.items():
        for metric in METRICS:
            if metric not in scores:
                continue
            if gathered.leaves_out(results, stem, metric, metrics):
                continue
            scored = len(results.scored_tracks(stem, metric))
            value = results.value(stem, metric)
            gathered.pairs.append(_Pair(f"{stem} {metric}", value, scores[metric], scored, tracks))
    return gathered


def _run_pairs(results: Results, expected: Results, metrics: Sequence[str], here: frozenset[Key]) -> _Gathered:
    gathered = _Gathered(f"{expected.system.name} (earlier run)")
    common = _common(here, expected)
    if len(common) < max(len(here), len(expected.tracks)):
        gathered.notes.append(
            f"compared on {len(common)} common tracks of {len(here)} here and {len(expected.tracks)} there"
        )
    for what, new, old in (
        ("data set", results.dataset.name, expected.dataset.name),
        ("scenario", results.scenario, expected.scenario),
        ("decoder", results.decoder, expected.decoder),
    ):
        if new != old:
            gathered.notes.append(f"other {what}: {old} there, {new} here")
    ours, theirs = results.only(common), expected.only(common)
    for stem in expected.stems:
        for metric in METRICS:
            there = theirs.scored_tracks(stem, metric)
            if not there:
                continue
            if gathered.leaves_out(results, stem, metric, metrics):
                continue
            scored = ours.scored_tracks(stem, metric)
            both = (there & scored) or there
            value, wanted = ours.only(both).value(stem, metric), theirs.only(both).value(stem, metric)
            lost = tuple(sorted(there - scored))
            gathered.pairs.append(_Pair(f"{stem} {metric}", value, wanted, len(scored), len(common), lost))
    return gathered


def _common(here: frozenset[Key], expected: Results) -> frozenset[Key]:
    common = here & {(track.subset, track.name) for track in expected.tracks}
    if not common:
        raise UsageError("the runs have no track in common", hint="compare runs on the same data set")
    return common


def _was_asked(results: Results, stem: str) -> bool:
    """Say whether the scenario that was asked for scores a stem at all."""
    if results.scenario == PAIR:
        return stem in (VOCALS, ACCOMPANIMENT)
    return not (results.scenario == FOUR_STEMS and stem == ACCOMPANIMENT)


def _data(dataset: str, subset: str, tracks: int | None) -> str:
    return f"{dataset} {subset}, {tracks or 'unknown'} tracks"


def _signed(value: float) -> str:
    return f"{value:+.2f}" if math.isfinite(value) else "-"
