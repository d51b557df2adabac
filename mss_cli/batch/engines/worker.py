"""What a worker does: it loads the model once and then does one task after the other."""

import traceback
from dataclasses import dataclass, replace
from pathlib import Path

from mss_cli.batch.engines.base import Task
from mss_cli.batch.plan import Job
from mss_cli.batch.stores.mirror import Mirror
from mss_cli.batch.track_job import Making, separate_job
from mss_cli.errors import MssError
from mss_cli.events import InternalError, Listener
from mss_cli.separation.request import Checked, Loaded, load


@dataclass(frozen=True, slots=True)
class Brief:
    """All that a worker must know; it can be pickled and sent to another process or host.

    Parameters
    ----------
    checked : Checked
        The request.
    making : Making
        What the records of its tracks say.
    mirror : Mirror or None
        What of its tasks lies on stores.
    """

    checked: Checked
    making: Making
    mirror: Mirror | None = None

    def at(self, device: str, *, threads: int) -> "Brief":
        """Give the brief of a worker that computes on one device with so many threads."""
        request = replace(self.checked.request, device=device, threads=threads)
        return replace(self, checked=replace(self.checked, request=request))


def load_workers(brief: Brief, listener: Listener, *, seats: int = 1) -> "tuple[Worker, ...]":
    """Load the model, once for all seats.

    Parameters
    ----------
    brief : Brief
    listener : callable
        Takes the events of loading.
    seats : int, >= 1
        Tracks at once, each in a thread of its own; several only where `mss_cli.batch.engines.seats` allows it.

    Returns
    -------
    tuple of Worker
        One for each seat.

    Raises
    ------
    UsageError, WeightsError, DeviceError
        If the model cannot be loaded.
    """
    loaded = load(brief.checked.request, listener)
    return tuple(Worker(brief, replace(loaded, engine=engine)) for engine in loaded.engine.shared(seats))


class Worker:
    """A loaded model that does tasks, one at a time. It never prints and never raises for a track's sake.

    Parameters
    ----------
    brief : Brief
    loaded : Loaded
        The model.
    """

    def __init__(self, brief: Brief, loaded: Loaded) -> None:
        self._brief = brief
        self._loaded = loaded

    def do(self, task: Task, listener: Listener) -> MssError | None:
        """Do one task; give what went wrong, if anything did.

        Parameters
        ----------
        task : Task
        listener : callable
            Takes its events.
        """
        try:
            self._separate(task, listener)
        except MssError as error:
            return error
        except Exception as error:
            listener(InternalError(task.job.input, traceback.format_exc()))
            hint = "this is a bug; run again with `--debug` and report what is shown"
            return MssError(f"internal error: {type(error).__name__}: {error}", hint=hint)
        return None

    def _separate(self, task: Task, listener: Listener) -> None:
        brief = self._brief

        def separate(job: Job, path: Path, listener: Listener) -> None:
            separate_job(job, path, self._loaded, brief.checked, brief.making, listener)

        if brief.mirror is None:
            separate(task.job, task.path, listener)
        else:
            from mss_cli.batch.stores.staging import separate_staged

            separate_staged(task, brief.mirror, brief.checked.request.scratch, separate, listener)
