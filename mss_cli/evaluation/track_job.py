"""One track of an evaluation: estimates, scores, files. Done once; a finished track is found again."""

import hashlib
import json
import sys
import tempfile
import traceback
from dataclasses import dataclass, replace
from pathlib import Path

from mss_cli.datasets.track import ACCOMPANIMENT, Track, files_fingerprint, in_order
from mss_cli.errors import ExitCode, MssError
from mss_cli.evaluation.pairing import pair
from mss_cli.evaluation.pitch_scores import F0, score_pitch
from mss_cli.evaluation.pitch_values import PitchScores
from mss_cli.evaluation.request import SystemRequest
from mss_cli.evaluation.results import SystemInfo, write_text
from mss_cli.evaluation.saved_estimates import SavedEstimates
from mss_cli.evaluation.scores import FOUR_STEMS, PAIR, TrackScores, from_json, museval_json, to_json
from mss_cli.evaluation.scoring import SCORER_VERSION, Scenario, ScoreSet, plan_groups, score
from mss_cli.evaluation.systems import Estimates, System, open_system
from mss_cli.events import Event, InternalError, Json, Listener, TrackStarted, Warned, WeightsReady
from mss_cli.files import make_folder, output_error
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
        Warnings, tracebacks, and that weights are ready.
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
        self._bugs: dict[str, str] = {}

    def run(self, track: Track) -> Outcome:
        """Score a track, or find that it is done.

        Whatever goes wrong with the track is its failure, and a bug of ours is too. Only a bug while the system is
        opened is raised: no track could be scored.
        """
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
        except MemoryError:
            hint = "use fewer `--jobs`, or `--segment-seconds` with less"
            failure = Failure(ExitCode.MEMORY, "out of memory", str(track.path), hint)
            return Outcome(None, system=info, events=tuple(self._events), failure=failure)
        except Exception as error:
            failure = self._bug(track, error)
            return Outcome(None, system=info, events=tuple(self._events), failure=failure)
        return Outcome(scores, kept, info, tuple(self._events))

    def _open(self) -> System:
        if self._system is None:
            from mss_cli.devices import prepare_process

            prepare_process(self._job.system.threads)
            self._system = open_system(self._job.system, self._listen)
        return self._system

    def _bug(self, track: Track, error: Exception) -> Failure:
        """Tell the traceback, save it once, and say where."""
        text = traceback.format_exc()
        self._events.append(InternalError(track.path, text))
        if text not in self._bugs:
            self._bugs[text] = _save_traceback(text)
        message = f"internal error: {type(error).__name__}: {error}"
        return Failure(ExitCode.INTERNAL, " ".join(message.split()), None, self._bugs[text])

    def _listen(self, event: Event) -> None:
        if isinstance(event, Warned | WeightsReady):
            self._events.append(event)
        elif self._progress is not None:
            self._progress(event)

    def _scores(self, track: Track, system: System, info: SystemInfo) -> tuple[bool, TrackScores]:
        mark = self._fingerprint(track, system, info)
        record = self._job.output / FINISHED / track.subset / f"{track.name}.json"
        target = self._job.output / track.subset / f"{track.name}.json"
        saved = self._saved(track, system, info)
        earlier = _read_record(record, mark)
        if earlier is not None and (saved is None or saved.are_there()):
            self._publish(earlier, target)
            self._warn_missing(track, earlier)
            return True, earlier
        _remove(target)  # it is of other estimates or settings, and would pass for this run's if the track fails
        if saved is not None:
            saved.clear()
        track.check()
        rate, channels = track.mixture.form()
        self._listen(TrackStarted(track.path, rate, channels, track.mixture.seconds()))
        make_folder(record.parent)
        with system.estimates(track, record.parent, self._listen) as estimates:
            pairs = pair(track, estimates, self._listen)
            groups = plan_groups(pairs.stems, self._job.scenario)
            stems, samples = score(pairs, groups, self._job.score_set)
            pitch = _pitch(track, estimates)
            if saved is not None:
                saved.write(estimates.signals, sample_rate=pairs.sample_rate, channels=pairs.channels)
        for one in stems:
            if one.reason is not None:
                self._listen(Warned(f"`{one.stem}` is not scored: {one.reason}", track.path))
        scores = TrackScores(track.name, track.subset, samples, pairs.sample_rate, stems, pitch)
        self._warn_missing(track, scores)
        content: Json = {"fingerprint": mark, "scores": to_json(scores)}
        # The record first: museval's file can be made of it again, but not it of museval's file.
        write_text(record, json.dumps(content, allow_nan=False, sort_keys=True) + "\n")
        self._publish(scores, target)
        return False, scores

    def _publish(self, scores: TrackScores, target: Path) -> None:
        """Write museval's file, unless it is there already."""
        order = in_order([stem.stem for stem in scores.stems])  # a record has lost it
        ordered = replace(scores, stems=tuple(sorted(scores.stems, key=lambda stem: order.index(stem.stem))))
        text = museval_json(ordered, version=f"0.4.1 (mss-cli {version()})")
        try:
            if target.read_text(encoding="utf-8", errors="surrogateescape") == text:
                return
        except (OSError, ValueError):
            pass  # missing or not to be read: made anew
        make_folder(target.parent)
        write_text(target, text)

    def _warn_missing(self, track: Track, scores: TrackScores) -> None:
        """Name the stems that the track has and the scenario asks for, but of which there is no estimate."""
        if self._job.scenario == PAIR:
            return  # both are needed: without one the track fails
        scored = {stem.stem for stem in scores.stems}
        unwanted = (ACCOMPANIMENT,) if self._job.scenario == FOUR_STEMS else ()
        missing = [stem for stem in track.stems if stem not in (*scored, *unwanted)]
        if missing:
            names = ", ".join(f"`{stem}`" for stem in missing)
            self._listen(Warned(f"no estimate of {names}: not scored, nor part of a summed accompaniment", track.path))

    def _saved(self, track: Track, system: System, info: SystemInfo) -> SavedEstimates | None:
        if self._job.save_estimates is None:
            return None
        folder = self._job.save_estimates / track.subset / track.name
        return SavedEstimates(folder, _hash(_origin(track, system, info)), info)

    def _fingerprint(self, track: Track, system: System, info: SystemInfo) -> str:
        how: list[Json] = [SCORER_VERSION, self._job.scenario, self._job.score_set, list(track.required)]
        labels: list[Json] = [] if track.pitch is None else [files_fingerprint([track.pitch])]
        return _hash([*how, *_origin(track, system, info), *labels])


def _pitch(track: Track, estimates: Estimates) -> PitchScores | None:
    """Score the pitch of the vocals, where somebody tells it and somebody knows it."""
    if track.pitch is None or estimates.pitch is None:
        return None
    return score_pitch(estimates.pitch(), F0.read(track.pitch))


def _origin(track: Track, system: System, info: SystemInfo) -> list[Json]:
    """Give everything that changes the estimates of a track."""
    settings = dict(info.settings)
    return [decoder_versions(), info.kind, info.name, settings, system.fingerprint(track), track.fingerprint()]


def _hash(parts: list[Json]) -> str:
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


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise output_error(path, error) from error


def _save_traceback(text: str) -> str:
    """Write the traceback of a bug of ours to a file of its own; give what to do with it."""
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="mss-cli-", suffix=".txt", delete=False, encoding="utf-8", errors="backslashreplace"
        ) as report:
            report.write(f"mss-cli {version()}, Python {sys.version}\n{text}")
    except OSError:
        return "this is a bug; run again with `--debug` to see the traceback, and please report it"
    return f"this is a bug; please report it with `{report.name}`"


def _failure(error: MssError, *, fatal: bool = False) -> Failure:
    return Failure(error.code, error.message, error.path, error.hint, fatal)


def with_threads(job: Job, threads: int | None) -> Job:
    """Give the job with another number of threads of one operation."""
    return replace(job, system=replace(job.system, threads=threads))
