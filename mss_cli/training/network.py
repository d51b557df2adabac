"""The network of a recipe with its first weights, and its losses."""

import torch

from mss_cli.training.objective import Objective, SeparationObjective
from mss_cli.training.pitch_objective import VocalPitchObjective
from mss_cli.training.recipe import LossTerm, Recipe
from mss_cli.training.recipe_parts import resolve_network
from mss_models.catalog import Network, build
from mss_models.classical.four_stems import ClassicalSeparator
from mss_models.configuration import ConfigurationError
from mss_models.losses import Term
from mss_models.networks.bag import Bag
from mss_models.networks.vocal_pitch_separator import VocalPitchSeparator


def first_network(recipe: Recipe) -> Network:
    """Build the network of a recipe with weights that depend on its seed alone.

    Raises
    ------
    ConfigurationError
        If the settings are not allowed, or the architecture has no weights.
    """
    chosen = resolve_network(recipe.network)
    state = torch.random.get_rng_state()
    torch.manual_seed(recipe.training.seed)
    try:
        separator = build(chosen.architecture, chosen.settings)
    finally:
        torch.random.set_rng_state(state)
    if isinstance(separator, ClassicalSeparator | Bag):
        raise ConfigurationError(f"architecture: `{chosen.architecture}` has nothing to train")
    return separator


def objective_of(recipe: Recipe, separator: Network) -> Objective:
    """Make the losses of a checked recipe for its network.

    Raises
    ------
    ValueError
        If a stem of the network is not among the recipe's, or a term does not go with the network.
    """
    stems = tuple(recipe.data.stems)
    if isinstance(separator, VocalPitchSeparator):
        return VocalPitchObjective(separator, stems, {term.term: term.weight for term in recipe.loss})
    return SeparationObjective(separator, stems, [_term(term) for term in recipe.loss])


def _term(term: LossTerm) -> Term:
    if term.term == "salience-l2":
        raise ValueError("`salience-l2` is for networks that estimate a salience")
    return Term(term.term, weight=term.weight, n_fft=term.n_fft, hop_length=term.hop_length, target=term.target)
