"""One track of an evaluation: estimates, scores, files. Done once; a finished track is found again."""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

from mss_cli.audio.encode import encode
from mss_cli.audio.formats import OutputFormat
from mss_cli.datasets.track import Track
from mss_cli.errors import DatasetError, ExitCode, MssError
from mss_cli.evaluation.pairing import pair
from mss_cli.evaluation.request import SystemRequest
from mss_cli.evaluation.results import SystemInfo, write_text
from mss_cli.evaluation.scores import TrackScores, from_json, museval_json, to_json
from mss_cli.evaluation.scoring import SCORER_VERSION, Scenario, ScoreSet, plan_groups, score
from mss_cli.evaluation.systems import Estimates, System, open_system
from mss_cli.events import Event, Json, Listener, TrackStarted, Warned, WeightsReady
from mss_cli.files import make_folder, publish, temporary_name
from mss_cli.version import version

# Where records of finished tracks lie inside the output folder.
FINISHED = ".finished"


@dataclass(frozen=True, slots=True)
class Job:
    """What is done to every track.

    Attributes
    ----------
    system : SystemRequest
    output : Path
        Receives `<subset>/<track>.json` and the record.
    scenario, score_set
        As in `plan_groups` and `score`.
    save_estimates : Path or None
        Receives `<subset>/<track>/<stem>.wav` in 32-bit float.
    """

    system: SystemRequest
    output: Path
    scenario: Scenario
    score_set: ScoreSet
    save_estimates: Path | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a track, or the whole run (`fatal`), has no scores; a value, so that it can come from another process."""

    code: ExitCode
    message: str
    path: str | None
    hint: str | None
    fatal: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one track.

    Attributes
    ----------
    scores : TrackScores or None
        None if it failed.
    kept : bool
        Whether they are from an earlier run.
    system : SystemInfo or None
    events : tuple of Event
        Warnings, and that weights are ready.
    failure : Failure or None
    """

    scores: TrackScores | None
    kept: bool = False
    system: SystemInfo | None = None
    events: tuple[Event, ...] = ()
    failure: Failure | None = None


class Scorer:
    """Does the tracks of one job, one after another, with a system that is opened once.

    Parameters
    ----------
    job : Job
    progress : callable or None
        Takes `track_started` and `track_progress` at once; other events are in the outcomes.
    """

    def __init__(self, job: Job, progress: Listener | None = None) -> None:
        self._job = job
        self._progress = progress
        self._system: System | None = None
        self._events: list[Event] = []

    def run(self, track: Track) -> Outcome:
        """Score a track, or find that it is done; never raises an `MssError`."""
        self._events = []
        try:
            system = self._open()
        except MssError as error:
            return Outcome(None, failure=_failure(error, fatal=True))
        info = SystemInfo(system.kind, system.name, system.settings)
        try:
            kept, scores = self._scores(track, system, info)
        except MssError as error:
            return Outcome(None, system=info, events=tuple(self._events), failure=_failure(error))
        return Outcome(scores, kept, info, tuple(self._events))

    def _open(self) -> System:
        if self._system is None:
            from mss_cli.devices import prepare_process

            prepare_process(self._job.system.threads)
            self._system = open_system(self._job.system, self._listen)
        return self._system

    def _listen(self, event: Event) -> None:
        if isinstance(event, Warned | WeightsReady):
            self._events.append(event)
        elif self._progress is not None:
            self._progress(event)

    def _scores(self, track: Track, system: System, info: SystemInfo) -> tuple[bool, TrackScores]:
        mark = self._fingerprint(track, system, info)
        record = self._job.output / FINISHED / track.subset / f"{track.name}.json"
        target = self._job.output / track.subset / f"{track.name}.json"
        saved = None if self._job.save_estimates is None else self._job.save_estimates / track.subset / track.name
        earlier = _read_record(record, mark)
        if earlier is not None and target.is_file() and (saved is None or saved.is_dir()):
            return True, earlier
        if not track.references:
            raise DatasetError("no reference", path=str(track.path), hint="the track needs files of its true stems")
        rate, channels = track.mixture.form()
        self._listen(TrackStarted(track.path, rate, channels, track.mixture.seconds()))
        for folder in (record.parent, target.parent):
            make_folder(folder)
        with system.estimates(track, record.parent, self._listen) as estimates:
            pairs = pair(track, estimates, self._listen)
            groups = plan_groups(pairs.stems, self._job.scenario)
            stems, samples = score(pairs, groups, self._job.score_set)
            if saved is not None:
                _save(estimates, saved, pairs.sample_rate, pairs.channels)
        for one in stems:
            if one.reason is not None:
                self._listen(Warned(f"`{one.stem}` is not scored: {one.reason}", track.path))
        scores = TrackScores(track.name, track.subset, samples, pairs.sample_rate, stems)
        write_text(target, museval_json(scores, version=f"0.4.1 (mss-cli {version()})"))
        content: Json = {"fingerprint": mark, "scores": to_json(scores)}
        write_text(record, json.dumps(content, allow_nan=False, sort_keys=True) + "\n")  # last: it says "done"
        return False, scores

    def _fingerprint(self, track: Track, system: System, info: SystemInfo) -> str:
        parts: list[Json] = [
            SCORER_VERSION,
            decoder_versions(),
            info.kind,
            info.name,
            dict(info.settings),
            system.fingerprint(track),
            track.fingerprint(),
            self._job.scenario,
            self._job.score_set,
        ]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode("utf-8", "surrogateescape")).hexdigest()


def decoder_versions() -> str:
    """Name the libraries that decode, as they change the low bits of compressed references."""
    import av
    import soundfile

    codec = ".".join(str(part) for part in av.library_versions["libavcodec"])
    return f"libavcodec {codec} / libsndfile {soundfile.__libsndfile_version__}, lossy ones rounded to 16 bits"


def _read_record(path: Path, fingerprint: str) -> TrackScores | None:
    """Read the scores of a finished track; None if there are none, or of other estimates, settings or references."""
    try:
        record = json.loads(path.read_text(encoding="utf-8", errors="surrogateescape"))
        return from_json(record["scores"]) if record["fingerprint"] == fingerprint else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _save(estimates: Estimates, folder: Path, rate: int, channels: int) -> None:
    """Write every estimate as float wav; all appear at once."""
    make_folder(folder)
    finished = {}
    for stem, opener in sorted(estimates.signals.items()):
        target = folder / f"{stem}.wav"
        temporary = temporary_name(target)
        samples = sum(block.shape[1] for block in opener())
        encode(
            opener(),
            temporary,
            format=OutputFormat("wav", "float32"),
            sample_rate=rate,
            channels=channels,
            samples=samples,
        )
        finished[temporary] = target
    publish(finished)


def _failure(error: MssError, *, fatal: bool = False) -> Failure:
    return Failure(error.code, error.message, error.path, error.hint, fatal)


def with_threads(job: Job, threads: int | None) -> Job:
    """Give the job with another number of threads of one operation."""
    return replace(job, system=replace(job.system, threads=threads))
