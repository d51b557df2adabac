"""Several workers, each a process: a dead one is replaced, and its track is tried once more, alone."""

import multiprocessing
import signal
import time
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from mss_cli.batch.cores import Division
from mss_cli.batch.engines.base import Outcome, Task
from mss_cli.batch.engines.serving import Ended, Loaded, Refused, block_interrupts, serve, unblock_interrupts
from mss_cli.batch.engines.worker import Brief
from mss_cli.batch.leftovers import remove_traces
from mss_cli.errors import MemoryExhausted, MssError, TrackTimeout
from mss_cli.events import Event, Listener, Warned

# A killed process may be held for a moment by a device or a network file system.
_SECONDS_TO_DIE = 1.0


class ProcessEngine:
    """Spreads tasks over spawned processes.

    Parameters
    ----------
    brief : Brief
        Of every worker, but for device and threads.
    division : Division
        One worker for each of its devices.
    timeout_seconds : float or None
        Longest a track may take; then its worker is killed and the track fails.
    """

    def __init__(self, brief: Brief, division: Division, *, timeout_seconds: float | None = None) -> None:
        self._brief = brief
        self._division = division
        self._timeout_seconds = timeout_seconds

    def run(self, tasks: Iterator[Task], listener: Listener) -> Generator[Outcome, None, None]:
        """Do tasks; see `Engine.run`."""
        crew = _Crew(self._brief, self._division, self._timeout_seconds, tasks, listener)
        try:
            yield from crew.outcomes()
        finally:
            crew.dismiss()


@dataclass(slots=True, eq=False)
class _Member:
    """A worker process as its parent sees it."""

    process: SpawnProcess
    connection: Connection
    device: str
    loaded: bool = False
    task: Task | None = None
    limit: float | None = None  # of the monotonic clock


class _Crew:
    """The workers of one run and what they are at."""

    def __init__(
        self,
        brief: Brief,
        division: Division,
        timeout_seconds: float | None,
        tasks: Iterator[Task],
        listener: Listener,
    ) -> None:
        self._brief = brief
        self._threads = division.threads
        self._timeout_seconds = timeout_seconds
        self._tasks = tasks
        self._listener = listener
        self._context = multiprocessing.get_context("spawn")
        self._members: list[_Member] = []
        self._devices = list(division.devices[::-1])  # those without a worker, the next one last
        self._most = division.jobs
        self._returned: deque[Task] = deque()  # by workers that died before they began
        self._suspects: deque[Task] = deque()  # whose workers died
        self._tried_alone: Task | None = None
        self._said: set[Event] = set()

    def outcomes(self) -> Iterator[Outcome]:
        """Do all tasks."""
        while True:
            self._hand_out()
            busy = [member for member in self._members if member.task is not None]
            if not busy:
                return
            limits = [member.limit for member in busy if member.limit is not None]
            patience = max(0.0, min(limits) - time.monotonic()) if limits else None
            ready = wait([member.connection for member in self._members], patience)
            for member in list(self._members):
                outcome = self._hear(member) if member.connection in ready else self._overdue(member)
                if outcome is not None:
                    yield outcome

    def dismiss(self) -> None:
        """End every worker at once; what they had begun is taken away."""
        for member in self._members:
            member.process.kill()
        for member in list(self._members):
            self._remove(member)

    def _hand_out(self) -> None:
        """Give every free worker a task, starting workers as long as there is work for them.

        A track whose worker died waits until the others are idle: if memory ran out, it has all of it then; if the
        track itself kills workers, it takes nobody with it.
        """
        busy = [member for member in self._members if member.task is not None]
        if self._suspects:
            if not busy:
                self.dismiss()  # idle ones hold memory too
                self._tried_alone = self._suspects.popleft()
                self._give(self._tried_alone)
            return
        if self._tried_alone is not None:
            return
        while len(busy) < max(1, self._most):
            task = self._returned.popleft() if self._returned else next(self._tasks, None)
            if task is None:
                return
            busy.append(self._give(task))

    def _give(self, task: Task) -> _Member:
        free = (member for member in self._members if member.task is None)
        member = next(free, None) or self._start()
        member.task = task
        self._wind(member)
        with suppress(OSError):  # it is dead: its end of the connection will say so
            member.connection.send(task)
        return member

    def _start(self) -> _Member:
        ours, theirs = self._context.Pipe()
        device = self._devices.pop()
        brief = self._brief.at(device, threads=self._threads)
        process = self._context.Process(target=serve, args=(brief, theirs), daemon=True)
        block_interrupts()  # a worker is born deaf to Ctrl-C
        try:
            process.start()
        finally:
            unblock_interrupts()
        theirs.close()  # so that the end of the worker ends the connection
        member = _Member(process, ours, device)
        self._members.append(member)
        return member

    def _wind(self, member: _Member) -> None:
        """Start the clock of a track; loading is not on its account."""
        if self._timeout_seconds is not None and member.loaded:
            member.limit = time.monotonic() + self._timeout_seconds

    def _hear(self, member: _Member) -> Outcome | None:
        try:
            message = member.connection.recv()
        except (EOFError, OSError):
            return self._bury(member)
        match message:
            case Loaded():
                member.loaded = True
                self._most = max(1, self._most)
                self._wind(member)
            case Refused():
                raise _refusal(message)
            case Ended() if member.task is not None:
                return self._end(member, member.task, message.error)
            case Event() if member.loaded or message not in self._said:
                if not member.loaded:
                    self._said.add(message)  # every worker says it; once is enough
                self._listener(message)
        return None

    def _end(self, member: _Member, task: Task, error: MssError | None) -> Outcome:
        member.task, member.limit = None, None
        if task is self._tried_alone:
            self._tried_alone = None
        return Outcome(task, error)

    def _bury(self, member: _Member) -> Outcome | None:
        """Let a dead worker go; its track is tried again, or has failed if this was the second time."""
        task = member.task
        self._remove(member)
        if task is None:
            return None
        reason = _reason(member.process.exitcode)
        if not member.loaded:
            self._fewer(reason)
            (self._returned if task is not self._tried_alone else self._suspects).appendleft(task)
            self._tried_alone = None
            return None
        if task is not self._tried_alone:
            self._listener(Warned(f"its worker died ({reason}): it is tried once more, alone", task.job.input))
            self._suspects.append(task)
            return None
        self._tried_alone = None
        return Outcome(task, _death(member.process.exitcode, reason))

    def _fewer(self, reason: str) -> None:
        """Go on with one worker less, since one could not even load the model; the last one has a second try."""
        self._most -= 1
        if self._most < 0:
            hint = "free memory, or use a smaller model or another machine"
            raise MemoryExhausted(f"worker processes die while they load the model ({reason})", hint=hint)
        left = max(1, self._most)
        self._listener(Warned(f"a worker died while it loaded the model ({reason}): going on with {left}"))

    def _overdue(self, member: _Member) -> Outcome | None:
        if member.limit is None or member.task is None or time.monotonic() < member.limit:
            return None
        task = member.task
        member.process.kill()
        self._remove(member)
        if task is self._tried_alone:
            self._tried_alone = None
        text = f"not done after {self._timeout_seconds:g} s"
        return Outcome(task, TrackTimeout(text, hint="allow more with `--timeout-per-track`"))

    def _remove(self, member: _Member) -> None:
        """Reap a worker and remove its temporary files."""
        member.process.join(_SECONDS_TO_DIE)
        member.connection.close()
        self._members.remove(member)
        self._devices.append(member.device)
        if member.task is not None and member.process.pid is not None:
            job = member.task.job
            remove_traces(member.process.pid, {path.parent for path in (*job.outputs, job.record)})


def _refusal(message: Refused) -> Exception:
    if message.error is not None:
        return message.error
    error = RuntimeError("a worker cannot load the model")
    error.add_note(message.traceback)
    return error


def _reason(exit_code: int | None) -> str:
    if exit_code is None or exit_code >= 0:
        return "no exit status" if exit_code is None else f"exit status {exit_code}"
    try:
        return signal.Signals(-exit_code).name
    except ValueError:
        return f"signal {-exit_code}"


def _death(exit_code: int | None, reason: str) -> MssError:
    text = f"its worker died twice ({reason}), the second time alone"
    if exit_code == -getattr(signal, "SIGKILL", 0):
        hint = "memory may have run out: use shorter segments with `--segment-seconds`"
        return MemoryExhausted(text, hint=hint)
    return MssError(text, hint="leave it out with `--exclude`, and report it: this is a bug")
