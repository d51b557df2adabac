"""The loop, on Lightning's Trainer; the only module that imports Lightning.

Lightning brings devices, nodes, precision, accumulation and clipping. What makes a training exactly repeatable is
ours: the examples of an update and the state of dropout are functions of (seed, update) alone, so a checkpoint needs
weights, optimiser and counters only, and one written between two updates continues to the same bits on a CPU.
"""

import copy
import logging
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor, nn

from mss_cli.errors import DivergedError, MemoryExhausted, UsageError
from mss_cli.files import output_error, temporary_name
from mss_cli.training.batches import Batch
from mss_cli.training.clock import Clock
from mss_cli.training.hooks import Hooks, StepReport
from mss_cli.training.objective import Objective
from mss_cli.training.recipe import Optimizer, Training
from mss_cli.training.update import (
    has_finite_gradient,
    make_optimizer,
    mean_terms,
    mixed_seed,
    move_average,
    statistics_of,
    undo,
)
from mss_models.separator import Precision

# So many updates in a row without a finite gradient mean that the training is lost.
MAX_LOST_UPDATES = 50
# Lightning's names of our precisions.
_PRECISIONS: Mapping[Precision, Literal["32-true", "bf16-mixed", "16-mixed"]] = {
    "fp32": "32-true",
    "bf16": "bf16-mixed",
    "fp16": "16-mixed",
}


@dataclass(frozen=True, slots=True)
class Machine:
    """Where to train.

    Attributes
    ----------
    accelerator : {"cpu", "cuda", "mps"}
    devices, nodes : int
    precision : {"fp32", "bf16", "fp16"}
    """

    accelerator: str
    devices: int
    precision: Precision
    nodes: int = 1


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
    clock: Clock,
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
    clock : Clock
        Tells when a state is due and when the time is up; at least one update is done.
    hooks : Hooks
        Told of every update and every written state.
    state : Path
        File for the state, replaced whenever one is due and at the end.
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
    keeper = _Keeper(hooks, state, clock, accumulate=training.accumulate)
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
        torch.manual_seed(mixed_seed(self._training.seed, self.global_step, place % accumulate, self.global_rank))
        if place % accumulate == 0:
            self._statistics = statistics_of(self.network)
        progress = self.global_step / self._training.steps
        terms = self._objective.terms(self.network, self._augment(batch), progress)
        loss = self._objective.total(terms)
        self.collected.append({name: value.detach() for name, value in {**terms, "total": loss}.items()})
        return loss

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Leave the weights as they are where the gradient is not finite: one bad batch must not cost the run."""
        if has_finite_gradient(self.network):
            self.lost_in_a_row.zero_()
            return
        self.lost_updates += 1
        self.lost_in_a_row += 1
        undo(self.network, self._statistics)
        if int(self.lost_in_a_row) >= MAX_LOST_UPDATES:
            hint = "lower `optimizer.learning_rate`, or set `training.clip`"
            raise DivergedError(f"{MAX_LOST_UPDATES} updates in a row had no finite gradient", hint=hint)

    def update_average(self) -> None:
        """Move the average, if there is one."""
        if self.average is not None and self._training.ema is not None:
            move_average(self.average, self.network, ema=self._training.ema, step=self.global_step)

    def configure_optimizers(self) -> Any:
        """Give optimiser and schedule."""
        optimizer, schedule = make_optimizer(self.network, self._optimizer, steps=self._training.steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Move a batch."""
        return batch.to(device)


class _Keeper(Callback):
    """Reports updates, writes the state between two of them, and watches the time."""

    def __init__(self, hooks: Hooks, state: Path, clock: Clock, *, accumulate: int) -> None:
        self._hooks, self._path, self._clock, self._accumulate = hooks, state, clock, accumulate
        self._saved_step = self._reported = 0
        self.out_of_time = False

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Begin to count."""
        self._saved_step = self._reported = trainer.global_step
        self._clock.state_written()
        self._clock.begin_update()

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: Batch, place: int) -> None:
        """Count the wait; write the state here, where the update before is wholly done for Lightning too.

        Within an update that accumulates there is a gradient that no state holds.
        """
        self._clock.begin_batch()
        if place % self._accumulate or trainer.global_step <= self._saved_step:
            return
        if _agreed(trainer, self._clock.state_is_due):
            self._save(trainer, module)

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: object, batch: Batch, place: int
    ) -> None:
        """Report the update if this batch completed one."""
        self._clock.end_batch()
        if not isinstance(module, _Module) or trainer.global_step == self._reported:
            return
        self._reported = trainer.global_step
        module.update_average()
        terms = mean_terms(module.collected)
        module.collected = []
        if trainer.is_global_zero:
            rate = float(trainer.optimizers[0].param_groups[0]["lr"])
            report = StepReport(
                step=trainer.global_step,
                terms=terms,
                learning_rate=rate,
                seconds=self._clock.update_seconds,
                waiting_seconds=self._clock.waited_seconds,
                lost_updates=int(module.lost_updates),
            )
            if trainer.logger is not None:
                trainer.logger.log_metrics(
                    {f"train/{name}": value for name, value in terms.items()}, trainer.global_step
                )
            self._hooks.after_step(report, module.averaged)
        self._clock.begin_update()
        if trainer.global_step < trainer.max_steps and _agreed(trainer, self._clock.time_is_up):
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
        self._clock.state_written()
        self._saved_step = trainer.global_step


def _agreed(trainer: Trainer, here: bool) -> bool:
    """Give the first process's answer to all: clocks differ, and one that goes another way leaves the rest waiting."""
    return here if trainer.world_size == 1 else bool(trainer.strategy.broadcast(here))


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
