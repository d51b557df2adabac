"""The loop, on Lightning's Trainer; the only module that imports Lightning.

Lightning brings devices, nodes, precision, accumulation and clipping. What makes a training exactly repeatable is
ours: the examples of an update and the state of dropout are functions of (seed, update) alone, so a checkpoint needs
weights, optimiser and counters only, and one written between two updates continues to the same bits on a CPU.
"""

import copy
import functools
import itertools
import logging
import math
import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor, nn

from mss_cli.errors import DivergedError, MemoryExhausted, UsageError
from mss_cli.files import output_error, temporary_name
from mss_cli.training.batches import Batch
from mss_cli.training.objective import Objective
from mss_cli.training.recipe import Optimizer, Training
from mss_models.separator import Precision

# So many updates in a row without a finite gradient mean that the training is lost.
MAX_LOST_UPDATES = 50
# Lightning's names of our precisions.
_PRECISIONS: Mapping[Precision, Literal["32-true", "bf16-mixed", "16-mixed"]] = {
    "fp32": "32-true",
    "bf16": "bf16-mixed",
    "fp16": "16-mixed",
}
_SECONDS_PER_MINUTE = 60.0


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


@dataclass(frozen=True, slots=True)
class Machine:
    """Where and how long to train.

    Attributes
    ----------
    accelerator : {"cpu", "cuda", "mps"}
    devices, nodes : int
    precision : {"fp32", "bf16", "fp16"}
    max_minutes : float or None
        Stop cleanly after so long.
    """

    accelerator: str
    devices: int
    precision: Precision
    nodes: int = 1
    max_minutes: float | None = None


@dataclass(frozen=True, slots=True)
class Fitted:
    """How a training ended: after how many updates in all, and whether its time was up before its last one."""

    step: int
    out_of_time: bool


def fit(
    network: nn.Module,
    objective: Objective,
    batches: Callable[[Callable[[], int], int, int], Iterable[Batch]],
    *,
    augment: Callable[[Batch], Batch],
    training: Training,
    optimizer: Optimizer,
    machine: Machine,
    hooks: Hooks,
    state: Path,
    resume: Path | None,
    tensorboard: Path,
) -> Fitted:
    """Train a network until its last update or until the time is up.

    Parameters
    ----------
    network : nn.Module
        With its first weights; trained in place.
    objective : Objective
        Its losses.
    batches : callable (start, rank, world) -> iterable of Batch
        ``start()`` tells how many batches were done when the iteration begins.
    augment : callable
        Changes a batch on its device.
    training, optimizer : sections of the recipe
    machine : Machine
    hooks : Hooks
        Told of every update and every written state.
    state : Path
        File for the state, replaced every `training.checkpoint_minutes` and at the end.
    resume : Path or None
        A state to continue from.
    tensorboard : Path
        Folder for TensorBoard's files.

    Raises
    ------
    DivergedError
        If the gradients stay without finite values.
    UsageError
        If the state does not fit the network.
    MemoryExhausted
        If the device has too little memory.
    OutputError
        If the state cannot be written.
    """
    module = _Module(network, objective, augment, training, optimizer)
    keeper = _Keeper(hooks, state, training, machine.max_minutes)
    with _quiet():
        trainer = Trainer(
            accelerator="gpu" if machine.accelerator == "cuda" else machine.accelerator,
            devices=machine.devices,
            num_nodes=machine.nodes,
            # Networks trained in phases leave a part of their weights without a gradient.
            strategy="ddp_find_unused_parameters_true" if machine.devices * machine.nodes > 1 else "auto",
            precision=_PRECISIONS[machine.precision],
            max_epochs=-1,
            max_steps=training.steps,
            accumulate_grad_batches=training.accumulate,
            gradient_clip_val=training.clip,
            callbacks=[keeper],
            logger=TensorBoardLogger(tensorboard.parent, name="", version=tensorboard.name),
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            log_every_n_steps=1,
        )
        start = lambda: trainer.global_step * training.accumulate  # noqa: E731 - bound to this trainer
        data = batches(start, trainer.global_rank, trainer.world_size)
        try:
            trainer.fit(module, data, ckpt_path=None if resume is None else str(resume), weights_only=True)
        except torch.OutOfMemoryError as error:
            hint = "lower `training.batch` and raise `training.accumulate`"
            raise MemoryExhausted("the device has too little memory for this training", hint=hint) from error
        except RuntimeError as error:
            if resume is not None and "state_dict" in str(error):
                hint = "resume with the recipe it was made with, or use `--resume never`"
                raise UsageError("the run to resume has another network", path=str(resume), hint=hint) from error
            raise
        if trainer.is_global_zero:
            hooks.finish(trainer.global_step, module.averaged)  # a state without updates left runs none of our hooks
    return Fitted(trainer.global_step, keeper.out_of_time)


class _Module(LightningModule):
    """Network, its average and its losses as Lightning wants them."""

    lost_updates: Tensor
    lost_in_a_row: Tensor

    def __init__(
        self,
        network: nn.Module,
        objective: Objective,
        augment: Callable[[Batch], Batch],
        training: Training,
        optimizer: Optimizer,
    ) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = None if training.ema is None else copy.deepcopy(network).requires_grad_(False).eval()
        self.register_buffer("lost_updates", torch.zeros((), dtype=torch.long))
        self.register_buffer("lost_in_a_row", torch.zeros((), dtype=torch.long))
        self.collected: list[dict[str, Tensor]] = []
        self._statistics: list[Tensor] = []
        self._objective, self._augment = objective, augment
        self._training, self._optimizer = training, optimizer

    @property
    def averaged(self) -> nn.Module:
        """The weights to validate and keep."""
        return self.network if self.average is None else self.average

    def training_step(self, batch: Batch, place: int) -> Tensor:
        """Give the loss of one batch; dropout's state is a function of (seed, update, place)."""
        accumulate = self._training.accumulate
        torch.manual_seed(_mixed(self._training.seed, self.global_step, place % accumulate, self.global_rank))
        if place % accumulate == 0:
            self._statistics = [statistic.clone() for statistic in self.network.buffers()]
        progress = self.global_step / self._training.steps
        terms = self._objective.terms(self.network, self._augment(batch), progress)
        loss = self._objective.total(terms)
        self.collected.append({name: value.detach() for name, value in {**terms, "total": loss}.items()})
        return loss

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Leave the weights as they are where the gradient is not finite: one bad batch must not cost the run."""
        gradients = [weight.grad for weight in self.network.parameters() if weight.grad is not None]
        norms = torch.stack(torch._foreach_norm(gradients)) if gradients else torch.zeros(1)
        if bool(norms.sum().isfinite()):
            self.lost_in_a_row.zero_()
            return
        self.lost_updates += 1
        self.lost_in_a_row += 1
        for weight in self.network.parameters():
            weight.grad = None
        for statistic, before in zip(self.network.buffers(), self._statistics, strict=True):
            statistic.copy_(before)  # batch norm has seen the bad batch
        if int(self.lost_in_a_row) >= MAX_LOST_UPDATES:
            hint = "lower `optimizer.learning_rate`, or set `training.clip`"
            raise DivergedError(f"{MAX_LOST_UPDATES} updates in a row had no finite gradient", hint=hint)

    def update_average(self) -> None:
        """Move the average: its decay rises from 0.1, so that it forgets the first weights soon."""
        if self.average is None or self._training.ema is None:
            return
        decay = min(self._training.ema, (1 + self.global_step) / (10 + self.global_step))
        pairs = [
            (mean, value)
            for mean, value in zip(self.average.state_dict().values(), self.network.state_dict().values(), strict=True)
        ]
        floats = [pair for pair in pairs if pair[0].is_floating_point()]
        with torch.no_grad():
            torch._foreach_lerp_([mean for mean, _ in floats], [value for _, value in floats], 1 - decay)
            for mean, value in pairs:
                if not mean.is_floating_point():
                    mean.copy_(value)

    def configure_optimizers(self) -> Any:
        """Adam or AdamW with the recipe's schedule, one step of it per update."""
        settings, steps = self._optimizer, self._training.steps
        kind = torch.optim.Adam if settings.name == "adam" else torch.optim.AdamW
        weights = [weight for weight in self.network.parameters() if weight.requires_grad]
        optimizer = kind(weights, lr=settings.learning_rate, betas=settings.betas, weight_decay=settings.weight_decay)
        factor = functools.partial(learning_rate_factor, settings, steps=steps)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Move a batch."""
        return batch.to(device)


class _Keeper(Callback):
    """Reports updates, writes the state between two of them, and watches the time."""

    def __init__(self, hooks: Hooks, state: Path, training: Training, max_minutes: float | None) -> None:
        self._hooks, self._path, self._accumulate = hooks, state, training.accumulate
        self._interval = training.checkpoint_minutes * _SECONDS_PER_MINUTE
        now = time.monotonic()
        self._deadline = math.inf if max_minutes is None else now + max_minutes * _SECONDS_PER_MINUTE
        self._saved_at = self._ended = self._step_began = now
        self._saved_step = self._reported = 0
        self._waited = 0.0
        self.out_of_time = False

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Begin to count."""
        self._saved_step = self._reported = trainer.global_step
        self._saved_at = self._ended = self._step_began = time.monotonic()

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: Batch, place: int) -> None:
        """Count the wait; write the state here, where the update before is wholly done for Lightning too.

        Within an update that accumulates there is a gradient that no state holds.
        """
        now = time.monotonic()
        self._waited += now - self._ended
        if place % self._accumulate or trainer.global_step <= self._saved_step:
            return
        if _agreed(trainer, now - self._saved_at >= self._interval):
            self._save(trainer, module)

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: object, batch: Batch, place: int
    ) -> None:
        """Report the update if this batch completed one."""
        self._ended = time.monotonic()
        if not isinstance(module, _Module) or trainer.global_step == self._reported:
            return
        self._reported = trainer.global_step
        module.update_average()
        terms = _means(module.collected)
        module.collected = []
        if trainer.is_global_zero:
            rate = float(trainer.optimizers[0].param_groups[0]["lr"])
            report = StepReport(
                step=trainer.global_step,
                terms=terms,
                learning_rate=rate,
                seconds=self._ended - self._step_began,
                waiting_seconds=self._waited,
                lost_updates=int(module.lost_updates),
            )
            if trainer.logger is not None:
                trainer.logger.log_metrics(
                    {f"train/{name}": value for name, value in terms.items()}, trainer.global_step
                )
            self._hooks.after_step(report, module.averaged)
        self._waited = 0.0
        self._ended = self._step_began = time.monotonic()
        if trainer.global_step < trainer.max_steps and _agreed(trainer, self._ended >= self._deadline):
            self.out_of_time = True
            trainer.should_stop = True

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Write the last state."""
        if trainer.is_global_zero and isinstance(module, _Module):
            self._hooks.finish(trainer.global_step, module.averaged)
        self._save(trainer, module)

    def state_dict(self) -> dict[str, Any]:
        """Give what must survive a kill, for Lightning's checkpoint."""
        return {"hooks": dict(self._hooks.state())}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take it back."""
        self._hooks.restore(state_dict["hooks"])

    def _save(self, trainer: Trainer, module: LightningModule) -> None:
        # First what goes with it: a kill in between then costs updates, and never leaves a last state without weights.
        if trainer.is_global_zero and isinstance(module, _Module):
            self._hooks.saved(trainer.global_step, module.averaged)
        temporary = temporary_name(self._path)
        try:
            trainer.save_checkpoint(temporary)
            if trainer.is_global_zero:
                with temporary.open("rb+") as file:
                    os.fsync(file.fileno())
                temporary.replace(self._path)
        except OSError as error:
            raise output_error(self._path, error) from error
        finally:
            temporary.unlink(missing_ok=True)
        self._saved_at, self._saved_step = time.monotonic(), trainer.global_step


def _agreed(trainer: Trainer, here: bool) -> bool:
    """Give the first process's answer to all: clocks differ, and one that goes another way leaves the rest waiting."""
    return here if trainer.world_size == 1 else bool(trainer.strategy.broadcast(here))


def learning_rate_factor(settings: Optimizer, step: int, *, steps: int) -> float:
    """Factor on the learning rate of an update: a linear rise, then constant or half a cosine down to zero."""
    if step < settings.warmup_steps:
        return (step + 1) / (settings.warmup_steps + 1)
    if settings.schedule == "constant":
        return 1.0
    share = (step - settings.warmup_steps) / max(1, steps - settings.warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, share)))


def _means(collected: list[dict[str, Tensor]]) -> dict[str, float]:
    names = dict.fromkeys(itertools.chain.from_iterable(collected))
    return {name: float(torch.stack([terms[name] for terms in collected]).mean()) for name in names}


def _mixed(*numbers: int) -> int:
    """Mix numbers into one seed of 63 bits (multiply and xor, as in splitmix64)."""
    mixed = 0
    for number in numbers:
        mixed = ((mixed ^ (number + 1)) * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        mixed ^= mixed >> 31
    return mixed >> 1


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's advice and banners off the terminal: what a user must know comes as our own events."""
    loggers = [logging.getLogger(name) for name in ("lightning", "lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        for module in (r"lightning\..*", r"torch\..*", r"tensorboard.*"):
            warnings.filterwarnings("ignore", module=module)
        warnings.filterwarnings("ignore", message=".*(dataloader|GPU available|LeafSpec|lr_scheduler).*")
        try:
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
