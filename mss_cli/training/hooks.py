"""What a training tells whoever watches it, and what it asks of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import nn


@dataclass(frozen=True, slots=True)
class StepReport:
    """What one update of the weights did.

    Attributes
    ----------
    step : int
        Updates done, this one included.
    terms : mapping of str to float
        Every term of the loss, unweighted, and `total`; means over the accumulated batches.
    learning_rate : float
    seconds, waiting_seconds : float
        Of this update; and the part of it spent waiting for data.
    lost_updates : int
        Updates so far whose gradient was not finite and which changed nothing.
    """

    step: int
    terms: Mapping[str, float]
    learning_rate: float
    seconds: float
    waiting_seconds: float
    lost_updates: int


class Hooks(Protocol):
    """Watches a training from outside the loop; called on the first process only."""

    def after_step(self, report: StepReport, averaged: nn.Module) -> None:
        """Take one update; `averaged` are the weights to validate and keep."""

    def saved(self, step: int, averaged: nn.Module) -> None:
        """Take notice that the state after `step` updates is about to be written."""

    def finish(self, step: int, averaged: nn.Module) -> None:
        """Complete what a user expects of an ended training; called again where it is complete already."""

    def state(self) -> dict[str, float]:
        """Give what must survive a kill."""

    def restore(self, state: Mapping[str, float]) -> None:
        """Take it back."""
