"""Several workers, each a process of this machine."""

import multiprocessing
import signal
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from mss_cli.batch.cores import Division
from mss_cli.batch.engines.base import Outcome, Task
from mss_cli.batch.engines.crew import Crew, Died, News
from mss_cli.batch.engines.serving import block_interrupts, serve, unblock_interrupts
from mss_cli.batch.engines.worker import Brief
from mss_cli.batch.leftovers import remove_traces
from mss_cli.events import Listener

# A killed process may be held for a moment by a device or a network file system.
_SECONDS_TO_DIE = 1.0


class ProcessEngine:
    """Spreads tasks over spawned processes.

    Parameters
    ----------
    brief : Brief
        Of every worker, but for device and threads.
    division : Division
        One worker for each of its devices, each with so many seats.
    timeout_seconds : float or None
        Longest a track may take; then its worker is killed and the track fails. Others of that worker begin again.
    """

    def __init__(self, brief: Brief, division: Division, *, timeout_seconds: float | None = None) -> None:
        self._brief = brief
        self._division = division
        self._timeout_seconds = timeout_seconds

    def run(self, tasks: Iterator[Task], listener: Listener) -> Generator[Outcome, None, None]:
        """Do tasks; see `Engine.run`."""
        site = _ThisMachine(self._brief, self._division)
        crew = Crew(site, self._division.workers, tasks, listener, timeout_seconds=self._timeout_seconds)
        try:
            yield from crew.outcomes()
        finally:
            crew.dismiss()


@dataclass(slots=True, eq=False)
class _Child:
    """A worker process as its parent sees it."""

    process: SpawnProcess
    connection: Connection
    device: str


@dataclass(frozen=True, slots=True)
class _Seat:
    """A seat of a worker process, by its number there."""

    child: _Child
    number: int


class _ThisMachine:
    """A `Site` of spawned processes, one for each device."""

    def __init__(self, brief: Brief, division: Division) -> None:
        self._brief = brief
        self._threads = division.threads
        self._seats = division.seats
        self._context = multiprocessing.get_context("spawn")
        self._devices = list(division.devices[::-1])  # those without a worker, the next one last

    def start(self) -> tuple[_Seat, ...]:
        """Start a process."""
        ours, theirs = self._context.Pipe()
        device = self._devices.pop()
        brief = self._brief.at(device, threads=self._threads)
        process = self._context.Process(target=serve, args=(brief, theirs, self._seats), daemon=True)
        block_interrupts()  # a worker is born deaf to Ctrl-C
        try:
            process.start()
        finally:
            unblock_interrupts()
        theirs.close()  # so that the end of the worker ends the connection
        child = _Child(process, ours, device)
        return tuple(_Seat(child, number) for number in range(self._seats))

    def give(self, seat: _Seat, task: Task) -> None:
        """Send a task."""
        with suppress(OSError):  # it is dead: its end of the connection will say so
            seat.child.connection.send((seat.number, task))

    def hear(self, seats: Sequence[_Seat], patience: float | None) -> list[tuple[_Seat, News]]:
        """Give the next message of each process that has one."""
        children = {seat.child.connection: seat.child for seat in seats}
        ready = wait(list(children), patience)
        return [self._news(child) for connection, child in children.items() if connection in ready]

    def remove(self, seats: Mapping[_Seat, Task | None]) -> None:
        """Kill and reap processes, and remove their temporary files."""
        children = dict.fromkeys(seat.child for seat in seats)
        for child in children:
            child.process.kill()
        for child in children:
            child.process.join(_SECONDS_TO_DIE)
            child.connection.close()
            self._devices.append(child.device)
        for seat, task in seats.items():
            if task is not None and seat.child.process.pid is not None:
                folders = {path.parent for path in (*task.job.outputs, task.job.record)}
                remove_traces(seat.child.process.pid, folders)

    def _news(self, child: _Child) -> tuple[_Seat, News]:
        try:
            number, message = child.connection.recv()
        except (EOFError, OSError):
            child.process.join(_SECONDS_TO_DIE)
            code = child.process.exitcode
            return _Seat(child, 0), Died(_reason(code), memory=code == -getattr(signal, "SIGKILL", 0))
        return _Seat(child, number), message


def _reason(exit_code: int | None) -> str:
    if exit_code is None or exit_code >= 0:
        return "no exit status" if exit_code is None else f"exit status {exit_code}"
    try:
        return signal.Signals(-exit_code).name
    except ValueError:
        return f"signal {-exit_code}"
