"""The time of a training: how long an update took and waited, when a state is due, when the time is up."""

import math
import time

_SECONDS_PER_MINUTE = 60.0


class Clock:
    """Looks at the time where something begins or ends, and answers from what it saw last.

    Parameters
    ----------
    checkpoint_minutes : float, > 0
        A state is due so long after the one before.
    max_minutes : float or None
        The time is up so long after the clock was made; None for never.
    """

    def __init__(self, *, checkpoint_minutes: float, max_minutes: float | None) -> None:
        self._interval = checkpoint_minutes * _SECONDS_PER_MINUTE
        self._now = time.monotonic()
        self._deadline = math.inf if max_minutes is None else self._now + max_minutes * _SECONDS_PER_MINUTE
        self._saved = self._batch_ended = self._update_began = self._now
        self._waited = 0.0

    @property
    def time_is_up(self) -> bool:
        """Whether the limit was passed at the last look."""
        return self._now >= self._deadline

    @property
    def state_is_due(self) -> bool:
        """Whether the last state was old at the last look."""
        return self._now - self._saved >= self._interval

    @property
    def update_seconds(self) -> float:
        """From the beginning of the update to the last look."""
        return self._now - self._update_began

    @property
    def waited_seconds(self) -> float:
        """The part of the update that passed between its batches."""
        return self._waited

    def look(self) -> None:
        """Look at the time, and no more."""
        self._now = time.monotonic()

    def begin_update(self) -> None:
        """Begin an update, its first batch being awaited from now on."""
        self.look()
        self._batch_ended = self._update_began = self._now
        self._waited = 0.0

    def begin_batch(self) -> None:
        """Begin with a batch that has come."""
        self.look()
        self._waited += self._now - self._batch_ended

    def end_batch(self) -> None:
        """End with a batch; the next one is awaited from now on."""
        self.look()
        self._batch_ended = self._now

    def state_written(self) -> None:
        """Take notice of a state; the next one is due an interval from now."""
        self.look()
        self._saved = self._now
