"""Who does which track: workers that come, load, work and die, wherever they live."""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from mss_cli.batch.engines.base import Outcome, Task
from mss_cli.batch.engines.serving import Ended, Loaded, Message, Refused
from mss_cli.errors import MemoryExhausted, MssError, TrackTimeout
from mss_cli.events import Event, Listener, Warned

Worker = TypeVar("Worker")

# Machines may be lost for no fault of the track or the model; after so many it is taken for one.
MOST_MACHINES = 5


@dataclass(frozen=True, slots=True)
class Died:
    """A worker is gone.

    Parameters
    ----------
    reason : str
        In a word: a signal, an exit status.
    memory : bool
        Memory may have run out.
    machine : bool
        It went with its machine: its track is not to blame.
    """

    reason: str
    memory: bool = False
    machine: bool = False


News = Message | Died


class Site(Protocol[Worker]):
    """Where workers live: processes of this machine, or actors of a cluster. A worker here is a handle, hashable."""

    def start(self) -> Worker:
        """Start a worker; its `Loaded` or `Refused` comes in its time."""
        ...

    def give(self, worker: Worker, task: Task) -> None:
        """Give a loaded worker a task; if it is dead, `hear` says so."""
        ...

    def hear(self, workers: Sequence[Worker], patience: float | None) -> Sequence[tuple[Worker, News]]:
        """Wait for news of workers, at most so many seconds; forever if None."""
        ...

    def remove(self, workers: Mapping[Worker, Task | None]) -> None:
        """End workers at once, dead ones too, and take away what they had begun of their tasks."""
        ...


@dataclass(slots=True, eq=False)
class _Member:
    """What is known of a worker."""

    loaded: bool = False
    task: Task | None = None
    limit: float | None = None  # of the clock


class Crew(Generic[Worker]):
    """The workers of one run and what they are at.

    Parameters
    ----------
    site : Site
        Where they live.
    jobs : int, >= 1
        Most workers at once.
    tasks : iterator of Task
        One is taken for each worker that is free or starting.
    listener : callable
        Takes the events of all tasks, and once each event of loading.
    timeout_seconds : float or None
        Longest a track may take; loading is not on its account.
    clock : callable
        Seconds, never going back.
    """

    def __init__(
        self,
        site: Site[Worker],
        jobs: int,
        tasks: Iterator[Task],
        listener: Listener,
        *,
        timeout_seconds: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._site = site
        self._most = jobs
        self._tasks = tasks
        self._listener = listener
        self._timeout_seconds = timeout_seconds
        self._clock = clock
        self._members: dict[Worker, _Member] = {}
        self._ready: deque[Task] = deque()  # taken and not given: workers for them are starting
        self._suspects: deque[Task] = deque()  # whose workers died
        self._alone: Task | None = None  # the suspect that is tried
        self._machines_lost: Counter[Task] = Counter()
        self._lost_loading = 0  # machines, since a worker loaded
        self._said: set[Event] = set()

    def outcomes(self) -> Iterator[Outcome]:
        """Do all tasks.

        Raises
        ------
        UsageError, WeightsError, DeviceError
            If a worker cannot load the model.
        MemoryExhausted
            If all of them die over it.
        """
        while True:
            self._hand_out()
            if not self._ready and not self._busy():
                return  # workers that still load have nothing to come for
            for worker, news in self._site.hear(list(self._members), self._patience()):
                outcome = self._take(worker, self._members[worker], news)
                if outcome is not None:
                    yield outcome
            yield from self._overdue()

    def dismiss(self) -> None:
        """End every worker at once; what they had begun is taken away."""
        self._remove(list(self._members))

    def _busy(self) -> list[_Member]:
        return [member for member in self._members.values() if member.task is not None]

    def _hand_out(self) -> None:
        """Give every free worker a task, starting workers as long as there is work for them.

        Tracks whose workers died come last, one by one, and alone: if memory ran out, each has all of it then; if the
        track itself kills workers, it takes nobody with it; and the others wait for it once, not at every death.
        """
        self._staff()
        if self._ready or self._busy() or not self._suspects:
            return
        if len(self._members) > 1:
            self.dismiss()  # idle ones hold memory too
        self._alone = self._suspects.popleft()
        self._ready.append(self._alone)
        self._staff()

    def _staff(self) -> None:
        for worker, member in self._members.items():
            if member.loaded and member.task is None:
                if not self._reserve(1):
                    return
                self._give(worker, member, self._ready.popleft())
        room = 1 if self._alone is not None else max(1, self._most)
        while len(self._members) < room:
            loading = sum(not member.loaded for member in self._members.values())
            if not self._reserve(loading + 1):
                return
            self._members[self._site.start()] = _Member()

    def _reserve(self, count: int) -> bool:
        """Have so many tasks ready; tell whether there are."""
        while len(self._ready) < count:
            task = next(self._tasks, None)
            if task is None:
                return False
            self._ready.append(task)
        return True

    def _give(self, worker: Worker, member: _Member, task: Task) -> None:
        member.task = task
        if self._timeout_seconds is not None:
            member.limit = self._clock() + self._timeout_seconds
        self._site.give(worker, task)

    def _patience(self) -> float | None:
        limits = [member.limit for member in self._busy() if member.limit is not None]
        return max(0.0, min(limits) - self._clock()) if limits else None

    def _take(self, worker: Worker, member: _Member, news: News) -> Outcome | None:
        match news:
            case Died():
                return self._bury(worker, member, news)
            case Loaded():
                member.loaded = True
                self._most, self._lost_loading = max(1, self._most), 0
            case Refused():
                raise _refusal(news)
            case Ended() if member.task is not None:
                task, member.task, member.limit = member.task, None, None
                return self._over(task, news.error)
            case Event() if member.loaded or news not in self._said:
                if not member.loaded:
                    self._said.add(news)  # every worker says it; once is enough
                self._listener(news)
        return None

    def _over(self, task: Task, error: MssError | None) -> Outcome:
        if task is self._alone:
            self._alone = None
        return Outcome(task, error)

    def _bury(self, worker: Worker, member: _Member, died: Died) -> Outcome | None:
        """Let a dead worker go; its track is tried again, or has failed if that was the second time."""
        task = member.task
        self._remove([worker])
        if not member.loaded:
            self._lost_loading += died.machine
            if not died.machine or self._lost_loading >= MOST_MACHINES:
                self._fewer(died.reason)
            return None
        if task is None:
            return None
        if died.machine:
            return self._lost(task)
        if task is not self._alone:
            self._listener(Warned(f"its worker died ({died.reason}): it is tried once more, alone", task.job.input))
            self._suspects.append(task)
            return None
        return self._over(task, _death(died))

    def _lost(self, task: Task) -> Outcome | None:
        self._machines_lost[task] += 1
        if self._machines_lost[task] == MOST_MACHINES:
            hint = "see why the cluster loses machines, then use `--retry-failed`"
            return self._over(task, MssError(f"{MOST_MACHINES} machines were lost while they were at it", hint=hint))
        self._listener(Warned("its machine was lost: it is begun again", task.job.input))
        self._ready.appendleft(task)
        return None

    def _fewer(self, reason: str) -> None:
        """Go on with one worker less, since one could not even load the model; the last one has a second try."""
        self._most -= 1
        if self._most < 0:
            hint = "free memory, or use a smaller model or another machine"
            raise MemoryExhausted(f"worker processes die while they load the model ({reason})", hint=hint)
        left = max(1, self._most)
        self._listener(Warned(f"a worker died while it loaded the model ({reason}): going on with {left}"))

    def _overdue(self) -> Iterator[Outcome]:
        now = self._clock()
        for worker, member in list(self._members.items()):
            if member.task is not None and member.limit is not None and now >= member.limit:
                self._remove([worker])
                text = f"not done after {self._timeout_seconds:g} s"
                yield self._over(member.task, TrackTimeout(text, hint="allow more with `--timeout-per-track`"))

    def _remove(self, workers: Sequence[Worker]) -> None:
        self._site.remove({worker: self._members.pop(worker).task for worker in workers})


def _refusal(message: Refused) -> Exception:
    if message.error is not None:
        return message.error
    error = RuntimeError("a worker cannot load the model")
    error.add_note(message.traceback)
    return error


def _death(died: Died) -> MssError:
    text = f"its worker died twice ({died.reason}), the second time alone"
    if died.memory:
        hint = "memory may have run out: use shorter segments with `--segment-seconds`"
        return MemoryExhausted(text, hint=hint)
    return MssError(text, hint="leave it out with `--exclude`, and report it: this is a bug")
