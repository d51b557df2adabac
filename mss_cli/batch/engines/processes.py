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
        site = _ThisMachine(self._brief, self._division)
        crew = Crew(site, self._division.jobs, tasks, listener, timeout_seconds=self._timeout_seconds)
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


class _ThisMachine:
    """A `Site` of spawned processes, one for each device."""

    def __init__(self, brief: Brief, division: Division) -> None:
        self._brief = brief
        self._threads = division.threads
        self._context = multiprocessing.get_context("spawn")
        self._devices = list(division.devices[::-1])  # those without a worker, the next one last

    def start(self) -> _Child:
        """Start a process."""
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
        return _Child(process, ours, device)

    def give(self, worker: _Child, task: Task) -> None:
        """Send a task."""
        with suppress(OSError):  # it is dead: its end of the connection will say so
            worker.connection.send(task)

    def hear(self, workers: Sequence[_Child], patience: float | None) -> list[tuple[_Child, News]]:
        """Give the next message of each process that has one."""
        ready = wait([worker.connection for worker in workers], patience)
        return [(worker, self._news(worker)) for worker in workers if worker.connection in ready]

    def remove(self, workers: Mapping[_Child, Task | None]) -> None:
        """Kill and reap processes, and remove their temporary files."""
        for worker in workers:
            worker.process.kill()
        for worker, task in workers.items():
            worker.process.join(_SECONDS_TO_DIE)
            worker.connection.close()
            self._devices.append(worker.device)
            if task is not None and worker.process.pid is not None:
                remove_traces(worker.process.pid, {path.parent for path in (*task.job.outputs, task.job.record)})

    def _news(self, worker: _Child) -> News:
        try:
            message: News = worker.connection.recv()
        except (EOFError, OSError):
            worker.process.join(_SECONDS_TO_DIE)
            code = worker.process.exitcode
            return Died(_reason(code), memory=code == -getattr(signal, "SIGKILL", 0))
        return message


def _reason(exit_code: int | None) -> str:
    if exit_code is None or exit_code >= 0:
        return "no exit status" if exit_code is None else f"exit status {exit_code}"
    try:
        return signal.Signals(-exit_code).name
    except ValueError:
        return f"signal {-exit_code}"
