"""A run of `evaluate`: words of the user checked, tracks scored, gates decided, tables made."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from mss_cli.datasets.catalog import kind_of, open_dataset
from mss_cli.datasets.track import Track
from mss_cli.errors import ExitCode, UsageError
from mss_cli.evaluation.comparison import comparison_table
from mss_cli.evaluation.gates import Verdict, check_against, check_comparable, check_requirements, find_expectation
from mss_cli.evaluation.output_folder import claim, held, set_aside
from mss_cli.evaluation.published import PublishedSystem, chosen_systems
from mss_cli.evaluation.request import Request, one_of
from mss_cli.evaluation.requirements import Requirement, check_metrics, check_pitch, check_stems, parse_requirement
from mss_cli.evaluation.results import SCORE_KIND, Results, read_results
from mss_cli.evaluation.run import evaluate
from mss_cli.evaluation.scores import METRICS
from mss_cli.evaluation.scoring import SCENARIOS, SCORE_SETS, Scenario, ScoreSet, metrics_of, scorable_stems
from mss_cli.evaluation.tables import (
    Table,
    further_table,
    pitch_table,
    published_table,
    score_table,
    spread_table,
    with_scope,
)
from mss_cli.evaluation.track_job import Job
from mss_cli.events import Listener, Warned
from mss_cli.files import make_folder


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run gave: results and where they lie (None without a scored track), tables, all tracks, exit code."""

    results: Results | None
    path: Path | None
    tables: tuple[Table, ...]
    tracks: tuple[Track, ...]
    code: ExitCode


def run(request: Request, listener: Listener) -> Outcome:
    """Evaluate as asked.

    Raises
    ------
    MssError
        If the run as a whole cannot start.
    """
    scenario = cast(Scenario, one_of("--scenario", request.scenario, SCENARIOS))
    score_set = cast(ScoreSet, one_of("--scores", request.scores, SCORE_SETS))
    one_of("--published", request.published, ("some", "all", "none"))
    kind_of(request.dataset)
    gates = _read_gates(request, score_set)
    _refuse_overwriting(request)
    dataset = open_dataset(request.dataset, root=request.root, subset=request.subset, tracks=request.tracks)
    _check_gates(gates, dataset.tracks, scenario, score_set)
    for folder in (request.report, request.save_estimates):
        if folder is not None:  # refused before hours of separation, not after
            make_folder(folder)
    job = Job(request.system, request.output, scenario, score_set, request.save_estimates)
    with held(request.output):
        claim(request.output, request.system, dataset.name)
        set_aside(request.output, _keys(dataset.tracks))
        done = evaluate(dataset, job, jobs=request.jobs, listener=listener)
    if done.results is None:
        return Outcome(None, None, (), dataset.tracks, done.code)
    tables = [score_table(done.results)]
    if len(done.results.tracks) > 1:
        tables.append(spread_table(done.results))
    if done.results.further_metrics:
        tables.append(further_table(done.results))
    if done.results.tells_pitch:
        tables.append(pitch_table(done.results))
    systems = chosen_systems(request.published, done.results)
    if systems:
        tables.append(published_table(done.results, systems))
    verdicts = _decide(gates, done.results, dataset.tracks, score_set=score_set, tolerance_db=request.tolerance)
    for line in dict.fromkeys(line for verdict in verdicts for line in (*verdict.warnings, *verdict.misses)):
        listener(Warned(line))
    missed = any(verdict.misses for verdict in verdicts)
    code = ExitCode.PARTIAL if missed and done.code == ExitCode.OK else done.code
    shown = tuple(with_scope(table, done.results) for table in (*tables, *(verdict.table for verdict in verdicts)))
    return Outcome(done.results, done.path, shown, dataset.tracks, code)


@dataclass(frozen=True, slots=True)
class _Gates:
    """What the scores will be held against: least scores, an expectation, other runs."""

    requirements: tuple[Requirement, ...]
    expected: Results | PublishedSystem | None
    compared: tuple[Results, ...]


def _read_gates(request: Request, score_set: ScoreSet) -> _Gates:
    """Read the gates, refusing what needs no data set to be seen as wrong."""
    requirements = tuple(parse_requirement(text) for text in request.fail_under)
    check_metrics(requirements, metrics_of(score_set), score_set)
    expected = None if request.against is None else find_expectation(request.against)
    compared = tuple(read_results(path) for path in request.compare)
    for path, other in zip(request.compare, compared, strict=True):
        if other.score_kind != SCORE_KIND:
            problem = f"`--compare {path}`: its scores are of another kind ({other.score_kind})"
            raise UsageError(problem, hint="two kinds are never subtracted")
    return _Gates(requirements, expected, compared)


def _check_gates(gates: _Gates, tracks: Sequence[Track], scenario: Scenario, score_set: ScoreSet) -> None:
    """Refuse gates that could not be decided on these tracks, before hours of separation."""
    stems = scorable_stems([track.stems for track in tracks], scenario)
    if stems:  # else no track is whole, and the run will say why
        check_stems(gates.requirements, stems)
    check_pitch(gates.requirements, labelled=any(track.pitch is not None for track in tracks))
    keys = _keys(tracks)
    if gates.expected is not None:
        metrics = [metric for metric in metrics_of(score_set) if metric in METRICS]
        check_comparable(gates.expected, tracks=keys, metrics=metrics)
    for other in gates.compared:
        if not any(other.scored_tracks(stem, "SDR") & keys for stem in other.stems):
            problem = f"`--compare`: `{other.system.name}` has no score of a track of this run"
            raise UsageError(problem, hint="compare runs on the same data set")


def _decide(
    gates: _Gates, results: Results, tracks: Sequence[Track], *, score_set: ScoreSet, tolerance_db: float
) -> tuple[Verdict, ...]:
    """Hold the scores against every gate.

    A comparison that finds nothing in common, as those tracks have all failed, is a miss: the scores are kept.
    """
    verdicts = []
    if gates.compared:
        try:
            verdicts.append(Verdict(comparison_table([results, *gates.compared]), ()))
        except UsageError as error:
            verdicts.append(_nothing_compared(error))
    if gates.expected is not None:
        metrics = [metric for metric in metrics_of(score_set) if metric in METRICS]
        keys = _keys(tracks)
        try:
            verdict = check_against(results, gates.expected, tolerance_db=tolerance_db, metrics=metrics, tracks=keys)
            verdicts.append(verdict)
        except UsageError as error:
            verdicts.append(_nothing_compared(error))
    if gates.requirements:
        verdicts.append(check_requirements(results, gates.requirements, tracks=len(tracks)))
    return tuple(verdicts)


def _keys(tracks: Sequence[Track]) -> frozenset[tuple[str, str]]:
    return frozenset((track.subset, track.name) for track in tracks)


def _nothing_compared(error: UsageError) -> Verdict:
    return Verdict(Table("nothing compared", ("reason",), ((error.message,),)), (str(error),))


def _refuse_overwriting(request: Request) -> None:
    """Refuse to save estimates over references or estimates, and results over the expectation they are held against.

    Raises
    ------
    UsageError
        Naming the flag.
    """
    heard = Path(request.system.name) if request.system.kind == "estimates" else None
    kept = [folder for folder in (request.root, heard) if folder is not None]
    if request.save_estimates is not None:
        target = request.save_estimates.resolve()
        if any(target == folder.resolve() or target in folder.resolve().parents for folder in kept):
            hint = "choose a folder of its own"
            raise UsageError("`--save-estimates` would write over what is evaluated", hint=hint)
    own = (request.output / "results.json").resolve()
    read = [Path(request.against)] if request.against is not None else []
    if any(path.resolve() == own for path in (*read, *request.compare)):
        raise UsageError("`--output` would replace the results it is compared with", hint="choose another `--output`")
