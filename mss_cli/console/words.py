"""Events in the words of messages: one line each, with a level; where they are shown is decided elsewhere."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from mss_cli.events import (
    DownloadFinished,
    DownloadStarted,
    Event,
    InternalError,
    Measured,
    RunFinished,
    RunPlanned,
    RunStarted,
    TrackFailed,
    TrackFinished,
    TrackNotTried,
    TrackPlanned,
    TrackScored,
    TrackSkipped,
    TrackStarted,
    TrainingFinished,
    TrainingStarted,
    TrainingStep,
    Validated,
    Warned,
    WeightsReady,
)

# How events name the standard output.
_STDOUT = Path("-")


class Level(StrEnum):
    """How much a message matters."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"
    DETAIL = "debug"


@dataclass(frozen=True, slots=True)
class Message:
    """One line for people; not yet made printable."""

    level: Level
    text: str


def messages(event: Event) -> Iterator[Message]:
    """Give what people are told of an event; nothing for those that only move bars."""
    match event:
        case TrackFailed():
            line = f"{event.path}: {event.message}"
            yield Message(Level.ERROR, line if event.hint is None else f"{line}; {event.hint}")
        case Warned():
            yield Message(Level.WARNING, event.message if event.path is None else f"{event.path}: {event.message}")
        case InternalError():
            yield from (Message(Level.DETAIL, line) for line in event.traceback.splitlines())
        case RunStarted():
            yield Message(Level.DETAIL, f"mss-cli {event.version}: {event.command or 'no command'}")
        case RunPlanned() if not event.dry_run:
            yield Message(Level.DETAIL, _planned(event))
        case WeightsReady():
            made = f"{event.device}, {event.precision}, {event.threads} threads"
            yield Message(Level.DETAIL, f"model `{event.model}`, {made}")
        case TrackStarted():
            yield Message(Level.DETAIL, f"{event.path}: {_header(event)}")
        case TrainingStep():
            yield Message(Level.DETAIL, _training_step(event))
        case TrackNotTried():
            yield Message(Level.DETAIL, f"{event.path}: not tried")
        case _:
            text = _news(event)
            if text is not None:
                yield Message(Level.INFO, text)


def closing(finished: RunFinished, tracks: int, *, summary: Path | None = None) -> str:
    """Say how a run over several tracks ended.

    Parameters
    ----------
    finished : RunFinished
        The last event.
    tracks : int
        How many the run was about.
    summary : Path or None
        Where more is to be read.
    """
    left = tracks - finished.done - finished.failed - finished.skipped
    parts = [(finished.failed, "failed"), (finished.skipped, "done already"), (left, "not tried")]
    rest = ", ".join(f"{count} {what}" for count, what in parts if count > 0)
    line = f"separated {finished.done} of {tracks} tracks in {duration(finished.elapsed_seconds)}"
    line += f" ({rest})" if rest else ""
    return line if summary is None else f"{line}; see `{summary}`"


def printable(text: str) -> str:
    """Escape what would break a line or a terminal: control characters and bytes that are no text."""
    return "".join(
        character
        if character.isprintable()
        else character.encode("unicode_escape", "surrogateescape").decode("ascii")
        if not 0xDC80 <= ord(character) <= 0xDCFF
        else f"\\x{ord(character) - 0xDC00:02x}"
        for character in text
    )


def duration(seconds: float) -> str:
    """Write a length of time: `4.2 s`, `3 min 5 s`, `2 h 0 min 7 s`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min {rest} s" if hours else f"{minutes} min {rest} s"


def _news(event: Event) -> str | None:
    match event:
        case TrackFinished():
            return _finished(event)
        case TrackSkipped():
            return f"{event.path}: done already ({event.reason})"
        case TrackPlanned() | RunPlanned():
            return _planned(event)
        case TrackScored():
            return _scores(event)
        case TrainingStarted():
            return _training(event)
        case Validated():
            return _validated(event)
        case TrainingFinished():
            return _trained(event)
        case DownloadStarted():
            return _download(event)
        case DownloadFinished():
            return f"model `{event.model}`: {event.size_bytes / 1e6:.1f} MB in {event.path}"
    return None


def _header(event: TrackStarted) -> str:
    length = "length unknown" if event.duration_seconds is None else duration(event.duration_seconds)
    return f"{event.sample_rate_hz} Hz, {event.channels} channels, {length}"


def _finished(event: TrackFinished) -> str:
    seconds = event.samples / event.sample_rate_hz
    speed = seconds / event.elapsed_seconds if event.elapsed_seconds else 0.0
    took = f"({duration(seconds)}, {speed:.1f} times real time)"
    if [output.path for output in event.outputs] == [_STDOUT]:
        return f"{event.path}: {event.outputs[0].stem} to stdout {took}"
    folders = {output.path.parent for output in event.outputs}
    where = folders.pop() if len(folders) == 1 else Path(os.path.commonpath(folders or {Path()}))
    names = ", ".join(output.path.name for output in event.outputs)
    return f"{event.path}: {names} in {where} {took}"


def _planned(event: TrackPlanned | RunPlanned) -> str:
    length = "length unknown" if event.duration_seconds is None else duration(event.duration_seconds)
    size = "size unknown" if event.size_bytes is None else f"at most {event.size_bytes / 1e6:.1f} MB"
    if isinstance(event, TrackPlanned):
        if event.action == "skip":
            return f"{event.path}: skip ({event.reason})"
        return f"{event.path}: separate ({event.reason}), {length}, {size}, into {event.record.parent}"
    time_needed = "" if event.estimated_seconds is None else f", about {duration(event.estimated_seconds)} on the CPU"
    free = f"{event.free_bytes / 1e6:.1f} MB free"
    return f"{event.to_separate} of {event.tracks} tracks to separate: {length}, {size}, {free}{time_needed}"


def _scores(event: TrackScored) -> str:
    values = (f"{score.stem} {'-' if score.sdr_db is None else f'{score.sdr_db:.2f}'}" for score in event.scores)
    kept = " (kept from an earlier run)" if event.kept else ""
    return f"{event.track}: SDR {', '.join(values)} dB{kept}"


def _training(event: TrainingStarted) -> str:
    begins = "training" if event.step == 0 else f"training goes on after step {event.step}"
    count = f"{event.parameters / 1e6:.2f} million weights"
    return f"{event.path}: {begins}, {count}, {event.devices} {event.device}, {event.precision}"


def _training_step(event: TrainingStep) -> str:
    speed = f"{event.audio_seconds_per_second:.1f} s of audio per s, {event.waiting_share:.0%} waiting for data"
    return f"step {event.step} of {event.steps}: {_numbers(event.losses)} ({speed})"


def _validated(event: Validated) -> str:
    return f"step {event.step}: validation {_numbers(event.scores)}{' (best)' if event.best else ''}"


def _trained(event: TrainingFinished) -> str:
    why = ", its time was up" if event.out_of_time else ""
    lost = f", {event.lost_updates} updates without a finite gradient were left out" if event.lost_updates else ""
    broken = f", {event.skipped_songs} broken songs were left out" if event.skipped_songs else ""
    return f"{event.path}: step {event.step} of {event.steps} after {event.minutes:.1f} min{why}{lost}{broken}"


def _download(event: DownloadStarted) -> str:
    size = "size unknown" if event.size_bytes is None else f"about {event.size_bytes / 1e6:.0f} MB"
    files = "1 file" if event.files == 1 else f"{event.files} files"
    return f"model `{event.model}`: fetching {files}, {size}, from {', '.join(event.sources)}; licence: {event.licence}"


def _numbers(measured: tuple[Measured, ...]) -> str:
    return ", ".join(f"{one.name} {'-' if one.value is None else f'{one.value:.4g}'}" for one in measured)
