"""Seconds of audio per second that each recipe trains on, and the share of the time it waits for data.

``python benchmarks/train_throughput.py`` trains every recipe of configs/train for a few updates on generated songs that
have all the stems it asks for, in batches of 2, one thread, and prints a Markdown table. Where there is a GPU it is
used. Songs are decoded before, and the first updates are left out.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import nn

from mss_cli.devices import prepare_process, resolve_device
from mss_cli.events import ignore
from mss_cli.training.batches import Batch, fill, loader
from mss_cli.training.clock import Clock
from mss_cli.training.data import augmenter, example_samples, training_examples
from mss_cli.training.hooks import StepReport
from mss_cli.training.loop import Machine, fit
from mss_cli.training.network import first_network, objective_of
from mss_cli.training.recipe import Recipe
from mss_cli.training.recipe_file import read_recipe
from mss_cli.training.run import resolve_training_precision

RECIPES = Path(__file__).resolve().parents[1] / "configs" / "train"
BATCH, WARM_UP = 2, 2
SONGS, SECONDS, RATE = 4, 20, 44_100


@dataclass
class Reports:
    """Hooks that keep the reports."""

    reports: list[StepReport] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def after_step(self, report: StepReport, averaged: nn.Module) -> None:
        self.reports.append(report)
        self.cpu.append(time.process_time())

    def saved(self, step: int, averaged: nn.Module) -> None: ...

    def finish(self, step: int, averaged: nn.Module) -> None: ...

    def state(self) -> dict[str, float]:
        return {}

    def restore(self, state: Mapping[str, float]) -> None: ...


@dataclass(frozen=True, slots=True)
class Throughput:
    """Of one recipe."""

    recipe: str
    weights: int
    per_second: float
    per_cpu_second: float
    waiting: float


def measure(recipe: Recipe, cache: Path, *, updates: int, workers: int, device: torch.device) -> Throughput:
    """Train for some updates and report on those after the first two."""
    network = first_network(recipe)
    examples = training_examples(recipe, network, cache)
    for _ in fill(examples):
        pass
    batch = recipe.training.batch
    hooks = Reports()

    def batches(start: Callable[[], int], rank: int, world: int) -> Iterable[Batch]:
        return loader(examples, batch=batch, start=start, workers=workers, pin=device.type == "cuda")

    precision = resolve_training_precision("auto", device)
    with tempfile.TemporaryDirectory() as folder:
        fit(
            network,
            objective_of(recipe, network),
            batches,
            augment=augmenter(recipe, network),
            training=recipe.training.model_copy(update={"steps": updates + WARM_UP}),
            optimizer=recipe.optimizer,
            machine=Machine(accelerator=device.type, devices=1, precision=precision),
            clock=Clock(checkpoint_minutes=recipe.training.checkpoint_minutes, max_minutes=None),
            hooks=hooks,
            state=Path(folder) / "state.ckpt",
            resume=None,
            tensorboard=Path(folder) / "tensorboard",
        )
    counted = hooks.reports[WARM_UP:]
    spent = sum(report.seconds for report in counted)
    audio = len(counted) * batch * example_samples(recipe, network) / network.sample_rate
    return Throughput(
        recipe.name,
        sum(weight.numel() for weight in network.parameters()),
        audio / spent,
        audio / (hooks.cpu[-1] - hooks.cpu[WARM_UP - 1]),
        sum(report.waiting_seconds for report in counted) / spent,
    )


def write_songs(root: Path) -> None:
    """Songs of noise with every stem that a recipe may name, as folders and as pairs."""
    random = np.random.default_rng(0)
    for number in range(SONGS):
        folder = root / f"song {number}"
        folder.mkdir(parents=True)
        stems = random.uniform(-0.1, 0.1, (5, SECONDS * RATE, 2)).astype(np.float32)
        for name, stem in zip(("vocals", "drums", "guitar", "bass", "other"), stems, strict=True):
            soundfile.write(folder / f"{name}.wav", stem, RATE)
        soundfile.write(folder / "mixture.wav", stems.sum(axis=0), RATE)
        soundfile.write(folder / "instrumental.wav", stems[1:].sum(axis=0), RATE)


def changes(path: Path, root: Path, batch: int) -> list[str]:
    kind = "pairs" if "kind: pairs" in path.read_text() or path.name.startswith("unet2017") else "folders"
    made = [f"data.train=[{{kind: {kind}, root: {root}}}]", "data.valid=[]", f"training.batch={batch}"]
    if path.name.startswith("thesis5") and "source-only" not in path.name:
        made += ["teacher.kind=pyin", "teacher.weights=null"]
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--updates", type=int, default=6)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--only", nargs="*", default=[])
    arguments = parser.parse_args()
    prepare_process(1)
    device = resolve_device("auto", ignore)
    print("| recipe | million weights | s of audio per s | s of audio per CPU s | waiting for data |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        write_songs(Path(folder) / "songs")
        for path in sorted(RECIPES.glob("*.yaml")):
            if arguments.only and path.stem not in arguments.only:
                continue
            recipe = read_recipe(path, changes(path, Path(folder) / "songs", arguments.batch)).recipe
            workers = arguments.workers
            row = measure(recipe, Path(folder) / "cache", updates=arguments.updates, workers=workers, device=device)
            print(
                f"| {row.recipe} | {row.weights / 1e6:.2f} | {row.per_second:.1f} | {row.per_cpu_second:.1f} "
                f"| {row.waiting:.1%} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
