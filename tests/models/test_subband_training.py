"""Sub-band networks in training: the objective of a recipe, what a few updates learn."""

from pathlib import Path

import numpy as np
import torch

from mss_cli.training.batches import Batch
from mss_cli.training.network import first_network, objective_of
from mss_cli.training.objective import SeparationObjective
from mss_cli.training.recipe_file import read_recipe
from mss_models.losses import Term
from mss_models.networks.front_end import FrontEnd
from mss_models.networks.subband_separator import SubbandSeparator, SubbandSettings
from mss_models.stft import StftSettings

RECIPE = Path(__file__).resolve().parents[2] / "configs" / "train" / "subband44.yaml"
FRONT = FrontEnd(8000, 1, StftSettings(256, 64), 128)
SMALL = SubbandSettings(("low", "high"), FRONT, "shares", 64, sub_bands=4, channels=(8, 8), context_size=4)


def batch(*, samples: int = 4000, silent: bool = False) -> Batch:
    """Four mixtures of a low and a high tone, or one of silence among them."""
    random = np.random.default_rng(0)
    time = np.arange(samples) / FRONT.sample_rate
    stems = np.empty((4, 2, 1, samples), np.float32)
    for item in range(4):
        for stem, (lowest, highest) in enumerate(((100, 400), (1000, 3500))):
            stems[item, stem, 0] = 0.3 * np.sin(2 * np.pi * random.uniform(lowest, highest) * time)
    if silent:
        stems[0] = 0
    return Batch(torch.from_numpy(stems), None, torch.zeros(4, dtype=torch.int64))


def test_the_recipe_makes_its_network_and_its_losses():
    recipe = read_recipe(RECIPE).recipe
    network = first_network(recipe)
    assert isinstance(network, SubbandSeparator)
    assert network.stems == tuple(recipe.data.stems)
    assert network.transform == StftSettings(4096, 2048)
    assert isinstance(objective_of(recipe, network), SeparationObjective)


def test_the_first_weights_depend_on_the_seed_alone():
    recipe = read_recipe(RECIPE).recipe
    one = first_network(recipe).state_dict()
    torch.rand(5)
    assert all(torch.equal(value, one[name]) for name, value in first_network(recipe).state_dict().items())
    other = first_network(read_recipe(RECIPE, ["training.seed=1"]).recipe).state_dict()
    assert not torch.equal(other["network.outlet.linear.weight"], one["network.outlet.linear.weight"])


def test_some_updates_in_half_precision_part_low_from_high_tones():
    torch.manual_seed(0)
    network = SubbandSeparator(SMALL).train()
    objective = SeparationObjective(network, SMALL.stems, [Term("log-energy")])
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    examples = batch(silent=True)
    for _ in range(40):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            terms = objective.terms(network, examples, 0.0)
        objective.total(terms).backward()
        assert all(torch.isfinite(weight.grad).all() for weight in network.parameters())
        optimizer.step()
    network.eval()
    with torch.no_grad():
        scores = objective.scores(network, batch())
    # Half of the mixture would score 6 dB.
    assert all(total / count > 12 for total, count in scores.values()), scores
