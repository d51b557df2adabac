"""The steps by name, and chains of them."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor

from mss_models.augmentation.compression import Compression
from mss_models.augmentation.draws import derive_seeds
from mss_models.augmentation.equaliser import Equaliser
from mss_models.augmentation.levels import ChannelSwap, Gain, Polarity, StemDropout
from mss_models.augmentation.modulation import Chorus, Flanger, Phaser, Tremolo
from mss_models.augmentation.reverb import Reverb
from mss_models.augmentation.step import Step
from mss_models.augmentation.time_scale import PitchShift, Resampling, TempoChange
from mss_models.errors import ShapeError

Stage = Literal["stem", "track"]

STEPS: Mapping[str, type[Step]] = MappingProxyType(
    {
        "gain": Gain,
        "channel-swap": ChannelSwap,
        "polarity": Polarity,
        "stem-dropout": StemDropout,
        "equaliser": Equaliser,
        "chorus": Chorus,
        "flanger": Flanger,
        "phaser": Phaser,
        "tremolo": Tremolo,
        "reverb": Reverb,
        "compression": Compression,
        "tempo-change": TempoChange,
        "pitch-shift": PitchShift,
        "resampling": Resampling,
    }
)
"""Every step by the name that recipes give it."""

# Places from which the seeds of a stage are derived; steps and stems count from 0 within a stage.
_STAGE_PLACES: Mapping[str, int] = MappingProxyType({"stem": 1_000, "track": 2_000})


def make_step(name: str, settings: Mapping[str, object]) -> Step:
    """Make a step from its name and its fields.

    Parameters
    ----------
    name : str
        A key of `STEPS`.
    settings : mapping from a field's name to a number, or a list of two for a range
        Fields that are not named keep their defaults.

    Returns
    -------
    Step
        Checked.

    Raises
    ------
    ValueError
        If there is no such step or field, or a value is out of its range.
    """
    if name not in STEPS:
        raise ValueError(f"step must be one of {', '.join(STEPS)}; got `{name}`")
    known = [field.name for field in fields(STEPS[name])]
    unknown = [key for key in settings if key not in known]
    if unknown:
        raise ValueError(f"{unknown[0]} is no field of `{name}`; it has {', '.join(known)}")
    return STEPS[name](**settings)  # type: ignore[arg-type]  # the step checks each value itself


@dataclass(frozen=True, slots=True)
class Chain:
    """Steps applied one after the other, to each stem apart or to whole tracks.

    Parameters
    ----------
    steps : tuple of Step
        In this order; none leaves audio as it is.
    stage : {"stem", "track"}
        "stem": every stem of an item draws its own values. "track": all stems of an item get the same ones.
        A step that chooses among the stems (`StemDropout`) sees whole items on both stages.
    sample_rate : int, Hz, > 0
        Of the audio.

    Raises
    ------
    ValueError
        If a value is out of its range.
    """

    steps: tuple[Step, ...]
    stage: Stage
    sample_rate: int

    def __post_init__(self) -> None:
        if self.stage not in _STAGE_PLACES:
            raise ValueError(f"stage must be `stem` or `track`, got `{self.stage}`")
        if self.sample_rate < 1:
            raise ValueError(f"sample_rate must be positive, got {self.sample_rate}")

    def required_samples(self, samples: int) -> int:
        """Tell how long the audio must be for so many samples to come out of all steps."""
        for step in reversed(self.steps):
            samples = step.required_samples(samples, sample_rate=self.sample_rate)
        return samples

    def produced_samples(self, samples: int) -> int:
        """Tell how many samples come out of audio of so many; the inverse of `required_samples`."""
        for step in self.steps:
            samples = step.produced_samples(samples, sample_rate=self.sample_rate)
        return samples

    def __call__(self, audio: Tensor, seeds: Tensor) -> Tensor:
        """Apply the steps.

        Parameters
        ----------
        audio : float32 Tensor of shape (batch, stem, channel, sample)
            On any device; not changed. Give ``required_samples(n)`` to get n.
        seeds : int64 Tensor of shape (batch,)
            One per item. Each step, and on the stage "stem" each stem, derives its own from it and its
            place; what comes out for an item depends on nothing else in the batch.

        Returns
        -------
        float32 Tensor of shape (batch, stem, channel, sample)
            ``produced_samples`` long. Without steps it is ``audio`` itself.

        Raises
        ------
        ShapeError
            If axes do not fit, or there are too few samples.
        """
        if audio.ndim != 4:
            raise ShapeError("audio", "(batch, stem, channel, sample)", audio.shape)
        if seeds.shape != audio.shape[:1]:
            raise ShapeError("seeds", f"({audio.shape[0]},)", seeds.shape)
        seeds = derive_seeds(seeds, _STAGE_PLACES[self.stage])
        for place, step in enumerate(self.steps):
            own = derive_seeds(seeds, place)
            if self.stage == "track" or step.across_stems:
                audio = step(audio, own, sample_rate=self.sample_rate)
            else:
                stems = torch.stack([derive_seeds(own, stem) for stem in range(audio.shape[1])], dim=1)
                changed = step(audio.flatten(0, 1), stems.flatten(), sample_rate=self.sample_rate)
                audio = changed.view(*audio.shape[:2], *changed.shape[1:])
        return audio
