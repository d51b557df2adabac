"""The augmentation of a recipe, applied to whole batches on their device."""

from dataclasses import replace

from mss_cli.training.batches import Batch
from mss_cli.training.recipe import Augmentation
from mss_cli.training.recipe_parts import make_step
from mss_models.augmentation.chain import Chain


class Augmenter:
    """Steps per stem, then per track, in the recipe's order.

    Parameters
    ----------
    augmentation : Augmentation
        Checked.
    sample_rate : int, Hz
        Of the examples.
    samples : int
        Length of an example afterwards.
    """

    def __init__(self, augmentation: Augmentation, *, sample_rate: int, samples: int) -> None:
        self._samples = samples
        self._stems = Chain(tuple(map(make_step, augmentation.stem)), "stem", sample_rate)
        self._track = Chain(tuple(map(make_step, augmentation.track)), "track", sample_rate)

    @property
    def required_samples(self) -> int:
        """Length of an example before: steps that change its tempo need a margin."""
        return self._stems.required_samples(self._track.required_samples(self._samples))

    def __call__(self, batch: Batch) -> Batch:
        """Change a batch; each example by its own seed, whatever else is in the batch."""
        stems = self._track(self._stems(batch.stems, batch.seeds), batch.seeds)
        return replace(batch, stems=stems[..., : self._samples])
