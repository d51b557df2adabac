"""A worker at work: tasks in, messages out; as a process, gone as soon as its parent is."""

import os
import signal
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from queue import SimpleQueue

from mss_cli.batch.engines.base import Task
from mss_cli.batch.engines.worker import Brief, Worker
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


def serve(brief: Brief, connection: Connection) -> None:
    """Do the tasks that come in until the parent hangs up.

    Ctrl-C reaches every process of a terminal; what becomes of the workers is the parent's decision. Other signals
    end a worker on the spot: under final names lie whole files only, and temporary ones are removed by the parent or
    by the next run.

    Parameters
    ----------
    brief : Brief
    connection : Connection
        Gives tasks, takes messages.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    unblock_interrupts()
    tasks: SimpleQueue[Task] = SimpleQueue()
    threading.Thread(target=_listen, args=(connection, tasks), name="tasks", daemon=True).start()

    def send(message: Message) -> None:
        try:
            connection.send(message)
        except OSError:
            os._exit(1)  # nobody is there to do this for

    work(brief, tasks.get, send)


def work(brief: Brief, next_task: Callable[[], Task], send: Callable[[Message], None]) -> None:
    """Load the model and do one task after the other; return only if the model cannot be loaded.

    Parameters
    ----------
    brief : Brief
    next_task : callable
        Waits for a task.
    send : callable
        Takes messages: `Loaded` or `Refused`, then events, and `Ended` after each task.
    """
    try:
        worker = Worker(brief, send)
    except MssError as error:
        send(Refused(error))
        return
    except Exception:
        send(Refused(None, traceback.format_exc()))
        return
    send(Loaded())
    while True:
        send(Ended(worker.do(next_task(), send)))


def _listen(connection: Connection, tasks: "SimpleQueue[Task]") -> None:
    """Take tasks in; leave at once when the parent is gone, whatever the other threads are at."""
    while True:
        try:
            task: Task = connection.recv()
        except (EOFError, OSError):
            os._exit(1)
        tasks.put(task)


def block_interrupts() -> None:
    """Keep SIGINT away from this thread and from processes it starts, where the system can."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def unblock_interrupts() -> None:
    """Let SIGINT come again."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
