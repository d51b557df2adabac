"""Everything that can happen in a run, as values; to JSON and nowhere else.

The application emits events to a listener; `mss_cli.console` shows them to people or writes them as JSON lines.
Fields and their meaning: docs/scripting.md. Fields are only ever added.
"""

import base64
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

SCHEMA = 1

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened; the class says what."""

    name: ClassVar[str] = ""


@dataclass(frozen=True, slots=True)
class RunStarted(Event):
    """The first event of every run."""

    name: ClassVar[str] = "run_started"
    version: str
    command: str
    schema: int = SCHEMA


@dataclass(frozen=True, slots=True)
class WeightsReady(Event):
    """A separator is loaded and prepared."""

    name: ClassVar[str] = "weights_ready"
    model: str
    architecture: str
    stems: tuple[str, ...]
    sample_rate_hz: int
    licence: str
    device: str
    precision: str
    threads: int


@dataclass(frozen=True, slots=True)
class TrackStarted(Event):
    """A track's header was read and found good."""

    name: ClassVar[str] = "track_started"
    path: Path
    sample_rate_hz: int
    channels: int
    duration_seconds: float | None


@dataclass(frozen=True, slots=True)
class TrackProgress(Event):
    """How far a track is; at most once a second."""

    name: ClassVar[str] = "track_progress"
    path: Path
    done_seconds: float
    duration_seconds: float | None


@dataclass(frozen=True, slots=True)
class StemWritten:
    """One finished output file; part of `TrackFinished`."""

    stem: str
    path: Path
    sample_rate_hz: int
    samples: int
    size_bytes: int
    peak: float


@dataclass(frozen=True, slots=True)
class ExtraWritten:
    """One finished file that is no stem; part of `TrackFinished`."""

    kind: str
    path: Path
    size_bytes: int


@dataclass(frozen=True, slots=True)
class TrackFinished(Event):
    """All stems of a track are whole and in place."""

    name: ClassVar[str] = "track_finished"
    path: Path
    outputs: tuple[StemWritten, ...]
    sample_rate_hz: int
    samples: int
    gain: float
    device: str
    precision: str
    segment_seconds: float | None
    segments_per_batch: int
    elapsed_seconds: float
    extras: tuple[ExtraWritten, ...] = ()


@dataclass(frozen=True, slots=True)
class TrackFailed(Event):
    """A track has no stems; why, and what to do."""

    name: ClassVar[str] = "track_failed"
    path: Path
    code: int
    message: str
    hint: str | None


@dataclass(frozen=True, slots=True)
class TrackSkipped(Event):
    """A track is done already: its record fits and its files are there."""

    name: ClassVar[str] = "track_skipped"
    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class TrackNotTried(Event):
    """The run ends and this track of its plan was not done: a signal, a failure of the whole run, or a limit."""

    name: ClassVar[str] = "track_not_tried"
    path: Path


@dataclass(frozen=True, slots=True)
class TrackPlanned(Event):
    """What a run would do with a track (`--dry-run`); `action` is `separate` or `skip`."""

    name: ClassVar[str] = "track_planned"
    path: Path
    action: str
    reason: str
    record: Path
    duration_seconds: float | None
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class RunPlanned(Event):
    """What a run is about to do in all, or would do (`--dry-run`)."""

    name: ClassVar[str] = "run_planned"
    tracks: int
    to_separate: int
    duration_seconds: float
    size_bytes: int
    free_bytes: int
    estimated_seconds: float | None
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class InternalError(Event):
    """A bug of ours costs a track; `TrackFailed` follows."""

    name: ClassVar[str] = "internal_error"
    path: Path
    traceback: str


@dataclass(frozen=True, slots=True)
class StemScored:
    """Scores of one stem; part of `TrackScored`. None where a score is not a finite number or was not asked for."""

    stem: str
    scenario: str
    frames: int
    nan_frames: int
    sdr_db: float | None
    isr_db: float | None
    sir_db: float | None
    sar_db: float | None
    usdr_db: float | None
    si_sdr_db: float | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class TrackScored(Event):
    """A track of a data set has its scores, now or from an earlier run (`kept`)."""

    name: ClassVar[str] = "track_scored"
    path: Path
    track: str
    subset: str
    scores: tuple[StemScored, ...]
    kept: bool


@dataclass(frozen=True, slots=True)
class Measured:
    """A named number; part of training events. None where it is not finite."""

    name: str
    value: float | None


@dataclass(frozen=True, slots=True)
class TrainingStarted(Event):
    """Recipe, data and network are good and training begins, or goes on after `step` updates."""

    name: ClassVar[str] = "training_started"
    path: Path
    recipe: str
    step: int
    steps: int
    parameters: int
    device: str
    devices: int
    precision: str


@dataclass(frozen=True, slots=True)
class SongsPrepared(Event):
    """How many songs of a training are decoded or played, before its first update; at most once a second."""

    name: ClassVar[str] = "songs_prepared"
    done: int
    songs: int


@dataclass(frozen=True, slots=True)
class TrainingStep(Event):
    """How far a training is; at most once a second."""

    name: ClassVar[str] = "training_step"
    step: int
    steps: int
    losses: tuple[Measured, ...]
    audio_seconds_per_second: float
    waiting_share: float
    seconds_left: float | None


@dataclass(frozen=True, slots=True)
class Validated(Event):
    """The validation examples have their scores; `best` if no earlier validation had a higher mean."""

    name: ClassVar[str] = "validated"
    step: int
    scores: tuple[Measured, ...]
    best: bool


@dataclass(frozen=True, slots=True)
class TrainingFinished(Event):
    """Training ended, after its last update or because its time was up; the weights are in place."""

    name: ClassVar[str] = "training_finished"
    path: Path
    step: int
    steps: int
    out_of_time: bool
    minutes: float
    lost_updates: int
    skipped_songs: int


@dataclass(frozen=True, slots=True)
class DownloadStarted(Event):
    """The weights of a model are not there and are fetched; from where, how large, under which licence."""

    name: ClassVar[str] = "download_started"
    model: str
    files: int
    size_bytes: int | None
    sources: tuple[str, ...]
    licence: str


@dataclass(frozen=True, slots=True)
class DownloadProgress(Event):
    """How much of a model's weights is there; at most once a second."""

    name: ClassVar[str] = "download_progress"
    model: str
    done_bytes: int
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class DownloadFinished(Event):
    """The weights of a model are whole, verified and in place."""

    name: ClassVar[str] = "download_finished"
    model: str
    path: Path
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ModelReady(Event):
    """A model that `download-weights` was asked for can be used, fetched now or before."""

    name: ClassVar[str] = "model_ready"
    model: str
    path: Path


@dataclass(frozen=True, slots=True)
class ModelFailed(Event):
    """A model that `download-weights` was asked for cannot be had; why, and what to do."""

    name: ClassVar[str] = "model_failed"
    model: str
    code: int
    message: str
    hint: str | None


@dataclass(frozen=True, slots=True)
class Warned(Event):
    """Something a user should know that stops nothing."""

    name: ClassVar[str] = "warning"
    message: str
    path: Path | None = None


@dataclass(frozen=True, slots=True)
class RunFinished(Event):
    """The last event of every run, also after errors and signals."""

    name: ClassVar[str] = "run_finished"
    exit_code: int
    done: int = 0
    failed: int = 0
    skipped: int = 0
    elapsed_seconds: float = 0.0
    message: str | None = None


EVENTS: tuple[type[Event], ...] = (
    RunStarted,
    WeightsReady,
    TrackStarted,
    TrackProgress,
    TrackFinished,
    TrackFailed,
    TrackSkipped,
    TrackNotTried,
    TrackPlanned,
    RunPlanned,
    InternalError,
    TrackScored,
    TrainingStarted,
    SongsPrepared,
    TrainingStep,
    Validated,
    TrainingFinished,
    DownloadStarted,
    DownloadProgress,
    DownloadFinished,
    ModelReady,
    ModelFailed,
    Warned,
    RunFinished,
)

Part = StemWritten | ExtraWritten | StemScored | Measured
Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Listen to nothing."""


def to_json(event: Event, *, time: datetime | None = None) -> str:
    """Write an event as one line of JSON.

    Parameters
    ----------
    event : Event
        Its floats must be finite: NaN has no JSON form and raises ValueError.
    time : datetime, optional
        When it happened, in UTC; now by default.

    Returns
    -------
    str
        An object with `event`, `time` (RFC 3339, UTC) and the event's fields. A path that is not UTF-8 is written
        readably as `path` and byte by byte, base64, as `path_b64`.
    """
    return json.dumps(as_object(event, time=time), allow_nan=False)


def as_object(event: Event, *, time: datetime | None = None) -> dict[str, Json]:
    """Give the object that `to_json` writes."""
    stamp = (time or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"event": event.name, "time": stamp, **entries(event)}


def entries(value: Event | Part) -> dict[str, Json]:
    """Give the fields of an event or of a part of one, as they stand in JSON."""
    found: dict[str, Json] = {}
    for field in fields(value):
        found |= _entry(field.name, getattr(value, field.name))
    return found


def _entry(key: str, value: object) -> dict[str, Json]:
    if isinstance(value, Path):
        raw = os.fsencode(value)
        text = raw.decode("utf-8", errors="replace")
        plain: dict[str, Json] = {key: text}
        if text.encode() != raw:
            plain[f"{key}_b64"] = base64.b64encode(raw).decode("ascii")
        return plain
    if isinstance(value, tuple):
        return {key: [entries(part) if isinstance(part, Part) else part for part in value]}
    if value is None or isinstance(value, bool | int | float | str):
        return {key: value.encode("utf-8", errors="replace").decode() if isinstance(value, str) else value}
    raise TypeError(f"{key}: {type(value).__name__} has no JSON form here")
