"""The data of a recipe: examples to train on and to validate with, for a network of some form."""

from collections.abc import Sequence
from pathlib import Path

from mss_cli.pitch.teachers import find_teacher
from mss_cli.training.augment import Augmenter
from mss_cli.training.batches import Batch, collate
from mss_cli.training.examples import Key
from mss_cli.training.mixing import RecipeExamples
from mss_cli.training.network import Trainable
from mss_cli.training.objective import transform_of
from mss_cli.training.recipe import AnySource, Mixing, Recipe
from mss_cli.training.song_cache import Form, SongCache
from mss_cli.training.song_salience import Pitch
from mss_cli.training.songs import Role, open_songs, uses_validation
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
    """Open the training sources.

    Raises
    ------
    MssError
        If a source is missing, or none gives one of the stems.
    """
    samples = augmenter(recipe, network).required_samples
    return _examples(recipe, network, cache, recipe.data.train, "train", samples, recipe.mixing)


def validation_batches(recipe: Recipe, network: Trainable, cache: Path) -> list[Batch]:
    """Make the batches of the validation: coherent cuts of each song in turn, without augmentation, always the same.

    Raises
    ------
    MssError
        If a source is missing, or no song of it can be read.
    """
    if not recipe.data.valid:
        return []
    samples = example_samples(recipe, network)
    examples = _examples(recipe, network, cache, recipe.data.valid, "valid", samples, Mixing(silence=0.0))
    made = [examples[Key(0, place)] for place in range(recipe.data.valid_examples)]
    size = recipe.training.batch
    return [collate(made[start : start + size]) for start in range(0, len(made), size)]


def _examples(
    recipe: Recipe,
    network: Trainable,
    cache: Path,
    sources: Sequence[AnySource],
    role: Role,
    samples: int,
    mixing: Mixing,
) -> RecipeExamples:
    hold_out = uses_validation(recipe.data.valid)
    form = Form(network.sample_rate, network.channels)
    return RecipeExamples(
        [open_songs(source, recipe.training.seed, role=role, hold_out=hold_out) for source in sources],
        recipe.data.stems,
        SongCache(cache, form, recipe.data.stems),
        mixing,
        seed=recipe.training.seed,
        samples=samples,
        targets=network.network_stems if isinstance(network, PerStemSeparator) else network.stems,
        pitch=_pitch(recipe, network),
        in_turn=role == "valid",
    )


def _pitch(recipe: Recipe, network: Trainable) -> Pitch | None:
    teacher = recipe.teacher
    if teacher is None:
        return None
    transform, rate = transform_of(network), network.sample_rate
    if teacher.kind == "labels":
        return Pitch(transform, rate, network.stems[0])
    return Pitch(transform, rate, network.stems[0], find_teacher(teacher.weights))
