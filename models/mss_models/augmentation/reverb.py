"""Reverberation by a room that never was."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mss_models.augmentation.convolution import fast_length
from mss_models.augmentation.draws import Draws
from mss_models.augmentation.step import Range, Step, check_ranges, per_item


@dataclass(frozen=True, slots=True, kw_only=True)
class Reverb(Step):
    """Add reverberation: noise that decays exponentially, as the impulse response of a diffuse room.

    ``y = x + level (h * x)`` with ``h[n] = noise[n] 10^(-3 n / (decay rate))`` after a pause, of energy 1: at
    0 dB the reverberation of noise-like sounds is as strong as the sound. Every channel has noise of its
    own, the stems of an item have the same room. What rings past the end is cut.

    Parameters
    ----------
    decay_seconds : (float, float), s, in [0.05, 5]
        Time until the response has fallen by 60 dB; it is cut there.
    pause_ms : (float, float), ms, in [0, 200]
        Before the response begins.
    level_db : (float, float), dB, in [-60, 10]
        Of the reverberation.

    References
    ----------
    Moorer, "About this reverberation business", Computer Music Journal 1979. Zölzer (ed.), "DAFX", 2nd
    edition, Wiley 2011, 5.6.
    """

    decay_seconds: Range = (0.2, 1.0)
    pause_ms: Range = (2.0, 30.0)
    level_db: Range = (-20.0, -4.0)

    def __post_init__(self) -> None:
        Step.__post_init__(self)
        check_ranges(self, {"decay_seconds": (0.05, 5.0), "pause_ms": (0.0, 200.0), "level_db": (-60.0, 10.0)})

    def _apply(self, audio: Tensor, draws: Draws, sample_rate: int) -> Tensor:
        samples, channels = audio.shape[-1], audio.shape[2]
        level, response = 10 ** (draws.uniform(*self.level_db) / 20), self._responses(draws, channels, sample_rate)
        response = response.to(audio.device)[..., :samples]  # what is later than the item's end is never heard
        length = fast_length(samples + response.shape[-1] - 1)
        room = torch.fft.rfft(response, n=length) * per_item(level, audio)[..., 0]
        wet = torch.fft.irfft(torch.fft.rfft(audio, n=length) * room.unsqueeze(1), n=length)
        changed: Tensor = audio + wet[..., :samples]
        return changed

    def _responses(self, draws: Draws, channels: int, sample_rate: int) -> Tensor:
        """Impulse responses of energy 1: float32 of shape (batch, channel, sample), on the CPU."""
        decays = (draws.uniform(*self.decay_seconds)[:, 0] * sample_rate).tolist()
        pauses = (draws.uniform(*self.pause_ms)[:, 0] * sample_rate / 1000).tolist()
        ends = [round(pause) + max(1, round(decay)) for pause, decay in zip(pauses, decays, strict=True)]
        responses = torch.zeros(len(draws), channels, max(ends))
        for place, (decay, pause, end) in enumerate(zip(decays, pauses, ends, strict=True)):
            sounding = end - round(pause)
            noise = draws.of([place]).normal(channels * sounding).view(channels, sounding)
            noise *= torch.exp(torch.arange(sounding) * (-3 * math.log(10) / decay))
            responses[place, :, round(pause) : end] = noise / torch.linalg.vector_norm(noise, dim=-1, keepdim=True)
        return responses
