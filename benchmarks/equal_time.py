"""Trains several recipes in equal time: for as many updates as so many minutes of one core pay.

What an update costs is measured first, one recipe after the other, in CPU seconds of one thread; so other work on the
machine changes how long the trainings take, and not what they are. Two run at a time; one that is complete is not
repeated, one that was killed goes on.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

from mss_cli.devices import prepare_process
from mss_cli.training.batches import fill
from mss_cli.training.data import example_samples, training_examples
from mss_cli.training.network import first_network
from mss_cli.training.recipe_file import read_recipe
from mss_cli.weights.store import read_card
from train_throughput import measure

RECIPES = Path(__file__).resolve().parents[1] / "configs" / "train"
MEASURED_UPDATES, ROUNDS = 6, 2


@dataclass(frozen=True, slots=True)
class Arm:
    """One recipe of a comparison.

    Attributes
    ----------
    name : str
        Of its runs: ``WORK/NAME-SEED``.
    recipe : str
        In configs/train, without the suffix.
    changes : callable (seed, updates) -> list of str
        As for ``--set``.
    """

    name: str
    recipe: str
    changes: Callable[[int, int], list[str]]

    @property
    def path(self) -> Path:
        return RECIPES / f"{self.recipe}.yaml"


def run_of(work: Path, name: str, seed: int) -> Path:
    return work / f"{name}-{seed}"


def train_all(arms: Sequence[Arm], work: Path, *, minutes: float, seeds: Sequence[int], jobs: int) -> None:
    """Train every arm with every seed."""
    work.mkdir(parents=True, exist_ok=True)
    budget = updates_in(arms, work, minutes)
    for seed in seeds:
        prepare_songs(arms[0], seed, jobs)
        with ThreadPoolExecutor(jobs) as pool:
            list(pool.map(lambda arm, seed=seed: train_one(arm, seed, work, updates=budget[arm.name]), arms))


def prepare_songs(arm: Arm, seed: int, jobs: int) -> None:
    """Play the songs that all arms of a seed share, once, where the cache has them not."""
    recipe = read_recipe(arm.path, arm.changes(seed, 1)).recipe
    if recipe.data.cache is not None:
        examples = training_examples(recipe, first_network(recipe), recipe.data.cache)
        for done, songs in fill(examples, workers=jobs):
            if done % 50 == 0 or done == songs:
                print(f"seed {seed}: {done} of {songs} songs", flush=True)


def updates_in(arms: Sequence[Arm], work: Path, minutes: float) -> dict[str, int]:
    """Updates of each arm that cost so many minutes of one core; measured where ``WORK/updates.json`` has none."""
    path = work / "updates.json"
    budget: dict[str, int] = json.loads(path.read_text()) if path.exists() else {}
    for arm in arms:
        if arm.name not in budget:
            prepare_process(1)
            budget[arm.name] = round(minutes * 60 / seconds_per_update(arm, work))
            print(f"{arm.name}: {budget[arm.name]} updates", flush=True)
            path.write_text(json.dumps(budget, indent=1) + "\n")
    return budget


def seconds_per_update(arm: Arm, work: Path) -> float:
    """CPU seconds of one update, the best of some rounds."""
    recipe = read_recipe(arm.path, arm.changes(0, MEASURED_UPDATES)).recipe
    network = first_network(recipe)
    audio = recipe.training.batch * example_samples(recipe, network) / network.sample_rate
    cache = recipe.data.cache or work / "cache"
    cpu = torch.device("cpu")
    rows = [measure(recipe, cache, updates=MEASURED_UPDATES, workers=0, device=cpu) for _ in range(ROUNDS)]
    return audio / max(row.per_cpu_second for row in rows)


def train_one(arm: Arm, seed: int, work: Path, *, updates: int) -> None:
    run = run_of(work, arm.name, seed)
    weights = run / "last.safetensors"
    if weights.exists() and read_card(weights).steps == updates:
        return
    command = [sys.executable, "-m", "mss_cli", "train", str(arm.path), "-o", str(run)]
    command += ["--device", "cpu", "--threads", "1", "--json"]
    for change in arm.changes(seed, updates):
        command += ["--set", change]
    with (work / f"{run.name}.log").open("w") as log:
        subprocess.run(command, check=True, stdout=log, stderr=subprocess.STDOUT)
