"""The data of a recipe in the form that its network takes."""

from pathlib import Path

from mss_cli.events import Listener, ignore
from mss_cli.training.augment import Augmenter
from mss_cli.training.batches import Batch
from mss_cli.training.mixing import RecipeExamples
from mss_cli.training.network import Trainable
from mss_cli.training.objective import transform_of
from mss_cli.training.recipe import Recipe
from mss_cli.training.validation_examples import recipe_examples, valid_batches
from mss_models.networks.per_stem import PerStemSeparator


def example_samples(recipe: Recipe, network: Trainable) -> int:
    """Length of an example: the longest with so many frames, or so many seconds; samples at the network's rate."""
    data = recipe.data
    if data.frames is not None:
        return transform_of(network).samples(data.frames)
    return round((data.seconds or 0.0) * network.sample_rate)


def augmenter(recipe: Recipe, network: Trainable) -> Augmenter:
    """Make the augmentation of a recipe."""
    samples = example_samples(recipe, network)
    return Augmenter(recipe.augmentation, sample_rate=network.sample_rate, samples=samples)


def training_examples(recipe: Recipe, network: Trainable, cache: Path) -> RecipeExamples:
    """Open the training sources; examples have the margin that augmentation needs.

    Raises
    ------
    MssError
        If a source is missing, or none gives one of the stems.
    """
    return recipe_examples(
        recipe,
        sample_rate=network.sample_rate,
        channels=network.channels,
        samples=augmenter(recipe, network).required_samples,
        cache=cache,
        transform=transform_of(network),
        targets=_targets(network),
    )


def validation_batches(recipe: Recipe, network: Trainable, cache: Path, listener: Listener = ignore) -> list[Batch]:
    """Make the batches of the validation, once: they are the same every time and small beside the network.

    Raises
    ------
    MssError
        If a source is missing, or no song of it can be read.
    """
    batches = valid_batches(
        recipe,
        sample_rate=network.sample_rate,
        channels=network.channels,
        samples=example_samples(recipe, network),
        cache=cache,
        batch=recipe.training.batch,
        transform=transform_of(network),
        targets=_targets(network),
        listener=listener,
    )
    return [] if batches is None else list(batches)


def _targets(network: Trainable) -> tuple[str, ...]:
    return network.network_stems if isinstance(network, PerStemSeparator) else network.stems
