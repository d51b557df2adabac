"""One worker, in this process: nothing to start, and nothing to lose when there is one track."""

from collections.abc import Generator, Iterator

from mss_cli.batch.engines.base import Outcome, Task
from mss_cli.batch.engines.worker import Brief, load_workers
from mss_cli.events import Listener


class InlineEngine:
    """Does one task after the other in the caller's thread.

    Parameters
    ----------
    brief : Brief
    """

    def __init__(self, brief: Brief) -> None:
        self._brief = brief

    def run(self, tasks: Iterator[Task], listener: Listener) -> Generator[Outcome, None, None]:
        """Do tasks; see `Engine.run`."""
        (worker,) = load_workers(self._brief, listener)
        for task in tasks:
            yield Outcome(task, worker.do(task, listener))
