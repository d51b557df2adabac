"""Shows events: to people on stderr, as JSON lines on stdout; passes them on to a log and a summary."""

import os
import sys
import time
from contextlib import suppress
from dataclasses import dataclass

from mss_cli.console.log_file import LogFile
from mss_cli.console.progress import Display
from mss_cli.console.summary import Summary
from mss_cli.console.words import Level, Message, closing, messages, printable
from mss_cli.errors import ExitCode, Interruption, MssError
from mss_cli.events import (
    DownloadFinished,
    DownloadProgress,
    DownloadStarted,
    Event,
    InternalError,
    ModelFailed,
    ModelReady,
    RunFinished,
    RunPlanned,
    RunStarted,
    SongsPrepared,
    TrackFailed,
    TrackFinished,
    TrackPlanned,
    TrackScored,
    TrackSkipped,
    TrackStarted,
    TrainingFinished,
    TrainingStarted,
    TrainingStep,
    to_json,
)
from mss_cli.stdout import write_line


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
        self._done = self._failed = self._skipped = 0
        self._message: str | None = None
        self._first: RunStarted | None = None
        self._plan: RunPlanned | None = None
        self._display: Display | None = None
        self._log: LogFile | None = None
        self._summary: Summary | None = None

    def keep(self, *, log: LogFile | None = None, summary: Summary | None = None) -> None:
        """Write what is told from now on, and the run's first event, into a log and a summary."""
        self._log, self._summary = log, summary
        if self._first is not None:
            for message in messages(self._first):
                self._write_log(message)

    def __call__(self, event: Event) -> None:
        """Take one event."""
        self._count(event)
        if self._summary is not None:
            self._summary(event)
        if isinstance(event, InternalError) and self.output.debug:
            self.close_bar()
            with suppress(OSError, ValueError):
                sys.stderr.write(event.traceback)
        self._move_bars(event)
        self._tell(event)
        if self.output.json:
            self._write_event(event)
        elif isinstance(event, TrackPlanned) or (isinstance(event, RunPlanned) and event.dry_run):
            for message in messages(event):
                write_line(printable(message.text))

    def fail(self, error: MssError) -> None:
        """Show the error that ends the run, each of its lines as one; `finish` must follow."""
        self._message = str(error)
        for line in error.lines:
            self._say(Message(Level.ERROR, line))

    def finish(self, code: int, *, message: str | None = None) -> int:
        """Close the bars, write the last event and the summary.

        Parameters
        ----------
        code : int
            The run's exit code.
        message : str or None
            What ended the run, if it was not told by `fail`.

        Returns
        -------
        int
            `code`; `ExitCode.OUTPUT` if only the summary failed.

        Raises
        ------
        Interruption, OutputError
            If the reader of stdout has gone away; if stdout cannot be written.
        """
        self.close_bar()
        if message is not None:
            self._say(Message(Level.ERROR, message))
        finished = self._finished(code, message)
        if self._plan is not None and self._plan.tracks > 1 and not self._plan.dry_run:
            where = None if self._summary is None else self._summary.path
            self._say(Message(Level.INFO, closing(finished, self._plan.tracks, summary=where)))
        if self._summary is not None:
            try:
                self._summary(finished)
            except MssError as error:
                self.fail(error)
                if code in (ExitCode.OK, ExitCode.PARTIAL):
                    code = ExitCode.OUTPUT
                finished = self._finished(code, message)
            self._summary = None
        self._write_log(Message(Level.DETAIL, f"exit code {code}"))
        if self._log is not None:
            self._log.close()
        if self.output.json:
            self._write_event(finished)
        return code

    def close_bar(self) -> None:
        """Take the progress bars away and give the terminal its cursor back."""
        if self._display is not None:
            self._display.close()
            self._display = None

    def _finished(self, code: int, message: str | None) -> RunFinished:
        return RunFinished(
            exit_code=code,
            done=self._done,
            failed=self._failed,
            skipped=self._skipped,
            elapsed_seconds=round(time.monotonic() - self._started, 3),
            message=message or self._message,
        )

    def _count(self, event: Event) -> None:
        match event:
            case TrackScored() if event.kept:
                self._skipped += 1
            case TrackSkipped():
                self._skipped += 1
            case TrackFinished() | TrackScored() | TrainingFinished() | ModelReady():
                self._done += 1
            case TrackFailed() | ModelFailed():
                self._failed += 1
            case RunStarted():
                self._first = event
            case RunPlanned():
                self._plan = event

    def _write_event(self, event: Event) -> None:
        """Write a line on stdout; once that failed, no more, so that the way out can go on telling others."""
        try:
            write_line(to_json(event))
        except MssError:
            self.output.json = False
            raise
        except Interruption as interruption:
            if interruption.number == ExitCode.SIGPIPE - 128:
                self.output.json = False
            raise

    def _move_bars(self, event: Event) -> None:
        match event:
            case TrainingStarted():
                self._draw_simple(event.recipe, total=event.steps, done=event.step)
            case SongsPrepared():
                if self._display is None:
                    self._draw_simple("preparing songs", total=event.songs)
                if self._display is not None:
                    self._display.move(event.done)
            case TrainingStep():
                if self._display is not None:
                    self._display.move(event.step)
            case TrainingFinished() | DownloadFinished():
                self.close_bar()
            case DownloadStarted() | DownloadProgress():
                self._move_download(event)
            case _:
                if self._display is None and isinstance(event, RunPlanned | TrackStarted) and self._may_draw():
                    self._display = Display(colour=_coloured(self.output))
                if self._display is not None:
                    self._display(event)

    def _move_download(self, event: DownloadStarted | DownloadProgress) -> None:
        if isinstance(event, DownloadStarted):
            self._draw_simple(event.model, total=event.size_bytes)
        elif self._display is not None:
            self._display.move(event.done_bytes)

    def _draw_simple(self, name: str, *, total: float | None, done: float = 0.0) -> None:
        self.close_bar()
        if self._may_draw():
            self._display = Display(colour=_coloured(self.output))
            self._display.simple(name, total=total, done=done)

    def _may_draw(self) -> bool:
        return not self.output.quiet and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

    def _tell(self, event: Event) -> None:
        log_only = self._is_for_the_log(event)
        for message in messages(event):
            self._say(message, log_only=log_only)

    def _say(self, message: Message, *, log_only: bool = False) -> None:
        self._write_log(message)
        if not log_only and self._is_shown(message.level):
            self._write_stderr(message)

    def _is_for_the_log(self, event: Event) -> bool:
        """Tell what is not said on stderr: plans go to stdout, tracebacks out as they are, bars show a training."""
        match event:
            case InternalError() | TrackPlanned():
                return True
            case RunPlanned():
                return event.dry_run
            case TrainingStep():
                return self._display is not None
        return False

    def _is_shown(self, level: Level) -> bool:
        if self.output.quiet:
            return level == Level.ERROR
        return level != Level.DETAIL or self.output.verbose

    def _write_stderr(self, message: Message) -> None:
        line = printable(message.text)
        colour = {Level.ERROR: "31", Level.WARNING: "33"}.get(message.level)
        if colour is not None:
            shown = f"\x1b[1;{colour}m{message.level}:\x1b[0m" if _coloured(self.output) else f"{message.level}:"
            line = f"{shown} {line}"
        with suppress(OSError, ValueError):  # nobody listens on stderr: the work goes on
            if self._display is not None:
                self._display.print(line)
            else:
                sys.stderr.write(line + "\n")
                sys.stderr.flush()

    def _write_log(self, message: Message) -> None:
        if self._log is None:
            return
        try:
            self._log.write(message)
        except MssError as error:  # the tracks come first
            self._log = None
            self._write_stderr(Message(Level.WARNING, f"the log ends here: {error}"))


def _coloured(output: Output) -> bool:
    if not output.colour or os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
