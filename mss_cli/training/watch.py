"""Watches a training: curves, validation, best and last weights, events."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import nn

from mss_cli.events import Listener, Measured, TrainingStep, Validated
from mss_cli.training.batches import Batch
from mss_cli.training.curves import Curves
from mss_cli.training.hooks import StepReport
from mss_cli.training.objective import Objective

Save = Callable[[Path, nn.Module, int, float, Mapping[str, float]], None]
_EVENT_SECONDS = 1.0


class Watch:
    """The hooks of `mss_cli.training.loop.fit`.

    Parameters
    ----------
    objective : Objective
        Scores the validation batches.
    validation : sequence of Batch
        Always the same; empty without validation.
    curves : callable (step) -> Curves
        Opens the curves, keeping what was written up to a step.
    save : callable (path, network, step, seconds, scores)
        Writes a checkpoint.
    best, last : Path
        Checkpoint of the highest mean validation score, and of the last state.
    steps, validate_steps : int
    audio_seconds : float
        In one update.
    listener : Listener
    """

    def __init__(
        self,
        objective: Objective,
        validation: Sequence[Batch],
        curves: Callable[[int], Curves],
        save: Save,
        *,
        best: Path,
        last: Path,
        steps: int,
        validate_steps: int,
        audio_seconds: float,
        listener: Listener,
    ) -> None:
        self._objective, self._validation = objective, validation
        self._open_curves, self._curves = curves, None
        self._save, self._best_path, self._last_path = save, best, last
        self._steps, self._validate_steps, self._audio_seconds = steps, validate_steps, audio_seconds
        self._listener = listener
        self.seconds = self._waited = 0.0
        self.lost_updates = 0
        self._best = -math.inf
        self._scores: dict[str, float] = {}
        self._told_at, self._told_step, self._told_seconds, self._told_waited = 0.0, 0, 0.0, 0.0

    _curves: Curves | None

    def after_step(self, report: StepReport, averaged: nn.Module) -> None:
        """See `mss_cli.training.hooks.Hooks`."""
        if self._curves is None:
            self._curves = self._open_curves(report.step - 1)
            self._told_step, self._told_seconds, self._told_waited = report.step - 1, self.seconds, self._waited
        self.lost_updates = report.lost_updates
        self.seconds += report.seconds
        self._waited += report.waiting_seconds
        values = {**report.terms, "learning_rate": report.learning_rate, "waiting_seconds": report.waiting_seconds}
        self._curves.add(report.step, self.seconds, "train", values)
        self._tell(report)
        if self._validation and (report.step % self._validate_steps == 0 or report.step == self._steps):
            self._validate(report.step, averaged)

    def saved(self, step: int, averaged: nn.Module) -> None:
        """Write the last weights before the state, and the best ones if nothing validates them."""
        self._save(self._last_path, averaged, step, self.seconds, self._scores)
        if not self._validation:
            self._save(self._best_path, averaged, step, self.seconds, self._scores)

    def state(self) -> dict[str, float]:
        """Give seconds, best score and the last scores."""
        kept = {"seconds": self.seconds, "waited": self._waited}
        if math.isfinite(self._best):
            kept["best"] = self._best
        return kept | {f"score:{name}": value for name, value in self._scores.items()}

    def restore(self, state: Mapping[str, float]) -> None:
        """Take it back."""
        self.seconds, self._waited = state["seconds"], state["waited"]
        self._best = state.get("best", -math.inf)
        self._scores = {key.removeprefix("score:"): value for key, value in state.items() if key.startswith("score:")}

    @property
    def waiting_share(self) -> float:
        """Share of the training time spent waiting for data."""
        return self._waited / self.seconds if self.seconds else 0.0

    def finish(self, step: int, averaged: nn.Module) -> None:
        """Make sure that there are weights, also where no update was a validation's, or none was left to be done."""
        if self._validation and not self._best_path.exists():
            self._validate(step, averaged)
        if not self._last_path.exists() or not self._best_path.exists():
            self.saved(step, averaged)
        if not self._best_path.exists():  # no example of the validation has a score
            self._save(self._best_path, averaged, step, self.seconds, self._scores)

    def _validate(self, step: int, averaged: nn.Module) -> None:
        scores = validate(self._objective, averaged, self._validation)
        if not scores:
            return
        mean = sum(scores.values()) / len(scores)
        is_best = mean > self._best or not self._best_path.exists()
        self._scores = scores
        if self._curves is not None:
            self._curves.add(step, self.seconds, "valid", {**scores, "mean": mean})
        if is_best:
            if math.isfinite(mean):  # with a score that is no number, none after it would be better
                self._best = mean
            self._save(self._best_path, averaged, step, self.seconds, scores)
        self._listener(Validated(step, measured({**scores, "mean": mean}), is_best))

    def _tell(self, report: StepReport) -> None:
        now = time.monotonic()
        if now - self._told_at < _EVENT_SECONDS and report.step < self._steps:
            return
        spent = self.seconds - self._told_seconds
        done = report.step - self._told_step
        rate = done / spent if spent > 0 else 0.0
        self._listener(
            TrainingStep(
                step=report.step,
                steps=self._steps,
                losses=measured(report.terms),
                audio_seconds_per_second=round(rate * self._audio_seconds, 2),
                waiting_share=round((self._waited - self._told_waited) / spent, 4) if spent > 0 else 0.0,
                seconds_left=round((self._steps - report.step) / rate, 1) if rate > 0 else None,
            )
        )
        self._told_at, self._told_step = now, report.step
        self._told_seconds, self._told_waited = self.seconds, self._waited


def validate(objective: Objective, network: nn.Module, batches: Sequence[Batch]) -> dict[str, float]:
    """Score a network on batches, in evaluation mode; means over all examples with a score.

    Parameters
    ----------
    objective : Objective
    network : nn.Module
        Its mode is given back as it was.
    batches : sequence of Batch
        Moved to the network's device one at a time.

    Returns
    -------
    dict of str to float
        Names without any score are left out.
    """
    device = next(network.parameters()).device
    was_training = network.training
    network.eval()
    sums: dict[str, tuple[float, float]] = {}
    try:
        with torch.no_grad():
            for batch in batches:
                for name, (total, count) in objective.scores(network, batch.to(device)).items():
                    before = sums.get(name, (0.0, 0.0))
                    sums[name] = (before[0] + total, before[1] + count)
    finally:
        network.train(was_training)
    return {name: total / count for name, (total, count) in sums.items() if count}


def measured(values: Mapping[str, float]) -> tuple[Measured, ...]:
    """Turn numbers into parts of an event."""
    return tuple(Measured(name, value if math.isfinite(value) else None) for name, value in values.items())
