"""What every augmentation step is: ranges, a probability, and a call on a batch."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mss_models.augmentation.draws import Draws
from mss_models.errors import ShapeError

Range = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step(ABC):
    """One augmentation: ranges from which each item's own values are drawn.

    Parameters
    ----------
    probability : float, in [0, 1]
        Share of the items that are changed. An item that is not changed keeps its samples bit for bit.

    Raises
    ------
    ValueError
        If a field is out of its range; the message begins with the field's name.
    """

    probability: float = 1.0

    across_stems: ClassVar[bool] = False
    """Whether the step chooses among the stems of an item, and so needs the stem axis."""

    def __post_init__(self) -> None:
        check_number("probability", self.probability, 0.0, 1.0)

    def __call__(self, audio: Tensor, seeds: Tensor, *, sample_rate: int) -> Tensor:
        """Change each item by values drawn from its own seed.

        Parameters
        ----------
        audio : float32 Tensor of shape (batch, channel, sample) or (batch, stem, channel, sample)
            On any device. It is not changed. All stems and channels of an item get the same values, so
            steps that are linear keep the sum of the stems the mixture.
        seeds : int64 Tensor of shape (batch,)
            One per item. The result for an item depends on its audio and seed alone, not on the batch: bit for
            bit on a CPU, up to rounding elsewhere.
        sample_rate : int, Hz
            Of ``audio``.

        Returns
        -------
        float32 Tensor of the same axes
            As many samples as ``produced_samples``. It may share memory with ``audio``. NaN stays NaN.

        Raises
        ------
        ShapeError
            If axes do not fit, or there are too few samples.
        """
        if audio.ndim not in (3, 4) or (self.across_stems and audio.ndim == 3):
            expected = "(batch, stem, channel, sample)"
            raise ShapeError(
                "audio", expected if self.across_stems else f"(batch, channel, sample) or {expected}", audio.shape
            )
        if seeds.shape != audio.shape[:1]:
            raise ShapeError("seeds", f"({audio.shape[0]},)", seeds.shape)
        samples = self.produced_samples(audio.shape[-1], sample_rate=sample_rate)
        if samples < 1:
            needed = self.required_samples(1, sample_rate=sample_rate)
            raise ShapeError("audio", f"(..., sample) with at least {needed} samples", audio.shape)
        draws = Draws(seeds)
        chosen = self._chosen(draws)
        if not chosen:
            return audio[..., :samples]
        with torch.no_grad():
            stems = audio if audio.ndim == 4 else audio.unsqueeze(1)  # (batch, stem, channel, sample)
            changed = torch.empty_like(stems[..., :samples], memory_format=torch.contiguous_format)
            if len(chosen) < len(stems):
                changed.copy_(stems[..., :samples])
            for places in _groups(chosen, stems.device):
                whole = places[-1] - places[0] + 1 == len(places)
                index = slice(places[0], places[-1] + 1) if whole else places  # a slice is not copied
                changed[index] = self._apply(stems[index], draws.of(places), sample_rate)
            return changed if audio.ndim == 4 else changed.squeeze(1)

    def required_samples(self, samples: int, *, sample_rate: int) -> int:
        """Tell how long the audio must be for so many samples to come out."""
        return samples

    def produced_samples(self, samples: int, *, sample_rate: int) -> int:
        """Tell how many samples come out of audio of so many; 0 or less if it is too short."""
        return samples

    def _chosen(self, draws: Draws) -> list[int]:
        """Places of the items that are changed."""
        chance = draws.uniform(0.0, 1.0)[:, 0]  # (batch,), below 1
        return [place for place, number in enumerate(chance.tolist()) if number < self.probability]

    @abstractmethod
    def _apply(self, audio: Tensor, draws: Draws, sample_rate: int) -> Tensor:
        """Change all items: (batch, stem, channel, sample) to the same axes; ``audio`` stays as it is."""


def _groups(chosen: list[int], device: torch.device) -> list[list[int]]:
    """Split items into groups that are changed at once: on a CPU one by one, elsewhere all together.

    One item fits the caches of a CPU where a batch does not (two to four times as fast), and its samples do
    not even in their last bit depend on how many others were computed beside them.
    """
    return [[place] for place in chosen] if device.type == "cpu" else [chosen]


def check_number(name: str, value: float, low: float, high: float) -> None:
    """Raise ValueError unless a field is a number in [low, high]."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise ValueError(f"{name} must be a number in [{low:g}, {high:g}], got {value!r}")


def check_count(name: str, value: int, low: int, high: int) -> None:
    """Raise ValueError unless a field is a whole number in [low, high]."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"{name} must be a whole number in [{low}, {high}], got {value!r}")


def check_ranges(step: Step, limits: dict[str, Range]) -> None:
    """Raise ValueError unless these fields are ranges within limits; store them as tuples.

    Parameters
    ----------
    step : Step
        A step under construction. A field may be any sequence of two numbers, as recipes give lists.
    limits : dict from the field's name to (lowest, highest) values
        What makes sense at all.
    """
    for name, (lowest, highest) in limits.items():
        value: Sequence[float] = getattr(step, name)
        if not isinstance(value, (tuple, list)) or len(value) != 2:
            raise ValueError(f"{name} must be two numbers, lowest and highest, got {value!r}")
        for number in value:
            check_number(name, number, lowest, highest)
        low, high = float(value[0]), float(value[1])
        if low > high:
            raise ValueError(f"{name} must not fall, got {value!r}")
        object.__setattr__(step, name, (low, high))


def per_item(values: Tensor, audio: Tensor) -> Tensor:
    """Shape values (batch, 1), drawn on the CPU, to multiply audio (batch, stem, channel, sample)."""
    return values.to(audio.device, audio.dtype).reshape(-1, 1, 1, 1)


def window_samples(sample_rate: int) -> int:
    """Length of an analysis window of about 46 ms: the power of two nearest to it, 64 at least."""
    return max(64, int(2 ** round(math.log2(0.046 * sample_rate))))
