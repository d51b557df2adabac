"""What a run hands to an engine, and what comes back."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mss_cli.batch.plan import Job
from mss_cli.errors import MssError
from mss_cli.events import Listener


@dataclass(frozen=True, slots=True)
class Task:
    """A job to do now.

    Parameters
    ----------
    job : Job
        Of the plan; the folders of its outputs are there.
    path : Path
        The file to read: the job's own input, or the copy of stdin.
    """

    job: Job
    path: Path


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a task ended.

    Parameters
    ----------
    task : Task
    error : MssError or None
        None if all its files and its record are in place.
    """

    task: Task
    error: MssError | None


class Engine(Protocol):
    """Runs workers."""

    def run(self, tasks: Iterator[Task], listener: Listener) -> Generator[Outcome, None, None]:
        """Do tasks and give each one's outcome as it ends, in any order.

        Closing the generator ends all work at once; temporary files of tasks that were not finished are removed.

        Parameters
        ----------
        tasks : iterator of Task
            The next one is taken only when a worker is free for it; its exceptions pass.
        listener : callable
            Called in the caller's thread with the events of all tasks, and once with each thing said while loading.

        Raises
        ------
        UsageError, WeightsError, DeviceError, MemoryExhausted
            If the model cannot be loaded.
        """
        ...
