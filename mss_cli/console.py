"""Shows events: to people on stderr, as JSON lines on stdout."""

import os
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mss_cli.errors import MssError
from mss_cli.events import (
    Event,
    InternalError,
    Measured,
    RunFinished,
    RunPlanned,
    SongsPrepared,
    TrackFailed,
    TrackFinished,
    TrackPlanned,
    TrackProgress,
    TrackScored,
    TrackSkipped,
    TrackStarted,
    TrainingFinished,
    TrainingStarted,
    TrainingStep,
    Validated,
    Warned,
    WeightsReady,
    to_json,
)
from mss_cli.stdout import write_line

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


_Training = TrainingStarted | SongsPrepared | TrainingStep | Validated | TrainingFinished


@dataclass(slots=True)
class Output:
    """How a run speaks; a command sets it from its flags before the first event of its own."""

    json: bool = False
    quiet: bool = False
    verbose: bool = False
    colour: bool = True
    debug: bool = False


class Console:
    """The listener of a run: counts, shows, and writes the last event.

    Parameters
    ----------
    output : Output
        May be changed until the first track starts.
    """

    def __init__(self, output: Output) -> None:
        self.output = output
        self._started = time.monotonic()
        self._held: list[Event] = []
        self._done = self._failed = self._skipped = 0
        self._message: str | None = None
        self._bar: _Bar | None = None

    def __call__(self, event: Event) -> None:
        """Take one event."""
        if isinstance(event, TrackSkipped) or (isinstance(event, TrackScored) and event.kept):
            self._skipped += 1
        elif isinstance(event, TrackFinished | TrackScored):
            self._done += 1
        elif isinstance(event, TrackFailed):
            self._failed += 1
        elif isinstance(event, InternalError) and self.output.debug:
            self.close_bar()
            with suppress(OSError, ValueError):
                sys.stderr.write(event.traceback)
        if self.output.json:
            write_line(to_json(event))
        self._show(event)

    def fail(self, error: MssError) -> None:
        """Show the error that ends the run, each of its lines as one; `finish` must follow."""
        self._message = str(error)
        for line in error.lines:
            self._line("error", line)

    def finish(self, code: int, *, message: str | None = None) -> None:
        """Close the progress bar and write the last event."""
        self.close_bar()
        if message is not None:
            self._line("error", message)
        if not self.output.json:
            return
        finished = RunFinished(
            exit_code=code,
            done=self._done,
            failed=self._failed,
            skipped=self._skipped,
            elapsed_seconds=round(time.monotonic() - self._started, 3),
            message=message or self._message,
        )
        write_line(to_json(finished))

    def _show(self, event: Event) -> None:
        match event:
            case TrackFailed():
                self.close_bar()
                line = f"{event.path}: {event.message}"
                self._line("error", line if event.hint is None else f"{line}; {event.hint}")
            case Warned():
                self._line("warning", event.message if event.path is None else f"{event.path}: {event.message}")
            case TrackStarted():
                if self._may_draw():
                    self._bar = _Bar(event.path.name, total=event.duration_seconds, colour=_coloured(self.output))
            case TrackProgress():
                if self._bar is not None:
                    self._bar.move(event.done_seconds)
            case TrackSkipped() | TrackPlanned() | RunPlanned():
                self._show_plan(event)
            case TrackFinished() | TrackScored():
                self.close_bar()
                self._line("", _summary(event) if isinstance(event, TrackFinished) else _scores(event))
            case WeightsReady():
                if self.output.verbose:
                    self._line("", f"model `{event.model}`, {event.device}, {event.precision}, {event.threads} threads")
            case TrainingStarted() | SongsPrepared() | TrainingStep() | Validated() | TrainingFinished():
                self._show_training(event)

    def _show_plan(self, event: TrackSkipped | TrackPlanned | RunPlanned) -> None:
        if isinstance(event, TrackSkipped):
            self._line("", f"{event.path}: done already ({event.reason})")
        elif not self.output.json:
            write_line(printable(_planned(event)))

    def _show_training(
        self, event: TrainingStarted | SongsPrepared | TrainingStep | Validated | TrainingFinished
    ) -> None:
        match event:
            case TrainingStarted():
                self.close_bar()
                self._line("", _training(event))
                if self._may_draw():
                    self._bar = _Bar(event.recipe, total=event.steps, done=event.step, colour=_coloured(self.output))
            case SongsPrepared():
                if self._bar is None and self._may_draw():
                    self._bar = _Bar("preparing songs", total=event.songs, colour=_coloured(self.output))
                if self._bar is not None:
                    self._bar.move(event.done)
            case TrainingStep():
                if self._bar is not None:
                    self._bar.move(event.step)
                elif self.output.verbose:
                    self._line("", _training_step(event))
            case Validated():
                self._line("", _validated(event))
            case TrainingFinished():
                self.close_bar()
                self._done += 1
                self._line("", _trained(event))

    def close_bar(self) -> None:
        """Take the progress bar away and give the terminal its cursor back."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _may_draw(self) -> bool:
        return not self.output.quiet and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

    def _line(self, level: str, text: str) -> None:
        if self.output.quiet and level != "error":
            return
        line = printable(text)
        if level:
            colour = {"error": "31", "warning": "33"}[level]
            prefix = f"\x1b[1;{colour}m{level}:\x1b[0m " if _coloured(self.output) else f"{level}: "
            line = prefix + line
        with suppress(OSError, ValueError):  # nobody listens on stderr: the work goes on
            if self._bar is not None:
                self._bar.print(line)
            else:
                sys.stderr.write(line + "\n")
                sys.stderr.flush()


class _Bar:
    """A progress bar with time left; only ever made on a terminal."""

    def __init__(self, name: str, *, total: float | None, done: float = 0.0, colour: bool) -> None:
        from rich import progress
        from rich.console import Console as Terminal

        columns = (
            progress.TextColumn("{task.description}", markup=False),
            progress.BarColumn(),
            progress.TaskProgressColumn(),
            progress.TimeRemainingColumn(),
        )
        terminal = Terminal(stderr=True, no_color=not colour, highlight=False)
        self._progress: Progress = progress.Progress(
            *columns, console=terminal, transient=True, redirect_stdout=False, redirect_stderr=False
        )
        shown = printable(name)
        self._task: TaskID = self._progress.add_task(shown if len(shown) <= 40 else shown[:39] + "…", total=total)
        self.move(done)
        self._progress.start()

    def move(self, done: float) -> None:
        self._progress.update(self._task, completed=done)

    def print(self, line: str) -> None:
        from rich.text import Text

        self._progress.console.print(Text.from_ansi(line), soft_wrap=True)

    def close(self) -> None:
        self._progress.stop()


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


def _coloured(output: Output) -> bool:
    if not output.colour or os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def _summary(event: TrackFinished) -> str:
    seconds = event.samples / event.sample_rate_hz
    speed = seconds / event.elapsed_seconds if event.elapsed_seconds else 0.0
    folders = {output.path.parent for output in event.outputs}
    where = folders.pop() if len(folders) == 1 else Path(os.path.commonpath(folders or {Path()}))
    names = ", ".join(output.path.name for output in event.outputs)
    return f"{event.path}: {names} in {where} ({_duration(seconds)}, {speed:.1f} times real time)"


def _planned(event: TrackPlanned | RunPlanned) -> str:
    length = "length unknown" if event.duration_seconds is None else _duration(event.duration_seconds)
    size = "size unknown" if event.size_bytes is None else f"at most {event.size_bytes / 1e6:.1f} MB"
    if isinstance(event, TrackPlanned):
        if event.action == "skip":
            return f"{event.path}: skip ({event.reason})"
        return f"{event.path}: separate ({event.reason}), {length}, {size}, into {event.record.parent}"
    time_needed = "" if event.estimated_seconds is None else f", about {_duration(event.estimated_seconds)} on the CPU"
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
    return f"{event.path}: step {event.step} of {event.steps} after {event.minutes:.1f} min{why}{lost}"


def _numbers(measured: tuple[Measured, ...]) -> str:
    return ", ".join(f"{one.name} {'-' if one.value is None else f'{one.value:.4g}'}" for one in measured)


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min {rest} s" if hours else f"{minutes} min {rest} s"
