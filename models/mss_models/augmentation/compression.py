"""Dynamic range compression without a step per sample."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mss_models.augmentation.draws import Draws
from mss_models.augmentation.step import Range, Step, check_number, check_ranges

_SILENCE_DB = -120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Compression(Step):
    """Turn down what is loud: above the threshold the level rises by 1 dB per ``ratio`` dB.

    Static curve: ``gain = -(1 - 1/ratio) max(level - threshold, 0)`` in dB. The level is the mean power over
    the last ``attack_ms``, of the sum of the stems and over the channels, so all stems and channels of an
    item get one gain and the stems still sum to the mixture. It falls by at most ``release_db`` per second:
    ``level[k] = max(power[k], level[k-1] - release)``, computed at once as a running maximum of
    ``power[k] + k release``. Levels are taken every 1.5 ms, gains are linear in dB between them. There is
    no make-up gain.

    Parameters
    ----------
    threshold_db : (float, float), dB of full scale, in [-80, 0]
        Mean power of a full-scale sine: -3 dB.
    ratio : (float, float), in [1, 100]
        1 changes nothing.
    attack_ms : float, ms, in [0.1, 500]
        Time over which the power is averaged.
    release_db : (float, float), dB per second, in [1, 10000]
        Fastest fall of the level.

    References
    ----------
    Zölzer (ed.), "DAFX", 2nd edition, Wiley 2011, 4.2. Giannoulis, Massberg and Reiss, "Digital dynamic range
    compressor design", Journal of the Audio Engineering Society 2012.
    """

    threshold_db: Range = (-40.0, -15.0)
    ratio: Range = (1.5, 6.0)
    attack_ms: float = 10.0
    release_db: Range = (40.0, 200.0)

    def __post_init__(self) -> None:
        Step.__post_init__(self)
        check_number("attack_ms", self.attack_ms, 0.1, 500.0)
        check_ranges(self, {"threshold_db": (-80.0, 0.0), "ratio": (1.0, 100.0), "release_db": (1.0, 10_000.0)})

    def _apply(self, audio: Tensor, draws: Draws, sample_rate: int) -> Tensor:
        threshold, ratio, release = (
            draws.uniform(*limits).to(audio.device, torch.float32)  # (batch, 1)
            for limits in (self.threshold_db, self.ratio, self.release_db)
        )
        block = max(1, round(0.0015 * sample_rate))
        level = self._levels(audio.sum(dim=1), block, sample_rate)  # (batch, block)
        fall = release * (block / sample_rate) * torch.arange(level.shape[-1], device=audio.device)
        level = torch.cummax(level + fall, dim=-1).values - fall
        gain_db = (1 / ratio - 1) * (level - threshold).clamp_min(0.0)
        # A level is known at the end of its block: the gain goes from the one before to this one meanwhile.
        known = torch.nn.functional.pad(gain_db.unsqueeze(1), (1, 0), mode="replicate")  # (batch, 1, block + 1)
        share = torch.arange(1, block + 1, device=audio.device, dtype=torch.float32) / block
        smooth = torch.lerp(known[..., :-1, None], known[..., 1:, None], share).flatten(-2)  # (batch, 1, sample)
        gain = torch.exp(smooth[..., : audio.shape[-1]] * (math.log(10) / 20))
        return audio * gain.unsqueeze(1)

    def _levels(self, mixture: Tensor, block: int, sample_rate: int) -> Tensor:
        """Mean power in dB over the attack time before the end of each block: (batch, block)."""
        blocks = -(-mixture.shape[-1] // block)
        power = torch.nn.functional.pad(mixture, (0, blocks * block - mixture.shape[-1])).square()
        power = power.mean(dim=1).view(-1, blocks, block).mean(dim=-1)  # (batch, block)
        memory = max(1, round(self.attack_ms / 1000 * sample_rate / block))
        averaged = torch.nn.functional.avg_pool1d(
            torch.nn.functional.pad(power.unsqueeze(1), (memory - 1, 0)), memory, stride=1
        ).squeeze(1)
        return 10 * torch.log10(averaged + 10 ** (_SILENCE_DB / 10))
