"""A worker as a Ray actor: asked again and again what is new, it answers when there is something."""

import os
import threading
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from mss_cli.batch.engines.base import Task
from mss_cli.batch.engines.serving import Message, Seat, work
from mss_cli.batch.engines.worker import Brief


@dataclass(frozen=True, slots=True)
class Place:
    """Where an actor lives.

    Parameters
    ----------
    node : str
        Ray's name of the machine.
    pid : int
        Its process there.
    """

    node: str
    pid: int


class WorkerActor:
    """Works in a thread of its own, so that the actor can answer meanwhile.

    Parameters
    ----------
    brief : Brief
    folder : str
        Where the run was started: relative paths mean the same here, on machines that have it.
    """

    def __init__(self, brief: Brief, folder: str) -> None:
        with suppress(OSError):
            os.chdir(folder)
        self._tasks: SimpleQueue[Task] = SimpleQueue()
        self._messages: SimpleQueue[Message] = SimpleQueue()
        seat = Seat(self._tasks.get, self._messages.put)
        threading.Thread(target=work, args=(brief, [seat]), name="work", daemon=True).start()

    def place(self) -> Place:
        """Tell where this is."""
        import ray

        return Place(str(ray.get_runtime_context().get_node_id()), os.getpid())

    def hear(self, task: Task | None = None) -> list[Message]:
        """Take a task, if there is one, and give what is new, as soon as anything is."""
        if task is not None:
            self._tasks.put(task)
        messages = [self._messages.get()]
        with suppress(Empty):
            while True:
                messages.append(self._messages.get_nowait())
        return messages
