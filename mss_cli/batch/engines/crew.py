"""Who does which track: workers that come, load, work and die, wherever they live.

A worker has one seat or several, with a track at each. Its seats come together and go together.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from mss_cli.batch.engines.base import Outcome, Task
from mss_cli.batch.engines.serving import Ended, Loaded, Message, Refused
from mss_cli.errors import MemoryExhausted, MssError, TrackTimeout
from mss_cli.events import Event, Listener, Warned

Seat = TypeVar("Seat")

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
        It went with its machine: its tracks are not to blame.
    """

    reason: str
    memory: bool = False
    machine: bool = False


News = Message | Died


class Site(Protocol[Seat]):
    """Where workers live: processes of this machine, or actors of a cluster. A seat here is a handle, hashable."""

    def start(self) -> Sequence[Seat]:
        """Start a worker and give its seats; `Loaded` comes for each in its time, or `Refused` for one."""
        ...

    def give(self, seat: Seat, task: Task) -> None:
        """Give a loaded seat a task; if its worker is dead, `hear` says so."""
        ...

    def hear(self, seats: Sequence[Seat], patience: float | None) -> Sequence[tuple[Seat, News]]:
        """Wait for news of seats, at most so many seconds; forever if None.

        A worker's death is told once, of any of its seats, and no other news of it with it.
        """
        ...

    def remove(self, seats: Mapping[Seat, Task | None]) -> None:
        """End workers at once, dead ones too, and take away what they had begun of their tasks.

        Parameters
        ----------
        seats : mapping of Seat to Task or None
            All seats of these workers, each with what is done there.
        """
        ...


@dataclass(slots=True, eq=False)
class _Member(Generic[Seat]):
    """What is known of a seat."""

    beside: Sequence[Seat]  # all seats of its worker, its own too
    loaded: bool = False
    task: Task | None = None
    limit: float | None = None  # of the clock


class Crew(Generic[Seat]):
    """The workers of one run and what they are at.

    Parameters
    ----------
    site : Site
        Where they live.
    jobs : int, >= 1
        Most workers at once.
    tasks : iterator of Task
        One is taken for each seat that is free or coming.
    listener : callable
        Takes the events of all tasks, and once each event of loading.
    timeout_seconds : float or None
        Longest a track may take; loading is not on its account.
    clock : callable
        Seconds, never going back.
    """

    def __init__(
        self,
        site: Site[Seat],
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
        self._members: dict[Seat, _Member[Seat]] = {}
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
            for seat, news in self._site.hear(list(self._members), self._patience()):
                yield from self._take(self._members[seat], news)
            yield from self._overdue()

    def dismiss(self) -> None:
        """End every worker at once; what they had begun is taken away."""
        self._remove(list(self._members))

    def _busy(self) -> "list[_Member[Seat]]":
        return [member for member in self._members.values() if member.task is not None]

    def _workers(self) -> int:
        return len({member.beside for member in self._members.values()})

    def _hand_out(self) -> None:
        """Give every free seat a task, starting workers as long as there is work for them.

        Tracks whose workers died come last, one by one, and alone: if memory ran out, each has all of it then; if the
        track itself kills workers, it takes nobody with it; and the others wait for it once, not at every death.
        """
        self._staff()
        if self._ready or self._busy() or not self._suspects:
            return
        if self._workers() > 1:
            self.dismiss()  # idle ones hold memory too
        self._alone = self._suspects.popleft()
        self._ready.append(self._alone)
        self._staff()

    def _staff(self) -> None:
        for seat, member in self._members.items():
            if member.loaded and member.task is None:
                if not self._reserve(1):
                    return
                self._give(seat, member, self._ready.popleft())
        room = 1 if self._alone is not None else max(1, self._most)
        while self._workers() < room:
            loading = sum(not member.loaded for member in self._members.values())
            if not self._reserve(loading + 1):
                return
            seats = tuple(self._site.start())
            self._members |= {seat: _Member(seats) for seat in seats}

    def _reserve(self, count: int) -> bool:
        """Have so many tasks ready; tell whether there are."""
        while len(self._ready) < count:
            task = next(self._tasks, None)
            if task is None:
                return False
            self._ready.append(task)
        return True

    def _give(self, seat: Seat, member: "_Member[Seat]", task: Task) -> None:
        member.task = task
        if self._timeout_seconds is not None:
            member.limit = self._clock() + self._timeout_seconds
        self._site.give(seat, task)

    def _patience(self) -> float | None:
        limits = [member.limit for member in self._busy() if member.limit is not None]
        return max(0.0, min(limits) - self._clock()) if limits else None

    def _take(self, member: "_Member[Seat]", news: News) -> Iterator[Outcome]:
        match news:
            case Died():
                yield from self._bury(self._remove(member.beside), news)
            case Loaded():
                member.loaded = True
                self._most, self._lost_loading = max(1, self._most), 0
            case Refused():
                raise _refusal(news)
            case Ended() if member.task is not None:
                task, member.task, member.limit = member.task, None, None
                yield self._over(task, news.error)
            case Event() if member.loaded or news not in self._said:
                if not member.loaded:
                    self._said.add(news)  # every worker says it; once is enough
                self._listener(news)

    def _over(self, task: Task, error: MssError | None) -> Outcome:
        if task is self._alone:
            self._alone = None
        return Outcome(task, error)

    def _bury(self, members: "Sequence[_Member[Seat]]", died: Died) -> Iterator[Outcome]:
        """Let the seats of a dead worker go; its tracks are tried again, or have failed if that was the second time."""
        if not any(member.loaded for member in members):
            self._lost_loading += died.machine
            if not died.machine or self._lost_loading >= MOST_MACHINES:
                self._fewer(died.reason)
        for task in [member.task for member in members if member.task is not None]:
            if died.machine:
                yield from self._lost(task)
            elif task is self._alone:
                yield self._over(task, _death(died))
            else:
                self._listener(Warned(f"its worker died ({died.reason}): it is tried once more, alone", task.job.input))
                self._suspects.append(task)

    def _lost(self, task: Task) -> Iterator[Outcome]:
        self._machines_lost[task] += 1
        if self._machines_lost[task] == MOST_MACHINES:
            hint = "see why the cluster loses machines, then use `--retry-failed`"
            yield self._over(task, MssError(f"{MOST_MACHINES} machines were lost while they were at it", hint=hint))
            return
        self._again(task, "its machine was lost")

    def _again(self, task: Task, reason: str) -> None:
        """Have a track that is not to blame begun again by the next one who is free."""
        self._listener(Warned(f"{reason}: it is begun again", task.job.input))
        self._ready.appendleft(task)

    def _fewer(self, reason: str) -> None:
        """Go on with one worker less, since one could not even load the model; the last one has a second try."""
        self._most -= 1
        if self._most < 0:
            hint = "free memory, or use a smaller model or another machine"
            raise MemoryExhausted(f"worker processes die while they load the model ({reason})", hint=hint)
        left = max(1, self._most)
        self._listener(Warned(f"a worker died while it loaded the model ({reason}): going on with {left}"))

    def _overdue(self) -> Iterator[Outcome]:
        """End workers with a track that takes too long; that one has failed, the others beside it have not."""
        now = self._clock()

        def late(member: "_Member[Seat]") -> bool:
            return member.task is not None and member.limit is not None and now >= member.limit

        for worker in dict.fromkeys(member.beside for member in self._members.values() if late(member)):
            for member in self._remove(worker):
                if member.task is None:
                    continue
                if late(member):
                    text = f"not done after {self._timeout_seconds:g} s"
                    error = TrackTimeout(text, hint="allow more with `--timeout-per-track`")
                    yield self._over(member.task, error)
                else:
                    self._again(member.task, "its worker was ended for a track that took too long")

    def _remove(self, seats: Sequence[Seat]) -> "list[_Member[Seat]]":
        """End the workers of some seats, all seats of each; give what was known of them."""
        members = {seat: self._members.pop(seat) for seat in seats}
        self._site.remove({seat: member.task for seat, member in members.items()})
        return list(members.values())


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
