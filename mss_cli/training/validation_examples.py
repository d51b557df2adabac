"""What a recipe's sources give: the examples to train on, and the few to validate with, which are always the same."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mss_cli.errors import UsageError
from mss_cli.training.batches import Batch, SkippedSongs, collate
from mss_cli.training.examples import Examples, Key, Skipped
from mss_cli.training.mixing import RecipeExamples
from mss_cli.training.recipe import Mixing, Recipe, Teacher
from mss_cli.training.song_cache import Form, SongCache
from mss_cli.training.song_salience import Pitch, PublishedTeacher
from mss_cli.training.songs import open_songs, uses_validation
from mss_models.stft import StftSettings

_VALIDATION_SEED = 0
# Songs as they are, and only where a target sounds: silence has no score.
_VALIDATION_MIXING = Mixing(coherent=1.0, silence=0.0)


def recipe_examples(
    recipe: Recipe,
    *,
    sample_rate: int,
    channels: int,
    samples: int,
    cache: Path,
    validation: bool = False,
    device: str = "cpu",
    transform: StftSettings | None = None,
    targets: Sequence[str] | None = None,
) -> RecipeExamples:
    """Open the sources of a recipe and give its examples; no sample is read yet.

    Parameters
    ----------
    recipe : Recipe
    sample_rate : int, Hz
    channels : {1, 2}
    samples : int
        Length of an example with the margin for augmentation.
    cache : Path
        Folder for songs; made if it is missing.
    validation : bool
        Give the examples of `data.valid`: coherent, from the songs in turn, the same whatever the recipe's seed.
    device : str
        Where songs of note samples are played, "cpu" or "cuda"; those of the validation always on the CPU, to the
        same bits.
    transform : StftSettings or None
        Of the network, if its recipe has a teacher: the frames that the salience is given on.
    targets : sequence of str or None
        Stems that the network estimates, which shall sound in its examples; all if None.

    Raises
    ------
    DatasetError, UsageError
        If a source has no songs, or no source has one of the stems; if the salience has no transform.
    OutputError
        If the folder cannot be made.
    """
    data, seed, samples_folder = recipe.data, recipe.training.seed, cache / "samples"
    if validation:
        sources = [open_songs(source, _VALIDATION_SEED, role="valid", samples=samples_folder) for source in data.valid]
        mixing, seed = _VALIDATION_MIXING, _VALIDATION_SEED
    else:
        hold_out = uses_validation(data.valid)
        # Every source plays songs of its own.
        sources = [
            open_songs(source, seed + 1 + n, hold_out=hold_out, samples=samples_folder, device=device)
            for n, source in enumerate(data.train)
        ]
        mixing = recipe.mixing
    if not sources:
        raise UsageError("the recipe has no validation sources", hint="add `data.valid`")
    return RecipeExamples(
        sources,
        data.stems,
        SongCache(cache, Form(sample_rate, channels), data.stems),
        mixing,
        seed=seed,
        samples=samples,
        targets=targets,
        pitch=_pitch(recipe.teacher, transform, sample_rate),
        in_turn=validation,
    )


@dataclass(frozen=True, slots=True)
class ValidBatches:
    """The validation of a recipe: equal batches at every iteration; the last one may be smaller.

    Attributes
    ----------
    examples : Examples
    count : int
        Examples in all.
    batch : int
    skipped : callable
        Takes broken songs, at every iteration.
    """

    examples: Examples
    count: int
    batch: int
    skipped: Callable[[Skipped], None]

    def __len__(self) -> int:
        return -(-self.count // self.batch)

    def __iter__(self) -> Iterator[Batch]:
        for first in range(0, self.count, self.batch):
            places = range(first, min(first + self.batch, self.count))
            batch = collate([self.examples[Key(0, place)] for place in places])
            for skip in dict.fromkeys(batch.skipped):
                self.skipped(skip)
            yield batch


def valid_batches(
    recipe: Recipe,
    *,
    sample_rate: int,
    channels: int,
    samples: int,
    cache: Path,
    batch: int,
    transform: StftSettings | None = None,
    targets: Sequence[str] | None = None,
    skipped: Callable[[Skipped], None] | None = None,
) -> ValidBatches | None:
    """Give the validation of a recipe, or None if it has no validation sources; see `recipe_examples`."""
    if not recipe.data.valid:
        return None
    examples = recipe_examples(
        recipe,
        sample_rate=sample_rate,
        channels=channels,
        samples=samples,
        cache=cache,
        validation=True,
        transform=transform,
        targets=targets,
    )
    return ValidBatches(examples, recipe.data.valid_examples, batch, skipped or SkippedSongs())


def _pitch(teacher: Teacher | None, transform: StftSettings | None, sample_rate: int) -> Pitch | None:
    if teacher is None:
        return None
    if transform is None:
        raise UsageError("the recipe has a teacher, but its network has no transform")
    if teacher.kind == "labels":
        return Pitch(transform, sample_rate)
    return Pitch(transform, sample_rate, teacher=PublishedTeacher(teacher.weights))
