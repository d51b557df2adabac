"""Steps that change the level, sign or place of whole stems."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mss_models.augmentation.draws import Draws
from mss_models.augmentation.step import Range, Step, check_count, check_ranges, per_item


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain(Step):
    """Multiply by a random gain, even on the decibel scale.

    Parameters
    ----------
    gain_db : (float, float), dB, in [-60, 30]
        The default is the range 0.25 to 1.25 of Uhlich et al.

    References
    ----------
    Uhlich et al., "Improving music source separation based on deep neural networks through data augmentation
    and network blending", ICASSP 2017. Thesis 6.2.
    """

    gain_db: Range = (-12.0, 2.0)

    def __post_init__(self) -> None:
        Step.__post_init__(self)
        check_ranges(self, {"gain_db": (-60.0, 30.0)})

    def _apply(self, audio: Tensor, draws: Draws, sample_rate: int) -> Tensor:
        return audio * per_item(10 ** (draws.uniform(*self.gain_db) / 20), audio)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelSwap(Step):
    """Reverse the order of the channels: left becomes right. Mono stays as it is.

    References
    ----------
    Uhlich et al. 2017, as `Gain`.
    """

    probability: float = 0.5

    def _apply(self, audio: Tensor, draws: Draws, sample_rate: int) -> Tensor:
        return audio.flip(2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Polarity(Step):
    """Change the sign of every sample.

    Ours: no ear tells a stem from its negative, but the phases at which stems meet change.
    """

    probability: float = 0.5

    def _apply(self, audio: Tensor, draws: Draws, sample_rate: int) -> Tensor:
        return -audio


@dataclass(frozen=True, slots=True, kw_only=True)
class StemDropout(Step):
    """Silence some stems of an item, so that networks meet mixtures without them.

    Parameters
    ----------
    probability : float, in [0, 1]
        Chance of each stem, drawn apart.
    keep : int, >= 0
        So many stems of an item always stay; those that came nearest to staying do.

    References
    ----------
    Ours; the instrument-wise form of the random mixes of Uhlich et al. 2017.
    """

    probability: float = 0.1
    keep: int = 1

    across_stems: ClassVar[bool] = True

    def __post_init__(self) -> None:
        Step.__post_init__(self)
        check_count("keep", self.keep, 0, 64)

    def _chosen(self, draws: Draws) -> list[int]:
        # The probability is that of a stem; every item draws.
        return list(range(len(draws)))

    def _apply(self, audio: Tensor, draws: Draws, sample_rate: int) -> Tensor:
        chance = draws.uniform(0.0, 1.0, audio.shape[1])  # (batch, stem)
        stays = chance >= self.probability
        best = chance.argsort(dim=1, descending=True)[:, : self.keep]
        stays.scatter_(1, best, True)
        return torch.where(stays.to(audio.device)[:, :, None, None], audio, torch.zeros_like(audio))
