"""Random numbers that belong to an item, not to its place in a batch."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mss_models.errors import ShapeError


def derive_seeds(seeds: Tensor, place: int) -> Tensor:
    """Derive one seed from each seed and a place, as if drawn at random.

    The finaliser of SplitMix64 on ``seed + (place + 1) * golden ratio``: a bijection for each place, so
    different seeds never meet.

    Parameters
    ----------
    seeds : int64 Tensor of shape (batch,)
        Any values; on any device.
    place : int, >= 0
        What the new seeds are for: the position of a step, the index of a stem.

    Returns
    -------
    int64 Tensor of shape (batch,), on the CPU
        In the whole range of int64.

    References
    ----------
    Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
    """
    state = seeds.cpu().numpy().astype(np.uint64)
    step = (0x9E3779B97F4A7C15 * (place + 1)) & 0xFFFFFFFFFFFFFFFF
    state = state + np.uint64(step)  # wraps around, as intended
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return torch.from_numpy((state ^ (state >> np.uint64(31))).astype(np.int64))


class Draws:
    """Draws numbers for each item of a batch from the item's own generator.

    Parameters
    ----------
    seeds : int64 Tensor of shape (batch,)
        Equal seeds give equal numbers, whatever else is in the batch. They are mixed before use: small and
        neighbouring seeds do as well as others.

    Raises
    ------
    ShapeError
        If ``seeds`` is no int64 tensor with one axis.
    """

    def __init__(self, seeds: Tensor) -> None:
        if seeds.ndim != 1 or seeds.dtype != torch.int64:
            raise ShapeError("seeds", "(batch,) of int64", seeds.shape)
        self._generators = [torch.Generator().manual_seed(seed) for seed in derive_seeds(seeds, 0).tolist()]

    def of(self, places: Sequence[int]) -> "Draws":
        """Return the same generators for some of the items; both go on drawing from them."""
        some = Draws.__new__(Draws)
        some._generators = [self._generators[place] for place in places]
        return some

    def __len__(self) -> int:
        return len(self._generators)

    def uniform(self, low: float, high: float, count: int = 1) -> Tensor:
        """Draw evenly from [low, high): float64 of shape (batch, count), on the CPU."""
        numbers = [torch.rand(count, generator=generator, dtype=torch.float64) for generator in self._generators]
        return low + (high - low) * torch.stack(numbers)

    def log_uniform(self, low: float, high: float, count: int = 1) -> Tensor:
        """Draw from [low, high) evenly on a logarithmic axis, for frequencies and ratios: as `uniform`."""
        logs = torch.tensor([low, high], dtype=torch.float64).log()
        return self.uniform(logs[0].item(), logs[1].item(), count).exp()

    def normal(self, count: int) -> Tensor:
        """Draw normal numbers: float32 of shape (batch, count), on the CPU."""
        return torch.stack([torch.randn(count, generator=generator) for generator in self._generators])
