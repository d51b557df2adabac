"""A whole evaluation: data set times system, track by track, kept and resumed."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mss_cli.datasets.catalog import Dataset
from mss_cli.datasets.track import Track, in_order
from mss_cli.errors import (
    DatasetError,
    DeviceError,
    DownloadError,
    ExitCode,
    InputError,
    MemoryExhausted,
    MssError,
    OutputError,
    UsageError,
    WeightsError,
)
from mss_cli.evaluation.results import SCORE_KIND, DatasetInfo, Results, SystemInfo, write_results
from mss_cli.evaluation.scores import METRICS, StemScores, TrackScores, number
from mss_cli.evaluation.track_job import Job, Outcome, Scorer, decoder_versions, with_threads
from mss_cli.evaluation.workers import Workers
from mss_cli.events import Event, Listener, StemScored, TrackFailed, TrackScored, Warned
from mss_cli.files import make_folder

_ERRORS: dict[int, type[MssError]] = {
    kind.code: kind
    for kind in (
        UsageError,
        InputError,
        DeviceError,
        WeightsError,
        OutputError,
        MemoryExhausted,
        DatasetError,
        DownloadError,
    )
}


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What an evaluation gave.

    Attributes
    ----------
    results : Results or None
        None if no track has scores.
    path : Path or None
        Of `results.json`.
    code : ExitCode
        0 if every track is scored; the tracks' own code if all failed by the same; else 1.
    """

    results: Results | None
    path: Path | None
    code: ExitCode


def evaluate(dataset: Dataset, job: Job, *, jobs: int, listener: Listener) -> Evaluated:
    """Score a system on a data set.

    Parameters
    ----------
    dataset : Dataset
        Of `open_dataset`.
    job : Job
    jobs : int, >= 1
        Tracks at a time; with more than one each is done in a process of its own with one thread.
    listener : callable
        Takes `track_scored`, `track_failed`, `warning` and, with one job, the progress of tracks.

    Raises
    ------
    MssError
        If the system cannot be opened or the output folder not be written.
    """
    make_folder(job.output)
    if dataset.published_tracks is not None and len(dataset.tracks) != dataset.published_tracks:
        listener(Warned(short_of(len(dataset.tracks), dataset.published_tracks)))
    scores: dict[tuple[str, str], TrackScores] = {}
    failures: list[ExitCode] = []
    system: SystemInfo | None = None
    said: set[Event] = set()
    for track, outcome in _outcomes(dataset, job, jobs, listener):
        for event in outcome.events:
            if event not in said:  # every worker says that its weights are ready
                listener(event)
                said.add(event)
        if outcome.failure is not None:
            _fail(track, outcome, listener, failures)
        elif outcome.scores is not None:
            system = outcome.system
            scores[track.subset, track.name] = outcome.scores
            listener(_event(track, outcome.scores, kept=outcome.kept))
    code = _code(failures, len(dataset.tracks))
    if system is None:
        return Evaluated(None, None, code)
    results = Results(
        system=system,
        dataset=DatasetInfo(dataset.name, dataset.subset, dataset.published_tracks),
        scenario=job.scenario,
        score_kind=SCORE_KIND,
        decoder=decoder_versions(),
        tracks=tuple(scores[key] for key in sorted(scores)),
    )
    return Evaluated(results, write_results(results, job.output), code)


def short_of(tracks: int, published: int) -> str:
    """Say that a set is not the one of published scores."""
    return f"{tracks} tracks; published scores of this subset are over {published}"


def _outcomes(dataset: Dataset, job: Job, jobs: int, listener: Listener) -> Iterator[tuple[Track, Outcome]]:
    if jobs == 1:
        scorer = Scorer(job, listener)
        for track in dataset.tracks:
            yield track, scorer.run(track)
        return
    with Workers(with_threads(job, 1), jobs) as workers:
        yield from workers.run(dataset.tracks)


def _fail(track: Track, outcome: Outcome, listener: Listener, failures: list[ExitCode]) -> None:
    failure = outcome.failure
    if failure is None:
        return
    if failure.fatal:
        raise _ERRORS.get(failure.code, MssError)(failure.message, path=failure.path, hint=failure.hint)
    failures.append(failure.code)
    where = None if failure.path in (None, str(track.path)) else failure.path
    message = failure.message if where is None else f"{where}: {failure.message}"
    listener(TrackFailed(track.path, int(failure.code), message, failure.hint))


def _code(failures: list[ExitCode], tracks: int) -> ExitCode:
    if not failures:
        return ExitCode.OK
    return failures[0] if len(failures) == tracks and len(Counter(failures)) == 1 else ExitCode.PARTIAL


def _event(track: Track, scores: TrackScores, *, kept: bool) -> TrackScored:
    order = in_order([stem.stem for stem in scores.stems])
    return TrackScored(
        path=track.path,
        track=track.name,
        subset=track.subset,
        scores=tuple(_stem_event(stem) for stem in sorted(scores.stems, key=lambda stem: order.index(stem.stem))),
        kept=kept,
    )


def _stem_event(stem: StemScores) -> StemScored:
    sdr, isr, sir, sar = (number(stem.median(metric)) for metric in METRICS)
    return StemScored(
        stem=stem.stem,
        scenario=stem.scenario,
        frames=stem.frame_count,
        nan_frames=stem.nan_frames,
        sdr_db=sdr,
        isr_db=isr,
        sir_db=sir,
        sar_db=sar,
        usdr_db=number(stem.usdr),
        si_sdr_db=number(stem.si_sdr),
        reason=stem.reason,
    )
