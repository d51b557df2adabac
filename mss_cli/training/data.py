"""The data of a recipe in the form that its network takes."""

from collections.abc import Callable, Iterator
from pathlib import Path

from torch import Tensor

from mss_cli.training.augment import Augmenter
from mss_cli.training.batches import Batch, collate
from mss_cli.training.examples import Key, Skipped
from mss_cli.training.mixing import RecipeExamples
from mss_cli.training.recipe import Recipe
from mss_cli.training.validation_examples import recipe_examples, valid_batches
from mss_models.networks.network_separator import SeparatorModule
from mss_models.networks.open_unmix.separator import OpenUnmixSeparator

# Examples whose mixtures a network measures before it learns: with 6 s each, half an hour.
_MEASURED = 256


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


def training_examples(recipe: Recipe, network: SeparatorModule, cache: Path, *, device: str = "cpu") -> RecipeExamples:
    """Open the training sources; examples have the margin that augmentation needs.

    Songs of note samples are played on the device, "cpu" or "cuda".

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
        device=device,
        transform=network.transform,
        targets=network.network_stems,
    )


def validation_batches(
    recipe: Recipe, network: SeparatorModule, cache: Path, skipped: Callable[[Skipped], None] | None = None
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
        skipped=skipped,
    )
    return [] if batches is None else list(batches)


def standardize(recipe: Recipe, network: SeparatorModule, cache: Path) -> None:
    """Let a network that standardises what it hears measure mixtures like those it will learn from.

    They are the first examples of the recipe, so every process of a training measures the same.

    Raises
    ------
    MssError
        If no song can be read.
    """
    if not isinstance(network, OpenUnmixSeparator):
        return
    examples, augment = training_examples(recipe, network, cache), augmenter(recipe, network)

    def mixtures() -> Iterator[Tensor]:
        for place in range(_MEASURED):
            yield augment(collate([examples[Key(0, place)]])).stems.sum(dim=1)  # (1, channel, sample)

    network.standardize(mixtures())
