"""The data of a recipe in the form that its network takes."""

from pathlib import Path

from mss_cli.events import Listener, ignore
from mss_cli.training.augment import Augmenter
from mss_cli.training.batches import Batch
from mss_cli.training.mixing import RecipeExamples
from mss_cli.training.recipe import Recipe
from mss_cli.training.validation_examples import recipe_examples, valid_batches
from mss_models.networks.network_separator import SeparatorModule


def example_samples(recipe: Recipe, network: SeparatorModule) -> int:
    """Length of an example: the longest with so many frames, or so many seconds; samples at the network's rate."""
    data = recipe.data
    if data.frames is not None:
        return network.transform.samples(data.frames)
    return round((data.seconds or 0.0) * network.sample_rate)


def augmenter(recipe: Recipe, network: SeparatorModule) -> Augmenter:
    """Make the augmentation of a recipe."""
    samples = example_samples(recipe, network)
    return Augmenter(recipe.augmentation, sample_rate=network.sample_rate, samples=samples)


def training_examples(recipe: Recipe, network: SeparatorModule, cache: Path) -> RecipeExamples:
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
        transform=network.transform,
        targets=network.network_stems,
    )


def validation_batches(
    recipe: Recipe, network: SeparatorModule, cache: Path, listener: Listener = ignore
) -> list[Batch]:
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
        transform=network.transform,
        targets=network.network_stems,
        listener=listener,
    )
    return [] if batches is None else list(batches)
