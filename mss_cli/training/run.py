"""A training from its recipe to its weights: what `mss-cli train` calls."""

import gc
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from mss_cli.devices import has_fast_bf16, resolve_device
from mss_cli.errors import Interruption, OutputError, UsageError
from mss_cli.events import Listener, SongsPrepared, TrainingFinished, TrainingStarted, ignore
from mss_cli.training import run_folder
from mss_cli.training.batches import Batch, SkippedSongs, fill, loader
from mss_cli.training.cache_leftovers import remove_leftovers
from mss_cli.training.clock import Clock
from mss_cli.training.curves import Curves
from mss_cli.training.data import augmenter, example_samples, standardize, training_examples, validation_batches
from mss_cli.training.loop import Fitted, Machine, fit
from mss_cli.training.mixing import RecipeExamples, check_sources
from mss_cli.training.network import first_network, objective_of
from mss_cli.training.objective import Objective
from mss_cli.training.recipe import AnySource, Recipe
from mss_cli.training.recipe_file import LoadedRecipe, print_config
from mss_cli.training.run_folder import RunFolder
from mss_cli.training.songs import Role, open_songs, uses_validation
from mss_cli.training.watch import Watch
from mss_cli.weights.store import Card, save_checkpoint
from mss_models.catalog import Network, configuration_of
from mss_models.separator import Precision

_SECONDS_PER_MINUTE = 60.0
_EVENT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Request:
    """What a user asked for.

    Attributes
    ----------
    loaded : LoadedRecipe
    output : Path or None
        Folder of the run; ``runs/NAME`` if None.
    resume : str
        "auto", "never" or the path of a state.
    device : str
        "auto", "cpu", "cuda" or "mps".
    devices, nodes : int
    precision : {"auto", "fp32", "bf16", "fp16"}
    max_minutes : float or None
        Of the whole call, the preparation of songs included; at least one update is done.
    """

    loaded: LoadedRecipe
    output: Path | None = None
    resume: str = "auto"
    device: str = "auto"
    devices: int = 1
    nodes: int = 1
    precision: str = "auto"
    max_minutes: float | None = None


def train(request: Request, listener: Listener) -> RunFolder:
    """Train, or go on training, until the last step or until the time is up.

    Parameters
    ----------
    request : Request
    listener : Listener
        Told of the beginning, steps, validations, broken songs and the end.

    Returns
    -------
    RunFolder
        With `best.safetensors` and `last.safetensors`.

    Raises
    ------
    MssError
        If the data are missing, the device is not there, the folder cannot be written, the run is another one's, or
        the training diverged.
    """
    recipe = request.loaded.recipe
    clock = Clock(checkpoint_minutes=recipe.training.checkpoint_minutes, max_minutes=request.max_minutes)
    if not run_folder.is_first_process():
        listener = ignore
    machine = resolve_machine(request, listener)
    network = first_network(recipe)
    objective = objective_of(recipe, network)
    _sources(recipe)
    folder = request.output if request.output is not None else Path("runs") / recipe.name
    text = print_config(request.loaded)
    state = run_folder.find_state(folder, text, resume=request.resume)
    step = 0 if state is None else state_step(state)
    with run_folder.held(folder), _without_leftovers():
        run = run_folder.begin(folder, text, seed=recipe.training.seed, anew=request.resume == "never")
        parts = _Parts(recipe, run, network, objective, listener, SkippedSongs(listener))
        parts.prepare_songs(step, machine)
        if state is None:
            standardize(recipe, network, parts.cache)
        watch = parts.watch(machine)
        listener(parts.started(machine, step))
        with _one_voice():
            fitted = fit(
                network,
                parts.objective,
                parts.batches(machine),
                augment=augmenter(recipe, network),
                training=recipe.training,
                optimizer=recipe.optimizer,
                machine=machine,
                clock=clock,
                hooks=watch,
                state=run.state,
                resume=state,
                tensorboard=run.tensorboard,
            )
        listener(_finished(run, recipe, watch, fitted, parts.skipped.count))
    return run


@contextmanager
def _one_voice() -> Iterator[None]:
    """Let the processes that Lightning starts with our own command line, one per further device, give no events."""
    command = sys.argv
    sys.argv = [word for word in command if word != "--json"]
    try:
        yield
    finally:
        sys.argv = command


@contextmanager
def _without_leftovers() -> Iterator[None]:
    """End the loaders' processes where a signal ends this one: it dies by the signal, without Python's own tidying.

    The frames of the error keep everything alive that was under way.
    """
    try:
        yield
    except Interruption as interruption:
        traceback.clear_frames(interruption.__traceback__)
        gc.collect()
        raise


def plan(request: Request, listener: Listener) -> list[str]:
    """Open recipe, network and data, train nothing, write nothing, and say what would be trained.

    Raises
    ------
    MssError
        As `train`.
    """
    recipe = request.loaded.recipe
    machine = resolve_machine(request, listener)
    network = first_network(recipe)
    objective_of(recipe, network)
    training = recipe.training
    weights = sum(weight.numel() for weight in network.parameters())
    seconds = example_samples(recipe, network) / network.sample_rate
    examples = training.batch * training.accumulate * machine.devices * machine.nodes
    lines = [
        f"{recipe.name}: {recipe.source}",
        f"network: {', '.join(network.stems)} at {network.sample_rate} Hz, {weights / 1e6:.2f} million weights",
        f"machine: {machine.devices * machine.nodes} {machine.accelerator}, {machine.precision}",
        f"training: {training.steps} updates of {examples} examples of {seconds:.2f} s",
    ]
    for role, source, songs in _sources(recipe):
        lines.append(f"{role}: {source.kind} {source.root}, {songs} songs, licence {source.licence}")
    return lines


def _sources(recipe: Recipe) -> list[tuple[Role, AnySource, int]]:
    """Open every source and count its songs; raise what is wrong with them."""
    data, seed = recipe.data, recipe.training.seed
    hold_out = uses_validation(data.valid)
    roles: tuple[tuple[Role, Sequence[AnySource]], ...] = (("train", data.train), ("valid", data.valid))
    found: list[tuple[Role, AnySource, int]] = []
    for role, sources in roles:
        opened = [open_songs(source, seed, role=role, hold_out=hold_out) for source in sources]
        if opened:
            check_sources(opened, data.stems)
        found += [(role, source, len(songs)) for source, songs in zip(sources, opened, strict=True)]
    return found


@dataclass(frozen=True, slots=True)
class _Parts:
    """The parts of a training that the machine does not decide."""

    recipe: Recipe
    run: RunFolder
    network: Network
    objective: Objective
    listener: Listener
    skipped: SkippedSongs

    @property
    def cache(self) -> Path:
        return self.recipe.data.cache or self.run.cache

    def started(self, machine: Machine, step: int) -> TrainingStarted:
        return TrainingStarted(
            path=self.run.path,
            recipe=self.recipe.name,
            step=step,
            steps=self.recipe.training.steps,
            parameters=sum(weight.numel() for weight in self.network.parameters()),
            device=machine.accelerator,
            devices=machine.devices * machine.nodes,
            precision=machine.precision,
        )

    def prepare_songs(self, step: int, machine: Machine) -> None:
        """Fill the cache before the first update, telling how far it is; what killed runs left there goes."""
        if run_folder.is_first_process():
            remove_leftovers(self.cache, shared=self.recipe.data.cache is not None)
        examples = self._examples(machine)
        told = time.monotonic()
        for done, songs in fill(examples, step=step, workers=self.recipe.data.workers, skipped=self.skipped):
            if time.monotonic() - told >= _EVENT_SECONDS:
                self.listener(SongsPrepared(done, songs))
                told = time.monotonic()

    def batches(self, machine: Machine) -> Callable[[Callable[[], int], int, int], Iterable[Batch]]:
        training = self.recipe.training
        examples = self._examples(machine)

        def load(start: Callable[[], int], rank: int, world: int) -> Iterable[Batch]:
            return loader(
                examples,
                batch=training.batch,
                start=start,
                accumulate=training.accumulate,
                workers=self.recipe.data.workers,
                rank=rank,
                world=world,
                pin=machine.accelerator == "cuda",
                skipped=self.skipped,
            )

        return load

    def _examples(self, machine: Machine) -> RecipeExamples:
        device = "cuda" if machine.accelerator == "cuda" else "cpu"
        return training_examples(self.recipe, self.network, self.cache, device=device)

    def watch(self, machine: Machine) -> Watch:
        recipe, training = self.recipe, self.recipe.training
        per_step = training.batch * training.accumulate * machine.devices * machine.nodes
        return Watch(
            self.objective,
            validation_batches(recipe, self.network, self.cache, self.skipped),
            lambda step: Curves(self.run.curves, step=step),
            partial(save_weights, recipe=recipe, separator=self.network),
            best=self.run.best,
            last=self.run.last,
            steps=training.steps,
            validate_steps=training.validate_steps,
            audio_seconds=per_step * example_samples(recipe, self.network) / self.network.sample_rate,
            listener=self.listener,
        )


def state_step(state: Path) -> int:
    """Tell after how many updates a state was written.

    Raises
    ------
    UsageError
        If it is not the state of a training.
    """
    try:
        content = torch.load(state, map_location="cpu", weights_only=True, mmap=True)
        if not content.keys() >= {"state_dict", "optimizer_states", "loops", "pytorch-lightning_version"}:
            raise KeyError("state_dict")
        return int(content["global_step"])
    except Exception as error:
        hint = "give a `state.ckpt` that `mss-cli train` wrote, or use `--resume never`"
        raise UsageError("is not the state of a training, or is damaged", path=str(state), hint=hint) from error


def save_weights(
    path: Path,
    network: nn.Module,
    step: int,
    seconds: float,
    scores: Mapping[str, float],
    *,
    recipe: Recipe,
    separator: Network,
) -> None:
    """Write weights with their card, whole or not at all.

    Raises
    ------
    OutputError
        If they cannot be written.
    """
    chosen = configuration_of(separator)
    minutes = seconds / _SECONDS_PER_MINUTE
    data = tuple(f"{source.kind} {source.root.resolve().name} ({source.licence})" for source in recipe.data.train)
    card = Card(
        name=recipe.name,
        architecture=chosen.architecture,
        configuration=chosen.settings,
        stems=separator.stems,
        sample_rate=separator.sample_rate,
        training=f"recipe {recipe.name} ({recipe.source}): {step} steps, {minutes:.1f} minutes",
        licence=recipe.licence,
        steps=step,
        minutes=round(minutes, 2),
        data=data,
        scores={name: round(value, 4) for name, value in scores.items()},
    )
    state: dict[str, Tensor] = {key: value.detach().cpu() for key, value in network.state_dict().items()}
    try:
        save_checkpoint(path, state, card)
    except SafetensorError as error:  # what writes the file gives no OSError
        hint = "check the space and the folder; run the command again to go on"
        raise OutputError(f"cannot write: {error}", path=str(path), hint=hint) from error


def resolve_machine(request: Request, listener: Listener) -> Machine:
    """Turn what a user asked for into a machine that is there.

    Raises
    ------
    UsageError, DeviceError
        If there is no such device or precision, or the device is not there.
    """
    device = resolve_device(request.device, listener)
    return Machine(
        accelerator=device.type,
        devices=request.devices,
        nodes=request.nodes,
        precision=resolve_training_precision(request.precision, device),
    )


def resolve_training_precision(choice: str, device: torch.device) -> Precision:
    """Choose the precision of the network: bf16 where the device computes it fast, weights always fp32.

    Raises
    ------
    UsageError
        If there is no such precision, or the device does not train in it.
    """
    match choice:
        case "auto":
            return "bf16" if has_fast_bf16(device) else "fp32"
        case "fp16" if device.type != "cuda":
            raise UsageError("fp16 is for CUDA devices", hint="use `--precision auto`, `bf16` or `fp32`")
        case "fp32" | "bf16" | "fp16":
            return choice
    raise UsageError(f"no precision is called `{choice}`", hint="use `auto`, `bf16`, `fp16` or `fp32`")


def _finished(run: RunFolder, recipe: Recipe, watch: Watch, fitted: Fitted, skipped: int) -> TrainingFinished:
    return TrainingFinished(
        path=run.path,
        step=fitted.step,
        steps=recipe.training.steps,
        out_of_time=fitted.out_of_time,
        minutes=round(watch.seconds / _SECONDS_PER_MINUTE, 2),
        lost_updates=watch.lost_updates,
        skipped_songs=skipped,
    )
