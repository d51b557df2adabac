"""A worker at work: tasks in, messages out; as a process, gone as soon as its parent is.

A worker has one seat or several. At each seat sits a thread that does one track after the other; all of them share the
model that was loaded once.
"""

import os
import signal
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import NoReturn

from mss_cli.batch.engines.base import Task
from mss_cli.batch.engines.worker import Brief, Worker, load_workers
from mss_cli.errors import MssError
from mss_cli.events import Event


@dataclass(frozen=True, slots=True)
class Loaded:
    """The model is there."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The model cannot be loaded; with a traceback if that is a bug of ours."""

    error: MssError | None
    traceback: str = ""


@dataclass(frozen=True, slots=True)
class Ended:
    """The task is over."""

    error: MssError | None


Message = Event | Loaded | Refused | Ended


@dataclass(frozen=True, slots=True)
class Seat:
    """Where one track is done at a time.

    Parameters
    ----------
    next_task : callable
        Waits for a task.
    send : callable
        Takes messages: `Loaded` or `Refused`, then events, and `Ended` after each task.
    """

    next_task: Callable[[], Task]
    send: Callable[[Message], None]


def serve(brief: Brief, connection: Connection, seats: int = 1) -> None:
    """Do the tasks that come in until the parent hangs up.

    Ctrl-C reaches every process of a terminal; what becomes of the workers is the parent's decision. Other signals
    end a worker on the spot: under final names lie whole files only, and temporary ones are removed by the parent or
    by the next run.

    Parameters
    ----------
    brief : Brief
    connection : Connection
        Gives tasks, takes messages; each with the number of its seat, from 0 on.
    seats : int, >= 1
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    unblock_interrupts()
    tasks: list[SimpleQueue[Task]] = [SimpleQueue() for _ in range(seats)]
    threading.Thread(target=_listen, args=(connection, tasks), name="tasks", daemon=True).start()
    sending = threading.Lock()

    def send(seat: int, message: Message) -> None:
        try:
            with sending:
                connection.send((seat, message))
        except OSError:
            os._exit(1)  # nobody is there to do this for

    work(brief, [Seat(queue.get, partial(send, number)) for number, queue in enumerate(tasks)])


def work(brief: Brief, seats: Sequence[Seat]) -> None:
    """Load the model and do tasks; return only if the model cannot be loaded.

    Parameters
    ----------
    brief : Brief
    seats : sequence of Seat
        At least one. What is to be said of loading is said to the first.
    """
    first = seats[0]
    try:
        workers = load_workers(brief, first.send, seats=len(seats))
    except MssError as error:
        first.send(Refused(error))
        return
    except Exception:
        first.send(Refused(None, traceback.format_exc()))
        return
    for worker, seat in zip(workers[1:], seats[1:], strict=True):
        threading.Thread(target=_sit_or_die, args=(worker, seat), name="seat", daemon=True).start()
    _sit(workers[0], first)


def _sit(worker: Worker, seat: Seat) -> NoReturn:
    seat.send(Loaded())
    while True:
        seat.send(Ended(worker.do(seat.next_task(), seat.send)))


def _sit_or_die(worker: Worker, seat: Seat) -> None:
    """Take the process along if a thread ends; the parent would wait for its track for ever."""
    try:
        _sit(worker, seat)
    finally:
        traceback.print_exc()
        os._exit(1)


def _listen(connection: Connection, tasks: "Sequence[SimpleQueue[Task]]") -> None:
    """Take tasks in; leave at once when the parent is gone, whatever the other threads are at."""
    while True:
        try:
            seat, task = connection.recv()
        except (EOFError, OSError):
            os._exit(1)
        tasks[seat].put(task)


def block_interrupts() -> None:
    """Keep SIGINT away from this thread and from processes it starts, where the system can."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def unblock_interrupts() -> None:
    """Let SIGINT come again."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
