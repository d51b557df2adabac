"""A run of `evaluate`: words of the user checked, tracks scored, gates decided, tables made."""

from dataclasses import dataclass
from pathlib import Path
from typing import cast

from mss_cli.datasets.catalog import kind_of, open_dataset
from mss_cli.datasets.track import Track
from mss_cli.errors import ExitCode, UsageError
from mss_cli.evaluation.comparison import comparison_table
from mss_cli.evaluation.gates import check_against, check_requirements, find_expectation, parse_requirement
from mss_cli.evaluation.published import chosen_systems
from mss_cli.evaluation.request import Request, one_of
from mss_cli.evaluation.results import Results, read_results
from mss_cli.evaluation.run import evaluate
from mss_cli.evaluation.scoring import SCENARIOS, SCORE_SETS, Scenario, ScoreSet
from mss_cli.evaluation.tables import Table, published_table, score_table
from mss_cli.evaluation.track_job import Job
from mss_cli.events import Listener, Warned


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
    requirements = [parse_requirement(text) for text in request.fail_under]
    expected = None if request.against is None else find_expectation(request.against)
    others = [read_results(path) for path in request.compare]
    _refuse_overwriting(request)
    dataset = open_dataset(request.dataset, root=request.root, subset=request.subset, tracks=request.tracks)
    job = Job(request.system, request.output, scenario, score_set, request.save_estimates)
    done = evaluate(dataset, job, jobs=request.jobs, listener=listener)
    if done.results is None:
        return Outcome(None, None, (), dataset.tracks, done.code)
    tables = [score_table(done.results)]
    systems = chosen_systems(request.published, done.results)
    if systems:
        tables.append(published_table(done.results, systems))
    if others:
        tables.append(comparison_table([done.results, *others]))
    verdicts = []
    if expected is not None:
        verdicts.append(check_against(done.results, expected, tolerance_db=request.tolerance))
    if requirements:
        verdicts.append(check_requirements(done.results, requirements))
    misses = [line for verdict in verdicts for line in verdict.misses]
    for line in misses:
        listener(Warned(line))
    code = ExitCode.PARTIAL if misses and done.code == ExitCode.OK else done.code
    shown = (*tables, *(verdict.table for verdict in verdicts))
    return Outcome(done.results, done.path, shown, dataset.tracks, code)


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
