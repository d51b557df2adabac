"""Bars on a terminal, moved by events: one over the whole run, one for each track that is being separated."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mss_cli.console.words import duration, printable
from mss_cli.events import (
    Event,
    RunPlanned,
    TrackFailed,
    TrackFinished,
    TrackNotTried,
    TrackProgress,
    TrackScored,
    TrackStarted,
)

if TYPE_CHECKING:
    from rich.console import Console as Terminal
    from rich.progress import Progress, TaskID

_LONGEST_NAME = 40


@dataclass(slots=True)
class _Active:
    """A track on its way: its bar, its length and how much of it is done, in seconds of audio."""

    bar: "TaskID"
    seconds: float | None
    started: float
    done: float = 0.0


class Display:
    """The bars of a run; only to be made on a terminal.

    Parameters
    ----------
    colour : bool
    terminal : rich.console.Console, optional
        Where to draw; stderr by default.
    clock : callable
        Gives seconds that never go back.
    """

    def __init__(
        self, *, colour: bool, terminal: "Terminal | None" = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        from rich import progress
        from rich.console import Console as Terminal

        columns = (
            progress.TextColumn("{task.description}", markup=False),
            progress.BarColumn(),
            progress.TaskProgressColumn(),
            progress.TextColumn("{task.fields[note]}", markup=False),
        )
        self._progress: Progress = progress.Progress(
            *columns,
            console=terminal or Terminal(stderr=True, no_color=not colour, highlight=False),
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._clock = clock
        self._started: float | None = None
        self._active: dict[Path, _Active] = {}
        self._plan: RunPlanned | None = None
        self._overall: TaskID | None = None
        self._tracks = 0
        self._passed_seconds = 0.0  # of tracks that are over, for the bar
        self._separated_seconds = 0.0  # of them, what was really computed, for the speed
        self._simple: TaskID | None = None

    def __call__(self, event: Event) -> None:
        """Move the bars as an event tells."""
        match event:
            case RunPlanned() if not event.dry_run and event.to_separate:
                self._planned(event)
            case TrackStarted():
                self._start(event)
            case TrackProgress() if event.path in self._active:
                track = self._active[event.path]
                track.done = event.done_seconds
                self._progress.update(track.bar, completed=event.done_seconds, note=self._note(track))
                self._move()
            case TrackFinished() | TrackScored() | TrackFailed() | TrackNotTried():
                self._end(event)

    def simple(self, name: str, *, total: float | None, done: float = 0.0) -> None:
        """Show one bar with time left, for work that has no tracks."""
        self._begin()
        self._simple = self._progress.add_task(_short(name), total=total, note="")
        self.move(done)

    def move(self, done: float) -> None:
        """Move that bar."""
        if self._simple is not None:
            task = next(task for task in self._progress.tasks if task.id == self._simple)
            left = task.time_remaining
            self._progress.update(self._simple, completed=done, note="" if left is None else f"{duration(left)} left")

    def print(self, line: str) -> None:
        """Write a line above the bars."""
        from rich.text import Text

        self._progress.console.print(Text.from_ansi(line), soft_wrap=True)

    def draw(self) -> None:
        """Draw the bars now; they draw themselves ten times a second, too."""
        self._progress.refresh()

    def close(self) -> None:
        """Take the bars away and give the terminal its cursor back."""
        self._progress.stop()

    def _begin(self) -> None:
        if not self._progress.live.is_started:
            self._progress.start()

    def _planned(self, event: RunPlanned) -> None:
        if event.to_separate > 1:  # one track shows all there is to see
            self._plan = event
            self._overall = self._progress.add_task("", total=event.duration_seconds or event.to_separate, note="")
            self._move()
        self._begin()

    def _start(self, event: TrackStarted) -> None:
        self._begin()
        now = self._clock()
        if self._started is None:
            self._started = now
        if event.path in self._active:  # tried again, in another worker
            self._progress.remove_task(self._active.pop(event.path).bar)
        bar = self._progress.add_task(_short(event.path.name), total=event.duration_seconds, note="")
        self._active[event.path] = _Active(bar, event.duration_seconds, now)
        self._move()

    def _end(self, event: TrackFinished | TrackScored | TrackFailed | TrackNotTried) -> None:
        track = self._active.pop(event.path, None)
        if track is not None:
            self._progress.remove_task(track.bar)
            whole = track.done if track.seconds is None else track.seconds
            self._passed_seconds += whole
            self._separated_seconds += track.done if isinstance(event, TrackFailed) else whole
        self._tracks += 1
        self._move()

    def _move(self) -> None:
        """Move the bar over the whole run."""
        if self._overall is None or self._plan is None:
            return
        on_the_way = sum(track.done for track in self._active.values())
        computed = self._separated_seconds + on_the_way
        passed = self._passed_seconds + on_the_way
        if not self._plan.duration_seconds:
            passed = self._tracks
        total = self._plan.duration_seconds or self._plan.to_separate
        note = _note(computed, passed, total, 0.0 if self._started is None else self._clock() - self._started)
        name = f"{self._tracks} of {self._plan.to_separate} tracks"
        self._progress.update(self._overall, description=name, completed=min(passed, total), note=note)

    def _note(self, track: _Active) -> str:
        """Say speed and time left of a track that is alone; with others the bar over all says it."""
        if self._plan is not None or track.seconds is None:
            return ""
        return _note(track.done, track.done, track.seconds, self._clock() - track.started)


def _note(computed: float, passed: float, total: float, elapsed: float) -> str:
    """Say how fast it goes and how long it takes yet; nothing as long as nothing is known."""
    if elapsed <= 0 or passed <= 0:
        return ""
    left = duration(round(elapsed * max(0.0, total - passed) / passed)).replace(".0 s", " s")
    speed = f"{computed / elapsed:.1f} times real time, " if computed > 0 else ""
    return f"{speed}{left} left"


def _short(name: str) -> str:
    shown = printable(name)
    return shown if len(shown) <= _LONGEST_NAME else shown[: _LONGEST_NAME - 1] + "…"
