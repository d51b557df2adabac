"""What became of each track of a plan, as its events tell."""

from mss_cli.batch.plan import Job, Plan
from mss_cli.events import Event, Listener, TrackFailed, TrackFinished, TrackNotTried, TrackSkipped


class Ledger:
    """A listener that passes every event on and strikes out the tracks that are over.

    Parameters
    ----------
    plan : Plan
    listener : callable
        Where events go.

    Attributes
    ----------
    failed : list of (Job, TrackFailed)
        In the order in which they failed. Inputs that are no track of the plan are left out.
    """

    def __init__(self, plan: Plan, listener: Listener) -> None:
        self.failed: list[tuple[Job, TrackFailed]] = []
        self._plan = plan
        self._listener = listener
        self._open = {job.input: job for job in plan.jobs}

    def __call__(self, event: Event) -> None:
        """Take one event."""
        self._listener(event)
        if isinstance(event, TrackFinished | TrackSkipped):
            self._open.pop(event.path, None)
        elif isinstance(event, TrackFailed):
            job = self._open.pop(event.path, None)
            if job is not None:
                self.failed.append((job, event))

    def over(self) -> list[Job]:
        """Give the tracks that were done, skipped or failed, in the order of the plan."""
        return [job for job in self._plan.jobs if job.input not in self._open]

    def close(self) -> None:
        """Tell which tracks were not done, in the order of the plan."""
        for path in self._open:
            self._listener(TrackNotTried(path))
